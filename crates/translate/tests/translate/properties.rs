//! What must always hold: nothing panics, order changes nothing, and what is remembered is what would be made afresh.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hawser_api::Resource;
use hawser_lower::Lowerer;
use hawser_model::{ClusterId, Proxy, Snapshot};
use hawser_proto::envoy::config::listener::v3::{FilterChainMatch, Listener};
use hawser_proto::envoy::config::route::v3::RouteConfiguration;
use hawser_translate::{Resources, Translator, translate};
use proptest::prelude::*;
use prost::Message;
use serde_json::json;

use crate::mesh::{Mesh, app, gateway, istio, objects, proxy, sidecar};

/// Objects that meet in every way. Each has variants, and each may be absent.
fn world() -> Vec<(&'static str, Vec<Vec<Resource>>)> {
    let ports = ["http 80 8080", "tcp 90 9090", "auto 100 1000"];
    let web = |vip: &str, ports: &[&str], pods: &[&str]| app("a", "web", vip, ports, pods);
    let east_west = "{port: {number: 15443, name: tls, protocol: TLS}, hosts: ['*.global', '*.local'], tls: {mode: AUTO_PASSTHROUGH}}";
    let texts: Vec<(&str, Vec<String>)> = vec![
        (
            "c1",
            vec![
                web(
                    "10.96.0.1",
                    &ports,
                    &["10.1.0.1 mtls version=v1 at=r1.z1", "10.1.0.2 version=v2"],
                ),
                web("None", &ports[1..2], &["10.1.0.3 mtls"]),
                web("10.96.0.2", &["http 90 1", "grpc 91 2", "https 443 3"], &[]),
            ],
        ),
        (
            "c2",
            vec![
                web(
                    "10.97.0.1",
                    &ports,
                    &["10.2.0.1 mtls version=v1", "10.2.0.2 mtls at=r2.z1"],
                ),
                web("10.97.0.1", &["tcp 80 80"], &["10.2.0.1"]),
            ],
        ),
        (
            "c1",
            vec![app(
                "b",
                "client",
                "10.96.0.9",
                &["http 80 80"],
                &["10.1.0.9 mtls"],
            )],
        ),
        (
            "c1",
            vec![
                istio(
                    "DestinationRule",
                    "a",
                    "r",
                    "{host: web, subsets: [{name: v1, labels: {version: v1}}], trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}",
                ),
                istio(
                    "DestinationRule",
                    "a",
                    "r",
                    "{host: '*.local', trafficPolicy: {outlierDetection: {}, loadBalancer: {localityLbSetting: {failoverPriority: [version]}}}}",
                ),
                istio(
                    "DestinationRule",
                    "a",
                    "r",
                    "{host: web, workloadSelector: {matchLabels: {app: client}}, trafficPolicy: {connectionPool: {tcp: {maxConnections: 1}}}}",
                ),
            ],
        ),
        (
            "c1",
            vec![
                istio(
                    "VirtualService",
                    "a",
                    "v",
                    "{hosts: [web, x.example.com], gateways: [mesh, g], http: [{match: [{sourceLabels: {app: client}}], route: [{destination: {host: web, subset: v1}, weight: 1}, {destination: {host: nowhere}, weight: 2}]}]}",
                ),
                istio(
                    "VirtualService",
                    "a",
                    "v",
                    "{hosts: [web], tcp: [{route: [{destination: {host: web, port: {number: 90}}}]}], tls: [{match: [{sniHosts: [web]}], route: [{destination: {host: web}}]}]}",
                ),
                istio(
                    "VirtualService",
                    "a",
                    "v",
                    "{hosts: ['*'], http: [{redirect: {uri: /}}]}",
                ),
            ],
        ),
        (
            "c1",
            vec![
                istio(
                    "ServiceEntry",
                    "a",
                    "e",
                    "{hosts: [web.a.global], addresses: [240.0.0.1], location: MESH_INTERNAL, resolution: DNS, ports: [{name: http, number: 80, protocol: HTTP}], endpoints: [{address: gw.example.com, ports: {http: 15443}}]}",
                ),
                istio(
                    "ServiceEntry",
                    "a",
                    "e",
                    "{hosts: [x.example.com, '*.example.com'], resolution: NONE, ports: [{name: tls, number: 443, protocol: TLS}, {name: http, number: 80, protocol: HTTP}]}",
                ),
                istio(
                    "ServiceEntry",
                    "a",
                    "e",
                    "{hosts: [web.a.svc.cluster.local], resolution: STATIC, ports: [{name: t, number: 90, protocol: TCP}], endpoints: [{address: 192.0.2.1}]}",
                ),
            ],
        ),
        (
            "c1",
            vec![
                istio(
                    "Gateway",
                    "a",
                    "g",
                    &format!("{{selector: {{istio: ingress}}, servers: [{east_west}]}}"),
                ),
                istio(
                    "Gateway",
                    "a",
                    "g",
                    &format!(
                        "{{selector: {{istio: ingress}}, servers: [{east_west}, {{port: {{number: 80, name: h, protocol: HTTP}}, hosts: ['*']}}, {{port: {{number: 443, name: s, protocol: HTTPS}}, hosts: ['x.example.com'], tls: {{mode: SIMPLE, credentialName: c}}}}]}}"
                    ),
                ),
                istio(
                    "Gateway",
                    "a",
                    "g",
                    "{selector: {istio: ingress}, servers: [{port: {number: 80, name: t, protocol: TCP}, hosts: ['*']}, {port: {number: 15443, name: s, protocol: TLS}, hosts: ['web'], tls: {mode: PASSTHROUGH}}]}",
                ),
            ],
        ),
        (
            "c1",
            vec![
                istio("Sidecar", "b", "s", "{egress: [{hosts: ['a/*']}]}"),
                istio(
                    "Sidecar",
                    "b",
                    "s",
                    "{workloadSelector: {labels: {app: client}}, ingress: [{port: {number: 8080, protocol: HTTP, name: h}, defaultEndpoint: '127.0.0.1:1'}], egress: [{port: {number: 9, protocol: TCP, name: t}, bind: 127.0.0.1, hosts: ['*/web.a.svc.cluster.local']}, {hosts: ['*/*']}], outboundTrafficPolicy: {mode: REGISTRY_ONLY}}",
                ),
            ],
        ),
        (
            "c1",
            vec![
                istio(
                    "PeerAuthentication",
                    "a",
                    "p",
                    "{mtls: {mode: STRICT}, selector: {matchLabels: {app: web}}, portLevelMtls: {9090: {mode: DISABLE}}}",
                ),
                istio(
                    "PeerAuthentication",
                    "istio-system",
                    "p",
                    "{mtls: {mode: DISABLE}}",
                ),
            ],
        ),
        (
            "c1",
            vec![
                istio(
                    "AuthorizationPolicy",
                    "a",
                    "z",
                    "{rules: [{from: [{source: {requestPrincipals: ['*']}}], when: [{key: 'request.auth.claims[a][b]', values: [c]}]}]}",
                ),
                istio(
                    "AuthorizationPolicy",
                    "istio-system",
                    "z",
                    "{action: DENY, rules: [{from: [{source: {notNamespaces: [b]}}]}]}",
                ),
            ],
        ),
        (
            "c1",
            vec![istio(
                "RequestAuthentication",
                "a",
                "j",
                "{jwtRules: [{issuer: i, jwks: '{\"keys\":[]}'}]}",
            )],
        ),
        (
            "c1",
            vec![
                istio(
                    "EnvoyFilter",
                    "a",
                    "f",
                    "{configPatches: [{applyTo: CLUSTER, match: {context: SIDECAR_OUTBOUND}, patch: {operation: MERGE, value: {connect_timeout: 3s}}}, {applyTo: LISTENER, match: {listener: {portNumber: 80}}, patch: {operation: REMOVE}}]}",
                ),
                istio(
                    "EnvoyFilter",
                    "istio-system",
                    "f",
                    "{configPatches: [{applyTo: HTTP_ROUTE, match: {context: ANY}, patch: {operation: MERGE, value: {route: {timeout: 1s}}}}, {applyTo: CLUSTER, match: {context: GATEWAY}, patch: {operation: ADD, value: {name: 1}}}]}",
                ),
            ],
        ),
    ];
    texts
        .into_iter()
        .map(|(cluster, variants)| (cluster, variants.iter().map(|v| objects(v)).collect()))
        .collect()
}

