//! Deployment: a ReplicaSet per template, and the way from the old ones to the new one.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentCondition, DeploymentSpec, DeploymentStatus, ReplicaSet,
};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::action::Action;
use super::engine::Surroundings;
use super::rollout::{Size, Slack, slack, step};
use super::select::picks;
use super::world::{Key, Kind, Meta, World};
use super::{hash, pod};

const HASH: &str = "pod-template-hash";
const REVISION: &str = "deployment.kubernetes.io/revision";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Creates and scales ReplicaSets, and says how far the roll-out is.
pub(super) fn reconcile(world: &World, key: &Key, around: &Surroundings<'_>) -> Vec<Action> {
    let Some(deployment) = world.deployments.get(key) else {
        return Vec::new();
    };
    let Some(spec) = &deployment.spec else {
        return Vec::new();
    };
    if deployment.is_going() {
        return Vec::new();
    }
    let mut actions = Vec::new();
    let mut sets: Vec<&ReplicaSet> = Vec::new();
    for set in world.replica_sets.in_namespace(&key.0) {
        match set.controller() {
            Some(owner) if owner.uid == deployment.uid() => sets.push(set),
            None if !set.is_going() && picks(&spec.selector, set.labels()) => {
                let patch = json!({"metadata": {
                    "uid": set.uid(), "ownerReferences": [owner_reference(deployment)],
                }});
                actions.push(patch_set(set, patch));
            }
            _ => {}
        }
    }
    sets.sort_by_key(|set| (created(set), set.name().to_owned()));
    let new = sets
        .iter()
        .copied()
        .find(|set| has_template(set, &spec.template));
    let old: Vec<&ReplicaSet> = sets
        .iter()
        .copied()
        .filter(|set| new.is_none_or(|new| new.uid() != set.uid()))
        .collect();
    let replicas = spec.replicas.unwrap_or(1).max(0);

    let revision = revision_of_new(new, &old);
    match new {
        None if spec.paused == Some(true) => {}
        None if is_recreate(spec) && !is_drained(world, &old) => {}
        None => actions.push(create_set(
            deployment,
            spec,
            first_size(spec, replicas, &old),
            revision,
        )),
        Some(new) if revision_of(new) != revision => {
            let patch = json!({"metadata": {"annotations": {REVISION: revision.to_string()}}});
            actions.push(patch_set(new, patch));
        }
        Some(_) => {}
    }
    if spec.paused == Some(true) {
        actions.extend(new.and_then(|new| scale(new, replicas)));
    } else {
        actions.extend(roll(spec, replicas, new, &old));
        actions.extend(forget(spec, &old));
    }
    if new.is_some() && annotation(deployment, REVISION) != Some(revision.to_string().as_str()) {
        let patch = json!({"metadata": {"annotations": {REVISION: revision.to_string()}}});
        actions.push(Action::Patch {
            kind: Kind::Deployment,
            key: key.clone(),
            status: false,
            patch,
        });
    }
    actions.extend(status(deployment, spec, new, &sets, around));
    actions
}

/// The sizes that all ReplicaSets should have now.
fn roll(
    spec: &DeploymentSpec,
    replicas: i32,
    new: Option<&ReplicaSet>,
    old: &[&ReplicaSet],
) -> Vec<Action> {
    if is_recreate(spec) {
        let old = old.iter().filter_map(|set| scale(set, 0));
        return old
            .chain(new.and_then(|new| scale(new, replicas)))
            .collect();
    }
    let Some(new) = new else { return Vec::new() };
    let sizes: Vec<Size> = old.iter().map(|set| size(set)).collect();
    let (grown, sizes) = step(replicas, slack_of(spec, replicas), size(new), &sizes);
    let old = old
        .iter()
        .zip(sizes)
        .filter_map(|(set, size)| scale(set, size));
    old.chain(scale(new, grown)).collect()
}

fn is_recreate(spec: &DeploymentSpec) -> bool {
    spec.strategy
        .as_ref()
        .and_then(|strategy| strategy.type_.as_deref())
        == Some("Recreate")
}

fn slack_of(spec: &DeploymentSpec, replicas: i32) -> Slack {
    let rolling = spec
        .strategy
        .as_ref()
        .and_then(|strategy| strategy.rolling_update.as_ref());
    slack(
        rolling.and_then(|rolling| rolling.max_surge.as_ref()),
        rolling.and_then(|rolling| rolling.max_unavailable.as_ref()),
        replicas,
    )
}

