//! To which listeners, or services, a route attaches.

use std::collections::BTreeSet;

use hawser_api::gateway_api as api;
use hawser_model::service::Registry;
use hawser_model::{Hostname, ServiceKey};

use super::listeners::{Listener, OwnerKind, supported_kinds};
use super::{Context, Route};
use crate::names::{port, service_host};

/// What became of one parent reference.
pub(super) struct Parent {
    pub reference: api::ParentReference,
    pub target: Target,
}

/// To what a parent reference leads.
pub(super) enum Target {
    /// Listeners.
    Listeners(Vec<Attached>),
    /// A service of the mesh.
    Mesh(Mesh),
    /// Nothing.
    Refused(Refusal),
    /// Something of another controller: not ours to say anything about.
    NotOurs,
}

impl Target {
    /// True for a reference to a service of the mesh, also to one that is not there.
    pub(super) fn is_mesh(&self, reference: &api::ParentReference) -> bool {
        match self {
            Self::Mesh(_) => true,
            Self::Listeners(_) | Self::NotOurs => false,
            Self::Refused(_) => {
                matches!(reference.kind.as_deref(), Some("Service" | "ServiceEntry"))
            }
        }
    }
}

/// A listener that a route attached to.
pub(super) struct Attached {
    /// Its place in the list.
    pub listener: usize,
    /// The route's hosts.
    pub hosts: Vec<Hostname>,
    /// Those of them that no other listener of the port answers more specifically.
    pub isolated: Vec<Hostname>,
}

/// A Service or ServiceEntry that a route is for.
pub(super) struct Mesh {
    pub namespace: String,
    pub hosts: Vec<Hostname>,
    /// The port alone for which the route is.
    pub port: Option<u16>,
}

/// Why a reference leads nowhere; the first kind that several listeners give is told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Refusal {
    NotAllowed(String),
    NoHostname(String),
    NoParent(String),
}

impl Refusal {
    /// Reason and message for the condition `Accepted`.
    pub(super) fn told(&self) -> (&'static str, &str) {
        match self {
            Self::NotAllowed(message) => ("NotAllowedByListeners", message),
            Self::NoHostname(message) => ("NoMatchingListenerHostname", message),
            Self::NoParent(message) => ("NoMatchingParent", message),
        }
    }
}

/// Follows all parent references of a route and counts it with the listeners.
pub(super) fn parents<'a>(
    context: &Context<'a>,
    route: &Route<'a>,
    listeners: &mut [Listener<'a>],
) -> Vec<Parent> {
    let parents: Vec<Parent> = route
        .parents
        .iter()
        .map(|reference| Parent {
            reference: reference.clone(),
            target: target(context, route, reference, listeners),
        })
        .collect();
    // A route counts once with a listener, by however many references it comes.
    let attached: BTreeSet<usize> = parents
        .iter()
        .filter_map(|p| match &p.target {
            Target::Listeners(found) => Some(found.iter().map(|a| a.listener)),
            _ => None,
        })
        .flatten()
        .collect();
    for index in attached {
        if let Some(listener) = listeners.get_mut(index) {
            listener.attached += 1;
        }
    }
    parents
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
    let of = |kind| of_listeners(route, reference, (kind, namespace), listeners);
    match (group, kind) {
        ("gateway.networking.k8s.io", "Gateway") => of(OwnerKind::Gateway),
        ("gateway.networking.k8s.io", "ListenerSet") => of(OwnerKind::ListenerSet),
        ("" | "core", "Service") => of_service(context, reference, namespace),
        ("networking.istio.io", "ServiceEntry") => of_entry(context, reference, namespace),
        _ => Target::NotOurs,
    }
}

fn of_service(context: &Context<'_>, reference: &api::ParentReference, namespace: &str) -> Target {
    let domain = &context.world.mesh.dns_domain;
    let key = service_host(&reference.name, namespace, domain).map(|host| ServiceKey {
        host,
        namespace: namespace.into(),
    });
    let known = |key: &ServiceKey| {
        let found = context.catalogue.get(key);
        found.is_some_and(|d| d.service.registry == Registry::Kubernetes)
    };
    match key.filter(known) {
        Some(key) => mesh(reference, namespace, vec![key.host]),
        None => missing("Service", namespace, &reference.name),
    }
}

