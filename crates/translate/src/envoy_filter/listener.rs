//! Patches of listeners, chains, network filters and HTTP filters.

use std::collections::BTreeMap;
use std::sync::Arc;

use hawser_model::Str;
use hawser_model::filter::{ApplyTo, Context, ListenerTarget, Operation};
use hawser_proto::envoy::config::core::v3 as core;
use hawser_proto::envoy::config::listener::v3 as lds;
use hawser_proto::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use prost::{Message, Name};

use super::{Owned, Patched, edit, route};
use crate::resource::Resource;
use crate::wire;

const MANAGER: &str = "envoy.filters.network.http_connection_manager";

/// A listener after the patches; `None` if one removes it.
pub(crate) fn patch(resource: &Arc<Resource>, patches: &[Owned], router: bool) -> Patched {
    let Ok(mut listener) = lds::Listener::decode(resource.any.value.as_slice()) else {
        return Some(Arc::clone(resource));
    };
    let inbound = listener.traffic_direction == core::TrafficDirection::Inbound as i32;
    let context = match (router, inbound) {
        (true, _) => Context::Gateway,
        (false, true) => Context::SidecarInbound,
        (false, false) => Context::SidecarOutbound,
    };
    let before = listener.clone();
    let none = ListenerTarget::default();
    for owned in patches.iter().filter(|o| o.means(context)) {
        let target = owned.patch.target.listener.as_ref().unwrap_or(&none);
        if !is_listener(owned.patch.apply_to, target, &listener) {
            continue;
        }
        match owned.patch.apply_to {
            ApplyTo::Listener => match owned.patch.operation {
                Operation::Remove => return None,
                _ if owned.merges() => listener = owned.merged(&listener),
                _ => {}
            },
            ApplyTo::ListenerFilter => {
                let named = !target.listener_filter.is_empty();
                edit(
                    &mut listener.listener_filters,
                    owned.patch.operation,
                    owned.value(),
                    named,
                    |f| *f.name == *target.listener_filter,
                    <[_]>::len,
                );
            }
            ApplyTo::FilterChain if owned.patch.operation == Operation::Add => {
                listener.filter_chains.extend(owned.value());
            }
            _ => chains(&mut listener, owned, target, context),
        }
    }
    if listener == before {
        return Some(Arc::clone(resource));
    }
    listener.filter_chains.retain(|c| !c.filters.is_empty());
    Some(wire::resource(&resource.name, &listener))
}

/// Listeners that patches add: outbound or of gateways where they do not say.
pub(crate) fn added(patches: &[Owned], router: bool) -> BTreeMap<Str, Arc<Resource>> {
    patches
        .iter()
        .filter(|o| o.patch.apply_to == ApplyTo::Listener && o.patch.operation == Operation::Add)
        .filter(|o| {
            (o.patch.context == Context::Gateway) == router || o.patch.context == Context::Any
        })
        .filter_map(|o| o.value::<lds::Listener>())
        .filter(|l| !l.name.is_empty())
        .map(|l| wire::resource(&l.name.clone(), &l))
        .map(|r| (r.name.clone(), r))
        .collect()
}

/// The two capturing listeners hold chains for many ports: there the port is that of a chain.
fn is_capturing(listener: &lds::Listener) -> bool {
    matches!(listener.name.as_str(), "virtualInbound" | "virtualOutbound")
}

fn is_listener(apply_to: ApplyTo, target: &ListenerTarget, listener: &lds::Listener) -> bool {
    if !target.name.is_empty() && *target.name != *listener.name {
        return false;
    }
    if target.port == 0 || (apply_to != ApplyTo::Listener && is_capturing(listener)) {
        return true;
    }
    let port = listener.address.as_ref().and_then(|a| match &a.address {
        Some(core::address::Address::SocketAddress(s)) => match s.port_specifier {
            Some(core::socket_address::PortSpecifier::PortValue(p)) => Some(p),
            _ => None,
        },
        _ => None,
    });
    port == Some(target.port)
}

