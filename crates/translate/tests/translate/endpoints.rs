//! Endpoints: networks and their gateways, localities, subsets.

use serde_json::json;

use crate::check;
use crate::mesh::{Mesh, app, istio, proxy, sidecar};
use crate::text::View::{Cluster, Endpoints};

const WEB: &str = "outbound|80||web.a.svc.cluster.local";

/// A region of which nothing can be reached from here still counts where priorities are given out.
#[test]
fn a_locality_without_a_way_to_it_keeps_its_place() {
    let rule = "{host: web, trafficPolicy: {outlierDetection: {consecutive5xxErrors: 1}, \
        loadBalancer: {localityLbSetting: {enabled: true, failover: [{from: r1, to: r2}]}}}}";
    let mesh = Mesh {
        networks: "{networks: {n1: {endpoints: [{fromRegistry: c1}]}, \
            n2: {endpoints: [{fromRegistry: c2}], gateways: [{address: 203.0.113.2, port: 15443}]}}}",
        ..Mesh::of(
            &(app(
                "a",
                "web",
                "10.96.0.1",
                &["http 80 8080"],
                &["10.1.0.1 mtls at=r1.z1", "10.1.0.2 mtls at=r3.z1"],
            ) + &istio("DestinationRule", "a", "web", rule)),
        )
        .and(
            "c2",
            &app(
                "a",
                "web",
                "10.97.0.1",
                &["http 80 8080"],
                &["10.2.0.1 at=r2.z1"],
            ),
        )
    };
    check(
        "the third region stays third",
        &mesh,
        &proxy(
            "sidecar",
            "10.1.0.9 client.a",
            json!({"NETWORK": "n1", "LABELS": {"istio-locality": "r1.z1"}}),
        ),
        Endpoints(WEB),
        "r1/z1 w1: 10.1.0.1:8080/mtls
         r2/z1 p1:
         r3/z1 p2 w1: 10.1.0.2:8080/mtls",
    );
}

/// Istio's own example: two gateways of a network share what stands behind them, so that every weight doubles.
#[test]
fn what_another_network_has_is_behind_its_gateways() {
    let networks = "{networks: {n1: {endpoints: [{fromRegistry: c1}]}, \
        n2: {endpoints: [{fromRegistry: c2}], gateways: [{address: 203.0.113.2, port: 15443}]}, \
        n3: {endpoints: [{fromRegistry: c3}], gateways: [{address: 203.0.113.3, port: 15443}, {address: 203.0.113.4, port: 15443}]}}}";
    let mesh = |client: &[&str], second: &[&str]| Mesh {
        networks,
        ..Mesh::of(&app("a", "web", "10.96.0.1", &["http 80 8080"], client))
            .and(
                "c2",
                &app("a", "web", "10.97.0.1", &["http 80 8080"], second),
            )
            .and(
                "c3",
                &app(
                    "a",
                    "web",
                    "10.98.0.1",
                    &["http 80 8080"],
                    &["10.3.0.1 mtls", "10.3.0.2 mtls", "10.3.0.3 mtls"],
                ),
            )
    };
    let local = ["10.1.0.1 mtls", "10.1.0.2 mtls"];
    let all = mesh(&local, &["10.2.0.1 mtls", "10.2.0.2 mtls"]);
    let of = |network: &str| proxy("sidecar", "10.1.0.9 client.a", json!({"NETWORK": network}));
    check(
        "weights",
        &all,
        &of("n1"),
        Endpoints(WEB),
        "- w14: 10.1.0.1:8080*2/mtls 10.1.0.2:8080*2/mtls 203.0.113.2:15443*4/mtls 203.0.113.3:15443*3/mtls 203.0.113.4:15443*3/mtls",
    );
    check(
        "a network without gateways is reached directly",
        &all,
        &of("n2"),
        Endpoints(WEB),
        "- w14: 10.1.0.1:8080*2/mtls 10.1.0.2:8080*2/mtls 10.2.0.1:8080*2/mtls 10.2.0.2:8080*2/mtls 203.0.113.3:15443*3/mtls 203.0.113.4:15443*3/mtls",
    );
    check(
        "what speaks no mutual TLS cannot be reached through a gateway",
        &mesh(&local, &["10.2.0.1", "10.2.0.2 mtls"]),
        &of("n1"),
        Endpoints(WEB),
        "- w12: 10.1.0.1:8080*2/mtls 10.1.0.2:8080*2/mtls 203.0.113.2:15443*2/mtls 203.0.113.3:15443*3/mtls 203.0.113.4:15443*3/mtls",
    );
    check(
        "a gateway shows its own network alone",
        &all,
        &proxy(
            "router",
            "10.1.9.9 gw.istio-system",
            json!({"NETWORK": "n1", "REQUESTED_NETWORK_VIEW": "n1"}),
        ),
        Endpoints(WEB),
        "- w4: 10.1.0.1:8080*2/mtls 10.1.0.2:8080*2/mtls",
    );
}

