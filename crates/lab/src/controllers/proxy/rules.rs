//! Pure: the whole nftables ruleset of a node, from Services and EndpointSlices.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use serde_json::json;

use crate::controllers::hash;
use crate::controllers::load_balancer::addresses;
use crate::controllers::slices::by_service;
use crate::controllers::world::{Meta, World};
use crate::net::NodeNet;

/// One port of one Service with everything that leads to it and everything behind it.
#[derive(Debug)]
struct Port {
    chain: String,
    protocol: &'static str,
    /// Addresses and ports that stand for the Service.
    fronts: BTreeSet<(Ipv4Addr, u16)>,
    node_port: Option<u16>,
    backends: BTreeSet<(Ipv4Addr, u16)>,
    /// The same client stays with the same backend.
    sticky: bool,
    /// Who may use which of the fronts; nobody else.
    guarded: BTreeSet<(Ipv4Addr, u16)>,
    sources: BTreeSet<Ipv4Net>,
}

/// The ruleset, as `nft -f` takes it: it replaces the one before in one transaction. Same objects, same text.
pub(in crate::controllers) fn render(world: &World, net: &NodeNet) -> String {
    let ports = ports(world);
    let mut text = String::from(
        "table ip hawser_services\ndelete table ip hawser_services\ntable ip hawser_services {\n",
    );
    let mut fronts: BTreeMap<String, String> = BTreeMap::new();
    let mut node_ports: BTreeMap<String, String> = BTreeMap::new();
    let mut guards: BTreeSet<String> = BTreeSet::new();
    let mut backends: BTreeSet<Ipv4Addr> = BTreeSet::new();
    let mut chains = String::new();
    for port in &ports {
        let verdict = if port.backends.is_empty() {
            "refuse".to_owned()
        } else {
            port.chain.clone()
        };
        for (address, number) in &port.fronts {
            // Two Services cannot share an address and port; should they, the first one in order has it.
            let front = format!("{address} . {} . {number}", port.protocol);
            fronts.entry(front).or_insert_with(|| verdict.clone());
        }
        if let Some(number) = port.node_port {
            node_ports
                .entry(format!("{} . {number}", port.protocol))
                .or_insert(verdict);
        }
        for (address, number) in &port.guarded {
            let sources: Vec<String> = port.sources.iter().map(Ipv4Net::to_string).collect();
            let sources = sources.join(", ");
            guards.insert(format!(
                "ip daddr {address} {} dport {number} ip saddr != {{ {sources} }} drop",
                port.protocol
            ));
        }
        backends.extend(port.backends.iter().map(|(address, _)| *address));
        push_chain(&mut chains, port);
    }
    let (served, refused): (Vec<_>, Vec<_>) = fronts
        .into_iter()
        .partition(|(_, verdict)| verdict != "refuse");
    let (node_served, node_refused): (Vec<_>, Vec<_>) = node_ports
        .into_iter()
        .partition(|(_, verdict)| verdict != "refuse");
    let front = "ipv4_addr . inet_proto . inet_service";
    push_map(&mut text, "fronts", front, &served);
    push_map(&mut text, "refused", front, &refused);
    push_map(
        &mut text,
        "node-ports",
        "inet_proto . inet_service",
        &node_served,
    );
    push_map(
        &mut text,
        "refused-node-ports",
        "inet_proto . inet_service",
        &node_refused,
    );
    push_hairpins(&mut text, &backends);
    text.push_str(&chains);
    push_hooks(&mut text, net, &guards);
    text.push_str("}\n");
    text
}

fn push_map(text: &mut String, name: &str, key: &str, elements: &[(String, String)]) {
    let _ = writeln!(text, "  map {name} {{\n    type {key} : verdict");
    if !elements.is_empty() {
        let elements: Vec<String> = elements
            .iter()
            .map(|(key, chain)| format!("      {key} : goto {chain}"))
            .collect();
        let _ = writeln!(text, "    elements = {{\n{}\n    }}", elements.join(",\n"));
    }
    text.push_str("  }\n");
}

