//! To which listeners, or services, a route attaches.

use hawser_api::{Kind, gateway_api as api};
use hawser_model::{Hostname, ServiceKey};

use super::listeners::Listener;
use super::{Context, Route};
use crate::names::service_host;

/// What became of one parent reference.
pub(super) struct Parent {
    pub reference: api::ParentReference,
    pub target: Target,
}

/// To what a parent reference leads.
pub(super) enum Target {
    /// Listeners, by their place in the list, each with the hosts that the route has there.
    Listeners(Vec<(usize, Vec<Hostname>)>),
    /// A service of the mesh, and the port alone for which the route is.
    Service(ServiceKey, Option<u16>),
    /// Nothing: reason and message.
    Refused(&'static str, String),
    /// Something of another controller: not ours to say anything about.
    NotOurs,
}

/// Follows all parent references of a route and counts it with the listeners.
pub(super) fn parents<'a>(
    context: &Context<'a>,
    route: &Route<'a>,
    listeners: &mut [Listener<'a>],
) -> Vec<Parent> {
    route
        .parents
        .iter()
        .map(|reference| {
            let target = target(context, route, reference, listeners);
            if let Target::Listeners(found) = &target {
                for (index, _) in found {
                    if let Some(listener) = listeners.get_mut(*index) {
                        listener.attached += 1;
                    }
                }
            }
            Parent {
                reference: reference.clone(),
                target,
            }
        })
        .collect()
}

fn target(
    context: &Context<'_>,
    route: &Route<'_>,
    reference: &api::ParentReference,
    listeners: &[Listener<'_>],
) -> Target {
    let kind = reference.kind.as_deref().unwrap_or("Gateway");
    let group = reference
        .group
        .as_deref()
        .unwrap_or("gateway.networking.k8s.io");
    let namespace = reference
        .namespace
        .as_deref()
        .unwrap_or(&route.meta.namespace);
    match (group, kind) {
        ("gateway.networking.k8s.io", "Gateway") => {
            of_gateway(route, reference, namespace, listeners)
        }
        ("" | "core", "Service") => of_service(context, reference, namespace),
        _ => Target::NotOurs,
    }
}

fn of_service(context: &Context<'_>, reference: &api::ParentReference, namespace: &str) -> Target {
    let domain = &context.world.mesh.dns_domain;
    let key = service_host(&reference.name, namespace, domain).map(|host| ServiceKey {
        host,
        namespace: namespace.into(),
    });
    match key.filter(|k| context.catalogue.contains_key(k)) {
        Some(key) => Target::Service(key, reference.port.and_then(crate::names::port)),
        None => Target::Refused(
            "NoMatchingParent",
            format!("there is no Service {namespace}/{}", reference.name),
        ),
    }
}

fn of_gateway(
    route: &Route<'_>,
    reference: &api::ParentReference,
    namespace: &str,
    listeners: &[Listener<'_>],
) -> Target {
    let of_gateway = |l: &&(usize, &Listener<'_>)| {
        l.1.gateway.meta.name == reference.name && l.1.gateway.meta.namespace == namespace
    };
    let all: Vec<(usize, &Listener<'_>)> = listeners.iter().enumerate().collect();
    let own: Vec<_> = all.iter().filter(of_gateway).collect();
    if own.is_empty() {
        return Target::NotOurs;
    }
    let named: Vec<_> = own
        .into_iter()
        .filter(|(_, l)| {
            reference
                .section_name
                .as_ref()
                .is_none_or(|s| *s == l.spec.name)
                && reference.port.is_none_or(|p| p == l.spec.port)
        })
        .collect();
    if named.is_empty() {
        return Target::Refused(
            "NoMatchingParent",
            "the Gateway has no listener of that sectionName and port".to_owned(),
        );
    }
    let allowed: Vec<_> = named
        .into_iter()
        .filter(|(_, l)| {
            l.namespaces
                .as_ref()
                .is_none_or(|n| n.contains(&route.meta.namespace))
                && takes(l.spec, route.kind)
        })
        .collect();
    if allowed.is_empty() {
        return Target::Refused(
            "NotAllowedByListeners",
            format!(
                "no listener takes a {} of namespace {}; see its allowedRoutes",
                route.kind.info().name,
                route.meta.namespace
            ),
        );
    }
    let hosts: Vec<Hostname> = if route.hostnames.is_empty() {
        vec![Hostname::any()]
    } else {
        route
            .hostnames
            .iter()
            .filter_map(|h| Hostname::parse(h).ok())
            .collect()
    };
    let found: Vec<(usize, Vec<Hostname>)> = allowed
        .into_iter()
        .map(|(i, l)| (*i, hosts.iter().filter_map(|h| l.common(h)).collect()))
        .filter(|(_, hosts): &(usize, Vec<Hostname>)| !hosts.is_empty())
        .collect();
    if found.is_empty() {
        return Target::Refused(
            "NoMatchingListenerHostname",
            "no hostname of the route is one of a listener".to_owned(),
        );
    }
    Target::Listeners(found)
}

/// Whether a listener takes routes of a kind: by its `allowedRoutes.kinds`, else by its protocol.
fn takes(listener: &api::Listener, kind: Kind) -> bool {
    let passthrough = listener
        .tls
        .as_ref()
        .is_some_and(|t| t.mode.as_deref() == Some("Passthrough"));
    let by_protocol = match listener.protocol.as_str() {
        "HTTP" | "HTTPS" => matches!(kind, Kind::HttpRoute | Kind::GrpcRoute),
        "TLS" if passthrough => kind == Kind::TlsRoute,
        "TLS" => matches!(kind, Kind::TlsRoute | Kind::TcpRoute),
        "TCP" => kind == Kind::TcpRoute,
        _ => false,
    };
    let kinds = listener
        .allowed_routes
        .as_ref()
        .map(|a| a.kinds.as_slice())
        .unwrap_or_default();
    by_protocol && (kinds.is_empty() || kinds.iter().any(|k| k.kind == kind.info().name))
}
