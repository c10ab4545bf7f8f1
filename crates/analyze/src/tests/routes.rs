//! VirtualServices, DestinationRules and ServiceEntries.

use super::check;

const TILL: &str = "
apiVersion: v1
kind: Service
metadata: {name: till, namespace: shop}
spec: {selector: {app: till}, ports: [{name: http, port: 80}, {name: grpc, port: 90}]}
---
apiVersion: v1
kind: Pod
metadata: {name: till-1, namespace: shop, labels: {app: till, version: v1}}
spec: {containers: [{name: till, image: till}, {name: istio-proxy, image: proxy}]}
---";

fn with_till(name: &str, yaml: &str, expected: &[&str]) {
    check(name, &format!("{TILL}{yaml}"), expected);
}

#[test]
fn destinations() {
    let route = |destination: &str| {
        format!(
            "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: r, namespace: shop}}
spec: {{hosts: [r.test], http: [{{route: [{{destination: {destination}}}]}}]}}"
        )
    };
    let at = "VirtualService shop/r spec.http[0].route[0].destination";
    for (name, destination, expected) in [
        ("right", "{host: till, port: {number: 80}}", vec![]),
        (
            "by its whole name",
            "{host: till.shop.svc.cluster.local, port: {number: 90}}",
            vec![],
        ),
        (
            "no such host",
            "{host: tills}",
            vec![format!("IST0101 {at}.host")],
        ),
        (
            "no such port",
            "{host: till, port: {number: 81}}",
            vec![format!("IST0101 {at}.port")],
        ),
        (
            "several ports",
            "{host: till}",
            vec![format!("IST0112 {at}.port")],
        ),
        (
            "no such subset",
            "{host: till, port: {number: 80}, subset: v1}",
            vec![format!("IST0101 {at}.subset")],
        ),
    ] {
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        with_till(name, &route(destination), &expected);
    }
}

#[test]
fn a_mistyped_host_is_guessed() {
    let objects = format!(
        "{TILL}
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: r, namespace: shop}}
spec: {{hosts: [r.test], http: [{{route: [{{destination: {{host: tiil}}}}]}}]}}"
    );
    let found = crate::analyze(vec![super::cluster("one", &objects)], &super::settings());
    let helps: Vec<&str> = found.iter().map(|f| f.help.as_str()).collect();
    assert_eq!(helps, ["did you mean till?"]);
}

#[test]
fn hosts_of_service_entries() {
    let entry = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: bank, namespace: shop}
spec: {hosts: ['*.bank.test'], exportTo: ['.'], ports: [{number: 443, name: tls, protocol: TLS}], resolution: NONE}
---";
    let rule = |namespace: &str, host: &str| {
        format!(
            "{entry}
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: d, namespace: {namespace}}}
spec: {{host: '{host}'}}"
        )
    };
    check("under the wildcard", &rule("shop", "vault.bank.test"), &[]);
    check("the wildcard itself", &rule("shop", "*.bank.test"), &[]);
    check(
        "not under it",
        &rule("shop", "bank.test"),
        &["IST0174 DestinationRule shop/d spec.host"],
    );
    check(
        "not exported",
        &rule("istio-system", "vault.bank.test"),
        &["IST0174 DestinationRule istio-system/d spec.host"],
    );
}

#[test]
fn subsets() {
    let rule = |labels: &str| {
        format!(
            "
apiVersion: v1
kind: Pod
metadata: {{name: other, namespace: shop, labels: {{app: other, version: v7}}}}
spec: {{containers: [{{name: o, image: o}}, {{name: istio-proxy, image: proxy}}]}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: d, namespace: shop}}
spec: {{host: till, subsets: [{{name: s, labels: {labels}}}]}}"
        )
    };
    with_till("pods", &rule("{version: v1}"), &[]);
    with_till(
        "no pods",
        &rule("{version: v2}"),
        &["IST0173 DestinationRule shop/d spec.subsets[0].labels"],
    );
    with_till(
        "pods of another service",
        &rule("{version: v7}"),
        &["HWS0205 DestinationRule shop/d spec.subsets[0].labels"],
    );
}

#[test]
fn hosts_of_two_routes() {
    let routes = |first: &str, second: &str| {
        format!(
            "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: a, namespace: shop}}
spec: {{{first}, http: [{{redirect: {{uri: /a}}}}]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: b, namespace: shop}}
spec: {{{second}, http: [{{redirect: {{uri: /b}}}}]}}"
        )
    };
    let both = [
        "IST0109 VirtualService shop/a spec.hosts[0]",
        "IST0109 VirtualService shop/b spec.hosts[0]",
    ];
    check(
        "same host",
        &routes("hosts: [x.test]", "hosts: [x.test]"),
        &both,
    );
    check(
        "private and public",
        &routes("hosts: [x.test], exportTo: ['.']", "hosts: ['*.test']"),
        &both,
    );
    check(
        "other hosts",
        &routes("hosts: [x.test]", "hosts: [y.test]"),
        &[],
    );
    check(
        "wildcards of everybody",
        &routes("hosts: [x.test]", "hosts: ['*.test']"),
        &[],
    );
    check(
        "other namespaces",
        &routes(
            "hosts: [x.test], exportTo: [one]",
            "hosts: [x.test], exportTo: [two]",
        ),
        &[],
    );
}

#[test]
fn protocols_of_one_port() {
    let entries = |first: &str, second: &str| {
        format!(
            "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: a, namespace: shop}}
spec: {{hosts: [x.test], ports: [{{number: 80, name: p, protocol: {first}}}], resolution: DNS}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: b, namespace: shop}}
spec: {{hosts: [x.test], ports: [{{number: 80, name: p, protocol: {second}}}], resolution: DNS}}"
        )
    };
    let both = [
        "IST0177 ServiceEntry shop/a spec.ports[0].protocol",
        "IST0177 ServiceEntry shop/b spec.ports[0].protocol",
    ];
    check("the same", &entries("HTTP", "http"), &[]);
    check("two", &entries("HTTP", "GRPC"), &both);
}

#[test]
fn tls_without_verification() {
    let rule = |tls: &str, more: &str| {
        format!(
            "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: bank, namespace: shop}}
spec: {{hosts: [bank.test], ports: [{{number: 443, name: https, protocol: HTTPS}}], resolution: DNS}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: d, namespace: shop}}
spec:
  host: bank.test
  {more}
  trafficPolicy:
    tls: {tls}
    portLevelSettings: [{{port: {{number: 443}}, tls: {tls}}}]
"
        )
    };
    let both = [
        "IST0128 DestinationRule shop/d spec.trafficPolicy.tls",
        "IST0129 DestinationRule shop/d spec.trafficPolicy.portLevelSettings[0].tls",
    ];
    let some = "workloadSelector: {matchLabels: {app: till}}";
    check("nothing to verify by", &rule("{mode: SIMPLE}", ""), &both);
    check("for some workloads", &rule("{mode: SIMPLE}", some), &both);
    check(
        "a Secret, which is not used without a selector",
        &rule("{mode: SIMPLE, credentialName: lock}", ""),
        &both,
    );
    check(
        "a Secret for some workloads",
        &rule("{mode: SIMPLE, credentialName: lock}", some),
        &[],
    );
    check(
        "a file",
        &rule("{mode: SIMPLE, caCertificates: /ca.pem}", ""),
        &[],
    );
}
