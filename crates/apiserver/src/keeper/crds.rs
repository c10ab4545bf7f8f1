//! CustomResourceDefinitions: served as soon as they are stored, with conditions that say so, and cleaned up.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Task, change, delete};
use crate::cluster::Cluster;
use crate::kinds::{Catalog, ROWS, crd};
use crate::object::{finalizers, set_finalizers, strings, text, timestamp};
use crate::status::ApiError;
use crate::store::{Key, ResourceId};
use crate::verbs::{DeleteOptions, Part};

const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

fn crds() -> ResourceId {
    ResourceId::new("customresourcedefinitions", "apiextensions.k8s.io")
}

/// Publishes the kinds of all CRDs that have no conflict.
pub fn publish(cluster: &Cluster) {
    let (volume, _) = cluster.store.read(&crds());
    let mut objects: Vec<Value> = volume.iter(None).map(|object| object.value()).collect();
    sort_by_age(&mut objects);
    let mut kinds = Vec::new();
    for (at, object) in objects.iter().enumerate() {
        if conflict(object, objects.iter().take(at)).is_none() {
            kinds.extend(crd::kinds(object));
        }
    }
    cluster.catalog.store(Arc::new(Catalog::new(kinds)));
}

fn sort_by_age(objects: &mut [Value]) {
    objects.sort_by_cached_key(|object| {
        let meta = |field| crate::object::meta(object, field).to_owned();
        (meta("creationTimestamp"), meta("name"))
    });
}

/// Why a CRD's names cannot be used: an older one of its group has them.
fn conflict<'a>(object: &Value, older: impl Iterator<Item = &'a Value>) -> Option<String> {
    let group = text(object, "/spec/group");
    let names = &object["spec"]["names"];
    let mut taken: BTreeMap<&str, ()> = BTreeMap::new();
    let mut kinds: Vec<&str> = Vec::new();
    for other in older.filter(|other| text(other, "/spec/group") == group) {
        let names = &other["spec"]["names"];
        taken.extend(
            ["plural", "singular"]
                .iter()
                .filter_map(|field| names[*field].as_str())
                .map(|name| (name, ())),
        );
        taken.extend(
            strings(names.get("shortNames"))
                .into_iter()
                .map(|name| (name, ())),
        );
        kinds.extend(
            ["kind", "listKind"]
                .iter()
                .filter_map(|field| names[*field].as_str()),
        );
    }
    let builtin = ROWS.iter().filter(|row| row.group == group);
    for row in builtin {
        taken.insert(row.plural, ());
        kinds.push(row.kind);
    }
    for field in ["plural", "singular"] {
        if let Some(name) = names[field]
            .as_str()
            .filter(|name| taken.contains_key(name))
        {
            return Some(format!("{name:?} is already in use"));
        }
    }
    if let Some(name) = strings(names.get("shortNames"))
        .into_iter()
        .find(|name| taken.contains_key(name))
    {
        return Some(format!("{name:?} is already in use"));
    }
    let kind = ["kind", "listKind"]
        .iter()
        .filter_map(|field| names[*field].as_str())
        .find(|kind| kinds.contains(kind));
    kind.map(|kind| format!("{kind:?} is already in use"))
}

/// Brings a CRD's status up to date; when it is being deleted, deletes its objects.
///
/// # Errors
/// When the store fails.
pub async fn serve(cluster: &Arc<Cluster>, name: &str) -> Result<(), ApiError> {
    let key = Key::new("", name);
    let Some(stored) = cluster.store.get(&crds(), &key) else {
        return Ok(());
    };
    let object = stored.value();
    if stored.deleting {
        return clean(cluster, &key, &object).await;
    }
    let (volume, _) = cluster.store.read(&crds());
    let mut all: Vec<Value> = volume.iter(None).map(|object| object.value()).collect();
    sort_by_age(&mut all);
    let older = all
        .iter()
        .take_while(|other| crate::object::meta(other, "name") != name);
    let conflict = conflict(&object, older);
    let status = status(&object, conflict.as_deref(), &timestamp(cluster.now()));
    if !finalizers(&object).contains(&CLEANUP) {
        change(cluster, &crds(), &key, Part::Main, |object| {
            let mut kept: Vec<String> = finalizers(object).into_iter().map(str::to_owned).collect();
            if !kept.iter().any(|finalizer| finalizer == CLEANUP) {
                kept.push(CLEANUP.into());
            }
            set_finalizers(object, kept);
        })
        .await?;
    }
    if object["status"] != status {
        change(
            cluster,
            &crds(),
            &key,
            Part::Subresource("status"),
            |object| object["status"] = status.clone(),
        )
        .await?;
    }
    Ok(())
}

fn status(object: &Value, conflict: Option<&str>, now: &str) -> Value {
    let old = object
        .pointer("/status/conditions")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let condition = |kind: &str, on: bool, reason: &str, message: &str| {
        let state = if on { "True" } else { "False" };
        let kept = old
            .iter()
            .find(|old| old["type"] == kind && old["status"] == state);
        let since = kept.map_or(Value::from(now), |kept| kept["lastTransitionTime"].clone());
        json!({"type": kind, "status": state, "reason": reason, "message": message, "lastTransitionTime": since})
    };
    let conditions = match conflict {
        None => json!([
            condition("NamesAccepted", true, "NoConflicts", "no conflicts found"),
            condition(
                "Established",
                true,
                "InitialNamesAccepted",
                "the initial names have been accepted"
            ),
        ]),
        Some(why) => json!([
            condition("NamesAccepted", false, "Conflict", why),
            condition(
                "Established",
                false,
                "NotAccepted",
                "not all names are accepted"
            ),
        ]),
    };
    let accepted = if conflict.is_none() {
        object["spec"]["names"].clone()
    } else {
        json!({"plural": "", "kind": ""})
    };
    json!({"conditions": conditions, "acceptedNames": accepted, "storedVersions": object["status"]["storedVersions"]})
}

/// Deletes the objects of a CRD that is going, then lets it go.
async fn clean(cluster: &Arc<Cluster>, key: &Key, object: &Value) -> Result<(), ApiError> {
    if !finalizers(object).contains(&CLEANUP) {
        return Ok(());
    }
    let resource = ResourceId::new(
        text(object, "/spec/names/plural"),
        text(object, "/spec/group"),
    );
    let (volume, _) = cluster.store.read(&resource);
    let keys: Vec<Key> = volume
        .iter(None)
        .filter(|object| !object.deleting)
        .map(|object| object.key.clone())
        .collect();
    let options = DeleteOptions::default();
    let deletions = keys
        .iter()
        .map(|key| delete(cluster, &resource, key, &options));
    futures::future::try_join_all(deletions).await?;
    let (volume, _) = cluster.store.read(&resource);
    if volume.len() > 0 {
        // The last of them to go wakes us.
        return Ok(());
    }
    change(cluster, &crds(), key, Part::Main, |object| {
        let kept: Vec<String> = finalizers(object)
            .into_iter()
            .filter(|finalizer| *finalizer != CLEANUP)
            .map(str::to_owned)
            .collect();
        set_finalizers(object, kept);
    })
    .await
}

/// When an object goes whose CRD is going too, the CRD is to be looked at again.
pub fn cleanup_of(cluster: &Cluster, resource: &ResourceId) -> Vec<Task> {
    let key = Key::new("", resource.as_str());
    let going = cluster
        .store
        .get(&crds(), &key)
        .is_some_and(|crd| crd.deleting);
    if going {
        vec![Task::ServeCrd(key.name)]
    } else {
        Vec::new()
    }
}