#[test]
fn localities() {
    let pods = [
        "10.1.0.1 mtls at=r1.z1",
        "10.1.0.2 mtls at=r1.z2",
        "10.1.0.3 mtls at=r2.z1",
        "10.1.0.4 mtls at=r3.z1",
    ];
    let base = app("a", "web", "10.96.0.1", &["http 80 8080"], &pods);
    let client = |place: &str| {
        let labels =
            json!({"LABELS": {"istio-locality": "no", "topology.istio.io/locality": place}});
        proxy("sidecar", "10.1.0.9 client.a", labels)
    };
    let rule = |policy: &str| {
        let outlier = "outlierDetection: {consecutive5xxErrors: 1}";
        let spec =
            format!("{{host: web, trafficPolicy: {{{outlier}, loadBalancer: {{{policy}}}}}}}");
        base.clone() + &istio("DestinationRule", "a", "web", &spec)
    };
    for (name, policy, place, expected) in [
        (
            "the own zone, the own region, all else",
            "",
            "r1.z1",
            "r1/z1 w1: 10.1.0.1:8080/mtls
             r1/z2 p1 w1: 10.1.0.2:8080/mtls
             r2/z1 p2 w1: 10.1.0.3:8080/mtls
             r3/z1 p2 w1: 10.1.0.4:8080/mtls",
        ),
        (
            "the region named comes before others",
            "localityLbSetting: {failover: [{from: r1, to: r3}]}",
            "r1.z1",
            "r1/z1 w1: 10.1.0.1:8080/mtls
             r1/z2 p1 w1: 10.1.0.2:8080/mtls
             r2/z1 p3 w1: 10.1.0.3:8080/mtls
             r3/z1 p2 w1: 10.1.0.4:8080/mtls",
        ),
        (
            "shares",
            "localityLbSetting: {distribute: [{from: r1/*, to: {r1/z1/*: 70, r2/*: 30}}]}",
            "r1.z1",
            "r1/z1 w70: 10.1.0.1:8080/mtls
             r1/z2 w1:
             r2/z1 w30: 10.1.0.3:8080/mtls
             r3/z1 w1:",
        ),
        (
            "off",
            "localityLbSetting: {enabled: false}",
            "r1.z1",
            "r1/z1 w1: 10.1.0.1:8080/mtls
             r1/z2 w1: 10.1.0.2:8080/mtls
             r2/z1 w1: 10.1.0.3:8080/mtls
             r3/z1 w1: 10.1.0.4:8080/mtls",
        ),
        (
            "zones are Envoy's choice within a region",
            "zoneAwareLbSetting: {failover: [{from: r1, to: r3}]}",
            "r1.z1",
            "r1/z1 w1: 10.1.0.1:8080/mtls
             r1/z2 w1: 10.1.0.2:8080/mtls
             r2/z1 p2 w1: 10.1.0.3:8080/mtls
             r3/z1 p1 w1: 10.1.0.4:8080/mtls",
        ),
        (
            "nobody is near a client of no place",
            "",
            "",
            "r1/z1 w1: 10.1.0.1:8080/mtls
             r1/z2 w1: 10.1.0.2:8080/mtls
             r2/z1 w1: 10.1.0.3:8080/mtls
             r3/z1 w1: 10.1.0.4:8080/mtls",
        ),
    ] {
        check(
            name,
            &Mesh::of(&rule(policy)),
            &client(place),
            Endpoints(WEB),
            expected,
        );
    }
    check(
        "labels in order of weight",
        &Mesh::of(
            &(app(
                "a",
                "web",
                "10.96.0.1",
                &["http 80 8080"],
                &[
                    "10.1.0.1 mtls v=one s=x",
                    "10.1.0.2 mtls v=one",
                    "10.1.0.3 mtls s=x",
                ],
            ) + &istio(
                "DestinationRule",
                "a",
                "web",
                "{host: web, trafficPolicy: {outlierDetection: {consecutive5xxErrors: 1}, \
                     loadBalancer: {localityLbSetting: {failoverPriority: [v, s]}}}}",
            )),
        ),
        &proxy(
            "sidecar",
            "10.1.0.9 client.a",
            json!({"LABELS": {"app": "client", "v": "one", "s": "x"}}),
        ),
        Endpoints(WEB),
        "- w1: 10.1.0.1:8080/mtls
         - p1 w1: 10.1.0.2:8080/mtls
         - p2 w1: 10.1.0.3:8080/mtls",
    );
}

