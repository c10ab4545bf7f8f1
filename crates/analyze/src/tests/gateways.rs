//! Gateways and what leads to them.

use super::check;

const DOOR: &str = "
apiVersion: v1
kind: Pod
metadata: {name: door-1, namespace: shop, labels: {istio: door, zone: a}}
spec: {containers: [{name: istio-proxy, image: proxy}]}
---
apiVersion: v1
kind: Service
metadata: {name: door, namespace: shop, labels: {istio: door}}
spec: {selector: {istio: door}, ports: [{name: http, port: 80, targetPort: 8080}, {name: https, port: 443}]}
---";

fn gateway(name: &str, selector: &str, server: &str) -> String {
    format!(
        "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: {name}, namespace: shop}}
spec: {{selector: {selector}, servers: [{server}]}}
---"
    )
}

fn with_door(name: &str, yaml: &str, expected: &[&str]) {
    check(name, &format!("{DOOR}{yaml}"), expected);
}

#[test]
fn pods_and_ports() {
    let server = |port: u32| {
        format!("{{port: {{number: {port}, name: http, protocol: HTTP}}, hosts: [a.test]}}")
    };
    with_door(
        "a target port",
        &gateway("g", "{istio: door}", &server(8080)),
        &[],
    );
    with_door(
        "only a Service's port",
        &gateway("g", "{istio: door}", &server(80)),
        &["IST0162 Gateway shop/g spec.servers[0].port.number"],
    );
    with_door(
        "nobody",
        &gateway("g", "{istio: doors}", &server(8080)),
        &["IST0101 Gateway shop/g spec.selector"],
    );
}

#[test]
fn conflicts() {
    let server = |hosts: &str| {
        format!("{{port: {{number: 443, name: http, protocol: HTTP}}, hosts: [{hosts}]}}")
    };
    let both = |a: &str, b: &str, second: &str| {
        gateway("a", "{istio: door}", &server(a)) + &gateway("b", second, &server(b))
    };
    let found = [
        "IST0145 Gateway shop/a spec.servers[0].hosts",
        "IST0145 Gateway shop/b spec.servers[0].hosts",
    ];
    with_door(
        "same host",
        &both("x.test", "'y.test', 'x.test'", "{istio: door}"),
        &found,
    );
    with_door(
        "same pods by more labels",
        &both("x.test", "x.test", "{istio: door, zone: a}"),
        &found,
    );
    with_door(
        "other hosts",
        &both("x.test", "y.test", "{istio: door}"),
        &[],
    );
}

#[test]
fn secrets() {
    let tls = "{port: {number: 443, name: https, protocol: HTTPS}, hosts: [x.test], tls: {mode: SIMPLE, credentialName: lock}}";
    let secret = |data: &str| {
        format!(
            "
apiVersion: v1
kind: Secret
metadata: {{name: lock, namespace: shop}}
stringData: {data}
---{}",
            gateway("g", "{istio: door}", tls)
        )
    };
    let at = "Gateway shop/g spec.servers[0].tls.credentialName";
    with_door(
        "missing",
        &gateway("g", "{istio: door}", tls),
        &[&format!("IST0101 {at}")],
    );
    with_door(
        "no certificate",
        &secret("{tls.crt: crt, tls.key: key}"),
        &[&format!("IST0161 {at}")],
    );
    with_door(
        "no key",
        &secret("{tls.crt: crt}"),
        &[&format!("IST0161 {at}")],
    );
}

#[test]
fn routes_of_gateways() {
    let door = gateway(
        "g",
        "{istio: door}",
        "{port: {number: 443, name: http, protocol: HTTP}, hosts: ['*.test', 'yard/a.example', './b.example']}",
    );
    let route = |host: &str, gateway: &str| {
        format!(
            "{door}
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: r, namespace: shop}}
spec: {{hosts: [{host}], gateways: [{gateway}], http: [{{redirect: {{uri: /x}}}}]}}"
        )
    };
    let at = "VirtualService shop/r spec.gateways[0]";
    with_door("a host of it", &route("x.test", "g"), &[]);
    with_door("its own namespace's", &route("b.example", "shop/g"), &[]);
    with_door(
        "another namespace's",
        &route("a.example", "g"),
        &[&format!("IST0132 {at}")],
    );
    with_door(
        "no such gateway",
        &route("x.test", "h"),
        &[&format!("IST0101 {at}"), &format!("IST0132 {at}")],
    );
}
