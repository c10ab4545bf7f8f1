//! Gateways: servers, passthrough by SNI.

use crate::check;
use crate::mesh::{Mesh, app, gateway, istio};
use crate::text::View::{Clusters, Listener, ListenerPart, Listeners, Problems, Routes};

fn server(name: &str, servers: &str) -> String {
    istio(
        "Gateway",
        "istio-system",
        name,
        &format!("{{selector: {{istio: ingress}}, servers: [{servers}]}}"),
    )
}

#[test]
fn names_of_other_clusters_lead_to_own_services() {
    let yaml = app(
        "a",
        "reviews",
        "10.96.0.1",
        &["http 9080 9080"],
        &["10.1.0.1 mtls version=v1"],
    ) + &istio(
        "DestinationRule",
        "a",
        "reviews",
        "{host: reviews, subsets: [{name: v1, labels: {version: v1}}]}",
    ) + &istio(
        "ServiceEntry",
        "a",
        "global",
        "{hosts: [reviews.a.global, other.a.global], location: MESH_INTERNAL, resolution: STATIC, \
             ports: [{number: 9080, name: http, protocol: HTTP}], endpoints: [{address: 203.0.113.2, ports: {http: 15443}}]}",
    ) + &server(
        "east-west",
        "{port: {number: 15443, name: tls, protocol: TLS}, hosts: ['*.global'], tls: {mode: AUTO_PASSTHROUGH}}",
    );
    let mesh = Mesh::of(&yaml);
    check(
        "a listener for it",
        &mesh,
        &gateway(),
        Listeners,
        "0.0.0.0_15443",
    );
    // Nothing for `other.a.global`: what another cluster has is not for this gateway to forward.
    check(
        "one chain for each port and subset",
        &mesh,
        &gateway(),
        Listener("0.0.0.0_15443"),
        "0.0.0.0:15443 tls_inspector
         {application_protocols=[istio,istio-peer-exchange,istio-http/1.0,istio-http/1.1,istio-h2] server_names=[outbound_.9080_._.reviews.a.global]} plaintext | tcp -> outbound_.9080_._.reviews.a.svc.cluster.local
         {application_protocols=[istio,istio-peer-exchange,istio-http/1.0,istio-http/1.1,istio-h2] server_names=[outbound_.9080_.v1_.reviews.a.global]} plaintext | tcp -> outbound_.9080_.v1_.reviews.a.svc.cluster.local",
    );
}

#[test]
fn passthrough_for_clusters_of_one_mesh() {
    let yaml = app(
        "a",
        "web",
        "10.96.0.1",
        &["http 80 8080"],
        &["10.1.0.1 mtls"],
    ) + &server(
        "east-west",
        "{port: {number: 15443, name: tls, protocol: TLS}, hosts: ['*.local'], tls: {mode: AUTO_PASSTHROUGH}}",
    );
    check(
        "SNI is the cluster",
        &Mesh::of(&yaml),
        &gateway(),
        Clusters,
        "BlackHoleCluster
         outbound_.80_._.web.a.svc.cluster.local
         outbound|80||web.a.svc.cluster.local",
    );
}

#[test]
fn servers() {
    let base = app(
        "a",
        "web",
        "10.96.0.1",
        &["http 80 8080"],
        &["10.1.0.1 mtls"],
    );
    let route = istio(
        "VirtualService",
        "a",
        "web",
        "{hosts: ['*.example.com'], gateways: [istio-system/gw], http: [{match: [{uri: {prefix: /x}}], route: [{destination: {host: web}}]}]}",
    );
    let http = "{port: {number: 80, name: http, protocol: HTTP}, hosts: [a/www.example.com, b/*]}";
    for (name, servers, more, view, expected) in [
        (
            "hosts of a namespace",
            http,
            &*route,
            Routes("http.80"),
            "[www.example.com]
               {case_sensitive=true prefix=/x} -> outbound|80||web.a.svc.cluster.local",
        ),
        (
            "no route",
            http,
            "",
            Routes("http.80"),
            "[*]",
        ),
        (
            "redirect to TLS",
            "{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*.example.com'], tls: {httpsRedirect: true}}",
            &*route,
            Routes("http.80"),
            "[*.example.com] require_tls=ALL
               {case_sensitive=true prefix=/x} -> outbound|80||web.a.svc.cluster.local",
        ),
        (
            "certificates by SNI",
            "{port: {number: 443, name: https, protocol: HTTPS}, hosts: ['*.example.com'], tls: {mode: MUTUAL, credentialName: cert}}",
            &*route,
            Listener("0.0.0.0_443"),
            "0.0.0.0:443 tls_inspector
             {server_names=[*.example.com]} tls cert=kubernetes://cert ca=kubernetes://cert-cacert client-cert alpn=[h2,http/1.1] | http rds=https.443.https.gw.istio-system +hawser.announce_http",
        ),
    ] {
        let mesh = Mesh::of(&(base.clone() + &server("gw", servers) + more));
        check(name, &mesh, &gateway(), view, expected);
    }
}

