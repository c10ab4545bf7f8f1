//! What analyzers say, as data: objects, and the lines expected of them.

use crate::{ALL, Cluster, Settings, analyze};
use hawser_api::manifest;
use hawser_api::validate::check_document;
use proptest::prelude::*;

mod gateways;
mod routes;
mod several_clusters;
mod workloads;

/// A namespace with injection, and the one of the control plane.
const BASE: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Namespace
metadata: {name: istio-system}
";

fn cluster(name: &str, yaml: &str) -> Cluster {
    let read = manifest::read(name, yaml.as_bytes());
    assert_eq!(read.errors, [], "{name}");
    let mut out = Cluster {
        name: name.to_owned(),
        ..Cluster::default()
    };
    for doc in read.docs {
        let report = check_document(doc.value, "shop");
        out.objects.extend(report.object);
        out.findings.extend(report.findings);
    }
    out
}

fn settings() -> Settings {
    Settings {
        now: 1_700_000_000,
        ..Settings::default()
    }
}

fn lines(clusters: Vec<Cluster>) -> Vec<String> {
    let findings = analyze(clusters, &settings());
    let line = |f: &crate::Finding| format!("{} {} {}", f.code, f.origin, f.path);
    findings.iter().map(line).collect()
}

/// Checks what is said of objects: `CODE Kind namespace/name field`, in order.
fn check(name: &str, yaml: &str, expected: &[&str]) {
    let objects = format!("{BASE}---\n{yaml}");
    assert_eq!(lines(vec![cluster("one", &objects)]), expected, "{name}");
}

/// Checks what is said of clusters, each a list of objects.
fn check_clusters(name: &str, clusters: &[(&str, &str)], expected: &[&str]) {
    let clusters = clusters.iter();
    let clusters = clusters.map(|(name, yaml)| cluster(name, &format!("{BASE}---\n{yaml}")));
    assert_eq!(lines(clusters.collect()), expected, "{name}");
}

#[test]
fn an_object_says_what_is_not_to_be_said_of_it() {
    let service = |annotation: &str| {
        format!(
            "
apiVersion: v1
kind: Service
metadata: {{name: till, namespace: shop, annotations: {{galley.istio.io/analyze-suppress: \"{annotation}\"}}}}
spec: {{ports: [{{name: ring, port: 9000}}]}}"
        )
    };
    check(
        "another code",
        &service("IST0102"),
        &["IST0118 Service shop/till spec.ports[0].name"],
    );
    check("the code", &service("IST0102, IST0118"), &[]);
    check("all codes", &service("*"), &[]);
}

#[test]
fn what_is_the_same_is_said_once_with_all_fields() {
    let clusters = vec![cluster(
        "one",
        "
apiVersion: apps/v1
kind: Deployment
metadata: {name: till, namespace: shop}
spec:
  selector: {matchLabels: {app: till}}
  template:
    metadata: {labels: {app: till}}
    spec:
      containers:
      - {name: a, image: a, securityContext: {runAsUser: 1337}}
      - {name: b, image: b, securityContext: {runAsUser: 1337}}",
    )];
    let found = analyze(clusters, &settings());
    let also: Vec<&Vec<String>> = found.iter().map(|f| &f.also).collect();
    assert_eq!(
        also,
        [&["spec.template.spec.containers[1].securityContext.runAsUser".to_owned()]]
    );
}

#[test]
fn an_object_defined_twice_counts_as_the_last() {
    check(
        "the second gateway is right",
        "
apiVersion: v1
kind: Service
metadata: {name: till, namespace: shop}
spec: {ports: [{name: ring, port: 9000}]}
---
apiVersion: v1
kind: Service
metadata: {name: till, namespace: shop}
spec: {ports: [{name: http, port: 9000}]}",
        &["HWS0002 Service shop/till metadata.name"],
    );
}

/// Objects with a mistake of most kinds.
const MANY: &str = include_str!("tests/many.yaml");

#[test]
fn many_mistakes_are_found() {
    let found = analyze(vec![cluster("one", MANY)], &settings());
    let codes: std::collections::BTreeSet<&str> = found.iter().map(|f| f.code).collect();
    assert!(codes.len() > 20, "{codes:?}");
    for finding in &found {
        assert!(
            !finding.message.is_empty() && !finding.message.ends_with('.'),
            "{finding:?}"
        );
    }
}

#[test]
fn names_are_istioctls() {
    let names: Vec<&str> = ALL.iter().map(|a| a.name).collect();
    for name in [
        "gateway.SecretAnalyzer",
        "schema.ValidationAnalyzer.VirtualService",
        "webhook.Analyzer",
    ] {
        assert!(names.contains(&name), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// The order in which objects come changes nothing.
    #[test]
    fn order_of_objects(order in Just((0..cluster("one", MANY).objects.len()).collect::<Vec<_>>()).prop_shuffle()) {
        let whole = cluster("one", MANY);
        let expected = analyze(vec![whole.clone()], &settings());
        let objects = order.iter().filter_map(|i| whole.objects.get(*i)).cloned().collect();
        let shuffled = Cluster { objects, ..whole };
        prop_assert_eq!(analyze(vec![shuffled], &settings()), expected);
    }
}
