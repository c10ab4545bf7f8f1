//! VirtualService.

use super::http_route::*;
use super::names::{self, wrong};
use super::{Check, policy};
use crate::networking::{
    Destination, HttpMatchRequest, HttpRoute, HttpRouteDestination, L4MatchAttributes,
    RouteDestination, StringMatch, TlsMatchAttributes, VirtualService,
};

pub(super) fn check(c: &mut Check, vs: &VirtualService) {
    let delegate = vs.hosts.is_empty();
    if delegate {
        let help = "add hosts, unless another VirtualService delegates to this one";
        if !vs.gateways.is_empty() {
            c.error_at(
                "gateways",
                "a VirtualService without hosts (a delegate) cannot name gateways",
                help,
            );
        }
        if !vs.tls.is_empty() {
            c.error_at(
                "tls",
                "a VirtualService without hosts (a delegate) cannot have tls routes",
                help,
            );
        }
        if !vs.tcp.is_empty() {
            c.error_at(
                "tcp",
                "a VirtualService without hosts (a delegate) cannot have tcp routes",
                help,
            );
        }
    }
    gateways(c, &vs.gateways);
    // Rules for the mesh are stricter, so they hold wherever sidecars are among the gateways.
    let for_gateways = !vs.gateways.is_empty() && !vs.gateways.iter().any(|g| g == "mesh");
    hosts(c, vs, for_gateways);
    if vs.http.is_empty() && vs.tcp.is_empty() && vs.tls.is_empty() {
        c.error(
            "one of http, tls and tcp must have a route",
            "add http: [{route: [{destination: {host: …}}]}]",
        );
    }
    c.each("http", &vs.http, |c, route| {
        http_route(c, route, delegate, for_gateways)
    });
    c.each("tls", &vs.tls, |c, route| {
        if route.match_.is_empty() {
            c.error_at(
                "match",
                "a TLS route must have a match",
                "add match with sniHosts",
            );
        }
        c.each("match", &route.match_, |c, m| tls_match(c, m, vs));
        if route.route.is_empty() {
            c.error_at("route", "a TLS route must have a destination", "");
        }
        destinations(c, &route.route);
    });
    c.each("tcp", &vs.tcp, |c, route| {
        c.each("match", &route.match_, tcp_match);
        if route.route.is_empty() {
            c.error_at("route", "a TCP route must have a destination", "");
        }
        destinations(c, &route.route);
    });
    policy::export_to(c, &vs.export_to, false, false);
}

fn hosts(c: &mut Check, vs: &VirtualService, for_gateways: bool) {
    let sni = vs
        .tls
        .iter()
        .any(|t| t.match_.iter().any(|m| !m.sni_hosts.is_empty()));
    let mut valid = true;
    c.each("hosts", &vs.hosts, |c, host| {
        let outcome = if for_gateways {
            names::gateway_bound_domain(host, sni)
        } else {
            names::wildcard_domain(host)
        };
        match outcome {
            Err(_) if names::is_ip(host) => {}
            Err(wrong) => {
                valid = false;
                c.error(wrong.message, wrong.help);
            }
            Ok(()) if host == "*" && !for_gateways => {
                valid = false;
                c.error(
                    "host * is not allowed for sidecars (gateway mesh)",
                    "name a gateway in gateways, or the hosts that are meant",
                );
            }
            Ok(()) => {}
        }
    });
    if !valid {
        return;
    }
    for (i, a) in vs.hosts.iter().enumerate() {
        for b in &vs.hosts[i + 1..] {
            if names::hosts_overlap(a, b) {
                c.error_at(
                    "hosts",
                    format!("hosts {a} and {b} overlap"),
                    "keep the wider one",
                );
            }
        }
    }
}

/// Names of gateways: `namespace/name`, or a name in the same namespace.
fn gateways(c: &mut Check, gateways: &[String]) {
    // Istio looks no further than the first one without a namespace.
    let mut seen_by_istio = true;
    c.each("gateways", gateways, |c, gateway| {
        let refuse = |c: &mut Check, message: String, help: &str| {
            if seen_by_istio {
                c.error(message, help);
            } else {
                c.unseen_by_istio(|c| c.warn(message, help));
            }
        };
        match gateway.split_once('/') {
            Some((namespace, name)) => {
                if namespace.is_empty() || name.is_empty() {
                    refuse(
                        c,
                        "the namespace and the name of a gateway must not be empty".to_owned(),
                        "write namespace/name",
                    );
                } else if !names::is_dns_label(namespace) || !names::is_dns_label(name) {
                    let message = format!("\"{gateway}\" is not namespace/name of a gateway");
                    refuse(c, message, "use letters, digits and hyphens");
                }
            }
            None => {
                if let Some((name, rest)) = gateway.split_once('.') {
                    let namespace = rest.split('.').next().unwrap_or_default();
                    let old = |c: &mut Check| {
                        c.warn(
                            format!("\"{gateway}\" names a gateway in an old way"),
                            format!("write {namespace}/{name}"),
                        );
                    };
                    if seen_by_istio {
                        old(c);
                    } else {
                        c.unseen_by_istio(old);
                    }
                }
                if let Err(wrong) = names::fqdn(gateway) {
                    refuse(c, wrong.message, &wrong.help);
                }
                seen_by_istio = false;
            }
        }
    });
}

