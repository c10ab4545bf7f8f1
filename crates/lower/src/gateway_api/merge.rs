//! Rules of many HTTPRoutes and GRPCRoutes become one VirtualService for each host of a listener, or of a service.

use std::collections::{BTreeMap, BTreeSet};

use hawser_model::route::{GatewayRef, HttpMatch, RouteSemantics, VirtualService};
use hawser_model::{Hostname, Meta, Shared, Str, Visibility};

use super::Route;
use super::attach::{Parent, Target};
use super::http::Rule;
use super::listeners::Listener;

/// Where a VirtualService belongs: its gateway (or the mesh), its host, and for the mesh who wrote it and for which port.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    gateway: GatewayRef,
    namespace: Str,
    port: Option<u16>,
    host: Hostname,
    /// For the mesh: only callers of this namespace.
    only: Option<Str>,
}

/// Rules by place.
#[derive(Default)]
pub(super) struct Rules {
    by_place: BTreeMap<Place, Vec<Rule>>,
}

impl Rules {
    /// Puts the rules of a route wherever it attached.
    pub(super) fn add(
        &mut self,
        route: &Route<'_>,
        parents: &[Parent],
        rules: impl Fn(bool) -> Vec<Rule>,
        listeners: &[Listener<'_>],
    ) {
        for parent in parents {
            match &parent.target {
                Target::Listeners(found) => {
                    let rules = rules(false);
                    for attached in found {
                        let Some(listener) = listeners.get(attached.listener).filter(|l| l.works())
                        else {
                            continue;
                        };
                        for host in &attached.isolated {
                            let place = Place {
                                gateway: gateway_ref(listener),
                                namespace: listener.owner.meta.namespace.as_str().into(),
                                port: None,
                                host: host.clone(),
                                only: None,
                            };
                            self.put(place, rules.iter().cloned());
                        }
                    }
                }
                Target::Mesh(mesh) => {
                    // A route of the service's own namespace is for all callers, another for its own namespace's.
                    let own = mesh.namespace == route.meta.namespace;
                    let rules = rules(true);
                    for host in &mesh.hosts {
                        let place = Place {
                            gateway: GatewayRef::Mesh,
                            namespace: route.meta.namespace.as_str().into(),
                            port: mesh.port,
                            host: host.clone(),
                            only: (!own).then(|| route.meta.namespace.as_str().into()),
                        };
                        let rules = rules.iter().cloned().map(|rule| on_port(rule, mesh.port));
                        self.put(place, rules);
                    }
                }
                Target::Refused(_) | Target::NotOurs => {}
            }
        }
    }

    fn put(&mut self, place: Place, rules: impl IntoIterator<Item = Rule>) {
        self.by_place.entry(place).or_default().extend(rules);
    }

    /// One VirtualService for each place, its rules in order of evaluation.
    pub(super) fn into_virtual_services(self) -> Vec<VirtualService> {
        self.by_place
            .into_iter()
            .filter(|(_, rules)| !rules.is_empty())
            .map(|(place, mut rules)| {
                rules.sort_by(|a, b| a.rank.key().cmp(&b.rank.key()));
                let created_s = rules.iter().map(|r| r.rank.route.0).min().unwrap_or(0);
                VirtualService {
                    meta: Meta {
                        created_s,
                        name: name(&place).into(),
                        namespace: place.namespace,
                    },
                    hosts: vec![place.host],
                    gateways: BTreeSet::from([place.gateway]),
                    visibility: place.only.map_or(Visibility::Public, |ns| {
                        Visibility::Namespaces(BTreeSet::from([ns]))
                    }),
                    http: rules.into_iter().map(|r| Shared::new(r.route)).collect(),
                    tls: Vec::new(),
                    tcp: Vec::new(),
                    semantics: RouteSemantics::GatewayApi,
                }
            })
            .collect()
    }
}

/// Istio's name for the VirtualService of a place.
fn name(place: &Place) -> String {
    match (&place.gateway, place.port) {
        (GatewayRef::Named { namespace, name }, _) => {
            format!("{namespace}~{name}~{}", place.host)
        }
        (GatewayRef::Mesh, Some(port)) => format!("{}~{port}~{}", place.namespace, place.host),
        (GatewayRef::Mesh, None) => format!("{}~{}", place.namespace, place.host),
    }
}

/// The rule, for calls to one port alone.
fn on_port(mut rule: Rule, port: Option<u16>) -> Rule {
    if port.is_some() && rule.route.matches.is_empty() {
        rule.route.matches.push(HttpMatch::default());
    }
    for m in &mut rule.route.matches {
        m.port = port;
    }
    rule
}

/// The Gateway that a listener becomes.
pub(super) fn gateway_ref(listener: &Listener<'_>) -> GatewayRef {
    GatewayRef::Named {
        namespace: listener.owner.meta.namespace.as_str().into(),
        name: listener.name.clone(),
    }
}
