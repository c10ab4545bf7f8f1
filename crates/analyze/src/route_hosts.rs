//! VirtualServices: destinations that are not there, and hosts that two of them define.

use crate::codes::{CONFLICTING_HOSTS, NOT_FOUND, PORT_REQUIRED, SUBSET_WITHOUT_EFFECT};
use crate::finding::{Finding, full_name, list, on};
use crate::hosts::{EVERYBODY, fqdn, scopes, service_name};
use crate::routes::targets;
use crate::world::World;
use hawser_api::Kind;
use hawser_api::message::nearest;
use hawser_api::validate::names::hosts_overlap;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Hosts and ports of routes and mirrors (Istio `virtualservice.DestinationHostAnalyzer`).
pub fn destinations(world: &World) -> Vec<Finding> {
    let mut out = Vec::new();
    for route in &world.virtual_services {
        let namespace = &route.meta.namespace;
        for target in targets(&route.spec) {
            let host = &target.destination.host;
            let found = |code, field: &str, message: String| {
                Finding::new(
                    code,
                    on(Kind::VirtualService, &route.meta),
                    format!("{}.{field}", target.path),
                    message,
                )
            };
            let Some(known) = world.hosts.find(namespace, &route.spec.export_to, host) else {
                let what = if target.is_mirror {
                    "mirror host"
                } else {
                    "host"
                };
                let help = match world.hosts.nearest(namespace, host) {
                    Some(near) => format!("did you mean {near}?"),
                    None => "no cluster has a Service of this name; create it, or a ServiceEntry for a host outside the mesh".to_owned(),
                };
                out.push(
                    found(
                        NOT_FOUND,
                        "host",
                        format!("{what} \"{host}\" does not exist"),
                    )
                    .help(help),
                );
                continue;
            };
            let ports: Vec<String> = known.ports.iter().map(u32::to_string).collect();
            match &target.destination.port {
                None if known.several_ports => {
                    let message = format!(
                        "host {host} has several ports ({}), and the route names none",
                        ports.join(", ")
                    );
                    out.push(
                        found(PORT_REQUIRED, "port", message)
                            .help("write port: {number: …} in the destination"),
                    );
                }
                Some(port) if !known.ports.contains(&port.number) => {
                    let message = format!("host \"{host}\" has no port {}", port.number);
                    let help = if ports.is_empty() {
                        "it has no ports at all".to_owned()
                    } else {
                        format!("it has {}", ports.join(", "))
                    };
                    out.push(found(NOT_FOUND, "port", message).help(help));
                }
                _ => {}
            }
        }
    }
    out
}

/// Subsets that no DestinationRule defines (Istio `virtualservice.DestinationRuleAnalyzer`).
pub fn subsets(world: &World) -> Vec<Finding> {
    let mut defined: HashMap<(String, String), BTreeSet<&str>> = HashMap::new();
    for rule in &world.destination_rules {
        let host = fqdn(&rule.meta.namespace, &rule.spec.host);
        let known = defined
            .entry(service_name(&rule.meta.namespace, &host))
            .or_default();
        known.extend(rule.spec.subsets.iter().map(|s| s.name.as_str()));
    }
    let none = BTreeSet::new();
    let mut out = Vec::new();
    for route in &world.virtual_services {
        for target in targets(&route.spec) {
            let (host, subset) = (&target.destination.host, &target.destination.subset);
            let name = service_name(&route.meta.namespace, host);
            let known = defined.get(&name).unwrap_or(&none);
            if subset.is_empty() || known.contains(subset.as_str()) {
                continue;
            }
            let what = if target.is_mirror { "mirror" } else { "host" };
            let message = format!("no DestinationRule defines subset {subset} of {what} {host}");
            let names: Vec<&str> = known.iter().copied().collect();
            let help = match (nearest(subset, &names), names.is_empty()) {
                (Some(near), _) => format!("did you mean {near}?"),
                (None, false) => format!("defined are {}", list(names)),
                (None, true) => format!("define it in a DestinationRule for {host}"),
            };
            out.push(
                Finding::new(
                    NOT_FOUND,
                    on(Kind::VirtualService, &route.meta),
                    format!("{}.subset", target.path),
                    message,
                )
                .help(help),
            );
        }
    }
    out
}

