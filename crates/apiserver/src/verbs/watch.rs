//! Watch: a stream of events from the history of one resource, then as they happen.
//!
//! A watcher pulls: it remembers the revision up to which it has told everything and reads on in the shelf's history.
//! A slow one therefore costs no memory beyond that history, and is told that it has expired if it falls behind it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Request;
use super::list::{Filter, options_error};
use super::read::parse_revision;
use super::show::{partial, served, table};
use crate::cluster::Cluster;
use crate::http::{Accept, Answer, Query, Shape, json as json_answer};
use crate::kinds::Kind;
use crate::schema::IncludeObject;
use crate::status::ApiError;
use crate::store::{Event, EventKind, Stored, Volume};

/// A watch without `timeoutSeconds` ends after this; the real server picks between 30 and 60 minutes.
const LONGEST: Duration = Duration::from_secs(45 * 60);
/// Between bookmarks, as in the real server.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);

/// Starts a watch.
///
/// # Errors
/// 400 and 422 for malformed parameters; anything later is told inside the stream.
pub fn watch(request: &Request<'_>, query: &Query, accept: Accept) -> Result<Answer, ApiError> {
    let mut filter = Filter::parse(request, query)?;
    if !request.name.is_empty() {
        let pinned = format!("metadata.name={}", request.name);
        filter.fields = crate::selector::FieldSelector::parse(&pinned, &request.kind)?;
    }
    let initial = query.has("sendInitialEvents");
    let matching = query.get("resourceVersionMatch");
    match (initial, matching) {
        (true, "NotOlderThan") | (false, "") => {}
        (true, _) => {
            let message = "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            return Err(options_error(
                "FieldValueForbidden",
                "resourceVersionMatch",
                message,
            ));
        }
        (false, _) => {
            let message = "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            return Err(options_error(
                "FieldValueForbidden",
                "resourceVersionMatch",
                message,
            ));
        }
    }
    let bookmarks = query.flag("allowWatchBookmarks");
    let send_initial = initial && query.flag("sendInitialEvents");
    if send_initial && !bookmarks {
        let message = "Forbidden: sendInitialEvents requires allowWatchBookmarks to be set";
        return Err(options_error(
            "FieldValueForbidden",
            "allowWatchBookmarks",
            message,
        ));
    }
    let asked = parse_revision(query.get("resourceVersion"))?;
    let timeout = query
        .get("timeoutSeconds")
        .parse()
        .ok()
        .filter(|&seconds| seconds > 0);
    let now = Instant::now();
    let include = match query.get("includeObject") {
        "None" => IncludeObject::None,
        "Object" => IncludeObject::Object,
        _ => IncludeObject::Metadata,
    };
    let mut watcher = Watcher {
        cluster: request.cluster.clone(),
        kind: request.kind.clone(),
        namespace: (!request.namespace.is_empty() && request.kind.namespaced())
            .then(|| request.namespace.clone()),
        filter,
        shape: accept.shape,
        include,
        told: 0,
        pending: VecDeque::new(),
        shelf: request.cluster.store.follow(&request.kind.resource),
        bookmarks,
        next_bookmark: now + BOOKMARK_EVERY,
        deadline: now
            + timeout
                .map_or(LONGEST, Duration::from_secs)
                .min(LONGEST * 4),
        headed: false,
        over: false,
    };
    watcher.begin(asked, initial, send_initial);
    let mut answer = json_answer(200, Accept::default(), Bytes::new());
    *answer.body_mut() = StreamBody::new(watcher.stream()).boxed_unsync();
    Ok(answer)
}

struct Watcher {
    cluster: Arc<Cluster>,
    kind: Arc<Kind>,
    namespace: Option<String>,
    filter: Filter,
    shape: Shape,
    include: IncludeObject,
    /// Everything up to this revision has been told or queued.
    told: u64,
    pending: VecDeque<Bytes>,
    shelf: watch::Receiver<Arc<Volume>>,
    bookmarks: bool,
    next_bookmark: Instant,
    deadline: Instant,
    /// Whether the columns of a table have been sent.
    headed: bool,
    /// Nothing comes after what is pending.
    over: bool,
}

impl Watcher {
    fn begin(&mut self, asked: Option<u64>, initial: bool, send_initial: bool) {
        let (volume, current) = self.cluster.store.read(&self.kind.resource);
        let from_now = if initial {
            send_initial
        } else {
            asked.is_none_or(|asked| asked == 0)
        };
        match asked {
            Some(asked) if asked > current => {
                // Revisions come from this server alone, so one from the future belongs to another life of it.
                self.told = asked;
                if initial {
                    self.fail(&ApiError::revision_too_large(asked, current));
                }
                return;
            }
            Some(asked) if !from_now && asked > 0 => {
                self.told = asked;
                return;
            }
            _ => self.told = current,
        }
        if !from_now {
            return;
        }
        let objects: Vec<Arc<Stored>> = volume.iter(self.namespace.as_deref()).cloned().collect();
        for object in objects {
            if self.filter.matches(&object) {
                self.queue("ADDED", &object, object.revision);
            }
        }
        if send_initial {
            self.bookmark(true);
        }
    }