fn http_route(c: &mut Check, route: &HttpRoute, delegate: bool, for_gateways: bool) {
    conflicts(c, route, delegate);
    c.each("match", &route.match_, |c, m| {
        http_match(c, m, for_gateways)
    });
    headers(c, route.headers.as_ref());
    if let Some(cors) = &route.cors_policy {
        c.within("corsPolicy", |c| cors_policy(c, cors));
    }
    if let Some(fault) = &route.fault {
        c.within("fault", |c| fault_injection(c, fault));
    }
    if let Some(percent) = route.mirror_percent {
        if percent > 100 {
            c.error_at(
                "mirrorPercent",
                format!("{percent} percent is more than 100"),
                "",
            );
        }
        c.within("mirrorPercent", |c| {
            c.warn(
                "mirrorPercent is deprecated",
                "use mirrorPercentage: {value: …}",
            )
        });
    }
    mirror_percentage(c, "mirrorPercentage", route.mirror_percentage.as_ref());
    if let Some(mirror) = &route.mirror {
        c.within("mirror", |c| destination(c, mirror));
    }
    c.each("mirrors", &route.mirrors, |c, mirror| {
        match &mirror.destination {
            Some(d) => c.within("destination", |c| destination(c, d)),
            None => c.error_at("destination", "is required", ""),
        }
        mirror_percentage(c, "percentage", mirror.percentage.as_ref());
    });
    if let Some(r) = &route.redirect {
        c.within("redirect", |c| redirect(c, r));
    }
    if let Some(d) = &route.direct_response {
        c.within("directResponse", |c| direct_response(c, d));
    }
    if let Some(r) = &route.retries {
        c.within("retries", |c| retries(c, r));
    }
    if let Some(r) = &route.rewrite {
        c.within("rewrite", |c| rewrite(c, r));
    }
    authority_once(c, route);
    http_destinations(c, &route.route);
    c.duration("timeout", route.timeout);
}

/// A route does one thing: forward, redirect, answer, or delegate.
fn conflicts(c: &mut Check, route: &HttpRoute, delegate: bool) {
    if route.delegate.is_some() && !delegate {
        if route.redirect.is_some() {
            c.error_at(
                "redirect",
                "a route that delegates cannot redirect",
                "keep delegate or redirect",
            );
        }
        if !route.route.is_empty() {
            c.error_at(
                "route",
                "a route that delegates cannot have destinations",
                "keep delegate or route",
            );
        }
        return;
    }
    if route.delegate.is_some() {
        c.error_at("delegate", "a delegate cannot delegate further", "");
    }
    let both = |c: &mut Check, present: bool, a: &str, b: &str| {
        if present {
            c.error(
                format!("a route cannot have both {a} and {b}"),
                format!("keep {a} or {b}"),
            );
        }
    };
    if route.redirect.is_some() {
        both(c, !route.route.is_empty(), "route", "redirect");
        both(c, route.fault.is_some(), "fault", "redirect");
        both(c, route.rewrite.is_some(), "rewrite", "redirect");
        both(
            c,
            route.direct_response.is_some(),
            "directResponse",
            "redirect",
        );
    } else if route.direct_response.is_some() {
        both(c, !route.route.is_empty(), "route", "directResponse");
        both(c, route.fault.is_some(), "fault", "directResponse");
        both(c, route.rewrite.is_some(), "rewrite", "directResponse");
    } else if route.route.is_empty() {
        c.error("one of route, redirect and directResponse is required", "");
    }
    both(
        c,
        route.mirror.is_some() && !route.mirrors.is_empty(),
        "mirror",
        "mirrors",
    );
}

