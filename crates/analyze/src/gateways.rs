//! Gateways: workloads and ports that are not there, servers and certificates of which two gateways have the same.

use crate::codes::{CONFLICTING_GATEWAYS, DUPLICATE_CERTIFICATE, NOT_FOUND, PORT_NOT_ON_SERVICE};
use crate::finding::{Finding, full_name, list, on, selector_text};
use crate::pods::selects;
use crate::world::{Obj, World};
use hawser_api::networking::{Gateway, ServerTlsSettings};
use hawser_api::{IntOrString, Kind, Labels};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Istio `gateway.IngressGatewayPortAnalyzer`.
pub fn ports(world: &World) -> Vec<Finding> {
    let mut out = Vec::new();
    // Many gateways have the same selector.
    let mut offered: HashMap<String, BTreeSet<u32>> = HashMap::new();
    for gateway in &world.gateways {
        let selector = &gateway.spec.selector;
        let text = selector_text(selector);
        let mut pods = world.shared.pods.select(selector).peekable();
        if pods.peek().is_none() {
            let message = format!("no pod has the labels of the selector ({text})");
            let found = Finding::new(
                NOT_FOUND,
                on(Kind::Gateway, &gateway.meta),
                "spec.selector",
                message,
            );
            out.push(
                found.help(
                    "select labels that the gateway's pods have, such as istio: ingressgateway",
                ),
            );
            continue;
        }
        let offered = offered.entry(text.clone()).or_insert_with(|| {
            let mut ports = BTreeSet::new();
            pods.for_each(|pod| offer(world, pod.namespace(), pod.labels(), &mut ports));
            ports
        });
        for (i, server) in gateway.spec.servers.iter().enumerate() {
            let Some(port) = &server.port else { continue };
            if !offered.contains(&port.number) {
                let message = format!(
                    "port {} is no target port of a Service of the gateway's pods ({text}): nobody reaches it that way",
                    port.number
                );
                let path = format!("spec.servers[{i}].port.number");
                let help = format!(
                    "add a port with targetPort {} to the gateway's Service, or listen on one that it has",
                    port.number
                );
                out.push(
                    Finding::new(
                        PORT_NOT_ON_SERVICE,
                        on(Kind::Gateway, &gateway.meta),
                        path,
                        message,
                    )
                    .help(help),
                );
            }
        }
    }
    out
}

/// The ports of pods that their Services reach by TCP.
fn offer(world: &World, namespace: &str, labels: &Labels, offered: &mut BTreeSet<u32>) {
    let services = &world.shared.services;
    let selecting = services.selecting(namespace, labels);
    for service in selecting
        .into_iter()
        .chain(services.without_selector(namespace))
    {
        for port in &service.object.spec.ports {
            if !matches!(port.protocol.as_str(), "" | "TCP") {
                continue;
            }
            let target = match &port.target_port {
                Some(IntOrString::Int(number)) if *number != 0 => *number,
                Some(IntOrString::String(text)) => text.parse().unwrap_or(port.port),
                _ => port.port,
            };
            offered.extend(u32::try_from(target));
        }
    }
}

/// A host of a server, and the address it binds to.
type HostBind<'a> = (&'a str, &'a str);

