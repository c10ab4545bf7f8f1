//! ServiceEntry, WorkloadEntry and WorkloadGroup.

use super::names::Protocol;
use super::{Check, names, policy};
use crate::meta::Labels;
use crate::networking::{ReadinessProbe, Resolution, ServiceEntry, WorkloadEntry, WorkloadGroup};
use std::collections::BTreeSet;

pub(super) fn check(c: &mut Check, se: &ServiceEntry, labels: &Labels) {
    if !policy::workload_selector(c, se.workload_selector.as_ref()) {
        return;
    }
    if se.workload_selector.is_some() && !se.endpoints.is_empty() {
        c.error(
            "only one of workloadSelector and endpoints may be set",
            "keep one of them",
        );
    }
    if se.hosts.is_empty() {
        c.error_at("hosts", "a ServiceEntry must have at least one host", "");
    }
    c.each("hosts", &se.hosts, |c, host| {
        if host == "*" {
            c.error(
                "a ServiceEntry cannot be for host *",
                "name a domain, as in *.example.com",
            );
            return;
        }
        c.require_here(names::wildcard_domain(host));
        if let Err(wrong) = names::no_partial_wildcard(host) {
            c.warn(wrong.message, wrong.help);
        }
    });
    c.each("addresses", &se.addresses, |c, address| {
        c.require_here(names::subnet(address))
    });
    let fixed = matches!(se.resolution, Resolution::None | Resolution::Static);
    if !fixed && se.addresses.iter().any(|a| a.contains('/')) {
        c.error_at(
            "addresses",
            "CIDR blocks are for resolution NONE and STATIC only",
            "write single addresses",
        );
    }
    ports(c, se, labels);
    endpoints(c, se);
    many_hosts(c, se);
    policy::export_to(c, &se.export_to, true, false);
}

/// Whether the control plane gives the entry an address by itself.
fn auto_allocates(se: &ServiceEntry, labels: &Labels) -> bool {
    let opted_out = labels
        .get("networking.istio.io/enable-autoallocate-ip")
        .is_some_and(|v| v.eq_ignore_ascii_case("false"));
    se.resolution != Resolution::None && !opted_out
}

fn ports(c: &mut Check, se: &ServiceEntry, labels: &Labels) {
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    let needs_address = se.addresses.is_empty() && !auto_allocates(se, labels);
    c.each("ports", &se.ports, |c, port| {
        if !names.insert(port.name.clone()) {
            c.error_at(
                "name",
                format!("port name \"{}\" stands twice", port.name),
                "rename one",
            );
        }
        if !numbers.insert(port.number) {
            c.error_at(
                "number",
                format!("port {} stands twice", port.number),
                "remove one",
            );
        }
        if port.target_port != 0 {
            c.require("targetPort", names::port(port.target_port));
        }
        if needs_address && matches!(port.protocol.as_str(), "" | "TCP") {
            c.warn(
                "connections to a TCP port are told apart by address, and the entry has none",
                "set addresses, or use a resolution for which one is allocated",
            );
        }
        c.require("name", names::port_name(&port.name));
        c.require("protocol", names::protocol(&port.protocol));
        c.require("number", names::port(port.number));
    });
}

fn endpoints(c: &mut Check, se: &ServiceEntry) {
    let ports: BTreeSet<&str> = se.ports.iter().map(|p| p.name.as_str()).collect();
    match se.resolution {
        Resolution::None => {
            if !se.endpoints.is_empty() {
                c.error_at(
                    "endpoints",
                    "resolution NONE uses no endpoints",
                    "use STATIC or DNS, or remove the endpoints",
                );
            }
            if se.workload_selector.is_some() {
                c.within("workloadSelector", |c| {
                    c.warn("resolution NONE uses no workloads", "use STATIC")
                });
            }
        }
        Resolution::Static => {
            c.each("endpoints", &se.endpoints, |c, endpoint| {
                check_workload_entry(c, endpoint, Some(&ports), false);
            });
        }
        Resolution::Dns | Resolution::DnsRoundRobin => dns(c, se, &ports),
        Resolution::DynamicDns => {
            if !se.endpoints.is_empty() {
                c.error_at(
                    "endpoints",
                    "resolution DYNAMIC_DNS resolves the host of each request",
                    "remove the endpoints",
                );
            }
        }
    }
}

fn dns(c: &mut Check, se: &ServiceEntry, ports: &BTreeSet<&str>) {
    if se.endpoints.is_empty() {
        c.each("hosts", &se.hosts, |c, host| {
            if names::fqdn(host).is_err() {
                c.error(
                    "without endpoints, hosts with a wildcard cannot be resolved by DNS",
                    "write a full host name, or give endpoints",
                );
            }
        });
    }
    if se.resolution == Resolution::DnsRoundRobin && se.endpoints.len() > 1 {
        c.error_at(
            "endpoints",
            "DNS_ROUND_ROBIN has at most one endpoint",
            "use DNS for several",
        );
    }
    c.each("endpoints", &se.endpoints, |c, endpoint| {
        if !names::is_ip(&endpoint.address) && names::fqdn(&endpoint.address).is_err() {
            c.error_at(
                "address",
                format!(
                    "\"{}\" is neither a host name nor an IP address",
                    endpoint.address
                ),
                "",
            );
        }
        policy::labels(c, "labels", &endpoint.labels);
        endpoint_ports(c, endpoint, Some(ports));
    });
    let tcp = se
        .ports
        .iter()
        .any(|p| Protocol::parse(&p.protocol).is_some_and(Protocol::is_tcp));
    if tcp && !se.addresses.is_empty() && se.hosts.len() > 1 {
        c.warn(
            "several hosts share addresses and a TCP port, so they cannot be told apart",
            "make a ServiceEntry for each host",
        );
    }
}

