//! Reading a pod: labels, annotations, and the names that follow from its owner.

use serde_json::Value;

/// The name of the container that the injector adds or completes.
pub const PROXY: &str = "istio-proxy";
/// The annotation that marks a pod as injected.
pub const STATUS: &str = "sidecar.istio.io/status";

/// The text at a JSON pointer, or the empty text.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or("")
}

pub fn label<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.pointer("/metadata/labels")?.get(name)?.as_str()
}

pub fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.pointer("/metadata/annotations")?.get(name)?.as_str()
}

/// The containers of a pod.
pub fn containers(pod: &Value) -> &[Value] {
    pod.pointer("/spec/containers")
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// Whether the pod carries both the mark of the injector and its container.
pub fn injected(pod: &Value) -> bool {
    let init = pod
        .pointer("/spec/initContainers")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    let has_proxy = containers(pod)
        .iter()
        .chain(init)
        .any(|container| text(container, "/name") == PROXY);
    annotation(pod, STATUS).is_some() && has_proxy
}

/// The controller that a pod belongs to, as Istio names workloads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    pub name: String,
    pub kind: String,
    pub api_version: String,
}

impl Workload {
    /// `kubernetes://apis/…`, the value of `ISTIO_META_OWNER`.
    pub fn owner(&self, namespace: &str) -> String {
        let plural = format!("{}s", self.kind.to_ascii_lowercase());
        format!(
            "kubernetes://apis/{}/namespaces/{namespace}/{plural}/{}",
            self.api_version, self.name
        )
    }
}

/// Follows the pod's controlling owner: a ReplicaSet named after a Deployment and the pod-template-hash
/// stands for that Deployment; a pod without an owner is its own workload.
pub fn workload(pod: &Value) -> Workload {
    let owners = pod
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array);
    let owner = owners.and_then(|owners| {
        owners
            .iter()
            .find(|owner| owner.get("controller") == Some(&Value::Bool(true)))
    });
    let Some(owner) = owner else {
        let name = Some(text(pod, "/metadata/name")).filter(|name| !name.is_empty());
        let name =
            name.unwrap_or_else(|| text(pod, "/metadata/generateName").trim_end_matches('-'));
        return Workload {
            name: name.to_owned(),
            kind: "Pod".to_owned(),
            api_version: "v1".to_owned(),
        };
    };
    let (name, kind) = (text(owner, "/name"), text(owner, "/kind"));
    let deployment = label(pod, "pod-template-hash")
        .filter(|_| kind == "ReplicaSet")
        .and_then(|hash| name.strip_suffix(hash)?.strip_suffix('-'));
    let (name, kind) = match deployment {
        Some(deployment) => (deployment, "Deployment"),
        None => (name, kind),
    };
    Workload {
        name: name.to_owned(),
        kind: kind.to_owned(),
        api_version: text(owner, "/apiVersion").to_owned(),
    }
}

/// The canonical service's name (labels first, then the workload), as Istio derives it.
pub fn canonical_name(pod: &Value, workload: &Workload) -> String {
    let labels = [
        "service.istio.io/canonical-name",
        "app.kubernetes.io/name",
        "app",
    ];
    labels
        .iter()
        .find_map(|name| label(pod, name))
        .unwrap_or(&workload.name)
        .to_owned()
}

/// The canonical service's revision, `latest` when nothing names one.
pub fn canonical_revision(pod: &Value) -> String {
    let labels = [
        "service.istio.io/canonical-revision",
        "app.kubernetes.io/version",
        "version",
    ];
    labels
        .iter()
        .find_map(|name| label(pod, name))
        .unwrap_or("latest")
        .to_owned()
}
