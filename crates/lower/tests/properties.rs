//! What must always hold: the order of arrival changes nothing, and lowering step by step is lowering afresh.

mod common;

use common::{applied, objects, settings};
use hawser_api::{Change, Event, Resource, SourceId, Timestamp};
use hawser_lower::Lowerer;
use hawser_model::{ClusterId, Snapshot};
use proptest::prelude::*;

/// Objects that meet in every way: several clusters, services with pods, machines, entries, policies, networks. Each has
/// variants, and each may be absent.
fn world() -> Vec<(&'static str, Vec<Resource>)> {
    let texts: &[(&str, &[&str])] = &[
        (
            "c1",
            &[
                "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: a}, spec: {clusterIP: 10.96.0.1, selector: {app: web}, ports: [{name: http, port: 80, targetPort: web}]}}",
                "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: a}, spec: {clusterIP: None, selector: {app: vm}, ports: [{name: tcp, port: 81}]}}",
                "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: a}, spec: {type: ExternalName, externalName: x.example.com}}",
            ],
        ),
        (
            "c2",
            &[
                "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: a, creationTimestamp: '2020-01-01T00:00:00Z'}, spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 80}]}}",
                "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: a, labels: {topology.istio.io/network: n2}}, spec: {type: LoadBalancer, clusterIP: 10.96.0.1, ports: [{name: tls, port: 15443}]}, status: {loadBalancer: {ingress: [{ip: 203.0.113.1}]}}}",
            ],
        ),
        (
            "c1",
            &[
                "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: s, namespace: a, labels: {kubernetes.io/service-name: web}}, addressType: IPv4, ports: [{name: http, port: 8080}], endpoints: [{addresses: [10.1.0.1], targetRef: {kind: Pod, name: p}}]}",
                "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: s, namespace: a, labels: {kubernetes.io/service-name: web}}, addressType: IPv4, ports: [{name: http, port: 8080}], endpoints: [{addresses: [10.1.0.1], conditions: {ready: false}, targetRef: {kind: Pod, name: p}}, {addresses: [10.1.0.2]}]}",
                "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: s, namespace: a, labels: {kubernetes.io/service-name: other}}, addressType: IPv4, ports: [{name: http, port: 8080}], endpoints: []}",
            ],
        ),
        (
            "c2",
            &[
                "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: s, namespace: a, labels: {kubernetes.io/service-name: web}}, addressType: IPv4, ports: [{name: http, port: 8080}], endpoints: [{addresses: [10.1.0.1]}]}",
            ],
        ),
        (
            "c1",
            &[
                "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: a, labels: {app: web}}, spec: {nodeName: n1, serviceAccountName: sx, containers: [{name: c, ports: [{name: web, containerPort: 9}]}]}, status: {podIP: 10.1.0.1, phase: Running, conditions: [{type: Ready, status: 'True'}]}}",
                "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: a, labels: {app: vm}}, spec: {nodeName: n1, serviceAccountName: sy}, status: {podIP: 10.1.0.1, phase: Running, conditions: [{type: Ready, status: 'True'}]}}",
                "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: a, labels: {app: vm}}, spec: {nodeName: n1}, status: {podIP: 10.1.0.2, phase: Failed}}",
            ],
        ),
        (
            "c2",
            &[
                "{apiVersion: v1, kind: Pod, metadata: {name: q, namespace: a, labels: {app: vm}}, spec: {}, status: {podIP: 10.1.0.1, phase: Running, conditions: [{type: Ready, status: 'True'}]}}",
            ],
        ),
        (
            "c1",
            &[
                "{apiVersion: networking.istio.io/v1, kind: WorkloadEntry, metadata: {name: p, namespace: a}, spec: {address: 10.1.0.7, labels: {app: vm}, serviceAccount: z}}",
                "{apiVersion: networking.istio.io/v1, kind: WorkloadEntry, metadata: {name: p, namespace: a, labels: {app: web}}, spec: {address: x.example.com}}",
            ],
        ),
        (
            "c1",
            &[
                "{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: e, namespace: a}, spec: {hosts: [web.a.svc.cluster.local, vm.mesh], resolution: STATIC, workloadSelector: {labels: {app: vm}}, ports: [{name: http, number: 80, protocol: HTTP}]}}",
                "{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: e, namespace: a}, spec: {hosts: [vm.mesh], resolution: DNS, ports: [{name: http, number: 80, protocol: WHAT}]}}",
                "{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: e, namespace: a}, spec: {hosts: [vm.mesh], resolution: STATIC, endpoints: [{address: 10.1.0.1}, {address: 192.0.2.1}], ports: [{name: http, number: 80, protocol: HTTP}]}}",
            ],
        ),
        (
            "c1",
            &[
                "{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: f, namespace: a}, spec: {hosts: [vm.mesh], resolution: STATIC, endpoints: [{address: 192.0.2.2}], ports: [{name: h2, number: 80, protocol: HTTP2}, {name: s, number: 443, protocol: TLS}]}}",
            ],
        ),
        (
            "c1",
            &[
                "{apiVersion: v1, kind: Node, metadata: {name: n1, labels: {topology.kubernetes.io/region: eu}}}",
                "{apiVersion: v1, kind: Node, metadata: {name: n1, labels: {topology.kubernetes.io/region: us}}}",
            ],
        ),
        (
            "c1",
            &[
                "{apiVersion: v1, kind: Namespace, metadata: {name: istio-system, labels: {topology.istio.io/network: n1}}}",
                "{apiVersion: v1, kind: Namespace, metadata: {name: istio-system}}",
            ],
        ),
        (
            "c1",
            &[
                "{apiVersion: v1, kind: Namespace, metadata: {name: a, labels: {mesh: 'yes'}}}",
                "{apiVersion: v1, kind: Namespace, metadata: {name: a}}",
            ],
        ),
        (
            "c1",
            &[
                "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: v, namespace: a}, spec: {hosts: [web], http: [{delegate: {name: d}}, {route: [{destination: {host: web}}]}]}}",
                "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: v, namespace: a}, spec: {hosts: ['we b'], http: [{}]}}",
            ],
        ),
        (
            "c1",
            &[
                "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: d, namespace: a}, spec: {http: [{name: x, match: [{uri: {prefix: /x}}], route: [{destination: {host: web.b}}]}]}}",
            ],
        ),
        (
            "c1",
            &[
                "{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: r, namespace: a}, spec: {host: web, subsets: [{name: v1}, {name: v1}]}}",
            ],
        ),
        (
            "c2",
            &[
                "{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: r, namespace: a}, spec: {host: web}}",
            ],
        ),
        (
            "c1",
            &[
                "{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: g, namespace: a}, spec: {selector: {a: b}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}}",
            ],
        ),
        (
            "c1",
            &[
                "{apiVersion: security.istio.io/v1, kind: RequestAuthentication, metadata: {name: j, namespace: a}, spec: {jwtRules: [{issuer: 'https://i'}]}}",
            ],
        ),
        (
            "c1",
            &[
                "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: k, namespace: a, labels: {topology.istio.io/network: n1}}, spec: {gatewayClassName: istio, addresses: [{value: 203.0.113.9}], listeners: [{name: l, port: 15443, protocol: TLS, tls: {mode: Passthrough}}, {name: h, port: 80, protocol: HTTP}]}}",
                "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: k, namespace: a}, spec: {gatewayClassName: istio, addresses: [{type: Hostname, value: web}], tls: {frontend: {default: {}, perPort: [{port: 443, tls: {validation: {caCertificateRefs: [{group: '', kind: ConfigMap, name: m}]}}}]}}, listeners: [{name: s, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: s}]}}]}}",
            ],
        ),
        (
            "c1",
            &[
                "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: h, namespace: a}, spec: {parentRefs: [{name: k}], rules: [{backendRefs: [{name: web, port: 80}]}]}}",
            ],
        ),
        (
            "c1",
            &[
                "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: i, namespace: a, annotations: {kubernetes.io/ingress.class: istio}}, spec: {rules: [{host: x.example.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {name: http}}}}]}}]}}",
            ],
        ),
        (
            "c1",
            &[
                "{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: a}, data: {tls.crt: aGk=}}",
                "{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: a}}",
            ],
        ),
        (
            "c1",
            &[
                "{apiVersion: v1, kind: ConfigMap, metadata: {name: m, namespace: a}, data: {ca.crt: '-----BEGIN CERTIFICATE-----'}}",
                "{apiVersion: v1, kind: ConfigMap, metadata: {name: m, namespace: a}, data: {other: x}}",
            ],
        ),
        (
            "c1",
            &[
                "{apiVersion: gateway.networking.k8s.io/v1, kind: BackendTLSPolicy, metadata: {name: p, namespace: a}, spec: {targetRefs: [{group: '', kind: Service, name: web}], validation: {hostname: web.example.com, caCertificateRefs: [{group: '', kind: ConfigMap, name: m}]}}}",
            ],
        ),
    ];
    texts
        .iter()
        .map(|(cluster, variants)| (*cluster, variants.iter().flat_map(|v| objects(v)).collect()))
        .collect()
}

