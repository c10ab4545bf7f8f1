//! Names, addresses and small values: what Istio accepts as a host, a port, a header, a label.

use crate::scalar::Duration;
use std::net::IpAddr;

/// Why a value is not accepted, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    pub message: String,
    pub help: String,
}

type Outcome = Result<(), Wrong>;

pub(crate) fn wrong(message: impl Into<String>, help: impl Into<String>) -> Wrong {
    Wrong {
        message: message.into(),
        help: help.into(),
    }
}

/// A DNS label as Istio has it: letters of either case, digits and inner hyphens, 63 at most.
pub fn is_dns_label(label: &str) -> bool {
    label.len() <= 63 && is_dns_label_of_any_length(label)
}

pub(super) fn is_dns_label_of_any_length(label: &str) -> bool {
    !label.is_empty()
        && label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// A label that may be `*`, or begin with `*` or `*-`.
fn is_wildcard_label(label: &str) -> bool {
    if label == "*" {
        return true;
    }
    let rest = label.strip_prefix('*').unwrap_or(label);
    let rest = if rest.len() < label.len() {
        rest.strip_prefix('-').unwrap_or(rest)
    } else {
        rest
    };
    label.len() <= 63 && is_dns_label(rest)
}

fn length(name: &str) -> Outcome {
    if name.is_empty() {
        Err(wrong("must not be empty", "write the name of a host"))
    } else if name.len() > 255 {
        Err(wrong("the domain name is longer than 255 characters", ""))
    } else {
        Ok(())
    }
}

fn bad_label(name: &str, label: &str) -> Wrong {
    let help = if label.contains('_') {
        "underscores are not allowed in host names"
    } else if label.contains('*') {
        "a wildcard may only be the first label, as in *.example.com"
    } else if label.contains('/') {
        "write namespace/host with one slash, or a host alone"
    } else if label.contains(':') {
        "write the host without the port"
    } else if label.is_empty() {
        "remove the empty label"
    } else {
        "use letters, digits and hyphens between dots"
    };
    wrong(
        format!("domain name \"{name}\" is not valid (label \"{label}\")"),
        help,
    )
}

fn labels(name: &str, whole: &str) -> Outcome {
    let parts: Vec<&str> = name.split('.').collect();
    let top = parts.last().copied().unwrap_or_default();
    if top.parse::<i64>().is_ok() {
        return Err(wrong(
            format!(
                "domain name \"{whole}\" is not valid (the top level domain \"{top}\" is a number)"
            ),
            "",
        ));
    }
    for (i, label) in parts.iter().enumerate() {
        // A final dot makes a name unambiguous.
        if label.is_empty() && i + 1 == parts.len() {
            break;
        }
        if !is_dns_label(label) {
            return Err(bad_label(whole, label));
        }
    }
    Ok(())
}

/// A fully qualified (or short) domain name without wildcards.
pub fn fqdn(name: &str) -> Outcome {
    length(name)?;
    labels(name, name)
}

/// A domain name whose first label may be a wildcard.
pub fn wildcard_domain(name: &str) -> Outcome {
    length(name)?;
    let (first, rest) = name
        .split_once('.')
        .map_or((name, None), |(first, rest)| (first, Some(rest)));
    if !is_wildcard_label(first) {
        return Err(bad_label(name, first));
    }
    rest.map_or(Ok(()), |rest| labels(rest, name))
}

/// As [`wildcard_domain`]; names of SNI routing (`outbound_.80_._.host`) are accepted besides.
pub fn gateway_bound_domain(name: &str, sni: bool) -> Outcome {
    if sni && let Some(rest) = name.strip_prefix("outbound_.") {
        return if rest.starts_with(|c: char| ('0'..='8').contains(&c)) {
            length(name)
        } else {
            Err(bad_label(name, "outbound_"))
        };
    }
    wildcard_domain(name)
}

/// A wildcard must be a whole first label here: `*`, `*.example.com`, not `*a.example.com`.
pub fn no_partial_wildcard(name: &str) -> Outcome {
    if name.contains('*') && name.len() != 1 && !name.starts_with("*.") {
        return Err(wrong(
            format!("partial wildcard \"{name}\" is not allowed"),
            "use * or *.domain",
        ));
    }
    Ok(())
}

/// Whether every name that `inner` stands for is one of those that `outer` stands for.
pub fn is_subset_host(inner: &str, outer: &str) -> bool {
    match (inner.strip_prefix('*'), outer.strip_prefix('*')) {
        (Some(inner), Some(outer)) => inner.len() >= outer.len() && inner.ends_with(outer),
        (Some(_), None) => false,
        (None, Some(outer)) => inner.ends_with(outer),
        (None, None) => inner == outer,
    }
}

/// Whether two hosts, each of them possibly a wildcard, have a name in common.
pub fn hosts_overlap(a: &str, b: &str) -> bool {
    is_subset_host(a, b) || is_subset_host(b, a)
}

pub fn port(number: u32) -> Outcome {
    if (1..=65535).contains(&number) {
        Ok(())
    } else {
        Err(wrong(
            format!("port number {number} must be in the range 1..65535"),
            "",
        ))
    }
}

pub fn port_name(name: &str) -> Outcome {
    if is_dns_label(name) {
        Ok(())
    } else {
        Err(wrong(
            format!("invalid port name \"{name}\""),
            "use letters, digits and hyphens, 63 at most",
        ))
    }
}

/// Istio's protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Tcp,
    Udp,
    Grpc,
    GrpcWeb,
    Http,
    HttpProxy,
    Http2,
    Https,
    Tls,
    Hbone,
    Mongo,
    Redis,
    MySql,
}

