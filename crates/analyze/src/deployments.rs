//! Deployments: Services that disagree about their ports, and applications that run as the proxy's user.

use crate::codes::{PORTS_OF_ONE_TARGET, PROTOCOLS_OF_ONE_PORT, PROXY_UID};
use crate::finding::{Finding, list, on};
use crate::world::{PROXY, World, in_mesh};
use hawser_api::core::PodSpec;
use hawser_api::{IntOrString, Kind, Meta};
use std::collections::{BTreeMap, BTreeSet};

/// Istio `deployment.MultiServiceAnalyzer`.
pub fn services_of_deployments(world: &World) -> Vec<Finding> {
    let mut out = Vec::new();
    for deployment in &world.deployments {
        let template = &deployment.spec.template;
        let namespace = &deployment.meta.namespace;
        let labels = &template.metadata.labels;
        // A waypoint's Services are made for it.
        if deployment.label("gateway.istio.io/managed") == Some("istio.io-mesh-controller") {
            continue;
        }
        if !in_mesh(
            &template.spec.containers,
            labels,
            &template.metadata.annotations,
            namespace,
            &world.namespaces,
        ) {
            continue;
        }
        let services = world.shared.services.selecting(namespace, labels);
        let mut protocols: BTreeMap<i32, BTreeMap<&str, BTreeSet<String>>> = BTreeMap::new();
        let mut targets: BTreeMap<String, BTreeMap<i32, String>> = BTreeMap::new();
        for service in services.iter().filter(|s| s.cluster == world.cluster) {
            for port in &service.object.spec.ports {
                let protocol = if port.protocol.is_empty() {
                    "TCP"
                } else {
                    &port.protocol
                };
                let users = protocols
                    .entry(port.port)
                    .or_default()
                    .entry(protocol)
                    .or_default();
                users.insert(service.full_name());
                let target = match &port.target_port {
                    Some(IntOrString::String(name)) if !name.is_empty() => name.clone(),
                    Some(IntOrString::Int(number)) if *number != 0 => number.to_string(),
                    _ => port.port.to_string(),
                };
                targets
                    .entry(target)
                    .or_default()
                    .insert(port.port, service.full_name());
            }
        }
        let object = || on(Kind::Deployment, &deployment.meta);
        for (port, by_protocol) in protocols.iter().filter(|(_, by)| by.len() > 1) {
            let names: BTreeSet<&str> =
                by_protocol.values().flatten().map(String::as_str).collect();
            let message = format!(
                "Services {} have port {port} with different protocols ({})",
                list(names),
                list(by_protocol.keys().copied())
            );
            out.push(Finding::new(PROTOCOLS_OF_ONE_PORT, object(), "metadata.name", message).help("give the port one protocol in all Services that select the pods, or another number"));
        }
        for (target, ports) in targets.iter().filter(|(_, ports)| ports.len() > 1) {
            let names: BTreeSet<&str> = ports.values().map(String::as_str).collect();
            let numbers: Vec<String> = ports.keys().map(i32::to_string).collect();
            let message = format!(
                "Services {} reach target port {target} by different ports ({})",
                list(names),
                numbers.join(", ")
            );
            out.push(
                Finding::new(PORTS_OF_ONE_TARGET, object(), "metadata.name", message)
                    .help("use one port for each target port in all Services that select the pods"),
            );
        }
    }
    out
}

/// The user that traffic of the proxy is known by.
const PROXY_USER: i64 = 1337;

/// Istio `applicationUID.Analyzer`.
pub fn proxy_uid(world: &World) -> Vec<Finding> {
    let mut out = Vec::new();
    for pod in world.own_pods() {
        check_uid(
            Kind::Pod,
            &pod.object.meta,
            "spec",
            &pod.object.spec,
            &mut out,
        );
    }
    for d in &world.deployments {
        check_uid(
            Kind::Deployment,
            &d.meta,
            "spec.template.spec",
            &d.spec.template.spec,
            &mut out,
        );
    }
    out
}

/// Whether an object is part of Istio itself, by its labels.
pub fn is_control_plane(meta: &Meta) -> bool {
    meta.labels.contains_key("istio") || meta.labels.get("release").is_some_and(|r| r == "istio")
}

fn check_uid(kind: Kind, meta: &Meta, base: &str, spec: &PodSpec, out: &mut Vec<Finding>) {
    if is_control_plane(meta) {
        return;
    }
    let mut found = |path: String| {
        let message = format!(
            "user {PROXY_USER} is the proxy's: what the application sends would go past the proxy"
        );
        out.push(
            Finding::new(PROXY_UID, on(kind, meta), path, message)
                .help("run the application as another user"),
        );
    };
    if spec.security_context.as_ref().and_then(|c| c.run_as_user) == Some(PROXY_USER) {
        found(format!("{base}.securityContext.runAsUser"));
    }
    for (i, container) in spec.containers.iter().enumerate() {
        let ours = container.name == PROXY || container.name == "istio-operator";
        let user = container
            .security_context
            .as_ref()
            .and_then(|c| c.run_as_user);
        if !ours && user == Some(PROXY_USER) {
            found(format!("{base}.containers[{i}].securityContext.runAsUser"));
        }
    }
}