fn lowerer() -> Lowerer {
    let mesh = Mesh {
        clusters: Vec::new(),
        config: "{outboundTrafficPolicy: {mode: ALLOW_ANY}, accessLogFile: /dev/stdout}",
        networks: "{networks: {n1: {endpoints: [{fromRegistry: c1}]}, n2: {endpoints: [{fromRegistry: c2}], gateways: [{address: 203.0.113.1, port: 15443}, {address: gw.example.com, port: 15443}]}}}",
    };
    Lowerer::with_settings(mesh.settings())
}

fn proxies() -> Vec<Proxy> {
    vec![
        sidecar("10.1.0.1 web-0.a"),
        sidecar("10.1.0.3 web-1.a"),
        proxy(
            "sidecar",
            "10.1.0.9 client-0.b",
            json!({"NETWORK": "n1", "DNS_CAPTURE": "true"}),
        ),
        sidecar("10.1.0.10 client-1.b"),
        gateway(),
        proxy(
            "router",
            "10.1.9.9 gw-1.a",
            json!({"LABELS": {"istio": "ingress"}, "NETWORK": "n2"}),
        ),
        proxy(
            "sidecar",
            "fd00::9 client-2.b",
            json!({"INTERCEPTION_MODE": "TPROXY"}),
        ),
    ]
}

