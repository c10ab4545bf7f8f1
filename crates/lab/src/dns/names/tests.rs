use super::*;
use crate::controllers::testing::world;
use crate::dns::plan::plan;

const CLUSTER: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {clusterIP: 10.96.0.7, ports: [{name: http, port: 80}, {name: dns, port: 53, protocol: UDP}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: default}
spec: {clusterIP: None, ports: [{name: sql, port: 5432}]}
---
apiVersion: v1
kind: Service
metadata: {name: idle, namespace: default}
spec: {clusterIP: None}
---
apiVersion: v1
kind: Service
metadata: {name: out, namespace: default}
spec: {type: ExternalName, externalName: Example.org.}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: db-1, namespace: default, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
ports: [{name: sql, port: 5432}]
endpoints:
- {addresses: [10.1.0.2], hostname: db-0}
- {addresses: [10.1.0.3]}
- {addresses: [10.1.0.4], conditions: {ready: false}}
---
apiVersion: v1
kind: Pod
metadata: {name: p, namespace: default}
status: {podIP: 10.1.0.9}
";

fn check(name: &str, wanted: Wanted, expected: &str) {
    check_with("pods insecure", name, wanted, expected);
}

/// What is known of `name`, as `NAME=DATA …`, `nodata`, `nxdomain` or `elsewhere`.
fn check_with(options: &str, name: &str, wanted: Wanted, expected: &str) {
    let corefile = format!(". {{\n kubernetes cluster.local in-addr.arpa {{\n {options}\n }}\n}}");
    let plan = plan(&corefile).expect("a good Corefile");
    let plugin = plan
        .servers
        .first()
        .and_then(|server| server.kubernetes.clone())
        .expect("the plugin");
    let shown = match lookup(&world(CLUSTER), &plugin, name, wanted) {
        Known::Elsewhere => "elsewhere".to_owned(),
        Known::Nothing { .. } => "nxdomain".to_owned(),
        Known::Records { records, .. } if records.is_empty() => "nodata".to_owned(),
        Known::Records { records, .. } => records
            .iter()
            .map(|record| show(name, record))
            .collect::<Vec<_>>()
            .join(" "),
    };
    assert_eq!(shown, expected, "{name} {wanted:?}");
}

fn show(name: &str, record: &Record) -> String {
    assert_eq!(record.owner, name);
    match &record.data {
        Data::A(ip) => ip.to_string(),
        Data::Cname(target) => format!("cname:{target}"),
        Data::Ptr(target) => format!("ptr:{target}"),
        Data::Srv { port, target } => format!("srv:{port}:{target}"),
        Data::Txt(text) => format!("txt:{text}"),
        Data::Ns(target) => format!("ns:{target}"),
        Data::Soa => "soa".to_owned(),
    }
}

#[test]
fn services() {
    check("web.default.svc.cluster.local", Wanted::A, "10.96.0.7");
    check("web.default.svc.cluster.local", Wanted::Other, "nodata");
    check(
        "web.default.svc.cluster.local",
        Wanted::Srv,
        "srv:53:web.default.svc.cluster.local srv:80:web.default.svc.cluster.local",
    );
    check(
        "_http._tcp.web.default.svc.cluster.local",
        Wanted::Srv,
        "srv:80:web.default.svc.cluster.local",
    );
    check(
        "_http._udp.web.default.svc.cluster.local",
        Wanted::Srv,
        "nxdomain",
    );
    check("_tcp.web.default.svc.cluster.local", Wanted::A, "nodata");
    check("web.other.svc.cluster.local", Wanted::A, "nxdomain");
    check("none.default.svc.cluster.local", Wanted::A, "nxdomain");
    check(
        "out.default.svc.cluster.local",
        Wanted::A,
        "cname:example.org",
    );
}

#[test]
fn headless_services() {
    check(
        "db.default.svc.cluster.local",
        Wanted::A,
        "10.1.0.2 10.1.0.3",
    );
    check("db-0.db.default.svc.cluster.local", Wanted::A, "10.1.0.2");
    check(
        "10-1-0-3.db.default.svc.cluster.local",
        Wanted::A,
        "10.1.0.3",
    );
    check(
        "10-1-0-4.db.default.svc.cluster.local",
        Wanted::A,
        "nxdomain",
    );
    check(
        "_sql._tcp.db.default.svc.cluster.local",
        Wanted::Srv,
        "srv:5432:10-1-0-3.db.default.svc.cluster.local srv:5432:db-0.db.default.svc.cluster.local",
    );
    check("idle.default.svc.cluster.local", Wanted::A, "nodata");
}

#[test]
fn pods() {
    check("10-1-0-9.default.pod.cluster.local", Wanted::A, "10.1.0.9");
    check("10-1-0-8.default.pod.cluster.local", Wanted::A, "10.1.0.8");
    check("10-1-0-9.other.pod.cluster.local", Wanted::A, "nxdomain");
    check_with(
        "pods verified",
        "10-1-0-8.default.pod.cluster.local",
        Wanted::A,
        "nxdomain",
    );
    check_with(
        "ttl 7",
        "10-1-0-9.default.pod.cluster.local",
        Wanted::A,
        "nxdomain",
    );
}

#[test]
fn what_lies_between() {
    check("cluster.local", Wanted::Soa, "soa");
    check("cluster.local", Wanted::A, "nodata");
    check("dns-version.cluster.local", Wanted::Txt, "txt:1.1.0");
    check("svc.cluster.local", Wanted::A, "nodata");
    check("default.svc.cluster.local", Wanted::A, "nodata");
    check("other.svc.cluster.local", Wanted::A, "nxdomain");
    // As resolvers with a search path ask.
    check(
        "reviews.default.global.default.svc.cluster.local",
        Wanted::A,
        "nxdomain",
    );
    check("reviews.default.global", Wanted::A, "elsewhere");
    check("notcluster.local", Wanted::A, "elsewhere");
}

#[test]
fn reverse() {
    check(
        "7.0.96.10.in-addr.arpa",
        Wanted::Ptr,
        "ptr:web.default.svc.cluster.local",
    );
    check(
        "2.0.1.10.in-addr.arpa",
        Wanted::Ptr,
        "ptr:db-0.db.default.svc.cluster.local",
    );
    check("9.0.1.10.in-addr.arpa", Wanted::Ptr, "nxdomain");
    check_with(
        "fallthrough in-addr.arpa",
        "9.0.1.10.in-addr.arpa",
        Wanted::Ptr,
        "elsewhere",
    );
    check("x.in-addr.arpa", Wanted::Ptr, "nxdomain");
}

proptest::proptest! {
    #[test]
    fn never_panics(name in "[a-z0-9._-]{0,60}", zone in "(\\.svc|\\.pod)?\\.(cluster\\.local|in-addr\\.arpa)") {
        let plan = plan(". {\n kubernetes cluster.local in-addr.arpa {\n pods insecure\n }\n}").expect("good");
        let plugin = plan.servers.first().and_then(|server| server.kubernetes.clone()).expect("the plugin");
        lookup(&world(CLUSTER), &plugin, &format!("{name}{zone}"), Wanted::Any);
    }
}
