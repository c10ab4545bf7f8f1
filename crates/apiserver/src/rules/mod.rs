//! What is particular to single kinds: values the server sets, what it allocates, who may write what.

mod pods;
mod rbac;
mod secrets;
pub mod services;

use serde_json::{Map, Value, json};

use crate::kinds::Kind;
use crate::object::{finalizers, meta, set_meta, text};
use crate::status::ApiError;
use crate::verbs::{Part, Request};

pub use services::{allocate, claimed};

const CRDS: &str = "customresourcedefinitions.apiextensions.k8s.io";

/// Keeps a CRD until its objects are gone.
pub const CRD_CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// The finalizer that deleting an object of this kind puts on it.
pub fn finalizer_of_deletion(kind: &Kind, live: &Value) -> Option<&'static str> {
    let wanted = kind.is(CRDS) && !finalizers(live).contains(&CRD_CLEANUP);
    wanted.then_some(CRD_CLEANUP)
}

/// What a new object is given before it is recorded who wrote it.
pub fn before_create(kind: &Kind, object: &mut Value) {
    let name = meta(object, "name").to_owned();
    match kind.resource.as_str() {
        "namespaces" => {
            label_namespace(object, &name);
            // An empty spec is nothing that somebody wrote.
            if let Some(fields) = object.as_object_mut()
                && fields
                    .get("spec")
                    .and_then(Value::as_object)
                    .is_some_and(Map::is_empty)
            {
                fields.remove("spec");
            }
        }
        "secrets" => secrets::fold_string_data(object),
        _ => {}
    }
    // A node's and an API service's status may come with it; others begin without.
    if kind.status
        && !kind.is("nodes")
        && let Some(fields) = object.as_object_mut()
    {
        fields.remove("status");
    }
}

/// The fields of a new object that are the server's own, and so nobody's in its record of writers.
pub fn begin(kind: &Kind, object: &mut Value) {
    let Some(fields) = object.as_object_mut() else {
        return;
    };
    match kind.resource.as_str() {
        "namespaces" => {
            fields.insert("status".into(), json!({"phase": "Active"}));
            let spec = fields.entry("spec").or_insert_with(|| json!({}));
            let finalizers = crate::object::strings(spec.get("finalizers"));
            let mut finalizers: Vec<String> = finalizers.into_iter().map(str::to_owned).collect();
            if !finalizers.iter().any(|finalizer| finalizer == "kubernetes") {
                finalizers.push("kubernetes".into());
            }
            spec["finalizers"] = json!(finalizers);
        }
        "pods" => pods::begin(object),
        "services" => drop(fields.insert("status".into(), json!({"loadBalancer": {}}))),
        CRDS => {
            let versions = fields
                .get("spec")
                .and_then(|spec| spec["versions"].as_array())
                .into_iter()
                .flatten();
            let stored: Vec<Value> = versions
                .filter(|version| version["storage"] == true)
                .map(|version| version["name"].clone())
                .collect();
            let status = json!({
                "conditions": null, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": stored,
            });
            fields.insert("status".into(), status);
        }
        // Typed kinds always show a status, even an empty one.
        _ if kind.status && kind.custom.is_none() => {
            fields
                .entry("status")
                .or_insert_with(|| Value::Object(Map::new()));
        }
        _ => {}
    }
}

/// Every namespace carries its own name as a label.
fn label_namespace(object: &mut Value, name: &str) {
    if name.is_empty() {
        return;
    }
    let mut labels = object
        .pointer("/metadata/labels")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    labels.insert("kubernetes.io/metadata.name".into(), name.into());
    set_meta(object, "labels", Value::Object(labels));
}

