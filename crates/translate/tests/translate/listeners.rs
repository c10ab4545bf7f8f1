//! Listeners of sidecars.

use serde_json::json;

use crate::check;
use crate::mesh::{Mesh, app, istio, proxy, sidecar};
use crate::text::View::{Listener, ListenerPart, Listeners};

fn services() -> String {
    app(
        "a",
        "web",
        "10.96.0.1",
        &["http 80 8080", "tcp 90 9090", "auto 100 1000"],
        &["10.1.0.1 mtls"],
    )
}

#[test]
fn outbound() {
    let mesh = Mesh::of(&services());
    let client = sidecar("10.1.0.9 client.a");
    for (name, view, expected) in [
        (
            "which there are",
            Listeners,
            "0.0.0.0_80
             10.96.0.1_100
             10.96.0.1_90
             virtualInbound
             virtualOutbound",
        ),
        (
            "HTTP of a port is shared",
            Listener("0.0.0.0_80"),
            "0.0.0.0:80 not bound http_inspector
             {application_protocols=[http/1.1,h2c] transport_protocol=raw_buffer} plaintext | http rds=80
             default plaintext | tcp -> PassthroughCluster",
        ),
        (
            "TCP is a service's own",
            Listener("10.96.0.1_90"),
            "10.96.0.1:90 not bound
             {} plaintext | tcp -> outbound|90||web.a.svc.cluster.local",
        ),
    ] {
        check(name, &mesh, &client, view, expected);
    }
}

#[test]
fn what_a_sidecar_lets_out() {
    for (name, policy, expected) in [
        ("all", "ALLOW_ANY", "tcp -> PassthroughCluster"),
        ("what is known", "REGISTRY_ONLY", "tcp -> BlackHoleCluster"),
    ] {
        let spec =
            format!("{{outboundTrafficPolicy: {{mode: {policy}}}, egress: [{{hosts: ['./*']}}]}}");
        check(
            name,
            &Mesh::of(&(services() + &istio("Sidecar", "a", "default", &spec))),
            &sidecar("10.1.0.9 client.a"),
            Listener("virtualOutbound"),
            &format!(
                "0.0.0.0:15001
                 {{destination_port=15001}} plaintext | tcp -> BlackHoleCluster
                 {{}} plaintext | {expected}"
            ),
        );
    }
}

fn entry(name: &str, spec: &str) -> String {
    istio("ServiceEntry", "a", name, &format!("{{{spec}}}"))
}

fn http(name: &str, vip: &str, port: &str) -> String {
    app("a", name, vip, &[&format!("http {port} 8080")], &[])
}

#[test]
fn services_that_want_the_same_listener() {
    let bytes = |name: &str, protocol: &str| {
        entry(
            name,
            &format!(
                "hosts: [{name}.example], resolution: STATIC, ports: [{{number: 90, name: x, protocol: {protocol}}}], \
                 endpoints: [{{address: 192.0.2.1}}]"
            ),
        )
    };
    let sniffs_http = "{application_protocols=[http/1.1,h2c] transport_protocol=raw_buffer} plaintext | http rds=90";
    for (name, yaml, node, listener, expected) in [
        (
            "HTTP and bytes stand side by side",
            bytes("one", "TCP") + &http("web", "10.96.0.1", "90"),
            json!({}),
            "0.0.0.0_90",
            format!(
                "0.0.0.0:90 not bound http_inspector
                 {sniffs_http}
                 default plaintext | tcp -> outbound|90||one.example"
            ),
        ),
        (
            "of two that take all the first stays",
            bytes("one", "TCP") + &bytes("two", "TCP"),
            json!({}),
            "0.0.0.0_90",
            "0.0.0.0:90 not bound
             {} plaintext | tcp -> outbound|90||one.example"
                .to_owned(),
        ),
        (
            "servers that speak first stand alone",
            bytes("one", "MONGO") + &http("web", "10.96.0.1", "90") + &bytes("two", "TLS"),
            json!({}),
            "0.0.0.0_90",
            "0.0.0.0:90 not bound
             {} plaintext | mongo_proxy | tcp -> outbound|90||one.example"
                .to_owned(),
        ),
        (
            "TLS is told apart by name",
            bytes("one", "TLS") + &bytes("two", "HTTPS"),
            json!({}),
            "0.0.0.0_90",
            "0.0.0.0:90 not bound tls_inspector
             {server_names=[one.example]} plaintext | tcp -> outbound|90||one.example
             {server_names=[two.example]} plaintext | tcp -> outbound|90||two.example
             default plaintext | tcp -> PassthroughCluster"
                .to_owned(),
        ),
        (
            "where HTTP alone is expected bytes are none",
            http("web", "10.96.0.1", "90") + &bytes("zoo", "TCP"),
            json!({"INTERCEPTION_MODE": "NONE"}),
            "127.0.0.1_90",
            "127.0.0.1:90
             {} plaintext | http rds=90"
                .to_owned(),
        ),
        (
            "a sniffed port takes the place of HTTP",
            http("web", "10.96.0.1", "90") + &app("a", "zoo", "10.96.0.2", &["x 90 9090"], &[]),
            json!({"INTERCEPTION_MODE": "NONE"}),
            "127.0.0.1_90",
            "127.0.0.1:90 http_inspector
             {application_protocols=[http/1.1,h2c] transport_protocol=raw_buffer} plaintext | http rds=zoo.a.svc.cluster.local:90 +hawser.announce_http
             default plaintext | tcp -> outbound|90||zoo.a.svc.cluster.local"
                .to_owned(),
        ),
        (
            "ranges of TLS are told apart by name, too",
            entry(
                "net",
                "hosts: [net.example], addresses: [198.18.0.0/16, 198.19.0.1], resolution: NONE, ports: [{number: 90, name: x, protocol: TLS}]",
            ),
            json!({}),
            "0.0.0.0_90",
            "0.0.0.0:90 not bound tls_inspector
             {prefix_ranges=[{address_prefix=198.18.0.0 prefix_len=16}] server_names=[net.example]} plaintext | tcp -> outbound|90||net.example
             default plaintext | tcp -> PassthroughCluster"
                .to_owned(),
        ),
        (
            "other names of a service without address",
            bytes("one", "TLS")
                + "---\n{apiVersion: v1, kind: Service, metadata: {name: also, namespace: a}, spec: {type: ExternalName, externalName: one.example}}\n",
            json!({}),
            "0.0.0.0_90",
            "0.0.0.0:90 not bound tls_inspector
             {server_names=[also,also.a,also.a.svc,also.a.svc.cluster.local,also.a.svc.cluster.local.,one.example]} plaintext | tcp -> outbound|90||one.example
             default plaintext | tcp -> PassthroughCluster"
                .to_owned(),
        ),
        (
            "the proxy's own port",
            http("web", "10.96.0.1", "15021"),
            json!({"ENVOY_STATUS_PORT": "15021"}),
            "0.0.0.0_15021",
            "none".to_owned(),
        ),
    ] {
        check(
            name,
            &Mesh::of(&yaml),
            &proxy("sidecar", "10.1.0.9 client.a", node),
            Listener(listener),
            &expected,
        );
    }
}