/// Istio `gateway.ConflictingGatewayAnalyzer`.
pub fn conflicts(world: &World) -> Vec<Finding> {
    // Of servers of one gateway with the same port the last one counts.
    let mut last = BTreeMap::new();
    let mut selectors: BTreeMap<String, &Labels> = BTreeMap::new();
    for gateway in &world.gateways {
        let text = selector_text(&gateway.spec.selector);
        selectors.insert(text.clone(), &gateway.spec.selector);
        for server in &gateway.spec.servers {
            let port = server.port.as_ref().map_or(0, |p| p.number);
            last.insert((text.clone(), port, full_name(&gateway.meta)), server);
        }
    }
    let mut users: HashMap<(&str, u32), HashMap<HostBind<'_>, BTreeSet<&str>>> = HashMap::new();
    for ((selector, port, gateway), server) in &last {
        let hosts = users.entry((selector, *port)).or_default();
        for host in &server.hosts {
            hosts
                .entry((host, &server.bind))
                .or_default()
                .insert(gateway);
        }
    }
    let mut same: HashMap<String, Vec<&str>> = HashMap::new();
    let mut out = Vec::new();
    for gateway in &world.gateways {
        let text = selector_text(&gateway.spec.selector);
        let alike = same.entry(text.clone()).or_insert_with(|| {
            let others = selectors.iter();
            let alike = others.filter(|(other, labels)| {
                share_pods(world, &text, &gateway.spec.selector, other, labels)
            });
            alike.map(|(other, _)| other.as_str()).collect()
        });
        let name = full_name(&gateway.meta);
        for (i, server) in gateway.spec.servers.iter().enumerate() {
            let port = server.port.as_ref().map_or(0, |p| p.number);
            let mut others: BTreeSet<&str> = BTreeSet::new();
            for selector in alike.iter() {
                let Some(hosts) = users.get(&(*selector, port)) else {
                    continue;
                };
                for host in &server.hosts {
                    let users = hosts.get(&(host.as_str(), server.bind.as_str()));
                    // A few are enough to say what is wrong.
                    others.extend(
                        users
                            .into_iter()
                            .flatten()
                            .filter(|other| **other != name)
                            .take(10),
                    );
                }
            }
            if !others.is_empty() {
                let message = format!(
                    "gateway {} has port {port} and a host of {} for the same pods ({text}): which one is used is not defined",
                    list(others),
                    server.hosts.join(",")
                );
                let path = format!("spec.servers[{i}].hosts");
                let found = Finding::new(
                    CONFLICTING_GATEWAYS,
                    on(Kind::Gateway, &gateway.meta),
                    path,
                    message,
                );
                out.push(found.help("name each host in one gateway, or merge the gateways"));
            }
        }
    }
    out
}

/// Whether two selectors count as one: they are equal, or one continues the other and a pod has both's labels.
fn share_pods(world: &World, a: &str, a_labels: &Labels, b: &str, b_labels: &Labels) -> bool {
    if a == b {
        return true;
    }
    (a.contains(b) || b.contains(a)) && {
        let mut pods = world.shared.pods.select(a_labels);
        pods.any(|pod| selects(b_labels, pod.labels()))
    }
}

/// Above so many gateways with one certificate, each is told of the others at once.
const MANY: usize = 50;

/// Istio `gateway.CertificateAnalyzer`: clients that reuse a connection for another host get 404.
pub fn certificates(world: &World) -> Vec<Finding> {
    let mut users: BTreeMap<Certificate<'_>, Vec<(&Obj<Gateway>, usize)>> = BTreeMap::new();
    for gateway in &world.gateways {
        let mut own = BTreeSet::new();
        for (i, server) in gateway.spec.servers.iter().enumerate() {
            if let Some(key) = server.tls.as_ref().and_then(certificate)
                && own.insert(key)
            {
                users.entry(key).or_default().push((gateway, i));
            }
        }
    }
    let mut out = Vec::new();
    for gateways in users.values().filter(|gateways| gateways.len() > 1) {
        for (gateway, i) in gateways {
            let name = full_name(&gateway.meta);
            let others = gateways.iter().map(|(other, _)| other);
            let others = others.filter(|other| {
                full_name(&other.meta) != name
                    && selects(&gateway.spec.selector, &other.spec.selector)
            });
            let others: Vec<String> = others.map(|other| full_name(&other.meta)).collect();
            let mut found = |others: &[String]| {
                if others.is_empty() {
                    return;
                }
                let message = format!(
                    "the certificate is also that of gateway {}: clients that reuse an HTTP/2 connection get 404",
                    list(others.iter().map(String::as_str))
                );
                let found = Finding::new(
                    DUPLICATE_CERTIFICATE,
                    on(Kind::Gateway, &gateway.meta),
                    format!("spec.servers[{i}].tls"),
                    message,
                );
                out.push(found.help("name all hosts of the certificate in one gateway, or give each gateway its own certificate"));
            };
            if gateways.len() > MANY {
                found(&others);
            } else {
                others.chunks(1).for_each(found);
            }
        }
    }
    out
}

/// What tells certificates apart: the secret, or the files.
type Certificate<'a> = (&'a str, &'a str);

fn certificate(tls: &ServerTlsSettings) -> Option<Certificate<'_>> {
    if !tls.credential_name.is_empty() {
        return Some((&tls.credential_name, ""));
    }
    let files = !tls.server_certificate.is_empty() && !tls.private_key.is_empty();
    files.then_some((&tls.server_certificate, &tls.private_key))
}
