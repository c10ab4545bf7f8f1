//! ServiceEntries: TCP without addresses, and two protocols for one port.

use crate::codes::{ADDRESSES_REQUIRED, CONFLICTING_PROTOCOLS};
use crate::finding::{Finding, full_name, list, on};
use crate::hosts::{EVERYBODY, scopes};
use crate::world::World;
use hawser_api::Kind;
use std::collections::{BTreeMap, BTreeSet};

/// Istio `serviceentry.Analyzer`.
pub fn addresses(world: &World) -> Vec<Finding> {
    let metadata = world
        .mesh
        .default_config
        .as_ref()
        .map(|c| &c.proxy_metadata);
    let is_set = |key: &str| {
        metadata
            .and_then(|m| m.get(key))
            .is_some_and(|v| v == "true")
    };
    let allocates = is_set("ISTIO_META_DNS_CAPTURE")
        && (is_set("ISTIO_META_DNS_AUTO_ALLOCATE") || is_set("PILOT_ENABLE_IP_AUTOALLOCATE"));
    if allocates {
        return Vec::new();
    }
    let mut out = Vec::new();
    for entry in &world.service_entries {
        if !entry.spec.addresses.is_empty() || !entry.status.addresses.is_empty() {
            continue;
        }
        for (i, port) in entry.spec.ports.iter().enumerate() {
            if port.protocol.is_empty() || port.protocol.eq_ignore_ascii_case("TCP") {
                let message =
                    "a TCP port without addresses takes the port's traffic to any address";
                let found = Finding::new(
                    ADDRESSES_REQUIRED,
                    on(Kind::ServiceEntry, &entry.meta),
                    format!("spec.ports[{i}].protocol"),
                    message,
                );
                out.push(found.help("add addresses, have them allocated (DNS capture), or name a protocol such as HTTP or TLS"));
            }
        }
    }
    out
}

/// Istio `serviceentry.ConflictingServiceEntryProtocolAnalyzer`.
pub fn protocols(world: &World) -> Vec<Finding> {
    /// Scope, host, port.
    type Key<'a> = (String, &'a str, u32);
    // The entries (as places in the list), each with its protocol and field.
    let mut users: BTreeMap<Key<'_>, Vec<(usize, String, usize)>> = BTreeMap::new();
    for (i, entry) in world.service_entries.iter().enumerate() {
        for scope in scopes(&entry.spec.export_to, &entry.meta.namespace) {
            for host in &entry.spec.hosts {
                for (field, port) in entry.spec.ports.iter().enumerate() {
                    let key = (scope.clone(), host.as_str(), port.number);
                    users.entry(key).or_default().push((
                        i,
                        port.protocol.to_ascii_uppercase(),
                        field,
                    ));
                }
            }
        }
    }
    let mut reported = BTreeSet::new();
    let mut out = Vec::new();
    for ((scope, host, port), own) in &users {
        let public = (scope != EVERYBODY).then(|| users.get(&(EVERYBODY.to_owned(), *host, *port)));
        let together: Vec<_> = own
            .iter()
            .chain(public.flatten().into_iter().flatten())
            .collect();
        let protocols: BTreeSet<&str> = together
            .iter()
            .map(|(_, protocol, _)| protocol.as_str())
            .collect();
        if protocols.len() < 2 {
            continue;
        }
        let entries = together
            .iter()
            .filter_map(|(i, _, _)| world.service_entries.get(*i));
        let names: BTreeSet<String> = entries.map(|e| full_name(&e.meta)).collect();
        for (i, _, field) in together {
            let Some(entry) = world
                .service_entries
                .get(*i)
                .filter(|_| reported.insert(*i))
            else {
                continue;
            };
            let message = format!(
                "host {host} has port {port} with different protocols ({}) in ServiceEntries {}",
                list(protocols.iter().copied()),
                list(names.iter().map(String::as_str))
            );
            let found = Finding::new(
                CONFLICTING_PROTOCOLS,
                on(Kind::ServiceEntry, &entry.meta),
                format!("spec.ports[{field}].protocol"),
                message,
            );
            out.push(found.help("use one protocol for the port in all of them"));
        }
    }
    out
}