#[test]
fn two_that_want_the_same() {
    let base = app(
        "a",
        "web",
        "10.96.0.1",
        &["tls 443 8443"],
        &["10.1.0.1 mtls"],
    );
    let route = |name: &str, sni: &str| {
        let spec = format!(
            "{{hosts: ['*'], gateways: [istio-system/gw], tls: [{{match: [{{sniHosts: [{sni}]}}], route: [{{destination: {{host: web.a.svc.cluster.local}}}}]}}]}}"
        );
        istio("VirtualService", "a", name, &spec)
    };
    let gw = server(
        "gw",
        "{port: {number: 443, name: tls, protocol: TLS}, hosts: ['*.example.com'], tls: {mode: PASSTHROUGH}}",
    );
    let routes = route("first", "x.example.com, y.example.com")
        + &route("second", "y.example.com, z.example.com");
    let mesh = Mesh::of(&(base.clone() + &gw + &routes));
    check(
        "the older route keeps a name",
        &mesh,
        &gateway(),
        Listener("0.0.0.0_443"),
        "0.0.0.0:443 tls_inspector
         {server_names=[x.example.com,y.example.com]} plaintext | tcp -> outbound|443||web.a.svc.cluster.local",
    );
    check(
        "the younger one's owner reads of it",
        &mesh,
        &gateway(),
        Problems,
        "HWS0603 VirtualService second.a spec: connections for y.example.com to port 443 go elsewhere by an older rule (leave them to one of both)",
    );
    let tls = |name: &str, host: &str, mode: &str| {
        format!(
            "{{port: {{number: 443, name: {name}, protocol: HTTPS}}, hosts: [{host}], tls: {{mode: {mode}, credentialName: c}}}}"
        )
    };
    let plain = |port: u16, name: &str, protocol: &str| {
        format!("{{port: {{number: {port}, name: {name}, protocol: {protocol}}}, hosts: ['*']}}")
    };
    let refused = |why: &str| {
        format!("HWS0602 Gateway gw.istio-system spec.servers: the server of port {why}")
    };
    for (name, first, second, why) in [
        (
            "a name that is taken",
            tls("one", "x.example.com", "SIMPLE"),
            tls("two", "x.example.com", "PASSTHROUGH"),
            refused(
                "443 is for x.example.com, which an older server has already (leave that host to one of them)",
            ),
        ),
        (
            "a port name that is taken",
            tls("one", "x.example.com", "SIMPLE"),
            tls("one", "y.example.com", "SIMPLE"),
            refused(
                "443 has the port name of an older server of that port (give each server with TLS a port name of its own)",
            ),
        ),
        (
            "HTTP beside TLS that came first",
            tls("one", "x.example.com", "SIMPLE"),
            plain(443, "http", "HTTP"),
            String::new(),
        ),
        (
            "TLS beside HTTP that came first",
            plain(443, "http", "HTTP"),
            tls("one", "x.example.com", "SIMPLE"),
            refused(
                "443 is not plain HTTP, but an older server of that port is HTTP (use one of them, or another port)",
            ),
        ),
        (
            "bytes twice",
            plain(90, "one", "TCP"),
            plain(90, "two", "TCP"),
            refused(
                "90 is not plain HTTP, but an older server of that port is not plain HTTP (use one of them, or another port)",
            ),
        ),
    ] {
        let mesh = Mesh::of(&(base.clone() + &server("gw", &format!("{first}, {second}"))));
        check(name, &mesh, &gateway(), Problems, &why);
    }
}

