//! What of a change streams are told may differ: too little and a proxy keeps what is no more, too much and all of them look.

use hawser_api::Event;

use super::*;

const BASE: &str = "
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: a}, spec: {clusterIP: 10.96.0.1, selector: {app: web}, ports: [{name: http, port: 80}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: web-x, namespace: a, labels: {kubernetes.io/service-name: web}}, addressType: IPv4, ports: [{name: http, port: 80}], endpoints: [{addresses: [10.1.0.1]}]}
---
{apiVersion: v1, kind: Service, metadata: {name: db, namespace: a}, spec: {clusterIP: None, selector: {app: db}, ports: [{name: tcp, port: 5432}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: db-x, namespace: a, labels: {kubernetes.io/service-name: db}}, addressType: IPv4, ports: [{name: tcp, port: 5432}], endpoints: [{addresses: [10.1.0.3]}]}
---
{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: x, namespace: a}, spec: {hosts: [x.example.com], resolution: DNS, ports: [{name: tls, number: 443, protocol: TLS}]}}
";

fn apply(writer: &mut Writer, yaml: &str) {
    apply_version(writer, yaml, None);
}

/// As a watch says it, with the version that the cluster is at.
fn apply_version(writer: &mut Writer, yaml: &str, version: Option<&str>) {
    let manifest = hawser_api::manifest::read("test.yaml", yaml.as_bytes());
    assert!(manifest.errors.is_empty(), "{:?}", manifest.errors);
    for doc in manifest.docs {
        let parsed = hawser_api::parse(doc.value).unwrap_or_else(|error| panic!("{error}"));
        writer.fold(Input::Change(Change {
            source: SourceId::new("c1"),
            version: version.map(str::to_owned),
            event: Event::Apply(parsed.resource),
        }));
    }
}

/// Publishes the base, then the change, and compares what of it streams are told; `None` is nothing at all.
fn check(name: &str, change: &str, expected: Option<(&str, &[&str])>) {
    let mut writer = Writer::new(ClusterId::new("c1"), &SourceId::new("c1"), &[]);
    apply(&mut writer, BASE);
    let first = writer.publish().map(|p| p.view.scope);
    assert_eq!(first, Some(Scope::all()), "{name}: the first view");
    apply(&mut writer, change);
    let told = writer.publish().map(|p| p.view.scope).map(|scope| {
        let flags = [
            ("configuration", scope.configuration),
            ("names", scope.names),
            ("credentials", scope.credentials),
        ];
        let flags = flags.iter().filter(|(_, on)| *on).map(|(name, _)| *name);
        let hosts: Vec<String> = scope.hosts.iter().map(ToString::to_string).collect();
        (flags.collect::<Vec<_>>().join(" "), hosts)
    });
    let expected = expected.map(|(flags, hosts)| {
        let hosts = hosts.iter().map(|h| (*h).to_owned()).collect::<Vec<_>>();
        (flags.to_owned(), hosts)
    });
    assert_eq!(told, expected, "{name}");
}

#[test]
fn streams_are_told_what_may_differ() {
    let slice = |name: &str, port: &str, address: &str| {
        format!(
            "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: {name}-x, namespace: a, labels: {{kubernetes.io/service-name: {name}}}}}, addressType: IPv4, ports: [{port}], endpoints: [{{addresses: [{address}]}}]}}"
        )
    };
    let http = "{name: http, port: 80}";
    let tcp = "{name: tcp, port: 5432}";
    check(
        "an endpoint moved: who asked for its service",
        &slice("web", http, "10.1.0.2"),
        Some(("", &["web.a.svc.cluster.local"])),
    );
    check(
        "the same again: nobody",
        &slice("web", http, "10.1.0.1"),
        None,
    );
    // Story: a headless service's clusters hold their endpoints, so those proxies that had them kept a pod that was gone.
    check(
        "an endpoint of a headless service moved: everybody, and its names are others",
        &slice("db", tcp, "10.1.0.4"),
        Some(("configuration names", &["db.a.svc.cluster.local"])),
    );
    check(
        "a rule: everybody",
        "{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: r, namespace: a}, spec: {host: web, trafficPolicy: {connectionPool: {tcp: {maxConnections: 1}}}}}",
        Some(("configuration names", &[])),
    );
    check(
        "what no proxy is given: nobody has work, and all have it",
        "{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: istio}, spec: {controllerName: istio.io/gateway-controller}}",
        Some(("", &[])),
    );
}

/// A leader's lease is a ConfigMap that is written every two seconds, and Secrets are written by all kinds of controllers.
#[test]
fn what_nobody_names_is_nothing() {
    let roots = |rest: &str| {
        format!(
            "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: roots, namespace: a, {rest}}}}}"
        )
    };
    let policy = "{apiVersion: gateway.networking.k8s.io/v1, kind: BackendTLSPolicy, metadata: {name: p, namespace: a}, spec: {targetRefs: [{group: '', kind: Service, name: web}], validation: {hostname: web.example.com, caCertificateRefs: [{group: '', kind: ConfigMap, name: roots}]}}}";
    let gateway = "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: g, namespace: a}, spec: {gatewayClassName: istio, listeners: [{name: l, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: pair}]}}]}}";
    let pair = "{apiVersion: v1, kind: Secret, metadata: {name: pair, namespace: a}}";
    for (name, known, change, published) in [
        ("a ConfigMap", vec![], roots(""), false),
        (
            "one that a policy names",
            vec![policy.to_owned()],
            roots(""),
            true,
        ),
        (
            "the same, with a new lease",
            vec![policy.to_owned(), roots("resourceVersion: '1'")],
            roots(
                "resourceVersion: '2', annotations: {control-plane.alpha.kubernetes.io/leader: x}",
            ),
            false,
        ),
        ("a Secret", vec![], pair.to_owned(), false),
        (
            "one that a listener names",
            vec![gateway.to_owned()],
            pair.to_owned(),
            true,
        ),
    ] {
        let mut writer = Writer::new(ClusterId::new("c1"), &SourceId::new("c1"), &[]);
        apply(&mut writer, BASE);
        known.iter().for_each(|yaml| apply(&mut writer, yaml));
        assert!(writer.publish().is_some(), "{name}: the first view");
        apply_version(&mut writer, &change, Some("7"));
        assert_eq!(writer.publish().is_some(), published, "{name}");
    }
}

#[test]
fn credentials_alone_are_told_of_alone() {
    let mut writer = Writer::new(ClusterId::new("c1"), &SourceId::new("c1"), &[]);
    apply(&mut writer, BASE);
    assert!(writer.publish().is_some());
    writer.fold(Input::Credentials(Arc::default()));
    let told = writer.publish().map(|p| p.view.scope);
    let expected = Scope {
        credentials: true,
        ..Scope::default()
    };
    assert_eq!(told, Some(expected));
    assert!(writer.publish().is_none());
}
