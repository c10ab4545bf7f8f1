//! Which listener takes a connection: the one bound to the port, or by `use_original_dst` the one whose address was called
//! (Envoy: "original destination listener filter").

use std::net::IpAddr;

use hawser_proto::envoy::config::core::v3::address::Address as Kind;
use hawser_proto::envoy::config::core::v3::socket_address::PortSpecifier;
use hawser_proto::envoy::config::core::v3::{Address, TrafficDirection};
use hawser_proto::envoy::config::listener::v3::Listener;

use crate::call::Call;
use crate::config::Config;
use crate::{Verdict, chain, network};

pub(crate) fn walk(config: &Config, call: &Call, steps: &mut Vec<String>) -> Verdict {
    let bound = config
        .listeners
        .values()
        .find(|l| is_bound(l) && listens_on(l, None, call.received_on));
    let Some(bound) = bound else {
        return Verdict::Closed {
            why: format!("no listener is bound to port {}", call.received_on),
        };
    };
    let taken = if bound.use_original_dst.as_ref().is_some_and(|v| v.value) {
        by_destination(config, bound, call).unwrap_or(bound)
    } else {
        bound
    };
    steps.push(format!("listener {}", taken.name));
    match chain::choose(taken, call) {
        Some(chosen) => {
            steps.push(format!(
                "chain {}",
                if chosen.name.is_empty() {
                    "(unnamed)"
                } else {
                    &chosen.name
                }
            ));
            let inbound = taken.traffic_direction == TrafficDirection::Inbound as i32;
            network::walk(config, chosen, call, inbound, steps)
        }
        None => Verdict::Closed {
            why: format!("no filter chain of listener {} matches", taken.name),
        },
    }
}

/// The exact address first, then the wildcard of the same port.
fn by_destination<'a>(config: &'a Config, bound: &Listener, call: &Call) -> Option<&'a Listener> {
    let port = call.destination.port();
    let others = || {
        config
            .listeners
            .values()
            .filter(|l| l.name != bound.name && !is_bound(l))
    };
    others()
        .find(|l| listens_on(l, Some(call.destination.ip()), port))
        .or_else(|| others().find(|l| listens_on(l, None, port)))
}

fn is_bound(listener: &Listener) -> bool {
    listener.bind_to_port.as_ref().is_none_or(|v| v.value)
}

/// Whether the listener has that port, on that address (`None`: on all addresses, or on any if it is bound).
fn listens_on(listener: &Listener, ip: Option<IpAddr>, port: u16) -> bool {
    let more = listener
        .additional_addresses
        .iter()
        .filter_map(|a| a.address.as_ref());
    listener
        .address
        .iter()
        .chain(more)
        .filter_map(socket)
        .any(|(own, own_port)| {
            let fits = match ip {
                Some(ip) => own == ip,
                None => own.is_unspecified() || is_bound(listener),
            };
            own_port == port && fits
        })
}

fn socket(address: &Address) -> Option<(IpAddr, u16)> {
    let Kind::SocketAddress(socket) = address.address.as_ref()? else {
        return None;
    };
    let PortSpecifier::PortValue(port) = socket.port_specifier.as_ref()? else {
        return None;
    };
    Some((socket.address.parse().ok()?, u16::try_from(*port).ok()?))
}
