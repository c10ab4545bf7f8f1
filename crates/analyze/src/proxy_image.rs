//! Pods whose proxy is not the one that the injector would give them now (Istio `injection.ImageAnalyzer`).

use crate::codes::PROXY_IMAGES_DIFFER;
use crate::finding::{Finding, list, on};
use crate::injection::{INJECTION, REVISION, injector_name};
use crate::pods::{Pod, selects};
use crate::world::{PROXY, World, yaml};
use hawser_api::Kind;
use hawser_api::mesh::ProxyDefaults;
use hawser_api::message::read;
use serde_json::Value;
use std::collections::BTreeMap;

pub fn proxy_images(world: &World) -> Vec<Finding> {
    let injectors: BTreeMap<&str, String> = world
        .config_maps
        .iter()
        .filter(|map| map.meta.name.starts_with("istio-sidecar-injector"))
        .map(|map| (map.meta.name.as_str(), image(map.spec.data.get("values"))))
        .collect();
    if injectors.is_empty() {
        return Vec::new();
    }
    let mut differing: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for pod in world.own_pods() {
        let Some(namespace) = world.namespaces.get(pod.namespace()) else {
            continue;
        };
        let revision = match (namespace.label(REVISION), namespace.label(INJECTION)) {
            (Some(revision), _) => revision,
            (None, Some("enabled")) => "default",
            _ => continue,
        };
        let own_image = pod.object.annotation("sidecar.istio.io/proxyImage");
        if own_image.is_some_and(|image| !image.is_empty()) {
            continue;
        }
        let Some(wanted) = injectors.get(injector_name(revision).as_str()) else {
            continue;
        };
        let spec = &pod.object.spec;
        let mut proxies = spec
            .containers
            .iter()
            .chain(&spec.init_containers)
            .filter(|c| c.name == PROXY)
            .peekable();
        if proxies.peek().is_none() {
            continue;
        }
        let variant = format!("{wanted}-{}", image_type(world, pod));
        if proxies.any(|c| c.image != *wanted && c.image != variant) {
            differing
                .entry(pod.namespace())
                .or_default()
                .push(pod.name());
        }
    }
    let mut out = Vec::new();
    for (name, pods) in differing {
        if let Some(namespace) = world.namespaces.get(name) {
            let message = format!(
                "the proxy of pods {} is not the image that the injector gives",
                list(pods)
            );
            let found = Finding::new(
                PROXY_IMAGES_DIFFER,
                on(Kind::Namespace, &namespace.meta),
                "metadata.name",
                message,
            );
            out.push(found.help(format!(
                "redeploy them: kubectl rollout restart deployment -n {name}"
            )));
        }
    }
    out
}

/// The image that the injector's values name.
fn image(values: Option<&String>) -> String {
    let values = values.and_then(|text| yaml(text)).unwrap_or_default();
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let global = &values["global"];
    let image = text(&global["proxy"]["image"]);
    if image.contains('/') {
        return image;
    }
    let tag = match &global["tag"] {
        Value::Number(n) => n.to_string(),
        other => text(other),
    };
    format!("{}/{image}:{tag}", text(&global["hub"]))
}

/// `debug`, `distroless` or nothing, from MeshConfig, ProxyConfigs and the pod's annotation; the closest one counts.
fn image_type(world: &World, pod: &Pod) -> String {
    let mut kind = String::new();
    let mut set = |image: Option<&hawser_api::networking::ProxyImage>| {
        if let Some(image) = image.filter(|image| !image.image_type.is_empty()) {
            kind = image.image_type.clone();
        }
    };
    set(world
        .mesh
        .default_config
        .as_ref()
        .and_then(|c| c.image.as_ref()));
    let root = world.mesh.root_namespace();
    let of = |namespace: &str, with_selector: bool| {
        let named = world
            .proxy_configs
            .iter()
            .filter(move |c| c.meta.namespace == namespace);
        named
            .filter(move |c| c.spec.selector.is_some() == with_selector)
            .cloned()
            .collect::<Vec<_>>()
    };
    of(root, false)
        .iter()
        .for_each(|c| set(c.spec.image.as_ref()));
    if pod.namespace() != root {
        of(pod.namespace(), false)
            .iter()
            .for_each(|c| set(c.spec.image.as_ref()));
    }
    for config in of(pod.namespace(), true) {
        let selector = config.spec.selector.as_ref();
        if selector.is_some_and(|s| selects(&s.match_labels, pod.labels())) {
            set(config.spec.image.as_ref());
        }
    }
    if let Some(value) = pod
        .object
        .annotation("proxy.istio.io/config")
        .and_then(yaml)
    {
        set(read::<ProxyDefaults>(value).0.image.as_ref());
    }
    if kind == "default" {
        String::new()
    } else {
        kind
    }
}
