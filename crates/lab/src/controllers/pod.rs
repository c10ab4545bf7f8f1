//! What controllers ask of a pod.

use k8s_openapi::api::core::v1::{Container, Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::jiff::Timestamp;

use super::world::Meta;

/// Neither finished nor on its way out.
pub(super) fn is_active(pod: &Pod) -> bool {
    !pod.is_going() && !is_finished(pod)
}

/// Its containers have ended for good.
pub(super) fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// `Pending`, `Running` and so on; empty before the kubelet has said anything.
pub(super) fn phase(pod: &Pod) -> &str {
    pod.status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .unwrap_or_default()
}

fn ready_condition(pod: &Pod) -> Option<&PodCondition> {
    pod.status
        .as_ref()?
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "Ready")
}

/// Its Ready condition is True.
pub(super) fn is_ready(pod: &Pod) -> bool {
    ready_condition(pod).is_some_and(|condition| condition.status == "True")
}

/// Ready for at least so many seconds.
pub(super) fn is_available(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> bool {
    if !is_ready(pod) || min_ready_seconds <= 0 {
        return is_ready(pod);
    }
    let since = ready_condition(pod).and_then(|condition| condition.last_transition_time.as_ref());
    since.is_some_and(|since| now.as_second() - since.0.as_second() >= i64::from(min_ready_seconds))
}

/// Its address, once it has one.
pub(super) fn ip(pod: &Pod) -> Option<&str> {
    pod.status
        .as_ref()?
        .pod_ip
        .as_deref()
        .filter(|ip| !ip.is_empty())
}

/// The number of a Service's target port on this pod; `None` when the pod names no such port.
pub(super) fn target_port(
    pod: &Pod,
    target: Option<&IntOrString>,
    port: i32,
    protocol: &str,
) -> Option<i32> {
    let name = match target {
        None => return Some(port),
        Some(IntOrString::Int(number)) => return Some(if *number == 0 { port } else { *number }),
        Some(IntOrString::String(name)) if name.is_empty() => return Some(port),
        Some(IntOrString::String(name)) => name,
    };
    let spec = pod.spec.as_ref()?;
    // Init containers that go on running (native sidecars) have ports as well.
    let sidecars = spec.init_containers.iter().flatten();
    let sidecars =
        sidecars.filter(|container| container.restart_policy.as_deref() == Some("Always"));
    spec.containers
        .iter()
        .chain(sidecars)
        .find_map(|container| named_port(container, name, protocol))
}

fn named_port(container: &Container, name: &str, protocol: &str) -> Option<i32> {
    let named = |port: &&k8s_openapi::api::core::v1::ContainerPort| {
        port.name.as_deref() == Some(name) && port.protocol.as_deref().unwrap_or("TCP") == protocol
    };
    container
        .ports
        .iter()
        .flatten()
        .find(named)
        .map(|port| port.container_port)
}