/// As in the notes to Istio 1.31: the own network is preferred, not required.
#[test]
fn of_another_network_the_near_come_first() {
    let place = |network: &str, rest: &str| format!("{rest} topology.istio.io/network={network}");
    let pods = [
        place("n1", "10.1.0.1 mtls at=r1.z1"),
        place("n1", "10.1.0.2 mtls at=r1.z2"),
        place("n1", "10.1.0.3 mtls at=r2.z1"),
        place("n2", "10.1.0.4 mtls at=r1.z1"),
        place("n2", "10.1.0.5 mtls at=r1.z2"),
        place("n2", "10.1.0.6 mtls at=r2.z1"),
    ];
    let pods: Vec<&str> = pods.iter().map(String::as_str).collect();
    let web = app("a", "web", "10.96.0.1", &["http 80 8080"], &pods);
    let web = web.replacen(
        "clusterIP: 10.96.0.1",
        "clusterIP: 10.96.0.1, trafficDistribution: PreferSameZone",
        1,
    );
    check(
        "six places",
        &Mesh::of(&web),
        &proxy(
            "sidecar",
            "10.1.0.9 client.a",
            json!({"NETWORK": "n1", "LABELS": {"istio-locality": "r1.z1"}}),
        ),
        Endpoints(WEB),
        "r1/z1 w1: 10.1.0.1:8080/mtls
         r1/z1 p3 w1: 10.1.0.4:8080/mtls
         r1/z2 p1 w1: 10.1.0.2:8080/mtls
         r1/z2 p4 w1: 10.1.0.5:8080/mtls
         r2/z1 p2 w1: 10.1.0.3:8080/mtls
         r2/z1 p5 w1: 10.1.0.6:8080/mtls",
    );
}

/// What is not ready is told, unless too few that are well would make Envoy call it (Istio 1.31).
#[test]
fn endpoints_that_are_not_ready() {
    let pods = [
        "10.1.0.1 mtls",
        "10.1.0.2 mtls",
        "10.1.0.3 mtls istio.io/draining=soon",
    ];
    let ready = app("a", "web", "10.96.0.1", &["http 80 8080"], &pods);
    let web = ready.replacen(
        "{addresses: [10.1.0.2],",
        "{addresses: [10.1.0.2], conditions: {ready: false, terminating: false},",
        1,
    );
    let near = web.replacen(
        "clusterIP: 10.96.0.1",
        "clusterIP: 10.96.0.1, trafficDistribution: PreferSameZone",
        1,
    );
    let rule = |outlier: &str| {
        let spec = format!("{{host: web, trafficPolicy: {{outlierDetection: {{{outlier}}}}}}}");
        istio("DestinationRule", "a", "web", &spec)
    };
    let client = sidecar("10.1.0.9 client.a");
    let told = "- w2: 10.1.0.1:8080/mtls 10.1.0.2:8080/mtls/UNHEALTHY";
    for (name, yaml, expected) in [
        ("nothing said", web.clone(), told),
        (
            "outliers",
            web.clone() + &rule("consecutive5xxErrors: 1"),
            told,
        ),
        (
            "a least share",
            web.clone() + &rule("minHealthPercent: 10"),
            "- w1: 10.1.0.1:8080/mtls",
        ),
        (
            "near ones preferred",
            near + &rule("minHealthPercent: 10"),
            told,
        ),
    ] {
        check(name, &Mesh::of(&yaml), &client, Endpoints(WEB), expected);
    }
}

