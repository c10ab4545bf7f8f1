//! VirtualServices, after their delegates were merged in.

use std::collections::BTreeSet;

use hawser_api::networking as api;
use hawser_api::{Kind, Object, status::IstioStatus};
use hawser_model::matching::{HeaderOps, Share, StringMatch};
use hawser_model::mesh::Mesh;
use hawser_model::route::{
    Abort, Cors, DirectBody, Fault, GatewayRef, HttpAction, HttpMatch, HttpRoute, Mirror,
    PathMatch, PathRewrite, Redirect, RedirectPath, RedirectPort, Retries, Rewrite, RouteSemantics,
    VirtualService, Weighted,
};
use hawser_model::{ClusterId, Hostname, Problem, Shared, Str};

use crate::l4_routes;
use crate::names::{self, destination, duration, labels, port, strs};
use crate::notes::{Notes, SCHEMA};

/// What the parts of a VirtualService are lowered against.
pub struct Place<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// The DNS domain of services.
    pub domain: &'a str,
}

/// Lowers one VirtualService with the rules that `delegates` gave it; `None` if no host of it is one.
pub fn virtual_service(
    object: &Object<api::VirtualService, IstioStatus>,
    http: &[api::HttpRoute],
    cluster: &ClusterId,
    mesh: &Mesh,
    problems: &mut Vec<Problem>,
) -> Option<VirtualService> {
    let mut notes = Notes::new(problems, cluster, Kind::VirtualService, &object.meta);
    let spec = &object.spec;
    let place = Place {
        namespace: &object.meta.namespace,
        domain: &mesh.dns_domain,
    };
    let hosts: Vec<Hostname> = spec
        .hosts
        .iter()
        .enumerate()
        .filter_map(|(i, h)| {
            names::host(
                h,
                place.namespace,
                place.domain,
                &format!("spec.hosts[{i}]"),
                &mut notes,
            )
        })
        .collect();
    if hosts.is_empty() {
        return None;
    }
    let mut gateways = gateway_refs(&spec.gateways, place.namespace);
    if gateways.is_empty() {
        gateways.insert(GatewayRef::Mesh);
    }
    Some(VirtualService {
        meta: names::meta(&object.meta),
        hosts,
        gateways,
        visibility: names::visibility(
            &spec.export_to,
            place.namespace,
            &mesh.default_route_visibility,
        ),
        http: http
            .iter()
            .enumerate()
            .map(|(i, r)| {
                Shared::new(http_route(
                    r,
                    &place,
                    &format!("spec.http[{i}]"),
                    &mut notes,
                ))
            })
            .collect(),
        tls: spec
            .tls
            .iter()
            .enumerate()
            .map(|(i, r)| l4_routes::tls_route(r, &place, &format!("spec.tls[{i}]"), &mut notes))
            .collect(),
        tcp: spec
            .tcp
            .iter()
            .enumerate()
            .map(|(i, r)| l4_routes::tcp_route(r, &place, &format!("spec.tcp[{i}]"), &mut notes))
            .collect(),
        semantics: RouteSemantics::Istio,
    })
}

/// References to gateways: `mesh`, `namespace/name`, or a name of the own namespace; `name.namespace…` is the old form.
pub fn gateway_refs(texts: &[String], namespace: &str) -> BTreeSet<GatewayRef> {
    texts
        .iter()
        .map(|text| {
            if text == "mesh" {
                return GatewayRef::Mesh;
            }
            let (ns, name) = match text.split_once('/') {
                Some((".", name)) => (namespace, name),
                Some((ns, name)) => (ns, name),
                None => match text.split_once('.') {
                    Some((name, rest)) => (rest.split('.').next().unwrap_or(rest), name),
                    None => (namespace, text.as_str()),
                },
            };
            GatewayRef::Named {
                namespace: ns.into(),
                name: name.into(),
            }
        })
        .collect()
}