/// No pod of an old set is left, not even one on its way out: `Recreate` never runs two versions at once.
fn is_drained(world: &World, old: &[&ReplicaSet]) -> bool {
    old.iter().all(|set| {
        let mut pods = world.pods.in_namespace(set.namespace());
        desired(set) == 0
            && !pods.any(|pod| {
                !pod::is_finished(pod)
                    && pod.controller().is_some_and(|owner| owner.uid == set.uid())
            })
    })
}

fn first_size(spec: &DeploymentSpec, replicas: i32, old: &[&ReplicaSet]) -> i32 {
    if is_recreate(spec) {
        return replicas;
    }
    let sizes: Vec<Size> = old.iter().map(|set| size(set)).collect();
    step(
        replicas,
        slack_of(spec, replicas),
        Size {
            desired: 0,
            available: 0,
        },
        &sizes,
    )
    .0
}

fn desired(set: &ReplicaSet) -> i32 {
    set.spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1)
}

fn size(set: &ReplicaSet) -> Size {
    let available = set
        .status
        .as_ref()
        .and_then(|status| status.available_replicas)
        .unwrap_or_default();
    Size {
        desired: desired(set),
        available: available.min(desired(set)),
    }
}

fn scale(set: &ReplicaSet, replicas: i32) -> Option<Action> {
    (desired(set) != replicas).then(|| patch_set(set, json!({"spec": {"replicas": replicas}})))
}

fn patch_set(set: &ReplicaSet, patch: Value) -> Action {
    let key = (set.namespace().to_owned(), set.name().to_owned());
    Action::Patch {
        kind: Kind::ReplicaSet,
        key,
        status: false,
        patch,
    }
}

/// Deletes the oldest empty sets beyond the history wanted.
fn forget(spec: &DeploymentSpec, old: &[&ReplicaSet]) -> Vec<Action> {
    let limit = usize::try_from(spec.revision_history_limit.unwrap_or(10)).unwrap_or_default();
    let empty = |set: &&&ReplicaSet| {
        let left = set
            .status
            .as_ref()
            .map(|status| status.replicas)
            .unwrap_or_default();
        desired(set) == 0 && left == 0 && !set.is_going()
    };
    let mut empty: Vec<&&ReplicaSet> = old.iter().filter(empty).collect();
    empty.sort_by_key(|set| revision_of(set));
    let surplus = empty.len().saturating_sub(limit);
    let delete = |set: &ReplicaSet| {
        let key = (set.namespace().to_owned(), set.name().to_owned());
        Action::Delete {
            kind: Kind::ReplicaSet,
            key,
            uid: set.uid().to_owned(),
        }
    };
    empty
        .into_iter()
        .take(surplus)
        .map(|set| delete(set))
        .collect()
}

fn created(set: &ReplicaSet) -> i64 {
    set.meta()
        .creation_timestamp
        .as_ref()
        .map_or(i64::MAX, |time| time.0.as_second())
}

fn annotation<'a>(object: &'a impl Meta, name: &str) -> Option<&'a str> {
    object
        .meta()
        .annotations
        .as_ref()?
        .get(name)
        .map(String::as_str)
}

fn revision_of(set: &ReplicaSet) -> i64 {
    annotation(set, REVISION)
        .and_then(|revision| revision.parse().ok())
        .unwrap_or_default()
}

/// One above all others, unless the new set is the newest already. Going back to an old template is a new revision.
fn revision_of_new(new: Option<&ReplicaSet>, old: &[&ReplicaSet]) -> i64 {
    let newest = old
        .iter()
        .map(|set| revision_of(set))
        .max()
        .unwrap_or_default();
    new.map(revision_of)
        .filter(|revision| *revision > newest)
        .unwrap_or(newest + 1)
}

/// Whether a set was made from this template: equal but for the label that made the set's own.
fn has_template(set: &ReplicaSet, template: &PodTemplateSpec) -> bool {
    let Some(theirs) = set.spec.as_ref().and_then(|spec| spec.template.as_ref()) else {
        return false;
    };
    let without_hash = |template: &PodTemplateSpec| {
        let mut metadata = template.metadata.clone().unwrap_or_default();
        metadata.creation_timestamp = None;
        let mut labels: BTreeMap<String, String> = metadata.labels.take().unwrap_or_default();
        labels.remove(HASH);
        metadata.labels = Some(labels);
        metadata.annotations = metadata
            .annotations
            .filter(|annotations| !annotations.is_empty());
        PodTemplateSpec {
            metadata: Some(metadata),
            spec: template.spec.clone(),
        }
    };
    without_hash(theirs) == without_hash(template)
}

