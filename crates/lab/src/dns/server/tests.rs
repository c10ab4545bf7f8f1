use super::*;
use crate::controllers::testing::add;
use hickory_proto::rr::RData;
use serde_json::json;

fn server() -> Server {
    let mut server = Server::new(PathBuf::new());
    let services = [
        json!({"name": "web", "spec": {"clusterIP": "10.96.0.7", "ports": [{"port": 80}]}}),
        json!({"name": "alias", "spec": {"type": "ExternalName", "externalName": "web.default.svc.cluster.local"}}),
        json!({"name": "loop", "spec": {"type": "ExternalName", "externalName": "loop.default.svc.cluster.local"}}),
        json!({"name": "away", "spec": {"type": "ExternalName", "externalName": "example.org"}}),
    ];
    for service in services {
        let object = json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": service["name"]}, "spec": service["spec"]});
        add(&mut server.world, object);
    }
    server
}

fn query(name: &str, type_: RecordType) -> Vec<u8> {
    let mut message = Message::query();
    message.metadata.id = 7;
    message.add_query(Query::query(wire::name(name).expect("a name"), type_));
    message.to_vec().expect("bytes")
}

/// The answer, or whom the server would ask for what.
fn check(name: &str, type_: RecordType, expected: &str) {
    let Incoming::Question(question) = read(&query(name, type_)) else {
        panic!("{name}: no question")
    };
    let shown = match server().step(&question) {
        Step::Ask {
            name,
            forward,
            so_far,
            ..
        } => {
            format!("{}ask {:?} for {name}", addresses(&so_far), forward.to)
        }
        Step::Answer(answer) => {
            // What goes over the wire is what counts.
            let bytes = for_udp(&answer, 512).expect("bytes");
            let answer = Message::from_vec(&bytes).expect("a message");
            assert_eq!((answer.metadata.id, answer.queries.len()), (7, 1), "{name}");
            let soa = answer
                .authorities
                .iter()
                .any(|record| matches!(record.data, RData::SOA(_)));
            let soa = if soa { " soa" } else { "" };
            format!(
                "{}{}{soa}",
                addresses(&answer.answers),
                answer.metadata.response_code
            )
        }
    };
    assert_eq!(shown, expected, "{name} {type_}");
}

fn addresses(records: &[hickory_proto::rr::Record]) -> String {
    records
        .iter()
        .map(|record| format!("{}={} ({}) ", record.name, record.data, record.ttl))
        .collect()
}

#[test]
fn answers() {
    let web = "web.default.svc.cluster.local.=10.96.0.7 (5) ";
    check(
        "web.default.svc.cluster.local",
        RecordType::A,
        &format!("{web}No Error"),
    );
    check(
        "WEB.default.svc.Cluster.Local",
        RecordType::A,
        &format!("{web}No Error"),
    );
    check(
        "web.default.svc.cluster.local",
        RecordType::AAAA,
        "No Error soa",
    );
    check(
        "none.default.svc.cluster.local",
        RecordType::A,
        "Non-Existent Domain soa",
    );
    let alias = "alias.default.svc.cluster.local.=web.default.svc.cluster.local. (5) ";
    check(
        "alias.default.svc.cluster.local",
        RecordType::A,
        &format!("{alias}{web}No Error"),
    );
    check(
        "alias.default.svc.cluster.local",
        RecordType::AAAA,
        &format!("{alias}No Error soa"),
    );
    check(
        "loop.default.svc.cluster.local",
        RecordType::A,
        "Server Failure",
    );
    check(
        "away.default.svc.cluster.local",
        RecordType::A,
        "away.default.svc.cluster.local.=example.org. (5) ask [Host] for example.org",
    );
    check("example.org", RecordType::MX, "ask [Host] for example.org");
}

#[test]
fn what_is_no_question_is_told_so_or_ignored() {
    assert!(matches!(read(&[]), Incoming::Noise));
    let Incoming::Wrong(answer) = read(&[0, 7, 1]) else {
        panic!("an answer")
    };
    assert_eq!(
        (answer.metadata.id, answer.metadata.response_code),
        (7, ResponseCode::FormErr)
    );
    let response = Message::response(7, hickory_proto::op::OpCode::Query)
        .to_vec()
        .expect("bytes");
    assert!(
        matches!(read(&response), Incoming::Noise),
        "two servers must not answer each other for ever"
    );
}

#[test]
fn a_broken_corefile_changes_nothing() {
    let mut server = server();
    let put = |server: &mut Server, text: &str, version: u64| {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"Corefile": text},
            "metadata": {"name": "coredns", "namespace": "kube-system", "resourceVersion": version.to_string()}});
        add(&mut server.world, object);
        let told = server.read_corefile();
        told.into_iter()
            .map(|(_, reason, message)| format!("{reason}: {message}"))
            .collect::<Vec<_>>()
    };
    let good = "global:53 {\n forward . 10.96.0.9\n}\n.:53 {\n autopath x\n}";
    let warned = "CorefileWarning: line 5: plugin autopath is not known and has no effect";
    assert_eq!(put(&mut server, good, 1), [warned]);
    let plan = server.plan.clone();
    let refused = put(&mut server, "global:53 {", 2);
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(
        refused
            .iter()
            .all(|message| message.starts_with("CorefileInvalid: Corefile line 1")),
        "{refused:?}"
    );
    assert_eq!(server.plan, plan);
    assert_eq!(
        put(&mut server, "global:53 {", 3),
        Vec::<String>::new(),
        "said once"
    );
}

#[test]
fn too_much_for_udp_is_cut_and_says_so() {
    let Incoming::Question(question) = read(&query("a.b", RecordType::A)) else {
        panic!("a question")
    };
    let name = wire::name("a.b").expect("a name");
    let record = |n| {
        let ip = hickory_proto::rr::rdata::A(std::net::Ipv4Addr::new(10, 0, 0, n));
        hickory_proto::rr::Record::from_rdata(name.clone(), 5, RData::A(ip))
    };
    let answer = finish(
        &question,
        (0..100).map(record).collect(),
        ResponseCode::NoError,
    );
    let bytes = for_udp(&answer, 512).expect("bytes");
    assert!(bytes.len() <= 512);
    assert!(
        Message::from_vec(&bytes)
            .expect("a message")
            .metadata
            .truncation
    );
    assert!(
        for_udp(&answer, 4096).expect("bytes").len() <= 1232,
        "no fragments, whatever the asker takes"
    );
}
