//! Garbage collection: what becomes of objects whose owners are deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::{Task, change, delete, kind_of, request};
use crate::cluster::Cluster;
use crate::object::{finalizers, set_meta, unset_meta};
use crate::status::ApiError;
use crate::store::{Key, ResourceId, Stored};
use crate::verbs::{DeleteOptions, Part, remove_finalizer};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

type Node = (ResourceId, Key);

/// Who owns whom, by uid.
#[derive(Default)]
pub struct Graph {
    objects: BTreeMap<Box<str>, Node>,
    dependents: BTreeMap<Box<str>, BTreeSet<Node>>,
}

impl Graph {
    pub fn add(&mut self, resource: &ResourceId, object: &Stored) {
        let node = (resource.clone(), object.key.clone());
        for owner in &object.owners {
            self.dependents
                .entry(owner.clone())
                .or_default()
                .insert(node.clone());
        }
        self.objects.insert(object.uid.clone(), node);
    }

    pub fn replace(&mut self, resource: &ResourceId, previous: Option<&Stored>, object: &Stored) {
        if let Some(previous) = previous {
            if previous.owners == object.owners {
                return;
            }
            self.disown(resource, previous);
        }
        self.add(resource, object);
    }

    pub fn remove(&mut self, resource: &ResourceId, object: &Stored) {
        self.disown(resource, object);
        self.objects.remove(&object.uid);
    }

    fn disown(&mut self, resource: &ResourceId, object: &Stored) {
        let node = (resource.clone(), object.key.clone());
        for owner in &object.owners {
            if let Some(dependents) = self.dependents.get_mut(owner) {
                dependents.remove(&node);
                if dependents.is_empty() {
                    self.dependents.remove(owner);
                }
            }
        }
    }

    /// What a new or changed object asks for.
    pub fn look_at(&self, resource: &ResourceId, object: &Stored) -> Vec<Task> {
        let mut tasks = Vec::new();
        let owner_missing = object
            .owners
            .iter()
            .any(|owner| !self.objects.contains_key(owner));
        if owner_missing && !object.deleting {
            tasks.push(Task::Collect(resource.clone(), object.key.clone()));
        }
        if object.deleting {
            tasks.push(Task::Finalize(resource.clone(), object.key.clone()));
        }
        // An owner that waits for this one may wait no longer, if it no longer names the owner or lets it go.
        for owner in &object.owners {
            if let Some((resource, key)) = self.objects.get(owner) {
                tasks.push(Task::Finalize(resource.clone(), key.clone()));
            }
        }
        tasks
    }

    /// What the end of an object asks for.
    pub fn owner_gone(&self, object: &Stored) -> Vec<Task> {
        let dependents = self.dependents.get(&object.uid).into_iter().flatten();
        let mut tasks: Vec<Task> = dependents
            .map(|(resource, key)| Task::Collect(resource.clone(), key.clone()))
            .collect();
        for owner in &object.owners {
            if let Some((resource, key)) = self.objects.get(owner) {
                tasks.push(Task::Finalize(resource.clone(), key.clone()));
            }
        }
        tasks
    }

    /// Deletes an object none of whose owners is left; if some are, it only forgets the others.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn collect(
        &self,
        cluster: &Arc<Cluster>,
        resource: &ResourceId,
        key: &Key,
    ) -> Result<(), ApiError> {
        let Some(object) = cluster
            .store
            .get(resource, key)
            .filter(|object| !object.deleting)
        else {
            return Ok(());
        };
        let (alive, gone): (Vec<&Box<str>>, Vec<&Box<str>>) = object
            .owners
            .iter()
            .partition(|owner| self.objects.contains_key(*owner));
        if gone.is_empty() {
            return Ok(());
        }
        if alive.is_empty() {
            let held = finalizers(&object.value()).contains(&FOREGROUND);
            let policy = if held { "Foreground" } else { "Background" };
            let options = DeleteOptions {
                propagation_policy: Some(policy.into()),
                preconditions: Some(crate::verbs::Preconditions {
                    uid: Some(object.uid.to_string()),
                    resource_version: None,
                }),
                ..DeleteOptions::default()
            };
            return delete(cluster, resource, key, &options).await;
        }
        let gone: Vec<String> = gone.into_iter().map(|uid| uid.to_string()).collect();
        forget_owners(cluster, resource, key, &gone).await
    }

    /// Serves the garbage collector's finalizers of an object that is being deleted.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn finalize(
        &self,
        cluster: &Arc<Cluster>,
        resource: &ResourceId,
        key: &Key,
    ) -> Result<(), ApiError> {
        let Some(owner) = cluster
            .store
            .get(resource, key)
            .filter(|owner| owner.deleting)
        else {
            return Ok(());
        };
        let object = owner.value();
        let held = finalizers(&object);
        let Some(kind) = kind_of(cluster, resource) else {
            return Ok(());
        };
        let request = request(cluster, &kind, &key.namespace, &key.name);
        let dependents: Vec<&Node> = self
            .dependents
            .get(&owner.uid)
            .into_iter()
            .flatten()
            .collect();
        if held.contains(&ORPHAN) {
            for (resource, key) in dependents {
                forget_owners(cluster, resource, key, &[owner.uid.to_string()]).await?;
            }
            return remove_finalizer(&request, ORPHAN).await;
        }
        if !held.contains(&FOREGROUND) {
            return Ok(());
        }
        let mut blocking = false;
        for (resource, key) in dependents {
            let Some(dependent) = cluster.store.get(resource, key) else {
                continue;
            };
            let value = dependent.value();
            let references = value
                .pointer("/metadata/ownerReferences")
                .and_then(Value::as_array);
            let mut others = false;
            for reference in references.into_iter().flatten() {
                if reference["uid"] == *owner.uid {
                    blocking |= reference["blockOwnerDeletion"] == true;
                } else {
                    let uid = reference["uid"].as_str().unwrap_or_default();
                    others |= self.objects.contains_key(uid);
                }
            }
            if others {
                forget_owners(cluster, resource, key, &[owner.uid.to_string()]).await?;
            } else if !dependent.deleting {
                let policy = if self.dependents.contains_key(&dependent.uid) {
                    "Foreground"
                } else {
                    "Background"
                };
                let options = DeleteOptions {
                    propagation_policy: Some(policy.into()),
                    ..DeleteOptions::default()
                };
                delete(cluster, resource, key, &options).await?;
            }
        }
        // Dependents that are gone by now wake us once more through their events.
        if blocking {
            Ok(())
        } else {
            remove_finalizer(&request, FOREGROUND).await
        }
    }
}

async fn forget_owners(
    cluster: &Arc<Cluster>,
    resource: &ResourceId,
    key: &Key,
    gone: &[String],
) -> Result<(), ApiError> {
    change(cluster, resource, key, Part::Main, |object| {
        let references = object
            .pointer("/metadata/ownerReferences")
            .and_then(Value::as_array)
            .cloned();
        let mut kept = references.unwrap_or_default();
        kept.retain(|reference| !gone.iter().any(|uid| reference["uid"] == uid.as_str()));
        if kept.is_empty() {
            unset_meta(object, "ownerReferences");
        } else {
            set_meta(object, "ownerReferences", Value::Array(kept));
        }
    })
    .await
}
