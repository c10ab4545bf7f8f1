//! What becomes of a request.

use std::collections::HashMap;
use std::time::Duration;

use hawser_model::matching::Fraction;
use hawser_model::route::{
    Abort, Cors, Destination, DirectBody, Fault, HttpAction, HttpMatch, HttpRoute, PathMatch,
    PathRewrite, Redirect, RedirectPath, RedirectPort, Rewrite, RouteSemantics, Weighted,
};
use hawser_model::traffic::ClientTlsMode;
use hawser_proto::envoy::config::core::v3 as core;
use hawser_proto::envoy::config::route::v3 as rds;
use hawser_proto::envoy::extensions::filters::common::fault::v3 as fault_delay;
use hawser_proto::envoy::extensions::filters::http::cors::v3 as cors_filter;
use hawser_proto::envoy::extensions::filters::http::fault::v3 as fault_filter;
use hawser_proto::envoy::r#type::matcher::v3 as matcher;
use hawser_proto::google::protobuf::Any;
use rds::route_action::{ClusterSpecifier, HostRewriteSpecifier};

use super::{Context, hash, matching, retry};
use crate::destination;
use crate::wire;

/// One rule, one of its matches: one route.
pub(crate) fn route(rule: &HttpRoute, m: Option<&HttpMatch>, cx: &Context<'_>) -> rds::Route {
    let name = match m.map(|m| &*m.name).filter(|n| !n.is_empty()) {
        Some(n) if rule.name.is_empty() => n.to_owned(),
        Some(n) => format!("{}.{n}", rule.name),
        None => rule.name.to_string(),
    };
    let mut out = rds::Route {
        name,
        r#match: Some(matching::route_match(m)),
        stat_prefix: m.map(|m| m.stat_prefix.to_string()).unwrap_or_default(),
        ..Default::default()
    };
    let (add, remove) = wire::header_ops(&rule.request_headers);
    let (response_add, response_remove) = wire::header_ops(&rule.response_headers);
    out.request_headers_to_add = add;
    out.request_headers_to_remove = remove;
    out.response_headers_to_add = response_add;
    out.response_headers_to_remove = response_remove;
    out.action = Some(match &rule.action {
        HttpAction::Redirect(r) => rds::route::Action::Redirect(redirect(r, cx)),
        HttpAction::Direct { status, body } => {
            rds::route::Action::DirectResponse(direct(*status, body.as_ref()))
        }
        HttpAction::Route(to) if to.is_empty() => {
            rds::route::Action::DirectResponse(direct(500, None))
        }
        HttpAction::Route(to) => rds::route::Action::Route(forward(rule, to, m, cx, &mut out)),
    });
    out.typed_per_filter_config
        .extend(per_filter(rule.fault.as_ref(), rule.cors.as_ref()));
    if cx.announces && leaves_the_mesh(rule, cx) {
        out.typed_per_filter_config
            .insert(crate::listener::http::ANNOUNCE.to_owned(), disabled());
    }
    out
}

/// A route to one service, without any rule.
pub(crate) fn default_route(destination: &Destination, cx: &Context<'_>) -> rds::Route {
    let mut action = base_action(cx);
    action.cluster_specifier = Some(ClusterSpecifier::Cluster(cx.cluster(destination)));
    action.hash_policy = hash::of_service(destination, cx).into_iter().collect();
    let mut out = rds::Route {
        name: "default".to_owned(),
        r#match: Some(matching::route_match(None)),
        action: Some(rds::route::Action::Route(action)),
        ..Default::default()
    };
    if cx.announces && has_own_tls(destination, cx) {
        out.typed_per_filter_config
            .insert(crate::listener::http::ANNOUNCE.to_owned(), disabled());
    }
    out
}

fn disabled() -> Any {
    wire::any(&rds::FilterConfig {
        disabled: true,
        ..Default::default()
    })
}

/// A route action with the mesh's defaults.
pub(crate) fn base_action(cx: &Context<'_>) -> rds::RouteAction {
    rds::RouteAction {
        timeout: Some(wire::duration(Duration::ZERO)),
        max_stream_duration: Some(grpc_timeout(Duration::ZERO)),
        retry_policy: retry::policy(None, cx.mesh, false),
        ..Default::default()
    }
}

/// What a client says in `grpc-timeout` holds up to this; zero is without limit.
fn grpc_timeout(most: Duration) -> rds::route_action::MaxStreamDuration {
    rds::route_action::MaxStreamDuration {
        grpc_timeout_header_max: Some(wire::duration(most)),
        ..Default::default()
    }
}