fn http_route(
    route: &api::HttpRoute,
    place: &Place<'_>,
    field: &str,
    notes: &mut Notes<'_>,
) -> HttpRoute {
    let action = if let Some(redirect) = &route.redirect {
        HttpAction::Redirect(self::redirect(redirect, field, notes))
    } else if let Some(direct) = &route.direct_response {
        HttpAction::Direct {
            status: direct.status,
            body: direct.body.as_ref().and_then(|b| match b {
                api::HttpBody::Empty => None,
                api::HttpBody::String(text) => Some(DirectBody::Text(text.as_str().into())),
                api::HttpBody::Bytes(bytes) => Some(DirectBody::Bytes(bytes.0.as_slice().into())),
            }),
        }
    } else {
        if route.route.is_empty() {
            notes.error(
                SCHEMA,
                field,
                "the rule says neither route nor redirect nor directResponse; requests that match get 500",
                "add a route",
            );
        }
        HttpAction::Route(
            route
                .route
                .iter()
                .enumerate()
                .filter_map(|(i, r)| {
                    let field = format!("{field}.route[{i}]");
                    let headers = header_ops(r.headers.as_ref());
                    let destination = r.destination.as_ref()?;
                    Some(Weighted {
                        destination: names::destination(
                            destination,
                            place.namespace,
                            place.domain,
                            &format!("{field}.destination"),
                            notes,
                        )?,
                        weight: weight(r.weight, &field, notes),
                        request_headers: headers.0,
                        response_headers: headers.1,
                    })
                })
                .collect(),
        )
    };
    let headers = header_ops(route.headers.as_ref());
    HttpRoute {
        name: route.name.as_str().into(),
        matches: route
            .match_
            .iter()
            .map(|m| http_match(m, place.namespace))
            .collect(),
        action,
        rewrite: route.rewrite.as_ref().and_then(rewrite),
        timeout: duration(route.timeout),
        retries: route.retries.as_ref().map(retries),
        fault: route
            .fault
            .as_ref()
            .map(|f| fault(f, &format!("{field}.fault"), notes)),
        mirrors: mirrors(route, place, field, notes),
        cors: route
            .cors_policy
            .as_ref()
            .map(|c| cors(c, &format!("{field}.corsPolicy"), notes)),
        request_headers: headers.0,
        response_headers: headers.1,
    }
}

/// A weight, which must not be negative.
pub fn weight(weight: i32, field: &str, notes: &mut Notes<'_>) -> u32 {
    u32::try_from(weight).unwrap_or_else(|_| {
        notes.error(
            SCHEMA,
            format!("{field}.weight"),
            format!("the weight {weight} is negative"),
            "use a weight of 0 or more",
        );
        0
    })
}

fn header_ops(headers: Option<&api::Headers>) -> (HeaderOps, HeaderOps) {
    let ops = |ops: Option<&api::HeaderOperations>| {
        ops.map_or_else(HeaderOps::default, |o| HeaderOps {
            set: pairs(&o.set),
            add: pairs(&o.add),
            remove: strs(&o.remove),
        })
    };
    let request = headers.and_then(|h| h.request.as_ref());
    let response = headers.and_then(|h| h.response.as_ref());
    (ops(request), ops(response))
}

fn pairs(map: &std::collections::BTreeMap<String, String>) -> Vec<(Str, Str)> {
    map.iter()
        .map(|(k, v)| (k.as_str().into(), v.as_str().into()))
        .collect()
}

/// A match of a header, a parameter or a pseudo-header. `*` is no expression but asks for presence, as does an empty
/// prefix, which Envoy does not take.
fn string_match(m: &api::StringMatch) -> StringMatch {
    match m {
        api::StringMatch::Present => StringMatch::Present,
        api::StringMatch::Exact(text) => StringMatch::Exact(text.as_str().into()),
        api::StringMatch::Prefix(text) if text.is_empty() => StringMatch::Present,
        api::StringMatch::Prefix(text) => StringMatch::Prefix(text.as_str().into()),
        api::StringMatch::Regex(text) if text == "*" => StringMatch::Present,
        api::StringMatch::Regex(text) => StringMatch::Regex(text.as_str().into()),
    }
}

fn named_matches(
    map: &std::collections::BTreeMap<String, api::StringMatch>,
) -> Vec<(Str, StringMatch)> {
    map.iter()
        .map(|(name, m)| (name.as_str().into(), string_match(m)))
        .collect()
}