fn owner_reference(deployment: &Deployment) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "name": deployment.name(), "uid": deployment.uid(),
        "controller": true, "blockOwnerDeletion": true,
    })
}

fn create_set(
    deployment: &Deployment,
    spec: &DeploymentSpec,
    replicas: i32,
    revision: i64,
) -> Action {
    let mut template = serde_json::to_value(&spec.template).unwrap_or_default();
    let hash = hash::suffix(&template);
    if !template["metadata"].is_object() {
        template["metadata"] = json!({});
    }
    if !template["metadata"]["labels"].is_object() {
        template["metadata"]["labels"] = json!({});
    }
    template["metadata"]["labels"][HASH] = hash.as_str().into();
    let mut selector = serde_json::to_value(&spec.selector).unwrap_or_default();
    if !selector["matchLabels"].is_object() {
        selector["matchLabels"] = json!({});
    }
    selector["matchLabels"][HASH] = hash.as_str().into();
    let mut annotations = deployment.meta().annotations.clone().unwrap_or_default();
    annotations.remove(LAST_APPLIED);
    annotations.insert(REVISION.to_owned(), revision.to_string());
    let wanted = spec.replicas.unwrap_or(1);
    let most = wanted + slack_of(spec, wanted).surge;
    annotations.insert(
        "deployment.kubernetes.io/desired-replicas".to_owned(),
        wanted.to_string(),
    );
    annotations.insert(
        "deployment.kubernetes.io/max-replicas".to_owned(),
        most.to_string(),
    );
    let object = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "namespace": deployment.namespace(),
            "name": format!("{}-{hash}", deployment.name()),
            "labels": template["metadata"]["labels"],
            "annotations": annotations,
            "ownerReferences": [owner_reference(deployment)],
        },
        "spec": {
            "replicas": replicas,
            "minReadySeconds": spec.min_ready_seconds.unwrap_or_default(),
            "selector": selector,
            "template": template,
        },
    });
    Action::Create {
        kind: Kind::ReplicaSet,
        object,
    }
}

fn status(
    deployment: &Deployment,
    spec: &DeploymentSpec,
    new: Option<&ReplicaSet>,
    sets: &[&ReplicaSet],
    around: &Surroundings<'_>,
) -> Option<Action> {
    let known = deployment.status.clone().unwrap_or_default();
    let replicas = spec.replicas.unwrap_or(1).max(0);
    let total = |count: &dyn Fn(&ReplicaSet) -> i32| sets.iter().map(|set| count(set)).sum::<i32>();
    let have = |set: &ReplicaSet| {
        set.status
            .as_ref()
            .map(|status| status.replicas)
            .unwrap_or_default()
    };
    let ready = |set: &ReplicaSet| {
        set.status
            .as_ref()
            .and_then(|status| status.ready_replicas)
            .unwrap_or_default()
    };
    let serve = |set: &ReplicaSet| {
        set.status
            .as_ref()
            .and_then(|status| status.available_replicas)
            .unwrap_or_default()
    };
    let available = total(&serve);
    let some = |number: i32| (number > 0).then_some(number);
    let mut status = DeploymentStatus {
        observed_generation: deployment.meta().generation,
        replicas: some(total(&have)),
        updated_replicas: some(new.map(have).unwrap_or_default()),
        ready_replicas: some(total(&ready)),
        available_replicas: some(available),
        unavailable_replicas: some(total(&desired).max(replicas) - available),
        conditions: None,
        ..known.clone()
    };
    let conditions = [
        available_condition(available >= replicas - slack_of(spec, replicas).unavailable),
        progressing(spec, &known, &status, replicas, new, around),
    ];
    let conditions: Vec<DeploymentCondition> = conditions
        .into_iter()
        .map(|condition| dated(condition, &known, &status, around))
        .collect();
    let others = known
        .conditions
        .iter()
        .flatten()
        .filter(|c| !matches!(c.type_.as_str(), "Available" | "Progressing"));
    status.conditions = Some(others.cloned().chain(conditions).collect());
    if status == known {
        return None;
    }
    let patch = json!({"status": {
        "observedGeneration": status.observed_generation,
        "replicas": status.replicas,
        "updatedReplicas": status.updated_replicas,
        "readyReplicas": status.ready_replicas,
        "availableReplicas": status.available_replicas,
        "unavailableReplicas": status.unavailable_replicas,
        "conditions": status.conditions,
    }});
    let key = (
        deployment.namespace().to_owned(),
        deployment.name().to_owned(),
    );
    Some(Action::Patch {
        kind: Kind::Deployment,
        key,
        status: true,
        patch,
    })
}

