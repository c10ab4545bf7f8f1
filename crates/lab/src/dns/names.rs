//! Pure: the names of a cluster (<https://github.com/kubernetes/dns/blob/master/docs/specification.md>).

use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use super::plan::{Kubernetes, Pods, is_in};
use crate::controllers::slices::by_service;
use crate::controllers::world::{Meta, World};

/// What a record says. Names are lower case without the final dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Data {
    A(Ipv4Addr),
    Cname(String),
    Ptr(String),
    Srv {
        port: u16,
        target: String,
    },
    Txt(String),
    Ns(String),
    /// Start of authority of the zone.
    Soa,
}

/// A record of the answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Record {
    pub(super) owner: String,
    pub(super) data: Data,
}

/// What the cluster knows about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// The name exists. Without records it has none of the type asked for (NODATA).
    Records {
        zone: String,
        records: Vec<Record>,
        additional: Vec<Record>,
    },
    /// The name does not exist (NXDOMAIN).
    Nothing { zone: String },
    /// Somebody else is to be asked.
    Elsewhere,
}

/// The types of records that a question may be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    A,
    Cname,
    Ptr,
    Srv,
    Txt,
    Ns,
    Soa,
    Any,
    Other,
}

/// The answer for a name, which is lower case and without its final dot.
pub(super) fn lookup(world: &World, plugin: &Kubernetes, name: &str, wanted: Wanted) -> Known {
    let zones = plugin.zones.iter().filter(|zone| is_in(name, zone));
    let Some(zone) = zones.max_by_key(|zone| zone.len()) else {
        return Known::Elsewhere;
    };
    let reverse =
        zone == "in-addr.arpa" || zone.ends_with(".in-addr.arpa") || zone.ends_with("ip6.arpa");
    let found = if reverse {
        let domain = plugin.zones.iter().find(|zone| !zone.ends_with(".arpa"));
        reversed(world, name, domain.map_or("cluster.local", String::as_str))
    } else {
        forward(world, plugin, name, zone)
    };
    match found {
        Some(found) => {
            let records = found
                .records
                .into_iter()
                .filter(|record| fits(&record.data, wanted))
                .collect();
            // Addresses of what a SRV record points to save the asker a question.
            let additional = if wanted == Wanted::Srv {
                found.targets
            } else {
                Vec::new()
            };
            Known::Records {
                zone: zone.clone(),
                records,
                additional,
            }
        }
        None if plugin.fallthrough.iter().any(|zone| is_in(name, zone)) => Known::Elsewhere,
        None => Known::Nothing { zone: zone.clone() },
    }
}

fn fits(data: &Data, wanted: Wanted) -> bool {
    match data {
        Data::A(_) => matches!(wanted, Wanted::A | Wanted::Any),
        // An alias answers every question but those about the zone itself (RFC 1034, 3.6.2).
        Data::Cname(_) => true,
        Data::Ptr(_) => matches!(wanted, Wanted::Ptr | Wanted::Any),
        Data::Srv { .. } => matches!(wanted, Wanted::Srv | Wanted::Any),
        Data::Txt(_) => matches!(wanted, Wanted::Txt | Wanted::Any),
        Data::Ns(_) => matches!(wanted, Wanted::Ns | Wanted::Any),
        Data::Soa => matches!(wanted, Wanted::Soa | Wanted::Any),
    }
}

/// All records of a name that exists.
#[derive(Default)]
struct Found {
    records: Vec<Record>,
    targets: Vec<Record>,
}

impl Found {
    fn one(owner: &str, data: Data) -> Found {
        Found {
            records: vec![Record {
                owner: owner.to_owned(),
                data,
            }],
            targets: Vec::new(),
        }
    }
}

