//! What to capture, parsed from the values that Istio's flags and annotations have.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// The most ports, ranges or interfaces one list may name.
const LIST_LIMIT: usize = 1024;
/// The longest name of a network interface, in bytes (IFNAMSIZ less the final zero).
const INTERFACE_NAME_LIMIT: usize = 15;

/// A value that is no list of ports, ranges or interfaces.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {value:?} is not {expected}")]
pub struct SettingsError {
    /// The setting, named as the flag or annotation that the user wrote.
    pub what: String,
    /// The part that is wrong.
    pub value: String,
    /// What would be right.
    pub expected: &'static str,
}

/// A choice of ports: all of them, or those listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ports {
    All,
    Only(Vec<u16>),
}

/// A choice of addresses: all of them, or those in the ranges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ranges {
    All,
    Only(Vec<IpNet>),
}

impl Ports {
    /// Parses `*`, or ports separated by commas; the empty text is no port at all.
    pub fn parse(what: &str, text: &str) -> Result<Ports, SettingsError> {
        if text.trim() == "*" {
            return Ok(Ports::All);
        }
        list(
            what,
            text,
            "a port from 1 to 65535, or \"*\" alone",
            |item| item.parse::<u16>().ok().filter(|port| *port != 0),
        )
        .map(Ports::Only)
    }

    /// Parses ports separated by commas.
    pub fn parse_list(what: &str, text: &str) -> Result<Vec<u16>, SettingsError> {
        list(what, text, "a port from 1 to 65535", |item| {
            item.parse::<u16>().ok().filter(|port| *port != 0)
        })
    }
}

impl Ranges {
    /// Parses `*`, or CIDR ranges separated by commas; a bare address is a range of one.
    pub fn parse(what: &str, text: &str) -> Result<Ranges, SettingsError> {
        if text.trim() == "*" {
            return Ok(Ranges::All);
        }
        Ranges::parse_list(what, text).map(Ranges::Only)
    }

    /// Parses CIDR ranges separated by commas.
    pub fn parse_list(what: &str, text: &str) -> Result<Vec<IpNet>, SettingsError> {
        list(what, text, "an address range such as 10.0.0.0/8", |item| {
            let range = item.parse::<IpNet>().ok();
            range
                .or_else(|| item.parse::<IpAddr>().ok().map(IpNet::from))
                .map(|range| range.trunc())
        })
    }
}

/// Parses names of network interfaces separated by commas.
pub(crate) fn interfaces(what: &str, text: &str) -> Result<Vec<String>, SettingsError> {
    list(what, text, "the name of a network interface", |item| {
        let fits = item.len() <= INTERFACE_NAME_LIMIT;
        let plain = item
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte));
        (fits && plain).then(|| item.to_owned())
    })
}

fn list<T>(
    what: &str,
    text: &str,
    expected: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, SettingsError> {
    let wrong = |value: &str| SettingsError {
        what: what.to_owned(),
        value: value.to_owned(),
        expected,
    };
    let items: Vec<&str> = text
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .collect();
    if items.len() > LIST_LIMIT {
        return Err(wrong(&format!("a list of {} items", items.len())));
    }
    items
        .into_iter()
        .map(|item| parse(item).ok_or_else(|| wrong(item)))
        .collect()
}

/// Everything [`crate::ruleset`] depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where outbound TCP goes: the proxy's outbound listener.
    pub outbound_port: u16,
    /// Where inbound TCP goes: the proxy's inbound listener.
    pub inbound_port: u16,
    /// The tunnel port (HBONE), which the proxy listens on itself.
    pub tunnel_port: u16,
    /// Users whose traffic is the proxy's own.
    pub proxy_uids: Vec<u32>,
    /// Groups whose traffic is the proxy's own.
    pub proxy_gids: Vec<u32>,
    /// Inbound ports to capture.
    pub inbound_ports: Ports,
    /// Inbound ports to leave alone, when all are captured.
    pub inbound_ports_excluded: Vec<u16>,
    /// Outbound destinations to capture.
    pub outbound_ranges: Ranges,
    /// Outbound destinations to leave alone.
    pub outbound_ranges_excluded: Vec<IpNet>,
    /// Outbound ports to capture whatever the destination.
    pub outbound_ports: Ports,
    /// Outbound ports to leave alone.
    pub outbound_ports_excluded: Vec<u16>,
    /// Loopback addresses that ServiceEntries use: captured although other loopback traffic is not.
    pub loopback_ranges: Vec<Ipv4Net>,
    /// Interfaces whose traffic is left alone.
    pub interfaces_excluded: Vec<String>,
    /// Interfaces of virtual machines, whose inbound traffic is the pod's outbound traffic.
    pub virtual_interfaces: Vec<String>,
    /// Where DNS goes; `None` leaves it alone.
    pub dns: Option<DnsCapture>,
    /// Also make rules for IPv6.
    pub ipv6: bool,
}

/// How DNS is captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsCapture {
    /// The port of the agent's DNS proxy.
    pub port: u16,
    /// The servers whose traffic is captured; `None` for all.
    pub servers: Option<Vec<IpAddr>>,
}

impl Default for Settings {
    /// What Istio's injector asks for when no annotation says otherwise.
    fn default() -> Settings {
        Settings {
            outbound_port: 15001,
            inbound_port: 15006,
            tunnel_port: 15008,
            proxy_uids: vec![1337],
            proxy_gids: vec![1337],
            inbound_ports: Ports::All,
            inbound_ports_excluded: vec![15090, 15021, 15020],
            outbound_ranges: Ranges::All,
            outbound_ranges_excluded: Vec::new(),
            outbound_ports: Ports::Only(Vec::new()),
            outbound_ports_excluded: Vec::new(),
            loopback_ranges: vec![service_entry_loopback()],
            interfaces_excluded: Vec::new(),
            virtual_interfaces: Vec::new(),
            dns: None,
            ipv6: false,
        }
    }
}

/// 127.255.0.0/16, from which users of a replicated mesh give addresses to `.global` services.
pub(crate) fn service_entry_loopback() -> Ipv4Net {
    Ipv4Net::new_assert(std::net::Ipv4Addr::new(127, 255, 0, 0), 16)
}
