use super::*;
use kube::client::Body;
use serde_json::json;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

const PODS: Resource = Resource::namespaced("", "v1", "Pod", "pods");

/// What the server does when asked: a status with a body, or no answer.
#[derive(Clone)]
enum Reply {
    Status(u16, String),
    Refused,
}

/// A client whose server gives these replies in turn and then hangs; and the requests that it saw.
fn scripted(replies: Vec<Reply>) -> (Client, Arc<Mutex<Vec<String>>>) {
    let replies = Arc::new(Mutex::new(VecDeque::from(replies)));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let requests = Arc::clone(&seen);
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let reply = replies.lock().expect("no panic").pop_front();
        if let (Some(_), Ok(mut seen)) = (&reply, requests.lock()) {
            seen.push(request.uri().to_string());
        }
        async move {
            match reply {
                Some(Reply::Status(code, body)) => Ok(http::Response::builder()
                    .status(code)
                    .body(Body::from(body.into_bytes()))?),
                Some(Reply::Refused) => Err(tower::BoxError::from("connection refused")),
                None => std::future::pending().await,
            }
        }
    });
    (
        Client::new(
            kube::Client::new(service, "default"),
            "scripted".into(),
            false,
        ),
        seen,
    )
}

/// The watch under test, retrying at once.
fn follow(client: &Client) -> BoxStream<'static, Event> {
    let quick = (Duration::from_millis(1), Duration::from_millis(2));
    watch_retrying(client, PODS, Selection::all(), quick, quick)
}

fn pod(name: &str, version: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "a", "uid": format!("u-{name}"), "resourceVersion": version}})
}

fn list(version: &str, names: &[&str], token: &str) -> Reply {
    let items: Vec<Value> = names.iter().map(|name| pod(name, "1")).collect();
    let list = json!({"kind": "PodList", "items": items,
        "metadata": {"resourceVersion": version, "continue": token}});
    Reply::Status(200, list.to_string())
}

fn lines(events: &[(&str, Value)]) -> Reply {
    let lines = events
        .iter()
        .map(|(kind, object)| format!("{}\n", json!({"type": kind, "object": object})));
    Reply::Status(200, lines.collect())
}

fn status(code: u16, reason: &str) -> Value {
    json!({"kind": "Status", "code": code, "reason": reason, "message": reason})
}

fn refusal(code: u16, reason: &str) -> Reply {
    Reply::Status(code, status(code, reason).to_string())
}

/// An event in a few characters.
fn brief(event: &Event) -> String {
    let name = |object: &Value| text(object, "/metadata/name");
    match event {
        Event::Reset {
            objects,
            resource_version,
        } => {
            let names: Vec<String> = objects.iter().map(name).collect();
            format!("reset@{resource_version} {}", names.join(","))
        }
        Event::Apply {
            object,
            resource_version,
        } => format!("apply@{resource_version} {}", name(object)),
        Event::Delete {
            namespace,
            name,
            uid,
            resource_version,
        } => {
            format!("delete@{resource_version} {namespace}/{name}/{uid}")
        }
        Event::Bookmark { resource_version } => format!("bookmark@{resource_version}"),
        Event::Absent => "absent".to_owned(),
        Event::Stale { error, .. } => format!("stale {error}"),
    }
}

/// The events that these replies lead to, and the query of the last request.
async fn check(name: &str, replies: Vec<Reply>, expected: &[&str], last_request: &str) {
    let (client, seen) = scripted(replies);
    let events: Vec<String> = follow(&client)
        .take(expected.len())
        .map(|event| brief(&event))
        .collect()
        .await;
    assert_eq!(events, expected, "{name}");
    let last = seen
        .lock()
        .expect("no panic")
        .last()
        .cloned()
        .unwrap_or_default();
    assert!(last.contains(last_request), "{name}: {last}");
}

#[tokio::test]
async fn changes_follow_a_list() {
    check(
        "a list in pages, then changes",
        vec![
            list("5", &["p"], "more"),
            list("5", &["q"], ""),
            lines(&[
                ("ADDED", pod("r", "6")),
                ("DELETED", pod("p", "7")),
                (
                    "BOOKMARK",
                    json!({"kind": "Pod", "metadata": {"resourceVersion": "9"}}),
                ),
            ]),
            lines(&[("MODIFIED", pod("r", "10"))]),
        ],
        &[
            "reset@5 p,q",
            "apply@6 r",
            "delete@7 a/p/u-p",
            "bookmark@9",
            "apply@10 r",
        ],
        "resourceVersion=9",
    )
    .await;
}

#[tokio::test]
async fn a_forgotten_version_is_a_new_list() {
    check(
        "expired as a status",
        vec![
            list("5", &["p"], ""),
            refusal(410, "Expired"),
            list("8", &[], ""),
        ],
        &["reset@5 p", "reset@8 "],
        "limit=500",
    )
    .await;
    check(
        "expired inside a watch",
        vec![
            list("5", &["p"], ""),
            lines(&[("ERROR", status(410, "Expired"))]),
            list("8", &["q"], ""),
        ],
        &["reset@5 p", "reset@8 q"],
        "limit=500",
    )
    .await;
    check(
        "a continue token that expires starts the list over",
        vec![
            list("5", &["p"], "more"),
            refusal(410, "Expired"),
            list("8", &["q"], ""),
        ],
        &["reset@8 q"],
        "limit=500",
    )
    .await;
}