fn http_match(m: &api::HttpMatchRequest, namespace: &str) -> HttpMatch {
    HttpMatch {
        name: m.name.as_str().into(),
        path: m.uri.as_ref().and_then(|uri| match uri {
            api::StringMatch::Present => None,
            api::StringMatch::Exact(text) => Some(PathMatch::Exact(text.as_str().into())),
            api::StringMatch::Prefix(text) => Some(PathMatch::Prefix(text.as_str().into())),
            api::StringMatch::Regex(text) => Some(PathMatch::Regex(text.as_str().into())),
        }),
        scheme: m.scheme.as_ref().map(string_match),
        method: m.method.as_ref().map(string_match),
        authority: m.authority.as_ref().map(string_match),
        headers: named_matches(&m.headers),
        without_headers: named_matches(&m.without_headers),
        query: named_matches(&m.query_params),
        ignore_case: m.ignore_uri_case,
        port: port(m.port),
        source_labels: labels(&m.source_labels),
        source_namespace: (!m.source_namespace.is_empty())
            .then(|| m.source_namespace.as_str().into()),
        gateways: gateway_refs(&m.gateways, namespace),
        stat_prefix: m.stat_prefix.as_str().into(),
    }
}

/// The redirects that Envoy can answer with.
const REDIRECTS: [u32; 5] = [301, 302, 303, 307, 308];

fn redirect(redirect: &api::HttpRedirect, field: &str, notes: &mut Notes<'_>) -> Redirect {
    let status = match redirect.redirect_code {
        0 => 301,
        code if REDIRECTS.contains(&code) => code,
        code => {
            notes.warn(
                SCHEMA,
                format!("{field}.redirect.redirectCode"),
                format!("{code} is not a redirect that Envoy knows; 301 is answered"),
                "use one of 301, 302, 303, 307, 308",
            );
            301
        }
    };
    Redirect {
        path: match (redirect.uri.as_str(), redirect.prefix_rewrite.as_str()) {
            ("", "") => None,
            ("", prefix) => Some(RedirectPath::Prefix(prefix.into())),
            (uri, _) => Some(RedirectPath::Full(uri.into())),
        },
        authority: (!redirect.authority.is_empty()).then(|| redirect.authority.as_str().into()),
        port: match (redirect.port, redirect.derive_port) {
            (Some(number), _) => Some(RedirectPort::Number(number)),
            (None, Some(api::RedirectPortSelection::FromProtocolDefault)) => {
                Some(RedirectPort::FromProtocolDefault)
            }
            (None, Some(api::RedirectPortSelection::FromRequestPort)) => {
                Some(RedirectPort::FromRequest)
            }
            (None, None) => None,
        },
        scheme: (!redirect.scheme.is_empty()).then(|| redirect.scheme.as_str().into()),
        status,
    }
}

fn rewrite(rewrite: &api::HttpRewrite) -> Option<Rewrite> {
    let path = match &rewrite.uri_regex_rewrite {
        Some(regex) => Some(PathRewrite::Regex {
            pattern: regex.match_.as_str().into(),
            substitution: regex.rewrite.as_str().into(),
        }),
        None => {
            (!rewrite.uri.is_empty()).then(|| PathRewrite::Matched(rewrite.uri.as_str().into()))
        }
    };
    let authority = (!rewrite.authority.is_empty()).then(|| rewrite.authority.as_str().into());
    (path.is_some() || authority.is_some()).then_some(Rewrite { path, authority })
}

/// Retries, of a route or of the mesh.
pub fn retries(retry: &api::HttpRetry) -> Retries {
    Retries {
        attempts: u32::try_from(retry.attempts).unwrap_or(0),
        per_try_timeout: duration(retry.per_try_timeout),
        retry_on: retry.retry_on.as_str().into(),
        remote_localities: retry.retry_remote_localities,
        ignore_previous_hosts: retry.retry_ignore_previous_hosts,
        backoff: duration(retry.backoff),
    }
}

