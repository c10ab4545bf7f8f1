//! TLSRoutes and TCPRoutes.

use std::collections::BTreeSet;

use hawser_api::{Kind, gateway_api as api};
use hawser_model::matching::HeaderOps;
use hawser_model::route::{
    Destination, GatewayRef, L4Match, RouteSemantics, TcpRoute, TlsRoute, VirtualService, Weighted,
};
use hawser_model::{Hostname, Meta, Str, Visibility};

use super::Route;
use super::attach::{Mesh, Parent, Target};
use super::backends::{Backends, Fault, Missing, Reference};
use super::http::{Lowered, weight};
use super::listeners::Listener;
use super::merge::gateway_ref;
use crate::names;

/// Where the connections of a rule go, by weight.
pub(super) type Rule = Vec<Weighted>;

/// All rules of a route.
pub(super) fn rules(rules: &[api::L4RouteRule], backends: &Backends<'_>) -> Lowered<Rule> {
    let mut soft = Vec::new();
    let lowered = rules
        .iter()
        .map(|rule| weighted(&rule.backend_refs, backends, &mut soft))
        .collect();
    Lowered::of(lowered, soft)
}

fn weighted(
    refs: &[api::BackendRef],
    backends: &Backends<'_>,
    soft: &mut Vec<Fault>,
) -> Result<Rule, Fault> {
    let one = |destination, weight| Weighted {
        destination,
        weight,
        request_headers: HeaderOps::default(),
        response_headers: HeaderOps::default(),
    };
    let mut out = Vec::new();
    for reference in refs {
        let weight = weight(reference.weight);
        if weight == 0 {
            continue;
        }
        match backends.destination(&Reference::from(reference)) {
            Ok(destination) => out.push(one(destination, weight)),
            Err(Missing::Share(fault, instead)) => {
                soft.push(fault);
                out.push(one(instead, weight));
            }
            Err(Missing::Route(fault)) => return Err(fault),
        }
    }
    if out.is_empty() {
        // Such connections are to be refused: Istio's name for the cluster that never exists.
        let host = Hostname::parse("internal.cluster.local")
            .map_err(|e| Fault::new("InvalidConfiguration", e.to_string()))?;
        let nowhere = Destination {
            host,
            subset: "zero-weight".into(),
            port: Some(u16::MAX),
        };
        out.push(one(nowhere, 0));
    }
    Ok(out)
}

/// A VirtualService for each place where a route attached.
pub(super) fn virtual_services(
    route: &Route<'_>,
    rules: impl Fn(bool) -> Vec<Rule>,
    parents: &[Parent],
    listeners: &[Listener<'_>],
) -> Vec<VirtualService> {
    let mut out = Vec::new();
    for parent in parents {
        match &parent.target {
            Target::Listeners(found) => {
                let rules = rules(false);
                for attached in found {
                    let Some(listener) = listeners.get(attached.listener).filter(|l| l.works())
                    else {
                        continue;
                    };
                    let namespace: Str = listener.owner.meta.namespace.as_str().into();
                    let name = format!(
                        "{}~{}~{}~{}",
                        route.meta.namespace, route.meta.name, namespace, listener.name
                    );
                    let place = Place {
                        name,
                        namespace,
                        gateway: gateway_ref(listener),
                        only: None,
                    };
                    let tls = route.kind == Kind::TlsRoute;
                    let (hosts, sni) = if tls {
                        let common = attached.hosts.iter();
                        let common = common.filter_map(|h| listener.common(h)).collect();
                        (attached.hosts.clone(), common)
                    } else {
                        (vec![Hostname::any()], Vec::new())
                    };
                    out.push(place.make(route, hosts, sni, None, &rules));
                }
            }
            Target::Mesh(mesh) => out.extend(of_mesh(route, mesh, &rules(true))),
            Target::Refused(_) | Target::NotOurs => {}
        }
    }
    out
}

/// For callers in the mesh: by the route's own names, or by those of its parent.
fn of_mesh(route: &Route<'_>, mesh: &Mesh, rules: &[Rule]) -> Vec<VirtualService> {
    let own: Vec<Hostname> = route
        .hostnames
        .iter()
        .filter_map(|h| Hostname::parse(h).ok())
        .collect();
    let any = own.is_empty() || own == [Hostname::any()];
    let sni = if any { mesh.hosts.clone() } else { own };
    let foreign = mesh.namespace != route.meta.namespace;
    let hosts = mesh.hosts.iter();
    hosts
        .map(|host| {
            let sni = if sni.len() > 1 {
                sni.iter().filter(|s| s.overlaps(host)).cloned().collect()
            } else {
                sni.clone()
            };
            let namespace: Str = route.meta.namespace.as_str().into();
            let place = Place {
                name: format!("{}~{}~{host}", route.meta.namespace, route.meta.name),
                namespace: namespace.clone(),
                gateway: GatewayRef::Mesh,
                only: foreign.then_some(namespace),
            };
            place.make(route, vec![host.clone()], sni, mesh.port, rules)
        })
        .collect()
}

/// Where a VirtualService belongs.
struct Place {
    name: String,
    namespace: Str,
    gateway: GatewayRef,
    only: Option<Str>,
}

impl Place {
    fn make(
        self,
        route: &Route<'_>,
        hosts: Vec<Hostname>,
        sni: Vec<Hostname>,
        port: Option<u16>,
        rules: &[Rule],
    ) -> VirtualService {
        let mut out = VirtualService {
            meta: Meta {
                name: self.name.into(),
                namespace: self.namespace,
                ..names::meta(route.meta)
            },
            hosts,
            gateways: BTreeSet::from([self.gateway]),
            visibility: self.only.map_or(Visibility::Public, |ns| {
                Visibility::Namespaces(BTreeSet::from([ns]))
            }),
            http: Vec::new(),
            tls: Vec::new(),
            tcp: Vec::new(),
            semantics: RouteSemantics::GatewayApi,
        };
        let m = L4Match {
            port,
            ..L4Match::default()
        };
        for to in rules.iter().cloned() {
            if route.kind != Kind::TlsRoute {
                let matches = port.is_some().then(|| m.clone()).into_iter().collect();
                out.tcp.push(TcpRoute { matches, route: to });
            } else if !sni.is_empty() {
                let sni = sni.clone();
                out.tls.push(TlsRoute {
                    matches: vec![L4Match { sni, ..m.clone() }],
                    route: to,
                });
            }
        }
        out
    }
}