fn endpoint_ports(c: &mut Check, endpoint: &WorkloadEntry, service_ports: Option<&BTreeSet<&str>>) {
    c.entries("ports", &endpoint.ports, |c, name, number| {
        if service_ports.is_some_and(|ports| !ports.contains(name.as_str())) {
            c.error(
                format!("port \"{name}\" is not a port of the ServiceEntry"),
                "use the names under ports",
            );
        }
        c.require_here(names::port_name(name));
        c.require_here(names::port(*number));
    });
}

/// Plain TCP has nothing by which a proxy could tell hosts apart.
fn many_hosts(c: &mut Check, se: &ServiceEntry) {
    let routed =
        |protocol: &str| Protocol::parse(protocol).is_some_and(|p| p.is_http() || p.is_tls());
    if se.resolution != Resolution::None
        && se.hosts.len() > 1
        && se.ports.iter().any(|p| !routed(&p.protocol))
    {
        c.error_at(
            "hosts",
            "several hosts need ports of HTTP or TLS, by which requests are told apart",
            "make a ServiceEntry for each host",
        );
    }
}

/// A WorkloadEntry, or an endpoint of a ServiceEntry (`service_ports` are then its ports' names).
pub(super) fn check_workload_entry(
    c: &mut Check,
    we: &WorkloadEntry,
    service_ports: Option<&BTreeSet<&str>>,
    names_allowed: bool,
) {
    let address = we.address.as_str();
    if address.is_empty() {
        if we.network.is_empty() {
            c.error_at("address", "is required", "set it, or network");
            return;
        }
        c.within("address", |c| {
            c.warn(
                format!(
                    "is not set, so the gateway of network \"{}\" is used",
                    we.network
                ),
                "",
            );
        });
    }
    let socket = address.strip_prefix("unix://");
    if let Some(path) = socket {
        c.require("address", names::unix_path(path));
        if !we.ports.is_empty() {
            c.error_at("ports", "a Unix domain socket has no ports", "remove them");
        }
    } else if !address.is_empty() && !names::is_ip(address) {
        if !names_allowed {
            c.error_at(
                "address",
                format!("\"{address}\" is not an IP address"),
                "use resolution DNS for host names",
            );
        } else if names::fqdn(address).is_err() {
            c.error_at(
                "address",
                format!("\"{address}\" is neither a host name nor an IP address"),
                "",
            );
        }
    }
    endpoint_ports(c, we, service_ports);
    policy::labels(c, "labels", &we.labels);
    if socket.is_some() && service_ports.is_some_and(|ports| ports.len() != 1) {
        c.error_at(
            "address",
            "a Unix domain socket serves exactly one port",
            "",
        );
    }
}

pub(super) fn check_workload_group(c: &mut Check, wg: &WorkloadGroup) {
    if wg.template.is_none() {
        c.error_at("template", "is required", "");
        return;
    }
    if let Some(metadata) = &wg.metadata {
        let before = c.findings.len();
        c.within("metadata", |c| {
            policy::labels(c, "labels", &metadata.labels)
        });
        if c.findings.len() > before {
            return;
        }
    }
    if let Some(probe) = &wg.probe {
        c.within("probe", |c| check_probe(c, probe));
    }
}

fn check_probe(c: &mut Check, probe: &ReadinessProbe) {
    c.non_negative("initialDelaySeconds", probe.initial_delay_seconds);
    c.non_negative("timeoutSeconds", probe.timeout_seconds);
    c.non_negative("periodSeconds", probe.period_seconds);
    c.non_negative("successThreshold", probe.success_threshold);
    c.non_negative("failureThreshold", probe.failure_threshold);
    if let Some(http) = &probe.http_get {
        c.within("httpGet", |c| {
            c.require("port", names::port(http.port));
            if !matches!(http.scheme.as_str(), "" | "HTTP" | "HTTPS") {
                c.error_at(
                    "scheme",
                    format!("\"{}\" is neither HTTP nor HTTPS", http.scheme),
                    "",
                );
            }
            c.each("httpHeaders", &http.http_headers, |c, header| {
                c.require("name", names::strict_header(&header.name))
            });
        });
    } else if let Some(tcp) = &probe.tcp_socket {
        c.within("tcpSocket", |c| c.require("port", names::port(tcp.port)));
    } else if let Some(exec) = &probe.exec {
        if exec.command.is_empty() {
            c.within("exec", |c| c.error_at("command", "is required", ""));
        }
    } else if let Some(grpc) = &probe.grpc {
        c.within("grpc", |c| c.require("port", names::port(grpc.port)));
    } else {
        c.error("a probe needs httpGet, tcpSocket, exec or grpc", "");
    }
}
