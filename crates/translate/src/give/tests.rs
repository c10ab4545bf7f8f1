//! Sidecars of one audience share what they are given; that must be what each would be given alone.

use std::sync::Arc;

use hawser_lower::{Lowerer, Settings};
use hawser_model::{ClusterId, Proxy};
use hawser_proto::envoy::config::core::v3::Node;
use prost::Message;
use serde_json::{Value, json};

use super::*;

const PARTS: [Part; 5] = [
    Part::Clusters,
    Part::Endpoints,
    Part::Listeners,
    Part::Routes,
    Part::Names,
];

/// What every case has: a service, a headless one, and their pods.
const MESH: &str = "
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: a}, spec: {clusterIP: 10.96.0.1, selector: {app: web}, ports: [{name: http, port: 80}, {name: tcp, port: 90}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: web-0, namespace: a, labels: {app: web, version: v1, topology.istio.io/network: n1}}, spec: {nodeName: n1}, status: {podIP: 10.1.0.1, phase: Running, conditions: [{type: Ready, status: 'True'}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: client-0, namespace: a, labels: {app: client, tier: gold}}, spec: {nodeName: n1}, status: {podIP: 10.1.0.9, phase: Running, conditions: [{type: Ready, status: 'True'}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: web-x, namespace: a, labels: {kubernetes.io/service-name: web}}, addressType: IPv4, ports: [{name: http, port: 80}, {name: tcp, port: 90}], endpoints: [{addresses: [10.1.0.1], targetRef: {kind: Pod, name: web-0}}]}
---
{apiVersion: v1, kind: Service, metadata: {name: db, namespace: a}, spec: {clusterIP: None, selector: {app: db}, ports: [{name: tcp, port: 5432}, {name: http, port: 80}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: db-0, namespace: a, labels: {app: db}}, spec: {nodeName: n1, subdomain: db, hostname: db-0}, status: {podIP: 10.1.0.3, phase: Running, conditions: [{type: Ready, status: 'True'}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: db-x, namespace: a, labels: {kubernetes.io/service-name: db}}, addressType: IPv4, ports: [{name: tcp, port: 5432}, {name: http, port: 80}], endpoints: [{addresses: [10.1.0.3], hostname: db-0, targetRef: {kind: Pod, name: db-0}}]}
";

fn istio(group: &str, kind: &str, namespace: &str, spec: &str) -> String {
    format!(
        "---\n{{apiVersion: {group}.istio.io/v1, kind: {kind}, metadata: {{name: x, namespace: {namespace}}}, spec: {spec}}}\n"
    )
}

fn networking(kind: &str, spec: &str) -> String {
    istio("networking", kind, "a", spec)
}

fn translator(more: &str) -> Translator {
    let text = format!("{MESH}{more}");
    let manifest = hawser_api::manifest::read("test.yaml", text.as_bytes());
    assert!(manifest.errors.is_empty(), "{:?}", manifest.errors);
    let cluster = ClusterId::new("c1");
    let objects = manifest.docs.into_iter().map(|d| {
        let parsed = hawser_api::parse(d.value);
        (
            cluster.clone(),
            parsed.unwrap_or_else(|e| panic!("{e}")).resource,
        )
    });
    let settings = Settings::new(cluster.clone());
    Translator::new(Lowerer::from_objects(settings, objects).snapshot())
}

/// A sidecar in namespace `a`, which differs from others in what the node says.
fn sidecar(name: &str, address: &str, node: Value) -> Proxy {
    let mut metadata = json!({"CLUSTER_ID": "c1", "NAMESPACE": "a", "SERVICE_ACCOUNT": name, "LABELS": {"app": name}});
    let mut locality = json!({});
    for (key, value) in node.as_object().into_iter().flatten() {
        match key.as_str() {
            "locality" => locality = value.clone(),
            _ => metadata[key] = value.clone(),
        }
    }
    let id = format!("sidecar~{address}~{name}.a~a.svc.cluster.local");
    let node = json!({"id": id, "cluster": name, "metadata": metadata, "locality": locality});
    let node = hawser_proto::json::parse("envoy.config.core.v3.Node", &node).unwrap();
    let node = Node::decode(node.encode_to_vec().as_slice()).unwrap();
    crate::node::proxy(&node).unwrap()
}

fn proxies() -> Vec<Proxy> {
    vec![
        sidecar("one", "10.1.0.20", json!({})),
        sidecar("two", "10.1.0.21", json!({"ISTIO_VERSION": "1.29.0"})),
        // The pod's labels in the cluster are others than the node says.
        sidecar("client-0", "10.1.0.9", json!({"LABELS": {"app": "client"}})),
        sidecar(
            "gold",
            "10.1.0.22",
            json!({"LABELS": {"tier": "gold", "version": "v1"}}),
        ),
        sidecar("web-0", "10.1.0.1", json!({"LABELS": {"app": "web"}})),
        sidecar("db-0", "10.1.0.3", json!({"LABELS": {"app": "db"}})),
        sidecar(
            "far",
            "10.1.0.23",
            json!({"locality": {"region": "r2", "zone": "z2"}}),
        ),
        sidecar("net", "10.1.0.24", json!({"NETWORK": "n2"})),
        sidecar("six", "fd00::9", json!({})),
        sidecar(
            "dns",
            "10.1.0.25",
            json!({"DNS_CAPTURE": "true", "HTTP10": "1", "IDLE_TIMEOUT": "5s", "INTERCEPTION_MODE": "TPROXY"}),
        ),
        sidecar("other", "10.1.0.26", json!({"CLUSTER_ID": "c2"})),
    ]
}

fn bytes(of: &BTreeMap<Str, Rendered>) -> BTreeMap<&str, &[u8]> {
    of.iter()
        .map(|(n, r)| (&**n, r.any.value.as_slice()))
        .collect()
}

/// Every sidecar, asked in turn so that earlier ones could spoil it for later ones.
fn check(name: &str, more: &str) {
    let translator = translator(more);
    for proxy in proxies() {
        let session = translator.session(&proxy);
        for part in PARTS {
            let shared = translator.shared(&session, part);
            let alone = translator.select(part, &session);
            assert_eq!(
                bytes(shared.resources()),
                bytes(&alone),
                "{name}: {part:?} of {}",
                proxy.id
            );
        }
    }
}

#[test]
fn shared_is_what_each_would_be_given_alone() {
    let rule = |policy: &str| networking("DestinationRule", &format!("{{host: web, {policy}}}"));
    let cases = [
        ("nothing asks who calls", String::new()),
        (
            "a rule for certain workloads",
            rule(
                "workloadSelector: {matchLabels: {tier: gold}}, trafficPolicy: {connectionPool: {tcp: {maxConnections: 1}}}",
            ),
        ),
        (
            "failover by the caller's labels",
            rule(
                "trafficPolicy: {outlierDetection: {}, loadBalancer: {localityLbSetting: {failoverPriority: [version]}}}",
            ),
        ),
        (
            "failover by the caller's place",
            rule("trafficPolicy: {outlierDetection: {}}"),
        ),
        (
            "shares by the caller's place",
            rule(
                "trafficPolicy: {loadBalancer: {localityLbSetting: {distribute: [{from: 'r2/*', to: {'r1/*': 100}}]}}}",
            ),
        ),
        (
            "routes by the caller's labels",
            networking(
                "VirtualService",
                "{hosts: [web], http: [{match: [{sourceLabels: {tier: gold}}], route: [{destination: {host: db, port: {number: 80}}}]}, {route: [{destination: {host: web}}]}]}",
            ),
        ),
        (
            "tcp routes by the caller's labels",
            networking(
                "VirtualService",
                "{hosts: [web], tcp: [{match: [{sourceLabels: {app: client}}], route: [{destination: {host: db, port: {number: 5432}}}]}, {route: [{destination: {host: web}}]}]}",
            ),
        ),
        (
            "a Sidecar for some",
            networking(
                "Sidecar",
                "{workloadSelector: {labels: {app: client}}, egress: [{hosts: ['./db.a.svc.cluster.local']}]}",
            ),
        ),
        (
            "logs of some",
            istio(
                "telemetry",
                "Telemetry",
                "a",
                "{selector: {matchLabels: {app: client}}, accessLogging: [{providers: [{name: envoy}]}]}",
            ),
        ),
        (
            "filters for some",
            "---\n{apiVersion: networking.istio.io/v1alpha3, kind: EnvoyFilter, metadata: {name: x, namespace: a}, spec: {workloadSelector: {labels: {app: client}}, configPatches: [{applyTo: CLUSTER, match: {context: SIDECAR_OUTBOUND}, patch: {operation: MERGE, value: {connect_timeout: 3s}}}, {applyTo: HTTP_ROUTE, match: {context: SIDECAR_OUTBOUND}, patch: {operation: MERGE, value: {route: {timeout: 1s}}}}]}}\n".to_owned(),
        ),
        (
            "near endpoints first",
            "---\n{apiVersion: v1, kind: Service, metadata: {name: near, namespace: a, annotations: {networking.istio.io/traffic-distribution: PreferSameNode}}, spec: {clusterIP: 10.96.0.7, ports: [{name: http, port: 80}]}}\n".to_owned(),
        ),
        (
            "an authority's name by the caller's cluster",
            networking(
                "ServiceEntry",
                "{hosts: [x.example.com], resolution: DNS, ports: [{name: tls, number: 443, protocol: TLS}]}",
            ),
        ),
    ];
    for (name, more) in cases {
        check(name, &more);
    }
}

#[test]
fn many_share_one_selection() {
    let translator = translator("");
    let of = |proxy: &Proxy, part| translator.shared(&translator.session(proxy), part);
    let proxies = proxies();
    for part in PARTS {
        let (one, two) = (of(&proxies[0], part), of(&proxies[1], part));
        assert!(Arc::ptr_eq(&one, &two), "{part:?}");
    }
    // Of a headless service's pods each has listeners but for its own address.
    let db = of(&proxies[5], Part::Listeners);
    assert!(!Arc::ptr_eq(&db, &of(&proxies[0], Part::Listeners)));
}
