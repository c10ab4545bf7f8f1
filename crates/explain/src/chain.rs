//! Which filter chain of a listener takes a connection.
//!
//! Envoy narrows the chains step by step, always to the most specific value that matches, and never goes back
//! (`config.listener.v3.FilterChainMatch`): destination port, destination address, server names, transport protocol,
//! application protocols, source type, source addresses, source port.

use std::net::IpAddr;

use hawser_proto::envoy::config::core::v3::CidrRange;
use hawser_proto::envoy::config::listener::v3::{
    FilterChain, FilterChainMatch, Listener, ListenerFilterChainMatchPredicate,
    listener_filter_chain_match_predicate::Rule,
};
use ipnet::IpNet;

use crate::call::Call;

/// The chain, or the default one where none matches.
pub(crate) fn choose<'a>(listener: &'a Listener, call: &Call) -> Option<&'a FilterChain> {
    let facts = Facts::of(listener, call);
    let none = FilterChainMatch::default();
    let mut left: Vec<(&FilterChain, &FilterChainMatch)> = listener
        .filter_chains
        .iter()
        .map(|c| (c, c.filter_chain_match.as_ref().unwrap_or(&none)))
        .collect();
    for score in [
        by_port,
        by_destination,
        by_server_name,
        by_transport,
        by_application,
        by_source,
    ] {
        let scored: Vec<_> = left
            .iter()
            .filter_map(|(c, m)| Some((score(m, &facts)?, *c, *m)))
            .collect();
        let best = scored.iter().map(|(s, ..)| *s).max();
        left = scored
            .into_iter()
            .filter(|(s, ..)| Some(*s) == best)
            .map(|(_, c, m)| (c, m))
            .collect();
    }
    left.first()
        .map(|(c, _)| *c)
        .or(listener.default_filter_chain.as_ref())
}

/// What the listener filters find out of a connection.
struct Facts<'a> {
    destination: IpAddr,
    port: u16,
    source: IpAddr,
    sni: &'a str,
    transport: &'static str,
    application: Vec<String>,
}

impl<'a> Facts<'a> {
    fn of(listener: &Listener, call: &'a Call) -> Self {
        let port = call.destination.port();
        let has = |name: &str| {
            listener.listener_filters.iter().any(|f| {
                let off = f.filter_disabled.as_ref();
                f.name.contains(name) && !off.is_some_and(|p| holds(p, port))
            })
        };
        let (sni, transport, application) = match (&call.tls, &call.http) {
            (Some(tls), _) if has("tls_inspector") => (tls.sni.as_str(), "tls", tls.alpn.clone()),
            (None, Some(http)) if has("http_inspector") => {
                let protocol = if http.http2 { "h2c" } else { "http/1.1" };
                ("", "raw_buffer", vec![protocol.to_owned()])
            }
            _ => ("", "raw_buffer", Vec::new()),
        };
        Self {
            destination: call.destination.ip(),
            port,
            source: call.source,
            sni,
            transport,
            application,
        }
    }
}

/// Whether a listener filter's predicate holds for connections to that port.
fn holds(predicate: &ListenerFilterChainMatchPredicate, port: u16) -> bool {
    match &predicate.rule {
        Some(Rule::OrMatch(set)) => set.rules.iter().any(|p| holds(p, port)),
        Some(Rule::AndMatch(set)) => set.rules.iter().all(|p| holds(p, port)),
        Some(Rule::NotMatch(inner)) => !holds(inner, port),
        Some(Rule::AnyMatch(any)) => *any,
        Some(Rule::DestinationPortRange(range)) => {
            (range.start..range.end).contains(&i32::from(port))
        }
        None => false,
    }
}

/// How specific a match is; `None` where it does not hold.
type Score = Option<u32>;

fn by_port(m: &FilterChainMatch, facts: &Facts<'_>) -> Score {
    match &m.destination_port {
        None => Some(0),
        Some(port) => (port.value == u32::from(facts.port)).then_some(1),
    }
}

fn by_destination(m: &FilterChainMatch, facts: &Facts<'_>) -> Score {
    by_ranges(&m.prefix_ranges, facts.destination)
}

fn by_source(m: &FilterChainMatch, facts: &Facts<'_>) -> Score {
    by_ranges(&m.source_prefix_ranges, facts.source)
}

fn by_ranges(ranges: &[CidrRange], ip: IpAddr) -> Score {
    if ranges.is_empty() {
        return Some(0);
    }
    let net = |r: &CidrRange| {
        let length = u8::try_from(r.prefix_len.as_ref().map_or(0, |l| l.value)).ok()?;
        IpNet::new(r.address_prefix.parse().ok()?, length).ok()
    };
    ranges
        .iter()
        .filter_map(net)
        .filter(|n| n.contains(&ip))
        .map(|n| u32::from(n.prefix_len()) + 1)
        .max()
}

/// Exact names before wildcards, longer wildcards before shorter ones.
fn by_server_name(m: &FilterChainMatch, facts: &Facts<'_>) -> Score {
    if m.server_names.is_empty() {
        return Some(0);
    }
    let sni = facts.sni.to_ascii_lowercase();
    let score = |name: &String| match name.strip_prefix('*') {
        None => (*name == sni).then_some(u32::MAX),
        Some(suffix) => (sni.len() > suffix.len() && sni.ends_with(suffix))
            .then_some(u32::try_from(suffix.len()).unwrap_or(0) + 1),
    };
    m.server_names.iter().filter_map(score).max()
}

fn by_transport(m: &FilterChainMatch, facts: &Facts<'_>) -> Score {
    match m.transport_protocol.as_str() {
        "" => Some(0),
        wanted => (wanted == facts.transport).then_some(1),
    }
}

fn by_application(m: &FilterChainMatch, facts: &Facts<'_>) -> Score {
    if m.application_protocols.is_empty() {
        return Some(0);
    }
    // The client's order counts: its first protocol that any chain names is the one.
    let place = facts
        .application
        .iter()
        .position(|p| m.application_protocols.contains(p))?;
    Some(u32::MAX - u32::try_from(place).unwrap_or(u32::MAX - 1))
}
