//! TLSRoutes and TCPRoutes.

use std::collections::BTreeSet;

use hawser_api::{Kind, gateway_api as api};
use hawser_model::matching::HeaderOps;
use hawser_model::route::{
    GatewayRef, L4Match, RouteSemantics, TcpRoute, TlsRoute, VirtualService, Weighted,
};
use hawser_model::{Hostname, Meta, Str, Visibility};

use super::Route;
use super::attach::{Parent, Target};
use super::backends::{Backends, Fault, Reference};
use super::http::gateway_ref;
use super::listeners::Listener;
use crate::names;

/// A VirtualService for each place where a route attached. Shares without backend fail alone; without any, the route is
/// none and connections are closed.
pub(super) fn virtual_services(
    route: &Route<'_>,
    rules: &[api::L4RouteRule],
    backends: &Backends<'_>,
    parents: &[Parent],
    listeners: &[Listener<'_>],
    faults: &mut Vec<Fault>,
) -> Vec<VirtualService> {
    let mut to = Vec::new();
    for reference in rules.iter().flat_map(|r| &r.backend_refs) {
        let weight = u32::try_from(reference.weight.unwrap_or(1)).unwrap_or(0);
        match backends.destination(
            (route.kind, &route.meta.namespace),
            &Reference::from(reference),
        ) {
            Ok(destination) if weight > 0 => to.push(Weighted {
                destination,
                weight,
                request_headers: HeaderOps::default(),
                response_headers: HeaderOps::default(),
            }),
            Ok(_) => {}
            Err((fault, _)) => faults.push(fault),
        }
    }
    if to.is_empty() {
        return Vec::new();
    }
    let mut out = Vec::new();
    for (i, parent) in parents.iter().enumerate() {
        match &parent.target {
            Target::Listeners(found) => {
                for (index, hosts) in found {
                    let Some(listener) = listeners.get(*index).filter(|l| l.works()) else {
                        continue;
                    };
                    let namespace = listener.gateway.meta.namespace.as_str().into();
                    let at = gateway_ref(listener);
                    let name = format!("{}.{}~{i}~{index}", route.meta.namespace, route.meta.name);
                    let hosts = hosts.clone();
                    out.push(one(route, name, namespace, at, hosts, None, to.clone()));
                }
            }
            Target::Service(key, port) => {
                let name = format!("{}.{}~{i}", route.meta.namespace, route.meta.name);
                let namespace = route.meta.namespace.as_str().into();
                let hosts = vec![key.host.clone()];
                out.push(one(
                    route,
                    name,
                    namespace,
                    GatewayRef::Mesh,
                    hosts,
                    *port,
                    to.clone(),
                ));
            }
            Target::Refused(..) | Target::NotOurs => {}
        }
    }
    out
}

fn one(
    route: &Route<'_>,
    name: String,
    namespace: Str,
    gateway: GatewayRef,
    hosts: Vec<Hostname>,
    port: Option<u16>,
    to: Vec<Weighted>,
) -> VirtualService {
    let mut out = VirtualService {
        meta: Meta {
            name: name.into(),
            namespace,
            ..names::meta(route.meta)
        },
        hosts: hosts.clone(),
        gateways: BTreeSet::from([gateway]),
        visibility: Visibility::Public,
        http: Vec::new(),
        tls: Vec::new(),
        tcp: Vec::new(),
        semantics: RouteSemantics::GatewayApi,
    };
    let m = L4Match {
        port,
        ..L4Match::default()
    };
    if route.kind == Kind::TlsRoute {
        out.tls.push(TlsRoute {
            matches: vec![L4Match { sni: hosts, ..m }],
            route: to,
        });
    } else {
        let matches = if port.is_some() { vec![m] } else { Vec::new() };
        out.tcp.push(TcpRoute { matches, route: to });
    }
    out
}
