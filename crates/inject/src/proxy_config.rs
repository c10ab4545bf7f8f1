//! How a pod's proxy is started: what the mesh, its namespace and the pod itself say, the closest counting most.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::annotations::Annotations;
use crate::names::label;
use crate::settings::Settings;

const METADATA: &str = "proxyMetadata";

/// A `networking.istio.io/v1beta1` ProxyConfig.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ProxyConfig {
    pub namespace: String,
    /// Labels of the workloads it is for; none is all of the namespace, or of the mesh in the root namespace.
    pub labels: BTreeMap<String, String>,
    pub concurrency: Option<u32>,
    /// Environment of the proxy's container.
    pub environment: BTreeMap<String, String>,
    /// `default`, `debug` or `distroless`; empty is not said.
    pub image_type: String,
}

impl ProxyConfig {
    fn is_for(&self, namespace: &str, pod: &Value) -> bool {
        self.namespace == namespace
            && self
                .labels
                .iter()
                .all(|(name, value)| label(pod, name) == Some(value))
    }

    /// As a part of `MeshConfig.defaultConfig`.
    fn fields(&self) -> Map<String, Value> {
        let mut out = Map::new();
        if let Some(count) = self.concurrency {
            out.insert("concurrency".to_owned(), json!(count));
        }
        if !self.environment.is_empty() {
            out.insert(METADATA.to_owned(), json!(self.environment));
        }
        if !self.image_type.is_empty() {
            out.insert("image".to_owned(), json!({"imageType": self.image_type}));
        }
        out
    }
}

/// The configuration of a pod's proxy, in Istio's order: the mesh's defaults, the ProxyConfig of the root namespace, that
/// of the pod's namespace, the pod's annotation, the ProxyConfig that selects the pod. Of several at one place the oldest
/// counts; `proxyMetadata` is joined, all else replaced.
pub fn effective(
    pod: &Value,
    namespace: &str,
    annotations: &Annotations,
    settings: &Settings,
) -> Map<String, Value> {
    let mut out = settings.proxy_config.clone();
    let configs = &settings.proxy_configs;
    let whole = |of: &str| {
        configs
            .iter()
            .find(|c| c.labels.is_empty() && c.namespace == of)
    };
    let own = whole(namespace).filter(|_| namespace != settings.root_namespace);
    for config in [whole(&settings.root_namespace), own].into_iter().flatten() {
        lay(&mut out, config.fields());
    }
    lay(&mut out, annotations.object("proxy.istio.io/config"));
    let selecting = configs
        .iter()
        .find(|c| !c.labels.is_empty() && c.is_for(namespace, pod));
    if let Some(config) = selecting {
        lay(&mut out, config.fields());
    }
    out
}

fn lay(base: &mut Map<String, Value>, over: Map<String, Value>) {
    for (name, value) in over {
        match (base.get_mut(&name), value) {
            (Some(Value::Object(base)), Value::Object(over)) if name == METADATA => {
                base.extend(over);
            }
            (_, value) => {
                base.insert(name, value);
            }
        }
    }
}

/// An image of the type that the configuration wants: the type stands after the tag, unless it is the default one.
pub fn image(image: &str, config: &Map<String, Value>, annotated: Option<&str>) -> String {
    let wanted = config
        .get("image")
        .and_then(|image| image.get("imageType")?.as_str());
    match annotated.or(wanted) {
        Some(kind) if !kind.is_empty() && kind != "default" && !image.contains('@') => {
            format!("{image}-{kind}")
        }
        _ => image.to_owned(),
    }
}