fn condition(type_: &str, status: bool, reason: &str, message: String) -> DeploymentCondition {
    DeploymentCondition {
        type_: type_.to_owned(),
        status: if status { "True" } else { "False" }.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_transition_time: None,
        last_update_time: None,
    }
}

fn available_condition(enough: bool) -> DeploymentCondition {
    if enough {
        let message = "Deployment has minimum availability.".to_owned();
        condition("Available", true, "MinimumReplicasAvailable", message)
    } else {
        let message = "Deployment does not have minimum availability.".to_owned();
        condition("Available", false, "MinimumReplicasUnavailable", message)
    }
}

/// Reasons and sentences as `kubectl rollout status` reads them.
fn progressing(
    spec: &DeploymentSpec,
    known: &DeploymentStatus,
    status: &DeploymentStatus,
    replicas: i32,
    new: Option<&ReplicaSet>,
    around: &Surroundings<'_>,
) -> DeploymentCondition {
    let count = |number: Option<i32>| number.unwrap_or_default();
    let updated = count(status.updated_replicas) == replicas && count(status.replicas) == replicas;
    let complete = updated && count(status.available_replicas) == replicas && new.is_some();
    let before = known
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "Progressing");
    let was_complete =
        before.is_some_and(|c| c.reason.as_deref() == Some("NewReplicaSetAvailable"));
    let name = new.map(|set| set.name().to_owned()).unwrap_or_default();
    if complete || (was_complete && updated) {
        let message = format!("ReplicaSet \"{name}\" has successfully progressed.");
        return condition("Progressing", true, "NewReplicaSetAvailable", message);
    }
    let deadline = i64::from(spec.progress_deadline_seconds.unwrap_or(600));
    let since = before.and_then(|condition| condition.last_update_time.as_ref());
    let late = since.is_some_and(|since| around.now.as_second() - since.0.as_second() >= deadline);
    if late && !was_complete && !has_progressed(known, status) && spec.paused != Some(true) {
        let message = format!("ReplicaSet \"{name}\" has timed out progressing.");
        return condition("Progressing", false, "ProgressDeadlineExceeded", message);
    }
    match new {
        Some(_) => {
            let message = format!("ReplicaSet \"{name}\" is progressing.");
            condition("Progressing", true, "ReplicaSetUpdated", message)
        }
        None => condition(
            "Progressing",
            true,
            "NewReplicaSetCreated",
            "Created new replica set.".to_owned(),
        ),
    }
}

fn has_progressed(known: &DeploymentStatus, status: &DeploymentStatus) -> bool {
    let counts = |status: &DeploymentStatus| {
        [
            status.updated_replicas,
            status.ready_replicas,
            status.available_replicas,
        ]
        .map(Option::unwrap_or_default)
    };
    counts(status)
        .iter()
        .zip(counts(known))
        .any(|(now, before)| *now > before)
        || status.observed_generation != known.observed_generation
}

/// Dates a condition: the transition when its status changes, the update when anything does or there is progress.
fn dated(
    mut condition: DeploymentCondition,
    known: &DeploymentStatus,
    status: &DeploymentStatus,
    around: &Surroundings<'_>,
) -> DeploymentCondition {
    let now = Some(Time(around.now));
    let before = known
        .conditions
        .iter()
        .flatten()
        .find(|before| before.type_ == condition.type_);
    let same_status = before.filter(|before| before.status == condition.status);
    condition.last_transition_time = same_status
        .and_then(|b| b.last_transition_time.clone())
        .or_else(|| now.clone());
    let moved =
        condition.reason.as_deref() == Some("ReplicaSetUpdated") && has_progressed(known, status);
    let same = same_status.filter(|before| before.reason == condition.reason && !moved);
    condition.last_update_time = same
        .and_then(|before| before.last_update_time.clone())
        .or(now);
    condition
}
