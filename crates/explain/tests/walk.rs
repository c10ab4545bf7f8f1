//! From Istio YAML to what becomes of a call: the meaning of configuration, rather than its bytes.

use hawser_api::{Change, Event, SourceId};
use hawser_explain::{Call, Config, HttpCall, TlsCall, Trace, Verdict, explain};
use hawser_lower::Lowerer;
use hawser_model::ClusterId;
use hawser_proto::envoy::config::core::v3::Node;
use prost::Message;

/// A client, and two versions of a service, one pod each.
const MESH: &str = r"
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: default}
spec: {clusterIP: 10.96.0.9, clusterIPs: [10.96.0.9], selector: {app: reviews}, ports: [{name: http, port: 9080}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: reviews-1, namespace: default, labels: {kubernetes.io/service-name: reviews}}
addressType: IPv4
ports: [{name: http, port: 9080, protocol: TCP}]
endpoints:
- {addresses: [10.1.0.11], conditions: {ready: true}, targetRef: {kind: Pod, name: reviews-v1, namespace: default}}
- {addresses: [10.1.0.12], conditions: {ready: true}, targetRef: {kind: Pod, name: reviews-v2, namespace: default}}
---
apiVersion: v1
kind: Pod
metadata: {name: reviews-v1, namespace: default, labels: {app: reviews, version: v1, security.istio.io/tlsMode: istio}}
spec: {serviceAccountName: reviews, containers: [{name: app, image: app}]}
status: {phase: Running, podIP: 10.1.0.11, podIPs: [{ip: 10.1.0.11}], conditions: [{type: Ready, status: 'True'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: reviews-v2, namespace: default, labels: {app: reviews, version: v2, security.istio.io/tlsMode: istio}}
spec: {serviceAccountName: reviews, containers: [{name: app, image: app}]}
status: {phase: Running, podIP: 10.1.0.12, podIPs: [{ip: 10.1.0.12}], conditions: [{type: Ready, status: 'True'}]}
";

const SUBSETS: &str = "
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: default}
spec: {host: reviews, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
";

fn config(yaml: &str, node: &str, labels: &[(&str, &str)]) -> Config {
    let mut lowerer = Lowerer::new(ClusterId::new("c1"));
    let manifest = hawser_api::manifest::read("test", yaml.as_bytes());
    assert!(manifest.errors.is_empty(), "{:?}", manifest.errors);
    for doc in manifest.docs.into_iter().filter(|d| !d.value.is_null()) {
        let resource = hawser_api::parse(doc.value)
            .expect("a known object")
            .resource;
        lowerer.apply(Change {
            source: SourceId::new("c1"),
            version: None,
            event: Event::Apply(resource),
        });
    }
    let labels: Vec<String> = labels
        .iter()
        .map(|(k, v)| format!("{k:?}: {v:?}"))
        .collect();
    let json = format!(
        "{{\"id\": {node:?}, \"metadata\": {{\"CLUSTER_ID\": \"c1\", \"NAMESPACE\": \"default\", \"LABELS\": {{{}}}}}}}",
        labels.join(", ")
    );
    let json = json.parse().expect("JSON");
    let node = hawser_proto::json::parse("envoy.config.core.v3.Node", &json).expect("a node");
    let node = Node::decode(node.encode_to_vec().as_slice()).expect("a node");
    let proxy = hawser_translate::node::proxy(&node).expect("a proxy");
    Config::of(&hawser_translate::translate(&lowerer.snapshot(), &proxy).0)
        .expect("decodable resources")
}

fn client(yaml: &str) -> Config {
    config(
        yaml,
        "sidecar~10.1.0.2~client.default~default.svc.cluster.local",
        &[("app", "client")],
    )
}

fn server(yaml: &str) -> Config {
    config(
        yaml,
        "sidecar~10.1.0.11~reviews-v1.default~default.svc.cluster.local",
        &[("app", "reviews"), ("version", "v1")],
    )
}

/// `reviews:9080` as the client's application calls it.
fn get(path: &str, headers: &[(&str, &str)]) -> Call {
    Call {
        source: "10.1.0.2".parse().expect("an address"),
        destination: "10.96.0.9:9080".parse().expect("an address"),
        received_on: 15001,
        tls: None,
        http: Some(HttpCall {
            method: "GET".to_owned(),
            authority: "reviews:9080".to_owned(),
            path: path.to_owned(),
            headers: headers
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            http2: false,
            denied_externally: false,
        }),
    }
}

/// The same as it arrives at the pod, from a peer of that service account; `None` speaks no TLS.
fn arriving(path: &str, account: Option<&str>) -> Call {
    let tls = account.map(|account| TlsCall {
        sni: "outbound_.9080_._.reviews.default.svc.cluster.local".to_owned(),
        alpn: vec!["istio-http/1.1".to_owned(), "istio".to_owned()],
        uris: vec![format!("spiffe://cluster.local/ns/default/sa/{account}")],
    });
    Call {
        destination: "10.1.0.11:9080".parse().expect("an address"),
        received_on: 15006,
        tls,
        ..get(path, &[])
    }
}

fn shown(trace: &Trace) -> String {
    match &trace.verdict {
        Verdict::Forwarded(shares) => {
            let one = |s: &hawser_explain::Share| {
                let endpoints: Vec<&str> = s.endpoints.keys().map(String::as_str).collect();
                format!("{:.0}% {} [{}]", s.percent, s.cluster, endpoints.join(" "))
            };
            shares.iter().map(one).collect::<Vec<_>>().join(", ")
        }
        Verdict::Answered { status, location } => {
            format!("{status} {location}").trim_end().to_owned()
        }
        Verdict::Refused { status, .. } => format!("refused {status}"),
        Verdict::Closed { .. } => "closed".to_owned(),
    }
}

#[track_caller]
fn check(name: &str, config: &Config, call: &Call, expected: &str) {
    let trace = explain(config, call);
    assert_eq!(shown(&trace), expected, "{name}: {trace:#?}");
}

#[test]
fn without_rules_a_call_reaches_any_endpoint() {
    let all =
        "100% outbound|9080||reviews.default.svc.cluster.local [10.1.0.11:9080 10.1.0.12:9080]";
    check("plain", &client(MESH), &get("/", &[]), all);
    let mut elsewhere = get("/", &[]);
    elsewhere.http.as_mut().expect("a request").authority = "example.com".to_owned();
    check(
        "another host on a known port",
        &client(MESH),
        &elsewhere,
        "100% PassthroughCluster [10.96.0.9:9080]",
    );
}

#[test]
fn routes_choose_by_header_path_and_weight() {
    let routes = "
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: default}
spec:
  hosts: [reviews]
  http:
  - match: [{headers: {end-user: {exact: jason}}}]
    route: [{destination: {host: reviews, subset: v2}}]
  - match: [{uri: {prefix: /old}}]
    redirect: {uri: /new}
  - match: [{uri: {exact: /teapot}}]
    directResponse: {status: 418}
  - route:
    - {destination: {host: reviews, subset: v1}, weight: 90}
    - {destination: {host: reviews, subset: v2}, weight: 10}
";
    let config = client(&format!("{MESH}{SUBSETS}{routes}"));
    let v1 = "outbound|9080|v1|reviews.default.svc.cluster.local [10.1.0.11:9080]";
    let v2 = "outbound|9080|v2|reviews.default.svc.cluster.local [10.1.0.12:9080]";
    check(
        "by user",
        &config,
        &get("/", &[("end-user", "jason")]),
        &format!("100% {v2}"),
    );
    check(
        "by weight",
        &config,
        &get("/", &[("end-user", "alice")]),
        &format!("90% {v1}, 10% {v2}"),
    );
    check(
        "redirect",
        &config,
        &get("/old/x", &[]),
        "301 http://reviews:9080/new",
    );
    check("direct", &config, &get("/teapot", &[]), "418");
}

#[test]
fn authorization_decides_at_the_server() {
    let policy = "
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: only-web, namespace: default}
spec:
  selector: {matchLabels: {app: reviews}}
  rules:
  - from: [{source: {principals: [cluster.local/ns/default/sa/web]}}]
    to: [{operation: {methods: [GET], paths: [/public/*]}}]
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: default}
spec: {mtls: {mode: STRICT}}
";
    let config = server(&format!("{MESH}{policy}"));
    let in_ = "100% inbound|9080|| [10.1.0.11:9080]";
    check(
        "the right caller",
        &config,
        &arriving("/public/a", Some("web")),
        in_,
    );
    check(
        "another caller",
        &config,
        &arriving("/public/a", Some("mallory")),
        "refused 403",
    );
    check(
        "a dot is a dot",
        &config,
        &arriving("/public/a", Some("wEb")),
        "refused 403",
    );
    check(
        "another path",
        &config,
        &arriving("/private", Some("web")),
        "refused 403",
    );
    check(
        "a path that hides where it leads",
        &config,
        &arriving("/public/../private", Some("web")),
        "refused 403",
    );
    check(
        "no certificate under STRICT",
        &config,
        &arriving("/public/a", None),
        "closed",
    );
}
