//! Namespaces: what each is given, and how it goes.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{change, delete, ensure, kind_of};
use crate::cluster::Cluster;
use crate::object::timestamp;
use crate::status::ApiError;
use crate::store::{Key, ResourceId};
use crate::verbs::{DeleteOptions, Part};

const ROOT_CA: &str = "kube-root-ca.crt";

/// Whether this object is one that every namespace has.
pub fn is_standard(resource: &ResourceId, key: &Key) -> bool {
    matches!(
        (resource.as_str(), &*key.name),
        ("serviceaccounts", "default") | ("configmaps", ROOT_CA)
    )
}

/// Gives a namespace its default service account and the cluster's CA certificate.
///
/// # Errors
/// When the store fails.
pub async fn fill(cluster: &Arc<Cluster>, name: &str) -> Result<(), ApiError> {
    if cluster
        .namespace(name)
        .is_none_or(|namespace| namespace.deleting)
    {
        return Ok(());
    }
    let (accounts, maps) = (
        ResourceId::new("serviceaccounts", ""),
        ResourceId::new("configmaps", ""),
    );
    let account = async {
        if cluster
            .store
            .get(&accounts, &Key::new(name, "default"))
            .is_some()
        {
            return Ok(());
        }
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name},
        });
        ensure(cluster, &accounts, account).await
    };
    let ca = async {
        let key = Key::new(name, ROOT_CA);
        let data = json!({"ca.crt": cluster.ca_pem});
        match cluster.store.get(&maps, &key) {
            Some(map) if map.value()["data"] == data => Ok(()),
            Some(_) => {
                change(cluster, &maps, &key, Part::Main, |map| {
                    map["data"] = data.clone()
                })
                .await
            }
            None => {
                let about = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal \
                             endpoints such as the internal service IP or kubernetes.default.svc. No other usage is \
                             guaranteed across distributions of Kubernetes clusters.";
                let map = json!({
                    "apiVersion": "v1", "kind": "ConfigMap", "data": data,
                    "metadata": {
                        "name": ROOT_CA, "namespace": name, "annotations": {"kubernetes.io/description": about},
                    },
                });
                ensure(cluster, &maps, map).await
            }
        }
    };
    let (account, ca) = futures::future::join(account, ca).await;
    match account.and(ca) {
        // It went while it was being filled.
        Err(error) if error.code == 404 || error.code == 403 => Ok(()),
        other => other,
    }
}

/// How long a namespace stays at least after its deletion, so that those who still write to it are told that it
/// is going rather than that it never was. The real server takes five seconds.
const FAREWELL: Duration = Duration::from_millis(500);

/// Deletes what is in a namespace that is going, and the namespace once it is empty.
///
/// # Errors
/// When the store fails.
pub async fn empty(cluster: &Arc<Cluster>, name: &str) -> Result<Option<Duration>, ApiError> {
    let Some(namespace) = cluster
        .namespace(name)
        .filter(|namespace| namespace.deleting)
    else {
        return Ok(None);
    };
    let (mut left, mut held) = (Vec::new(), 0);
    for resource in cluster.store.resources() {
        let (volume, _) = cluster.store.read(&resource);
        let namespaced = kind_of(cluster, &resource).is_some_and(|kind| kind.namespaced());
        let keys: Vec<Key> = volume
            .iter(Some(name))
            .map(|object| object.key.clone())
            .collect();
        if keys.is_empty() || !namespaced {
            continue;
        }
        let options = DeleteOptions {
            propagation_policy: Some("Background".into()),
            ..DeleteOptions::default()
        };
        let doomed: Vec<&Key> = keys
            .iter()
            .filter(|key| volume.get(key).is_some_and(|object| !object.deleting))
            .collect();
        let deletions = doomed
            .into_iter()
            .map(|key| delete(cluster, &resource, key, &options));
        futures::future::try_join_all(deletions).await?;
        let (volume, _) = cluster.store.read(&resource);
        let remaining = volume.iter(Some(name)).count();
        if remaining > 0 {
            held += volume
                .iter(Some(name))
                .filter(|object| !crate::object::finalizers(&object.value()).is_empty())
                .count();
            left.push(format!("{resource} has {remaining} resource instances"));
        }
    }
    let object = namespace.value();
    if !left.is_empty() {
        set_conditions(cluster, name, &object, &left, held).await?;
        // What remains wakes us when it goes; looking again costs little and heals what was missed.
        return Ok(Some(Duration::from_secs(5)));
    }
    let since = time::OffsetDateTime::parse(
        crate::object::meta(&object, "deletionTimestamp"),
        &time::format_description::well_known::Rfc3339,
    );
    // Timestamps have whole seconds, so the last moment of that second counts.
    let age = since.map_or(Duration::MAX, |since| {
        (cluster.now() - since).try_into().unwrap_or(Duration::ZERO)
    });
    if age < FAREWELL {
        return Ok(Some(FAREWELL - age));
    }
    let key = Key::new("", name);
    let namespaces = ResourceId::new("namespaces", "");
    change(
        cluster,
        &namespaces,
        &key,
        Part::Subresource("finalize"),
        |namespace| {
            let finalizers = namespace["spec"]["finalizers"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let kept: Vec<Value> = finalizers
                .into_iter()
                .filter(|finalizer| finalizer != "kubernetes")
                .collect();
            namespace["spec"]["finalizers"] = Value::Array(kept);
        },
    )
    .await?;
    Ok(None)
}

async fn set_conditions(
    cluster: &Arc<Cluster>,
    name: &str,
    namespace: &Value,
    left: &[String],
    held: usize,
) -> Result<(), ApiError> {
    let now = timestamp(cluster.now());
    let condition = |kind: &str, on: bool, reason: &str, message: String| {
        json!({
            "type": kind, "status": if on { "True" } else { "False" }, "reason": reason, "message": message,
            "lastTransitionTime": now,
        })
    };
    let wanted = [
        condition(
            "NamespaceDeletionContentFailure",
            false,
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization".into(),
        ),
        condition(
            "NamespaceContentRemaining",
            true,
            "SomeResourcesRemain",
            format!("Some resources are remaining: {}", left.join(", ")),
        ),
        condition(
            "NamespaceFinalizersRemaining",
            held > 0,
            if held > 0 {
                "SomeFinalizersRemain"
            } else {
                "ContentHasNoFinalizers"
            },
            format!("{held} objects in the namespace have finalizers"),
        ),
    ];
    let same = |old: &Value, new: &Value| {
        ["type", "status", "message"]
            .iter()
            .all(|field| old.get(*field) == new.get(*field))
    };
    let current = namespace
        .pointer("/status/conditions")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    if wanted
        .iter()
        .all(|new| current.iter().any(|old| same(old, new)))
    {
        return Ok(());
    }
    let namespaces = ResourceId::new("namespaces", "");
    change(
        cluster,
        &namespaces,
        &Key::new("", name),
        Part::Subresource("status"),
        |namespace| {
            namespace["status"]["conditions"] = json!(wanted);
        },
    )
    .await
}
