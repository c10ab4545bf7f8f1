//! ServiceEntries: a service for each host.

use std::collections::BTreeMap;
use std::net::IpAddr;

use hawser_api::networking as api;
use hawser_api::{Kind, Object, status::ServiceEntryStatus};
use hawser_model::service::Registry;
use hawser_model::{ClusterId, Hostname, Port, Problem, Resolution, Service};
use ipnet::IpNet;

use crate::names::{self, labels, port, protocol, strs, visibility};
use crate::notes::{Notes, SCHEMA};
use crate::services::{DISTRIBUTION, preference};
use crate::world::World;

/// A ServiceEntry as it was written.
pub type Entry = Object<api::ServiceEntry, ServiceEntryStatus>;

/// The services of a ServiceEntry.
pub fn services(
    object: &Entry,
    cluster: &ClusterId,
    world: &World<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<Service> {
    let mut notes = Notes::new(problems, cluster, Kind::ServiceEntry, &object.meta);
    let spec = &object.spec;
    let addresses = addresses(object, &mut notes);
    let ports = ports(object, &mut notes);
    let hosts = spec.hosts.iter().enumerate().filter_map(|(i, text)| {
        Hostname::parse(text)
            .map_err(|error| {
                notes.error(
                    SCHEMA,
                    format!("spec.hosts[{i}]"),
                    format!("{text:?} is not a host name: {error}"),
                    "write a full name or a wildcard such as *.example.com",
                );
            })
            .ok()
    });
    hosts
        .map(|host| {
            let mut by_cluster = BTreeMap::new();
            if !addresses.is_empty() {
                by_cluster.insert(ClusterId::new(""), addresses.clone());
            }
            Service {
                meta: names::meta(&object.meta),
                cluster_local: world.local_hosts.contains(&host),
                registry: Registry::External,
                ports: ports.clone(),
                addresses: by_cluster,
                auto_addresses: if addresses.is_empty() {
                    allocated(object, &host)
                } else {
                    Vec::new()
                },
                resolution: match spec.resolution {
                    api::Resolution::None => Resolution::Passthrough,
                    api::Resolution::Static => Resolution::Endpoints,
                    api::Resolution::Dns => Resolution::Dns,
                    api::Resolution::DnsRoundRobin => Resolution::DnsRoundRobin,
                    api::Resolution::DynamicDns => Resolution::DynamicDns,
                },
                mesh_external: spec.location == api::Location::MeshExternal,
                visibility: visibility(
                    &spec.export_to,
                    &object.meta.namespace,
                    &world.mesh.default_service_visibility,
                ),
                labels: labels(&object.meta.labels),
                selector: spec
                    .workload_selector
                    .as_ref()
                    .map(|s| labels(&s.labels))
                    .unwrap_or_default(),
                headless: false,
                external_name: None,
                node_local: false,
                traffic_distribution: preference(
                    None,
                    [
                        object.annotation(DISTRIBUTION),
                        (world.config_view())
                            .and_then(|v| v.annotation(&object.meta.namespace, DISTRIBUTION)),
                    ],
                ),
                publish_not_ready: false,
                identities: Default::default(),
                subject_alt_names: strs(&spec.subject_alt_names),
                external_addresses: BTreeMap::new(),
                host,
            }
        })
        .collect()
}

/// What an entry lists as its endpoints: nothing where it selects workloads.
pub fn listed(entry: &Entry) -> &[api::WorkloadEntry] {
    match entry.spec.workload_selector {
        Some(_) => &[],
        None => &entry.spec.endpoints,
    }
}

fn addresses(object: &Entry, notes: &mut Notes<'_>) -> Vec<IpNet> {
    let mut out = Vec::new();
    for (i, text) in object.spec.addresses.iter().enumerate() {
        let parsed = text
            .parse::<IpAddr>()
            .map(IpNet::from)
            .or_else(|_| text.parse::<IpNet>());
        match parsed {
            Ok(net) if net.addr().is_unspecified() && net.prefix_len() == net.max_prefix_len() => {}
            Ok(net) => out.push(net.trunc()),
            Err(_) => notes.error(
                SCHEMA,
                format!("spec.addresses[{i}]"),
                format!("{text:?} is neither an address nor an address range"),
                "write it as 240.0.0.3 or 10.1.0.0/16",
            ),
        }
    }
    out
}

fn ports(object: &Entry, notes: &mut Notes<'_>) -> Vec<Port> {
    let mut out: Vec<Port> = Vec::new();
    for (i, written) in object.spec.ports.iter().enumerate() {
        let field = format!("spec.ports[{i}]");
        let Some(number) = port(written.number) else {
            notes.error(
                SCHEMA,
                format!("{field}.number"),
                format!("{} is not a port", written.number),
                "use a number from 1 to 65535",
            );
            continue;
        };
        if out.iter().any(|p| p.number == number) {
            notes.error(
                SCHEMA,
                format!("{field}.number"),
                format!("port {number} is defined twice"),
                "the first one counts",
            );
            continue;
        }
        let known = protocol(&written.protocol);
        if known.is_none() && !written.protocol.is_empty() {
            notes.warn(
                SCHEMA,
                format!("{field}.protocol"),
                format!(
                    "{:?} is not a protocol; it is found out per connection",
                    written.protocol
                ),
                "use one of HTTP, HTTPS, GRPC, HTTP2, MONGO, TCP, TLS",
            );
        }
        let protocol = known.unwrap_or(hawser_model::Protocol::Unknown);
        let by_name = protocol.is_http() || protocol == hawser_model::Protocol::Tls;
        if object.spec.resolution == api::Resolution::DynamicDns && !by_name {
            notes.error(
                SCHEMA,
                format!("{field}.protocol"),
                "DYNAMIC_DNS reads names from HTTP and TLS alone; this port leads nowhere",
                "use HTTP, HTTP2, GRPC or TLS",
            );
        }
        out.push(Port {
            name: written.name.as_str().into(),
            number,
            protocol,
            target_port: port(written.target_port),
        });
    }
    out
}

/// Addresses that a controller allocated and wrote to the status; they count only where the entry wants them.
fn allocated(object: &Entry, host: &Hostname) -> Vec<IpAddr> {
    if !crate::allocate::wanted(object) {
        return Vec::new();
    }
    object
        .status
        .addresses
        .iter()
        .filter(|a| Hostname::parse(&a.host).ok().as_ref() == Some(host))
        .filter_map(|a| a.value.parse().ok())
        .collect()
}

/// The field that keeps a further ServiceEntry of the same host and namespace from adding its ports and addresses: one
/// cluster cannot be found in two ways, nor be two namespaces' at once (Istio's `canMergeServices`, which wants the same
/// labels, too).
pub fn unlike(older: &Service, newer: &Service) -> Option<&'static str> {
    if older.resolution != newer.resolution {
        Some("spec.resolution")
    } else if older.selector != newer.selector {
        Some("spec.workloadSelector")
    } else if older.visibility != newer.visibility {
        Some("spec.exportTo")
    } else {
        None
    }
}