impl Protocol {
    /// By name, in any case.
    pub fn parse(name: &str) -> Option<Protocol> {
        Some(match name.to_ascii_lowercase().as_str() {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            "grpc" => Protocol::Grpc,
            "grpc-web" => Protocol::GrpcWeb,
            "http" => Protocol::Http,
            "http_proxy" => Protocol::HttpProxy,
            "http2" => Protocol::Http2,
            "https" => Protocol::Https,
            "tls" => Protocol::Tls,
            "hbone" => Protocol::Hbone,
            "mongo" => Protocol::Mongo,
            "redis" => Protocol::Redis,
            "mysql" => Protocol::MySql,
            _ => return None,
        })
    }

    pub fn is_http(self) -> bool {
        matches!(
            self,
            Protocol::Http
                | Protocol::Http2
                | Protocol::HttpProxy
                | Protocol::Grpc
                | Protocol::GrpcWeb
        )
    }

    pub fn is_tls(self) -> bool {
        matches!(self, Protocol::Https | Protocol::Tls)
    }

    /// Routed by address rather than by request; TLS is among these.
    pub fn is_tcp(self) -> bool {
        matches!(
            self,
            Protocol::Tcp
                | Protocol::Https
                | Protocol::Tls
                | Protocol::Mongo
                | Protocol::Redis
                | Protocol::MySql
        )
    }
}

/// A protocol that Istio knows, or nothing (then it is sniffed).
pub fn protocol(name: &str) -> Outcome {
    if name.is_empty() || Protocol::parse(name).is_some() {
        Ok(())
    } else {
        Err(wrong(
            format!("unsupported protocol \"{name}\""),
            "use HTTP, HTTP2, HTTPS, GRPC, GRPC-WEB, TLS, TCP, MONGO, REDIS, MYSQL or UDP",
        ))
    }
}

pub fn is_ip(text: &str) -> bool {
    // A zone (fe80::1%eth0) is part of an address to Go.
    let plain = text.split_once('%').map_or(
        text,
        |(address, zone)| if zone.is_empty() { "" } else { address },
    );
    plain
        .parse::<IpAddr>()
        .is_ok_and(|ip| plain.len() == text.len() || ip.is_ipv6())
}

pub fn ip(text: &str) -> Outcome {
    if is_ip(text) {
        Ok(())
    } else {
        Err(wrong(format!("\"{text}\" is not an IP address"), ""))
    }
}

/// An address or a CIDR block.
pub fn subnet(text: &str) -> Outcome {
    if text.contains('/') {
        cidr(text)
    } else {
        ip(text)
    }
}

