//! Validation: what is found in objects with mistakes, and that objects without are let pass.

mod policies;
mod routes;
mod texts;
mod traffic;

use hawser_api::validate::{Severity, check_document};
use hawser_api::{Kind, manifest};

/// The findings of an object of the kind with this spec, as `severity path`, errors as the path alone.
fn findings(kind: &str, spec: &str) -> Vec<String> {
    let group = Kind::ALL
        .iter()
        .map(|k| k.info())
        .find(|i| i.name == kind && i.group.ends_with("istio.io"))
        .unwrap_or_else(|| panic!("{kind}"));
    let text = format!(
        "{{apiVersion: {}, kind: {kind}, metadata: {{name: x, namespace: ns}}, spec: {spec}}}",
        group.api_version()
    );
    let doc = manifest::read("f.yaml", text.as_bytes()).docs.remove(0);
    let report = check_document(doc.value, "ns");
    assert_eq!(report.unknown, None, "{text}");
    let mut out: Vec<String> = report
        .findings
        .iter()
        .map(|f| match f.severity {
            Severity::Error => f.path.clone(),
            other => format!("{other} {}", f.path),
        })
        .collect();
    out.dedup();
    out
}

#[track_caller]
fn check(kind: &str, spec: &str, expected: &[&str]) {
    assert_eq!(findings(kind, spec), expected, "{kind} {spec}");
}

/// An expected finding whose path is given from `prefix` on.
fn below(prefix: &str, expected: &str) -> String {
    for severity in ["warning", "info"] {
        if let Some(path) = expected.strip_prefix(severity) {
            return format!("{severity} {prefix}{}", path.trim_start());
        }
    }
    format!("{prefix}{expected}")
}
