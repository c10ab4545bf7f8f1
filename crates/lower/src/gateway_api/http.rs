//! HTTPRoutes, and the merging of rules of many routes into one VirtualService for each host of a listener.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hawser_api::{Kind, Object, gateway_api as api};
use hawser_model::matching::StringMatch;
use hawser_model::route::{
    GatewayRef, HttpAction, HttpMatch, HttpRoute, PathMatch, Retries, RouteSemantics,
    VirtualService, Weighted,
};
use hawser_model::{Hostname, Meta, Shared, Str, Visibility};

use super::attach::{Parent, Target};
use super::backends::{Backends, Fault, Reference};
use super::filters::{self, Filtered};
use super::listeners::Listener;
use super::{Route, age};

/// One match of a rule, and where it belongs among all matches of its host.
#[derive(Clone)]
pub(super) struct Rule {
    pub route: HttpRoute,
    pub rank: Rank,
}

/// Order of evaluation: path (exact, prefix, expression; longer first), method, number of headers, of query parameters;
/// then the older route, its namespace and name, and the place in it (Gateway API, `HTTPRouteRule.matches`; that a prefix
/// stands before an expression is Istio's choice).
pub(super) type Rank = (
    (
        Reverse<u8>,
        Reverse<usize>,
        Reverse<bool>,
        Reverse<usize>,
        Reverse<usize>,
    ),
    (i64, String, String),
    usize,
    usize,
);

/// Rules of a route and what is wrong with it.
pub(super) struct Lowered {
    pub rules: Vec<Rule>,
    pub faults: Vec<Fault>,
}

/// The rank of a match.
pub(super) fn rank(m: &HttpMatch, meta: &hawser_api::Meta, rule: usize, place: usize) -> Rank {
    let (kind, length) = match &m.path {
        Some(PathMatch::Exact(p)) => (3, p.len()),
        Some(PathMatch::Prefix(p) | PathMatch::SegmentPrefix(p)) => (2, p.len()),
        Some(PathMatch::Regex(p)) => (1, p.len()),
        None => (2, 1),
    };
    (
        (
            Reverse(kind),
            Reverse(length),
            Reverse(m.method.is_some()),
            Reverse(m.headers.len()),
            Reverse(m.query.len()),
        ),
        age(meta),
        rule,
        place,
    )
}

