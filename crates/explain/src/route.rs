//! Virtual host, route and its action (`config.route.v3`).

use hawser_proto::envoy::config::route::v3::redirect_action::{
    PathRewriteSpecifier, SchemeRewriteSpecifier,
};
use hawser_proto::envoy::config::route::v3::route::Action;
use hawser_proto::envoy::config::route::v3::route_action::{
    ClusterNotFoundResponseCode, ClusterSpecifier,
};
use hawser_proto::envoy::config::route::v3::route_match::PathSpecifier;
use hawser_proto::envoy::config::route::v3::{
    RedirectAction, RouteAction, RouteConfiguration, RouteMatch, VirtualHost, virtual_host,
};

use crate::call::{Call, HttpCall};
use crate::config::Config;
use crate::upstream::{self, Target};
use crate::{Verdict, fault, strings};

pub(crate) fn walk(
    config: &Config,
    routes: &RouteConfiguration,
    call: &Call,
    request: &HttpCall,
    inbound: bool,
    steps: &mut Vec<String>,
) -> Verdict {
    steps.push(format!("routes {}", routes.name));
    let authority = match routes.ignore_port_in_host_matching {
        true => without_port(&request.authority),
        false => request.authority.as_str(),
    };
    let Some(host) = virtual_host(routes, &authority.to_ascii_lowercase()) else {
        return Verdict::Refused {
            status: 404,
            why: format!("no virtual host for {}", request.authority),
        };
    };
    steps.push(format!("virtual host {}", host.name));
    let demands_tls = host.require_tls == virtual_host::TlsRequirementType::All as i32;
    if demands_tls && call.tls.is_none() {
        return Verdict::Answered {
            status: 301,
            location: format!("https://{}{}", request.authority, request.path),
        };
    }
    let none = RouteMatch::default();
    let found = host
        .routes
        .iter()
        .find(|r| applies(r.r#match.as_ref().unwrap_or(&none), request));
    let Some(route) = found else {
        return Verdict::Refused {
            status: 404,
            why: format!("no route of virtual host {} matches", host.name),
        };
    };
    steps.push(format!(
        "route {}",
        if route.name.is_empty() {
            "(unnamed)"
        } else {
            &route.name
        }
    ));
    if let Some(verdict) = fault::walk(&route.typed_per_filter_config, request, steps) {
        return verdict;
    }
    match &route.action {
        Some(Action::Route(action)) => {
            let targets: Vec<Target> = match &action.cluster_specifier {
                Some(ClusterSpecifier::Cluster(name)) => vec![Target {
                    cluster: name.clone(),
                    weight: 1,
                }],
                Some(ClusterSpecifier::WeightedClusters(all)) => {
                    let weight = |w: Option<&hawser_proto::google::protobuf::UInt32Value>| {
                        w.map_or(0, |v| v.value)
                    };
                    all.clusters
                        .iter()
                        .map(|c| Target {
                            cluster: c.name.clone(),
                            weight: weight(c.weight.as_ref()),
                        })
                        .collect()
                }
                _ => Vec::new(),
            };
            let not_found = (!inbound).then(|| not_found(action));
            upstream::forward(config, &targets, call.destination, not_found)
        }
        Some(Action::Redirect(redirect)) => {
            let status = [301, 302, 303, 307, 308]
                .get(usize::try_from(redirect.response_code).unwrap_or(0))
                .copied();
            Verdict::Answered {
                status: status.unwrap_or(301),
                location: location(redirect, route.r#match.as_ref(), call, request),
            }
        }
        Some(Action::DirectResponse(direct)) => Verdict::Answered {
            status: direct.status,
            location: String::new(),
        },
        _ => Verdict::Refused {
            status: 404,
            why: "the route has no action".to_owned(),
        },
    }
}

/// The status for a cluster that does not exist.
fn not_found(action: &RouteAction) -> u32 {
    match ClusterNotFoundResponseCode::try_from(action.cluster_not_found_response_code) {
        Ok(ClusterNotFoundResponseCode::NotFound) => 404,
        Ok(ClusterNotFoundResponseCode::InternalServerError) => 500,
        _ => 503,
    }
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// Exact domains first, then the longest suffix wildcard, then the longest prefix wildcard, then `*`.
fn virtual_host<'a>(routes: &'a RouteConfiguration, authority: &str) -> Option<&'a VirtualHost> {
    let score = |domain: &str| -> Option<(u8, usize)> {
        let domain = domain.to_ascii_lowercase();
        if domain == authority {
            return Some((4, 0));
        }
        if domain == "*" {
            return Some((1, 0));
        }
        if let Some(suffix) = domain.strip_prefix('*') {
            return (authority.len() > suffix.len() && authority.ends_with(suffix))
                .then_some((3, suffix.len()));
        }
        let prefix = domain.strip_suffix('*')?;
        (authority.len() > prefix.len() && authority.starts_with(prefix))
            .then_some((2, prefix.len()))
    };
    let best = |host: &VirtualHost| host.domains.iter().filter_map(|d| score(d)).max();
    routes
        .virtual_hosts
        .iter()
        .filter_map(|h| Some((best(h)?, h)))
        .max_by_key(|(s, _)| *s)
        .map(|(_, h)| h)
}

pub(crate) fn applies(m: &RouteMatch, request: &HttpCall) -> bool {
    let path = request.path.split(['?', '#']).next().unwrap_or_default();
    let sensitive = m.case_sensitive.as_ref().is_none_or(|v| v.value);
    let fold = |s: &str| {
        if sensitive {
            s.to_owned()
        } else {
            s.to_ascii_lowercase()
        }
    };
    let on_path = match &m.path_specifier {
        Some(PathSpecifier::Prefix(p)) => fold(&request.path).starts_with(&fold(p)),
        Some(PathSpecifier::Path(p)) => fold(path) == fold(p),
        Some(PathSpecifier::SafeRegex(r)) => strings::full_match(r, path),
        Some(PathSpecifier::PathSeparatedPrefix(p)) => {
            let (path, p) = (fold(path), fold(p));
            path == p || path.starts_with(&format!("{p}/"))
        }
        Some(PathSpecifier::ConnectMatcher(_)) => request.method == "CONNECT",
        _ => false,
    };
    let is_grpc = || {
        request
            .header("content-type")
            .is_some_and(|v| v == "application/grpc" || v.starts_with("application/grpc+"))
    };
    on_path
        && m.headers.iter().all(|h| strings::header(h, request))
        && m.query_parameters
            .iter()
            .all(|q| strings::query(q, &request.path))
        && (m.grpc.is_none() || is_grpc())
}

fn location(
    redirect: &RedirectAction,
    matched: Option<&RouteMatch>,
    call: &Call,
    request: &HttpCall,
) -> String {
    let own = if call.tls.is_some() { "https" } else { "http" };
    let scheme = match &redirect.scheme_rewrite_specifier {
        Some(SchemeRewriteSpecifier::HttpsRedirect(true)) => "https",
        Some(SchemeRewriteSpecifier::SchemeRedirect(s)) => s.as_str(),
        _ => own,
    };
    let mut host = match redirect.host_redirect.as_str() {
        "" => request.authority.clone(),
        host => host.to_owned(),
    };
    if redirect.port_redirect != 0 {
        host = format!("{}:{}", without_port(&host), redirect.port_redirect);
    } else if scheme != own {
        // The default port of the old scheme does not fit the new one.
        let default = if own == "http" { ":80" } else { ":443" };
        host = host
            .strip_suffix(default)
            .map_or(host.clone(), str::to_owned);
    }
    let (path, query) = request
        .path
        .split_once('?')
        .map_or((request.path.as_str(), ""), |(p, q)| (p, q));
    let new_path = match &redirect.path_rewrite_specifier {
        Some(PathRewriteSpecifier::PathRedirect(p)) => p.clone(),
        Some(PathRewriteSpecifier::PrefixRewrite(p)) => {
            let prefix = match matched.and_then(|m| m.path_specifier.as_ref()) {
                Some(
                    PathSpecifier::Prefix(prefix) | PathSpecifier::PathSeparatedPrefix(prefix),
                ) => prefix.as_str(),
                Some(PathSpecifier::Path(whole)) => whole.as_str(),
                _ => "",
            };
            format!("{p}{}", path.strip_prefix(prefix).unwrap_or_default())
        }
        _ => path.to_owned(),
    };
    let query = if query.is_empty() || redirect.strip_query || new_path.contains('?') {
        String::new()
    } else {
        format!("?{query}")
    };
    format!("{scheme}://{host}{new_path}{query}")
}
