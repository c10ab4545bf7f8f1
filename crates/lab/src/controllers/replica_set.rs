//! ReplicaSet: as many pods as wanted, told by owner reference.

use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::action::Action;
use super::engine::Surroundings;
use super::pod;
use super::select::{covers, picks};
use super::world::{Key, Kind, Meta, World};

/// Creates, deletes, adopts and releases pods, and says how many there are.
pub(super) fn reconcile(world: &World, key: &Key, around: &Surroundings<'_>) -> Vec<Action> {
    let Some(set) = world.replica_sets.get(key) else {
        return Vec::new();
    };
    let Some(spec) = &set.spec else {
        return Vec::new();
    };
    let mut actions = Vec::new();
    let mut owned: Vec<&Pod> = Vec::new();
    for pod in world
        .pods
        .in_namespace(&key.0)
        .filter(|pod| pod::is_active(pod))
    {
        let picked = picks(&spec.selector, pod.labels());
        match pod.controller() {
            Some(owner) if owner.uid == set.uid() && picked => owned.push(pod),
            // Somebody took a pod out by changing its labels; it lives on by itself.
            Some(owner) if owner.uid == set.uid() => actions.push(own(pod, None)),
            None if picked && !set.is_going() => actions.push(own(pod, Some(set))),
            _ => {}
        }
    }
    if !set.is_going() {
        let wanted = usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or_default();
        if owned.len() < wanted {
            let template = serde_json::to_value(&spec.template).unwrap_or_default();
            let create = Action::Create {
                kind: Kind::Pod,
                object: from_template(set, template),
            };
            actions.extend(std::iter::repeat_n(create, wanted - owned.len()));
        }
        let mut by_worth = owned.clone();
        by_worth.sort_by_key(|pod| std::cmp::Reverse(worth(pod)));
        for pod in by_worth.into_iter().skip(wanted) {
            let key = (pod.namespace().to_owned(), pod.name().to_owned());
            actions.push(Action::Delete {
                kind: Kind::Pod,
                key,
                uid: pod.uid().to_owned(),
            });
        }
    }
    actions.extend(status(set, &owned, around));
    actions
}

/// What is deleted last: assigned, running, ready pods, older ones first, names to break ties.
fn worth(pod: &Pod) -> (bool, bool, bool, std::cmp::Reverse<i64>, String) {
    let assigned = pod
        .spec
        .as_ref()
        .is_some_and(|spec| spec.node_name.is_some());
    let created = pod
        .meta()
        .creation_timestamp
        .as_ref()
        .map_or(i64::MAX, |time| time.0.as_second());
    (
        assigned,
        pod::phase(pod) == "Running",
        pod::is_ready(pod),
        std::cmp::Reverse(created),
        pod.name().to_owned(),
    )
}

fn owner_reference(set: &ReplicaSet) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": set.name(), "uid": set.uid(),
        "controller": true, "blockOwnerDeletion": true,
    })
}

fn from_template(set: &ReplicaSet, mut template: Value) -> Value {
    let metadata = template
        .get_mut("metadata")
        .map(Value::take)
        .unwrap_or_default();
    let spec = template
        .get_mut("spec")
        .map(Value::take)
        .unwrap_or_default();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "generateName": format!("{}-", set.name()),
            "namespace": set.namespace(),
            "labels": metadata.get("labels").cloned().unwrap_or_else(|| json!({})),
            "annotations": metadata.get("annotations").cloned().unwrap_or_else(|| json!({})),
            "ownerReferences": [owner_reference(set)],
        },
        "spec": spec,
    })
}

/// Gives the pod to a set, or takes it away from its controller.
fn own(pod: &Pod, set: Option<&ReplicaSet>) -> Action {
    let others = pod
        .meta()
        .owner_references
        .iter()
        .flatten()
        .filter(|owner| owner.controller != Some(true));
    let mut owners: Vec<Value> = others
        .filter_map(|owner| serde_json::to_value(owner).ok())
        .collect();
    owners.extend(set.map(owner_reference));
    let patch = json!({"metadata": {
        "uid": pod.uid(), "resourceVersion": pod.meta().resource_version, "ownerReferences": owners,
    }});
    let key = (pod.namespace().to_owned(), pod.name().to_owned());
    Action::Patch {
        kind: Kind::Pod,
        key,
        status: false,
        patch,
    }
}

fn status(set: &ReplicaSet, owned: &[&Pod], around: &Surroundings<'_>) -> Option<Action> {
    let spec = set.spec.as_ref()?;
    let count = |test: &dyn Fn(&Pod) -> bool| {
        i32::try_from(owned.iter().filter(|pod| test(pod)).count()).unwrap_or(i32::MAX)
    };
    let min_ready = spec.min_ready_seconds.unwrap_or_default();
    let template = spec
        .template
        .as_ref()
        .and_then(|template| template.metadata.as_ref());
    let labels = template
        .and_then(|metadata| metadata.labels.clone())
        .unwrap_or_default();
    let some = |number: i32| (number != 0).then_some(number);
    let known = set.status.clone().unwrap_or_default();
    let status = ReplicaSetStatus {
        replicas: count(&|_| true),
        fully_labeled_replicas: some(count(&|pod| covers(&labels, pod.labels()))),
        ready_replicas: some(count(&pod::is_ready)),
        available_replicas: some(count(&|pod| pod::is_available(pod, min_ready, around.now))),
        observed_generation: set.meta().generation,
        ..known.clone()
    };
    let zero = |number: Option<i32>| number.filter(|number| *number != 0);
    let known = ReplicaSetStatus {
        fully_labeled_replicas: zero(known.fully_labeled_replicas),
        ready_replicas: zero(known.ready_replicas),
        available_replicas: zero(known.available_replicas),
        ..known
    };
    if set.status.is_some() && status == known {
        return None;
    }
    // Null takes a count away that has become zero: that is how Kubernetes leaves it out.
    let patch = json!({"status": {
        "replicas": status.replicas,
        "fullyLabeledReplicas": status.fully_labeled_replicas,
        "readyReplicas": status.ready_replicas,
        "availableReplicas": status.available_replicas,
        "observedGeneration": status.observed_generation,
    }});
    let key = (set.namespace().to_owned(), set.name().to_owned());
    Some(Action::Patch {
        kind: Kind::ReplicaSet,
        key,
        status: true,
        patch,
    })
}
