//! The name table that sidecars answer DNS from.

use serde_json::json;

use crate::check;
use crate::mesh::{Mesh, app, gateway, istio, proxy, sidecar};
use crate::text::View::{Listeners, Names};

#[test]
fn table() {
    let yaml = app("a", "web", "10.96.0.1", &["http 80 8080"], &["10.1.0.1"])
        + &istio(
            "ServiceEntry",
            "a",
            "global",
            "{hosts: [web.a.global, '*.wild.example.com'], addresses: [240.0.0.9], resolution: STATIC, location: MESH_INTERNAL, \
             ports: [{number: 80, name: http, protocol: HTTP}], endpoints: [{address: 203.0.113.2, ports: {http: 15443}}]}",
        )
        + &istio("Sidecar", "b", "default", "{egress: [{hosts: ['./*']}]}");
    let mesh = Mesh::of(&yaml);
    check(
        "all that is visible",
        &mesh,
        &sidecar("10.1.0.9 client.a"),
        Names,
        "*.wild.example.com [240.0.0.9]
         web.a.global [240.0.0.9]
         web.a.svc.cluster.local [10.96.0.1]",
    );
    check(
        "only what is imported",
        &mesh,
        &sidecar("10.1.0.9 client.b"),
        Names,
        "",
    );
    check("gateways have none", &mesh, &gateway(), Names, "none");
}

#[test]
fn services_without_address() {
    let pod = |name: &str, ip: &str, more: &str| {
        format!(
            "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: a, labels: {{app: head}}}}, spec: {{hostname: {name}, {more}}}, \
             status: {{podIP: {ip}, phase: Running, conditions: [{{type: Ready, status: 'True'}}]}}}}\n"
        )
    };
    let slice = |endpoints: &str| {
        format!(
            "---\n{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: s, namespace: a, labels: {{kubernetes.io/service-name: head}}}}, \
             addressType: IPv4, ports: [{{name: tcp, port: 90}}, {{name: http, port: 80}}], endpoints: [{endpoints}]}}\n"
        )
    };
    let of_pod = |name: &str, ip: &str, ready: bool| {
        format!(
            "{{addresses: [{ip}], conditions: {{ready: {ready}, terminating: false}}, targetRef: {{kind: Pod, name: {name}}}}}"
        )
    };
    let service = |more: &str| {
        format!(
            "---\n{{apiVersion: v1, kind: Service, metadata: {{name: head, namespace: a}}, \
             spec: {{clusterIP: None, selector: {{app: head}}, ports: [{{name: tcp, port: 90}}, {{name: http, port: 80}}]{more}}}}}\n"
        )
    };
    let pods = pod("p-0", "10.1.0.1", "subdomain: head")
        + &pod("p-1", "10.1.0.2", "subdomain: other")
        + &pod("p-2", "10.1.0.3", "subdomain: head")
        + &slice(
            &[
                of_pod("p-0", "10.1.0.1", true),
                of_pod("p-1", "10.1.0.2", true),
                of_pod("p-2", "10.1.0.3", false),
            ]
            .join(", "),
        );
    let far = pod("p-0", "10.2.0.1", "subdomain: head") + &slice(&of_pod("p-0", "10.2.0.1", true));
    let client = sidecar("10.1.0.9 client.a");
    for (name, mesh, expected) in [
        (
            "pods by the names that they have; those that are not ready are none",
            Mesh::of(&(service("") + &pods)),
            "head.a.svc.cluster.local [10.1.0.1,10.1.0.2]
             p-0.head.a.svc.cluster.local [10.1.0.1]
             p-1.other.a.svc.cluster.local [10.1.0.2]",
        ),
        (
            "those that are not ready, if the service wants them",
            Mesh::of(&(service(", publishNotReadyAddresses: true") + &pods)),
            "head.a.svc.cluster.local [10.1.0.1,10.1.0.2,10.1.0.3]
             p-0.head.a.svc.cluster.local [10.1.0.1]
             p-1.other.a.svc.cluster.local [10.1.0.2]
             p-2.head.a.svc.cluster.local [10.1.0.3]",
        ),
        (
            "of two pods of one name the one of the own cluster",
            Mesh::of(&(service("") + &pods)).and("c2", &(service("") + &far)),
            "head.a.svc.cluster.local [10.1.0.1,10.1.0.2,10.2.0.1]
             p-0.head.a.svc.cluster.local [10.1.0.1]
             p-1.other.a.svc.cluster.local [10.1.0.2]",
        ),
        (
            "workloads of a ServiceEntry that says no address",
            Mesh::of(
                &(pods.clone()
                    + &istio(
                        "ServiceEntry",
                        "a",
                        "any",
                        "{hosts: [any.example], resolution: NONE, ports: [{number: 90, name: tcp, protocol: TCP}], workloadSelector: {labels: {app: head}}}",
                    )),
            ),
            "any.example [10.1.0.1,10.1.0.2,10.1.0.3]",
        ),
    ] {
        check(name, &mesh, &client, Names, expected);
    }
}

#[test]
fn allocated_addresses_are_for_those_who_answer_dns() {
    let yaml = "---\n{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: x, namespace: a}, \
         spec: {hosts: [x.example], resolution: DNS, ports: [{number: 90, name: tcp, protocol: TCP}]}, \
         status: {addresses: [{host: x.example, value: 240.240.0.7}, {host: x.example, value: '2001:2::7'}]}}\n";
    let mesh = Mesh::of(yaml);
    let asks = sidecar("10.1.0.9 client.a");
    let answers = proxy(
        "sidecar",
        "10.1.0.9 client.a",
        json!({"DNS_CAPTURE": "true"}),
    );
    check("no name", &mesh, &asks, Names, "");
    check(
        "no address",
        &mesh,
        &asks,
        Listeners,
        "0.0.0.0_90\nvirtualInbound\nvirtualOutbound",
    );
    check("a name", &mesh, &answers, Names, "x.example [240.240.0.7]");
    check(
        "an address",
        &mesh,
        &answers,
        Listeners,
        "240.240.0.7_90\nvirtualInbound\nvirtualOutbound",
    );
}