fn http_match(c: &mut Check, m: &HttpMatchRequest, for_gateways: bool) {
    let claim = |c: &mut Check, name: &str| {
        if names::is_claim(name) && !for_gateways {
            c.error(
                format!("routing by the claim {name} is only for gateways"),
                "name the gateway in gateways, and leave mesh out",
            );
        }
    };
    c.entries("headers", &m.headers, |c, name, value| {
        claim(c, name);
        c.require_here(names::matched_header(name));
        string_match(c, value);
    });
    c.entries("withoutHeaders", &m.without_headers, |c, name, value| {
        claim(c, name);
        c.require_here(names::matched_header(name));
        // Not an expression: it stands for presence.
        if *value != StringMatch::Regex("*".to_owned()) {
            string_match(c, value);
        }
    });
    if let Some(StringMatch::Regex(regex)) = &m.uri {
        c.within("uri", |c| check_regex(c, "regex", regex));
    }
    for (key, value) in [
        ("scheme", &m.scheme),
        ("method", &m.method),
        ("authority", &m.authority),
    ] {
        if let Some(value) = value {
            c.within(key, |c| string_match(c, value));
        }
    }
    c.entries("queryParams", &m.query_params, |c, _, value| {
        string_match(c, value)
    });
    if m.port != 0 {
        c.require("port", names::port(m.port));
    }
    policy::labels(c, "sourceLabels", &m.source_labels);
    c.unseen_by_istio(|c| gateways(c, &m.gateways));
    if !m.source_namespace.is_empty() && !names::is_dns_label(&m.source_namespace) {
        c.error_at(
            "sourceNamespace",
            format!("\"{}\" is not a namespace", m.source_namespace),
            "",
        );
    }
}

fn http_destinations(c: &mut Check, route: &[HttpRouteDestination]) {
    c.each("route", route, |c, d| {
        headers(c, d.headers.as_ref());
        weighted(c, d.destination.as_ref(), d.weight);
    });
    total_weight(c, route.iter().map(|d| d.weight));
}

fn destinations(c: &mut Check, route: &[RouteDestination]) {
    c.each("route", route, |c, d| {
        weighted(c, d.destination.as_ref(), d.weight)
    });
    total_weight(c, route.iter().map(|d| d.weight));
}

fn weighted(c: &mut Check, d: Option<&Destination>, weight: i32) {
    match d {
        Some(d) => c.within("destination", |c| destination(c, d)),
        None => c.error_at("destination", "is required", ""),
    }
    if weight < 0 {
        c.error_at(
            "weight",
            format!("must not be negative, and is {weight}"),
            "",
        );
    }
}

fn total_weight(c: &mut Check, weights: impl ExactSizeIterator<Item = i32>) {
    let several = weights.len() > 1;
    if several && weights.map(i64::from).sum::<i64>() == 0 {
        c.error_at(
            "route",
            "the weights add up to 0, so no destination gets a request",
            "give each destination a weight",
        );
    }
}

pub(super) fn destination(c: &mut Check, d: &Destination) {
    if d.host == "*" {
        c.error_at("host", "a destination cannot be *", "name the service");
    } else {
        c.require("host", names::wildcard_domain(&d.host));
    }
    if !d.subset.is_empty() {
        c.require("subset", names::subset(&d.subset));
    }
    if let Some(port) = &d.port {
        c.within("port", |c| c.require("number", names::port(port.number)));
    }
}

fn tls_match(c: &mut Check, m: &TlsMatchAttributes, vs: &VirtualService) {
    if m.sni_hosts.is_empty() {
        c.error_at(
            "sniHosts",
            "a TLS match must have at least one SNI host",
            "",
        );
    }
    let for_gateways = !vs.gateways.iter().any(|g| g == "mesh");
    c.each("sniHosts", &m.sni_hosts, |c, host| {
        let outcome = if for_gateways {
            names::gateway_bound_domain(host, true)
        } else {
            names::wildcard_domain(host)
        };
        match outcome {
            Err(_) if names::is_ip(host) => {
                c.warn("clients send no SNI for an IP address", "use a host name")
            }
            Err(wrong) => c.error(wrong.message, wrong.help),
            Ok(()) if vs.hosts.iter().any(|h| names::is_subset_host(host, h)) => {}
            Ok(()) => c.require_here(Err(wrong(
                format!("SNI host \"{host}\" is not covered by the hosts of the VirtualService"),
                format!("use one of {}, or add it to hosts", vs.hosts.join(", ")),
            ))),
        }
    });
    l4_match(c, &m.destination_subnets, m.port, &m.gateways);
    policy::labels(c, "sourceLabels", &m.source_labels);
}

fn tcp_match(c: &mut Check, m: &L4MatchAttributes) {
    c.unseen_by_istio(|c| l4_match(c, &m.destination_subnets, m.port, &m.gateways));
    policy::labels(c, "sourceLabels", &m.source_labels);
}

fn l4_match(c: &mut Check, subnets: &[String], port: u32, gateway_names: &[String]) {
    c.each("destinationSubnets", subnets, |c, subnet| {
        c.require_here(names::subnet(subnet))
    });
    if port != 0 {
        c.require("port", names::port(port));
    }
    gateways(c, gateway_names);
}
