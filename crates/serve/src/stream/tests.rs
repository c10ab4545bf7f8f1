//! Conversations of a proxy with the machine, as data.

use std::collections::BTreeMap;
use std::sync::Arc;

use hawser_model::filter::NamedPatch;
use hawser_model::{Hostname, Proxy, Str};
use hawser_proto::google::protobuf::{Any, Struct};

use super::*;
use crate::source::{Given, Scope, Selection, Source};

/// Resources by type and name, each with its version.
struct Table(BTreeMap<(Kind, &'static str), u64>);

impl Source for Table {
    fn resources(&self, _: &Proxy, kind: Kind, names: Option<&BTreeSet<Str>>) -> Given {
        let wanted = |name: &str| names.is_none_or(|n| n.contains(name));
        let of_kind = self
            .0
            .iter()
            .filter(|((k, name), _)| *k == kind && wanted(name));
        let resources = of_kind.map(|((_, name), version)| {
            let resource = Resource {
                name: (*name).into(),
                any: Arc::new(Any::default()),
                version: *version,
            };
            (resource.name.clone(), Arc::new(resource))
        });
        // Whether a proxy shares what it is given makes no difference to what it is sent.
        Given {
            shared: Selection::after(None, resources.clone().step_by(2).collect()),
            own: resources.skip(1).step_by(2).collect(),
        }
    }
}

fn view(sequence: u64, scope: Scope, table: &[(Kind, &'static str, u64)]) -> View {
    let table = table.iter().map(|(k, n, v)| ((*k, *n), *v)).collect();
    View {
        source: Arc::new(Table(table)),
        sequence,
        scope,
    }
}

fn endpoints_of(host: &str) -> Scope {
    Scope {
        hosts: Arc::new([Hostname::parse(host).unwrap()].into()),
        ..Scope::default()
    }
}

fn stream(variant: Variant) -> Stream {
    let node = hawser_proto::envoy::config::core::v3::Node {
        id: "sidecar~10.0.0.1~a.b~b.svc.cluster.local".to_owned(),
        metadata: Some(Struct::default()),
        ..Default::default()
    };
    Stream::new(
        Arc::new(hawser_translate::node::proxy(&node).unwrap()),
        variant,
    )
}

fn ask(names: &[&str]) -> Request {
    Request {
        subscribe: names.iter().map(|n| Str::from(*n)).collect(),
        ..Request::default()
    }
}

fn ack(nonce: &str, names: &[&str]) -> Request {
    Request {
        nonce: nonce.to_owned(),
        ..ask(names)
    }
}

fn nack(nonce: &str) -> Request {
    Request {
        nonce: nonce.to_owned(),
        error: Some("no".to_owned()),
        ..Request::default()
    }
}

/// `cds#1 a b -c`: type, nonce, resources, removed.
fn shown(pushes: &[Push]) -> String {
    let one = |p: &Push| {
        let new = p.resources.iter().map(|r| format!(" {}", r.name));
        let gone = p.removed.iter().map(|n| format!(" -{n}"));
        format!(
            "{}#{}{}",
            p.kind.short(),
            p.nonce,
            new.chain(gone).collect::<String>()
        )
    };
    pushes.iter().map(one).collect::<Vec<_>>().join(", ")
}

const A: &str = "outbound|80||a.b";
const B: &str = "outbound|80||b.b";

#[test]
fn delta_sends_what_changed_and_names_what_is_gone() {
    use Kind::{Cluster, Listener};
    let mut s = stream(Variant::Delta);
    let v1 = view(1, Scope::all(), &[(Cluster, A, 1), (Cluster, B, 1)]);
    assert_eq!(
        shown(&s.request(Cluster, ask(&[]), &v1)),
        format!("cds#1 {A} {B}")
    );
    assert_eq!(
        shown(&s.request(Listener, ask(&[]), &v1)),
        "lds#2",
        "an empty answer is an answer"
    );
    assert_eq!(shown(&s.request(Cluster, ack("1", &[]), &v1)), "");
    assert_eq!(shown(&s.request(Listener, ack("2", &[]), &v1)), "");
    let v2 = view(2, Scope::all(), &[(Cluster, A, 2)]);
    assert_eq!(shown(&s.view(&v2)), format!("cds#3 {A} -{B}"));
    let status = s.status();
    assert_eq!(
        (status[&Cluster].sent, status[&Cluster].acked),
        (2, 1),
        "on its way"
    );
    assert_eq!(
        status[&Listener].acked, 2,
        "left untouched counts as acknowledged"
    );
    assert_eq!(shown(&s.request(Cluster, ack("3", &[]), &v2)), "");
    assert_eq!(s.status()[&Cluster].acked, 2);
}

#[test]
fn changes_wait_for_the_answer_and_are_merged() {
    use Kind::Cluster;
    let mut s = stream(Variant::Delta);
    let v1 = view(1, Scope::all(), &[(Cluster, A, 1)]);
    s.request(Cluster, ask(&[]), &v1);
    assert_eq!(
        shown(&s.view(&view(2, Scope::all(), &[(Cluster, A, 2)]))),
        "",
        "the first is not answered yet"
    );
    let v3 = view(3, Scope::all(), &[(Cluster, A, 3)]);
    assert_eq!(shown(&s.view(&v3)), "");
    assert_eq!(
        shown(&s.request(Cluster, ack("1", &[]), &v3)),
        format!("cds#2 {A}")
    );
}

#[test]
fn a_change_of_endpoints_concerns_those_who_asked_for_them() {
    use Kind::{Cluster, Endpoint};
    // A delta proxy names only what it adds; the other variant names all it wants in every request.
    let again: [(Variant, &[&str]); 2] = [(Variant::Delta, &[]), (Variant::StateOfTheWorld, &[A])];
    for (variant, still) in again {
        let mut s = stream(variant);
        let v1 = view(
            1,
            Scope::all(),
            &[(Cluster, A, 1), (Endpoint, A, 1), (Endpoint, B, 1)],
        );
        s.request(Cluster, ask(&[]), &v1);
        s.request(Cluster, ack("1", &[]), &v1);
        assert_eq!(
            shown(&s.request(Endpoint, ask(&[A]), &v1)),
            format!("eds#2 {A}")
        );
        s.request(Endpoint, ack("2", still), &v1);
        let other = view(
            2,
            endpoints_of("b.b"),
            &[(Endpoint, A, 9), (Endpoint, B, 2)],
        );
        assert_eq!(
            shown(&s.view(&other)),
            "",
            "{variant:?}: not asked for b, so nothing was even looked at"
        );
        assert_eq!(s.status()[&Endpoint].acked, 2);
        let own = view(
            3,
            endpoints_of("a.b"),
            &[(Endpoint, A, 3), (Endpoint, B, 2)],
        );
        assert_eq!(shown(&s.view(&own)), format!("eds#3 {A}"), "{variant:?}");
        assert_eq!(
            s.status()[&Cluster].acked,
            3,
            "{variant:?}: clusters are untouched"
        );
    }
}

#[test]
fn what_did_not_touch_a_type_while_its_answer_was_awaited_is_acknowledged_with_it() {
    let mut s = stream(Variant::Delta);
    let v1 = view(1, Scope::all(), &[(Kind::Cluster, A, 1)]);
    s.request(Kind::Cluster, ask(&[]), &v1);
    let v2 = view(2, endpoints_of("a.b"), &[(Kind::Cluster, A, 1)]);
    assert_eq!(shown(&s.view(&v2)), "");
    assert_eq!(shown(&s.request(Kind::Cluster, ack("1", &[]), &v2)), "");
    assert_eq!(s.status()[&Kind::Cluster].acked, 2);
}

#[test]
fn a_replaced_cluster_is_warmed_with_its_endpoints() {
    use Kind::{Cluster, Endpoint};
    let mut s = stream(Variant::Delta);
    let v1 = view(1, Scope::all(), &[(Cluster, A, 1), (Endpoint, A, 1)]);
    s.request(Cluster, ask(&[]), &v1);
    s.request(Endpoint, ask(&[A]), &v1);
    s.request(Cluster, ack("1", &[]), &v1);
    s.request(Endpoint, ack("2", &[]), &v1);
    let v2 = view(2, Scope::all(), &[(Cluster, A, 2), (Endpoint, A, 1)]);
    assert_eq!(shown(&s.view(&v2)), format!("cds#3 {A}, eds#4 {A}"));
}

#[test]
fn a_refusal_is_remembered_and_not_repeated() {
    use Kind::Listener;
    let mut s = stream(Variant::Delta);
    let v1 = view(1, Scope::all(), &[(Listener, "l", 1)]);
    s.request(Listener, ask(&[]), &v1);
    assert_eq!(shown(&s.request(Listener, nack("1"), &v1)), "");
    let status = s.status();
    assert_eq!(
        (
            status[&Listener].rejected.as_deref(),
            status[&Listener].n_rejected,
            status[&Listener].acked
        ),
        (Some("no"), 1, 0)
    );
    assert_eq!(
        shown(&s.view(&view(2, Scope::all(), &[(Listener, "l", 1)]))),
        "",
        "the same again would be refused again"
    );
    assert_eq!(
        s.status()[&Listener].acked,
        0,
        "and does not count as acknowledged"
    );
    let v3 = view(3, Scope::all(), &[(Listener, "l", 3)]);
    assert_eq!(shown(&s.view(&v3)), "lds#2 l");
    s.request(Listener, ack("2", &[]), &v3);
    assert_eq!(
        (
            s.status()[&Listener].rejected.clone(),
            s.status()[&Listener].acked
        ),
        (None, 3)
    );
}

#[test]
fn state_of_the_world_sends_all_clusters_but_only_new_routes() {
    use Kind::{Cluster, Route};
    let mut s = stream(Variant::StateOfTheWorld);
    let v1 = view(
        1,
        Scope::all(),
        &[
            (Cluster, A, 1),
            (Cluster, B, 1),
            (Route, "80", 1),
            (Route, "90", 1),
        ],
    );
    assert_eq!(
        shown(&s.request(Cluster, ask(&[]), &v1)),
        format!("cds#1 {A} {B}")
    );
    s.request(Cluster, ack("1", &[]), &v1);
    assert_eq!(shown(&s.request(Route, ask(&["80"]), &v1)), "rds#2 80");
    assert_eq!(
        shown(&s.request(Route, ack("2", &["80", "90"]), &v1)),
        "rds#3 90"
    );
    assert_eq!(
        shown(&s.request(Route, ack("2", &["80"]), &v1)),
        "",
        "an old nonce says nothing"
    );
    s.request(Route, ack("3", &["80", "90"]), &v1);
    let v2 = view(
        2,
        Scope::all(),
        &[
            (Cluster, A, 2),
            (Cluster, B, 1),
            (Route, "80", 2),
            (Route, "90", 1),
        ],
    );
    assert_eq!(shown(&s.view(&v2)), format!("cds#4 {A} {B}, rds#5 80"));
}

#[test]
fn a_reconnecting_delta_proxy_gets_only_what_it_lacks() {
    use Kind::Cluster;
    let mut s = stream(Variant::Delta);
    let v1 = view(1, Scope::all(), &[(Cluster, A, 10), (Cluster, B, 11)]);
    let initial = [
        (A.into(), format!("{:x}", 10)),
        (B.into(), "1".to_owned()),
        ("gone".into(), "2".to_owned()),
    ]
    .into();
    let request = Request {
        initial,
        ..Request::default()
    };
    assert_eq!(
        shown(&s.request(Cluster, request, &v1)),
        format!("cds#1 {B} -gone")
    );
}

#[test]
fn what_does_not_exist_is_said_to_a_delta_proxy() {
    let mut s = stream(Variant::Delta);
    let v1 = view(1, Scope::all(), &[]);
    assert_eq!(
        shown(&s.request(Kind::Route, ask(&["80"]), &v1)),
        "rds#1 -80"
    );
    s.request(Kind::Route, ack("1", &[]), &v1);
    let v2 = view(2, Scope::all(), &[(Kind::Route, "80", 1)]);
    assert_eq!(shown(&s.view(&v2)), "rds#2 80", "and given once it does");
}

/// A mesh with two patches of a listener, each of which makes another version of it.
struct Patched(Vec<NamedPatch>);

impl Patched {
    fn new() -> Self {
        use hawser_model::filter::{ApplyTo, Context, Operation, Patch, Target};
        let patch = |(index, name): (usize, &str)| NamedPatch {
            filter: hawser_model::Meta {
                namespace: "a".into(),
                name: name.into(),
                created_s: i64::try_from(index).unwrap(),
            },
            patch: Patch {
                index,
                apply_to: ApplyTo::Listener,
                context: Context::Any,
                proxy_version: "".into(),
                proxy_metadata: Vec::new(),
                target: Target::default(),
                operation: Operation::Merge,
                value: "{}".into(),
            },
        };
        Self(
            ["old", "young"]
                .into_iter()
                .enumerate()
                .map(patch)
                .collect(),
        )
    }
}

impl Source for Patched {
    fn resources(&self, proxy: &Proxy, kind: Kind, _: Option<&BTreeSet<Str>>) -> Given {
        let left = self.0.iter().filter(|p| !proxy.refused.contains(p));
        let version: u64 = left.map(|p| 1 << p.patch.index).sum();
        Table([((kind, "all"), version)].into()).resources(proxy, kind, None)
    }

    fn suspect(&self, proxy: &Proxy, _: Kind, cleared: &[NamedPatch]) -> Option<NamedPatch> {
        let is_free = |p: &&NamedPatch| !proxy.refused.contains(p) && !cleared.contains(p);
        self.0.iter().rev().find(is_free).cloned()
    }
}

#[test]
fn patches_are_left_out_until_the_proxy_is_content() {
    use Kind::{Cluster, Listener};
    for variant in [Variant::Delta, Variant::StateOfTheWorld] {
        let mut s = stream(variant);
        let v1 = View {
            source: Arc::new(Patched::new()),
            sequence: 1,
            scope: Scope::all(),
        };
        let left_out = |s: &Stream| -> Vec<String> {
            let all = s.refused_patches().into_iter();
            all.map(|r| r.named.filter.name.to_string()).collect()
        };
        s.request(Cluster, ask(&[]), &v1);
        s.request(Cluster, ack("1", &[]), &v1);
        assert_eq!(shown(&s.request(Listener, ask(&[]), &v1)), "lds#2 all");
        // What the patch stood in of other types is sent too.
        let pushes = shown(&s.request(Listener, nack("2"), &v1));
        assert_eq!(pushes, "cds#3 all, lds#4 all", "{variant:?}");
        assert_eq!(left_out(&s), ["young"]);
        s.request(Cluster, ack("3", &[]), &v1);
        // The same complaint: it was the other one.
        assert_eq!(
            shown(&s.request(Listener, nack("4"), &v1)),
            "cds#5 all, lds#6 all"
        );
        assert_eq!(left_out(&s), ["old"]);
        // Said twice, it counts once.
        assert_eq!(shown(&s.request(Listener, nack("4"), &v1)), "");
        assert_eq!(shown(&s.request(Listener, ack("6", &[]), &v1)), "");
        assert_eq!(left_out(&s), ["old"]);
    }
}
