//! Settings become the text of an nftables ruleset.
//!
//! The order of the rules is that of Istio's iptables rules (`tools/istio-iptables` there), which
//! users know from its documentation, with one addition: the loopback addresses that ServiceEntries
//! use are redirected before the rule that lets loopback traffic pass.

use std::fmt::Write;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use crate::settings::{DnsCapture, Ports, Ranges, Settings};

/// The name of our table in each address family.
const TABLE: &str = "istio_proxy";
/// Conntrack zone of the DNS traffic between the agent and the real servers.
const ZONE_UPSTREAM: u8 = 1;
/// Conntrack zone of the DNS traffic between the application and the agent. Without zones of their
/// own, a query of the application and the agent's copy of it could share a tuple and be mixed up.
const ZONE_CAPTURED: u8 = 2;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    fn keyword(self) -> &'static str {
        match self {
            Family::V4 => "ip",
            Family::V6 => "ip6",
        }
    }

    fn localhost(self) -> &'static str {
        match self {
            Family::V4 => "127.0.0.1",
            Family::V6 => "::1",
        }
    }

    /// The source that the proxy uses towards its own application, so that it can tell that traffic apart.
    fn passthrough_source(self) -> &'static str {
        match self {
            Family::V4 => "127.0.0.6",
            Family::V6 => "::6",
        }
    }

    fn has(self, range: &IpNet) -> bool {
        matches!(
            (self, range),
            (Family::V4, IpNet::V4(_)) | (Family::V6, IpNet::V6(_))
        )
    }
}

/// The ruleset, to be given to `nft -f -`. It replaces what an earlier run made.
pub fn ruleset(settings: &Settings) -> String {
    let mut out = String::new();
    table(&mut out, settings, Family::V4);
    if settings.ipv6 {
        table(&mut out, settings, Family::V6);
    }
    out
}

/// The ruleset that removes what [`ruleset`] made, in both families.
pub fn removal() -> String {
    format!(
        "table ip {TABLE}\ndelete table ip {TABLE}\ntable ip6 {TABLE}\ndelete table ip6 {TABLE}\n"
    )
}

fn table(out: &mut String, settings: &Settings, family: Family) {
    let name = format!("{} {TABLE}", family.keyword());
    // Naming the table first makes deleting it succeed whether or not it exists.
    let _ = writeln!(out, "table {name}\ndelete table {name}\ntable {name} {{");
    chain(out, "inbound", None, &inbound(settings));
    let to_inbound = vec![format!(
        "meta l4proto tcp redirect to :{}",
        settings.inbound_port
    )];
    chain(out, "to_inbound", None, &to_inbound);
    let to_outbound = vec![format!(
        "meta l4proto tcp redirect to :{}",
        settings.outbound_port
    )];
    chain(out, "to_outbound", None, &to_outbound);
    chain(out, "outbound", None, &outbound(settings, family));
    let prerouting = prerouting(settings, family);
    chain(
        out,
        "prerouting",
        Some("type nat hook prerouting priority dstnat; policy accept;"),
        &prerouting,
    );
    let mut output: Vec<String> = settings
        .interfaces_excluded
        .iter()
        .map(|name| format!("oifname \"{name}\" return"))
        .collect();
    output.push("jump outbound".to_owned());
    chain(
        out,
        "output",
        Some("type nat hook output priority -100; policy accept;"),
        &output,
    );
    if let Some(dns) = &settings.dns {
        let (tag_output, tag_input) = conntrack_zones(settings, dns, family);
        chain(
            out,
            "dns_output",
            Some("type filter hook output priority raw; policy accept;"),
            &tag_output,
        );
        chain(
            out,
            "dns_input",
            Some("type filter hook prerouting priority raw; policy accept;"),
            &tag_input,
        );
    }
    out.push_str("}\n");
}

fn chain(out: &mut String, name: &str, hook: Option<&str>, rules: &[String]) {
    let _ = writeln!(out, "  chain {name} {{");
    for line in hook.into_iter().chain(rules.iter().map(String::as_str)) {
        let _ = writeln!(out, "    {line}");
    }
    out.push_str("  }\n");
}

fn prerouting(settings: &Settings, family: Family) -> Vec<String> {
    let mut rules: Vec<String> = settings
        .interfaces_excluded
        .iter()
        .map(|name| format!("iifname \"{name}\" return"))
        .collect();
    for name in &settings.virtual_interfaces {
        match &settings.outbound_ranges {
            Ranges::All => rules.push(format!("iifname \"{name}\" jump to_outbound")),
            Ranges::Only(ranges) => rules.extend(of_family(ranges, family).map(|range| {
                format!(
                    "iifname \"{name}\" {} daddr {range} jump to_outbound",
                    family.keyword()
                )
            })),
        }
        rules.push(format!("iifname \"{name}\" return"));
    }
    rules.push("meta l4proto tcp jump inbound".to_owned());
    rules
}

fn inbound(settings: &Settings) -> Vec<String> {
    let mut rules = vec![format!("tcp dport {} return", settings.tunnel_port)];
    match &settings.inbound_ports {
        Ports::All => {
            rules.extend(
                settings
                    .inbound_ports_excluded
                    .iter()
                    .map(|port| format!("tcp dport {port} return")),
            );
            rules.push("jump to_inbound".to_owned());
        }
        Ports::Only(ports) => rules.extend(
            ports
                .iter()
                .map(|port| format!("tcp dport {port} jump to_inbound")),
        ),
    }
    rules
}

