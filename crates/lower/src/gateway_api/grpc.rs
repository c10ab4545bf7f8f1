//! GRPCRoutes: as HTTPRoutes, by the path that a method has.

use hawser_api::{Kind, Object, gateway_api as api};
use hawser_model::route::{HttpMatch, HttpRoute, PathMatch};

use super::backends::{Backends, Fault};
use super::http::{Rule, lowered, rank, unsupported, value_matches};

/// All matches of all rules of a GRPCRoute.
pub(super) fn rules(
    object: &Object<api::GrpcRouteSpec, api::RouteStatus>,
    backends: &Backends<'_>,
    faults: &mut Vec<Fault>,
) -> Vec<Rule> {
    let mut out = Vec::new();
    for (i, rule) in object.spec.rules.iter().enumerate() {
        let route = HttpRoute {
            name: format!("{}.{}.{i}", object.meta.namespace, object.meta.name).into(),
            ..lowered(
                Kind::GrpcRoute,
                &object.meta,
                &rule.filters,
                &rule.backend_refs,
                backends,
                faults,
            )
        };
        if rule.session_persistence.is_some() {
            faults.push(unsupported("sessionPersistence"));
        }
        let default = [api::GrpcRouteMatch::default()];
        let matches: &[api::GrpcRouteMatch] = if rule.matches.is_empty() {
            &default
        } else {
            &rule.matches
        };
        for (j, m) in matches.iter().enumerate() {
            let (Some(path), Some(headers)) = (
                path(m.method.as_ref(), faults),
                value_matches(&m.headers, true, faults),
            ) else {
                continue;
            };
            let m = HttpMatch {
                path: Some(path),
                headers,
                ..HttpMatch::default()
            };
            out.push(Rule {
                rank: rank(&m, &object.meta, i, j),
                route: HttpRoute {
                    matches: vec![m],
                    ..route.clone()
                },
            });
        }
    }
    out
}

/// The path of a service and method: `/SERVICE/METHOD`.
fn path(method: Option<&api::GrpcMethodMatch>, faults: &mut Vec<Fault>) -> Option<PathMatch> {
    let Some(m) = method else {
        return Some(PathMatch::Prefix("/".into()));
    };
    let said = |t: &Option<String>| t.clone().filter(|t| !t.is_empty());
    let (service, name) = (said(&m.service), said(&m.method));
    match m.type_.as_deref() {
        None | Some("Exact") => Some(match (service, name) {
            (None, None) => PathMatch::Prefix("/".into()),
            (Some(service), None) => PathMatch::Prefix(format!("/{service}/").into()),
            (None, Some(name)) => PathMatch::Regex(format!("/[^/]+/{}", literal(&name)).into()),
            (Some(service), Some(name)) => PathMatch::Exact(format!("/{service}/{name}").into()),
        }),
        Some("RegularExpression") => Some(match (service, name) {
            (None, None) => PathMatch::Prefix("/".into()),
            (service, name) => PathMatch::Regex(
                format!(
                    "/{}/{}",
                    service.as_deref().unwrap_or("[^/]+"),
                    name.as_deref().unwrap_or(".+")
                )
                .into(),
            ),
        }),
        Some(other) => {
            faults.push(unsupported(&format!("method match of type {other:?}")));
            None
        }
    }
}

/// A regular expression that matches this text alone.
fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if !c.is_alphanumeric() && c != '_' {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