fn is_chain(target: &ListenerTarget, capturing: bool, chain: &lds::FilterChain) -> bool {
    let none = lds::FilterChainMatch::default();
    let m = chain.filter_chain_match.as_ref().unwrap_or(&none);
    let port = m.destination_port.map_or(0, |p| p.value);
    (!capturing || target.port == 0 || target.port == port)
        && (target.chain_name.is_empty() || *target.chain_name == *chain.name)
        && (target.sni.is_empty() || m.server_names.iter().any(|n| **n == *target.sni))
        && (target.transport_protocol.is_empty()
            || *target.transport_protocol == *m.transport_protocol)
        && target
            .application_protocols
            .split(',')
            .filter(|p| !p.is_empty())
            .all(|p| m.application_protocols.iter().any(|own| own == p))
        && (target.destination_port == 0 || target.destination_port == port)
}

fn chains(listener: &mut lds::Listener, owned: &Owned, target: &ListenerTarget, context: Context) {
    let capturing = is_capturing(listener);
    let default = listener.default_filter_chain.iter_mut();
    for chain in listener.filter_chains.iter_mut().chain(default) {
        if !is_chain(target, capturing, chain) {
            continue;
        }
        match owned.patch.apply_to {
            ApplyTo::FilterChain => match owned.patch.operation {
                Operation::Remove => chain.filters.clear(),
                _ if owned.merges() => *chain = owned.merged(chain),
                _ => {}
            },
            ApplyTo::NetworkFilter => network_filters(chain, owned, target),
            ApplyTo::HttpFilter if (target.filter.is_empty() || &*target.filter == MANAGER) => {
                each_manager(chain, |m| http_filters(m, owned, target));
            }
            ApplyTo::RouteConfiguration | ApplyTo::VirtualHost | ApplyTo::HttpRoute => {
                each_manager(chain, |m| {
                    use hcm::http_connection_manager::RouteSpecifier;
                    if let Some(RouteSpecifier::RouteConfig(config)) = &mut m.route_specifier {
                        route::configuration(config, std::slice::from_ref(owned), context);
                    }
                });
            }
            _ => {}
        }
    }
    if listener
        .default_filter_chain
        .as_ref()
        .is_some_and(|c| c.filters.is_empty())
    {
        listener.default_filter_chain = None;
    }
}

fn network_filters(chain: &mut lds::FilterChain, owned: &Owned, target: &ListenerTarget) {
    let is = |f: &lds::Filter| *f.name == *target.filter;
    if owned.merges() {
        for filter in chain.filters.iter_mut().filter(|f| is(f)) {
            *filter = owned.merged(filter);
        }
        return;
    }
    edit(
        &mut chain.filters,
        owned.patch.operation,
        owned.value(),
        !target.filter.is_empty(),
        is,
        <[_]>::len,
    );
}

/// Decodes and encodes each HTTP connection manager around a change.
fn each_manager(
    chain: &mut lds::FilterChain,
    mut change: impl FnMut(&mut hcm::HttpConnectionManager),
) {
    for filter in chain.filters.iter_mut() {
        let Some(lds::filter::ConfigType::TypedConfig(any)) = &mut filter.config_type else {
            continue;
        };
        if !any
            .type_url
            .ends_with(&hcm::HttpConnectionManager::full_name())
        {
            continue;
        }
        if let Ok(mut manager) = hcm::HttpConnectionManager::decode(any.value.as_slice()) {
            change(&mut manager);
            any.value = manager.encode_to_vec();
        }
    }
}

fn http_filters(manager: &mut hcm::HttpConnectionManager, owned: &Owned, target: &ListenerTarget) {
    let is = |f: &hcm::HttpFilter| *f.name == *target.sub_filter;
    if owned.merges() {
        for filter in manager.http_filters.iter_mut().filter(|f| is(f)) {
            *filter = owned.merged(filter);
        }
        return;
    }
    edit(
        &mut manager.http_filters,
        owned.patch.operation,
        owned.value(),
        !target.sub_filter.is_empty(),
        is,
        // Nothing may follow the router, which ends the list.
        |filters| filters.len().saturating_sub(1),
    );
}
