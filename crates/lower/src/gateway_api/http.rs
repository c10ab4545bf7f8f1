//! Rules of HTTPRoutes.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use hawser_api::{Object, gateway_api as api};
use hawser_model::Str;
use hawser_model::matching::StringMatch;
use hawser_model::route::{HttpAction, HttpMatch, HttpRoute, PathMatch, Retries, Weighted};

use super::age;
use super::backends::{Backends, Fault, Missing, Reference};
use super::filters::{self, Filtered};

/// When a rule says that requests are to be tried again, and nothing else: what is safe, as Istio has it.
const RETRY_ON: &str = "connect-failure,refused-stream,unavailable,cancelled";

/// One match of a rule, and where it belongs among all matches of its host.
#[derive(Clone)]
pub(super) struct Rule {
    pub route: HttpRoute,
    pub rank: Rank,
}

/// Order of evaluation: path (exact, prefix, expression, none; longer first), method, number of headers, of query
/// parameters; then the older route, its namespace and name, and the place in it (Gateway API,
/// `HTTPRouteRule.matches`; that a prefix stands before an expression is Istio's choice). Rules without match come last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    matches: Option<Reverse<Specificity>>,
    /// Age, namespace and name of the route.
    pub route: (i64, String, String),
    place: (usize, usize),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Specificity {
    kind: u8,
    length: usize,
    method: bool,
    headers: usize,
    query: usize,
}

impl Rank {
    /// The rank of a match whose path was written with that length.
    pub(super) fn new(
        m: Option<(&HttpMatch, usize)>,
        meta: &hawser_api::Meta,
        place: (usize, usize),
    ) -> Self {
        let matches = m.map(|(m, length)| {
            Reverse(Specificity {
                kind: match &m.path {
                    Some(PathMatch::Exact(_)) => 3,
                    Some(PathMatch::Prefix(_) | PathMatch::SegmentPrefix(_)) => 2,
                    Some(PathMatch::Regex(_)) => 1,
                    None => 0,
                },
                length,
                method: m.method.is_some(),
                headers: m.headers.len(),
                query: m.query.len(),
            })
        });
        Self {
            matches,
            route: age(meta),
            place,
        }
    }

    /// For sorting: what has no match comes last.
    pub(super) fn key(&self) -> impl Ord + '_ {
        (
            self.matches.is_none(),
            &self.matches,
            &self.route,
            self.place,
        )
    }
}

/// What is left of a route's rules, and what is wrong with them. A fault that costs the whole route leaves no rules.
pub(super) struct Lowered<T> {
    pub rules: Vec<T>,
    pub fault: Option<Fault>,
}

impl<T> Lowered<T> {
    /// From rules of which each may cost the whole; of several lesser faults the last is told, as by Istio.
    pub(super) fn of(lowered: Result<Vec<T>, Fault>, mut soft: Vec<Fault>) -> Self {
        match lowered {
            Ok(rules) => Self {
                rules,
                fault: soft.pop(),
            },
            Err(fault) => Self {
                rules: Vec::new(),
                fault: Some(fault),
            },
        }
    }
}

/// All matches of all rules of an HTTPRoute.
pub(super) fn rules(
    object: &Object<api::HttpRouteSpec, api::RouteStatus>,
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
    object: &Object<api::HttpRouteSpec, api::RouteStatus>,
    i: usize,
    rule: &api::HttpRouteRule,
    backends: &Backends<'_>,
    soft: &mut Vec<Fault>,
) -> Result<Vec<Rule>, Fault> {
    if rule.session_persistence.is_some() {
        soft.push(no_persistence());
    }
    let action = action(&rule.filters, &rule.backend_refs, backends, soft)?;
    let (timeout, retries) = times(rule);
    let route = HttpRoute {
        name: name(rule.name.as_deref(), &object.meta, i),
        timeout,
        retries,
        ..action
    };
    of_matches(&route, &object.meta, i, &rule.matches, http_match)
}

/// What is said of a rule that asks for sessions: its requests are served all the same, as by Istio.
pub(super) fn no_persistence() -> Fault {
    Fault::new("UnsupportedValue", "sessionPersistence has no effect")
}

/// A rule once for each of its matches, or once without any; `lower` gives a match and the length of its path.
pub(super) fn of_matches<M>(
    route: &HttpRoute,
    meta: &hawser_api::Meta,
    place: usize,
    written: &[M],
    lower: fn(&M) -> Result<(HttpMatch, usize), Fault>,
) -> Result<Vec<Rule>, Fault> {
    if written.is_empty() {
        let rank = Rank::new(None, meta, (place, 0));
        let route = route.clone();
        return Ok(vec![Rule { route, rank }]);
    }
    let matches = written.iter().enumerate();
    matches
        .map(|(j, written)| {
            let (m, length) = lower(written)?;
            Ok(Rule {
                rank: Rank::new(Some((&m, length)), meta, (place, j)),
                route: HttpRoute {
                    matches: vec![m],
                    ..route.clone()
                },
            })
        })
        .collect()
}

/// The name of a rule: its own, else one that its place gives it.
pub(super) fn name(own: Option<&str>, meta: &hawser_api::Meta, place: usize) -> Str {
    match own {
        Some(name) => name.into(),
        None => format!("{}.{}.{place}", meta.namespace, meta.name).into(),
    }
}

/// A fault about something that is not supported.
pub(super) fn unsupported(what: &str) -> Fault {
    Fault::new("InvalidConfiguration", format!("{what} is not supported"))
}