fn of_entry(context: &Context<'_>, reference: &api::ParentReference, namespace: &str) -> Target {
    let entries = &context.view.objects.service_entries;
    match entries.get(namespace, &reference.name) {
        Some(entry) => {
            let hosts = entry.spec.hosts.iter();
            let hosts = hosts.filter_map(|h| Hostname::parse(h).ok()).collect();
            mesh(reference, namespace, hosts)
        }
        None => missing("ServiceEntry", namespace, &reference.name),
    }
}

fn mesh(reference: &api::ParentReference, namespace: &str, hosts: Vec<Hostname>) -> Target {
    Target::Mesh(Mesh {
        namespace: namespace.to_owned(),
        hosts,
        port: reference.port.and_then(port),
    })
}

fn missing(kind: &str, namespace: &str, name: &str) -> Target {
    let message = format!("there is no {kind} {namespace}/{name}");
    Target::Refused(Refusal::NoParent(message))
}

fn of_listeners(
    route: &Route<'_>,
    reference: &api::ParentReference,
    (kind, namespace): (OwnerKind, &str),
    listeners: &[Listener<'_>],
) -> Target {
    let own: Vec<(usize, &Listener<'_>)> = listeners
        .iter()
        .enumerate()
        .filter(|(_, l)| {
            let meta = l.owner.meta;
            let of = (l.owner.kind, meta.name.as_str(), meta.namespace.as_str());
            l.server_wanted() && of == (kind, reference.name.as_str(), namespace)
        })
        .collect();
    if own.is_empty() {
        return Target::NotOurs;
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
    let mut found = Vec::new();
    let mut refusals = Vec::new();
    for (index, listener) in &own {
        match refused(route, reference, listener, &hosts) {
            Some(refusal) => refusals.push(refusal),
            None => found.push(Attached {
                listener: *index,
                isolated: isolated(listener, &own, &hosts),
                hosts: hosts.clone(),
            }),
        }
    }
    match refusals.into_iter().min() {
        Some(refusal) if found.is_empty() => Target::Refused(refusal),
        _ => Target::Listeners(found),
    }
}

/// Why a listener does not take a route (Istio's `referenceAllowed`, and its order).
fn refused(
    route: &Route<'_>,
    reference: &api::ParentReference,
    listener: &Listener<'_>,
    hosts: &[Hostname],
) -> Option<Refusal> {
    let spec = &listener.spec;
    if let Some(port) = reference.port.filter(|p| *p != spec.port) {
        let message = format!("no listener has port {port}");
        return Some(Refusal::NoParent(message));
    }
    if let Some(name) = reference.section_name.as_ref().filter(|s| **s != spec.name) {
        let message = format!("no listener has the name {name}");
        return Some(Refusal::NoParent(message));
    }
    if !hosts.iter().any(|h| listener.common(h).is_some()) {
        let message = format!("no hostname of the route is one of listener {}", spec.name);
        return Some(Refusal::NoHostname(message));
    }
    let namespace = &route.meta.namespace;
    if !listener
        .namespaces
        .as_ref()
        .is_none_or(|n| n.contains(namespace))
    {
        let message = format!("listener {} takes no routes of {namespace}", spec.name);
        return Some(Refusal::NotAllowed(message));
    }
    let kind = route.kind.info().name;
    if !supported_kinds(spec).0.contains(&kind) {
        let message = format!("listener {} takes no {kind}", spec.name);
        return Some(Refusal::NotAllowed(message));
    }
    None
}

/// Hosts that are this listener's own: a wildcard leaves to others of its port and protocol what they name more closely
/// (Gateway API, "listener isolation"; Istio's `hostnameAllowedByIsolation`).
fn isolated(
    listener: &Listener<'_>,
    siblings: &[(usize, &Listener<'_>)],
    hosts: &[Hostname],
) -> Vec<Hostname> {
    if listener.host.as_ref().is_some_and(|h| !h.is_wildcard()) {
        return hosts.to_vec();
    }
    let length = |h: &Option<Hostname>| h.as_ref().map_or(0, |h| h.as_str().len());
    let closer: BTreeSet<&Hostname> = siblings
        .iter()
        .filter(|(_, l)| {
            l.spec.port == listener.spec.port
                && l.spec.protocol == listener.spec.protocol
                && l.host != listener.host
                && length(&l.host) >= length(&listener.host)
        })
        .filter_map(|(_, l)| l.host.as_ref())
        .collect();
    hosts
        .iter()
        .filter(|h| listener.host.as_ref().is_none_or(|own| h.overlaps(own)))
        .filter(|h| !closer.iter().any(|other| h.is_subset_of(other)))
        .cloned()
        .collect()
}