/// A machine of which only the network is known is nowhere while no network has a gateway.
#[test]
fn a_machine_without_an_address() {
    let yaml = istio(
        "ServiceEntry",
        "a",
        "vm",
        "{hosts: [vm.example.com], resolution: STATIC, location: MESH_INTERNAL, \
         ports: [{number: 80, name: http, protocol: HTTP}], \
         endpoints: [{network: n2, serviceAccount: vm}, {address: 192.0.2.1}]}",
    );
    let networks =
        "{networks: {n2: {endpoints: [], gateways: [{address: 203.0.113.2, port: 15443}]}}}";
    let at = Endpoints("outbound|80||vm.example.com");
    let client = proxy("sidecar", "10.1.0.9 client.a", json!({"NETWORK": "n1"}));
    check(
        "no gateway",
        &Mesh::of(&yaml),
        &client,
        at,
        "- w1: 192.0.2.1:80",
    );
    let mesh = Mesh {
        networks,
        ..Mesh::of(&yaml)
    };
    let through = "- w2: 192.0.2.1:80 203.0.113.2:15443/mtls";
    check("a gateway", &mesh, &client, at, through);
}

#[test]
fn subsets_and_kinds() {
    let web = app(
        "a",
        "web",
        "10.96.0.1",
        &["http 80 8080"],
        &["10.1.0.1 mtls version=v1", "10.1.0.2 version=v2"],
    ) + &istio(
        "DestinationRule",
        "a",
        "web",
        "{host: web, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}, {name: v3, labels: {version: v3}}]}",
    ) + &istio(
        "ServiceEntry",
        "a",
        "static",
        "{hosts: [static.example.com], resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}], \
             endpoints: [{address: 192.0.2.1, weight: 3, ports: {http: 8080}}, {address: 'unix:///run/app.sock'}]}",
    ) + &istio(
        "ServiceEntry",
        "a",
        "dns",
        "{hosts: [dns.example.com], resolution: DNS, ports: [{number: 443, name: https, protocol: HTTPS}], \
             endpoints: [{address: one.example.com, locality: r1/z1}, {address: two.example.com, ports: {https: 8443}}]}",
    );
    let mesh = Mesh::of(&web);
    let client = sidecar("10.1.0.9 client.a");
    for (name, view, expected) in [
        (
            "all",
            Endpoints(WEB),
            "- w2: 10.1.0.1:8080/mtls 10.1.0.2:8080",
        ),
        (
            "v1",
            Endpoints("outbound|80|v1|web.a.svc.cluster.local"),
            "- w1: 10.1.0.1:8080/mtls",
        ),
        (
            "v2",
            Endpoints("outbound|80|v2|web.a.svc.cluster.local"),
            "- w1: 10.1.0.2:8080",
        ),
        (
            "none of its labels",
            Endpoints("outbound|80|v3|web.a.svc.cluster.local"),
            "",
        ),
        (
            "no such subset",
            Endpoints("outbound|80|v4|web.a.svc.cluster.local"),
            "none",
        ),
        (
            "no such port",
            Endpoints("outbound|81||web.a.svc.cluster.local"),
            "none",
        ),
        (
            "addresses of an entry",
            Endpoints("outbound|80||static.example.com"),
            "- w4: 192.0.2.1:8080*3 {pipe={path=/run/app.sock}}",
        ),
        (
            "names of an entry stand in the cluster",
            Cluster("outbound|443||dns.example.com"),
            "STRICT_DNS LEAST_REQUEST
             - w1: two.example.com:8443
             r1/z1 w1: one.example.com:443",
        ),
    ] {
        check(name, &mesh, &client, view, expected);
    }
}