/// What a rule does, whatever it matches.
pub(super) fn action(
    written: &[api::HttpRouteFilter],
    refs: &[api::HttpBackendRef],
    backends: &Backends<'_>,
    soft: &mut Vec<Fault>,
) -> Result<HttpRoute, Fault> {
    let Filtered {
        redirect,
        rewrite,
        mirrors,
        cors,
        request_headers,
        response_headers,
    } = filters::of_rule(written, backends, soft)?;
    let to = weighted(refs, backends, soft)?;
    Ok(HttpRoute {
        name: Str::default(),
        matches: Vec::new(),
        action: match redirect {
            Some(redirect) => HttpAction::Redirect(redirect),
            None => HttpAction::Route(to),
        },
        rewrite,
        timeout: None,
        retries: None,
        fault: None,
        mirrors,
        cors,
        request_headers,
        response_headers,
    })
}

/// Backends by weight, without those of weight 0. Where none is left, requests get 500; a share that cannot be had fails
/// alone.
fn weighted(
    refs: &[api::HttpBackendRef],
    backends: &Backends<'_>,
    soft: &mut Vec<Fault>,
) -> Result<Vec<Weighted>, Fault> {
    let mut out = Vec::new();
    for reference in refs {
        let weight = weight(reference.weight);
        if weight == 0 {
            continue;
        }
        let destination = match backends.destination(&Reference::from(reference)) {
            Ok(destination) => destination,
            Err(Missing::Share(fault, instead)) => {
                soft.push(fault);
                instead
            }
            Err(Missing::Route(fault)) => return Err(fault),
        };
        let (request_headers, response_headers) = filters::of_backend(&reference.filters)?;
        out.push(Weighted {
            destination,
            weight,
            request_headers,
            response_headers,
        });
    }
    Ok(out)
}

/// A weight as it was written; 1 where nobody said.
pub(super) fn weight(written: Option<i32>) -> u32 {
    u32::try_from(written.unwrap_or(1)).unwrap_or(0)
}

/// A match, and how long its path was as written.
fn http_match(m: &api::HttpRouteMatch) -> Result<(HttpMatch, usize), Fault> {
    let written = m.path.as_ref();
    let value = written.and_then(|p| p.value.as_deref()).unwrap_or("/");
    let (path, length) = match written.and_then(|p| p.type_.as_deref()) {
        Some("Exact") => (PathMatch::Exact(value.into()), value.len()),
        Some("RegularExpression") => (PathMatch::Regex(value.into()), value.len()),
        None | Some("PathPrefix") => {
            let length = match value {
                "/" => 1,
                path => path.strip_suffix('/').unwrap_or(path).len(),
            };
            (segment_prefix(value), length)
        }
        Some(other) => return Err(unsupported(&format!("a path match of type {other:?}"))),
    };
    let m = HttpMatch {
        path: Some(path),
        method: m
            .method
            .as_deref()
            .map(|method| StringMatch::Exact(method.into())),
        headers: value_matches(&m.headers, true)?,
        query: value_matches(&m.query_params, false)?,
        ..HttpMatch::default()
    };
    Ok((m, length))
}

/// A prefix by whole segments; `/` is a plain one.
pub(crate) fn segment_prefix(path: &str) -> PathMatch {
    match path.trim_end_matches('/') {
        "" => PathMatch::Prefix("/".into()),
        path => PathMatch::SegmentPrefix(path.into()),
    }
}

/// Matches of headers (names without regard to case) or of query parameters; the first of a name counts.
pub(super) fn value_matches(
    written: &[api::HttpValueMatch],
    headers: bool,
) -> Result<Vec<(Str, StringMatch)>, Fault> {
    let mut out: BTreeMap<Str, StringMatch> = BTreeMap::new();
    for m in written {
        let value = match m.type_.as_deref() {
            None | Some("Exact") => StringMatch::Exact(m.value.as_str().into()),
            Some("RegularExpression") => StringMatch::Regex(m.value.as_str().into()),
            Some(other) => return Err(unsupported(&format!("a match of type {other:?}"))),
        };
        let name: Str = if headers {
            m.name.to_ascii_lowercase().into()
        } else {
            m.name.as_str().into()
        };
        out.entry(name).or_insert(value);
    }
    Ok(out.into_iter().collect())
}

/// A duration of the Gateway API (GEP-2257, a part of Go's syntax); zero is none, and so is what the schema refuses.
fn duration(text: Option<&String>) -> Option<Duration> {
    hawser_api::Duration::parse(text?)
        .ok()
        .map(hawser_api::Duration::to_std)
        .filter(|d| !d.is_zero())
}

/// Timeout and retries of a rule. A timeout of the backend's request is that of each try, where there are several.
fn times(rule: &api::HttpRouteRule) -> (Option<Duration>, Option<Retries>) {
    let timeouts = rule.timeouts.clone().unwrap_or_default();
    let request = duration(timeouts.request.as_ref());
    let backend = duration(timeouts.backend_request.as_ref());
    let Some(retry) = &rule.retry else {
        return (backend.or(request), None);
    };
    let codes = retry.codes.iter().map(|c| format!(",{c}"));
    let retries = Retries {
        attempts: retry.attempts.map_or(2, |n| u32::try_from(n).unwrap_or(0)),
        per_try_timeout: backend,
        retry_on: format!("{RETRY_ON}{}", codes.collect::<String>()).into(),
        remote_localities: None,
        ignore_previous_hosts: None,
        backoff: duration(retry.backoff.as_ref()),
    };
    (request, Some(retries))
}
