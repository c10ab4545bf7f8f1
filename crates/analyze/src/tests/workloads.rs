//! Namespaces, pods, Deployments, webhooks, and policies that select them.

use super::check;

#[test]
fn namespaces() {
    let namespace = |labels: &str| {
        format!(
            "
apiVersion: v1
kind: Namespace
metadata: {{name: yard, labels: {labels}}}"
        )
    };
    for (name, labels, expected) in [
        (
            "no label",
            "{}",
            vec!["IST0102 Namespace yard metadata.name"],
        ),
        ("injected", "{istio-injection: enabled}", vec![]),
        (
            "left out",
            "{istio-injection: disabled, istio.io/rev: x}",
            vec![],
        ),
        ("by revision", "{istio.io/rev: x}", vec![]),
        ("ambient", "{istio.io/dataplane-mode: ambient}", vec![]),
        (
            "both",
            "{istio.io/dataplane-mode: ambient, istio.io/rev: x}",
            vec!["IST0123 Namespace yard metadata.labels"],
        ),
    ] {
        check(name, &namespace(labels), &expected);
    }
}

#[test]
fn pods() {
    let pod = |metadata: &str, spec: &str| {
        format!(
            "
apiVersion: v1
kind: Pod
metadata: {{name: p, namespace: shop, {metadata}}}
spec: {{{spec}}}"
        )
    };
    let app = "containers: [{name: app, image: app}]";
    let missing = ["IST0103 Pod shop/p spec.containers"];
    check("no proxy", &pod("labels: {app: p}", app), &missing);
    check(
        "refused",
        &pod("labels: {sidecar.istio.io/inject: 'false'}", app),
        &[],
    );
    check(
        "on the host's network",
        &pod("labels: {app: p}", &format!("hostNetwork: true, {app}")),
        &[],
    );
    check(
        "image auto",
        &pod(
            "labels: {app: p}",
            "containers: [{name: istio-proxy, image: auto}]",
        ),
        &["IST0147 Pod shop/p spec.containers[0].image"],
    );
}

#[test]
fn annotations() {
    let pod = |annotation: &str| {
        format!(
            "
apiVersion: v1
kind: Pod
metadata: {{name: p, namespace: shop, annotations: {{{annotation}}}}}
spec: {{containers: [{{name: istio-proxy, image: proxy}}]}}"
        )
    };
    let at =
        |code: &str, name: &str| vec![format!("{code} Pod shop/p metadata.annotations[{name}]")];
    for (annotation, expected) in [
        ("sidecar.istio.io/logLevel: debug", vec![]),
        (
            "sidecar.istio.io/loglevel: debug",
            at("IST0108", "sidecar.istio.io/loglevel"),
        ),
        (
            "networking.istio.io/exportTo: x",
            at("IST0107", "networking.istio.io/exportTo"),
        ),
        (
            "sidecar.istio.io/inject: 'true'",
            at("IST0135", "sidecar.istio.io/inject"),
        ),
        (
            "prometheus.istio.io/merge-metrics: maybe",
            at("IST0125", "prometheus.istio.io/merge-metrics"),
        ),
        (
            "traffic.sidecar.istio.io/excludeInboundPorts: '80, 90'",
            vec![],
        ),
        (
            "traffic.sidecar.istio.io/includeOutboundIPRanges: '10.0.0.0/8, 11.0.0.0/8'",
            at(
                "IST0125",
                "traffic.sidecar.istio.io/includeOutboundIPRanges",
            ),
        ),
        (
            "traffic.sidecar.istio.io/includeOutboundIPRanges: '*'",
            vec![],
        ),
        (
            "proxy.istio.io/config: '{concurrency: 2, drainDuration: 0s}'",
            at("IST0125", "proxy.istio.io/config"),
        ),
        ("example.com/anything: x", vec![]),
    ] {
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        check(annotation, &pod(annotation), &expected);
    }
}

#[test]
fn policies_that_select_nobody() {
    let policy = |namespace: &str, spec: &str| {
        format!(
            "
apiVersion: v1
kind: Pod
metadata: {{name: p, namespace: shop, labels: {{app: p}}}}
spec: {{containers: [{{name: istio-proxy, image: proxy}}]}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: a, namespace: {namespace}}}
spec: {spec}"
        )
    };
    check(
        "its pods",
        &policy("shop", "{selector: {matchLabels: {app: p}}}"),
        &[],
    );
    check(
        "of all the mesh",
        &policy("istio-system", "{selector: {matchLabels: {app: p}}}"),
        &[],
    );
    check(
        "nobody",
        &policy("shop", "{selector: {matchLabels: {app: q}}}"),
        &["IST0127 AuthorizationPolicy shop/a spec.selector.matchLabels"],
    );
    check(
        "no such namespace",
        &policy(
            "shop",
            "{rules: [{from: [{source: {notNamespaces: [sh*, yard]}}]}]}",
        ),
        &["IST0101 AuthorizationPolicy shop/a spec.rules[0].from[0].source.notNamespaces[1]"],
    );
}

#[test]
fn webhooks() {
    let hook = |config: &str, selector: &str| {
        format!(
            "
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {{name: {config}}}
webhooks:
- name: x.istio.io
  clientConfig: {{url: 'https://istiod.test/inject'}}
  namespaceSelector: {{matchLabels: {{istio-injection: {selector}}}}}
---"
        )
    };
    let two = |a: &str, b: &str| hook("one", a) + &hook("two", b);
    let overlap = [
        "IST0139 MutatingWebhookConfiguration one webhooks[0]",
        "IST0139 MutatingWebhookConfiguration two webhooks[0]",
    ];
    check(
        "for the same namespaces",
        &two("enabled", "enabled"),
        &overlap,
    );
    check("for others", &two("enabled", "disabled"), &[]);
}

#[test]
fn deployments_stand_in_for_pods_that_are_not_known() {
    let manifests = |pods: &str| {
        format!(
            "
apiVersion: v1
kind: Service
metadata: {{name: till, namespace: shop}}
spec: {{selector: {{app: till}}, ports: [{{name: http, port: 80}}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: till-v1, namespace: shop}}
spec: {{template: {{metadata: {{labels: {{app: till, version: v1}}}}, spec: {{containers: [{{name: till, image: till}}]}}}}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: till, namespace: shop}}
spec: {{host: till, subsets: [{{name: v1, labels: {{version: v1}}}}]}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: till, namespace: shop}}
spec: {{selector: {{matchLabels: {{app: till}}}}}}
---{pods}"
        )
    };
    check("manifests alone", &manifests(""), &[]);
    let other = "
apiVersion: v1
kind: Pod
metadata: {name: door, namespace: shop, labels: {app: door}}
spec: {containers: [{name: istio-proxy, image: proxy}]}";
    check(
        "a cluster whose Deployment has no pods",
        &manifests(other),
        &[
            "IST0173 DestinationRule shop/till spec.subsets[0].labels",
            "IST0127 AuthorizationPolicy shop/till spec.selector.matchLabels",
        ],
    );
}