/// Pairs (a, a): a pod that reaches itself through a Service must see another source, or it would answer itself.
fn push_hairpins(text: &mut String, backends: &BTreeSet<Ipv4Addr>) {
    text.push_str("  set hairpins {\n    type ipv4_addr . ipv4_addr\n");
    if !backends.is_empty() {
        let pairs: Vec<String> = backends
            .iter()
            .map(|ip| format!("      {ip} . {ip}"))
            .collect();
        let _ = writeln!(text, "    elements = {{\n{}\n    }}", pairs.join(",\n"));
    }
    text.push_str("  }\n");
}

fn push_chain(text: &mut String, port: &Port) {
    let backends: Vec<&(Ipv4Addr, u16)> = port.backends.iter().collect();
    let target = match backends.as_slice() {
        [] => return,
        [(address, number)] => format!("{address}:{number}"),
        many => {
            let choice = if port.sticky {
                "jhash ip saddr"
            } else {
                "numgen random"
            };
            let seed = if port.sticky { " seed 1" } else { "" };
            let many: Vec<String> = many
                .iter()
                .enumerate()
                .map(|(index, (address, number))| format!("{index} : {address} . {number}"))
                .collect();
            format!(
                "{choice} mod {}{seed} map {{ {} }}",
                many.len(),
                many.join(", ")
            )
        }
    };
    let Port {
        chain, protocol, ..
    } = port;
    let _ = writeln!(
        text,
        "  chain {chain} {{\n    meta l4proto {protocol} dnat ip to {target}\n  }}"
    );
}

fn push_hooks(text: &mut String, net: &NodeNet, guards: &BTreeSet<String>) {
    let guards: String = guards
        .iter()
        .map(|guard| format!("    {guard}\n"))
        .collect();
    let NodeNet {
        node_ip,
        service_cidr,
        lb_pool,
        wan_if,
        ..
    } = net;
    let gateway = net.pod_gateway();
    let _ = write!(
        text,
        "  chain refuse {{
    meta l4proto tcp reject with tcp reset
    reject with icmp type port-unreachable
  }}
  chain services {{
    ip daddr . meta l4proto . th dport vmap @fronts
    ip daddr {{ {node_ip}, {gateway} }} meta l4proto . th dport vmap @node-ports
  }}
  chain unserved {{
    ip daddr . meta l4proto . th dport vmap @refused
    ip daddr {{ {node_ip}, {gateway} }} meta l4proto . th dport vmap @refused-node-ports
    ip daddr {{ {service_cidr}, {lb_pool} }} meta l4proto {{ tcp, udp }} goto refuse
  }}
  chain guard {{
    type filter hook prerouting priority dstnat - 10; policy accept;
{guards}  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    jump services
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    jump services
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr . ip daddr @hairpins masquerade
    ct status dnat oifname \"{wan_if}\" masquerade
  }}
  chain forward {{
    type filter hook forward priority filter - 10; policy accept;
    ct state new jump unserved
  }}
  chain input {{
    type filter hook input priority filter - 10; policy accept;
    ct state new jump unserved
  }}
  chain local {{
    type filter hook output priority filter - 10; policy accept;
    ct state new jump unserved
  }}
"
    );
}

fn ports(world: &World) -> Vec<Port> {
    let slices = by_service(world);
    let mut ports = Vec::new();
    for service in world.services.all() {
        let Some(spec) = &service.spec else { continue };
        let slices = slices
            .get(&(service.namespace(), service.name()))
            .map(Vec::as_slice)
            .unwrap_or_default();
        for port in spec.ports.iter().flatten() {
            ports.extend(port_of(service, port, slices));
        }
    }
    ports
}

