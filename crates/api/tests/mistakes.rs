//! Mistakes as people make them, one at a time, and what they are told: `mistakes.txt` holds a spec, and below it each
//! finding with its field, and the way out. `HAWSER_GOLDEN=write cargo test -p hawser-api --test mistakes` writes the
//! answers anew; read them before they are committed.

use hawser_api::validate::{Finding, Severity, check_document};
use hawser_api::{Kind, manifest};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::Path;

/// `Kind` (one of Istio's), `Kind.group`, or the name of settings that a ConfigMap holds.
fn object(kind: &str, spec: &str) -> Value {
    let parsed = || {
        let mut docs = manifest::read("spec", spec.as_bytes()).docs;
        assert_eq!(docs.len(), 1, "{spec}");
        docs.remove(0).value
    };
    let settings = |key: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "istio"}, "data": {key: spec}});
    match kind {
        "MeshConfig" => return settings("mesh"),
        "MeshNetworks" => return settings("meshNetworks"),
        _ => {}
    }
    let (name, group) = kind.split_once('.').unwrap_or((kind, "istio.io"));
    let info = Kind::ALL
        .iter()
        .map(|k| k.info())
        .find(|info| info.name == name && info.group.ends_with(group))
        .unwrap_or_else(|| panic!("{kind}"));
    json!({"apiVersion": info.api_version(), "kind": name, "metadata": {"name": "x"}, "spec": parsed()})
}

fn answer(finding: &Finding) -> String {
    let severity = match finding.severity {
        Severity::Error => String::new(),
        other => format!("{other} "),
    };
    let mut out = format!("  {severity}{}: {}\n", finding.path, finding.message);
    if !finding.help.is_empty() {
        writeln!(out, "    {}", finding.help).unwrap();
    }
    out
}

#[test]
fn what_people_are_told() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mistakes.txt");
    let known = std::fs::read_to_string(&path).unwrap();
    let mut out = String::new();
    for line in known.lines().filter(|l| !l.starts_with("  ")) {
        writeln!(out, "{line}").unwrap();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (kind, spec) = line.split_once(' ').unwrap_or((line, "{}"));
        let report = check_document(object(kind, spec), "ns");
        assert_eq!(report.unknown, None, "{line}");
        assert!(!report.findings.is_empty(), "nothing is said of {line}");
        // That an EnvoyFilter is fragile is said of each.
        let of_mistake = report
            .findings
            .iter()
            .filter(|f| f.severity == Severity::Error || kind != "EnvoyFilter");
        of_mistake.for_each(|f| out.push_str(&answer(f)));
    }
    if std::env::var_os("HAWSER_GOLDEN").is_some_and(|v| v == "write") {
        std::fs::write(&path, &out).unwrap();
    }
    assert!(
        known == out,
        "what is said has changed:\n{}",
        difference(&known, &out)
    );
}

fn difference(known: &str, now: &str) -> String {
    let lines = known.lines().zip(now.lines());
    let first = lines.take_while(|(a, b)| a == b).count();
    let part = |text: &str| {
        let lines: Vec<&str> = text.lines().skip(first).take(6).collect();
        lines.join("\n")
    };
    format!("was:\n{}\nis:\n{}", part(known), part(now))
}

#[test]
fn a_kind_or_version_that_is_not_there_names_the_one_that_is() {
    for (api_version, kind, expected) in [
        (
            "networking.istio.io/v1",
            "VirtualServic",
            "did you mean VirtualService of networking.istio.io/v1?",
        ),
        (
            "networking.istio.io/v1",
            "authorizationpolicy",
            "did you mean AuthorizationPolicy of security.istio.io/v1?",
        ),
        (
            "networking.istio.io/v2",
            "VirtualService",
            "write apiVersion: networking.istio.io/v1",
        ),
        ("networking.istio.io/v1", "Certificate", ""),
    ] {
        let wrong = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}});
        let report = check_document(wrong, "ns");
        let unknown = report.unknown.expect("nothing of that kind is known");
        assert_eq!(unknown.help(), expected, "{api_version} {kind}");
    }
}
