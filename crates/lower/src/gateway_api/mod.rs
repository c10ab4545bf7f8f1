//! The Gateway API: Gateways and routes become the Gateways and VirtualServices of Istio's own API, as in Istio's
//! conversion (`pilot/pkg/config/kube/gateway`), and statuses say what became of each.

mod attach;
mod backends;
mod classes;
mod conflicts;
mod filters;
mod gateway_status;
mod grpc;
mod http;
mod l4;
mod listener_sets;
mod listeners;
mod merge;
mod named;
mod policy_status;
mod status;
mod tls;
mod tls_policies;

use std::collections::BTreeMap;

use hawser_api::{Kind, Object, Timestamp, gateway_api as api};
use hawser_model::{Meta, Problem};

use crate::catalogue::Catalogue;
use crate::config::{Converted, StatusUpdate};
use crate::names;
use crate::world::{View, World};
use attach::{Parent, Target};
use backends::{Backends, Fault};
use http::Lowered;
use listeners::Listener;
use merge::Rules;
use policy_status::Ancestors;

pub(crate) use classes::CONTROLLERS;
pub(crate) use http::segment_prefix;
pub(crate) use named::names;

/// What all parts of the conversion read.
#[derive(Clone, Copy)]
struct Context<'a> {
    world: &'a World<'a>,
    view: &'a View<'a>,
    catalogue: &'a Catalogue,
    now: Timestamp,
}

/// A route of any kind, as far as attaching it goes.
struct Route<'a> {
    kind: Kind,
    meta: &'a hawser_api::Meta,
    parents: &'a [api::ParentReference],
    hostnames: &'a [String],
    status: &'a api::RouteStatus,
}

/// A route's rules, as gateways and as sidecars have them.
struct Both<T> {
    gateway: Lowered<T>,
    mesh: Lowered<T>,
}

impl<T: Clone> Both<T> {
    /// Lowers for those kinds of parents that the route has.
    fn of(
        context: &Context<'_>,
        route: &Route<'_>,
        parents: &[Parent],
        lower: impl Fn(&Backends<'_>) -> Lowered<T>,
    ) -> Self {
        let lower = |mesh: bool| {
            let wanted = parents.iter().any(|p| match &p.target {
                Target::NotOurs => false,
                target => mesh == target.is_mesh(&p.reference),
            });
            let backends = Backends {
                context,
                kind: route.kind,
                namespace: &route.meta.namespace,
                mesh,
            };
            if wanted {
                lower(&backends)
            } else {
                Lowered::of(Ok(Vec::new()), Vec::new())
            }
        };
        Self {
            gateway: lower(false),
            mesh: lower(true),
        }
    }

    fn rules(&self, mesh: bool) -> Vec<T> {
        let of = if mesh { &self.mesh } else { &self.gateway };
        of.rules.clone()
    }

    fn fault(&self, mesh: bool) -> Option<&Fault> {
        let of = if mesh { &self.mesh } else { &self.gateway };
        of.fault.as_ref()
    }
}

/// Converts everything of the Gateway API that the configuration cluster holds.
pub fn convert(
    world: &World<'_>,
    catalogue: &Catalogue,
    now: Timestamp,
    problems: &mut Vec<Problem>,
) -> Converted {
    let Some(view) = world.config_view() else {
        return Converted::default();
    };
    let context = Context {
        world,
        view,
        catalogue,
        now,
    };
    let mut out = Converted::default();
    let gateways = listeners::gateways(&context);
    let mut listeners = listeners::listeners(&context, &gateways);
    let mut ancestors = Ancestors::default();
    http_routes(&context, &mut listeners, &mut ancestors, &mut out);
    l4_routes(&context, &mut listeners, &mut ancestors, &mut out);
    tls_policies::convert(&context, &ancestors, &mut out, problems);
    classes::note_waypoints(&context, problems);
    classes::note_client_certificates(&context, problems);
    status::of_classes(&context, &mut out.statuses);
    gateway_status::of_gateways(&context, &gateways, &listeners, &mut out.statuses);
    out.gateways = listeners
        .into_iter()
        .filter_map(Listener::into_gateway)
        .collect();
    out
}

/// HTTPRoutes and GRPCRoutes, whose rules share hosts.
fn http_routes<'a>(
    context: &Context<'a>,
    listeners: &mut [Listener<'a>],
    ancestors: &mut Ancestors,
    out: &mut Converted,
) {
    let mut all = Rules::default();
    let mut put = |route: &Route<'a>, lower: &dyn Fn(&Backends<'_>) -> Lowered<http::Rule>| {
        let parents = attach::parents(context, route, listeners);
        let both = Both::of(context, route, &parents, lower);
        all.add(route, &parents, |mesh| both.rules(mesh), listeners);
        finish(context, route, &parents, &both, &mut out.statuses);
    };
    for object in sorted(&context.view.objects.http_routes, context.view) {
        let route = Route {
            kind: Kind::HttpRoute,
            meta: &object.meta,
            parents: &object.spec.parent_refs,
            hostnames: &object.spec.hostnames,
            status: &object.status,
        };
        let refs = object.spec.rules.iter().flat_map(|r| &r.backend_refs);
        ancestors.add(&route, refs.map(Into::into));
        put(&route, &|backends| http::rules(object, backends));
    }
    for object in sorted(&context.view.objects.grpc_routes, context.view) {
        let route = Route {
            kind: Kind::GrpcRoute,
            meta: &object.meta,
            parents: &object.spec.parent_refs,
            hostnames: &object.spec.hostnames,
            status: &object.status,
        };
        let refs = object.spec.rules.iter().flat_map(|r| &r.backend_refs);
        ancestors.add(&route, refs.map(Into::into));
        put(&route, &|backends| grpc::rules(object, backends));
    }
    out.routes.extend(all.into_virtual_services());
}

