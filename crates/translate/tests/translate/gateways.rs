//! Gateways: servers, passthrough by SNI.

use crate::check;
use crate::mesh::{Mesh, app, gateway, istio};
use crate::text::View::{Clusters, Listener, Listeners, Problems, Routes};

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
    let servers = "{port: {number: 443, name: one, protocol: HTTPS}, hosts: [x.example.com], tls: {mode: SIMPLE, credentialName: c}}, \
        {port: {number: 443, name: two, protocol: HTTPS}, hosts: [x.example.com], tls: {mode: SIMPLE, credentialName: d}}, \
        {port: {number: 443, name: three, protocol: HTTP}, hosts: [y.example.com]}";
    check(
        "servers",
        &Mesh::of(&(base + &server("gw", servers))),
        &gateway(),
        Problems,
        "HWS0602 Gateway gw.istio-system spec.servers: the server of port 443 is for x.example.com, which an older server has already (leave that host to one of them)
         HWS0602 Gateway gw.istio-system spec.servers: the server of port 443 is HTTP, but an older server of that port is not (use one of them, or another port)",
    );
}
