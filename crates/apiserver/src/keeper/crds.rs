//! CustomResourceDefinitions: served as soon as they are stored, with conditions that say so, and cleaned up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Task, change, delete};
use crate::cluster::Cluster;
use crate::kinds::{Catalog, Kind, ROWS, crd};
use crate::object::{finalizers, set_finalizers, strings, text, timestamp};
use crate::rules::CRD_CLEANUP;
use crate::status::ApiError;
use crate::store::{Key, ResourceId, Stored};
use crate::verbs::{DeleteOptions, Part};

fn crds() -> ResourceId {
    ResourceId::new("customresourcedefinitions", "apiextensions.k8s.io")
}

/// The CRDs of a cluster as far as serving them goes; each is read again only when its spec changes.
#[derive(Debug, Default)]
pub struct Definitions {
    by_name: BTreeMap<Arc<str>, Definition>,
}

#[derive(Debug)]
struct Definition {
    created: String,
    uid: Box<str>,
    generation: u64,
    group: String,
    /// Plural, singular and short names.
    names: Vec<String>,
    /// The kind's name and its list's.
    kind_names: Vec<String>,
    kinds: Vec<Arc<Kind>>,
}

/// As much of a CRD as tells whether its spec has changed.
#[derive(Deserialize)]
struct Head {
    metadata: HeadMeta,
}

#[derive(Deserialize)]
struct HeadMeta {
    #[serde(default)]
    generation: u64,
}

impl Definition {
    fn read(stored: &Arc<Stored>, generation: u64) -> Definition {
        let object = stored.value();
        let names = &object["spec"]["names"];
        let owned = |fields: [&str; 2]| -> Vec<String> {
            let texts = fields.into_iter().filter_map(|field| names[field].as_str());
            texts.map(str::to_owned).collect()
        };
        let short = strings(names.get("shortNames"));
        let mut taken = owned(["plural", "singular"]);
        taken.extend(short.into_iter().map(str::to_owned));
        Definition {
            created: crate::object::meta(&object, "creationTimestamp").to_owned(),
            uid: stored.uid.clone(),
            generation,
            group: text(&object, "/spec/group").to_owned(),
            names: taken,
            kind_names: owned(["kind", "listKind"]),
            kinds: crd::kinds(stored, &object)
                .into_iter()
                .map(Arc::new)
                .collect(),
        }
    }
}

impl Definitions {
    /// All CRDs that a cluster has now.
    pub fn of(cluster: &Cluster) -> Definitions {
        let mut definitions = Definitions::default();
        let (volume, _) = cluster.store.read(&crds());
        for stored in volume.iter(None) {
            definitions.refresh(cluster, &stored.key.name);
        }
        definitions
    }

    /// Looks at a CRD again; says whether what is to be served has changed.
    pub fn refresh(&mut self, cluster: &Cluster, name: &Arc<str>) -> bool {
        let Some(stored) = cluster.store.get(&crds(), &Key::new("", name)) else {
            return self.by_name.remove(name).is_some();
        };
        let head: Option<Head> = serde_json::from_slice(&stored.json).ok();
        let generation = head.map_or(0, |head| head.metadata.generation);
        let known = self.by_name.get(name);
        if known.is_some_and(|known| known.uid == stored.uid && known.generation == generation) {
            return false;
        }
        self.by_name
            .insert(name.clone(), Definition::read(&stored, generation));
        true
    }

    /// Publishes the kinds of all CRDs that have no conflict, older CRDs first.
    pub fn publish(&self, cluster: &Cluster) {
        let mut by_age: Vec<(&Arc<str>, &Definition)> = self.by_name.iter().collect();
        by_age.sort_by(|(_, a), (_, b)| a.created.cmp(&b.created));
        let served = by_age
            .into_iter()
            .filter(|(name, _)| self.conflict(name).is_none());
        let kinds = served.flat_map(|(_, definition)| definition.kinds.iter().cloned());
        cluster.catalog.store(Arc::new(Catalog::new(kinds)));
    }

    /// Why a CRD's names cannot be used: an older one of its group has them.
    pub fn conflict(&self, name: &str) -> Option<String> {
        let this = self.by_name.get(name)?;
        let older = |(other, definition): &(&Arc<str>, &Definition)| {
            definition.group == this.group
                && (definition.created.as_str(), &***other) < (this.created.as_str(), name)
        };
        let mut taken: BTreeSet<&str> = BTreeSet::new();
        let mut kinds: BTreeSet<&str> = BTreeSet::new();
        for (_, other) in self.by_name.iter().filter(older) {
            taken.extend(other.names.iter().map(String::as_str));
            kinds.extend(other.kind_names.iter().map(String::as_str));
        }
        for row in ROWS.iter().filter(|row| row.group == this.group) {
            taken.insert(row.plural);
            kinds.insert(row.kind);
        }
        let name = this.names.iter().find(|name| taken.contains(name.as_str()));
        let kind = this
            .kind_names
            .iter()
            .find(|kind| kinds.contains(kind.as_str()));
        name.or(kind)
            .map(|name| format!("{name:?} is already in use"))
    }
}

/// Brings a CRD's status up to date; when it is being deleted, deletes its objects.
///
/// # Errors
/// When the store fails.
pub async fn serve(
    cluster: &Arc<Cluster>,
    name: &str,
    conflict: Option<&str>,
) -> Result<(), ApiError> {
    let key = Key::new("", name);
    let Some(stored) = cluster.store.get(&crds(), &key) else {
        return Ok(());
    };
    let object = stored.value();
    if stored.deleting {
        return clean(cluster, &key, &object).await;
    }
    let status = status(&object, conflict, &timestamp(cluster.now()));
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
    if !finalizers(object).contains(&CRD_CLEANUP) {
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
            .filter(|finalizer| *finalizer != CRD_CLEANUP)
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
