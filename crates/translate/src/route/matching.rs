//! Conditions on requests.

use hawser_model::matching::StringMatch;
use hawser_model::route::{HttpMatch, PathMatch};
use hawser_proto::envoy::config::route::v3 as rds;
use hawser_proto::envoy::r#type::matcher::v3 as matcher;
use rds::header_matcher::HeaderMatchSpecifier;
use rds::query_parameter_matcher::QueryParameterMatchSpecifier;
use rds::route_match::PathSpecifier;

use super::Context;
use crate::wire;

/// True if a match can hold for this caller at this port: what the control plane knows is decided here.
pub(crate) fn applies(m: &HttpMatch, cx: &Context<'_>) -> bool {
    if m.port.is_some_and(|p| p != cx.port) {
        return false;
    }
    // Where gateways are named they alone decide, as in Istio's `sourceMatchHTTP`.
    if !m.gateways.is_empty() {
        return m.gateways.iter().any(|g| cx.caller.gateways.contains(g));
    }
    m.source_labels.selects(&cx.caller.labels)
        && m.source_namespace
            .as_ref()
            .is_none_or(|n| *n == cx.caller.namespace)
}

/// True if nothing is left for the routes after this one.
pub(crate) fn takes_everything(route: &rds::Route) -> bool {
    let Some(m) = &route.r#match else {
        return true;
    };
    let path = match &m.path_specifier {
        Some(PathSpecifier::Prefix(p)) => p == "/",
        Some(PathSpecifier::PathSeparatedPrefix(p)) => p == "/",
        Some(PathSpecifier::SafeRegex(r)) => r.regex == ".*" || r.regex == "*",
        _ => false,
    };
    path && m.headers.is_empty() && m.query_parameters.is_empty() && m.dynamic_metadata.is_empty()
}

/// A match as Envoy has it.
pub(crate) fn route_match(m: Option<&HttpMatch>) -> rds::RouteMatch {
    let mut out = rds::RouteMatch {
        path_specifier: Some(PathSpecifier::Prefix("/".to_owned())),
        ..Default::default()
    };
    let Some(m) = m else { return out };
    out.case_sensitive = Some(wire::boolv(!m.ignore_case));
    if let Some(path) = &m.path {
        out.path_specifier = Some(match path {
            PathMatch::Exact(p) => PathSpecifier::Path(p.to_string()),
            PathMatch::Prefix(p) => PathSpecifier::Prefix(p.to_string()),
            PathMatch::SegmentPrefix(p) => match p.trim_end_matches('/') {
                "" => PathSpecifier::Prefix("/".to_owned()),
                p => PathSpecifier::PathSeparatedPrefix(p.to_owned()),
            },
            PathMatch::Regex(p) => PathSpecifier::SafeRegex(wire::regex_matcher(p)),
        });
    }
    for (name, value) in &m.headers {
        match claim_path(name) {
            Some(path) => out.dynamic_metadata.push(claim(path, value, false)),
            None => out.headers.push(header(name, value)),
        }
    }
    for (name, value) in &m.without_headers {
        match claim_path(name) {
            Some(path) => out.dynamic_metadata.push(claim(path, value, true)),
            None => out.headers.push(rds::HeaderMatcher {
                invert_match: true,
                treat_missing_header_as_empty: *value != StringMatch::Present,
                ..header(name, value)
            }),
        }
    }
    for (name, value) in [
        (":authority", &m.authority),
        (":method", &m.method),
        (":scheme", &m.scheme),
    ] {
        out.headers.extend(value.as_ref().map(|v| header(name, v)));
    }
    for (name, value) in &m.query {
        out.query_parameters.push(rds::QueryParameterMatcher {
            name: name.to_string(),
            query_parameter_match_specifier: Some(match value {
                StringMatch::Present => QueryParameterMatchSpecifier::PresentMatch(true),
                other => QueryParameterMatchSpecifier::StringMatch(wire::string_match(other)),
            }),
        });
    }
    out
}

/// A condition on a header.
pub(crate) fn header(name: &str, value: &StringMatch) -> rds::HeaderMatcher {
    rds::HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(match value {
            StringMatch::Present => HeaderMatchSpecifier::PresentMatch(true),
            other => HeaderMatchSpecifier::StringMatch(wire::string_match(other)),
        }),
        ..Default::default()
    }
}

/// The path of a claim, if a header's name means one: `@request.auth.claims.a.b` or `@request.auth.claims[a][b]`.
fn claim_path(name: &str) -> Option<Vec<String>> {
    let rest = name.strip_prefix("@request.auth.claims")?;
    if let Some(dotted) = rest.strip_prefix('.') {
        return Some(dotted.split('.').map(str::to_owned).collect());
    }
    let inner = rest.strip_prefix('[')?.strip_suffix(']')?;
    Some(inner.split("][").map(str::to_owned).collect())
}

/// A condition on a claim of the request's token, as the JWT filter leaves it in the request's metadata.
fn claim(path: Vec<String>, value: &StringMatch, invert: bool) -> matcher::MetadataMatcher {
    crate::authz::claims::matcher(&path, wire::string_match(value), invert)
}
