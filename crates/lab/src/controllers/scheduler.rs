//! The scheduler of clusters with one node, or few: the first node that a pod may run on.

use k8s_openapi::api::core::v1::{Node, Pod};

use super::action::Action;
use super::engine::Surroundings;
use super::pod;
use super::select::covers;
use super::world::{Key, Meta, World};

/// Binds a waiting pod, or says why it cannot be bound.
pub(super) fn reconcile(world: &World, key: &Key, _around: &Surroundings<'_>) -> Vec<Action> {
    let Some(pod) = world.pods.get(key) else {
        return Vec::new();
    };
    if !is_waiting(pod) {
        return Vec::new();
    }
    let refusals = match fit(world, pod) {
        Ok(node) => {
            return vec![Action::Bind {
                pod: key.clone(),
                uid: pod.uid().to_owned(),
                node: node.to_owned(),
            }];
        }
        Err(refusals) => refusals,
    };
    // A cluster that is just starting has no node yet: that is no failure.
    if refusals.is_empty() {
        return Vec::new();
    }
    let message = format!(
        "0/{} nodes are available: {}.",
        refusals.len(),
        refusals.join(", ")
    );
    vec![Action::Tell {
        reason: "FailedScheduling",
        message,
    }]
}

fn is_waiting(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let ours = spec
        .scheduler_name
        .as_deref()
        .is_none_or(|name| name == "default-scheduler");
    let unassigned = spec.node_name.as_deref().unwrap_or_default().is_empty();
    let gated = spec
        .scheduling_gates
        .as_ref()
        .is_some_and(|gates| !gates.is_empty());
    ours && unassigned && !gated && pod::is_active(pod)
}

fn fit<'a>(world: &'a World, pod: &Pod) -> Result<&'a str, Vec<String>> {
    let mut refusals = Vec::new();
    for node in world.nodes.all().filter(|node| !node.is_going()) {
        match refusal(node, pod) {
            None => return Ok(node.name()),
            Some(why) => refusals.push(format!("node {} {why}", node.name())),
        }
    }
    Err(refusals)
}

fn refusal(node: &Node, pod: &Pod) -> Option<&'static str> {
    let conditions = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let ready = conditions.is_some_and(|conditions| {
        conditions
            .iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
    });
    let selector = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.node_selector.clone())
        .unwrap_or_default();
    if !ready {
        Some("is not ready")
    } else if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) {
        Some("is unschedulable")
    } else if !covers(&selector, node.labels()) {
        Some("did not match the pod's node selector")
    } else {
        None
    }
}
