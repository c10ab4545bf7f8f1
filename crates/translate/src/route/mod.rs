//! Routes (RDS).

pub(crate) mod action;
pub(crate) mod gateway;
mod hash;
pub(crate) mod matching;
pub(crate) mod retry;
pub(crate) mod sidecar;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hawser_model::mesh::Mesh;
use hawser_model::route::{Destination, GatewayRef, HttpRoute, RouteSemantics};
use hawser_model::traffic::DestinationRule;
use hawser_model::{ClusterId, Hostname, Labels, Service, Shared, Str};
use hawser_proto::envoy::config::route::v3 as rds;

use crate::cluster::outbound_name;
use crate::resource::Resource;

pub(crate) use gateway::{GatewayRoutes, GatewayServer};
pub(crate) use sidecar::{SidecarRoutes, names};

/// All that a route configuration depends on.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum RouteInput {
    Sidecar(SidecarRoutes),
    Gateway(GatewayRoutes),
}

/// Renders a route configuration.
pub(crate) fn render(input: &RouteInput) -> Arc<Resource> {
    let config = match input {
        RouteInput::Sidecar(s) => sidecar::render(s),
        RouteInput::Gateway(g) => gateway::render(g),
    };
    crate::wire::resource(&config.name.clone(), &config)
}

/// The caller, as far as routes ask who it is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Caller {
    pub namespace: Str,
    pub cluster: ClusterId,
    /// Empty unless some match asks for labels.
    pub labels: Labels,
    pub gateways: BTreeSet<GatewayRef>,
    pub router: bool,
}

/// Services and rules that destinations refer to.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Destinations {
    pub services: BTreeMap<Hostname, Shared<Service>>,
    /// Those with a consistent hash or TLS of their own.
    pub rules: BTreeMap<Hostname, Shared<DestinationRule>>,
}

/// The cluster of a backend that is not one (Istio's name); it never exists.
const UNKNOWN: &str = "UnknownService";

/// What routes are made with.
pub(crate) struct Context<'a> {
    pub caller: &'a Caller,
    pub to: &'a Destinations,
    pub mesh: &'a Mesh,
    /// Port of the listener.
    pub port: u16,
    pub tls: bool,
    /// The listener announces HTTP to sniffed ports.
    pub announces: bool,
    /// Of the VirtualService whose routes are made.
    pub semantics: RouteSemantics,
    /// A destination without a port means the only port that its service has, whichever the caller called.
    pub only_port: bool,
}

impl Context<'_> {
    /// The port of a destination: the one given, the only one that the service has, or the listener's. The HTTP routes of
    /// sidecars know services by the port called alone (Istio's `GetDestinationCluster`).
    pub(crate) fn port_of(&self, destination: &Destination) -> u16 {
        let only = || match self.to.services.get(&destination.host)?.ports.as_slice() {
            [only] if self.only_port => Some(only.number),
            _ => None,
        };
        destination.port.or_else(only).unwrap_or(self.port)
    }

    /// The cluster of a destination; an `ExternalName` leads to what it stands for.
    pub(crate) fn cluster(&self, destination: &Destination) -> String {
        if destination.is_unknown() {
            return UNKNOWN.to_owned();
        }
        let port = self.port_of(destination);
        let host = self
            .to
            .services
            .get(&destination.host)
            .and_then(|s| s.external_name.as_ref())
            .unwrap_or(&destination.host);
        outbound_name(port, &destination.subset, host.as_str())
    }
}

/// The routes of HTTP rules for a caller, in order; stops at the first that takes everything.
pub(crate) fn http_routes(rules: &[Shared<HttpRoute>], cx: &Context<'_>) -> Vec<rds::Route> {
    let mut out = Vec::new();
    for rule in rules {
        if rule.matches.is_empty() {
            out.push(action::route(rule, None, cx));
            break;
        }
        let mut all = false;
        for m in &rule.matches {
            if !matching::applies(m, cx) {
                continue;
            }
            let route = action::route(rule, Some(m), cx);
            all = matching::takes_everything(&route);
            out.push(route);
            if all {
                break;
            }
        }
        if all {
            break;
        }
    }
    out
}