fn outbound(settings: &Settings, family: Family) -> Vec<String> {
    let ip = family.keyword();
    let localhost = family.localhost();
    let mut rules = Vec::new();
    for port in &settings.outbound_ports_excluded {
        rules.push(format!(
            "meta l4proto {{ tcp, udp }} th dport {port} return"
        ));
    }
    rules.push(format!(
        "oifname \"lo\" {ip} saddr {} return",
        family.passthrough_source()
    ));
    if family == Family::V4 {
        rules.extend(service_entry_loopback(settings));
    }
    // Another user's TCP to a server on loopback port 53 may still be DNS to capture.
    let (tunnel_or_dns, not_dns) = match settings.dns {
        Some(_) => (
            format!("{{ 53, {} }}", settings.tunnel_port),
            "tcp dport != 53 ",
        ),
        None => (settings.tunnel_port.to_string(), ""),
    };
    for (key, id) in proxy_owners(settings) {
        // The proxy calling its own pod through loopback: serve it as inbound traffic.
        rules.push(format!(
            "oifname \"lo\" {ip} daddr != {localhost} tcp dport != {tunnel_or_dns} meta {key} {id} jump to_inbound"
        ));
        rules.push(format!("oifname \"lo\" {not_dns}meta {key} != {id} return"));
        rules.push(format!("meta {key} {id} return"));
    }
    if let Some(dns) = &settings.dns {
        for server in dns_servers(dns, family) {
            rules.push(format!("{server}tcp dport 53 redirect to :{}", dns.port));
            rules.push(format!("{server}udp dport 53 redirect to :{}", dns.port));
        }
    }
    rules.push(format!("{ip} daddr {localhost} return"));
    for range in of_family(&settings.outbound_ranges_excluded, family) {
        rules.push(format!("{ip} daddr {range} return"));
    }
    match &settings.outbound_ports {
        Ports::All => rules.push("jump to_outbound".to_owned()),
        Ports::Only(ports) => rules.extend(
            ports
                .iter()
                .map(|port| format!("tcp dport {port} jump to_outbound")),
        ),
    }
    match &settings.outbound_ranges {
        Ranges::All => rules.push("jump to_outbound".to_owned()),
        Ranges::Only(ranges) => {
            rules.extend(
                of_family(ranges, family)
                    .map(|range| format!("{ip} daddr {range} jump to_outbound")),
            );
        }
    }
    rules
}

/// Rules for the loopback addresses of ServiceEntries: what users excluded first, then the redirection
/// of what is not the proxy's own.
fn service_entry_loopback(settings: &Settings) -> Vec<String> {
    let overlaps = |range: &IpNet, loopback: &Ipv4Net| match range {
        IpNet::V4(range) => range.contains(loopback) || loopback.contains(range),
        IpNet::V6(_) => false,
    };
    let not_proxy: String = proxy_owners(settings)
        .map(|(key, id)| format!("meta {key} != {id} "))
        .collect();
    let mut rules = Vec::new();
    for loopback in &settings.loopback_ranges {
        let wanted = match &settings.outbound_ranges {
            Ranges::All => true,
            Ranges::Only(ranges) => ranges.iter().any(|range| overlaps(range, loopback)),
        };
        if !wanted {
            continue;
        }
        let excluded = settings
            .outbound_ranges_excluded
            .iter()
            .filter(|range| overlaps(range, loopback));
        rules.extend(excluded.map(|range| format!("oifname \"lo\" ip daddr {range} return")));
        rules.push(format!(
            "oifname \"lo\" ip daddr {loopback} {not_proxy}jump to_outbound"
        ));
    }
    rules
}

/// DNS between application and agent, and between agent and server, in conntrack zones of their own.
fn conntrack_zones(
    settings: &Settings,
    dns: &DnsCapture,
    family: Family,
) -> (Vec<String>, Vec<String>) {
    let mut output = Vec::new();
    for (key, id) in proxy_owners(settings) {
        output.push(format!(
            "udp dport 53 meta {key} {id} ct zone set {ZONE_UPSTREAM} return"
        ));
        output.push(format!(
            "udp sport {} meta {key} {id} ct zone set {ZONE_CAPTURED} return",
            dns.port
        ));
    }
    let mut input = Vec::new();
    for server in dns_servers(dns, family) {
        output.push(format!("{server}udp dport 53 ct zone set {ZONE_CAPTURED}"));
        input.push(format!(
            "{}udp sport 53 ct zone set {ZONE_UPSTREAM}",
            server.replace("daddr", "saddr")
        ));
    }
    (output, input)
}

/// The match for each captured server: `ip daddr A `, or the empty text for all of them.
fn dns_servers(dns: &DnsCapture, family: Family) -> Vec<String> {
    match &dns.servers {
        None => vec![String::new()],
        Some(servers) => servers
            .iter()
            .filter(|server| {
                matches!(
                    (family, server),
                    (Family::V4, IpAddr::V4(_)) | (Family::V6, IpAddr::V6(_))
                )
            })
            .map(|server| format!("{} daddr {server} ", family.keyword()))
            .collect(),
    }
}

fn proxy_owners(settings: &Settings) -> impl Iterator<Item = (&'static str, u32)> + '_ {
    let users = settings.proxy_uids.iter().map(|id| ("skuid", *id));
    users.chain(settings.proxy_gids.iter().map(|id| ("skgid", *id)))
}

fn of_family(ranges: &[IpNet], family: Family) -> impl Iterator<Item = &IpNet> {
    ranges.iter().filter(move |range| family.has(range))
}

#[cfg(test)]
mod tests;
