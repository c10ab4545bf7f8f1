use std::path::PathBuf;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use serde_json::{Value, json};

use super::*;
use crate::controllers::testing::{add, world};
use crate::net::in_netns;

fn net() -> NodeNet {
    NodeNet {
        netns: PathBuf::new(),
        pod_bridge: "pods0".to_owned(),
        wan_if: "wan0".to_owned(),
        node_ip: "172.30.0.11".parse().expect("address"),
        pod_cidr: "10.1.0.0/16".parse().expect("network"),
        service_cidr: "10.96.0.0/16".parse().expect("network"),
        lb_pool: "172.30.1.0/24".parse().expect("network"),
    }
}

/// Every one of these lines is in the rules for this world.
fn check(name: &str, yaml: &str, expected: &[&str]) {
    let rules = render(&world(yaml), &net());
    for line in expected {
        assert!(
            rules
                .lines()
                .any(|given| given.trim().trim_end_matches(',') == *line),
            "{name}: no {line:?} in\n{rules}"
        );
    }
}

fn service(spec: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec: {{clusterIP: 10.96.0.7, {spec}}}\n"
    )
}

fn slice(ports: &str, endpoints: &str) -> String {
    format!(
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: web-1, labels: {{kubernetes.io/service-name: web}}}}\naddressType: IPv4\nports: [{ports}]\nendpoints: [{endpoints}]\n"
    )
}

const HTTP: &str = "ports: [{name: http, port: 80, targetPort: 8080}]";
const TARGET: &str = "{name: http, port: 8080, protocol: TCP}";

#[test]
fn services_become_rules() {
    let one = slice(TARGET, "{addresses: [10.1.0.2]}");
    let two = slice(
        TARGET,
        "{addresses: [10.1.0.3]}, {addresses: [10.1.0.2], conditions: {ready: true}}, {addresses: [10.1.0.4], conditions: {ready: false}}",
    );
    check(
        "one endpoint",
        &(service(HTTP) + &one),
        &[
            "10.96.0.7 . tcp . 80 : goto to/default/web/tcp/80",
            "meta l4proto tcp dnat ip to 10.1.0.2:8080",
            "10.1.0.2 . 10.1.0.2",
        ],
    );
    check(
        "several share",
        &(service(HTTP) + &two),
        &[
            "meta l4proto tcp dnat ip to numgen random mod 2 map { 0 : 10.1.0.2 . 8080, 1 : 10.1.0.3 . 8080 }",
        ],
    );
    check(
        "the same client, the same endpoint",
        &(service(&format!("sessionAffinity: ClientIP, {HTTP}")) + &two),
        &[
            "meta l4proto tcp dnat ip to jhash ip saddr mod 2 seed 1 map { 0 : 10.1.0.2 . 8080, 1 : 10.1.0.3 . 8080 }",
        ],
    );
    check(
        "none: refused, not lost",
        &service(HTTP),
        &["10.96.0.7 . tcp . 80 : goto refuse"],
    );
    check(
        "all are going: they still serve",
        &(service(HTTP)
            + &slice(
                TARGET,
                "{addresses: [10.1.0.2], conditions: {ready: false, serving: true, terminating: true}}",
            )),
        &["meta l4proto tcp dnat ip to 10.1.0.2:8080"],
    );
    let outside = "type: LoadBalancer, externalIPs: [172.30.0.99], loadBalancerSourceRanges: [172.30.0.0/24], \
                   ports: [{name: http, port: 80, nodePort: 30080}]";
    let status = "status: {loadBalancer: {ingress: [{ip: 172.30.1.1}]}}\n";
    check(
        "from outside",
        &(service(outside) + status + &one),
        &[
            "172.30.0.99 . tcp . 80 : goto to/default/web/tcp/80",
            "172.30.1.1 . tcp . 80 : goto to/default/web/tcp/80",
            "tcp . 30080 : goto to/default/web/tcp/80",
            "ip daddr 172.30.1.1 tcp dport 80 ip saddr != { 172.30.0.0/24 } drop",
        ],
    );
    check(
        "headless services have no rules",
        &(service(HTTP).replace("10.96.0.7", "None") + &one),
        &["map fronts {"],
    );
}

/// Objects with few names, addresses and ports, so that they clash.
fn objects() -> impl Strategy<Value = Vec<Value>> {
    let service = (0..3u8, 0..4u8, prop::option::of(0..3u16), 0..3u8, any::<bool>()).prop_map(
        |(name, ip, node_port, balancer, sticky)| {
            let port = json!({"name": "p", "port": 80, "nodePort": node_port.map(|port| 30000 + port), "protocol": "TCP"});
            json!({
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": format!("s{name}")},
                "spec": {"clusterIP": if ip == 0 { "None".to_owned() } else { format!("10.96.0.{ip}") },
                    "sessionAffinity": if sticky { "ClientIP" } else { "None" },
                    "loadBalancerSourceRanges": if sticky { json!(["10.0.0.0/8", "nonsense"]) } else { json!(null) },
                    "ports": [port]},
                "status": {"loadBalancer": {"ingress": [{"ip": format!("172.30.1.{balancer}")}]}},
            })
        },
    );
    let slice = (0..4u8, 0..3u8, prop::collection::vec(0..5u8, 0..4)).prop_map(|(name, service, ips)| {
        let endpoints: Vec<Value> = ips.iter().map(|ip| json!({"addresses": [format!("10.1.0.{ip}")]})).collect();
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": format!("e{name}"), "labels": {"kubernetes.io/service-name": format!("s{service}")}},
            "addressType": "IPv4", "endpoints": endpoints, "ports": [{"name": "p", "port": 8080}],
        })
    });
    prop::collection::vec(prop_oneof![service, slice], 0..10)
}

/// One object per kind and name: the API server keeps no two.
fn distinct(objects: Vec<Value>) -> Vec<Value> {
    let mut seen = BTreeSet::new();
    objects
        .into_iter()
        .filter(|o| seen.insert(format!("{}{}", o["kind"], o["metadata"]["name"])))
        .collect()
}

fn rules_of(objects: &[Value]) -> String {
    let mut world = World::default();
    objects
        .iter()
        .for_each(|object| add(&mut world, object.clone()));
    render(&world, &net())
}

proptest! {
    #[test]
    fn the_order_of_arrival_changes_nothing(objects in objects()) {
        let objects = distinct(objects);
        let mut turned = objects.clone();
        turned.reverse();
        prop_assert_eq!(rules_of(&objects), rules_of(&turned));
    }
}

/// nft itself reads the rules, in a namespace of this test's own, twice: the second replaces the first.
#[test]
fn nft_takes_the_rules() {
    let netns = crate::net::Netns::create().expect("a network namespace: run the tests as root");
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..8 {
        let objects = objects().new_tree(&mut runner).expect("objects").current();
        let rules = rules_of(&distinct(objects));
        in_netns(netns.path(), || {
            super::super::feed("nft", &["-f", "-"], &rules)
        })
        .unwrap_or_else(|error| panic!("{error}\n{rules}"));
    }
}