fn forward(
    rule: &HttpRoute,
    to: &[Weighted],
    m: Option<&HttpMatch>,
    cx: &Context<'_>,
    out: &mut rds::Route,
) -> rds::RouteAction {
    let mut action = base_action(cx);
    if let Some(timeout) = rule.timeout {
        action.timeout = Some(wire::duration(timeout));
        action.max_stream_duration = Some(grpc_timeout(timeout));
    }
    let literal = |host| Some(HostRewriteSpecifier::HostRewriteLiteral(host));
    action.host_rewrite_specifier = wire::authority(&rule.request_headers).and_then(literal);
    if let Some(rewrite) = &rule.rewrite {
        self::rewrite(rewrite, m, &mut action);
    }
    action.request_mirror_policies = rule
        .mirrors
        .iter()
        .filter(|m| !m.share.is_none())
        .map(|m| rds::route_action::RequestMirrorPolicy {
            cluster: cx.cluster(&m.destination),
            runtime_fraction: Some(wire::runtime_fraction(wire::share(m.share))),
            trace_sampled: Some(wire::boolv(false)),
            ..Default::default()
        })
        .collect();
    match to {
        [only] => {
            action.cluster_specifier =
                Some(ClusterSpecifier::Cluster(cx.cluster(&only.destination)));
            let (add, remove) = wire::header_ops(&only.request_headers);
            let (response_add, response_remove) = wire::header_ops(&only.response_headers);
            out.request_headers_to_add.extend(add);
            out.request_headers_to_remove.extend(remove);
            out.response_headers_to_add.extend(response_add);
            out.response_headers_to_remove.extend(response_remove);
            if action.host_rewrite_specifier.is_none() {
                action.host_rewrite_specifier =
                    wire::authority(&only.request_headers).and_then(literal);
            }
            action.hash_policy = hash::policy(&only.destination, cx).into_iter().collect();
        }
        many => {
            let clusters = many
                .iter()
                .filter(|w| w.weight > 0)
                .map(|w| weighted(w, cx))
                .collect();
            action.cluster_specifier =
                Some(ClusterSpecifier::WeightedClusters(rds::WeightedCluster {
                    clusters,
                    ..Default::default()
                }));
            action.hash_policy = many
                .iter()
                .filter(|w| w.weight > 0)
                .filter_map(|w| hash::policy(&w.destination, cx))
                .collect();
        }
    }
    if cx.semantics == RouteSemantics::GatewayApi {
        // "Requests that would have gone to an invalid backend get a 500" (HTTPRoute).
        action.cluster_not_found_response_code =
            rds::route_action::ClusterNotFoundResponseCode::InternalServerError as i32;
    }
    // One destination whose hash decides has no other host to try.
    let hashed = to.len() == 1 && !action.hash_policy.is_empty();
    action.retry_policy = retry::policy(rule.retries.as_ref(), cx.mesh, hashed);
    action
}

fn weighted(w: &Weighted, cx: &Context<'_>) -> rds::weighted_cluster::ClusterWeight {
    use rds::weighted_cluster::cluster_weight::HostRewriteSpecifier as Rewrite;
    let (add, remove) = wire::header_ops(&w.request_headers);
    let (response_add, response_remove) = wire::header_ops(&w.response_headers);
    let host = wire::authority(&w.request_headers);
    rds::weighted_cluster::ClusterWeight {
        name: cx.cluster(&w.destination),
        weight: Some(wire::u32v(w.weight)),
        request_headers_to_add: add,
        request_headers_to_remove: remove,
        response_headers_to_add: response_add,
        response_headers_to_remove: response_remove,
        host_rewrite_specifier: host.map(Rewrite::HostRewriteLiteral),
        ..Default::default()
    }
}

fn rewrite(rewrite: &Rewrite, m: Option<&HttpMatch>, action: &mut rds::RouteAction) {
    let regex = |pattern: &str, substitution: &str| {
        Some(matcher::RegexMatchAndSubstitute {
            pattern: Some(wire::regex_matcher(pattern)),
            substitution: substitution.to_owned(),
        })
    };
    match &rewrite.path {
        None => {}
        Some(PathRewrite::Matched(path)) => action.prefix_rewrite = path.to_string(),
        Some(PathRewrite::Full(path)) => action.regex_rewrite = regex("/.*", path),
        Some(PathRewrite::Regex {
            pattern,
            substitution,
        }) => action.regex_rewrite = regex(pattern, substitution),
        Some(PathRewrite::SegmentPrefix(path)) => {
            let matched = match m.and_then(|m| m.path.as_ref()) {
                Some(PathMatch::SegmentPrefix(p) | PathMatch::Prefix(p)) => p.trim_end_matches('/'),
                _ => "",
            };
            if path.trim_end_matches('/').is_empty() && !matched.is_empty() {
                // Replacing `/a` by nothing must leave one slash, not two or none.
                action.regex_rewrite = regex(&format!("^{}(/?)(.*)", escape(matched)), "/\\2");
            } else {
                action.prefix_rewrite = path.to_string();
            }
        }
    }
    if let Some(host) = &rewrite.authority {
        action.host_rewrite_specifier =
            Some(HostRewriteSpecifier::HostRewriteLiteral(host.to_string()));
    }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if "\\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn redirect(r: &Redirect, cx: &Context<'_>) -> rds::RedirectAction {
    use rds::redirect_action::{
        PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier,
    };
    let scheme = r
        .scheme
        .as_deref()
        .unwrap_or(if cx.tls { "https" } else { "http" });
    let port = match r.port {
        None | Some(RedirectPort::FromProtocolDefault) => 0,
        Some(RedirectPort::Number(n)) => n,
        Some(RedirectPort::FromRequest) => u32::from(cx.port),
    };
    let port = match (port, scheme) {
        (80, "http") | (443, "https") => 0,
        (n, _) => n,
    };
    rds::RedirectAction {
        host_redirect: r.authority.as_deref().unwrap_or_default().to_owned(),
        port_redirect: port,
        response_code: match r.status {
            302 => RedirectResponseCode::Found,
            303 => RedirectResponseCode::SeeOther,
            307 => RedirectResponseCode::TemporaryRedirect,
            308 => RedirectResponseCode::PermanentRedirect,
            _ => RedirectResponseCode::MovedPermanently,
        } as i32,
        path_rewrite_specifier: r.path.as_ref().map(|p| match p {
            RedirectPath::Full(p) => PathRewriteSpecifier::PathRedirect(p.to_string()),
            RedirectPath::Prefix(p) => PathRewriteSpecifier::PrefixRewrite(p.to_string()),
        }),
        scheme_rewrite_specifier: r
            .scheme
            .as_ref()
            .map(|s| SchemeRewriteSpecifier::SchemeRedirect(s.to_string())),
        ..Default::default()
    }
}