    fn stream(self) -> impl Stream<Item = Result<Frame<Bytes>, std::io::Error>> {
        futures::stream::unfold(self, |mut watcher| async move {
            let bytes = watcher.next().await?;
            Some((Ok(Frame::data(bytes)), watcher))
        })
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.drain() {
                return Some(bytes);
            }
            if self.over {
                return None;
            }
            let volume = self.shelf.borrow_and_update().clone();
            self.catch_up(&volume);
            if !self.pending.is_empty() {
                continue;
            }
            let wake = if self.bookmarks {
                self.deadline.min(self.next_bookmark)
            } else {
                self.deadline
            };
            let mut stop = self.cluster.stopping();
            tokio::select! {
                changed = self.shelf.changed() => if changed.is_err() { return None },
                () = tokio::time::sleep_until(wake) => {
                    let now = Instant::now();
                    if now >= self.deadline {
                        return None;
                    }
                    self.next_bookmark = now + BOOKMARK_EVERY;
                    self.bookmark(false);
                }
                () = crate::cluster::stopped(&mut stop) => return None,
            }
        }
    }

    /// Everything pending as one chunk.
    fn drain(&mut self) -> Option<Bytes> {
        match self.pending.len() {
            0 => None,
            1 => self.pending.pop_front(),
            _ => Some(
                self.pending
                    .drain(..)
                    .fold(Vec::new(), |mut all, line| {
                        all.extend_from_slice(&line);
                        all
                    })
                    .into(),
            ),
        }
    }

    fn catch_up(&mut self, volume: &Volume) {
        let Some(events) = volume.since(self.told) else {
            let oldest = volume.horizon() + 1;
            self.fail(&ApiError::expired(format!(
                "too old resource version: {} ({oldest})",
                self.told
            )));
            return;
        };
        let events: Vec<Arc<Event>> = events.cloned().collect();
        for event in events {
            self.told = event.revision;
            self.tell(&event);
        }
    }

    fn tell(&mut self, event: &Event) {
        let object = &event.object;
        if self
            .namespace
            .as_deref()
            .is_some_and(|namespace| *namespace != *object.key.namespace)
        {
            return;
        }
        let now = event.kind != EventKind::Deleted && self.filter.matches(object);
        let before = event
            .previous
            .as_ref()
            .is_some_and(|previous| self.filter.matches(previous));
        let kind = match (before, now) {
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
            (false, false) => return,
        };
        self.queue(kind, object, event.revision);
    }

    fn queue(&mut self, event: &str, object: &Stored, revision: u64) {
        let line = match self.shape {
            Shape::Whole if self.kind.served_as_stored() => {
                let mut line = Vec::with_capacity(object.json.len() + 40);
                line.extend_from_slice(format!(r#"{{"type":"{event}","object":"#).as_bytes());
                line.extend_from_slice(&object.json);
                line.extend_from_slice(b"}\n");
                line
            }
            _ => {
                let value = served(&self.kind, object);
                let shown = self.shape(&value, &revision.to_string());
                format!("{}\n", json!({"type": event, "object": shown})).into_bytes()
            }
        };
        self.pending.push_back(line.into());
    }

    fn shape(&mut self, value: &Value, revision: &str) -> Value {
        match self.shape {
            Shape::Whole => value.clone(),
            Shape::Partial(version) => partial(value, version),
            Shape::Table(version) => {
                let mut table = table(&self.kind, &[value], version, self.include);
                table["metadata"] = json!({"resourceVersion": revision});
                if std::mem::replace(&mut self.headed, true) {
                    table["columnDefinitions"] = Value::Null;
                }
                table
            }
        }
    }

    fn bookmark(&mut self, initial_end: bool) {
        let revision = self
            .cluster
            .store
            .read(&self.kind.resource)
            .1
            .max(self.told);
        if !initial_end && self.shelf.has_changed().unwrap_or(false) {
            // There is news to tell first; it moves the client on as well as a bookmark does.
            return;
        }
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if initial_end {
            metadata["resourceVersion"] = self.told.to_string().into();
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = match self.shape {
            Shape::Whole => {
                json!({"kind": *self.kind.kind, "apiVersion": self.kind.api_version(), "metadata": metadata})
            }
            Shape::Partial(version) => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": metadata})
            }
            Shape::Table(version) => json!({
                "kind": "Table", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": metadata,
                "columnDefinitions": null, "rows": [],
            }),
        };
        self.pending
            .push_back(format!("{}\n", json!({"type": "BOOKMARK", "object": object})).into());
    }

    fn fail(&mut self, error: &ApiError) {
        self.pending.push_back(
            format!(
                "{}\n",
                json!({"type": "ERROR", "object": error.to_status()})
            )
            .into(),
        );
        self.over = true;
    }
}
