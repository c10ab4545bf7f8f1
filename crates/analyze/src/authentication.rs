//! Requests' tokens: routes by claims that nobody checks, and keys fetched from anywhere.

use crate::codes::{CLAIM_WITHOUT_AUTHENTICATION, KEYS_FROM_ANYWHERE};
use crate::finding::{Finding, entry, full_name, list, on};
use crate::pods::selects;
use crate::route_gateways::gateway_name;
use crate::world::{World, find};
use hawser_api::networking::VirtualService;
use hawser_api::{Kind, Labels};
use std::collections::HashMap;

/// Routes by claims on gateways without RequestAuthentication (Istio `virtualservice.JWTClaimRouteAnalyzer`).
pub fn claim_routes(world: &World) -> Vec<Finding> {
    let mut selectors: HashMap<&str, Vec<&Labels>> = HashMap::new();
    let none = Labels::new();
    for policy in &world.request_authentications {
        let selector = policy
            .spec
            .selector
            .as_ref()
            .map_or(&none, |s| &s.match_labels);
        selectors
            .entry(&policy.meta.namespace)
            .or_default()
            .push(selector);
    }
    let mut out = Vec::new();
    for route in &world.virtual_services {
        let Some((path, claim)) = claim(&route.spec) else {
            continue;
        };
        for name in route.spec.gateways.iter().filter(|g| *g != "mesh") {
            let (namespace, name) = gateway_name(&route.meta.namespace, name);
            let Some(gateway) = find(&world.gateways, namespace, name) else {
                continue;
            };
            for pod in world.shared.pods.select(&gateway.spec.selector) {
                let checked = ["istio-system", pod.namespace()]
                    .iter()
                    .filter_map(|namespace| selectors.get(namespace))
                    .flatten()
                    .any(|selector| selects(selector, pod.labels()));
                if !checked {
                    let message = format!(
                        "the route is by claim ({claim}), but no RequestAuthentication applies to pod {} of gateway {namespace}/{name}: the match never succeeds",
                        pod.name()
                    );
                    let found = Finding::new(
                        CLAIM_WITHOUT_AUTHENTICATION,
                        on(Kind::VirtualService, &route.meta),
                        path.clone(),
                        message,
                    );
                    let help = format!(
                        "apply a RequestAuthentication in namespace {} whose selector takes the gateway's pods",
                        pod.namespace()
                    );
                    out.push(found.help(help));
                }
            }
        }
    }
    out
}

/// The first match by a claim.
fn claim(route: &VirtualService) -> Option<(String, &str)> {
    for (i, http) in route.http.iter().enumerate() {
        for (j, m) in http.match_.iter().enumerate() {
            for (field, headers) in [
                ("headers", &m.headers),
                ("withoutHeaders", &m.without_headers),
            ] {
                if let Some(key) = headers
                    .keys()
                    .find(|k| k.starts_with("@request.auth.claims"))
                {
                    return Some((
                        entry(&format!("spec.http[{i}].match[{j}].{field}"), key),
                        key,
                    ));
                }
            }
        }
    }
    None
}

/// A control plane that fetches keys from any address that a RequestAuthentication names (Istio `authn.BlockedCIDRsAnalyzer`).
pub fn keys_from_anywhere(world: &World) -> Vec<Finding> {
    let policies = &world.request_authentications;
    if policies.is_empty() {
        return Vec::new();
    }
    const SETTING: &str = "BLOCKED_CIDRS_IN_JWKS_URIS";
    let names: Vec<String> = policies.iter().map(|p| full_name(&p.meta)).collect();
    let open = world
        .deployments
        .iter()
        .filter(|d| d.label("app") == Some("istiod"))
        .filter(|d| {
            let mut env = d.spec.template.spec.containers.iter().flat_map(|c| &c.env);
            !env.any(|e| e.name == SETTING && !e.value.is_empty())
        });
    open.map(|deployment| {
        let message = format!(
            "{SETTING} is not set, so a RequestAuthentication ({}) may have keys fetched from any address that the control plane reaches",
            list(names.iter().map(String::as_str))
        );
        Finding::new(KEYS_FROM_ANYWHERE, on(Kind::Deployment, &deployment.meta), "spec.template.spec.containers", message)
            .help(format!("set the environment variable {SETTING} to the ranges that must not be asked"))
    })
    .collect()
}