#[tokio::test]
async fn no_answer_is_not_an_empty_answer() {
    check(
        "connection lost and back: nothing is reset",
        vec![
            list("5", &["p"], ""),
            lines(&[("MODIFIED", pod("p", "6"))]),
            Reply::Refused,
            Reply::Refused,
            lines(&[("MODIFIED", pod("p", "7"))]),
        ],
        &[
            "reset@5 p",
            "apply@6 p",
            "stale unreachable: connection refused",
            "stale unreachable: connection refused",
            "bookmark@6",
            "apply@7 p",
        ],
        "resourceVersion=6",
    )
    .await;
    check(
        "forbidden says nothing about what is there",
        vec![refusal(403, "Forbidden"), list("5", &["p"], "")],
        &["stale forbidden: Forbidden", "reset@5 p"],
        "limit=500",
    )
    .await;
    check(
        "an unreadable line starts over",
        vec![
            list("5", &["p"], ""),
            Reply::Status(200, "nonsense\n".into()),
            list("6", &["p"], ""),
        ],
        &[
            "reset@5 p",
            "stale unreadable answer: watch of pods: expected ident at line 1 column 2",
            "reset@6 p",
        ],
        "limit=500",
    )
    .await;
    check(
        "a future type of event is passed over",
        vec![
            list("5", &[], ""),
            lines(&[("NEWS", pod("p", "6")), ("ADDED", pod("q", "7"))]),
        ],
        &["reset@5 ", "apply@7 q"],
        "resourceVersion=5",
    )
    .await;
}

#[tokio::test]
async fn an_absent_kind_is_said_once() {
    check(
        "absent, absent, there, gone",
        vec![
            refusal(404, "NotFound"),
            refusal(404, "NotFound"),
            list("5", &["p"], ""),
            refusal(404, "NotFound"),
            refusal(404, "NotFound"),
            list("9", &["q"], ""),
        ],
        &["absent", "reset@5 p", "absent", "reset@9 q"],
        "limit=500",
    )
    .await;
}

/// However the server interleaves answers and failures, folding the events gives what the server last had.
mod fold {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn folded(events: &[Event]) -> BTreeMap<String, String> {
        let mut known = BTreeMap::new();
        for event in events {
            match event {
                Event::Reset { objects, .. } => {
                    known = objects
                        .iter()
                        .map(|o| {
                            (
                                text(o, "/metadata/name"),
                                text(o, "/metadata/resourceVersion"),
                            )
                        })
                        .collect();
                }
                Event::Apply {
                    object,
                    resource_version,
                } => {
                    known.insert(text(object, "/metadata/name"), resource_version.clone());
                }
                Event::Delete { name, .. } => {
                    known.remove(name);
                }
                Event::Absent => known.clear(),
                Event::Bookmark { .. } | Event::Stale { .. } => {}
            }
        }
        known
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]
        #[test]
        fn nothing_is_lost(steps in prop::collection::vec((0..4u8, 0..3usize), 0..8)) {
            let names = ["p", "q", "r"];
            let mut truth: BTreeMap<String, String> = BTreeMap::new();
            let mut replies = vec![list("1", &[], "")];
            for (index, (step, which)) in steps.into_iter().enumerate() {
                let version = (index + 2).to_string();
                let name = names[which];
                match step {
                    0 => {
                        truth.insert(name.to_owned(), version.clone());
                        replies.push(lines(&[("MODIFIED", pod(name, &version))]));
                    }
                    1 if truth.remove(name).is_some() => {
                        replies.push(lines(&[("DELETED", pod(name, &version))]));
                    }
                    2 => {
                        // Changed behind our back: the server has forgotten the version, the list tells.
                        truth.remove(name);
                        let items: Vec<Value> = truth.iter().map(|(name, version)| pod(name, version)).collect();
                        replies.push(refusal(410, "Expired"));
                        let list = json!({"items": items, "metadata": {"resourceVersion": version}});
                        replies.push(Reply::Status(200, list.to_string()));
                    }
                    _ => replies.push(Reply::Refused),
                }
            }
            replies.push(lines(&[("ADDED", pod("end", "99"))]));
            truth.insert("end".to_owned(), "99".to_owned());
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
            let events = runtime.block_on(async {
                let (client, _) = scripted(replies);
                let mut events = Vec::new();
                let mut stream = follow(&client);
                while let Some(event) = stream.next().await {
                    let last = event.resource_version() == Some("99");
                    events.push(event);
                    if last {
                        break;
                    }
                }
                events
            });
            prop_assert_eq!(folded(&events), truth);
        }
    }
}