fn direct(status: u32, body: Option<&DirectBody>) -> rds::DirectResponseAction {
    use core::data_source::Specifier;
    rds::DirectResponseAction {
        status,
        body: body.map(|b| core::DataSource {
            specifier: Some(match b {
                DirectBody::Text(t) => Specifier::InlineString(t.to_string()),
                DirectBody::Bytes(b) => Specifier::InlineBytes(b.to_vec()),
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn per_filter(fault: Option<&Fault>, cors: Option<&Cors>) -> HashMap<String, Any> {
    let mut out = HashMap::new();
    if let Some(fault) = fault {
        out.insert(
            "envoy.filters.http.fault".to_owned(),
            wire::any(&self::fault(fault)),
        );
    }
    if let Some(cors) = cors {
        out.insert(
            "envoy.filters.http.cors".to_owned(),
            wire::any(&self::cors(cors)),
        );
    }
    out
}

fn fault(fault: &Fault) -> fault_filter::HttpFault {
    use fault_delay::fault_delay::FaultDelaySecifier;
    use fault_filter::fault_abort::ErrorType;
    fault_filter::HttpFault {
        delay: fault
            .delay
            .as_ref()
            .map(|(delay, share)| fault_delay::FaultDelay {
                fault_delay_secifier: Some(FaultDelaySecifier::FixedDelay(wire::duration(*delay))),
                percentage: Some(wire::share(*share)),
            }),
        abort: fault
            .abort
            .as_ref()
            .map(|(abort, share)| fault_filter::FaultAbort {
                error_type: Some(match abort {
                    Abort::Http(code) => ErrorType::HttpStatus(*code),
                    Abort::Grpc(code) => ErrorType::GrpcStatus(*code),
                }),
                percentage: Some(wire::share(*share)),
                ..Default::default()
            }),
        ..Default::default()
    }
}

fn cors(cors: &Cors) -> cors_filter::CorsPolicy {
    let join = |list: &[hawser_model::Str]| list.iter().map(|s| &**s).collect::<Vec<_>>().join(",");
    cors_filter::CorsPolicy {
        allow_origin_string_match: cors.origins.iter().map(wire::string_match).collect(),
        allow_methods: join(&cors.methods),
        allow_headers: join(&cors.headers),
        expose_headers: join(&cors.expose),
        max_age: cors
            .max_age
            .map(|d| d.as_secs().to_string())
            .unwrap_or_default(),
        allow_credentials: cors.credentials.map(wire::boolv),
        forward_not_matching_preflights: Some(wire::boolv(
            cors.forward_unmatched_preflights.unwrap_or(true),
        )),
        filter_enabled: Some(wire::runtime_fraction(wire::fraction(Fraction::ONE))),
        ..Default::default()
    }
}

/// True if TLS towards the destination is the user's own.
fn has_own_tls(d: &Destination, cx: &Context<'_>) -> bool {
    cx.to.rules.get(&d.host).is_some_and(|rule| {
        let subset = destination::subset(rule, &d.subset);
        destination::policy(Some(rule), subset, cx.port_of(d))
            .tls
            .is_some_and(|t| matches!(t.mode, ClientTlsMode::Simple | ClientTlsMode::Mutual))
    })
}

fn leaves_the_mesh(rule: &HttpRoute, cx: &Context<'_>) -> bool {
    match &rule.action {
        HttpAction::Route(to) => to.iter().any(|w| has_own_tls(&w.destination, cx)),
        _ => false,
    }
}