/// Faults; of what share of requests must be said, as in Istio's API.
fn fault(fault: &api::HttpFaultInjection, field: &str, notes: &mut Notes<'_>) -> Fault {
    let mut share = |part: &str, percentage: Option<&api::Percent>, old: i32| {
        let said = match (percentage, u32::try_from(old)) {
            (Some(p), _) => return Share::exact(p.value),
            (None, Ok(old)) => Share::Percent(old.min(100)),
            (None, Err(_)) => Share::NONE,
        };
        if said.is_none() {
            notes.warn(
                SCHEMA,
                format!("{field}.{part}.percentage"),
                "it does not say of which share of requests; none is affected",
                "set percentage.value, from 0 to 100",
            );
        }
        said
    };
    let delay = fault.delay.as_ref().and_then(|d| {
        let fixed = d.fixed_delay?;
        Some((
            fixed.to_std(),
            share("delay", d.percentage.as_ref(), d.percent),
        ))
    });
    let abort = fault
        .abort
        .as_ref()
        .map(|a| (a, share("abort", a.percentage.as_ref(), 0)));
    let abort = abort.and_then(|(a, share)| {
        let kind = match (a.http_status, &a.grpc_status) {
            (Some(status), _) => u32::try_from(status).ok().map(Abort::Http),
            (None, Some(status)) => grpc_code(status).map(Abort::Grpc),
            (None, None) => None,
        };
        if kind.is_none() {
            notes.error(
                SCHEMA,
                format!("{field}.abort"),
                "it does not say with which status",
                "set httpStatus to a status such as 503, or grpcStatus to a name such as UNAVAILABLE",
            );
        }
        Some((kind?, share))
    });
    Fault { delay, abort }
}

/// A gRPC status by name or number (`google.rpc.Code`).
fn grpc_code(text: &str) -> Option<u32> {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    NAMES
        .iter()
        .zip(0..)
        .find(|(name, _)| **name == text)
        .map(|(_, code)| code)
        .or_else(|| text.parse().ok())
}

/// Copies go to `mirror` and to all of `mirrors`.
fn mirrors(
    route: &api::HttpRoute,
    place: &Place<'_>,
    field: &str,
    notes: &mut Notes<'_>,
) -> Vec<Mirror> {
    let mut lower = |to: &api::Destination, share: Share, field: String| {
        let destination = destination(to, place.namespace, place.domain, &field, notes)?;
        (!share.is_none()).then_some(Mirror { destination, share })
    };
    let exact = |p: &api::Percent| Share::exact(p.value);
    let single = route.mirror.as_ref().and_then(|to| {
        let share = match (&route.mirror_percentage, route.mirror_percent) {
            (Some(p), _) => exact(p),
            (None, Some(whole)) => Share::Percent(whole.min(100)),
            (None, None) => Share::ALL,
        };
        lower(to, share, format!("{field}.mirror"))
    });
    let mut out: Vec<Mirror> = single.into_iter().collect();
    for (i, m) in route.mirrors.iter().enumerate() {
        let share = m.percentage.as_ref().map_or(Share::ALL, exact);
        let field = format!("{field}.mirrors[{i}].destination");
        out.extend(
            m.destination
                .as_ref()
                .and_then(|to| lower(to, share, field)),
        );
    }
    out
}

/// Cross-origin rules. Envoy asks whether `*` is allowed before it asks for the origin, so that `exact: "*"` is all.
fn cors(cors: &api::CorsPolicy, field: &str, notes: &mut Notes<'_>) -> Cors {
    let exact = |text: &String| StringMatch::Exact(text.as_str().into());
    let origins = if cors.allow_origins.is_empty() {
        cors.allow_origin.iter().map(exact).collect()
    } else {
        cors.allow_origins
            .iter()
            .enumerate()
            .filter_map(|(i, m)| match m {
                api::StringMatch::Present => {
                    notes.error(
                        SCHEMA,
                        format!("{field}.allowOrigins[{i}]"),
                        "it names no origin and allows none",
                        "set exact, prefix or regex",
                    );
                    None
                }
                api::StringMatch::Exact(text) => Some(exact(text)),
                api::StringMatch::Regex(text) if text == "*" => {
                    Some(StringMatch::Regex(".*".into()))
                }
                other => Some(string_match(other)),
            })
            .collect()
    };
    Cors {
        origins,
        methods: strs(&cors.allow_methods),
        headers: strs(&cors.allow_headers),
        expose: strs(&cors.expose_headers),
        max_age: duration(cors.max_age),
        credentials: cors.allow_credentials,
        forward_unmatched_preflights: match cors.unmatched_preflights {
            api::UnmatchedPreflights::Unspecified | api::UnmatchedPreflights::Forward => Some(true),
            api::UnmatchedPreflights::Ignore => Some(false),
        },
    }
}
