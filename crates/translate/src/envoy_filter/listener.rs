//! Patches of listeners, chains, network filters and HTTP filters.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

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

/// A listener after the patches; `None` if one removes it. As in Istio the whole is patched before its parts, and what a
/// patch adds is not patched by others of its kind: routes, then the listener, its filters, its chains, and the filters
/// of each; chains are added last.
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
    for chain in all_chains(&mut listener) {
        for filter in &mut chain.filters {
            manager(filter, |m| {
                use hcm::http_connection_manager::RouteSpecifier;
                if let Some(RouteSpecifier::RouteConfig(config)) = &mut m.route_specifier {
                    route::configuration(config, patches, context);
                }
            });
        }
    }
    for owned in patches.iter().filter(|o| o.means(context)) {
        if owned.patch.apply_to != ApplyTo::Listener || !is_listener(owned, &listener) {
            continue;
        }
        match owned.patch.operation {
            Operation::Remove => return None,
            _ if owned.merges() => listener = owned.merged(&listener),
            _ => {}
        }
    }
    let patches: Vec<&Owned> = patches
        .iter()
        .filter(|o| o.means(context) && is_listener(o, &listener))
        .collect();
    for owned in of(&patches, ApplyTo::ListenerFilter) {
        let name = &target(owned).listener_filter;
        edit(
            &mut listener.listener_filters,
            owned.patch.operation,
            owned.value(),
            !name.is_empty(),
            |f| *f.name == **name,
            <[_]>::len,
        );
    }
    let capturing = is_capturing(&listener);
    listener
        .filter_chains
        .retain_mut(|c| patch_chain(c, &patches, capturing));
    if let Some(default) = &mut listener.default_filter_chain
        && !patch_chain(default, &patches, capturing)
    {
        listener.default_filter_chain = None;
    }
    let added = of(&patches, ApplyTo::FilterChain)
        .filter(|o| o.patch.operation == Operation::Add)
        .filter_map(|o| o.value::<lds::FilterChain>())
        .filter(|c| !c.filters.is_empty());
    listener.filter_chains.extend(added);
    if listener == before {
        return Some(Arc::clone(resource));
    }
    Some(wire::resource(&resource.name, &listener))
}

fn of<'p>(patches: &'p [&'p Owned], apply_to: ApplyTo) -> impl Iterator<Item = &'p Owned> {
    patches
        .iter()
        .copied()
        .filter(move |o| o.patch.apply_to == apply_to)
}

fn target(owned: &Owned) -> &ListenerTarget {
    static NONE: LazyLock<ListenerTarget> = LazyLock::new(ListenerTarget::default);
    owned.patch.target.listener.as_ref().unwrap_or(&NONE)
}

fn all_chains(listener: &mut lds::Listener) -> impl Iterator<Item = &mut lds::FilterChain> {
    listener
        .filter_chains
        .iter_mut()
        .chain(&mut listener.default_filter_chain)
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

fn is_listener(owned: &Owned, listener: &lds::Listener) -> bool {
    let target = target(owned);
    if !target.name.is_empty() && *target.name != *listener.name {
        return false;
    }
    let of_chains = owned.patch.apply_to != ApplyTo::Listener && is_capturing(listener);
    if target.port == 0 || of_chains {
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

/// Patches a chain and its filters; false if it is removed.
fn patch_chain(chain: &mut lds::FilterChain, patches: &[&Owned], capturing: bool) -> bool {
    for owned in of(patches, ApplyTo::FilterChain) {
        if !is_chain(target(owned), capturing, chain) {
            continue;
        }
        match owned.patch.operation {
            Operation::Remove => return false,
            _ if owned.merges() => *chain = owned.merged(chain),
            _ => {}
        }
    }
    let patches: Vec<&Owned> = patches
        .iter()
        .copied()
        .filter(|o| is_chain(target(o), capturing, chain))
        .collect();
    for owned in of(&patches, ApplyTo::NetworkFilter).filter(|o| !o.merges()) {
        let name = &target(owned).filter;
        edit(
            &mut chain.filters,
            owned.patch.operation,
            owned.value(),
            !name.is_empty(),
            |f| *f.name == **name,
            <[_]>::len,
        );
    }
    for filter in &mut chain.filters {
        let meant = |o: &&Owned| {
            let name = &target(o).filter;
            name.is_empty() || **name == *filter.name
        };
        let patches: Vec<&Owned> = patches.iter().copied().filter(meant).collect();
        for owned in of(&patches, ApplyTo::NetworkFilter).filter(|o| o.merges()) {
            *filter = owned.merged(filter);
        }
        if filter.name == MANAGER && of(&patches, ApplyTo::HttpFilter).next().is_some() {
            manager(filter, |m| http_filters(m, &patches));
        }
    }
    !chain.filters.is_empty()
}

/// Decodes and encodes an HTTP connection manager around a change.
fn manager(filter: &mut lds::Filter, change: impl FnOnce(&mut hcm::HttpConnectionManager)) {
    let Some(lds::filter::ConfigType::TypedConfig(any)) = &mut filter.config_type else {
        return;
    };
    if !any
        .type_url
        .ends_with(&hcm::HttpConnectionManager::full_name())
    {
        return;
    }
    if let Ok(mut manager) = hcm::HttpConnectionManager::decode(any.value.as_slice()) {
        let before = manager.clone();
        change(&mut manager);
        if manager != before {
            any.value = manager.encode_to_vec();
        }
    }
}

fn http_filters(manager: &mut hcm::HttpConnectionManager, patches: &[&Owned]) {
    for owned in of(patches, ApplyTo::HttpFilter).filter(|o| !o.merges()) {
        let name = &target(owned).sub_filter;
        edit(
            &mut manager.http_filters,
            owned.patch.operation,
            owned.value(),
            !name.is_empty(),
            |f| *f.name == **name,
            // Nothing may follow the router, which ends the list.
            |filters| filters.len().saturating_sub(1),
        );
    }
    for filter in &mut manager.http_filters {
        for owned in of(patches, ApplyTo::HttpFilter).filter(|o| o.merges()) {
            let name = &target(owned).sub_filter;
            if name.is_empty() || **name == *filter.name {
                *filter = owned.merged(filter);
            }
        }
    }
}