/// All of a snapshot but its number.
fn text(snapshot: &Snapshot) -> String {
    let mut snapshot = snapshot.clone();
    let mut version = (*snapshot.version).clone();
    version.sequence = 0;
    snapshot.version = version.into();
    format!("{snapshot:#?}")
}

/// The first lines in which two texts differ.
fn difference(a: &str, b: &str) -> Option<String> {
    let at = a.lines().zip(b.lines()).position(|(a, b)| a != b)?;
    let around = |t: &str| {
        t.lines()
            .skip(at.saturating_sub(12))
            .take(24)
            .collect::<Vec<_>>()
            .join("\n")
    };
    Some(format!("{}\n--- and ---\n{}", around(a), around(b)))
}

fn fresh(mesh: &str) -> Lowerer {
    let networks = "{networks: {n1: {endpoints: [{fromRegistry: c1}], gateways: [{registryServiceName: web.a.svc.cluster.local, port: 80}]}, n3: {endpoints: [{fromCidr: 192.0.2.0/24}], gateways: [{address: gw.example.com, port: 1}]}}}";
    Lowerer::with_settings(settings(mesh, networks))
}

/// What happens to one object, or to a cluster: an index into the world, and which variant comes (none: it goes).
#[derive(Clone, Debug)]
enum Step {
    Object(usize, usize),
    Lost(bool),
    Snapshot,
    Removed,
}

