//! A pod and the settings become a JSON patch (RFC 6902).

use serde_json::{Map, Value, json};

use crate::annotations::Annotations;
use crate::container::{self, Template};
use crate::decide::{Decision, decide};
use crate::names::{self, PROXY, STATUS, text};
use crate::overlay::{merge_by, overlay};
use crate::settings::Settings;
use crate::volumes::volumes;

/// The port and path at which the agent serves the merged metrics.
const METRICS: [(&str, &str); 3] = [
    ("prometheus.io/scrape", "true"),
    ("prometheus.io/port", "15020"),
    ("prometheus.io/path", "/stats/prometheus"),
];

/// What injection does to a pod.
#[derive(Debug, Clone, PartialEq)]
pub struct Injection {
    /// Whether the pod is injected, or why not.
    pub decision: Decision,
    /// The operations of a JSON patch; empty when nothing changes.
    pub patch: Vec<Value>,
    /// What the user wrote that has no effect.
    pub warnings: Vec<String>,
}

/// Decides for a pod and says how it changes. `namespace` is the Namespace object, as for [`decide`].
pub fn inject(pod: &Value, namespace: Option<&Value>, settings: &Settings) -> Injection {
    let decision = decide(pod, namespace, settings);
    if decision != Decision::Inject {
        return Injection {
            decision,
            patch: Vec::new(),
            warnings: Vec::new(),
        };
    }
    let (after, warnings) = change(pod, namespace, settings);
    Injection {
        decision,
        patch: difference(pod, &after),
        warnings,
    }
}

/// The pod as it is after injection, and what has no effect; `None` when it is not to be injected.
pub(crate) fn injected_pod(pod: &Value, settings: &Settings) -> Option<(Value, Vec<String>)> {
    (decide(pod, None, settings) == Decision::Inject).then(|| change(pod, None, settings))
}

fn change(pod: &Value, namespace: Option<&Value>, settings: &Settings) -> (Value, Vec<String>) {
    let annotations = Annotations::of(pod);
    let template = match annotations.get("inject.istio.io/templates") {
        Some("gateway") => Template::Gateway,
        _ => Template::Sidecar,
    };
    let namespace_name = namespace.map(|namespace| text(namespace, "/metadata/name"));
    let namespace_name = namespace_name.unwrap_or_else(|| text(pod, "/metadata/namespace"));
    let mut after = pod.clone();
    add_containers(
        &mut after,
        pod,
        namespace_name,
        template,
        &annotations,
        settings,
    );
    // A volume of the same name that the pod brings is the user's choice, so it is laid over ours.
    let mut merged = volumes(&annotations);
    let present = list(&mut after, "volumes");
    merge_by(&mut merged, &std::mem::take(present), "name");
    *present = merged;
    mark(&mut after, pod, &annotations, settings);
    (after, annotations.warnings)
}

fn add_containers(
    after: &mut Value,
    pod: &Value,
    namespace: &str,
    template: Template,
    annotations: &Annotations,
    settings: &Settings,
) {
    let mut proxy = container::proxy(pod, namespace, template, annotations, settings);
    let captured = annotations.get("sidecar.istio.io/interceptionMode") != Some("NONE");
    if template == Template::Sidecar && captured {
        list(after, "initContainers").push(container::init(annotations, settings));
    }
    let present = list(after, "containers");
    let own = present
        .iter()
        .position(|container| text(container, "/name") == PROXY);
    if let Some(index) = own {
        // What the user wrote for the proxy's container counts, but for the placeholder `image: auto`.
        let mut wish = present.remove(index);
        if text(&wish, "/image") == "auto"
            && let Some(fields) = wish.as_object_mut()
        {
            fields.remove("image");
        }
        overlay(&mut proxy, &wish);
    }
    if annotations.is_true("sidecar.istio.io/nativeSidecar") && template == Template::Sidecar {
        proxy["restartPolicy"] = json!("Always");
        list(after, "initContainers").push(proxy);
    } else {
        let present = list(after, "containers");
        present.insert(own.unwrap_or(present.len()).min(present.len()), proxy);
    }
}

