//! Patches of route configurations, virtual hosts and routes.

use std::sync::Arc;

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

/// Applies patches to a route configuration; false if none concerns it.
pub(super) fn configuration(
    config: &mut rds::RouteConfiguration,
    patches: &[Owned],
    context: Context,
) -> bool {
    let none = RouteTarget::default();
    let mut touched = false;
    for owned in patches.iter().filter(|o| o.means(context)) {
        let target = owned.patch.target.route.as_ref().unwrap_or(&none);
        if !is_configuration(target, &config.name) {
            continue;
        }
        match owned.patch.apply_to {
            ApplyTo::RouteConfiguration if owned.merges() => {
                *config = owned.merged(config);
                touched = true;
            }
            ApplyTo::VirtualHost => touched |= virtual_hosts(config, owned, target),
            ApplyTo::HttpRoute => {
                for host in &mut config.virtual_hosts {
                    if is_host(target, host) {
                        routes(host, owned, target);
                        touched = true;
                    }
                }
            }
            _ => {}
        }
    }
    touched
}

/// By name, or by what the name of a gateway's configuration tells: `http.PORT`, `https.PORT.NAME.GATEWAY.NAMESPACE`.
fn is_configuration(target: &RouteTarget, name: &str) -> bool {
    if !target.name.is_empty() && &*target.name != name {
        return false;
    }
    let parts: Vec<&str> = name.split('.').collect();
    let (port, port_name, gateway) = match parts[..] {
        ["http", port, ..] => (port, "", String::new()),
        ["https", port, port_name, gateway, namespace, ..] => {
            (port, port_name, format!("{namespace}/{gateway}"))
        }
        _ => (name, "", String::new()),
    };
    (target.port == 0 || port.parse() == Ok(target.port))
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

fn virtual_hosts(
    config: &mut rds::RouteConfiguration,
    owned: &Owned,
    target: &RouteTarget,
) -> bool {
    match owned.patch.operation {
        Operation::Add => match owned.value::<rds::VirtualHost>() {
            Some(host) => config.virtual_hosts.push(host),
            None => return false,
        },
        Operation::Remove => config.virtual_hosts.retain(|h| !is_host(target, h)),
        Operation::Replace => {
            for host in config
                .virtual_hosts
                .iter_mut()
                .filter(|h| is_host(target, h))
            {
                if let Some(value) = owned.value() {
                    *host = value;
                }
            }
        }
        _ if owned.merges() => {
            for host in config
                .virtual_hosts
                .iter_mut()
                .filter(|h| is_host(target, h))
            {
                *host = owned.merged(host);
            }
        }
        _ => return false,
    }
    true
}

fn routes(host: &mut rds::VirtualHost, owned: &Owned, target: &RouteTarget) {
    if owned.merges() {
        for route in host.routes.iter_mut().filter(|r| is_route(target, r)) {
            *route = owned.merged(route);
        }
        return;
    }
    let named = !target.route.is_empty() || !target.action.is_empty();
    edit(
        &mut host.routes,
        owned.patch.operation,
        owned.value(),
        named,
        |r| is_route(target, r),
        <[rds::Route]>::len,
    );
}