/// TLSRoutes and TCPRoutes.
fn l4_routes<'a>(
    context: &Context<'a>,
    listeners: &mut [Listener<'a>],
    ancestors: &mut Ancestors,
    out: &mut Converted,
) {
    let mut put = |route: &Route<'a>, rules: &[api::L4RouteRule]| {
        let parents = attach::parents(context, route, listeners);
        let both = Both::of(context, route, &parents, |b| l4::rules(rules, b));
        let made = l4::virtual_services(route, |mesh| both.rules(mesh), &parents, listeners);
        out.routes.extend(made);
        finish(context, route, &parents, &both, &mut out.statuses);
        let refs = rules.iter().flat_map(|r| &r.backend_refs);
        ancestors.add(route, refs.map(Into::into));
    };
    for object in sorted(&context.view.objects.tls_routes, context.view) {
        let route = Route {
            kind: Kind::TlsRoute,
            meta: &object.meta,
            parents: &object.spec.parent_refs,
            hostnames: &object.spec.hostnames,
            status: &object.status,
        };
        put(&route, &object.spec.rules);
    }
    for object in sorted(&context.view.objects.tcp_routes, context.view) {
        let route = Route {
            kind: Kind::TcpRoute,
            meta: &object.meta,
            parents: &object.spec.parent_refs,
            hostnames: &[],
            status: &object.status,
        };
        put(&route, &object.spec.rules);
    }
}

fn finish<T: Clone>(
    context: &Context<'_>,
    route: &Route<'_>,
    parents: &[Parent],
    both: &Both<T>,
    statuses: &mut Vec<StatusUpdate>,
) {
    let faults: BTreeMap<bool, &Fault> = [false, true]
        .into_iter()
        .filter_map(|mesh| both.fault(mesh).map(|f| (mesh, f)))
        .collect();
    statuses.extend(status::of_route(context, route, parents, &faults));
}

/// Objects that the mesh sees, oldest first.
fn sorted<'a, S, T>(
    table: &'a crate::store::Table<S, T>,
    view: &View<'_>,
) -> Vec<&'a Object<S, T>> {
    let mut out: Vec<&Object<S, T>> = table
        .iter()
        .map(|o| &**o)
        .filter(|o| view.shows(&o.meta.namespace))
        .collect();
    out.sort_by_cached_key(|o| age(&o.meta));
    out
}

/// Age, then namespace and name: the Gateway API's order of precedence between routes.
fn age(meta: &hawser_api::Meta) -> (i64, String, String) {
    let Meta { created_s, .. } = names::meta(meta);
    (created_s, meta.namespace.clone(), meta.name.clone())
}