pub fn cidr(text: &str) -> Outcome {
    let valid = text.split_once('/').is_some_and(|(address, bits)| {
        let max = match address.parse() {
            Ok(IpAddr::V4(_)) => 32,
            Ok(IpAddr::V6(_)) => 128,
            Err(_) => return false,
        };
        let digits = !bits.is_empty()
            && bits.bytes().all(|b| b.is_ascii_digit())
            && (bits == "0" || !bits.starts_with('0'));
        digits && bits.parse::<u32>().is_ok_and(|b| b <= max)
    });
    if valid {
        Ok(())
    } else {
        Err(wrong(
            format!("\"{text}\" is not a CIDR block"),
            "write address/bits, as in 10.1.0.0/16",
        ))
    }
}

/// The path of a Unix domain socket, without `unix://`.
pub fn unix_path(path: &str) -> Outcome {
    if path.is_empty() {
        Err(wrong("the path of the socket is empty", ""))
    } else if path.starts_with('@') || (path.starts_with('/') && !path.ends_with('/')) {
        Ok(())
    } else {
        Err(wrong(
            format!("\"{path}\" is not an absolute path to a file"),
            "begin with / (or @ for an abstract socket)",
        ))
    }
}

/// Characters of a header name by RFC 7230.
fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn bad_header(name: &str) -> Wrong {
    if name.is_empty() {
        wrong("a header name must not be empty", "")
    } else {
        wrong(format!("\"{name}\" is not a header name"), "")
    }
}

/// A header to match on: a name, a pseudo header, or a claim of a token.
pub fn matched_header(name: &str) -> Outcome {
    let pseudo = matches!(
        name,
        ":method" | ":scheme" | ":authority" | ":path" | ":status"
    );
    if pseudo || is_claim(name) || is_token(name) {
        Ok(())
    } else {
        Err(bad_header(name))
    }
}

/// `@request.auth.claims.NAME` or `@request.auth.claims[NAME]…`: routing by a claim of the request's token.
pub fn is_claim(name: &str) -> bool {
    let prefix = "@request.auth.claims";
    name.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        && name[prefix.len()..]
            .strip_prefix(['.', '['])
            .is_some_and(|rest| !rest.is_empty())
}

/// Letters, digits and hyphens only.
pub fn strict_header(name: &str) -> Outcome {
    if !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        Ok(())
    } else {
        Err(bad_header(name))
    }
}

pub fn cors_header(name: &str) -> Outcome {
    if is_token(name) {
        Ok(())
    } else {
        Err(bad_header(name))
    }
}

pub(crate) fn is_authority(name: &str) -> bool {
    name.eq_ignore_ascii_case(":authority") || name.eq_ignore_ascii_case("host")
}

/// A request header that is set or added.
pub fn changed_request_header(name: &str) -> Outcome {
    if name.is_empty() {
        Err(bad_header(name))
    } else if name.starts_with(':') && !is_authority(name) {
        Err(wrong(
            format!("pseudo header \"{name}\" cannot be changed"),
            "use rewrite for the path",
        ))
    } else {
        Ok(())
    }
}

/// A header that is removed from requests, or changed in responses.
pub fn changed_header(name: &str) -> Outcome {
    if name.is_empty() {
        Err(bad_header(name))
    } else if name.eq_ignore_ascii_case("host") {
        Err(wrong("the Host header cannot be changed here", ""))
    } else if name.starts_with(':') {
        Err(wrong(
            format!("pseudo header \"{name}\" cannot be changed"),
            "",
        ))
    } else {
        Ok(())
    }
}

/// A header's new value: Envoy's `%VARIABLE(arguments)%` must be closed, a percent sign alone is written `%%`.
pub fn header_value(value: &str) -> Outcome {
    if value.bytes().any(|b| (b < 0x20 && b != b'\t') || b == 0x7f) {
        return Err(wrong("a header value must not hold control characters", ""));
    }
    let unclosed = || {
        wrong(
            format!("unfinished variable in header value \"{value}\""),
            "write %% for a percent sign",
        )
    };
    let mut rest = value;
    while let Some(at) = rest.find('%') {
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            rest = after;
            continue;
        }
        rest = variable(rest).ok_or_else(unclosed)?;
    }
    Ok(())
}

