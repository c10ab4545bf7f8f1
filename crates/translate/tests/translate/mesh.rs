//! A small mesh from YAML.

use std::fmt::Write as _;
use std::sync::Arc;

use hawser_api::Resource;
use hawser_api::mesh::{MeshConfig, MeshNetworks};
use hawser_lower::{Lowerer, Settings};
use hawser_model::{ClusterId, Proxy, Snapshot};
use hawser_proto::envoy::config::core::v3::Node;
use prost::Message;
use serde_json::{Value, json};

/// The objects of a text of several YAML documents.
pub fn objects(yaml: &str) -> Vec<Resource> {
    let manifest = hawser_api::manifest::read("test.yaml", yaml.as_bytes());
    assert!(manifest.errors.is_empty(), "{:?}", manifest.errors);
    let docs = manifest.docs.iter().filter(|d| !d.value.is_null());
    docs.map(|d| match hawser_api::parse(d.value.clone()) {
        Ok(parsed) => parsed.resource,
        Err(error) => panic!("{error}\n{:#}", d.value),
    })
    .collect()
}

fn value(yaml: &str) -> Value {
    let manifest = hawser_api::manifest::read("settings.yaml", yaml.as_bytes());
    let first = manifest.docs.into_iter().next();
    first.map(|d| d.value).unwrap_or_default()
}

/// What the control plane of `c1` sees: texts of clusters, of MeshConfig and of MeshNetworks.
#[derive(Default)]
pub struct Mesh {
    pub clusters: Vec<(&'static str, String)>,
    pub config: &'static str,
    pub networks: &'static str,
}

impl Mesh {
    /// A mesh of one cluster.
    pub fn of(yaml: &str) -> Self {
        Self {
            clusters: vec![("c1", yaml.to_owned())],
            config: "{}",
            networks: "{}",
        }
    }

    /// With another cluster.
    pub fn and(mut self, id: &'static str, yaml: &str) -> Self {
        self.clusters.push((id, yaml.to_owned()));
        self
    }

    pub fn settings(&self) -> Settings {
        let mut settings = Settings::new(ClusterId::new("c1"));
        settings.mesh_config = MeshConfig::from_value(value(self.config)).0;
        settings.mesh_networks = MeshNetworks::from_value(value(self.networks)).0;
        settings
    }

    pub fn snapshot(&self) -> Arc<Snapshot> {
        let objects = self.clusters.iter().flat_map(|(id, yaml)| {
            let objects = objects(yaml).into_iter();
            objects.map(|o| (ClusterId::new(id), o))
        });
        Lowerer::from_objects(self.settings(), objects).snapshot()
    }
}

/// A Service with pods. Ports are `name number target`; pods are `address` with optional words: `mtls` for one with a
/// sidecar, `at=region.zone`, and labels as `key=value`.
pub fn app(namespace: &str, name: &str, vip: &str, ports: &[&str], pods: &[&str]) -> String {
    let ports: Vec<Vec<&str>> = ports.iter().map(|p| p.split(' ').collect()).collect();
    let list = |of: &dyn Fn(&[&str]) -> String| {
        let all: Vec<_> = ports.iter().map(|p| of(p)).collect();
        all.join(", ")
    };
    let of_service = list(&|p| format!("{{name: {}, port: {}, targetPort: {}}}", p[0], p[1], p[2]));
    let of_slice = list(&|p| format!("{{name: {}, port: {}}}", p[0], p[2]));
    let mut out = format!(
        "---\n{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: {namespace}}}, \
         spec: {{clusterIP: {vip}, selector: {{app: {name}}}, ports: [{of_service}]}}}}\n"
    );
    let mut endpoints = Vec::new();
    for (i, pod) in pods.iter().enumerate() {
        let mut words = pod.split(' ');
        let address = words.next().unwrap_or_default();
        let mut labels = format!("app: {name}");
        for word in words {
            match word.split_once('=') {
                None => labels += ", security.istio.io/tlsMode: istio",
                Some(("at", place)) => {
                    let _ = write!(labels, ", istio-locality: {place}");
                }
                Some((key, value)) => {
                    let _ = write!(labels, ", {key}: {value}");
                }
            }
        }
        let _ = writeln!(
            out,
            "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: {name}-{i}, namespace: {namespace}, labels: {{{labels}}}}}, \
             spec: {{serviceAccountName: {name}, nodeName: n1}}, status: {{podIP: {address}, phase: Running, \
             conditions: [{{type: Ready, status: 'True'}}]}}}}"
        );
        endpoints.push(format!(
            "{{addresses: [{address}], targetRef: {{kind: Pod, name: {name}-{i}}}}}"
        ));
    }
    let _ = writeln!(
        out,
        "---\n{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: {name}-x, namespace: {namespace}, \
         labels: {{kubernetes.io/service-name: {name}}}}}, addressType: IPv4, ports: [{of_slice}], endpoints: [{}]}}",
        endpoints.join(", ")
    );
    out
}

/// An Istio object of group `networking.istio.io` or `security.istio.io`: its spec as YAML.
pub fn istio(kind: &str, namespace: &str, name: &str, spec: &str) -> String {
    let group = match kind {
        "PeerAuthentication" | "RequestAuthentication" | "AuthorizationPolicy" => "security",
        "Telemetry" => "telemetry",
        "TrafficExtension" => "extensions",
        _ => "networking",
    };
    let version = match kind {
        "EnvoyFilter" => "v1alpha3",
        "TrafficExtension" => "v1alpha1",
        _ => "v1",
    };
    format!(
        "---\n{{apiVersion: {group}.istio.io/{version}, kind: {kind}, metadata: {{name: {name}, namespace: {namespace}}}, \
         spec: {spec}}}\n"
    )
}

/// A proxy by its node: `place` is `address name.namespace`, `more` is metadata beyond the pod's own.
pub fn proxy(kind: &str, place: &str, more: Value) -> Proxy {
    let (address, place) = place.split_once(' ').unwrap();
    let (name, namespace) = place.split_once('.').unwrap();
    let app = name.split('-').next().unwrap_or(name);
    let mut metadata = json!({
        "CLUSTER_ID": "c1",
        "NAMESPACE": namespace,
        "SERVICE_ACCOUNT": app,
        "LABELS": {"app": app},
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        metadata[key] = value.clone();
    }
    let id = format!("{kind}~{address}~{name}.{namespace}~{namespace}.svc.cluster.local");
    let node = json!({"id": id, "cluster": app, "metadata": metadata});
    let node = hawser_proto::json::parse("envoy.config.core.v3.Node", &node).unwrap();
    let node = Node::decode(node.encode_to_vec().as_slice()).unwrap();
    hawser_translate::node::proxy(&node).unwrap()
}

/// A sidecar of cluster `c1`.
pub fn sidecar(place: &str) -> Proxy {
    proxy("sidecar", place, json!({}))
}

/// A gateway of cluster `c1`, of workloads with label `istio: ingress`.
pub fn gateway() -> Proxy {
    let labels = json!({"LABELS": {"istio": "ingress"}});
    proxy("router", "10.1.9.9 gw-0.istio-system", labels)
}
