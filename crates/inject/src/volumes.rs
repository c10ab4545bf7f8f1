//! The volumes the agent and Envoy need, and where they are mounted.

use serde_json::{Map, Value, json};

use crate::annotations::Annotations;

/// How long the token by which the agent asks for its certificate is good for, in seconds.
const TOKEN_SECONDS: u32 = 43200;

/// The volumes of an injected pod. The sockets are in memory, the token has the audience that the CA asks for.
pub fn volumes(annotations: &Annotations) -> Vec<Value> {
    let mut volumes = vec![
        json!({"name": "workload-socket", "emptyDir": {}}),
        json!({"name": "istio-envoy", "emptyDir": {"medium": "Memory"}}),
        json!({"name": "istio-data", "emptyDir": {}}),
        json!({"name": "istio-podinfo", "downwardAPI": {"items": [
            {"path": "labels", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.labels"}},
            {"path": "annotations", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.annotations"}},
        ]}}),
        json!({"name": "istio-token", "projected": {"sources": [{"serviceAccountToken": {
            "path": "istio-token", "expirationSeconds": TOKEN_SECONDS, "audience": "istio-ca",
        }}]}}),
        json!({"name": "istiod-ca-cert", "configMap": {"name": "istio-ca-root-cert"}}),
    ];
    if let Some(name) = annotations.get("sidecar.istio.io/bootstrapOverride") {
        volumes.push(json!({"name": "custom-bootstrap-volume", "configMap": {"name": name}}));
    }
    volumes.extend(named(annotations.object("sidecar.istio.io/userVolume")));
    volumes
}

/// Where the proxy's container mounts them.
pub fn mounts(annotations: &Annotations) -> Vec<Value> {
    let mut mounts = vec![
        json!({"name": "workload-socket", "mountPath": "/var/run/secrets/workload-spiffe-uds"}),
        json!({"name": "istiod-ca-cert", "mountPath": "/var/run/secrets/istio"}),
        json!({"name": "istio-data", "mountPath": "/var/lib/istio/data"}),
        json!({"name": "istio-envoy", "mountPath": "/etc/istio/proxy"}),
        json!({"name": "istio-token", "mountPath": "/var/run/secrets/tokens"}),
        json!({"name": "istio-podinfo", "mountPath": "/etc/istio/pod"}),
    ];
    if annotations
        .get("sidecar.istio.io/bootstrapOverride")
        .is_some()
    {
        mounts.push(
            json!({"name": "custom-bootstrap-volume", "mountPath": "/etc/istio/custom-bootstrap"}),
        );
    }
    mounts.extend(named(
        annotations.object("sidecar.istio.io/userVolumeMount"),
    ));
    mounts
}

/// The items of an object whose keys are their names.
fn named(items: Map<String, Value>) -> impl Iterator<Item = Value> {
    items.into_iter().filter_map(|(name, mut item)| {
        item.as_object_mut()?
            .insert("name".to_owned(), Value::String(name));
        Some(item)
    })
}
