//! EnvoyFilter, as far as it can be judged without Envoy's own types: what the patches hold is checked where they are applied.

use super::{Check, policy, re2};
use crate::networking::{
    ApplyTo, EnvoyConfigObjectMatch, EnvoyConfigObjectPatch, EnvoyFilter, ListenerMatch,
    PatchContext, PatchOperation, WaypointMatch,
};

const CONNECTION_MANAGERS: &[&str] = &[
    "envoy.filters.network.http_connection_manager",
    "envoy.http_connection_manager",
];

/// Names of filters that Envoy dropped, and today's.
const OLD_FILTER_NAMES: &[(&str, &str)] = &[
    ("envoy.buffer", "envoy.filters.http.buffer"),
    ("envoy.cors", "envoy.filters.http.cors"),
    ("envoy.csrf", "envoy.filters.http.csrf"),
    ("envoy.ext_authz", "envoy.filters.http.ext_authz"),
    ("envoy.fault", "envoy.filters.http.fault"),
    ("envoy.grpc_web", "envoy.filters.http.grpc_web"),
    ("envoy.gzip", "envoy.filters.http.gzip"),
    ("envoy.health_check", "envoy.filters.http.health_check"),
    (
        "envoy.http_connection_manager",
        "envoy.filters.network.http_connection_manager",
    ),
    ("envoy.lua", "envoy.filters.http.lua"),
    ("envoy.rate_limit", "envoy.filters.http.ratelimit"),
    ("envoy.router", "envoy.filters.http.router"),
    ("envoy.squash", "envoy.filters.http.squash"),
    ("envoy.tcp_proxy", "envoy.filters.network.tcp_proxy"),
    ("envoy.mongo_proxy", "envoy.filters.network.mongo_proxy"),
    ("envoy.redis_proxy", "envoy.filters.network.redis_proxy"),
    ("envoy.ratelimit", "envoy.filters.network.ratelimit"),
];

pub(super) fn check(c: &mut Check, filter: &EnvoyFilter) {
    c.warn(
        "an EnvoyFilter depends on how the mesh is built, which may change with any version",
        "prefer other kinds where they can do it, and test before every upgrade",
    );
    if !policy::workload_selector(c, filter.workload_selector.as_ref()) {
        return;
    }
    if filter.workload_selector.is_some() && !filter.target_refs.is_empty() {
        c.error(
            "only one of workloadSelector and targetRefs may be set",
            "keep one of them",
        );
    }
    policy::targets(c, None, None, &filter.target_refs);
    c.each("configPatches", &filter.config_patches, patch);
}

fn patch(c: &mut Check, p: &EnvoyConfigObjectPatch) {
    if p.apply_to == ApplyTo::Invalid {
        c.error_at(
            "applyTo",
            "is required",
            "use CLUSTER, LISTENER, HTTP_FILTER, HTTP_ROUTE, …",
        );
        return;
    }
    let Some(patch) = &p.patch else {
        c.error_at("patch", "is required", "");
        return;
    };
    if patch.operation == PatchOperation::Invalid {
        c.within("patch", |c| {
            c.error_at(
                "operation",
                "is required",
                "use MERGE, ADD, REMOVE, INSERT_BEFORE, …",
            )
        });
        return;
    }
    if patch.operation != PatchOperation::Remove && patch.value.is_none() {
        c.within("patch", |c| {
            c.error_at("value", "is required unless the operation is REMOVE", "")
        });
        return;
    }
    if let Some(m) = &p.match_ {
        c.within("match", |c| check_match(c, p.apply_to, m));
    }
}

fn check_match(c: &mut Check, apply_to: ApplyTo, m: &EnvoyConfigObjectMatch) {
    if let Some(proxy) = &m.proxy
        && !proxy.proxy_version.is_empty()
        && let Err(why) = re2::compile(&proxy.proxy_version)
    {
        c.within("proxy", |c| {
            c.error_at("proxyVersion", format!("bad regular expression: {why}"), "")
        });
        return;
    }
    if m.context == PatchContext::Waypoint {
        waypoint_match(c, apply_to, m.waypoint.as_ref());
        return;
    }
    // A waypoint's match in another context is told by the schema.
    let any = m.listener.is_some() || m.route_configuration.is_some() || m.cluster.is_some();
    let fits = |c: &mut Check, fitting: bool, key: &str| {
        if any && !fitting {
            c.error(
                format!("{} is matched by {key}", apply_to.as_str()),
                format!("put the match under {key}"),
            );
        }
    };
    match apply_to {
        ApplyTo::Listener | ApplyTo::FilterChain | ApplyTo::NetworkFilter | ApplyTo::HttpFilter => {
            fits(c, m.listener.is_some(), "listener");
            if let Some(listener) = &m.listener {
                c.within("listener", |c| listener_match(c, apply_to, listener));
            }
        }
        ApplyTo::RouteConfiguration | ApplyTo::VirtualHost | ApplyTo::HttpRoute => {
            fits(c, m.route_configuration.is_some(), "routeConfiguration");
        }
        ApplyTo::Cluster => fits(c, m.cluster.is_some(), "cluster"),
        ApplyTo::Invalid
        | ApplyTo::ExtensionConfig
        | ApplyTo::Bootstrap
        | ApplyTo::ListenerFilter => {}
    }
}