#[test]
fn certificates_of_the_mesh() {
    let server = |protocol: &str, more: &str| {
        server(
            "gw",
            &format!(
                "{{port: {{number: 443, name: s, protocol: {protocol}}}, hosts: [x.example.com], tls: {{mode: ISTIO_MUTUAL{more}}}}}"
            ),
        )
    };
    check(
        "any caller whom the mesh knows",
        &Mesh::of(&server("HTTPS", "")),
        &gateway(),
        Listener("0.0.0.0_443"),
        "0.0.0.0:443 tls_inspector
         {server_names=[x.example.com]} tls cert=default ca=ROOTCA client-cert alpn=[h2,http/1.1] | http rds=https.443.s.gw.istio-system +hawser.announce_http",
    );
    check(
        "callers by name",
        &Mesh::of(&server("HTTPS", ", subjectAltNames: ['spiffe://td/ns/a/sa/b']")),
        &gateway(),
        Listener("0.0.0.0_443"),
        "0.0.0.0:443 tls_inspector
         {server_names=[x.example.com]} tls cert=default ca=ROOTCA URI={exact=spiffe://td/ns/a/sa/b} client-cert alpn=[h2,http/1.1] | http rds=https.443.s.gw.istio-system +hawser.announce_http",
    );
    check(
        "nothing is opened without a route for bytes",
        &Mesh::of(&server("TLS", "")),
        &gateway(),
        Listeners,
        "",
    );
    let bytes = app("a", "db", "10.96.0.1", &["tcp 90 9090"], &[])
        + &istio(
            "VirtualService",
            "a",
            "db",
            "{hosts: [x.example.com], gateways: [istio-system/gw], tcp: [{route: [{destination: {host: db}}]}]}",
        );
    check(
        "bytes, also HTTP/2 of clients that insist on its name",
        &Mesh::of(&(server("TLS", "") + &bytes)),
        &gateway(),
        Listener("0.0.0.0_443"),
        "0.0.0.0:443 tls_inspector
         {server_names=[x.example.com]} tls cert=default ca=ROOTCA client-cert alpn=[h2,http/1.1] | tcp -> outbound|90||db.a.svc.cluster.local",
    );
}

#[test]
fn ports_of_the_gateways_services() {
    let labelled = |name: &str, label: &str, target: u16| {
        format!(
            "---\n{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: istio-system, labels: {{{label}}}}}, \
             spec: {{clusterIP: 10.96.1.1, selector: {{istio: ingress}}, ports: [{{name: http, port: 80, targetPort: {target}}}]}}}}\n"
        )
    };
    let pod = "---\n{apiVersion: v1, kind: Pod, metadata: {name: gw-0, namespace: istio-system, labels: {istio: ingress}}, \
         spec: {}, status: {podIP: 10.1.9.9, phase: Running}}\n";
    let http = server(
        "gw",
        "{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}",
    );
    let opt_out = "experimental.istio.io/disable-gateway-port-translation: 'true'";
    for (name, services, expected) in [
        ("no service", String::new(), "0.0.0.0_80"),
        ("the target port", labelled("a", "", 8080), "0.0.0.0_8080"),
        (
            "of two services the first",
            labelled("a", "", 8080) + &labelled("b", "", 8081),
            "0.0.0.0_8080",
        ),
        (
            "a service whose numbers do not count",
            labelled("a", opt_out, 8080),
            "0.0.0.0_80",
        ),
    ] {
        let mesh = Mesh::of(&(pod.to_owned() + &services + &http));
        check(name, &mesh, &gateway(), Listeners, expected);
    }
}

/// MeshConfig's `tlsDefaults` fill what a server leaves open, `meshMTLS` is the mesh's own TLS. Ciphers that Envoy does not
/// know are left out: it would refuse the whole listener.
#[test]
fn versions_and_ciphers() {
    let one = |tls: &str| Mesh {
        config: "{tlsDefaults: {minProtocolVersion: TLSV1_3, cipherSuites: [AES128-SHA, A], ecdhCurves: [P-256]}}",
        ..Mesh::of(&server(
            "g",
            &format!(
                "{{port: {{number: 443, name: https, protocol: HTTPS}}, hosts: [h.x], tls: {{{tls}}}}}"
            ),
        ))
    };
    for (name, tls, expected) in [
        (
            "the mesh's",
            "mode: SIMPLE, credentialName: c",
            "{cipher_suites:[AES128-SHA],ecdh_curves:[P-256],tls_minimum_protocol_version:TLSv1_3}",
        ),
        (
            "the server's own",
            "mode: SIMPLE, credentialName: c, minProtocolVersion: TLSV1_2, maxProtocolVersion: TLSV1_2, cipherSuites: [AES256-SHA, fake, AES256-SHA]",
            "{cipher_suites:[AES256-SHA],ecdh_curves:[P-256],tls_maximum_protocol_version:TLSv1_2,tls_minimum_protocol_version:TLSv1_2}",
        ),
        (
            "the mesh's own TLS",
            "mode: ISTIO_MUTUAL",
            "nothing at /filter_chains/0/transport_socket/typed_config/common_tls_context/tls_params",
        ),
    ] {
        check(
            name,
            &one(tls),
            &gateway(),
            ListenerPart(
                "0.0.0.0_443",
                "/filter_chains/0/transport_socket/typed_config/common_tls_context/tls_params",
            ),
            expected,
        );
    }
}