/// Every byte that a proxy is given.
fn bytes(resources: &Resources) -> BTreeMap<String, Vec<u8>> {
    let kinds = [
        ("cluster", &resources.clusters),
        ("endpoints", &resources.endpoints),
        ("listener", &resources.listeners),
        ("routes", &resources.routes),
    ];
    let named = kinds.into_iter().flat_map(|(kind, all)| {
        all.iter()
            .map(move |(name, r)| (format!("{kind} {name}"), r.any.value.clone()))
    });
    let names = resources
        .names
        .iter()
        .map(|r| ("names".to_owned(), r.any.value.clone()));
    named.chain(names).collect()
}

/// Some of the reasons for which Envoy refuses a listener, or a route configuration, altogether.
fn refused(resources: &Resources) -> Result<(), TestCaseError> {
    for listener in resources.listeners.values() {
        let listener = Listener::decode(listener.any.value.as_slice()).unwrap();
        let mut seen = BTreeSet::new();
        for chain in &listener.filter_chains {
            for matched in ways(chain.filter_chain_match.as_ref()) {
                prop_assert!(
                    seen.insert(matched.clone()),
                    "{}: two chains for {matched}",
                    listener.name
                );
            }
        }
    }
    for config in resources.routes.values() {
        let config = RouteConfiguration::decode(config.any.value.as_slice()).unwrap();
        let mut seen = BTreeSet::new();
        for domain in config.virtual_hosts.iter().flat_map(|h| &h.domains) {
            prop_assert!(
                seen.insert(domain.to_lowercase()),
                "{}: {domain} twice",
                config.name
            );
        }
    }
    Ok(())
}

/// Every combination that a chain stands for.
fn ways(of: Option<&FilterChainMatch>) -> Vec<String> {
    let of = of.cloned().unwrap_or_default();
    let or_any = |list: Vec<String>| {
        if list.is_empty() {
            vec!["any".to_owned()]
        } else {
            list
        }
    };
    let ranges = of.prefix_ranges.iter();
    let ranges = or_any(
        ranges
            .map(|r| format!("{}/{:?}", r.address_prefix, r.prefix_len))
            .collect(),
    );
    let (names, alpn) = (or_any(of.server_names), or_any(of.application_protocols));
    let mut out = Vec::new();
    for range in &ranges {
        for name in &names {
            let rest = format!(
                "{:?} {range} {name} {}",
                of.destination_port, of.transport_protocol
            );
            out.extend(alpn.iter().map(|a| format!("{rest} {a}")));
        }
    }
    out
}

