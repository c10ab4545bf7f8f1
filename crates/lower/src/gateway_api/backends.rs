//! Backends of routes, and who may refer to what in another namespace.

use hawser_api::{Kind, gateway_api as api};
use hawser_model::ServiceKey;
use hawser_model::route::Destination;

use super::Context;
use crate::names::{port, service_host};

/// Why a part of a route cannot be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// `Accepted` or `ResolvedRefs`.
    pub condition: &'static str,
    pub reason: &'static str,
    pub message: String,
}

/// Finds the services behind backend references.
pub(super) struct Backends<'a> {
    pub context: &'a Context<'a>,
}

/// A reference to a backend, of whichever kind of rule.
pub(super) struct Reference<'a> {
    pub group: Option<&'a str>,
    pub kind: Option<&'a str>,
    pub namespace: Option<&'a str>,
    pub name: &'a str,
    pub port: Option<i32>,
}

impl<'a> From<&'a api::BackendRef> for Reference<'a> {
    fn from(r: &'a api::BackendRef) -> Self {
        Self {
            group: r.group.as_deref(),
            kind: r.kind.as_deref(),
            namespace: r.namespace.as_deref(),
            name: &r.name,
            port: r.port,
        }
    }
}

impl<'a> From<&'a api::HttpBackendRef> for Reference<'a> {
    fn from(r: &'a api::HttpBackendRef) -> Self {
        Self {
            group: r.group.as_deref(),
            kind: r.kind.as_deref(),
            namespace: r.namespace.as_deref(),
            name: &r.name,
            port: r.port,
        }
    }
}

impl Backends<'_> {
    /// The destination of a reference. Where there is none, `Err` tells why and, for a service that does not exist (yet),
    /// still names where requests go: they fail until it does.
    pub(super) fn destination(
        &self,
        route: (Kind, &str),
        reference: &Reference<'_>,
    ) -> Result<Destination, (Fault, Option<Destination>)> {
        let (kind, own) = route;
        let fault = |reason, message| Fault {
            condition: "ResolvedRefs",
            reason,
            message,
        };
        let namespace = reference.namespace.unwrap_or(own);
        let world = self.context.world;
        let host = match (
            reference.group.unwrap_or_default(),
            reference.kind.unwrap_or("Service"),
        ) {
            ("" | "core", "Service") => {
                service_host(reference.name, namespace, &world.mesh.dns_domain)
            }
            ("networking.istio.io", "Hostname") => {
                hawser_model::Hostname::parse(reference.name).ok()
            }
            (group, other) => {
                return Err((
                    fault(
                        "InvalidKind",
                        format!("a {other} of group {group:?} cannot be a backend; use a Service"),
                    ),
                    None,
                ));
            }
        };
        let granted = granted(
            self.context,
            ("gateway.networking.k8s.io", kind.info().name, own),
            ("", "Service", namespace, reference.name),
        );
        if !granted {
            return Err((
                fault(
                    "RefNotPermitted",
                    format!(
                        "no ReferenceGrant of namespace {namespace} lets a {} of {own} use the Service {}",
                        kind.info().name,
                        reference.name
                    ),
                ),
                None,
            ));
        }
        let Some(host) = host else {
            return Err((
                fault(
                    "BackendNotFound",
                    format!("{:?} is not a name", reference.name),
                ),
                None,
            ));
        };
        let destination = Destination {
            host: host.clone(),
            subset: Default::default(),
            port: reference.port.and_then(port),
        };
        let key = ServiceKey {
            host,
            namespace: namespace.into(),
        };
        let by_host = || {
            self.context
                .catalogue
                .keys()
                .any(|k| k.host == destination.host)
        };
        let external = reference.kind == Some("Hostname");
        if !(self.context.catalogue.contains_key(&key) || (external && by_host())) {
            return Err((
                fault(
                    "BackendNotFound",
                    format!("there is no Service {namespace}/{}", reference.name),
                ),
                Some(destination),
            ));
        }
        if destination.port.is_none() {
            return Err((
                fault(
                    "UnsupportedValue",
                    format!("the reference to {} needs a port", reference.name),
                ),
                None,
            ));
        }
        Ok(destination)
    }
}

/// Whether an object may refer to one of another namespace: (group, kind, namespace) to (group, kind, namespace, name).
pub(super) fn granted(
    context: &Context<'_>,
    from: (&str, &str, &str),
    to: (&str, &str, &str, &str),
) -> bool {
    if from.2 == to.2 {
        return true;
    }
    context.view.objects.reference_grants.of(to.2).any(|grant| {
        grant
            .spec
            .from
            .iter()
            .any(|f| (f.group.as_str(), f.kind.as_str(), f.namespace.as_str()) == from)
            && grant.spec.to.iter().any(|t| {
                (t.group.as_str(), t.kind.as_str()) == (to.0, to.1)
                    && t.name.as_deref().is_none_or(|n| n == to.3)
            })
    })
}