/// Routes of a gateway to a host whose subsets are chosen in another VirtualService, which is for the mesh alone
/// (Istio `virtualservice.DestinationHostAnalyzer`).
pub fn subsets_behind_gateways(world: &World) -> Vec<Finding> {
    let mut choosing: HashMap<&str, BTreeSet<String>> = HashMap::new();
    for route in &world.virtual_services {
        for http in &route.spec.http {
            for to in http.route.iter().filter_map(|r| r.destination.as_ref()) {
                if !to.subset.is_empty() && route.spec.hosts.contains(&to.host) {
                    choosing
                        .entry(&to.host)
                        .or_default()
                        .insert(full_name(&route.meta));
                }
            }
        }
    }
    let mut out = Vec::new();
    for route in world
        .virtual_services
        .iter()
        .filter(|r| !r.spec.gateways.is_empty())
    {
        for (i, http) in route.spec.http.iter().enumerate() {
            for (j, to) in http.route.iter().enumerate() {
                let Some(to) = to.destination.as_ref().filter(|d| d.subset.is_empty()) else {
                    continue;
                };
                for other in choosing.get(to.host.as_str()).into_iter().flatten() {
                    let message = format!(
                        "the subset that {other} chooses has no effect on requests by this route's gateways"
                    );
                    let path = format!("spec.http[{i}].route[{j}].destination.host");
                    let found = Finding::new(
                        SUBSET_WITHOUT_EFFECT,
                        on(Kind::VirtualService, &route.meta),
                        path,
                        message,
                    );
                    out.push(found.help("name the subset in this route too"));
                }
            }
        }
    }
    out
}

/// Two VirtualServices of the mesh for one host (Istio `virtualservice.ConflictingMeshGatewayHostsAnalyzer`).
pub fn conflicting_hosts(world: &World) -> Vec<Finding> {
    // By scope and host, the VirtualServices (as places in the list) and the field of the first that says it.
    let mut users: BTreeMap<(String, String), BTreeMap<usize, usize>> = BTreeMap::new();
    for (i, route) in world.virtual_services.iter().enumerate() {
        let gateways = &route.spec.gateways;
        if !gateways.is_empty() && !gateways.iter().any(|g| g == "mesh") {
            continue;
        }
        for scope in scopes(&route.spec.export_to, &route.meta.namespace) {
            for (field, host) in route.spec.hosts.iter().enumerate() {
                let host = fqdn(&route.meta.namespace, host);
                users
                    .entry((scope.clone(), host))
                    .or_default()
                    .entry(i)
                    .or_insert(field);
            }
        }
    }
    let public = |host: &str| users.get(&(EVERYBODY.to_owned(), host.to_owned()));
    let wildcards: Vec<_> = users
        .iter()
        .filter(|((scope, host), _)| scope == EVERYBODY && host.starts_with('*'))
        .collect();
    let all_public: Vec<_> = users
        .iter()
        .filter(|((scope, _), _)| scope == EVERYBODY)
        .collect();
    let mut reported = BTreeSet::new();
    let mut out = Vec::new();
    for ((scope, host), own) in &users {
        let mut together = own.clone();
        if scope != EVERYBODY {
            // What everybody sees is seen here as well.
            let mut add = |others: &BTreeMap<usize, usize>| {
                others.iter().for_each(|(i, field)| {
                    together.entry(*i).or_insert(*field);
                })
            };
            let candidates = if host.starts_with('*') {
                &all_public
            } else {
                &wildcards
            };
            public(host).into_iter().for_each(&mut add);
            let overlapping = candidates
                .iter()
                .filter(|((_, other), _)| hosts_overlap(host, other));
            overlapping.for_each(|(_, others)| add(others));
        }
        if together.len() < 2 {
            continue;
        }
        let named = together
            .keys()
            .filter_map(|i| world.virtual_services.get(*i));
        let names: Vec<String> = named.map(|r| full_name(&r.meta)).collect();
        let names = list(names.iter().map(String::as_str));
        for (i, field) in together {
            let Some(route) = world.virtual_services.get(i).filter(|_| reported.insert(i)) else {
                continue;
            };
            let message = format!(
                "VirtualServices {names} define host {host} for the mesh: one of them is used, and which is not defined"
            );
            let found = Finding::new(
                CONFLICTING_HOSTS,
                on(Kind::VirtualService, &route.meta),
                format!("spec.hosts[{field}]"),
                message,
            );
            out.push(found.help("merge them into one, or export each to its own namespace"));
        }
    }
    out
}
