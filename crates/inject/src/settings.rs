//! What the injector needs to know about its mesh.

use serde_json::{Map, Value};

use crate::proxy_config::ProxyConfig;

/// The mesh that pods are injected for. Every field ends up in what is added to a pod.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The revision of this control plane; `default` serves `istio-injection=enabled`.
    pub revision: String,
    /// Whether pods of a selected namespace are injected unless they say no; otherwise only those that say yes.
    pub inject_by_default: bool,
    /// Namespace of the control plane.
    pub system_namespace: String,
    /// Where proxies find the control plane, `HOST:PORT`.
    pub discovery_address: String,
    /// The cluster the pods run in.
    pub cluster_id: String,
    /// The network the pods are in; empty when the mesh has only one.
    pub network: String,
    /// Name of the mesh; empty for the trust domain.
    pub mesh_id: String,
    pub trust_domain: String,
    /// The cluster's DNS domain, `cluster.local`.
    pub cluster_domain: String,
    /// Image of the container that redirects the pod's traffic.
    pub init_image: String,
    /// Image of the agent and its proxy.
    pub proxy_image: String,
    pub image_pull_policy: String,
    /// Whether the agent answers the pod's DNS queries.
    pub dns_capture: bool,
    /// Mesh-wide defaults of the proxies (`meshConfig.defaultConfig`), as JSON.
    pub proxy_config: Map<String, Value>,
    /// Whether the application's metrics are served beside the proxy's, unless a pod says otherwise.
    pub prometheus_merge: bool,
    /// The namespace whose ProxyConfigs are for the whole mesh.
    pub root_namespace: String,
    /// The mesh's ProxyConfigs, the oldest first.
    pub proxy_configs: Vec<ProxyConfig>,
}

impl Default for Settings {
    /// One cluster called `Kubernetes`, with the images of this version.
    fn default() -> Settings {
        let version = env!("CARGO_PKG_VERSION");
        Settings {
            revision: "default".to_owned(),
            inject_by_default: true,
            system_namespace: "istio-system".to_owned(),
            discovery_address: "istiod.istio-system.svc:15012".to_owned(),
            cluster_id: "Kubernetes".to_owned(),
            network: String::new(),
            mesh_id: String::new(),
            trust_domain: "cluster.local".to_owned(),
            cluster_domain: "cluster.local".to_owned(),
            init_image: format!("hawser/init:{version}"),
            proxy_image: format!("hawser/proxyv2:{version}"),
            image_pull_policy: "IfNotPresent".to_owned(),
            dns_capture: true,
            proxy_config: Map::new(),
            prometheus_merge: true,
            root_namespace: "istio-system".to_owned(),
            proxy_configs: Vec::new(),
        }
    }
}

/// The settings for a request to `/inject/cluster/ID/net/NETWORK`: a webhook of a remote cluster names
/// itself in its URL, a slash within a value written as `--slash--` (as Istio's webhook reads it).
pub fn settings_for_path(settings: &Settings, path: &str) -> Settings {
    let mut settings = settings.clone();
    let mut words = path
        .trim_start_matches("/inject")
        .split('/')
        .filter(|word| !word.is_empty());
    while let (Some(key), Some(value)) = (words.next(), words.next()) {
        let value = value.replace("--slash--", "/");
        match key {
            "cluster" | "ISTIO_META_CLUSTER_ID" => settings.cluster_id = value,
            "net" | "ISTIO_META_NETWORK" => settings.network = value,
            _ => {}
        }
    }
    settings
}
