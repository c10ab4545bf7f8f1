//! Sidecar.

use super::names::Protocol;
use super::{Check, destination_rule, gateway, names, policy, virtual_service};
use crate::networking::{
    CaptureMode, IstioEgressListener, IstioIngressListener, OutboundMode, OutboundTrafficPolicy,
    ServerTlsMode, ServerTlsSettings, Sidecar, SidecarPort,
};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn check(c: &mut Check, sidecar: &Sidecar) {
    if !policy::workload_selector(c, sidecar.workload_selector.as_ref()) {
        return;
    }
    let empty = sidecar.egress.is_empty()
        && sidecar.ingress.is_empty()
        && sidecar.outbound_traffic_policy.is_none()
        && sidecar.inbound_connection_pool.is_none();
    if empty {
        c.error(
            "a Sidecar must have egress, ingress, outboundTrafficPolicy or inboundConnectionPool",
            "",
        );
        return;
    }
    let mut seen = BTreeSet::new();
    c.each("ingress", &sidecar.ingress, |c, listener| {
        ingress(c, listener, &mut seen)
    });
    if let Some(pool) = &sidecar.inbound_connection_pool {
        c.within("inboundConnectionPool", |c| {
            destination_rule::connection_pool(c, pool)
        });
    }
    egress(c, &sidecar.egress);
    if let Some(outbound) = &sidecar.outbound_traffic_policy {
        c.within("outboundTrafficPolicy", |c| outbound_policy(c, outbound));
    }
}

fn port(c: &mut Check, port: &SidecarPort) {
    if port.target_port > 0 {
        c.error_at(
            "targetPort",
            "has no effect on a Sidecar",
            "use defaultEndpoint",
        );
    }
    if !port.name.is_empty() {
        c.require("name", names::port_name(&port.name));
    }
    c.require("protocol", names::protocol(&port.protocol));
}

fn ingress(c: &mut Check, listener: &IstioIngressListener, seen: &mut BTreeSet<u32>) {
    let Some(p) = &listener.port else {
        c.error_at("port", "is required", "");
        return;
    };
    c.within("port", |c| {
        port(c, p);
        c.require("number", names::port(p.number));
        if !seen.insert(p.number) {
            c.error_at(
                "number",
                format!("port {} stands twice", p.number),
                "remove one of the listeners",
            );
        }
    });
    if !listener.bind.is_empty() {
        c.require("bind", names::ip(&listener.bind));
    }
    if !listener.default_endpoint.is_empty() {
        c.within("defaultEndpoint", |c| {
            default_endpoint(c, &listener.default_endpoint)
        });
    }
    if let Some(tls) = &listener.tls {
        c.within("tls", |c| ingress_tls(c, tls));
    }
    if let Some(pool) = &listener.connection_pool {
        c.within("connectionPool", |c| {
            destination_rule::connection_pool(c, pool);
            if pool.http.is_some() && !Protocol::parse(&p.protocol).is_some_and(Protocol::is_http) {
                c.warn(
                    format!("http has no effect, since port {} is not HTTP", p.number),
                    "use tcp, or an HTTP protocol",
                );
            }
        });
    }
}

fn default_endpoint(c: &mut Check, endpoint: &str) {
    if let Some(path) = endpoint.strip_prefix("unix://") {
        c.require_here(names::unix_path(path));
        return;
    }
    let help = "write 127.0.0.1:PORT, 0.0.0.0:PORT, [::1]:PORT, [::]:PORT or unix:///path";
    let Some((host, number)) = endpoint.rsplit_once(':') else {
        c.error(format!("\"{endpoint}\" has no port"), help);
        return;
    };
    if !matches!(host, "" | "127.0.0.1" | "0.0.0.0" | "[::1]" | "[::]") {
        c.error(
            format!("\"{host}\" is not an address of the workload itself"),
            help,
        );
    }
    match number.parse::<u32>() {
        Ok(number) => c.require_here(names::port(number)),
        Err(_) => c.error(format!("port \"{number}\" is not a number"), help),
    }
}

