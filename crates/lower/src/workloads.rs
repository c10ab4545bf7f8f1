//! Workloads: what a proxy may stand beside, and which services it serves there.

use std::collections::BTreeMap;
use std::net::IpAddr;

use hawser_api::core;
use hawser_model::snapshot::{Workload, Workloads};
use hawser_model::{ServiceKey, Shared, Str};

use crate::catalogue::{Catalogue, Definition};
use crate::endpoints::{entry_port, service_entry_port};
use crate::instances::{self, Instance, Pod};
use crate::names::{labels, port};
use crate::service_entries::listed;
use crate::world::{KubeService, TargetPort, View, World, target_port};

/// Service keys by namespace: a workload serves only services of its own namespace.
pub type ByNamespace<'a> = BTreeMap<&'a str, Vec<&'a ServiceKey>>;

/// Sorts the catalogue's keys by namespace.
pub fn by_namespace(catalogue: &Catalogue) -> ByNamespace<'_> {
    let mut out = ByNamespace::new();
    for key in catalogue.keys() {
        out.entry(&key.namespace).or_default().push(key);
    }
    out
}

/// All workloads.
pub fn workloads(world: &World<'_>, catalogue: &Catalogue) -> Workloads {
    let keys = by_namespace(catalogue);
    let mut by_name = BTreeMap::new();
    for view in &world.views {
        for pod in view.objects.pods.iter() {
            if let Some(workload) = of_pod(pod, view, world, catalogue, &keys) {
                by_name.insert(name_of(&workload), Shared::new(workload));
            }
        }
        for entry in view.objects.workload_entries.iter() {
            if let Some(workload) = of_entry(entry, view, world, catalogue, &keys) {
                by_name
                    .entry(name_of(&workload))
                    .or_insert_with(|| Shared::new(workload));
            }
        }
    }
    finish(by_name, world, catalogue)
}

/// Completes workloads by name with those by address.
pub fn finish(
    by_name: BTreeMap<WorkloadName, Shared<Workload>>,
    world: &World<'_>,
    catalogue: &Catalogue,
) -> Workloads {
    let mut by_address: BTreeMap<_, Vec<Shared<Workload>>> = BTreeMap::new();
    for workload in by_name.values() {
        for ip in &workload.addresses {
            by_address
                .entry((workload.cluster.clone(), *ip))
                .or_default()
                .push(workload.clone());
        }
    }
    for workload in of_inline_endpoints(world, catalogue) {
        for ip in &workload.addresses {
            let at = by_address
                .entry((workload.cluster.clone(), *ip))
                .or_default();
            if !at.iter().any(|w| w.namespace == workload.namespace) {
                at.push(workload.clone());
            }
        }
    }
    let namespaces = world
        .views
        .iter()
        .flat_map(|view| {
            view.objects.namespaces.iter().map(move |ns| {
                (
                    (view.id.clone(), ns.meta.name.as_str().into()),
                    labels(&ns.meta.labels),
                )
            })
        })
        .collect();
    Workloads {
        by_name,
        by_address,
        namespaces,
    }
}

/// Cluster, namespace and name of a workload.
pub type WorkloadName = (hawser_model::ClusterId, Str, Str);

fn name_of(workload: &Workload) -> WorkloadName {
    (
        workload.cluster.clone(),
        workload.namespace.clone(),
        workload.name.clone(),
    )
}

/// The workload that a pod is; `None` for those that have come to an end or have no address yet.
pub fn of_pod(
    pod: &Pod,
    view: &View<'_>,
    world: &World<'_>,
    catalogue: &Catalogue,
    keys: &ByNamespace<'_>,
) -> Option<Workload> {
    let over = matches!(pod.status.phase.as_str(), "Failed" | "Succeeded");
    if over || pod.status.pod_ip.is_empty() || !view.shows(&pod.meta.namespace) {
        return None;
    }
    let instance = instances::pod(pod, view, world);
    let serves = serves(
        &instance,
        &pod.meta.namespace,
        catalogue,
        keys,
        |key, definition, out| {
            if let Some(service) = definition.kubernetes.get(view.id) {
                serves_kubernetes(key, service, &instance, view, out);
            }
        },
    );
    let mut workload = workload(&instance, &pod.meta.name, &pod.meta.namespace, serves);
    workload.host_network = pod.spec.host_network;
    Some(workload)
}

/// The workload that a WorkloadEntry is; `None` for one without address, or not healthy.
pub fn of_entry(
    entry: &instances::Entry,
    view: &View<'_>,
    world: &World<'_>,
    catalogue: &Catalogue,
    keys: &ByNamespace<'_>,
) -> Option<Workload> {
    if !view.shows(&entry.meta.namespace) {
        return None;
    }
    let instance = instances::entry(entry, view, world)?;
    let serves = serves(
        &instance,
        &entry.meta.namespace,
        catalogue,
        keys,
        |key, definition, out| {
            let Some(service) = definition.kubernetes.get(view.id) else {
                return;
            };
            if service.spec.cluster_ip != "None" && instance.selected_by(&service.spec.selector) {
                for written in opened(service) {
                    if let (Some(number), Some(target)) =
                        (port(written.port), entry_port(&instance, written))
                    {
                        out.push((key.clone(), number, target));
                    }
                }
            }
        },
    );
    Some(workload(
        &instance,
        &entry.meta.name,
        &entry.meta.namespace,
        serves,
    ))
}

