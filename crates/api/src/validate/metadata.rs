//! What any API server says of an object's metadata.

use super::names;
use crate::message::{Fault, FaultKind, nearest, push_key};
use serde_json::Value;

pub(super) fn rule(path: &str, message: impl Into<String>, help: &str) -> Fault {
    Fault {
        path: path.to_owned(),
        kind: FaultKind::Rule,
        message: message.into(),
        help: help.to_owned(),
    }
}

/// The fields of `metadata` (meta/v1).
const METADATA: &[&str] = &[
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// What any API server says of an object's metadata.
pub(super) fn faults(value: &Value) -> Vec<Fault> {
    let mut faults = Vec::new();
    let Some(meta) = value.get("metadata").and_then(Value::as_object) else {
        return vec![rule("metadata", "is required", "give the object a name")];
    };
    for key in meta.keys().filter(|k| !METADATA.contains(&k.as_str())) {
        let help = nearest(key, METADATA)
            .map(|near| format!("did you mean \"{near}\"?"))
            .unwrap_or_default();
        let mut path = "metadata".to_owned();
        push_key(&mut path, key);
        faults.push(Fault {
            kind: FaultKind::UnknownField,
            ..rule(&path, format!("unknown field \"{key}\""), &help)
        });
    }
    let text = |key: &str| meta.get(key).and_then(Value::as_str).unwrap_or_default();
    let lower = text("name")
        .bytes()
        .all(|b| b.is_ascii_digit() || b.is_ascii_lowercase() || matches!(b, b'-' | b'.'));
    if text("name").is_empty() {
        if text("generateName").is_empty() {
            faults.push(rule("metadata.name", "is required", ""));
        }
    } else if !lower
        || !text("name")
            .split('.')
            .all(names::is_dns_label_of_any_length)
        || text("name").len() > 253
    {
        faults.push(rule(
            "metadata.name",
            format!("\"{}\" is not a name that an object can have", text("name")),
            "use lower case letters, digits, hyphens and dots",
        ));
    }
    for (key, value) in meta
        .get("labels")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        if let Err(wrong) = names::label(key, value.as_str().unwrap_or_default()) {
            let mut path = "metadata.labels".to_owned();
            push_key(&mut path, key);
            faults.push(rule(&path, wrong.message, &wrong.help));
        }
    }
    faults
}