/// The same for an update; `live` is the present object.
///
/// # Errors
/// When the request itself cannot be carried out.
pub fn before_update(
    request: &Request<'_>,
    part: Part,
    live: &Value,
    new: &mut Value,
) -> Result<(), ApiError> {
    match request.kind.resource.as_str() {
        "namespaces" => {
            if part != Part::Subresource("finalize") {
                crate::object::carry(live, new, "spec");
            }
            label_namespace(new, &request.name);
        }
        "secrets" => secrets::fold_string_data(new),
        "services" if part == Part::Main => services::before_update(live, new),
        CRDS if part == Part::Main => store_versions(new),
        _ => {}
    }
    Ok(())
}

/// `status.storedVersions` gains the storage version of a changed CRD.
fn store_versions(crd: &mut Value) {
    let versions = crd["spec"]["versions"].as_array().into_iter().flatten();
    let storage: Vec<Value> = versions
        .filter(|version| version["storage"] == true)
        .map(|version| version["name"].clone())
        .collect();
    if let Some(stored) = crd
        .pointer_mut("/status/storedVersions")
        .and_then(Value::as_array_mut)
    {
        for version in storage {
            if !stored.contains(&version) {
                stored.push(version);
            }
        }
    }
}

/// What admission plugins of the real server add, or webhooks may have left to be set again.
pub fn after_admission(kind: &Kind, object: &mut Value) {
    kind.default(object);
    if kind.is("secrets") {
        secrets::fold_string_data(object);
    }
}

/// Checks before an object is deleted.
///
/// # Errors
/// 403 for what a cluster cannot be without.
pub fn before_delete(request: &Request<'_>, live: &Value) -> Result<(), ApiError> {
    if request.kind.is("namespaces") {
        let name = meta(live, "name");
        if matches!(name, "default" | "kube-system" | "kube-public") {
            return Err(ApiError::forbidden(
                &request.kind,
                name,
                "this namespace may not be deleted",
            ));
        }
    }
    Ok(())
}

/// Seconds that an object is given to go; `None` for kinds that go at once.
pub fn grace(kind: &Kind, live: &Value, asked: Option<i64>) -> Option<i64> {
    kind.is("pods").then(|| pods::grace(live, asked))
}

/// What a kind shows while it is being deleted.
pub fn on_delete(kind: &Kind, object: &mut Value) {
    if kind.is("namespaces") {
        object["status"]["phase"] = "Terminating".into();
    }
}

/// Whether an object that was marked for deletion can go now.
pub fn finished(kind: &Kind, object: &Value) -> bool {
    let marked = !text(object, "/metadata/deletionTimestamp").is_empty();
    let grace = object
        .pointer("/metadata/deletionGracePeriodSeconds")
        .and_then(Value::as_i64)
        .unwrap_or(0);
    let kept_by_spec = kind.is("namespaces")
        && object
            .pointer("/spec/finalizers")
            .and_then(Value::as_array)
            .is_some_and(|list| !list.is_empty());
    marked && grace == 0 && finalizers(object).is_empty() && !kept_by_spec
}

/// Advice for the caller that does not stop the write.
pub fn warnings(kind: &Kind) -> Vec<String> {
    let mut warnings = Vec::new();
    if &*kind.group == "extensions" {
        warnings.push(format!(
            "extensions/v1beta1 {} is deprecated in v1.9+, unavailable in v1.16+; it is stored as apps/v1",
            kind.kind
        ));
    }
    if kind.is("endpoints") {
        warnings.push(
            "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice".into(),
        );
    }
    warnings
}

/// Rules about who may write what, beyond the permission to write the kind.
///
/// # Errors
/// 403 when somebody would grant more than they hold.
pub fn check_authority(
    request: &Request<'_>,
    object: &Value,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    match &*request.kind.group {
        "rbac.authorization.k8s.io" => rbac::check_escalation(request, object, old),
        _ => Ok(()),
    }
}

/// The built-in mutating admission of pods: the service account and what is mounted for it.
///
/// # Errors
/// 403 when the service account does not exist.
pub fn admit_pod(request: &Request<'_>, pod: &mut Value) -> Result<(), ApiError> {
    pods::admit(request, pod)
}