#[test]
fn bytes_by_rule() {
    let base = app("a", "web", "10.96.0.1", &["tcp 90 9090"], &[])
        + &app("a", "old", "10.96.0.2", &["tcp 90 9090"], &[]);
    let routes = |tcp: &str| {
        istio(
            "VirtualService",
            "a",
            "web",
            &format!("{{hosts: [web], tcp: [{tcp}]}}"),
        )
    };
    for (name, more, expected) in [
        (
            "one of two that gets nothing",
            routes("{route: [{destination: {host: web}, weight: 0}, {destination: {host: old}, weight: 100}]}"),
            "{} plaintext | tcp -> outbound|90||old.a.svc.cluster.local*100",
        ),
        (
            "all ranges of a rule are one chain",
            routes(
                "{match: [{destinationSubnets: [10.0.0.0/8]}, {destinationSubnets: [10.96.0.1/32]}], route: [{destination: {host: old}}]}",
            ),
            "{prefix_ranges=[{address_prefix=10.0.0.0 prefix_len=8},{address_prefix=10.96.0.1 prefix_len=32}]} plaintext | tcp -> outbound|90||old.a.svc.cluster.local
             default plaintext | tcp -> outbound|90||web.a.svc.cluster.local",
        ),
        (
            "not for callers of another namespace",
            routes("{match: [{sourceNamespace: b}], route: [{destination: {host: old}}]}"),
            "{} plaintext | tcp -> outbound|90||web.a.svc.cluster.local",
        ),
    ] {
        check(
            name,
            &Mesh::of(&(base.clone() + &more)),
            &sidecar("10.1.0.9 client.a"),
            Listener("10.96.0.1_90"),
            &format!("10.96.0.1:90 not bound\n{expected}"),
        );
    }
    let pool = |policy: &str| {
        istio(
            "DestinationRule",
            "a",
            "web",
            &format!("{{host: web, trafficPolicy: {{{policy}}}}}"),
        )
    };
    for (name, rule, node, expected) in [
        (
            "as the proxy says",
            String::new(),
            json!({"IDLE_TIMEOUT": "7s"}),
            "7s",
        ),
        (
            "as the rule says",
            pool("connectionPool: {tcp: {idleTimeout: 9s}}"),
            json!({"IDLE_TIMEOUT": "7s"}),
            "9s",
        ),
        (
            "a rule for a port says nothing of it",
            pool(
                "portLevelSettings: [{port: {number: 90}, connectionPool: {tcp: {idleTimeout: 9s}}}]",
            ),
            json!({}),
            "nothing at /filter_chains/0/filters/0/typed_config/idle_timeout",
        ),
    ] {
        check(
            name,
            &Mesh::of(&(base.clone() + &rule)),
            &proxy("sidecar", "10.1.0.9 client.a", node),
            ListenerPart(
                "10.96.0.1_90",
                "/filter_chains/0/filters/0/typed_config/idle_timeout",
            ),
            expected,
        );
    }
}