/// Labels and annotations by which the mesh, kubectl and Prometheus know the pod.
fn mark(after: &mut Value, pod: &Value, annotations: &Annotations, settings: &Settings) {
    let workload = names::workload(pod);
    let labels = object(after, "labels");
    for (name, value) in [
        ("security.istio.io/tlsMode", "istio".to_owned()),
        (
            "service.istio.io/canonical-name",
            names::canonical_name(pod, &workload),
        ),
        (
            "service.istio.io/canonical-revision",
            names::canonical_revision(pod),
        ),
    ] {
        labels.entry(name).or_insert(Value::String(value));
    }
    let status = status(after, settings);
    let first = names::containers(pod)
        .iter()
        .map(|container| text(container, "/name"))
        .find(|name| *name != PROXY);
    let marks = object(after, "annotations");
    marks.insert(STATUS.to_owned(), Value::String(status));
    marks
        .entry("istio.io/rev")
        .or_insert_with(|| json!(settings.revision));
    if let Some(first) = first {
        for name in [
            "kubectl.kubernetes.io/default-container",
            "kubectl.kubernetes.io/default-logs-container",
        ] {
            marks.entry(name).or_insert_with(|| json!(first));
        }
    }
    let scrape_refused = names::annotation(pod, "prometheus.io/scrape") == Some("false");
    if annotations.merges_metrics(settings) && !scrape_refused {
        for (name, value) in METRICS {
            marks.insert(name.to_owned(), json!(value));
        }
    }
}

/// The value of `sidecar.istio.io/status`: what was added.
fn status(after: &Value, settings: &Settings) -> String {
    let added = |field: &str, ours: &[&str]| {
        let items = after
            .pointer(&format!("/spec/{field}"))
            .and_then(Value::as_array);
        let names = items.into_iter().flatten().map(|item| text(item, "/name"));
        names
            .filter(|name| ours.contains(name))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let volumes = [
        "workload-socket",
        "istio-envoy",
        "istio-data",
        "istio-podinfo",
        "istio-token",
        "istiod-ca-cert",
    ];
    json!({
        "initContainers": added("initContainers", &["istio-init", PROXY]),
        "containers": added("containers", &[PROXY]),
        "volumes": added("volumes", &volumes),
        "imagePullSecrets": null,
        "revision": settings.revision,
    })
    .to_string()
}

/// One `add` (which also replaces) per part that changed; RFC 6902 wants parents to exist, and `metadata`
/// and `spec` do in every pod.
fn difference(before: &Value, after: &Value) -> Vec<Value> {
    let parts = [
        "/metadata/labels",
        "/metadata/annotations",
        "/spec/initContainers",
        "/spec/containers",
        "/spec/volumes",
    ];
    let mut operations = Vec::new();
    for parent in ["/metadata", "/spec"] {
        if before.pointer(parent).is_none() {
            operations.push(json!({"op": "add", "path": parent, "value": {}}));
        }
    }
    for path in parts {
        let now = after.pointer(path);
        if let Some(value) = now.filter(|now| before.pointer(path) != Some(*now)) {
            operations.push(json!({"op": "add", "path": path, "value": value}));
        }
    }
    operations
}

/// A list of the pod's spec, made if it is absent (or not a list, which the API server never sends).
fn list<'a>(pod: &'a mut Value, name: &str) -> &'a mut Vec<Value> {
    let field = child(child(pod, "spec"), name);
    if !field.is_array() {
        *field = Value::Array(Vec::new());
    }
    match field {
        Value::Array(items) => items,
        _ => unreachable!("it was made an array just above"),
    }
}

fn object<'a>(pod: &'a mut Value, name: &str) -> &'a mut Map<String, Value> {
    let field = child(child(pod, "metadata"), name);
    if !field.is_object() {
        *field = Value::Object(Map::new());
    }
    match field {
        Value::Object(fields) => fields,
        _ => unreachable!("it was made an object just above"),
    }
}

fn child<'a>(value: &'a mut Value, name: &str) -> &'a mut Value {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    // Indexing an object by name inserts null where it is absent.
    &mut value[name]
}
