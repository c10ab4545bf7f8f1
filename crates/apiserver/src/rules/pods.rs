//! Pods: quality of service, the service account's mounts, and how long they take to go.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::object::{meta, random_suffix, text};
use crate::status::ApiError;
use crate::store::{Key, ResourceId};
use crate::verbs::Request;

/// The status that a pod begins with.
pub fn begin(pod: &mut Value) {
    let class = qos_class(pod);
    pod["status"] = json!({"phase": "Pending", "qosClass": class});
}

/// The quality of service class, from requests and limits of cpu and memory.
fn qos_class(pod: &Value) -> &'static str {
    let mut any = false;
    let mut guaranteed = true;
    for list in ["initContainers", "containers"] {
        for container in pod["spec"][list].as_array().into_iter().flatten() {
            let quantities = |which: &str| -> BTreeMap<&str, String> {
                let map = container["resources"][which]
                    .as_object()
                    .into_iter()
                    .flatten();
                map.filter(|(name, _)| matches!(name.as_str(), "cpu" | "memory"))
                    .map(|(name, value)| {
                        (
                            name.as_str(),
                            value
                                .as_str()
                                .map_or_else(|| value.to_string(), str::to_owned),
                        )
                    })
                    .filter(|(_, value)| value != "0")
                    .collect()
            };
            let (requests, limits) = (quantities("requests"), quantities("limits"));
            any |= !requests.is_empty() || !limits.is_empty();
            let equal = requests
                .iter()
                .all(|(name, value)| limits.get(name) == Some(value));
            guaranteed &= limits.len() == 2 && equal;
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// Seconds of grace: none before a pod is on a node or after it has ended.
pub fn grace(pod: &Value, asked: Option<i64>) -> i64 {
    let unbound = text(pod, "/spec/nodeName").is_empty();
    let ended = matches!(text(pod, "/status/phase"), "Succeeded" | "Failed");
    if unbound || ended {
        return 0;
    }
    let own = pod
        .pointer("/spec/terminationGracePeriodSeconds")
        .and_then(Value::as_i64)
        .unwrap_or(30);
    // Negative periods mean the shortest one, as in the real server.
    match asked.unwrap_or(own) {
        negative if negative < 0 => 1,
        seconds => seconds,
    }
}

/// Where a service account's token, CA and namespace are mounted.
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The `ServiceAccount`, `DefaultTolerationSeconds` and `Priority` admission plugins.
pub fn admit(request: &Request<'_>, pod: &mut Value) -> Result<(), ApiError> {
    let name = match text(pod, "/spec/serviceAccountName") {
        "" => "default".to_owned(),
        name => name.to_owned(),
    };
    pod["spec"]["serviceAccountName"] = name.as_str().into();
    pod["spec"]["serviceAccount"] = name.as_str().into();
    let accounts = ResourceId::new("serviceaccounts", "");
    let account = request
        .cluster
        .store
        .get(&accounts, &Key::new(&request.namespace, &name))
        .ok_or_else(|| {
            let why = format!(
                "error looking up service account {}/{name}: serviceaccount {name:?} not found",
                request.namespace
            );
            ApiError::forbidden(&request.kind, meta(pod, "name"), &why)
        })?;
    let account = account.value();
    if pod["spec"].get("imagePullSecrets").is_none()
        && let Some(secrets) = account.get("imagePullSecrets")
    {
        pod["spec"]["imagePullSecrets"] = secrets.clone();
    }
    let automount = pod["spec"]
        .get("automountServiceAccountToken")
        .or(account.get("automountServiceAccountToken"));
    if automount != Some(&Value::Bool(false)) {
        mount_token(pod);
    }
    tolerate(pod);
    let spec = &mut pod["spec"];
    if let Some(spec) = spec.as_object_mut() {
        spec.entry("priority").or_insert_with(|| 0.into());
        spec.entry("preemptionPolicy")
            .or_insert_with(|| "PreemptLowerPriority".into());
    }
    Ok(())
}

fn mount_token(pod: &mut Value) {
    let has = |pod: &Value, list: &str| {
        pod["spec"][list]
            .as_array()
            .is_some_and(|list| !list.is_empty())
    };
    let existing = pod["spec"]["volumes"]
        .as_array()
        .into_iter()
        .flatten()
        .find_map(|volume| {
            let name = volume["name"].as_str()?;
            name.starts_with("kube-api-access-")
                .then(|| name.to_owned())
        });
    let volume = existing
        .clone()
        .unwrap_or_else(|| format!("kube-api-access-{}", random_suffix()));
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        if !has(pod, list) {
            continue;
        }
        for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
            let Some(container) = container.as_object_mut() else {
                continue;
            };
            let mounts = container.entry("volumeMounts").or_insert_with(|| json!([]));
            let Some(mounts) = mounts.as_array_mut() else {
                continue;
            };
            if mounts.iter().any(|mount| mount["mountPath"] == MOUNT_PATH) {
                continue;
            }
            mounts.push(json!({"name": volume, "readOnly": true, "mountPath": MOUNT_PATH}));
            mounted = true;
        }
    }
    if !mounted || existing.is_some() {
        return;
    }
    let sources = json!([
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [
            {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}},
        ]}},
    ]);
    let volume = json!({"name": volume, "projected": {"sources": sources, "defaultMode": 420}});
    match pod["spec"].get_mut("volumes").and_then(Value::as_array_mut) {
        Some(volumes) => volumes.push(volume),
        None => pod["spec"]["volumes"] = json!([volume]),
    }
}

/// Pods leave a node that is not ready or not reachable after five minutes, unless they say otherwise.
fn tolerate(pod: &mut Value) {
    for key in [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ] {
        let mut tolerations = pod["spec"]["tolerations"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let covered = tolerations.iter().any(|toleration| {
            let own = toleration["key"].as_str().unwrap_or_default();
            let effect = toleration["effect"].as_str().unwrap_or_default();
            (own == key || own.is_empty()) && (effect == "NoExecute" || effect.is_empty())
        });
        if !covered {
            tolerations.push(json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}));
            pod["spec"]["tolerations"] = Value::Array(tolerations);
        }
    }
}
