//! What only shows when one looks at several clusters at once.

use crate::codes::{
    NETWORK_WITHOUT_GATEWAY, NOBODY_SERVES, RULES_DIFFER, SERVICES_DIFFER, SUBSET_IN_SOME_CLUSTERS,
};
use crate::finding::{Finding, entry, full_name, list, on};
use crate::pods::{Service, selects};
use crate::routes::targets;
use crate::world::{World, find};
use hawser_api::core::ServicePort;
use hawser_api::{IntOrString, Kind, Labels};
use std::collections::{BTreeMap, BTreeSet};

fn at(cluster: usize, mut finding: Finding) -> Finding {
    finding.cluster = cluster;
    finding
}

fn name_of(worlds: &[World], cluster: usize) -> &str {
    worlds.get(cluster).map_or("", |w| &w.cluster_name)
}

/// Services of one name that are not alike (Istio `services.MultiClusterServiceAnalyzer`).
pub fn services(worlds: &[World]) -> Vec<Finding> {
    let Some(shared) = worlds.first().map(|w| &w.shared) else {
        return Vec::new();
    };
    let mut out = Vec::new();
    for ((namespace, name), services) in shared.services.by_name() {
        // Each cluster's own API server: never the same, and nobody routes to it by the mesh.
        let [first, others @ ..] = services.as_slice() else {
            continue;
        };
        if (namespace.as_str(), name.as_str()) == ("default", "kubernetes") {
            continue;
        }
        let mut reasons: BTreeSet<&str> = BTreeSet::new();
        let mut clusters: BTreeSet<&str> = BTreeSet::new();
        for other in others {
            let different = differences(first, other);
            if !different.is_empty() {
                clusters.insert(name_of(worlds, other.cluster));
                reasons.extend(different);
            }
        }
        if !reasons.is_empty() {
            let message = format!(
                "the Service is not the same in cluster {} as in {}: {}",
                list(clusters),
                name_of(worlds, first.cluster),
                reasons.into_iter().collect::<Vec<_>>().join("; ")
            );
            let found = Finding::new(
                SERVICES_DIFFER,
                on(Kind::Service, &first.object.meta),
                "spec.ports",
                message,
            );
            out.push(at(first.cluster, found.help("give it the same type and ports in all clusters: endpoints of all of them serve its callers")));
        }
    }
    out
}

fn differences(a: &Service, b: &Service) -> Vec<&'static str> {
    let (a, b) = (&a.object.spec, &b.object.spec);
    let kind = |s: &str| {
        if s.is_empty() {
            "ClusterIP".to_owned()
        } else {
            s.to_owned()
        }
    };
    let mut out = Vec::new();
    if (a.cluster_ip == "None") != (b.cluster_ip == "None") {
        out.push("it is headless in some clusters only");
    }
    if kind(&a.type_) != kind(&b.type_) {
        out.push("its type differs");
    }
    if ports(&a.ports) != ports(&b.ports) {
        out.push("its ports differ");
    }
    out
}

/// A port as callers see it: name, number, transport, application protocol, target.
type Port<'a> = (&'a str, i32, &'a str, Option<&'a str>, String);

fn ports(ports: &[ServicePort]) -> BTreeSet<Port<'_>> {
    let port = |p: &'_ ServicePort| {
        let target = match &p.target_port {
            Some(IntOrString::String(name)) => name.clone(),
            Some(IntOrString::Int(number)) if *number != 0 => number.to_string(),
            _ => p.port.to_string(),
        };
        (p.port, target)
    };
    let transport = |p: &'_ ServicePort| {
        if p.protocol == "UDP" {
            "UDP"
        } else if p.protocol == "SCTP" {
            "SCTP"
        } else {
            "TCP"
        }
    };
    ports
        .iter()
        .map(|p| {
            (
                p.name.as_str(),
                port(p).0,
                transport(p),
                p.app_protocol.as_deref(),
                port(p).1,
            )
        })
        .collect()
}

/// Subsets that have pods in some of the clusters with the service only.
pub fn subsets_of_some(worlds: &[World]) -> Vec<Finding> {
    let mut seen = BTreeSet::new();
    let mut out = Vec::new();
    for world in worlds {
        for rule in &world.destination_rules {
            let known =
                world
                    .hosts
                    .find(&rule.meta.namespace, &rule.spec.export_to, &rule.spec.host);
            let Some((namespace, name)) = known.and_then(|host| host.service.as_ref()) else {
                continue;
            };
            let services: Vec<&Service> = world.shared.services.named(namespace, name).collect();
            if services.len() < 2 || services.iter().any(|s| s.object.spec.selector.is_empty()) {
                continue;
            }
            for (i, subset) in rule.spec.subsets.iter().enumerate() {
                let has = |service: &&&Service| {
                    let mut pods = world
                        .shared
                        .pods
                        .select_in(namespace, &service.object.spec.selector);
                    pods.any(|pod| {
                        pod.cluster == service.cluster
                            && selects(&subset.labels, &pod.subset_labels)
                    })
                };
                let (with, without): (Vec<&&Service>, Vec<&&Service>) =
                    services.iter().partition(has);
                if with.is_empty()
                    || without.is_empty()
                    || !seen.insert((full_name(&rule.meta), &subset.name))
                {
                    continue;
                }
                let names = |services: Vec<&&Service>| {
                    list(services.iter().map(|s| name_of(worlds, s.cluster)))
                };
                let message = format!(
                    "subset {} has pods in cluster {} and none in {}",
                    subset.name,
                    names(with),
                    names(without)
                );
                let found = Finding::new(
                    SUBSET_IN_SOME_CLUSTERS,
                    on(Kind::DestinationRule, &rule.meta),
                    format!("spec.subsets[{i}]"),
                    message,
                );
                out.push(at(world.cluster, found.help("callers elsewhere cross to the other cluster for it; if that is not meant, deploy it there too")));
            }
        }
    }
    out
}