/// All matches of all rules of an HTTPRoute.
pub(super) fn rules(
    object: &Object<api::HttpRouteSpec, api::RouteStatus>,
    backends: &Backends<'_>,
    faults: &mut Vec<Fault>,
) -> Vec<Rule> {
    let mut out = Vec::new();
    for (i, rule) in object.spec.rules.iter().enumerate() {
        let route = HttpRoute {
            name: format!("{}.{}.{i}", object.meta.namespace, object.meta.name).into(),
            timeout: rule
                .timeouts
                .as_ref()
                .and_then(|t| duration(t.request.as_deref(), faults)),
            retries: retries(rule, faults),
            ..lowered(
                Kind::HttpRoute,
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
        let default = [api::HttpRouteMatch::default()];
        let matches: &[api::HttpRouteMatch] = if rule.matches.is_empty() {
            &default
        } else {
            &rule.matches
        };
        for (j, m) in matches.iter().enumerate() {
            let Some(m) = http_match(m, faults) else {
                continue;
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

/// A fault about a field that has no effect.
pub(super) fn unsupported(field: &str) -> Fault {
    Fault {
        condition: "Accepted",
        reason: "UnsupportedValue",
        message: format!("{field} is not supported"),
    }
}

/// What a rule does, whatever it matches.
pub(super) fn lowered(
    kind: Kind,
    meta: &hawser_api::Meta,
    written: &[api::HttpRouteFilter],
    refs: &[api::HttpBackendRef],
    backends: &Backends<'_>,
    faults: &mut Vec<Fault>,
) -> HttpRoute {
    let Filtered {
        redirect,
        rewrite,
        mirrors,
        cors,
        request_headers,
        response_headers,
    } = filters::filters(kind, meta, written, backends, faults);
    let action = match redirect {
        Some(redirect) => HttpAction::Redirect(redirect),
        None => HttpAction::Route(weighted(kind, meta, refs, backends, faults)),
    };
    HttpRoute {
        name: Str::default(),
        matches: Vec::new(),
        action,
        rewrite,
        timeout: None,
        retries: None,
        fault: None,
        mirrors,
        cors,
        request_headers,
        response_headers,
    }
}

/// Backends by weight. Where none can be had, there are none: such requests get 500. A share that cannot be had fails
/// alone.
fn weighted(
    kind: Kind,
    meta: &hawser_api::Meta,
    refs: &[api::HttpBackendRef],
    backends: &Backends<'_>,
    faults: &mut Vec<Fault>,
) -> Vec<Weighted> {
    let mut out = Vec::new();
    let mut good = 0;
    for reference in refs {
        let weight = u32::try_from(reference.weight.unwrap_or(1)).unwrap_or(0);
        let found = backends.destination((kind, &meta.namespace), &Reference::from(reference));
        let destination = match found {
            Ok(destination) => {
                good += 1;
                Some(destination)
            }
            Err((fault, instead)) => {
                faults.push(fault);
                instead.or_else(nowhere)
            }
        };
        if weight == 0 {
            continue;
        }
        let own = filters::filters(kind, meta, &reference.filters, backends, faults);
        out.extend(destination.map(|destination| Weighted {
            destination,
            weight,
            request_headers: own.request_headers,
            response_headers: own.response_headers,
        }));
    }
    if good == 0 { Vec::new() } else { out }
}

/// A destination that no service has: requests to it fail.
fn nowhere() -> Option<hawser_model::route::Destination> {
    Some(hawser_model::route::Destination {
        host: Hostname::parse("refused.invalid").ok()?,
        subset: Str::default(),
        port: None,
    })
}

fn http_match(m: &api::HttpRouteMatch, faults: &mut Vec<Fault>) -> Option<HttpMatch> {
    let value = m
        .path
        .as_ref()
        .and_then(|p| p.value.as_deref())
        .unwrap_or("/");
    let path = match m.path.as_ref().and_then(|p| p.type_.as_deref()) {
        Some("Exact") => PathMatch::Exact(value.into()),
        Some("RegularExpression") => PathMatch::Regex(value.into()),
        None | Some("PathPrefix") => segment_prefix(value),
        Some(other) => {
            faults.push(unsupported(&format!("path match of type {other:?}")));
            return None;
        }
    };
    let mut out = HttpMatch {
        path: Some(path),
        method: m
            .method
            .as_deref()
            .map(|method| StringMatch::Exact(method.into())),
        ..HttpMatch::default()
    };
    out.headers = value_matches(&m.headers, true, faults)?;
    out.query = value_matches(&m.query_params, false, faults)?;
    Some(out)
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
    faults: &mut Vec<Fault>,
) -> Option<Vec<(Str, StringMatch)>> {
    let mut out: BTreeMap<Str, StringMatch> = BTreeMap::new();
    for m in written {
        let value = match m.type_.as_deref() {
            None | Some("Exact") => StringMatch::Exact(m.value.as_str().into()),
            Some("RegularExpression") => StringMatch::Regex(m.value.as_str().into()),
            Some(other) => {
                faults.push(unsupported(&format!("match of type {other:?}")));
                return None;
            }
        };
        let name: Str = if headers {
            m.name.to_ascii_lowercase().into()
        } else {
            m.name.as_str().into()
        };
        out.entry(name).or_insert(value);
    }
    Some(out.into_iter().collect())
}

/// A duration of the Gateway API (GEP-2257, a part of Go's syntax).
fn duration(text: Option<&str>, faults: &mut Vec<Fault>) -> Option<Duration> {
    let text = text?;
    match hawser_api::Duration::parse(text) {
        Ok(duration) => Some(duration.to_std()),
        Err(why) => {
            faults.push(unsupported(&format!("timeout {text:?} ({why})")));
            None
        }
    }
}

fn retries(rule: &api::HttpRouteRule, faults: &mut Vec<Fault>) -> Option<Retries> {
    let per_try = rule
        .timeouts
        .as_ref()
        .and_then(|t| duration(t.backend_request.as_deref(), faults));
    if rule.retry.is_none() && per_try.is_none() {
        return None;
    }
    let written = rule.retry.clone().unwrap_or_default();
    let codes: Vec<String> = written.codes.iter().map(i32::to_string).collect();
    Some(Retries {
        attempts: match (&rule.retry, written.attempts) {
            (None, _) => 0,
            (Some(_), Some(n)) => u32::try_from(n).unwrap_or(0),
            (Some(_), None) => 1,
        },
        per_try_timeout: per_try,
        retry_on: if codes.is_empty() {
            Str::default()
        } else {
            format!("connect-failure,refused-stream,{}", codes.join(",")).into()
        },
        remote_localities: None,
        ignore_previous_hosts: None,
        backoff: duration(written.backoff.as_deref(), faults),
    })
}

/// Where a VirtualService belongs: its gateway (or the mesh), its host, and for the mesh who sees it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    gateway: GatewayRef,
    /// False for the rules that a namespace makes for its own calls: they come first.
    for_all: bool,
    namespace: Str,
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
        lowered: &Lowered,
        listeners: &[Listener<'_>],
    ) {
        for parent in parents {
            match &parent.target {
                Target::Listeners(found) => {
                    for (index, hosts) in found {
                        let Some(listener) = listeners.get(*index).filter(|l| l.works()) else {
                            continue;
                        };
                        for host in hosts {
                            let place = Place {
                                gateway: gateway_ref(listener),
                                for_all: true,
                                namespace: listener.gateway.meta.namespace.as_str().into(),
                                host: host.clone(),
                                only: None,
                            };
                            self.by_place
                                .entry(place)
                                .or_default()
                                .extend(lowered.rules.iter().cloned());
                        }
                    }
                }
                Target::Service(key, port) => {
                    // A route of the service's own namespace is for all callers, another for its own namespace's.
                    let foreign = *key.namespace != *route.meta.namespace;
                    let place = Place {
                        gateway: GatewayRef::Mesh,
                        for_all: !foreign,
                        namespace: route.meta.namespace.as_str().into(),
                        host: key.host.clone(),
                        only: foreign.then(|| route.meta.namespace.as_str().into()),
                    };
                    let rules = lowered.rules.iter().cloned().map(|mut rule| {
                        for m in &mut rule.route.matches {
                            m.port = *port;
                        }
                        rule
                    });
                    self.by_place.entry(place).or_default().extend(rules);
                }
                Target::Refused(..) | Target::NotOurs => {}
            }
        }
    }

    /// One VirtualService for each place, its rules in order of evaluation.
    pub(super) fn into_virtual_services(self) -> Vec<VirtualService> {
        self.by_place
            .into_iter()
            .map(|(place, mut rules)| {
                rules.sort_by(|a, b| a.rank.cmp(&b.rank));
                let created_s = rules.iter().map(|r| r.rank.1.0).min().unwrap_or(0);
                let of = match &place.gateway {
                    GatewayRef::Mesh => "mesh".to_owned(),
                    GatewayRef::Named { name, .. } => name.to_string(),
                };
                VirtualService {
                    meta: Meta {
                        created_s,
                        name: format!("{of}~{}", place.host).into(),
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

/// The Gateway that a listener becomes.
pub(super) fn gateway_ref(listener: &Listener<'_>) -> GatewayRef {
    GatewayRef::Named {
        namespace: listener.gateway.meta.namespace.as_str().into(),
        name: listener.name.clone(),
    }
}
