//! Patches of route configurations, virtual hosts and routes.

use std::sync::{Arc, LazyLock};

use hawser_model::filter::{ApplyTo, Context, Operation, RouteTarget};
use hawser_proto::envoy::config::route::v3 as rds;
use prost::Message;

use super::{Owned, edit};
use crate::resource::Resource;
use crate::wire;

/// A route configuration after the patches.
pub(crate) fn patch(resource: &Arc<Resource>, patches: &[Owned], router: bool) -> Arc<Resource> {
    let context = if router {
        Context::Gateway
    } else {
        Context::SidecarOutbound
    };
    let Ok(mut config) = rds::RouteConfiguration::decode(resource.any.value.as_slice()) else {
        return Arc::clone(resource);
    };
    if configuration(&mut config, patches, context) {
        wire::resource(&resource.name, &config)
    } else {
        Arc::clone(resource)
    }
}

/// Applies patches to a route configuration; false if none concerns it. As in Istio the whole is patched before its
/// parts, and at each place additions come last.
pub(super) fn configuration(
    config: &mut rds::RouteConfiguration,
    patches: &[Owned],
    context: Context,
) -> bool {
    let before = config.clone();
    let patches: Vec<&Owned> = patches
        .iter()
        .filter(|o| o.means(context) && is_configuration(o, context, &config.name))
        .collect();
    for owned in of(&patches, ApplyTo::RouteConfiguration).filter(|o| o.merges()) {
        *config = owned.merged(config);
    }
    config
        .virtual_hosts
        .retain_mut(|h| virtual_host(h, &patches));
    let added = of(&patches, ApplyTo::VirtualHost)
        .filter(|o| o.patch.operation == Operation::Add)
        .filter_map(|o| o.value());
    config.virtual_hosts.extend(added);
    *config != before
}

fn of<'p>(patches: &'p [&'p Owned], apply_to: ApplyTo) -> impl Iterator<Item = &'p Owned> {
    patches
        .iter()
        .copied()
        .filter(move |o| o.patch.apply_to == apply_to)
}

fn target(owned: &Owned) -> &RouteTarget {
    static NONE: LazyLock<RouteTarget> = LazyLock::new(RouteTarget::default);
    owned.patch.target.route.as_ref().unwrap_or(&NONE)
}

/// By name, or by what the name tells: of a gateway's configuration `http.PORT` or `https.PORT.NAME.GATEWAY.NAMESPACE`,
/// of a sidecar's the port, or `inbound|PORT||`. Port name and gateway are for gateways alone.
fn is_configuration(owned: &Owned, context: Context, name: &str) -> bool {
    let target = target(owned);
    if !target.name.is_empty() && &*target.name != name {
        return false;
    }
    let means_port =
        |port: &str| target.port == 0 || port.parse().is_ok_and(|port| owned.ports.contains(&port));
    if context != Context::Gateway {
        let inbound = name
            .strip_prefix("inbound|")
            .and_then(|n| n.split('|').next());
        return means_port(inbound.unwrap_or(name));
    }
    let parts: Vec<&str> = name.split('.').collect();
    let (port, port_name, gateway) = match parts[..] {
        ["http", port, ..] => (port, "", String::new()),
        ["https", port, port_name, gateway, namespace, ..] => {
            (port, port_name, format!("{namespace}/{gateway}"))
        }
        _ => (name, "", String::new()),
    };
    means_port(port)
        && (target.port_name.is_empty() || &*target.port_name == port_name)
        && (target.gateway.is_empty() || *target.gateway == *gateway)
}

fn is_host(target: &RouteTarget, host: &rds::VirtualHost) -> bool {
    (target.vhost.is_empty() || *target.vhost == *host.name)
        && (target.domain.is_empty() || host.domains.iter().any(|d| **d == *target.domain))
}

fn is_route(target: &RouteTarget, route: &rds::Route) -> bool {
    let action = match &route.action {
        Some(rds::route::Action::Route(_)) => "ROUTE",
        Some(rds::route::Action::Redirect(_)) => "REDIRECT",
        Some(rds::route::Action::DirectResponse(_)) => "DIRECT_RESPONSE",
        _ => "",
    };
    (target.route.is_empty() || *target.route == *route.name)
        && (target.action.is_empty() || &*target.action == "ANY" || &*target.action == action)
}

/// Patches a virtual host and its routes; false if it is removed.
fn virtual_host(host: &mut rds::VirtualHost, patches: &[&Owned]) -> bool {
    for owned in of(patches, ApplyTo::VirtualHost) {
        if !is_host(target(owned), host) {
            continue;
        }
        match owned.patch.operation {
            Operation::Remove => return false,
            Operation::Replace => {
                if let Some(value) = owned.value() {
                    *host = value;
                }
            }
            _ if owned.merges() => *host = owned.merged(host),
            _ => {}
        }
    }
    let patches: Vec<&Owned> = of(patches, ApplyTo::HttpRoute)
        .filter(|o| is_host(target(o), host))
        .collect();
    host.routes.retain_mut(|r| patch_route(r, &patches));
    for owned in patches {
        insert(host, owned);
    }
    true
}

/// Patches a route; false if it is removed.
fn patch_route(route: &mut rds::Route, patches: &[&Owned]) -> bool {
    for owned in patches {
        if !is_route(target(owned), route) {
            continue;
        }
        match owned.patch.operation {
            Operation::Remove => return false,
            _ if owned.merges() => *route = owned.merged(route),
            _ => {}
        }
    }
    true
}

fn insert(host: &mut rds::VirtualHost, owned: &Owned) {
    let target = target(owned);
    let named = !target.route.is_empty() || !target.action.is_empty();
    let is = |r: &rds::Route| is_route(target, r);
    match owned.patch.operation {
        Operation::Remove => {}
        // The first place, but only where the route that the patch means is there.
        Operation::InsertFirst if named && !host.routes.iter().any(is) => {}
        operation => edit(
            &mut host.routes,
            operation,
            owned.value(),
            named,
            is,
            <[rds::Route]>::len,
        ),
    }
}