/// DestinationRules of one name that define other subsets in other clusters.
pub fn rules_that_differ(worlds: &[World]) -> Vec<Finding> {
    let mut out = Vec::new();
    for world in worlds {
        for rule in &world.destination_rules {
            for (i, subset) in rule.spec.subsets.iter().enumerate() {
                let lacking = worlds.iter().filter(|other| {
                    let same = find(
                        &other.destination_rules,
                        &rule.meta.namespace,
                        &rule.meta.name,
                    );
                    same.is_some_and(|same| {
                        same.spec.host == rule.spec.host
                            && !same.spec.subsets.iter().any(|s| s.name == subset.name)
                    })
                });
                let lacking: Vec<&str> = lacking.map(|other| other.cluster_name.as_str()).collect();
                if lacking.is_empty() {
                    continue;
                }
                let message = format!(
                    "subset {} is not defined by the rule of the same name in cluster {}",
                    subset.name,
                    list(lacking)
                );
                let found = Finding::new(
                    RULES_DIFFER,
                    on(Kind::DestinationRule, &rule.meta),
                    format!("spec.subsets[{i}]"),
                    message,
                );
                out.push(at(world.cluster, found.help("apply the same rule to every cluster: calls to the subset fail where it is not defined")));
            }
        }
    }
    out
}

/// Routes to Services that select no pod in any cluster. Says nothing where no pods are known at all.
pub fn nobody_serves(worlds: &[World]) -> Vec<Finding> {
    let Some(shared) = worlds
        .first()
        .map(|w| &w.shared)
        .filter(|s| !s.pods.all().is_empty())
    else {
        return Vec::new();
    };
    let mut known: BTreeMap<(String, String), bool> = BTreeMap::new();
    let mut out = Vec::new();
    for world in worlds {
        for route in &world.virtual_services {
            for target in targets(&route.spec) {
                let host = world.hosts.find(
                    &route.meta.namespace,
                    &route.spec.export_to,
                    &target.destination.host,
                );
                let Some(service) = host.and_then(|h| h.service.clone()) else {
                    continue;
                };
                let served = *known
                    .entry(service)
                    .or_insert_with_key(|(namespace, name)| {
                        shared.services.named(namespace, name).any(|s| {
                            let selector = &s.object.spec.selector;
                            let external = s.object.spec.type_ == "ExternalName";
                            external
                                || selector.is_empty()
                                || has_workload(shared, namespace, selector)
                        })
                    });
                if !served {
                    let clusters = if worlds.len() > 1 {
                        "in any of the clusters"
                    } else {
                        "in the cluster"
                    };
                    let message = format!(
                        "nobody serves {}: its Service selects no pod {clusters}",
                        target.destination.host
                    );
                    let path = format!("{}.host", target.path);
                    let found = Finding::new(
                        NOBODY_SERVES,
                        on(Kind::VirtualService, &route.meta),
                        path,
                        message,
                    );
                    out.push(at(world.cluster, found.help("deploy pods with the labels of the Service's selector, or correct the selector")));
                }
            }
        }
    }
    out
}

fn has_workload(shared: &crate::world::Shared, namespace: &str, selector: &Labels) -> bool {
    let made = || shared.templates.get(namespace).into_iter().flatten();
    shared.pods.select_in(namespace, selector).next().is_some()
        || made().any(|labels| selects(selector, labels))
}

/// The label that says on which network a namespace's cluster, a pod or a gateway is.
const NETWORK: &str = "topology.istio.io/network";

/// Networks that others cannot reach: no gateway leads into them.
pub fn networks(worlds: &[World]) -> Vec<Finding> {
    let Some(shared) = worlds.first().map(|w| &w.shared) else {
        return Vec::new();
    };
    let of = |world: &World| {
        let system = world.namespaces.get(&world.istio_namespace);
        system.and_then(|n| n.label(NETWORK)).map(str::to_owned)
    };
    let used: BTreeSet<String> = worlds.iter().filter_map(of).collect();
    if used.len() < 2 {
        return Vec::new();
    }
    let mut reachable: BTreeSet<&str> = BTreeSet::new();
    reachable.extend(
        shared
            .services
            .all()
            .iter()
            .filter_map(|s| s.object.label(NETWORK)),
    );
    for world in worlds {
        reachable.extend(world.k8s_gateways.iter().filter_map(|g| g.label(NETWORK)));
        let networks = world
            .mesh_networks
            .iter()
            .flat_map(|(networks, _)| &networks.networks);
        reachable.extend(
            networks
                .filter(|(_, n)| !n.gateways.is_empty())
                .map(|(name, _)| name.as_str()),
        );
    }
    let mut out = Vec::new();
    for world in worlds {
        let Some(network) = of(world).filter(|n| !reachable.contains(n.as_str())) else {
            continue;
        };
        let Some(namespace) = world.namespaces.get(&world.istio_namespace) else {
            continue;
        };
        let message = format!(
            "network {network} has no gateway: endpoints on it cannot be reached from the other networks"
        );
        let found = Finding::new(
            NETWORK_WITHOUT_GATEWAY,
            on(Kind::Namespace, &namespace.meta),
            entry("metadata.labels", NETWORK),
            message,
        );
        let help = format!(
            "run an east-west gateway there, whose Service has the label {NETWORK}={network}"
        );
        out.push(at(world.cluster, found.help(help)));
    }
    out
}