/// Merges a further ServiceEntry of the same host and namespace: ports and addresses add up, and what the first one says
/// counts where both say something. Returns ports on which they disagree about the protocol.
pub fn merge(into: &mut Service, other: &Service) -> Vec<u16> {
    let mut conflicts = Vec::new();
    for port in &other.ports {
        match into.ports.iter().find(|p| p.number == port.number) {
            Some(same) if same.protocol != port.protocol => conflicts.push(port.number),
            Some(_) => {}
            None => {
                // Endpoints go by the names of ports, which each entry gives for itself alone.
                let mut port = port.clone();
                if into.ports.iter().any(|p| p.name == port.name) {
                    port.name = format!("{}-{}", port.name, port.number).into();
                }
                into.ports.push(port);
            }
        }
    }
    for (cluster, nets) in &other.addresses {
        let own = into.addresses.entry(cluster.clone()).or_default();
        for net in nets {
            if !own.contains(net) {
                own.push(*net);
            }
        }
    }
    for ip in &other.auto_addresses {
        if !into.auto_addresses.contains(ip) {
            into.auto_addresses.push(*ip);
        }
    }
    for name in &other.subject_alt_names {
        if !into.subject_alt_names.contains(name) {
            into.subject_alt_names.push(name.clone());
        }
    }
    conflicts
}