/// What a waypoint has is looked for by filter or by route alone, each where it stands.
fn waypoint_match(c: &mut Check, apply_to: ApplyTo, m: Option<&WaypointMatch>) {
    let (filters, routes) = match apply_to {
        ApplyTo::FilterChain | ApplyTo::NetworkFilter | ApplyTo::HttpFilter => (true, false),
        ApplyTo::RouteConfiguration | ApplyTo::VirtualHost | ApplyTo::HttpRoute => (false, true),
        ApplyTo::Cluster => (false, false),
        ApplyTo::Listener
        | ApplyTo::ListenerFilter
        | ApplyTo::Bootstrap
        | ApplyTo::ExtensionConfig
        | ApplyTo::Invalid => {
            c.error_at(
                "context",
                format!("{} of a waypoint cannot be patched", apply_to.as_str()),
                "use another context",
            );
            return;
        }
    };
    // That the match is missing is told by the schema.
    let Some(m) = m else { return };
    c.within("waypoint", |c| {
        let mut useless = |key: &str| {
            let message = format!("has no effect with applyTo: {}", apply_to.as_str());
            c.error_at(key, message, "remove it");
        };
        if m.filter.is_some() && !filters {
            useless("filter");
        }
        if m.route.is_some() && !routes {
            useless("route");
        }
        if apply_to != ApplyTo::HttpFilter {
            return;
        }
        let manager = "name filter envoy.filters.network.http_connection_manager and a subFilter";
        match &m.filter {
            None => c.error_at("filter", "is required for applyTo: HTTP_FILTER", manager),
            Some(filter) if filter.name != CONNECTION_MANAGERS[0] => {
                c.error_at(
                    "filter",
                    "HTTP filters are within the HTTP connection manager only",
                    manager,
                );
            }
            Some(filter) if filter.sub_filter.as_ref().is_none_or(|s| s.name.is_empty()) => {
                c.error_at("filter", "needs a subFilter with a name", manager);
            }
            Some(_) => {}
        }
    });
}

fn listener_match(c: &mut Check, apply_to: ApplyTo, m: &ListenerMatch) {
    let Some(filter) = m
        .filter_chain
        .as_ref()
        .and_then(|chain| chain.filter.as_ref())
    else {
        return;
    };
    c.within("filterChain", |c| {
        c.within("filter", |c| {
            if matches!(apply_to, ApplyTo::Listener | ApplyTo::FilterChain) {
                c.warn(
                    format!("has no effect with applyTo: {}", apply_to.as_str()),
                    "remove it",
                );
            }
            if filter.name.is_empty() {
                c.error_at("name", "is required to match a filter", "");
                return;
            }
            if let Some(sub) = &filter.sub_filter {
                let wrong = if apply_to != ApplyTo::HttpFilter {
                    Some(("is for applyTo: HTTP_FILTER only", "remove it"))
                } else if !CONNECTION_MANAGERS.contains(&filter.name.as_str()) {
                    Some((
                        "is within the HTTP connection manager only",
                        "match filter envoy.filters.network.http_connection_manager",
                    ))
                } else if sub.name.is_empty() {
                    Some(("needs a name to match", ""))
                } else {
                    None
                };
                if let Some((message, help)) = wrong {
                    c.error_at("subFilter", message, help);
                    return;
                }
            }
            for name in
                std::iter::once(&filter.name).chain(filter.sub_filter.as_ref().map(|s| &s.name))
            {
                if let Some((_, new)) = OLD_FILTER_NAMES.iter().find(|(old, _)| old == name) {
                    c.warn(
                        format!("\"{name}\" is the filter's old name"),
                        format!("write {new}"),
                    );
                }
            }
        });
    });
}
