//! Backends of routes, and who may refer to what in another namespace.

use hawser_api::{Kind, gateway_api as api};
use hawser_model::route::Destination;
use hawser_model::service::Registry;
use hawser_model::{Hostname, ServiceKey};

use super::Context;
use crate::names::{port, service_host};

/// Why a part of a route cannot be carried out, as its status says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub reason: &'static str,
    pub message: String,
}

impl Fault {
    pub(super) fn new(reason: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { reason, message }
    }
}

/// What a fault of a backend costs.
pub(super) enum Missing {
    /// Its share of the requests, which go to a destination that does not exist (yet).
    Share(Fault, Destination),
    /// The whole route.
    Route(Fault),
}

/// Finds the services behind the backend references of one route, for one kind of parent.
pub(super) struct Backends<'a> {
    pub context: &'a Context<'a>,
    pub kind: Kind,
    /// Namespace of the route.
    pub namespace: &'a str,
    /// For sidecars: ReferenceGrants are not asked for.
    pub mesh: bool,
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
    /// The destination of a reference (Istio's `buildDestination`).
    pub(super) fn destination(&self, reference: &Reference<'_>) -> Result<Destination, Missing> {
        let own = self.namespace;
        let namespace = reference.namespace.unwrap_or(own);
        let group = match reference.group.unwrap_or_default() {
            "core" => "",
            group => group,
        };
        let kind = reference.kind.unwrap_or("Service");
        let from = ("gateway.networking.k8s.io", self.kind.info().name, own);
        let to = (group, kind, namespace, reference.name);
        if !self.mesh && !granted(self.context, from, to) {
            let message = format!(
                "no ReferenceGrant of namespace {namespace} lets a {} of {own} use the {kind} {}",
                self.kind.info().name,
                reference.name
            );
            let fault = Fault::new("RefNotPermitted", message);
            return Err(Missing::Share(fault, Destination::unknown()));
        }
        let (host, known) = match (group, kind) {
            ("", "Service") | ("multicluster.x-k8s.io", "ServiceImport") => {
                self.service(reference.name, namespace)?
            }
            ("networking.istio.io", "Hostname") => self.hostname(reference)?,
            _ => {
                let message =
                    format!("a {kind} of group {group:?} cannot be a backend; use a Service");
                let fault = Fault::new("InvalidKind", message);
                return Err(Missing::Share(fault, Destination::unknown()));
            }
        };
        let Some(port) = reference.port.and_then(port) else {
            let message = format!("the reference to {} needs a port", reference.name);
            return Err(Missing::Route(Fault::new("InvalidDestination", message)));
        };
        let destination = Destination {
            host,
            subset: Default::default(),
            port: Some(port),
        };
        if known {
            return Ok(destination);
        }
        let fault = Fault::new(
            "BackendNotFound",
            format!("there is no service {}", destination.host),
        );
        Err(Missing::Share(fault, destination))
    }

    fn service(&self, name: &str, namespace: &str) -> Result<(Hostname, bool), Missing> {
        let host = (!name.contains('.'))
            .then(|| service_host(name, namespace, &self.context.world.mesh.dns_domain))
            .flatten();
        let Some(host) = host else {
            let message = format!("{name:?} is not the name of a Service");
            return Err(Missing::Route(Fault::new("InvalidDestination", message)));
        };
        let key = ServiceKey {
            host,
            namespace: namespace.into(),
        };
        let known = self
            .context
            .catalogue
            .get(&key)
            .is_some_and(|d| d.service.registry == Registry::Kubernetes);
        Ok((key.host, known))
    }

    fn hostname(&self, reference: &Reference<'_>) -> Result<(Hostname, bool), Missing> {
        let refuse = |message: String| Missing::Route(Fault::new("InvalidDestination", message));
        if reference.namespace.is_some() {
            return Err(refuse(
                "a backend of kind Hostname has no namespace".to_owned(),
            ));
        }
        let host = Hostname::parse(reference.name)
            .map_err(|e| refuse(format!("{:?} is not a host: {e}", reference.name)))?;
        let known = self
            .context
            .catalogue
            .iter()
            .any(|(key, d)| key.host == host && d.service.visibility.allows(self.namespace));
        Ok((host, known))
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
    let core = |group| if group == "core" { "" } else { group };
    context.view.objects.reference_grants.of(to.2).any(|grant| {
        grant
            .spec
            .from
            .iter()
            .any(|f| (f.group.as_str(), f.kind.as_str(), f.namespace.as_str()) == from)
            && grant.spec.to.iter().any(|t| {
                (core(t.group.as_str()), t.kind.as_str()) == (to.0, to.1)
                    && t.name.as_deref().is_none_or(|n| n == to.3)
            })
    })
}
