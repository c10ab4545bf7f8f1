//! Whether a pod gets a sidecar, by the rules of Istio's injector and its webhooks' selectors.

use serde_json::Value;

use crate::names::{self, text};
use crate::settings::Settings;

const INJECT: &str = "sidecar.istio.io/inject";
const REVISION: &str = "istio.io/rev";
const NAMESPACE_INJECTION: &str = "istio-injection";
/// Namespaces whose pods are never injected.
const IGNORED_NAMESPACES: [&str; 4] = [
    "kube-system",
    "kube-public",
    "kube-node-lease",
    "local-path-storage",
];

/// Whether a pod is injected, and if not, why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Inject,
    Skip(&'static str),
}

/// Decides for a pod. `namespace` is the Namespace object; without it (in the webhook, whose selectors
/// have already looked at it) the namespace counts as selected.
pub fn decide(pod: &Value, namespace: Option<&Value>, settings: &Settings) -> Decision {
    if pod.pointer("/spec/hostNetwork").and_then(Value::as_bool) == Some(true) {
        return Decision::Skip("the pod uses the network of its node");
    }
    let namespace_name = text(pod, "/metadata/namespace");
    if IGNORED_NAMESPACES.contains(&namespace_name) {
        return Decision::Skip("system namespaces are never injected");
    }
    if names::injected(pod) {
        return Decision::Skip("the pod is injected already");
    }
    let wish = wish(pod);
    if wish == Some(false) {
        return Decision::Skip("the pod asks for no sidecar");
    }
    if let Some(namespace) = namespace
        && let Some(reason) = not_selected(pod, namespace, wish, settings)
    {
        return Decision::Skip(reason);
    }
    if wish.is_none() && !settings.inject_by_default {
        return Decision::Skip(
            "the injection policy is off and the pod does not ask for a sidecar",
        );
    }
    Decision::Inject
}

/// What the pod itself says; its label counts before its annotation, and what is not a yes is a no.
fn wish(pod: &Value) -> Option<bool> {
    let value = names::label(pod, INJECT).or_else(|| names::annotation(pod, INJECT))?;
    match value.to_ascii_lowercase().as_str() {
        "" => None,
        "y" | "yes" | "true" | "on" => Some(true),
        _ => Some(false),
    }
}

fn not_selected(
    pod: &Value,
    namespace: &Value,
    wish: Option<bool>,
    settings: &Settings,
) -> Option<&'static str> {
    let is_default = settings.revision == "default";
    match (
        names::label(namespace, NAMESPACE_INJECTION),
        names::label(namespace, REVISION),
    ) {
        (Some("enabled"), _) if is_default => None,
        (Some("enabled"), _) => Some("the namespace belongs to the default revision"),
        (Some(_), _) => Some("the namespace has injection disabled"),
        (None, Some(revision)) if revision == settings.revision => None,
        (None, Some(_)) => Some("the namespace belongs to another revision"),
        (None, None) => match names::label(pod, REVISION) {
            Some(revision) if revision == settings.revision => None,
            Some(_) => Some("the pod belongs to another revision"),
            None if is_default && wish == Some(true) && names::label(pod, INJECT).is_some() => None,
            None => Some("neither the namespace nor the pod asks for a sidecar"),
        },
    }
}
