//! GRPCRoutes: as HTTPRoutes, by the path that a method has.

use hawser_api::{Object, gateway_api as api};
use hawser_model::route::{HttpMatch, HttpRoute, PathMatch};

use super::backends::{Backends, Fault};
use super::http::{
    Lowered, Rule, action, name, no_persistence, of_matches, segment_prefix, unsupported,
    value_matches,
};

/// All matches of all rules of a GRPCRoute.
pub(super) fn rules(
    object: &Object<api::GrpcRouteSpec, api::RouteStatus>,
    backends: &Backends<'_>,
) -> Lowered<Rule> {
    let mut soft = Vec::new();
    let all = object.spec.rules.iter().enumerate();
    let lowered: Result<Vec<Vec<Rule>>, Fault> = all
        .map(|(i, rule)| one(object, i, rule, backends, &mut soft))
        .collect();
    Lowered::of(lowered.map(|rules| rules.concat()), soft)
}

fn one(
    object: &Object<api::GrpcRouteSpec, api::RouteStatus>,
    i: usize,
    rule: &api::GrpcRouteRule,
    backends: &Backends<'_>,
    soft: &mut Vec<Fault>,
) -> Result<Vec<Rule>, Fault> {
    if rule.session_persistence.is_some() {
        soft.push(no_persistence());
    }
    let route = HttpRoute {
        name: name(rule.name.as_deref(), &object.meta, i),
        ..action(&rule.filters, &rule.backend_refs, backends, soft)?
    };
    of_matches(&route, &object.meta, i, &rule.matches, grpc_match)
}

/// A match, and the length of its path in order of precedence.
fn grpc_match(written: &api::GrpcRouteMatch) -> Result<(HttpMatch, usize), Fault> {
    let (path, length) = match &written.method {
        Some(method) => path(method).map(|(path, length)| (Some(path), length))?,
        None => (None, 0),
    };
    let m = HttpMatch {
        path,
        headers: value_matches(&written.headers, true)?,
        ..HttpMatch::default()
    };
    Ok((m, length))
}

/// The path of a service and method, `/SERVICE/METHOD`, and its length in order of precedence.
fn path(m: &api::GrpcMethodMatch) -> Result<(PathMatch, usize), Fault> {
    let said = |t: &Option<String>| t.clone().filter(|t| !t.is_empty());
    let (service, method) = (said(&m.service), said(&m.method));
    let regex = |text: String| (PathMatch::Regex(text.as_str().into()), text.len());
    let expression = match m.type_.as_deref() {
        None | Some("Exact") => false,
        Some("RegularExpression") => true,
        Some(other) => return Err(unsupported(&format!("a method match of type {other:?}"))),
    };
    Ok(match (service, method, expression) {
        (None, None, _) => {
            let message = "a method match names neither service nor method";
            return Err(Fault::new("InvalidConfiguration", message));
        }
        (Some(service), Some(method), false) => {
            let path = format!("/{service}/{method}");
            (PathMatch::Exact(path.as_str().into()), path.len())
        }
        (Some(service), None, false) => {
            let path = format!("/{service}/");
            (segment_prefix(&path), path.len())
        }
        (Some(service), None, true) => regex(format!("/{service}/.+")),
        (Some(service), Some(method), true) => regex(format!("/{service}/{method}")),
        (None, Some(method), _) => regex(format!("/[^/]+/{method}")),
    })
}
