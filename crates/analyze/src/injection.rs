//! Namespaces and pods without a proxy, and proxies that nobody fills in.

use crate::codes::{
    IMAGE_AUTO_DEPLOYMENT, IMAGE_AUTO_POD, INJECTED_BY_DEFAULT, NAMESPACE_NOT_INJECTED,
    POD_MISSING_PROXY, SEVERAL_INJECTION_LABELS,
};
use crate::finding::{Finding, full_name, on};
use crate::world::{INJECT, PROXY, World, yaml};
use hawser_api::core::PodSpec;
use hawser_api::{Kind, Labels};
use std::collections::{BTreeMap, BTreeSet};

/// Namespaces of Kubernetes itself, in which nothing is ever injected (Istio `inject.IgnoredNamespaces`).
pub const SYSTEM_NAMESPACES: [&str; 4] = [
    "kube-node-lease",
    "kube-public",
    "kube-system",
    "local-path-storage",
];

pub const INJECTION: &str = "istio-injection";
pub const REVISION: &str = "istio.io/rev";
pub const MODE: &str = "istio.io/dataplane-mode";

/// The ConfigMap with the injector's settings for a revision.
pub fn injector_name(revision: &str) -> String {
    match revision {
        "" | "default" => "istio-sidecar-injector".to_owned(),
        other => format!("istio-sidecar-injector-{other}"),
    }
}

/// Istio `injection.Analyzer`.
pub fn injection(world: &World) -> Vec<Finding> {
    let mut out = Vec::new();
    let by_default: BTreeMap<&str, bool> = world
        .config_maps
        .iter()
        .filter(|map| map.meta.name.starts_with("istio-sidecar-injector"))
        .map(|map| (map.meta.name.as_str(), injects_by_default(&map.spec.data)))
        .collect();
    let mut injected = BTreeSet::new();
    for (name, namespace) in &world.namespaces {
        if name == "istio-system" || SYSTEM_NAMESPACES.contains(&name.as_str()) {
            continue;
        }
        let object = || on(Kind::Namespace, &namespace.meta);
        let injection = namespace.label(INJECTION);
        let revision = namespace.label(REVISION);
        let mut labels: Vec<String> = injection
            .iter()
            .map(|v| format!("{INJECTION}={v}"))
            .collect();
        if matches!(injection, None | Some("enabled")) {
            let others = [REVISION, MODE].into_iter();
            labels.extend(others.filter_map(|l| namespace.label(l).map(|v| format!("{l}={v}"))));
        }
        if labels.len() > 1 {
            let message = format!(
                "the namespace has several labels that say how its pods join the mesh: {}",
                labels.join(", ")
            );
            out.push(
                Finding::new(
                    SEVERAL_INJECTION_LABELS,
                    object(),
                    "metadata.labels",
                    message,
                )
                .help("keep one of them"),
            );
        }
        if namespace.label(MODE) == Some("ambient") {
            continue;
        }
        match (injection.unwrap_or_default(), revision) {
            ("", None) => {
                let name = injector_name("");
                let found = if by_default.get(name.as_str()) == Some(&true) {
                    Finding::new(
                        INJECTED_BY_DEFAULT,
                        object(),
                        "metadata.name",
                        "pods get a proxy although no label says so: the injector's enableNamespacesByDefault is true",
                    )
                } else {
                    let help = format!(
                        "kubectl label namespace {0} istio-injection=enabled, or =disabled if it is meant to stay outside",
                        namespace.meta.name
                    );
                    Finding::new(
                        NAMESPACE_NOT_INJECTED,
                        object(),
                        "metadata.name",
                        "pods of the namespace get no proxy",
                    )
                    .help(help)
                };
                out.push(found);
            }
            ("enabled", _) => {
                injected.insert(name.as_str());
            }
            _ => {}
        }
    }
    for pod in world
        .own_pods()
        .filter(|pod| injected.contains(pod.namespace()))
    {
        let asked = pod
            .object
            .label(INJECT)
            .or_else(|| pod.object.annotation(INJECT));
        let refused = asked.is_some_and(|asked| asked.eq_ignore_ascii_case("false"));
        if !refused && !pod.object.spec.host_network && !has_proxy(&pod.object.spec) {
            let message = format!(
                "pod {} has no proxy although its namespace has them injected",
                full_name(&pod.object.meta)
            );
            let found = Finding::new(
                POD_MISSING_PROXY,
                on(Kind::Pod, &pod.object.meta),
                "spec.containers",
                message,
            );
            out.push(found.help(
                "restart it (kubectl rollout restart), or label it sidecar.istio.io/inject=false",
            ));
        }
    }
    out
}

fn has_proxy(spec: &PodSpec) -> bool {
    let mut containers = spec.containers.iter().chain(&spec.init_containers);
    containers
        .find(|c| c.name == PROXY)
        .is_some_and(|c| !c.image.is_empty())
}

fn injects_by_default(data: &BTreeMap<String, String>) -> bool {
    let values = data.get("values").and_then(|text| yaml(text));
    values.is_some_and(|v| v["sidecarInjectorWebhook"]["enableNamespacesByDefault"] == true)
}

/// Istio `injection.ImageAutoAnalyzer`.
pub fn image_auto(world: &World) -> Vec<Finding> {
    let auto = |spec: &PodSpec| {
        spec.containers
            .iter()
            .position(|c| c.name == PROXY && c.image == "auto")
    };
    let mut out = Vec::new();
    for pod in world.own_pods() {
        if let Some(i) = auto(&pod.object.spec) {
            let message = "the proxy's image is still auto: no webhook has filled it in, and the pod cannot start";
            let found = Finding::new(
                IMAGE_AUTO_POD,
                on(Kind::Pod, &pod.object.meta),
                format!("spec.containers[{i}].image"),
                message,
            );
            out.push(found.help(
                "have the pod injected (label sidecar.istio.io/inject=true), or name an image",
            ));
        }
    }
    let hooks: Vec<_> = world
        .mutating_webhooks
        .iter()
        .flat_map(|c| &c.spec.webhooks)
        .filter(|hook| hook.name.ends_with("istio.io"))
        .collect();
    let none = Labels::new();
    for deployment in &world.deployments {
        let template = &deployment.spec.template;
        let Some(i) = auto(&template.spec) else {
            continue;
        };
        let namespace = world.namespaces.get(&deployment.meta.namespace);
        let namespace = namespace.map_or(&none, |n| &n.meta.labels);
        let taken = hooks.iter().any(|hook| {
            hook.namespace_selector
                .as_ref()
                .is_none_or(|s| s.matches(namespace))
                && hook
                    .object_selector
                    .as_ref()
                    .is_none_or(|s| s.matches(&template.metadata.labels))
        });
        if !taken {
            let message = "the proxy's image is auto, but no injector's webhook takes these pods";
            let path = format!("spec.template.spec.containers[{i}].image");
            let found = Finding::new(
                IMAGE_AUTO_DEPLOYMENT,
                on(Kind::Deployment, &deployment.meta),
                path,
                message,
            );
            out.push(found.help("label the template sidecar.istio.io/inject=true, or its namespace istio-injection=enabled"));
        }
    }
    out
}
