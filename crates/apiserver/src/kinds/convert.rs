//! Conversion between the versions that a kind is served in and the one that it is stored in.
//!
//! Most versions differ in nothing but `apiVersion`; the few rows that do are listed in [`to_storage`].

use serde_json::{Map, Value, json};

use super::Kind;

/// The object as it is stored. Pure; fields unknown to the other version are kept where Kubernetes keeps them.
pub fn to_storage(kind: &Kind, object: &mut Value) {
    match (&*kind.group, &*kind.version, &*kind.kind) {
        ("events.k8s.io", _, "Event") => rename(object, EVENT_FIELDS, Direction::ToStorage),
        ("autoscaling", "v1", "HorizontalPodAutoscaler") => autoscaler_to_v2(object),
        ("extensions", "v1beta1", "Deployment") => legacy_deployment(object),
        _ => {}
    }
    set_version(object, kind, kind.storage_api_version());
}

/// A stored object as the kind serves it.
pub fn from_storage(kind: &Kind, object: &mut Value) {
    match (&*kind.group, &*kind.version, &*kind.kind) {
        ("events.k8s.io", _, "Event") => rename(object, EVENT_FIELDS, Direction::FromStorage),
        ("autoscaling", "v1", "HorizontalPodAutoscaler") => autoscaler_to_v1(object),
        _ => {}
    }
    set_version(object, kind, kind.api_version());
}

fn set_version(object: &mut Value, kind: &Kind, api_version: String) {
    if let Some(object) = object.as_object_mut() {
        object.insert("apiVersion".into(), api_version.into());
        object.insert("kind".into(), (&*kind.kind).into());
    }
}

enum Direction {
    ToStorage,
    FromStorage,
}

/// `events.k8s.io/v1` name on the left, core name on the right.
const EVENT_FIELDS: &[(&str, &str)] = &[
    ("note", "message"),
    ("regarding", "involvedObject"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

fn rename(object: &mut Value, fields: &[(&str, &str)], direction: Direction) {
    let Some(object) = object.as_object_mut() else {
        return;
    };
    for &(served, stored) in fields {
        let (from, to) = match direction {
            Direction::ToStorage => (served, stored),
            Direction::FromStorage => (stored, served),
        };
        if let Some(value) = object.remove(from) {
            object.insert(to.to_owned(), value);
        }
    }
}

/// `extensions/v1beta1` filled in the selector from the template's labels, kept only few old revisions, and rolled
/// pods one by one; `apps/v1` needs the first said, and the rest is kept as that API had it.
fn legacy_deployment(object: &mut Value) {
    let labels = object.pointer("/spec/template/metadata/labels").cloned();
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    // This field of the old API has no successor.
    spec.remove("rollbackTo");
    let missing = spec
        .get("selector")
        .is_none_or(|selector| selector.is_null() || *selector == json!({}));
    if let (true, Some(labels)) = (missing, labels) {
        spec.insert("selector".into(), json!({ "matchLabels": labels }));
    }
    let strategy = spec.entry("strategy").or_insert_with(|| json!({}));
    let rolling = strategy
        .get("type")
        .is_none_or(|kind| kind == "RollingUpdate" || kind == "");
    if let (true, Some(strategy)) = (rolling, strategy.as_object_mut()) {
        strategy.insert("type".into(), "RollingUpdate".into());
        let update = strategy.entry("rollingUpdate").or_insert_with(|| json!({}));
        if let Some(update) = update.as_object_mut() {
            update.entry("maxSurge").or_insert_with(|| 1.into());
            update.entry("maxUnavailable").or_insert_with(|| 1.into());
        }
    }
    spec.entry("progressDeadlineSeconds")
        .or_insert_with(|| i32::MAX.into());
    spec.entry("revisionHistoryLimit")
        .or_insert_with(|| i32::MAX.into());
}

fn autoscaler_to_v2(object: &mut Value) {
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    if let Some(percent) = spec.remove("targetCPUUtilizationPercentage") {
        let target = json!({"type": "Utilization", "averageUtilization": percent});
        let metric = json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
        spec.insert("metrics".into(), json!([metric]));
    }
    let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) else {
        return;
    };
    if let Some(percent) = status.remove("currentCPUUtilizationPercentage") {
        let metric = json!({"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": percent}}});
        status.insert("currentMetrics".into(), json!([metric]));
    }
}

fn autoscaler_to_v1(object: &mut Value) {
    fn cpu_percent(part: &mut Map<String, Value>, list: &str, inner: &str) -> Option<Value> {
        let metrics = part.remove(list)?;
        let cpu = metrics
            .as_array()?
            .iter()
            .find(|metric| metric["resource"]["name"] == "cpu")?;
        cpu.pointer(&format!("/resource/{inner}/averageUtilization"))
            .cloned()
    }
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("behavior");
        if let Some(percent) = cpu_percent(spec, "metrics", "target") {
            spec.insert("targetCPUUtilizationPercentage".into(), percent);
        }
    }
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
        status.remove("conditions");
        if let Some(percent) = cpu_percent(status, "currentMetrics", "current") {
            status.insert("currentCPUUtilizationPercentage".into(), percent);
        }
    }
}