fn steps(objects: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..objects, 0..4_usize).prop_map(|(o, v)| Step::Object(o, v)),
        1 => any::<bool>().prop_map(Step::Lost),
        3 => Just(Step::Snapshot),
        1 => Just(Step::Removed),
    ];
    proptest::collection::vec(step, 0..40)
}

fn change(cluster: &str, event: Event) -> Change {
    Change {
        source: SourceId::new(cluster),
        version: None,
        event,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn step_by_step_is_afresh(steps in steps(world().len()), discovery in any::<bool>()) {
        let mesh = if discovery { "{discoverySelectors: [{matchLabels: {mesh: 'yes'}}]}" } else { "{}" };
        let world = world();
        let mut lowerer = fresh(mesh);
        // What each source holds in the end, and whether it was ever there.
        let mut state: Vec<Option<Resource>> = vec![None; world.len()];
        let mut seen = std::collections::BTreeMap::new();
        for step in steps {
            match step {
                Step::Object(index, variant) => {
                    let (cluster, variants) = &world[index];
                    seen.entry(*cluster).or_insert(false);
                    match variants.get(variant) {
                        Some(resource) => {
                            lowerer.apply(applied(cluster, resource.clone()));
                            state[index] = Some(resource.clone());
                        }
                        None => {
                            lowerer.apply(change(cluster, Event::Delete(variants[0].object_ref())));
                            state[index] = None;
                        }
                    }
                }
                Step::Lost(lost) => {
                    let event = if lost { Event::Lost { since: Timestamp(100) } } else { Event::Found };
                    lowerer.apply(change("c2", event));
                    seen.insert("c2", lost);
                }
                Step::Removed => {
                    lowerer.apply(change("c2", Event::Removed));
                    seen.remove("c2");
                    for (index, (cluster, _)) in world.iter().enumerate() {
                        if *cluster == "c2" {
                            state[index] = None;
                        }
                    }
                }
                Step::Snapshot => {
                    lowerer.snapshot();
                }
            }
        }
        let mut afresh = fresh(mesh);
        for (cluster, lost) in seen {
            let event = if lost { Event::Lost { since: Timestamp(100) } } else { Event::Found };
            afresh.apply(change(cluster, event));
        }
        for (index, resource) in state.iter().enumerate() {
            if let Some(resource) = resource {
                afresh.apply(applied(world[index].0, resource.clone()));
            }
        }
        let (a, b) = (text(&lowerer.snapshot()), text(&afresh.snapshot()));
        prop_assert!(a == b, "{}", difference(&a, &b).unwrap_or_default());
        prop_assert_eq!(lowerer.statuses(), afresh.statuses());
    }

    #[test]
    fn order_changes_nothing(order in Just((0..world().len()).collect::<Vec<_>>()).prop_shuffle(), variants in proptest::collection::vec(0..3_usize, 30)) {
        let world = world();
        let lower = |order: &[usize]| {
            let objects = order.iter().filter_map(|index| {
                let (cluster, all) = &world[*index];
                let variant = variants.get(*index).copied().unwrap_or(0) % all.len();
                Some((ClusterId::new(cluster), all.get(variant)?.clone()))
            });
            let mut lowerer = fresh("{}");
            for (cluster, resource) in objects {
                lowerer.apply(applied(cluster.as_str(), resource));
            }
            text(&lowerer.snapshot())
        };
        let sorted: Vec<usize> = (0..world.len()).collect();
        let (a, b) = (lower(&order), lower(&sorted));
        prop_assert!(a == b, "{}", difference(&a, &b).unwrap_or_default());
    }

    #[test]
    fn odd_texts_are_problems_not_panics(text in "\\PC{0,12}", number in any::<u32>(), choice in 0..8_usize) {
        let quoted = serde_json::to_string(&text).unwrap();
        let yaml = match choice {
            0 => format!("{{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {{name: e, namespace: a}}, spec: {{hosts: [{quoted}], addresses: [{quoted}], ports: [{{name: {quoted}, number: {number}, protocol: {quoted}}}], endpoints: [{{address: {quoted}, locality: {quoted}, weight: {number}}}]}}}}"),
            1 => format!("{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: e, namespace: a}}, spec: {{hosts: [{quoted}, a], gateways: [{quoted}], tls: [{{match: [{{sniHosts: [{quoted}], destinationSubnets: [{quoted}], port: {number}}}]}}], http: [{{route: [{{destination: {{host: {quoted}, port: {{number: {number}}}}}}}]}}]}}}}"),
            2 => format!("{{apiVersion: v1, kind: Service, metadata: {{name: {quoted}, namespace: a, annotations: {{networking.istio.io/exportTo: {quoted}, traffic.istio.io/nodeSelector: {quoted}}}}}, spec: {{type: NodePort, clusterIP: {quoted}, externalIPs: [{quoted}], ports: [{{name: {quoted}, port: {}, targetPort: {quoted}}}]}}}}", number as i32),
            3 => format!("{{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {{name: e, namespace: a}}, spec: {{servers: [{{port: {{number: {number}, name: x, protocol: {quoted}}}, hosts: [{quoted}]}}]}}}}"),
            4 => format!("{{apiVersion: networking.istio.io/v1, kind: Sidecar, metadata: {{name: e, namespace: a}}, spec: {{egress: [{{hosts: [{quoted}], port: {{number: {number}, protocol: {quoted}}}}}]}}}}"),
            5 => format!("{{apiVersion: v1, kind: Pod, metadata: {{name: {quoted}, namespace: a, labels: {{istio-locality: {quoted}}}}}, status: {{podIP: {quoted}, phase: Running}}}}"),
            6 => format!("{{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {{name: e, namespace: a}}, spec: {{host: {quoted}, trafficPolicy: {{portLevelSettings: [{{port: {{number: {number}}}}}], outlierDetection: {{outlierDetectionHttpErrorCodes: [{{start: {number}, end: 4294967295}}]}}}}}}}}"),
            _ => format!("{{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {{name: e, namespace: a}}, spec: {{parentRefs: [{{name: k}}], hostnames: [{quoted}], rules: [{{timeouts: {{request: {quoted}}}, matches: [{{path: {{type: {quoted}, value: {quoted}}}}}], backendRefs: [{{name: {quoted}, port: {number}}}]}}]}}}}"),
        };
        let manifest = hawser_api::manifest::read("odd.yaml", yaml.as_bytes());
        let mut lowerer = fresh("{}");
        for doc in manifest.docs {
            if let Ok(parsed) = hawser_api::parse(doc.value) {
                lowerer.apply(applied("c1", parsed.resource));
            }
        }
        lowerer.snapshot();
    }
}
