//! Injecting ahead of time: into the pod template of a Deployment, DaemonSet, StatefulSet or Job, or into a Pod.

use serde_json::{Value, json};

use crate::names::text;
use crate::patch::injected_pod;
use crate::settings::Settings;

/// The object with its pod injected, and what has no effect; `None` when it has no pod, or the pod is not
/// to be injected. What the webhook would learn from the pod's owner is the object itself.
pub fn inject_workload(object: &Value, settings: &Settings) -> Option<(Value, Vec<String>)> {
    if text(object, "/kind") == "Pod" {
        return injected_pod(object, settings);
    }
    let path = match text(object, "/kind") {
        "CronJob" => "/spec/jobTemplate/spec/template",
        _ => "/spec/template",
    };
    let template = object
        .pointer(path)
        .filter(|template| template.get("spec").is_some_and(Value::is_object))?;
    let mut pod = json!({"kind": "Pod", "metadata": {}, "spec": template.get("spec")});
    if let Some(metadata) = template
        .get("metadata")
        .filter(|metadata| metadata.is_object())
    {
        pod["metadata"] = metadata.clone();
    }
    pod["metadata"]["namespace"] = json!(text(object, "/metadata/namespace"));
    pod["metadata"]["ownerReferences"] = json!([{
        "apiVersion": text(object, "/apiVersion"),
        "kind": text(object, "/kind"),
        "name": text(object, "/metadata/name"),
        "controller": true,
    }]);
    let (mut pod, warnings) = injected_pod(&pod, settings)?;
    if let Some(metadata) = pod.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("ownerReferences");
        metadata.remove("namespace");
    }
    let mut object = object.clone();
    let template = object.pointer_mut(path)?;
    template["metadata"] = pod["metadata"].take();
    template["spec"] = pod["spec"].take();
    Some((object, warnings))
}