fn forward(world: &World, plugin: &Kubernetes, name: &str, zone: &str) -> Option<Found> {
    if name == zone {
        let mut found = Found::one(name, Data::Soa);
        found.records.push(Record {
            owner: name.to_owned(),
            data: Data::Ns(format!("ns.dns.{zone}")),
        });
        return Some(found);
    }
    let inside = name
        .strip_suffix(zone)?
        .strip_suffix('.')
        .unwrap_or_default();
    let labels: Vec<&str> = inside.split('.').collect();
    match labels.as_slice() {
        ["dns-version"] => Some(Found::one(name, Data::Txt("1.1.0".to_owned()))),
        ["svc" | "dns"] => Some(Found::default()),
        ["pod"] if plugin.pods != Pods::Disabled => Some(Found::default()),
        ["ns", "dns"] => {
            let server = world
                .services
                .get(&("kube-system".to_owned(), "kube-dns".to_owned()))?;
            Some(Found::one(name, Data::A(cluster_ip(server)?)))
        }
        [namespace, "svc"] => has_services(world, namespace).then(Found::default),
        [namespace, "pod"] if plugin.pods != Pods::Disabled => {
            has_services(world, namespace).then(Found::default)
        }
        [address, namespace, "pod"] => {
            pod(world, plugin.pods, address, namespace).map(|ip| Found::one(name, Data::A(ip)))
        }
        [service, namespace, "svc"] => service_records(world, name, zone, service, namespace),
        [protocol, service, namespace, "svc"] if protocol.starts_with('_') => {
            let exists = ["_tcp", "_udp", "_sctp"].contains(protocol);
            (exists && get(world, service, namespace).is_some()).then(Found::default)
        }
        [host, service, namespace, "svc"] => {
            let service = get(world, service, namespace)?;
            let addresses: Vec<Record> = endpoints(world, service)
                .into_iter()
                .filter(|endpoint| endpoint.host == *host)
                .map(|endpoint| Record {
                    owner: name.to_owned(),
                    data: Data::A(endpoint.ip),
                })
                .collect();
            (!addresses.is_empty()).then(|| Found {
                records: addresses,
                targets: Vec::new(),
            })
        }
        [port, protocol, service, namespace, "svc"] => {
            let port = port.strip_prefix('_')?;
            let protocol = protocol.strip_prefix('_')?;
            let found = srv(
                world,
                name,
                zone,
                get(world, service, namespace)?,
                Some((port, protocol)),
            );
            (!found.records.is_empty()).then_some(found)
        }
        _ => None,
    }
}

fn get<'a>(world: &'a World, service: &str, namespace: &str) -> Option<&'a Service> {
    world
        .services
        .get(&(namespace.to_owned(), service.to_owned()))
}

fn has_services(world: &World, namespace: &str) -> bool {
    world.services.in_namespace(namespace).next().is_some()
        || world.pods.in_namespace(namespace).next().is_some()
}

fn cluster_ip(service: &Service) -> Option<Ipv4Addr> {
    service.spec.as_ref()?.cluster_ip.as_ref()?.parse().ok()
}

fn service_records(
    world: &World,
    name: &str,
    zone: &str,
    service: &str,
    namespace: &str,
) -> Option<Found> {
    let service = get(world, service, namespace)?;
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") {
        let target = spec
            .external_name
            .as_deref()
            .unwrap_or_default()
            .trim_end_matches('.')
            .to_ascii_lowercase();
        return Some(Found::one(name, Data::Cname(target)));
    }
    let mut found = srv(world, name, zone, service, None);
    let addresses = match cluster_ip(service) {
        Some(ip) => vec![ip],
        None => {
            let mut ips: Vec<Ipv4Addr> = endpoints(world, service)
                .into_iter()
                .map(|endpoint| endpoint.ip)
                .collect();
            ips.sort();
            ips.dedup();
            ips
        }
    };
    found.records.extend(addresses.into_iter().map(|ip| Record {
        owner: name.to_owned(),
        data: Data::A(ip),
    }));
    Some(found)
}

/// SRV records of one port, or of all with `None`, and the addresses that they point to.
fn srv(
    world: &World,
    name: &str,
    zone: &str,
    service: &Service,
    port: Option<(&str, &str)>,
) -> Found {
    let base = format!("{}.{}.svc.{zone}", service.name(), service.namespace());
    let asked = |name: &str, protocol: &str| {
        port.is_none_or(|(port, proto)| port == name && protocol.eq_ignore_ascii_case(proto))
    };
    let mut found = Found::default();
    let mut add = |port: u16, target: String, ip: Ipv4Addr| {
        found.targets.push(Record {
            owner: target.clone(),
            data: Data::A(ip),
        });
        found.records.push(Record {
            owner: name.to_owned(),
            data: Data::Srv { port, target },
        });
    };
    if let Some(ip) = cluster_ip(service) {
        for port in service
            .spec
            .iter()
            .flat_map(|spec| spec.ports.iter().flatten())
        {
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            if let Ok(number) = u16::try_from(port.port)
                && asked(port.name.as_deref().unwrap_or_default(), protocol)
            {
                add(number, base.clone(), ip);
            }
        }
    } else {
        for endpoint in endpoints(world, service) {
            for (port, protocol, number) in &endpoint.ports {
                if asked(port, protocol) {
                    add(*number, format!("{}.{base}", endpoint.host), endpoint.ip);
                }
            }
        }
    }
    for list in [&mut found.records, &mut found.targets] {
        list.sort();
        list.dedup();
    }
    found
}

