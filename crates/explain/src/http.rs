//! The HTTP connection manager: the path made normal, the HTTP filters in order, then the route.

use std::net::IpAddr;

use hawser_proto::envoy::extensions::filters::http::ext_authz::v3::ExtAuthz;
use hawser_proto::envoy::extensions::filters::http::jwt_authn::v3::JwtAuthentication;
use hawser_proto::envoy::extensions::filters::http::rbac::v3::Rbac;
use hawser_proto::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use hawser_proto::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use hawser_proto::envoy::extensions::filters::network::http_connection_manager::v3::http_filter::ConfigType;
use hawser_proto::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;
use hawser_proto::google::protobuf::Any;
use serde_json::json;

use crate::call::{Call, HttpCall};
use crate::config::{Config, unpack};
use crate::path::{Normalized, normalize};
use crate::rbac::Subject;
use crate::{Verdict, meta, rbac, route, token};

/// Where the filters leave what they found.
const JWT: &str = "envoy.filters.http.jwt_authn";
const RBAC: &str = "envoy.filters.http.rbac";

/// Filters that decide nothing by themselves: routes tell them what to do, or they only change what is passed on.
const PASSING: &[&str] = &[
    "fault.v3.HTTPFault",
    "cors.v3.Cors",
    "router.v3.Router",
    "set_filter_state.v3.Config",
    "grpc_stats.v3.FilterConfig",
    "grpc_web.v3.GrpcWeb",
    "header_mutation.v3.HeaderMutation",
    "dynamic_forward_proxy.v3.FilterConfig",
];

pub(crate) fn walk(
    config: &Config,
    manager: &HttpConnectionManager,
    call: &Call,
    request: &HttpCall,
    inbound: bool,
    steps: &mut Vec<String>,
) -> Verdict {
    let path = match normalize(manager, &request.path) {
        Normalized::Path(path) => path,
        Normalized::Refused => {
            return Verdict::Refused {
                status: 400,
                why: "the path cannot be made normal".to_owned(),
            };
        }
        Normalized::Redirected(location) => {
            return Verdict::Answered {
                status: 307,
                location,
            };
        }
    };
    let request = HttpCall {
        path,
        ..request.clone()
    };
    let remote = remote(manager, call, &request);
    let mut metadata = json!({});
    for filter in &manager.http_filters {
        let any = match configuration(config, filter) {
            Ok(Some(any)) => any,
            Ok(None) => continue,
            Err(why) => return Verdict::Refused { status: 500, why },
        };
        let subject = Subject {
            call,
            http: Some(&request),
            remote,
            metadata: &metadata,
        };
        if let Some(rules) = unpack::<Rbac>(any) {
            if let Err(why) = rbac::decide(rules.rules.as_ref(), &subject, steps) {
                return Verdict::Refused { status: 403, why };
            }
            let fitting = rules
                .shadow_rules
                .as_ref()
                .and_then(|shadow| rbac::fitting(shadow, &subject));
            if let Some(policy) = fitting.map(str::to_owned) {
                let key = format!(
                    "{}shadow_effective_policy_id",
                    rules.shadow_rules_stat_prefix
                );
                steps.push(format!("rbac {policy} fits, in shadow"));
                metadata[RBAC][key] = policy.into();
            }
        } else if let Some(tokens) = unpack::<JwtAuthentication>(any) {
            match token::check(&tokens, &request) {
                Ok(None) => {}
                Ok(Some(claims)) => {
                    steps.push(format!(
                        "jwt_authn: a token of {}",
                        claims["iss"].as_str().unwrap_or("nobody")
                    ));
                    metadata[JWT]["payload"] = claims;
                }
                Err(why) => {
                    return Verdict::Refused {
                        status: 401,
                        why: format!("jwt_authn: {why}"),
                    };
                }
            }
        } else if let Some(other) = unpack::<ExtAuthz>(any) {
            if other
                .filter_enabled_metadata
                .as_ref()
                .is_some_and(|m| !meta::matches(m, &metadata))
            {
                continue;
            }
            steps.push("ext_authz: an external authorizer is asked".to_owned());
            if request.denied_externally {
                return Verdict::Refused {
                    status: 403,
                    why: "the external authorizer refuses".to_owned(),
                };
            }
        } else if !PASSING.iter().any(|known| any.type_url.ends_with(known)) {
            steps.push(format!("filter {} may do anything", filter.name));
        }
    }
    let routes = match &manager.route_specifier {
        Some(RouteSpecifier::Rds(rds)) => config.routes.get(&rds.route_config_name),
        Some(RouteSpecifier::RouteConfig(inline)) => Some(inline),
        _ => None,
    };
    match routes {
        Some(routes) => route::walk(config, routes, call, &request, inbound, steps),
        None => Verdict::Refused {
            status: 404,
            why: "the route configuration is not there".to_owned(),
        },
    }
}

/// What a filter is to do: as the listener says, or as was sent by itself, for which Envoy waits. Without any, the filter
/// answers 500 ("extension_config.proto", `ExtensionConfigSource`).
fn configuration<'a>(
    config: &'a Config,
    filter: &'a HttpFilter,
) -> Result<Option<&'a Any>, String> {
    if filter.disabled {
        return Ok(None);
    }
    match &filter.config_type {
        Some(ConfigType::TypedConfig(any)) => Ok(Some(any)),
        Some(ConfigType::ConfigDiscovery(source)) => config
            .extensions
            .get(&filter.name)
            .and_then(|sent| sent.typed_config.as_ref())
            .or(source.default_config.as_ref())
            .map(Some)
            .ok_or_else(|| format!("the configuration of {} has not come", filter.name)),
        None => Ok(None),
    }
}

/// The client's address as Envoy trusts it ("x-forwarded-for" in its HTTP header documentation): the peer's own, or what the
/// peer says where peers are proxies.
fn remote(manager: &HttpConnectionManager, call: &Call, request: &HttpCall) -> IpAddr {
    let trusted = usize::try_from(manager.xff_num_trusted_hops).unwrap_or(usize::MAX);
    let own_edge = manager.use_remote_address.as_ref().is_some_and(|v| v.value);
    // An edge counts its peer as one of the hops.
    let from_the_right = match (own_edge, trusted) {
        (true, 0) => return call.source,
        (true, hops) => hops - 1,
        (false, hops) => hops,
    };
    let said = request.header("x-forwarded-for").unwrap_or_default();
    said.rsplit(',')
        .nth(from_the_right)
        .and_then(|a| a.trim().parse().ok())
        .unwrap_or(call.source)
}