fn ingress_tls(c: &mut Check, tls: &ServerTlsSettings) {
    let unsupported = [
        ("subjectAltNames", !tls.subject_alt_names.is_empty()),
        ("httpsRedirect", tls.https_redirect),
        ("credentialName", !tls.credential_name.is_empty()),
        ("credentialNames", !tls.credential_names.is_empty()),
    ];
    for (key, _) in unsupported.iter().filter(|(_, set)| *set) {
        c.error_at(
            key,
            "is not supported for sidecars",
            "use files in the proxy's container",
        );
    }
    if matches!(
        tls.mode,
        ServerTlsMode::IstioMutual | ServerTlsMode::AutoPassthrough
    ) {
        c.error_at(
            "mode",
            format!("{} is not supported for sidecars", tls.mode.as_str()),
            "use SIMPLE or MUTUAL",
        );
    }
    gateway::server_tls(c, tls);
}

fn egress(c: &mut Check, listeners: &[IstioEgressListener]) {
    let (mut numbers, mut sockets) = (BTreeSet::new(), BTreeSet::new());
    let mut index = 0;
    c.each("egress", listeners, |c, listener| {
        index += 1;
        match &listener.port {
            None => {
                if index != listeners.len() {
                    c.error(
                        "a listener without port takes everything, so it must be the last",
                        "move it to the end",
                    );
                }
            }
            Some(p) => {
                egress_port(c, listener, p);
                let once = if p.number == 0 {
                    sockets.insert(listener.bind.clone())
                } else {
                    numbers.insert(p.number)
                };
                if !once {
                    c.error_at(
                        "port",
                        "another listener has the same port or socket",
                        "remove one of the listeners",
                    );
                }
            }
        }
        egress_hosts(c, &listener.hosts);
    });
}

fn egress_port(c: &mut Check, listener: &IstioEgressListener, p: &SidecarPort) {
    c.within("port", |c| port(c, p));
    if p.number == 0 {
        match listener.bind.strip_prefix("unix://") {
            Some(path) => c.require("bind", names::unix_path(path)),
            None => c.error_at(
                "bind",
                "a port with number 0 needs a Unix domain socket",
                "set the number, or bind: unix:///path",
            ),
        }
        if listener.capture_mode == CaptureMode::Iptables {
            c.error_at(
                "captureMode",
                "traffic cannot be captured to a Unix domain socket",
                "use NONE",
            );
        }
    } else {
        c.within("port", |c| c.require("number", names::port(p.number)));
        if !listener.bind.is_empty() {
            c.require("bind", names::ip(&listener.bind));
        }
    }
}

fn egress_hosts(c: &mut Check, hosts: &[String]) {
    if hosts.is_empty() {
        c.error_at(
            "hosts",
            "a listener must have at least one host",
            "use \"*/*\" for all",
        );
        return;
    }
    let own = c.namespace().to_owned();
    let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    c.each("hosts", hosts, |c, host| {
        if let Some((namespace, name)) = host.split_once('/') {
            let namespace = if namespace == "." {
                own.clone()
            } else {
                namespace.to_owned()
            };
            let names = seen.entry(namespace).or_default();
            let again = if name == "*" {
                !names.is_empty()
            } else {
                names.contains(name) || names.contains("*")
            };
            if again {
                c.warn(
                    format!("\"{host}\" is included by another entry"),
                    "remove one",
                );
            }
            names.insert(name.to_owned());
        }
        for wrong in names::namespaced_host(host, false) {
            c.error(wrong.message, wrong.help);
        }
    });
    if seen.len() > 1 && seen.get("*").is_some_and(|names| names.contains("*")) {
        c.within("hosts", |c| {
            c.warn(
                "*/* already includes all other hosts",
                "keep */* alone, or remove it",
            )
        });
    }
}

fn outbound_policy(c: &mut Check, outbound: &OutboundTrafficPolicy) {
    let Some(proxy) = &outbound.egress_proxy else {
        return;
    };
    if outbound.mode != OutboundMode::AllowAny {
        c.error_at(
            "egressProxy",
            "is for mode ALLOW_ANY only",
            "set mode: ALLOW_ANY",
        );
        return;
    }
    c.within("egressProxy", |c| {
        // Traffic goes to one service, so the host is not a wildcard, which destinations of routes may be.
        let host = names::fqdn(&proxy.host);
        if proxy.port.is_none() {
            c.require("host", host);
            c.error_at("port", "is required", "");
        } else if host.is_err() {
            c.require("host", host);
        } else {
            virtual_service::destination(c, proxy);
        }
    });
}
