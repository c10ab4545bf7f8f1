//! The validating webhook's question and answer: the same checks as `hawser validate`, without any I/O.

use hawser_api::validate::{Finding, Severity, check_document};
use serde_json::{Value, json};

use crate::envoy_patch;

/// Warnings sent back at most; Kubernetes shows few, and short ones.
const WARNINGS: usize = 16;

/// Answers an `AdmissionReview` (`admission.k8s.io/v1`): what `hawser validate` calls an error is refused with all errors
/// named, the rest becomes warnings that kubectl prints.
pub fn review(question: &Value) -> Value {
    let request = &question["request"];
    let mut response = json!({ "uid": request["uid"], "allowed": true });
    if request["object"].is_object() {
        let namespace = request["namespace"].as_str().unwrap_or_default();
        let mut report = check_document(request["object"].clone(), namespace);
        if let Some(object) = &report.object {
            report.findings.extend(envoy_patch::check(object));
        }
        let findings = report.findings;
        let (errors, others): (Vec<&Finding>, Vec<&Finding>) =
            findings.iter().partition(|f| f.severity == Severity::Error);
        if !errors.is_empty() {
            let lines: Vec<String> = errors.into_iter().map(line).collect();
            response["allowed"] = json!(false);
            response["status"] =
                json!({ "code": 400, "reason": "BadRequest", "message": lines.join("; ") });
        }
        if !others.is_empty() {
            response["warnings"] = others.into_iter().take(WARNINGS).map(line).collect();
        }
    }
    json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response })
}

fn line(finding: &Finding) -> String {
    let Finding {
        code,
        object,
        path,
        message,
        help,
        ..
    } = finding;
    let field = if path.is_empty() {
        String::new()
    } else {
        format!(" {path}")
    };
    let help = if help.is_empty() {
        String::new()
    } else {
        format!(" ({help})")
    };
    format!("{code} {object}{field}: {message}{help}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(spec: Value) -> Value {
        let object = json!({
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": { "name": "v", "namespace": "default" }, "spec": spec,
        });
        review(&json!({ "request": { "uid": "u", "namespace": "default", "object": object } }))["response"].clone()
    }

    #[test]
    fn errors_refuse_and_name_object_and_field() {
        let good =
            json!({ "hosts": ["a"], "http": [{ "route": [{ "destination": { "host": "a" } }] }] });
        assert_eq!(ask(good)["allowed"], true);
        let bad = ask(json!({ "hosts": ["a"], "http": [{ "route": [
            { "destination": { "host": "a", "subset": "x" }, "weight": -3 },
            { "destination": { "host": "a", "subset": "y" }, "weight": 70 } ] }] }));
        let message = bad["status"]["message"].as_str().unwrap_or_default();
        assert_eq!(bad["allowed"], false);
        assert!(
            message.contains("VirtualService default/v") && message.contains("weight"),
            "{message}"
        );
    }

    #[test]
    fn a_patch_that_envoy_would_not_understand_is_refused() {
        let patch = |timeout: &str| {
            let patch = json!({ "operation": "MERGE", "value": { "connect_timeout": timeout } });
            let object = json!({
                "apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter",
                "metadata": { "name": "f", "namespace": "default" },
                "spec": { "configPatches": [{ "applyTo": "CLUSTER", "patch": patch }] },
            });
            review(&json!({ "request": { "uid": "u", "namespace": "default", "object": object } }))
                ["response"]["allowed"]
                .clone()
        };
        assert_eq!((patch("5s"), patch("soon")), (json!(true), json!(false)));
    }

    #[test]
    fn a_deletion_has_nothing_to_check() {
        assert_eq!(
            review(&json!({ "request": { "uid": "u", "object": null } }))["response"]["allowed"],
            true
        );
    }
}
