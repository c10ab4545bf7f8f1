//! The admission webhook's question and answer (`admission.k8s.io/v1`), without any I/O.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::names::text;
use crate::patch::inject;
use crate::settings::Settings;

/// The largest `AdmissionReview` accepted, in bytes: twice what an API server stores as one object.
pub const REVIEW_LIMIT: usize = 3 * 1024 * 1024;
/// The most warnings sent back, and the longest one in characters (Kubernetes cuts them off beyond).
const WARNINGS: usize = 16;
const WARNING_LENGTH: usize = 256;

/// Why a request to the webhook is no question to answer.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    #[error("the review has {0} bytes, more than the {REVIEW_LIMIT} allowed")]
    TooLarge(usize),
    #[error("the body is not JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    #[error("the body is not an AdmissionReview with a request")]
    NotAReview,
}

/// Answers the bytes of an `AdmissionReview` with those of another.
pub fn review_bytes(body: &[u8], settings: &Settings) -> Result<Vec<u8>, ReviewError> {
    if body.len() > REVIEW_LIMIT {
        return Err(ReviewError::TooLarge(body.len()));
    }
    let question: Value = serde_json::from_slice(body)?;
    if text(&question, "/kind") != "AdmissionReview"
        || !question.get("request").is_some_and(Value::is_object)
    {
        return Err(ReviewError::NotAReview);
    }
    Ok(serde_json::to_vec(&review(&question, settings))?)
}

/// Answers an `AdmissionReview`. Whatever is not a pod to inject is allowed as it is.
pub fn review(question: &Value, settings: &Settings) -> Value {
    let api_version = Some(text(question, "/apiVersion")).filter(|version| !version.is_empty());
    let mut response = json!({"uid": text(question, "/request/uid"), "allowed": true});
    let is_pod = text(question, "/request/kind/kind") == "Pod";
    let pod = question
        .pointer("/request/object")
        .filter(|pod| is_pod && pod.is_object());
    if let Some(pod) = pod {
        let mut pod = pod.clone();
        // A pod made by a controller does not carry its namespace yet.
        let namespace = text(question, "/request/namespace");
        if text(&pod, "/metadata/namespace").is_empty()
            && pod.get("metadata").is_some_and(Value::is_object)
        {
            pod["metadata"]["namespace"] = json!(namespace);
        }
        let injection = inject(&pod, None, settings);
        if !injection.patch.is_empty() {
            let patch = Value::Array(injection.patch).to_string();
            response["patchType"] = json!("JSONPatch");
            response["patch"] = json!(STANDARD.encode(patch));
        }
        let warnings = injection.warnings.iter().take(WARNINGS);
        let warnings: Vec<String> = warnings
            .map(|line| line.chars().take(WARNING_LENGTH).collect())
            .collect();
        if !warnings.is_empty() {
            response["warnings"] = json!(warnings);
        }
    }
    json!({
        "apiVersion": api_version.unwrap_or("admission.k8s.io/v1"),
        "kind": "AdmissionReview",
        "response": response,
    })
}
