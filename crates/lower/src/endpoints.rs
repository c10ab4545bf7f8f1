//! Endpoints of a service, from EndpointSlices, pods, WorkloadEntries and ServiceEntries.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use hawser_api::{Object, core};
use hawser_model::endpoint::{Address, Endpoint, EndpointSet, Health, Shard};
use hawser_model::service::Registry;
use hawser_model::{Resolution, Shared};

use crate::catalogue::Definition;
use crate::instances::{self, Instance, Pod};
use crate::names::port;
use crate::service_entries::Entry;
use crate::service_entries::listed;
use crate::world::{KubeService, TargetPort, View, World, target_port};

/// All endpoints of a service, by cluster.
pub fn endpoints(definition: &Definition, world: &World<'_>) -> EndpointSet {
    let mut set = EndpointSet::default();
    for view in &world.views {
        let config = view.id == world.config_cluster;
        let kubernetes = definition.kubernetes.get(view.id);
        let mut found = Vec::new();
        if let Some(service) = kubernetes {
            of_slices(service, view, world, &mut found);
            of_entries(service, view, world, &mut found);
        }
        for entry in &definition.entries {
            of_service_entry(entry, definition, view, world, &mut found);
        }
        let speaks = kubernetes.is_some() || (config && !definition.entries.is_empty());
        if speaks || !found.is_empty() {
            found.sort();
            found.dedup();
            set.shards.insert(
                view.id.clone(),
                Shard {
                    endpoints: found.into_iter().map(Shared::new).collect(),
                    stale_for: view.stale_for,
                },
            );
        }
    }
    set
}

/// True if endpoints of the definition are kept at all: an alias has those of its target.
pub fn has_endpoints(definition: &Definition) -> bool {
    definition.service.resolution != Resolution::Alias
}

fn of_slices(service: &KubeService, view: &View<'_>, world: &World<'_>, out: &mut Vec<Endpoint>) {
    let (namespace, name) = (&service.meta.namespace, &service.meta.name);
    let dual_stack = service.spec.cluster_ips.len() > 1;
    // One address may stand in two slices while an endpoint moves from one to the other.
    let mut seen: BTreeSet<(IpAddr, &str)> = BTreeSet::new();
    for slice in view.objects.slices_of(namespace, name) {
        if slice.spec.address_type == "FQDN" {
            continue;
        }
        for endpoint in &slice.spec.endpoints {
            let health = health(&endpoint.conditions);
            for ip in endpoint
                .addresses
                .iter()
                .filter_map(|a| a.parse::<IpAddr>().ok())
            {
                let Some(mut instance) = instance(ip, endpoint, slice, view, world) else {
                    continue;
                };
                let others = &instance.addresses;
                let both = dual_stack && endpoint.target_ref.is_some() && others.len() > 1;
                if both && ip.is_ipv6() {
                    // It stands beside the IPv4 address of the same pod.
                    continue;
                }
                instance.endpoint.additional_addresses = if both {
                    others.iter().copied().filter(|o| *o != ip).collect()
                } else {
                    Vec::new()
                };
                instance.endpoint.address = Address::Ip(ip);
                instance.endpoint.health = health;
                // Pods have names of their own where no address stands for them all.
                if service.spec.cluster_ip != "None" {
                    instance.endpoint.hostname = Default::default();
                }
                for written in &slice.spec.ports {
                    let Some(number) = written.port.and_then(port) else {
                        continue;
                    };
                    if seen.insert((ip, &written.name)) {
                        out.push(instance.endpoint(&written.name, number));
                    }
                }
            }
        }
    }
}

/// Ready unless told otherwise; else shutting down unless told otherwise (`discovery.k8s.io/v1` conditions, read as
/// Istio's `endpointHealthStatus` does).
fn health(conditions: &core::EndpointConditions) -> Health {
    if conditions.ready != Some(false) {
        Health::Healthy
    } else if conditions.terminating != Some(false) {
        Health::Draining
    } else {
        Health::Unhealthy
    }
}

/// The pod behind an address, or a stranger's instance where nobody promised a pod; `None` if the promised pod is not
/// known (yet).
fn instance(
    ip: IpAddr,
    endpoint: &core::Endpoint,
    slice: &Object<core::EndpointSlice>,
    view: &View<'_>,
    world: &World<'_>,
) -> Option<Instance> {
    let namespace = &slice.meta.namespace;
    let target = endpoint.target_ref.as_ref().filter(|t| t.kind == "Pod");
    let pod: Option<&Arc<Pod>> = match target {
        Some(target) => {
            let of = if target.namespace.is_empty() {
                namespace
            } else {
                &target.namespace
            };
            Some(view.objects.pods.get(of, &target.name)?)
        }
        None => view
            .objects
            .pods
            .of(namespace)
            .find(|p| instances::pod_lives(p) && instances::pod_addresses(p).contains(&ip)),
    };
    match pod {
        Some(pod) => {
            let mut instance = instances::pod(pod, view, world);
            let spec = &pod.spec;
            if !spec.subdomain.is_empty() {
                let hostname = match &*spec.hostname {
                    "" => &pod.meta.name,
                    own => own,
                };
                instance.endpoint.hostname = format!("{hostname}.{}", spec.subdomain).into();
            }
            Some(instance)
        }
        None => Some(stranger(ip, endpoint, view, world)),
    }
}