/// What follows a variable's closing percent sign. `rest` begins after the opening one.
fn variable(rest: &str) -> Option<&str> {
    let at = rest.find(['%', '('])?;
    if rest.as_bytes().get(at) == Some(&b'%') {
        return Some(&rest[at + 1..]);
    }
    let mut escaped = false;
    let close = rest[at + 1..].char_indices().find(|(_, c)| {
        let close = *c == ')' && !escaped;
        escaped = *c == '\\' && !escaped;
        close
    })?;
    let after = rest[at + 1 + close.0 + 1..].trim_start_matches(' ');
    // A maximal length may follow the arguments: %REQ(X):5%.
    let after = after.strip_prefix(':').map_or(after, |n| {
        n.trim_start_matches(|c: char| c.is_ascii_digit())
    });
    after.strip_prefix('%')
}

/// A label's key and value, as Kubernetes has them.
pub fn label(key: &str, value: &str) -> Outcome {
    let qualified = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.ends_with(|c: char| c.is_ascii_alphanumeric())
    };
    let (prefix, name) = key
        .split_once('/')
        .map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let prefix_ok = prefix.is_none_or(|p| p.len() <= 253 && p.split('.').all(is_dns_label));
    if !prefix_ok || !qualified(name) || name.len() > 63 {
        return Err(wrong(format!("invalid label key \"{key}\""), ""));
    }
    if !value.is_empty() && !qualified(value) {
        return Err(wrong(
            format!("invalid label value \"{value}\""),
            "use letters, digits, -, _ and ., and a letter or digit at both ends",
        ));
    }
    Ok(())
}

/// At least a millisecond, in whole milliseconds.
pub fn duration(duration: Duration) -> Outcome {
    if duration.nanos() < 1_000_000 {
        Err(wrong(
            format!("duration {duration} must be at least 1ms"),
            "write 1ms or more, or leave the field out for its default",
        ))
    } else if duration.nanos() % 1_000_000 != 0 {
        Err(wrong(
            format!("duration {duration} must be in whole milliseconds"),
            "",
        ))
    } else {
        Ok(())
    }
}

/// A name of a subset.
pub fn subset(name: &str) -> Outcome {
    if name.is_empty() {
        Err(wrong("a subset's name must not be empty", ""))
    } else if is_dns_label(name) {
        Ok(())
    } else {
        Err(wrong(
            format!("invalid subset name \"{name}\""),
            "use letters, digits and hyphens, 63 at most",
        ))
    }
}

/// `host` or, as gateways and sidecars have it, `namespace/host`; the namespace may be `*` or `.` (for sidecars `~`).
/// Gives everything that is wrong.
pub fn namespaced_host(host: &str, gateway: bool) -> Vec<Wrong> {
    let mut out = Vec::new();
    let name = match host.split_once('/') {
        None if gateway => host,
        None => {
            out.push(wrong(
                format!("host \"{host}\" has no namespace"),
                "write namespace/host, ./host or */host",
            ));
            return out;
        }
        Some((namespace, name)) => {
            if namespace.is_empty() || name.is_empty() {
                out.push(wrong(
                    format!("namespace or host is empty in \"{host}\""),
                    "write namespace/host",
                ));
            }
            let special = matches!(namespace, "*" | ".") || (!gateway && namespace == "~");
            if !special && !is_dns_label(namespace) {
                let help = match host.split_once("://") {
                    Some((_, rest)) => format!("write the host alone: {rest}"),
                    None => "use letters, digits and hyphens, as namespaces have".to_owned(),
                };
                out.push(wrong(
                    format!("invalid namespace \"{namespace}\" in \"{host}\""),
                    help,
                ));
            }
            name
        }
    };
    if name != "*" && !name.contains('.') {
        out.push(wrong(
            format!("short host name \"{name}\" is not allowed"),
            "write the full name, as in name.namespace.svc.cluster.local",
        ));
    }
    if let Err(wrong) = wildcard_domain(name) {
        // A gateway may be addressed by IP.
        if !gateway || !is_ip(name) {
            out.push(wrong);
        }
    }
    out.extend(no_partial_wildcard(name).err());
    out
}