/// The ports of a service that a proxy may open: TCP, and as in Istio those of UDP too, unless TCP has the same number.
fn opened(service: &KubeService) -> impl Iterator<Item = &core::ServicePort> {
    let ports = &service.spec.ports;
    let tcp = |p: &core::ServicePort| p.protocol.is_empty() || p.protocol == "TCP";
    ports.iter().filter(move |p| {
        let twin = || ports.iter().any(|o| o.port == p.port && tcp(o));
        tcp(p) || (p.protocol == "UDP" && !twin())
    })
}

/// What a workload serves: Kubernetes services as `kubernetes` says, and ServiceEntries that select or name it.
fn serves(
    instance: &Instance,
    namespace: &str,
    catalogue: &Catalogue,
    keys: &ByNamespace<'_>,
    kubernetes: impl Fn(&ServiceKey, &Definition, &mut Vec<(ServiceKey, u16, u16)>),
) -> Vec<(ServiceKey, u16, u16)> {
    let mut out = Vec::new();
    for key in keys.get(namespace).into_iter().flatten() {
        let Some(definition) = catalogue.get(*key) else {
            continue;
        };
        kubernetes(key, definition, &mut out);
        for entry in &definition.entries {
            let selected = entry
                .spec
                .workload_selector
                .as_ref()
                .is_some_and(|s| instance.selected_by(&s.labels));
            let named = listed(entry).iter().find(|e| {
                e.address
                    .parse::<IpAddr>()
                    .is_ok_and(|ip| instance.addresses.contains(&ip))
            });
            for written in &entry.spec.ports {
                let own = named.and_then(|e| e.ports.get(&written.name).copied());
                let target = match own {
                    Some(number) => port(number),
                    None => service_entry_port(instance, written),
                };
                if let (true, Some(number), Some(target)) =
                    (selected || named.is_some(), port(written.number), target)
                {
                    out.push(((*key).clone(), number, target));
                }
            }
        }
    }
    out.sort();
    out.dedup();
    out
}

fn serves_kubernetes(
    key: &ServiceKey,
    service: &KubeService,
    instance: &Instance,
    view: &View<'_>,
    out: &mut Vec<(ServiceKey, u16, u16)>,
) {
    let spec = &service.spec;
    if spec.type_ == "ExternalName" {
        return;
    }
    if !spec.selector.is_empty() {
        if instance.selected_by(&spec.selector) {
            for written in opened(service) {
                let target = target_port(written).and_then(|t| match t {
                    TargetPort::Number(number) => Some(number),
                    TargetPort::Name(name) => instance.ports.get(name).copied(),
                });
                if let (Some(number), Some(target)) = (port(written.port), target) {
                    out.push((key.clone(), number, target));
                }
            }
        }
        return;
    }
    // Without a selector, somebody writes the slices by hand.
    let (namespace, name) = (&service.meta.namespace, &service.meta.name);
    let slices: Vec<_> = view
        .objects
        .slices_of(namespace, name)
        .filter(|s| {
            s.spec.endpoints.iter().flat_map(|e| &e.addresses).any(|a| {
                a.parse::<IpAddr>()
                    .is_ok_and(|ip| instance.addresses.contains(&ip))
            })
        })
        .collect();
    for written in opened(service) {
        let target = slices
            .iter()
            .flat_map(|s| &s.spec.ports)
            .find(|p| p.name == written.name)
            .and_then(|p| p.port)
            .and_then(port);
        if let (Some(number), Some(target)) = (port(written.port), target) {
            out.push((key.clone(), number, target));
        }
    }
}

fn workload(
    instance: &Instance,
    name: &str,
    namespace: &str,
    serves: Vec<(ServiceKey, u16, u16)>,
) -> Workload {
    let endpoint = &instance.endpoint;
    Workload {
        name: name.into(),
        namespace: namespace.into(),
        cluster: endpoint.cluster.clone(),
        addresses: instance.addresses.clone(),
        labels: labels(&instance.labels),
        network: endpoint.network.clone(),
        locality: endpoint.locality.clone(),
        identity: endpoint.identity.clone(),
        node: endpoint.node.clone(),
        host_network: false,
        ports: instance.ports.clone(),
        serves,
    }
}

/// Endpoints by address within ServiceEntries: machines that nobody gave a WorkloadEntry.
fn of_inline_endpoints(world: &World<'_>, catalogue: &Catalogue) -> Vec<Shared<Workload>> {
    let Some(view) = world.config_view() else {
        return Vec::new();
    };
    let mut by_place: BTreeMap<(Str, IpAddr), Workload> = BTreeMap::new();
    for (key, definition) in catalogue {
        for entry in &definition.entries {
            for endpoint in listed(entry) {
                let instance = instances::inline(
                    endpoint,
                    &entry.meta.namespace,
                    "",
                    &hawser_api::Labels::new(),
                    view,
                    world,
                );
                let Some(ip) = instance.addresses.first().copied() else {
                    continue;
                };
                let at = by_place
                    .entry((key.namespace.clone(), ip))
                    .or_insert_with(|| {
                        workload(&instance, &entry.meta.name, &key.namespace, Vec::new())
                    });
                for written in &entry.spec.ports {
                    if let (Some(number), Some(target)) =
                        (port(written.number), service_entry_port(&instance, written))
                    {
                        at.serves.push((key.clone(), number, target));
                    }
                }
            }
        }
    }
    by_place
        .into_values()
        .map(|mut w| {
            w.serves.sort();
            w.serves.dedup();
            Shared::new(w)
        })
        .collect()
}