/// An address that somebody wrote into a slice by hand.
fn stranger(ip: IpAddr, endpoint: &core::Endpoint, view: &View<'_>, world: &World<'_>) -> Instance {
    let none = hawser_api::Labels::new();
    let network = world.network(view, &none, Some(ip));
    let locality = view.node_locality(&endpoint.node_name);
    Instance {
        endpoint: Endpoint {
            address: Address::Ip(ip),
            additional_addresses: Vec::new(),
            port: 0,
            service_port: Default::default(),
            labels: instances::augmented(&none, view.id, &locality, &endpoint.node_name, &network),
            cluster: view.id.clone(),
            network,
            locality,
            health: Health::Healthy,
            weight: 1,
            mutual_tls: false,
            identity: None,
            namespace: Default::default(),
            workload: Default::default(),
            node: endpoint.node_name.as_str().into(),
            hostname: Default::default(),
        },
        addresses: vec![ip],
        labels: none,
        ports: Default::default(),
    }
}

/// WorkloadEntries that a Kubernetes Service selects.
fn of_entries(service: &KubeService, view: &View<'_>, world: &World<'_>, out: &mut Vec<Endpoint>) {
    if service.spec.cluster_ip == "None" || service.spec.type_ == "ExternalName" {
        return;
    }
    for entry in view.objects.workload_entries.of(&service.meta.namespace) {
        let Some(instance) = instances::entry(entry, view, world) else {
            continue;
        };
        if has_ip(&instance) && instance.selected_by(&service.spec.selector) {
            for written in &service.spec.ports {
                if let Some(number) = entry_port(&instance, written) {
                    out.push(instance.endpoint(&written.name, number));
                }
            }
        }
    }
}

/// The port of a machine for a service port: by the name of the target or of the service port, else by number. A target
/// by name that the machine does not have is none.
pub fn entry_port(instance: &Instance, written: &core::ServicePort) -> Option<u16> {
    match target_port(written)? {
        TargetPort::Name(name) => instance.ports.get(name).copied(),
        TargetPort::Number(number) => Some(
            instance
                .ports
                .get(written.name.as_str())
                .copied()
                .unwrap_or(number),
        ),
    }
}

/// False for a machine known by name or by a socket, of which only what is found by DNS can make use.
fn has_ip(instance: &Instance) -> bool {
    !matches!(
        instance.endpoint.address,
        Address::Host(_) | Address::Unix(_)
    )
}

fn of_service_entry(
    entry: &Entry,
    definition: &Definition,
    view: &View<'_>,
    world: &World<'_>,
    out: &mut Vec<Endpoint>,
) {
    let spec = &entry.spec;
    let namespace = &entry.meta.namespace;
    let service = &definition.service;
    let mut push = |instance: &Instance| {
        for written in &spec.ports {
            // Entries of one host may have different names for a port, or one name for several.
            let known = port(written.number).and_then(|n| service.port(n));
            let name = match (service.registry, known) {
                (Registry::Kubernetes, _) => &*written.name,
                (Registry::External, Some(known)) => &*known.name,
                (Registry::External, None) => continue,
            };
            if let Some(number) = service_entry_port(instance, written) {
                out.push(instance.endpoint(name, number));
            }
        }
    };
    let by_dns = matches!(
        spec.resolution,
        hawser_api::networking::Resolution::Dns | hawser_api::networking::Resolution::DnsRoundRobin
    );
    if let Some(selector) = &spec.workload_selector {
        for instance in selected(&selector.labels, namespace, view, world) {
            if by_dns || has_ip(&instance) {
                push(&instance);
            }
        }
    }
    if view.id != world.config_cluster {
        return;
    }
    for endpoint in listed(entry) {
        push(&instances::inline(
            endpoint,
            namespace,
            "",
            &hawser_api::Labels::new(),
            view,
            world,
        ));
    }
    let nothing_said = spec.endpoints.is_empty() && spec.workload_selector.is_none();
    if by_dns && nothing_said && definition.service.registry == Registry::External {
        let host = hawser_api::networking::WorkloadEntry {
            address: definition.service.host.as_str().to_owned(),
            ..Default::default()
        };
        push(&instances::inline(
            &host,
            namespace,
            "",
            &hawser_api::Labels::new(),
            view,
            world,
        ));
    }
}

/// Pods that are ready, and WorkloadEntries, that a ServiceEntry's selector chooses in one cluster.
pub fn selected<'a>(
    selector: &'a hawser_api::Labels,
    namespace: &'a str,
    view: &'a View<'_>,
    world: &'a World<'_>,
) -> impl Iterator<Item = Instance> + 'a {
    let chosen = |labels: &hawser_api::Labels| {
        !selector.is_empty() && selector.iter().all(|(k, v)| labels.get(k) == Some(v))
    };
    let pods = view
        .objects
        .pods
        .of(namespace)
        .filter(move |p| chosen(&p.meta.labels))
        .filter(|p| instances::pod_lives(p) && instances::pod_ready(p))
        .map(|p| instances::pod(p, view, world));
    let entries = view
        .objects
        .workload_entries
        .of(namespace)
        .filter_map(|e| instances::entry(e, view, world))
        .filter(|i| i.selected_by(selector));
    pods.chain(entries)
}

/// The port of a workload for a ServiceEntry's port: its own by that name, the entry's target port, the port itself. A
/// Unix socket has none.
pub fn service_entry_port(
    instance: &Instance,
    written: &hawser_api::networking::ServicePort,
) -> Option<u16> {
    if matches!(instance.endpoint.address, Address::Unix(_)) {
        return Some(0);
    }
    instance
        .ports
        .get(written.name.as_str())
        .copied()
        .or_else(|| port(written.target_port))
        .or_else(|| port(written.number))
}