#[test]
fn ports_of_the_workload() {
    let yaml = app(
        "a",
        "web",
        "10.96.0.1",
        &["http 80 8080", "tcp 70 8080"],
        &["10.1.0.1 mtls"],
    ) + &istio(
        "Sidecar",
        "b",
        "default",
        "{ingress: [{port: {number: 9080, protocol: TCP, name: tcp}, bind: 0.0.0.0, captureMode: NONE, defaultEndpoint: '127.0.0.1:8080'}]}",
    ) + &istio(
        "PeerAuthentication",
        "istio-system",
        "default",
        "{mtls: {mode: STRICT}}",
    );
    let mesh = Mesh::of(&yaml);
    check(
        "of two service ports the first that is declared counts",
        &mesh,
        &sidecar("10.1.0.1 web-0.a"),
        ListenerPart(
            "virtualInbound",
            "/filter_chains/3/filters/0/typed_config/stat_prefix",
        ),
        "inbound_0.0.0.0_8080;",
    );
    check(
        "a port that is not captured",
        &mesh,
        &sidecar("10.1.0.9 client.b"),
        ListenerPart("0.0.0.0_9080", "/filter_chains/0/filter_chain_match"),
        "{destination_port:9080,transport_protocol:tls}",
    );
    let own = istio(
        "Sidecar",
        "c",
        "default",
        "{ingress: [{port: {number: 9080, protocol: HTTP, name: http}, captureMode: NONE, defaultEndpoint: '127.0.0.1:9080'},
                    {port: {number: 9090, protocol: TCP, name: tcp}, defaultEndpoint: '127.0.0.1:9090'}]}",
    );
    for (name, part, expected) in [
        (
            "one that is not captured leaves the local host's to the application",
            ListenerPart("10.1.0.9_9080", "/address/socket_address"),
            "{address:10.1.0.9,port_value:9080}",
        ),
        (
            "one that is captured is named alike",
            ListenerPart("virtualInbound", "/filter_chains/6/name"),
            "10.1.0.9_9090",
        ),
    ] {
        check(
            name,
            &Mesh::of(&own),
            &sidecar("10.1.0.9 client.c"),
            part,
            expected,
        );
    }
}

#[test]
fn what_is_looked_for_and_where() {
    for (name, policy, filter, expected) in [
        (
            "TLS at all ports but those without",
            "{selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}, portLevelMtls: {7000: {mode: DISABLE}, 8080: {mode: DISABLE}}}",
            "/listener_filters/1/filter_disabled",
            "{or_match:{rules:[{destination_port_range:{end:7001,start:7000}},{destination_port_range:{end:8081,start:8080}},{destination_port_range:{end:15007,start:15006}}]}}",
        ),
        (
            "TLS at the one port with it",
            "{selector: {matchLabels: {app: web}}, mtls: {mode: DISABLE}, portLevelMtls: {7000: {mode: STRICT}}}",
            "/listener_filters/1/filter_disabled",
            "{not_match:{destination_port_range:{end:7001,start:7000}}}",
        ),
        (
            "HTTP where it is not told",
            "{selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}, portLevelMtls: {1000: {mode: PERMISSIVE}}}",
            "/listener_filters/2/filter_disabled",
            "{not_match:{destination_port_range:{end:1001,start:1000}}}",
        ),
    ] {
        check(
            name,
            &Mesh::of(&(services() + &istio("PeerAuthentication", "a", "web", policy))),
            &proxy(
                "sidecar",
                "10.1.0.1 web-0.a",
                json!({"LABELS": {"app": "web"}}),
            ),
            ListenerPart("virtualInbound", filter),
            expected,
        );
    }
    check(
        "bytes that do not come are waited for as the mesh says",
        &Mesh {
            config: "{protocolDetectionTimeout: 5s}",
            ..Mesh::of(&services())
        },
        &sidecar("10.1.0.9 client.a"),
        Listener("10.96.0.1_90"),
        "10.96.0.1:90 not bound goes on after 5s
         {} plaintext | tcp -> outbound|90||web.a.svc.cluster.local",
    );
}

#[test]
fn grpc_web() {
    let yaml = app(
        "a",
        "web",
        "10.96.0.1",
        &["http 80 8080", "grpc-web 81 8081"],
        &["10.1.0.1 mtls"],
    ) + &app("a", "old", "10.96.0.2", &["http 81 8081"], &[]);
    check(
        "becomes gRPC on its way out, beside HTTP",
        &Mesh::of(&yaml),
        &sidecar("10.1.0.9 client.a"),
        ListenerPart(
            "0.0.0.0_81",
            "/filter_chains/0/filters/0/typed_config/http_filters/0/name",
        ),
        "envoy.filters.http.grpc_web",
    );
    check(
        "and in, if a caller without a sidecar sends it",
        &Mesh::of(&yaml),
        &sidecar("10.1.0.1 web-0.a"),
        ListenerPart(
            "virtualInbound",
            "/filter_chains/8/filters/0/typed_config/http_filters/0/name",
        ),
        "envoy.filters.http.grpc_web",
    );
}