fn snapshot(parts: &[(&'static str, &Vec<Resource>)]) -> Arc<Snapshot> {
    let mut lowerer = lowerer();
    for (cluster, resources) in parts {
        for resource in *resources {
            lowerer.apply(applied(cluster, resource.clone()));
        }
    }
    lowerer.snapshot()
}

fn applied(cluster: &str, resource: Resource) -> hawser_api::Change {
    hawser_api::Change {
        source: hawser_api::SourceId::new(ClusterId::new(cluster).as_str()),
        version: None,
        event: hawser_api::Event::Apply(resource),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// A translator that has seen other snapshots, and other proxies, gives what one gives that has not.
    #[test]
    fn remembered_is_afresh(worlds in proptest::collection::vec(proptest::collection::vec(0..4_usize, 12), 1..4)) {
        let world = world();
        let mut translator: Option<Translator> = None;
        for choice in worlds {
            let parts: Vec<_> = world
                .iter()
                .zip(&choice)
                .filter_map(|((cluster, variants), i)| Some((*cluster, variants.get(*i)?)))
                .collect();
            let snapshot = snapshot(&parts);
            let next = match &translator {
                Some(previous) => Translator::next(previous, Arc::clone(&snapshot)),
                None => Translator::new(Arc::clone(&snapshot)),
            };
            for proxy in proxies() {
                let (afresh, problems) = translate(&snapshot, &proxy);
                let remembered = next.all(&proxy);
                prop_assert_eq!(bytes(&remembered), bytes(&afresh), "{}", proxy.id);
                prop_assert_eq!(&remembered.problems, &problems);
                prop_assert!(afresh.endpoints.keys().all(|name| afresh.clusters.contains_key(name)));
                refused(&afresh)?;
            }
            translator = Some(next);
        }
    }

    #[test]
    fn order_changes_nothing(
        order in Just((0..12_usize).collect::<Vec<_>>()).prop_shuffle(),
        choice in proptest::collection::vec(0..4_usize, 12),
    ) {
        let world = world();
        let pick = |order: &[usize]| {
            let parts: Vec<_> = order
                .iter()
                .filter_map(|at| Some((world[*at].0, world[*at].1.get(choice[*at])?)))
                .collect();
            snapshot(&parts)
        };
        let (one, other) = (pick(&order), pick(&(0..12).collect::<Vec<_>>()));
        for proxy in proxies() {
            prop_assert_eq!(bytes(&translate(&one, &proxy).0), bytes(&translate(&other, &proxy).0), "{}", proxy.id);
        }
    }

    /// Odd words in a user's objects and in a proxy's node are problems, never panics.
    #[test]
    fn odd_words(word in "\\PC{0,12}", number in any::<u32>(), choice in 0..8_usize) {
        let quoted = serde_json::to_string(&word).unwrap();
        let (kind, spec) = match choice {
            0 => ("VirtualService", format!("{{hosts: [web], http: [{{match: [{{uri: {{regex: {quoted}}}, headers: {{{quoted}: {{exact: {quoted}}}}}, queryParams: {{q: {{regex: {quoted}}}}}}}], rewrite: {{uri: {quoted}}}, retries: {{attempts: {}, retryOn: {quoted}}}, route: [{{destination: {{host: web, subset: {quoted}}}, headers: {{request: {{set: {{{quoted}: {quoted}}}}}}}}}]}}]}}", number as i32)),
            1 => ("DestinationRule", format!("{{host: web, subsets: [{{name: {quoted}}}], trafficPolicy: {{connectionPool: {{tcp: {{maxConnections: {}}}}}, tls: {{mode: MUTUAL, sni: {quoted}, clientCertificate: {quoted}, privateKey: {quoted}}}, loadBalancer: {{localityLbSetting: {{failoverPriority: [{quoted}], distribute: [{{from: {quoted}, to: {{{quoted}: {number}}}}}]}}}}}}}}", number as i32)),
            2 => ("ServiceEntry", format!("{{hosts: [{quoted}, x.example.com], addresses: [{quoted}], resolution: STATIC, ports: [{{name: {quoted}, number: {}, protocol: HTTP}}], endpoints: [{{address: {quoted}}}, {{address: 'unix://{number}', weight: {number}}}]}}", number % 70000)),
            3 => ("Gateway", format!("{{selector: {{istio: ingress}}, servers: [{{port: {{number: {}, name: x, protocol: TLS}}, hosts: [{quoted}, '*.global'], tls: {{mode: AUTO_PASSTHROUGH}}}}, {{port: {{number: 81, name: y, protocol: HTTPS}}, bind: {quoted}, hosts: [{quoted}], tls: {{mode: SIMPLE, credentialName: {quoted}, cipherSuites: [{quoted}]}}}}]}}", number % 70000)),
            4 => ("AuthorizationPolicy", format!("{{rules: [{{from: [{{source: {{principals: [{quoted}], ipBlocks: [{quoted}], notRequestPrincipals: [{quoted}]}}}}], to: [{{operation: {{hosts: [{quoted}], ports: [{quoted}], paths: [{quoted}]}}}}], when: [{{key: {quoted}, values: [{quoted}]}}, {{key: 'request.headers[{number}]', values: [{quoted}]}}]}}]}}")),
            5 => ("EnvoyFilter", format!("{{configPatches: [{{applyTo: CLUSTER, match: {{context: ANY, cluster: {{name: {quoted}}}}}, patch: {{operation: MERGE, value: {{{quoted}: {quoted}}}}}}}, {{applyTo: HTTP_FILTER, match: {{context: ANY}}, patch: {{operation: INSERT_FIRST, value: {{name: {quoted}, typed_config: {{'@type': {quoted}}}}}}}}}]}}")),
            6 => ("VirtualService", format!("{{hosts: ['*.example.com', web], gateways: [mesh, g], tls: [{{match: [{{port: 443, sniHosts: [{quoted}, 'a.example.com', 'b.example.com']}}, {{sniHosts: ['a.example.com', '*']}}, {{sniHosts: ['b.example.com'], destinationSubnets: [10.0.0.0/8, 10.1.0.0/8, {quoted}]}}], route: [{{destination: {{host: web}}}}]}}]}}")),
            _ => ("Sidecar", format!("{{ingress: [{{port: {{number: {}, protocol: {quoted}, name: x}}, bind: {quoted}, defaultEndpoint: {quoted}}}], egress: [{{bind: {quoted}, port: {{number: 5, protocol: HTTP, name: y}}, hosts: [{quoted}, '*/*']}}]}}", number % 70000)),
        };
        let yaml = istio(kind, "a", "odd", &spec);
        let manifest = hawser_api::manifest::read("odd.yaml", yaml.as_bytes());
        let mut lowerer = lowerer();
        let web = app("a", "web", "10.96.0.1", &["http 80 8080", "tcp 90 9090"], &["10.1.0.1 mtls"]);
        let tls = "{selector: {istio: ingress}, servers: [{port: {number: 443, name: t, protocol: TLS}, hosts: ['*.example.com', 'b.example.com'], tls: {mode: PASSTHROUGH}}, {port: {number: 443, name: u, protocol: HTTPS}, hosts: ['a.example.com'], tls: {mode: SIMPLE, credentialName: c}}]}";
        let gateway = istio("Gateway", "a", "g", tls);
        let entry = istio("ServiceEntry", "a", "e", "{hosts: ['*.example.com'], resolution: NONE, ports: [{name: tls, number: 443, protocol: TLS}]}");
        for resource in objects(&(web + &gateway + &entry)) {
            lowerer.apply(applied("c1", resource));
        }
        for doc in manifest.docs {
            if let Ok(parsed) = hawser_api::parse(doc.value) {
                lowerer.apply(applied("c1", parsed.resource));
            }
        }
        let snapshot = lowerer.snapshot();
        for mut proxy in proxies() {
            refused(&translate(&snapshot, &proxy).0)?;
            proxy.namespace = word.as_str().into();
            proxy.workload = word.as_str().into();
            translate(&snapshot, &proxy);
        }
    }

    /// A node that anybody may send is a proxy or an error.
    #[test]
    fn nodes(id in "\\PC{0,40}", key in "[A-Z_]{1,16}", value in "\\PC{0,12}") {
        let node = json!({"id": id, "metadata": {key: value, "PROXY_CONFIG": {"gatewayTopology": value}}});
        let node = hawser_proto::json::parse("envoy.config.core.v3.Node", &node).unwrap();
        let node = <hawser_proto::envoy::config::core::v3::Node as prost::Message>::decode(
            prost::Message::encode_to_vec(&node).as_slice(),
        ).unwrap();
        // What it is does not matter here, only that there is an answer.
        drop(hawser_translate::node::proxy(&node));
    }
}
