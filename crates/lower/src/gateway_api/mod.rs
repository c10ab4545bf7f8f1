//! The Gateway API: Gateways and routes become the Gateways and VirtualServices of Istio's own API, as in Istio's
//! conversion (`pilot/pkg/config/kube/gateway`), and statuses say what became of each.

mod attach;
mod backends;
mod filters;
mod grpc;
mod http;
mod l4;
mod listeners;
mod status;
mod tls_policies;

use hawser_api::{Kind, Object, Timestamp, gateway_api as api};
use hawser_model::{Meta, Problem};

use crate::catalogue::Catalogue;
use crate::config::{Converted, StatusUpdate};
use crate::names;
use crate::world::{View, World};
use attach::Parent;
use backends::Backends;
use http::Rules;
use listeners::Listener;

pub(crate) use http::segment_prefix;

/// The controller that Hawser is to GatewayClasses: Istio's name, so that existing classes keep working.
pub const CONTROLLER: &str = "istio.io/gateway-controller";

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
    let mut listeners = listeners::listeners(&context);
    let backends = Backends { context: &context };
    let mut rules = Rules::default();

    for object in sorted(&view.objects.http_routes, view) {
        let route = Route {
            kind: Kind::HttpRoute,
            meta: &object.meta,
            parents: &object.spec.parent_refs,
            hostnames: &object.spec.hostnames,
            status: &object.status,
        };
        let (parents, lowered) = prepare(&context, &route, &mut listeners, |problems_of| {
            http::rules(object, &backends, problems_of)
        });
        rules.add(&route, &parents, &lowered, &listeners);
        finish(
            &context,
            &route,
            &parents,
            &lowered.faults,
            &mut out.statuses,
        );
    }
    for object in sorted(&view.objects.grpc_routes, view) {
        let route = Route {
            kind: Kind::GrpcRoute,
            meta: &object.meta,
            parents: &object.spec.parent_refs,
            hostnames: &object.spec.hostnames,
            status: &object.status,
        };
        let (parents, lowered) = prepare(&context, &route, &mut listeners, |problems_of| {
            grpc::rules(object, &backends, problems_of)
        });
        rules.add(&route, &parents, &lowered, &listeners);
        finish(
            &context,
            &route,
            &parents,
            &lowered.faults,
            &mut out.statuses,
        );
    }
    out.routes = rules.into_virtual_services();
    for object in sorted(&view.objects.tls_routes, view) {
        let route = Route {
            kind: Kind::TlsRoute,
            meta: &object.meta,
            parents: &object.spec.parent_refs,
            hostnames: &object.spec.hostnames,
            status: &object.status,
        };
        l4_route(
            &context,
            &route,
            &object.spec.rules,
            &backends,
            &mut listeners,
            &mut out,
        );
    }
    for object in sorted(&view.objects.tcp_routes, view) {
        let route = Route {
            kind: Kind::TcpRoute,
            meta: &object.meta,
            parents: &object.spec.parent_refs,
            hostnames: &[],
            status: &object.status,
        };
        l4_route(
            &context,
            &route,
            &object.spec.rules,
            &backends,
            &mut listeners,
            &mut out,
        );
    }
    tls_policies::convert(&context, &mut out, problems);
    status::of_classes(&context, &mut out.statuses);
    status::of_gateways(&context, &listeners, &mut out.statuses);
    out.gateways = listeners
        .into_iter()
        .filter_map(Listener::into_gateway)
        .collect();
    out
}

/// Attaches a route and lowers its rules.
fn prepare<'a>(
    context: &Context<'a>,
    route: &Route<'a>,
    listeners: &mut [Listener<'a>],
    lower: impl FnOnce(&mut Vec<backends::Fault>) -> Vec<http::Rule>,
) -> (Vec<Parent>, http::Lowered) {
    let parents = attach::parents(context, route, listeners);
    let mut faults = Vec::new();
    let rules = lower(&mut faults);
    (parents, http::Lowered { rules, faults })
}

fn l4_route<'a>(
    context: &Context<'a>,
    route: &Route<'a>,
    rules: &[api::L4RouteRule],
    backends: &Backends<'_>,
    listeners: &mut [Listener<'a>],
    out: &mut Converted,
) {
    let parents = attach::parents(context, route, listeners);
    let mut faults = Vec::new();
    out.routes.extend(l4::virtual_services(
        route,
        rules,
        backends,
        &parents,
        listeners,
        &mut faults,
    ));
    finish(context, route, &parents, &faults, &mut out.statuses);
}

fn finish(
    context: &Context<'_>,
    route: &Route<'_>,
    parents: &[Parent],
    faults: &[backends::Fault],
    statuses: &mut Vec<StatusUpdate>,
) {
    statuses.extend(status::of_route(context, route, parents, faults));
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