/// An endpoint of a headless Service: each has a name of its own.
struct Named {
    host: String,
    ip: Ipv4Addr,
    /// Name, protocol, number.
    ports: Vec<(String, String, u16)>,
}

fn endpoints(world: &World, service: &Service) -> Vec<Named> {
    if cluster_ip(service).is_some() {
        return Vec::new();
    }
    let slices = by_service(world);
    let slices = slices
        .get(&(service.namespace(), service.name()))
        .map(Vec::as_slice)
        .unwrap_or_default();
    let ready = |endpoint: &&Endpoint| {
        endpoint
            .conditions
            .as_ref()
            .and_then(|c| c.ready)
            .unwrap_or(true)
    };
    let mut named = Vec::new();
    for slice in slices.iter().filter(|slice| slice.address_type == "IPv4") {
        for endpoint in slice.endpoints.iter().filter(ready) {
            for ip in endpoint
                .addresses
                .iter()
                .filter_map(|ip| ip.parse::<Ipv4Addr>().ok())
            {
                let host = endpoint.hostname.clone().unwrap_or_else(|| dashed(ip));
                named.push(Named {
                    host,
                    ip,
                    ports: ports(slice),
                });
            }
        }
    }
    named
}

fn ports(slice: &EndpointSlice) -> Vec<(String, String, u16)> {
    let ports = slice.ports.iter().flatten().filter_map(|port| {
        let number = u16::try_from(port.port?).ok()?;
        let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
        Some((port.name.clone().unwrap_or_default(), protocol, number))
    });
    ports.collect()
}

fn dashed(ip: Ipv4Addr) -> String {
    ip.to_string().replace('.', "-")
}

fn pod(world: &World, pods: Pods, address: &str, namespace: &str) -> Option<Ipv4Addr> {
    let ip: Ipv4Addr = address.replace('-', ".").parse().ok()?;
    let exists = || {
        world.pods.in_namespace(namespace).any(|pod| {
            pod.status
                .as_ref()
                .and_then(|status| status.pod_ip.as_deref())
                == Some(ip.to_string().as_str())
        })
    };
    match pods {
        Pods::Disabled => None,
        Pods::Insecure => has_services(world, namespace).then_some(ip),
        Pods::Verified => exists().then_some(ip),
    }
}

/// Of `1.0.96.10.in-addr.arpa`, the name of the Service or of the headless Service's endpoint.
fn reversed(world: &World, name: &str, domain: &str) -> Option<Found> {
    let digits = name.strip_suffix(".in-addr.arpa")?;
    let mut parts: Vec<&str> = digits.split('.').collect();
    parts.reverse();
    let ip: Ipv4Addr = parts.join(".").parse().ok()?;
    let mut names: Vec<String> = Vec::new();
    for service in world.services.all() {
        let base = format!("{}.{}.svc.{domain}", service.name(), service.namespace());
        if cluster_ip(service) == Some(ip) {
            names.push(base);
        } else {
            let here = endpoints(world, service)
                .into_iter()
                .filter(|endpoint| endpoint.ip == ip);
            names.extend(here.map(|endpoint| format!("{}.{base}", endpoint.host)));
        }
    }
    names.sort();
    names.dedup();
    let records: Vec<Record> = names
        .into_iter()
        .map(|target| Record {
            owner: name.to_owned(),
            data: Data::Ptr(target),
        })
        .collect();
    (!records.is_empty()).then_some(Found {
        records,
        targets: Vec::new(),
    })
}

#[cfg(test)]
mod tests;
