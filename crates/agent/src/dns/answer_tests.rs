//! Names in, answers out.

use std::collections::BTreeMap;
use std::net::IpAddr;

use hawser_proto::istio::nds::{NameInfo, NameTable};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};

use super::{for_udp, from_table};
use crate::dns::resolv::ResolvConf;
use crate::dns::table::{Table, Viewpoint};

fn table() -> Table {
    let host = |name: &str, ips: &[&str], kube: Option<(&str, &str)>| {
        let (shortname, namespace) = kube.unwrap_or_default();
        let registry = if kube.is_some() {
            "Kubernetes"
        } else {
            "External"
        };
        let info = NameInfo {
            ips: ips.iter().map(|ip| (*ip).to_owned()).collect(),
            registry: registry.to_owned(),
            shortname: shortname.to_owned(),
            namespace: namespace.to_owned(),
        };
        (name.to_owned(), info)
    };
    let table = BTreeMap::from([
        host("reviews.default.global", &["240.0.0.3"], None),
        host(
            "Details.default.svc.cluster.local",
            &["10.0.0.1"],
            Some(("details", "default")),
        ),
        host(
            "db.other.svc.cluster.local",
            &["10.0.0.2", "10.0.0.3", "fd00::2"],
            Some(("db", "other")),
        ),
        host("*.example.com", &["192.0.2.1", "nonsense"], None),
    ]);
    let viewpoint = Viewpoint {
        namespace: "default".into(),
        search: Some("default.svc.cluster.local".into()),
    };
    Table::from_name_table(&NameTable { table }, &viewpoint)
}

fn query(name: &str, kind: RecordType) -> Message {
    let mut query = Message::new(7, MessageType::Query, OpCode::Query);
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    query
}

/// The answer as text: `-` when the table has none, else its records in order.
fn answered(name: &str, kind: RecordType, turn: usize) -> String {
    let Some(answer) = from_table(&query(name, kind), &table(), turn) else {
        return "-".to_owned();
    };
    assert_eq!(answer.metadata.id, 7);
    let records = answer.answers.iter().map(|record| {
        assert_eq!(record.ttl, 30);
        record.data.to_string()
    });
    records.collect::<Vec<_>>().join(" ")
}

#[test]
fn names_of_the_mesh() {
    use RecordType::{A, AAAA, SRV};
    for (name, kind, turn, expected) in [
        ("reviews.default.global.", A, 0, "240.0.0.3"),
        ("REVIEWS.default.Global.", A, 0, "240.0.0.3"),
        ("reviews.default.global.", AAAA, 0, ""),
        ("reviews.default.global.", SRV, 0, "-"),
        (
            "reviews.default.global.default.svc.cluster.local.",
            A,
            0,
            "reviews.default.global. 240.0.0.3",
        ),
        ("reviews.default.global.svc.cluster.local.", A, 0, "-"),
        ("details.default.svc.cluster.local.", A, 0, "10.0.0.1"),
        ("details.default.svc.", A, 0, "10.0.0.1"),
        ("details.default.", A, 0, "10.0.0.1"),
        ("details.", A, 0, "10.0.0.1"),
        ("db.", A, 0, "-"),
        ("db.other.", A, 0, "10.0.0.2 10.0.0.3"),
        ("db.other.", A, 1, "10.0.0.3 10.0.0.2"),
        ("db.other.", AAAA, 5, "fd00::2"),
        ("a.b.example.com.", A, 0, "192.0.2.1"),
        ("example.com.", A, 0, "-"),
        ("kubernetes.io.", A, 0, "-"),
    ] {
        assert_eq!(answered(name, kind, turn), expected, "{name} {kind}");
    }
}

#[test]
fn large_answers_over_udp_say_so() {
    let many: Vec<IpAddr> = (0..100)
        .map(|last| IpAddr::from([10, 0, 0, last]))
        .collect();
    let table = Table::new([("many.global".to_owned(), many)]);
    for (payload, fits) in [(None, false), (Some(1232), false), (Some(4096), true)] {
        let mut query = query("many.global.", RecordType::A);
        if let Some(payload) = payload {
            let mut edns = Edns::new();
            edns.set_max_payload(payload);
            query.set_edns(edns);
        }
        let answer = from_table(&query, &table, 0).unwrap();
        let answer = Message::from_vec(&for_udp(&query, &answer).unwrap()).unwrap();
        assert_eq!(
            (answer.metadata.truncation, answer.answers.len()),
            (!fits, if fits { 100 } else { 0 }),
            "{payload:?}"
        );
    }
}

#[test]
fn resolv_conf() {
    let text = "search a.local\n; x\nsearch Default.svc.cluster.local. svc.cluster.local\nnameserver 10.0.0.10\nnameserver ::1\nnameserver x\noptions ndots:5\n";
    let conf = ResolvConf::parse(text);
    assert_eq!(
        conf.servers,
        ["10.0.0.10:53".parse().unwrap(), "[::1]:53".parse().unwrap()]
    );
    assert_eq!(
        conf.search,
        ["default.svc.cluster.local", "svc.cluster.local"]
    );
}