fn port_of(service: &Service, port: &ServicePort, slices: &[&EndpointSlice]) -> Option<Port> {
    let spec = service.spec.as_ref()?;
    let cluster_ip: Ipv4Addr = spec.cluster_ip.as_ref()?.parse().ok()?;
    let number = u16::try_from(port.port).ok()?;
    let protocol = match port.protocol.as_deref().unwrap_or("TCP") {
        "TCP" => "tcp",
        "UDP" => "udp",
        "SCTP" => "sctp",
        _ => return None,
    };
    let parse = |addresses: &Option<Vec<String>>| -> Vec<Ipv4Addr> {
        addresses
            .iter()
            .flatten()
            .filter_map(|address| address.parse().ok())
            .collect()
    };
    let balancers = addresses(service);
    let fronts = std::iter::once(cluster_ip)
        .chain(parse(&spec.external_ips))
        .chain(balancers.iter().copied());
    let sources: BTreeSet<Ipv4Net> = spec
        .load_balancer_source_ranges
        .iter()
        .flatten()
        .filter_map(|range| range.trim().parse().ok())
        .collect();
    let guarded = if sources.is_empty() {
        Vec::new()
    } else {
        balancers.clone()
    };
    Some(Port {
        chain: chain_name(service, protocol, port.port),
        protocol,
        fronts: fronts.map(|address| (address, number)).collect(),
        node_port: port
            .node_port
            .and_then(|number| u16::try_from(number).ok())
            .filter(|number| *number != 0),
        backends: backends(port, slices),
        sticky: spec.session_affinity.as_deref() == Some("ClientIP"),
        guarded: guarded
            .into_iter()
            .map(|address| (address, number))
            .collect(),
        sources,
    })
}

/// Ready endpoints; where there are none, those that still serve on their way out (KEP-1669).
fn backends(port: &ServicePort, slices: &[&EndpointSlice]) -> BTreeSet<(Ipv4Addr, u16)> {
    let mut ready = BTreeSet::new();
    let mut leaving = BTreeSet::new();
    for slice in slices.iter().filter(|slice| slice.address_type == "IPv4") {
        let name = port.name.as_deref().unwrap_or_default();
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let target = slice.ports.iter().flatten().find(|candidate| {
            candidate.name.as_deref().unwrap_or_default() == name
                && candidate.protocol.as_deref().unwrap_or("TCP") == protocol
        });
        let Some(number) = target.and_then(|target| u16::try_from(target.port?).ok()) else {
            continue;
        };
        for endpoint in &slice.endpoints {
            let set = match state(endpoint) {
                State::Ready => &mut ready,
                State::Leaving => &mut leaving,
                State::Out => continue,
            };
            // Clients use the first address only, as the API says.
            let address = endpoint
                .addresses
                .first()
                .and_then(|address| address.parse::<Ipv4Addr>().ok());
            set.extend(address.map(|address| (address, number)));
        }
    }
    if ready.is_empty() { leaving } else { ready }
}

enum State {
    Ready,
    Leaving,
    Out,
}

fn state(endpoint: &Endpoint) -> State {
    let conditions = endpoint.conditions.as_ref();
    // Absent means ready.
    let ready = conditions
        .and_then(|conditions| conditions.ready)
        .unwrap_or(true);
    let terminating = conditions
        .and_then(|conditions| conditions.terminating)
        .unwrap_or(false);
    let serving = conditions
        .and_then(|conditions| conditions.serving)
        .unwrap_or(ready);
    if ready {
        State::Ready
    } else if terminating && serving {
        State::Leaving
    } else {
        State::Out
    }
}

/// Readable where it fits: nftables takes at most 127 characters.
fn chain_name(service: &Service, protocol: &str, port: i32) -> String {
    let name = format!(
        "to/{}/{}/{protocol}/{port}",
        service.namespace(),
        service.name()
    );
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '/');
    if name.len() <= 120 && name.chars().all(plain) {
        name
    } else {
        format!("to/{}", hash::suffix(&json!(name)))
    }
}

#[cfg(test)]
mod tests;
