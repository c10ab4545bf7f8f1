//! ListenerSets: listeners that others than its owner add to a Gateway, if it allows that.

use hawser_api::{Object, gateway_api as api};

use super::Context;
use super::classes::Class;
use super::listeners::{Written, selects};

/// A ListenerSet as it was written.
pub(super) type Set = Object<api::ListenerSetSpec, api::ListenerSetStatus>;

/// A ListenerSet that names a Gateway of ours.
pub(super) struct Attached<'a> {
    pub written: &'a Set,
    /// Why it has no effect.
    pub refused: Option<String>,
}

/// The ListenerSets that name a Gateway, oldest first.
pub(super) fn of<'a>(context: &Context<'a>, gateway: &Written, class: Class) -> Vec<Attached<'a>> {
    super::sorted(&context.view.objects.listener_sets, context.view)
        .into_iter()
        .filter(|set| names(set, gateway))
        .map(|written| Attached {
            written,
            refused: if class != Class::Istio {
                let class = &gateway.spec.gateway_class_name;
                Some(format!("Gateways of class {class} take no ListenerSets"))
            } else if allows(context, gateway, &written.meta.namespace) {
                None
            } else {
                Some("the Gateway's allowedListeners does not let this namespace in".to_owned())
            },
        })
        .collect()
}

fn names(set: &Set, gateway: &Written) -> bool {
    let parent = &set.spec.parent_ref;
    let group = parent
        .group
        .as_deref()
        .unwrap_or("gateway.networking.k8s.io");
    let kind = parent.kind.as_deref().unwrap_or("Gateway");
    let namespace = parent.namespace.as_deref().unwrap_or(&set.meta.namespace);
    (group, kind) == ("gateway.networking.k8s.io", "Gateway")
        && (namespace, parent.name.as_str()) == (&gateway.meta.namespace, &gateway.meta.name)
}

/// Whether a Gateway takes ListenerSets of a namespace; unless it says so, none.
fn allows(context: &Context<'_>, gateway: &Written, namespace: &str) -> bool {
    let allowed = gateway.spec.allowed_listeners.as_ref();
    let Some(allowed) = allowed.and_then(|a| a.namespaces.as_ref()) else {
        return false;
    };
    match allowed.from.as_deref() {
        Some("All") => true,
        Some("Same") => namespace == gateway.meta.namespace,
        None | Some("Selector") => {
            let found = context.view.objects.namespaces.get("", namespace);
            allowed
                .selector
                .as_ref()
                .zip(found)
                .is_some_and(|(selector, ns)| selects(selector, &ns.meta))
        }
        Some(_) => false,
    }
}

/// An entry as the listener that it is; ports of HTTP and HTTPS need not be written.
pub(super) fn listener(entry: &api::ListenerEntry) -> api::Listener {
    let by_protocol = match entry.protocol.as_str() {
        "HTTP" => 80,
        "HTTPS" => 443,
        _ => 0,
    };
    api::Listener {
        name: entry.name.clone(),
        hostname: entry.hostname.clone(),
        port: entry.port.filter(|p| *p != 0).unwrap_or(by_protocol),
        protocol: entry.protocol.clone(),
        tls: entry.tls.clone(),
        allowed_routes: entry.allowed_routes.clone(),
    }
}
