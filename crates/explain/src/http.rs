//! The HTTP connection manager: the path made normal, the HTTP filters in order, then the route.

use hawser_proto::envoy::extensions::filters::http::ext_authz::v3::ExtAuthz;
use hawser_proto::envoy::extensions::filters::http::jwt_authn::v3::JwtAuthentication;
use hawser_proto::envoy::extensions::filters::http::rbac::v3::Rbac;
use hawser_proto::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use hawser_proto::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use hawser_proto::envoy::extensions::filters::network::http_connection_manager::v3::http_filter::ConfigType;

use crate::call::{Call, HttpCall};
use crate::config::{Config, unpack};
use crate::path::{Normalized, normalize};
use crate::rbac::Subject;
use crate::{Verdict, rbac, route};

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
        Normalized::Refused => return Verdict::Refused { status: 400, why: "the path cannot be made normal".to_owned() },
        Normalized::Redirected(location) => return Verdict::Answered { status: 307, location },
    };
    let request = HttpCall { path: path.clone(), ..request.clone() };
    for filter in &manager.http_filters {
        let Some(ConfigType::TypedConfig(any)) = &filter.config_type else { continue };
        if let Some(rules) = unpack::<Rbac>(any) {
            let subject = Subject { call, http: Some(&request), path: &path };
            if let Err(why) = rbac::decide(rules.rules.as_ref(), &subject, steps) {
                return Verdict::Refused { status: 403, why };
            }
        } else if unpack::<JwtAuthentication>(any).is_some() && request.header("authorization").is_some() {
            steps.push("jwt_authn: whether the token is good is a matter of keys".to_owned());
        } else if unpack::<ExtAuthz>(any).is_some() {
            steps.push("ext_authz: an external service decides".to_owned());
        }
    }
    let routes = match &manager.route_specifier {
        Some(RouteSpecifier::Rds(rds)) => config.routes.get(&rds.route_config_name),
        Some(RouteSpecifier::RouteConfig(inline)) => Some(inline),
        _ => None,
    };
    match routes {
        Some(routes) => route::walk(config, routes, call, &request, inbound, steps),
        None => Verdict::Refused { status: 404, why: "the route configuration is not there".to_owned() },
    }
}
