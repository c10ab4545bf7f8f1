//! The hosts that a route may name: of Services and ServiceEntries, by who may see them (Istio `util/service_lookup.go`).

use hawser_api::networking::ServiceEntry;
use hawser_api::{Labels, Object};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::pods::Service;

/// The suffix of Kubernetes services.
const DOMAIN: &str = ".svc.cluster.local";
/// Seen by all namespaces.
pub const EVERYBODY: &str = "*";

/// What is known of a host.
#[derive(Clone, Debug, Default)]
pub struct Host {
    pub ports: BTreeSet<u32>,
    /// Whether a Service or ServiceEntry has more than one: a route must then name its port.
    pub several_ports: bool,
    /// A ServiceEntry's `workloadSelector`.
    pub workloads: Labels,
    /// `namespace/name` of the Service, if it is one.
    pub service: Option<(String, String)>,
}

/// Hosts by name and scope (a namespace, or [`EVERYBODY`]).
#[derive(Default)]
pub struct Hosts {
    exact: HashMap<String, BTreeMap<String, Host>>,
    /// Wildcard hosts by what follows the `*`.
    wildcards: HashMap<String, BTreeMap<String, Host>>,
    /// Of each namespace, the names of its Services: what a mistyped host may have meant.
    names: BTreeMap<String, BTreeSet<String>>,
}

/// A short name belongs to the namespace of the object that says it.
pub fn fqdn(namespace: &str, host: &str) -> String {
    if host.starts_with('*') || host.contains('.') {
        host.to_owned()
    } else {
        format!("{host}.{namespace}{DOMAIN}")
    }
}

/// Namespace and name of the service that a host names; other hosts count as names of the namespace they are used in.
pub fn service_name(namespace: &str, host: &str) -> (String, String) {
    let service = host
        .strip_suffix(DOMAIN)
        .and_then(|rest| rest.rsplit_once('.'))
        .filter(|(name, namespace)| !name.is_empty() && !namespace.is_empty());
    match service {
        Some((name, of)) => (of.to_owned(), name.to_owned()),
        None => (namespace.to_owned(), host.to_owned()),
    }
}

/// Whether `exportTo` lets all namespaces see the object.
pub fn is_for_everybody(export_to: &[String]) -> bool {
    export_to.is_empty() || export_to.iter().any(|e| e == EVERYBODY)
}

/// The namespaces that see the object, [`EVERYBODY`] alone if all do.
pub fn scopes(export_to: &[String], namespace: &str) -> BTreeSet<String> {
    if is_for_everybody(export_to) {
        return BTreeSet::from([EVERYBODY.to_owned()]);
    }
    let named = |e: &String| {
        if e == "." {
            namespace.to_owned()
        } else {
            e.clone()
        }
    };
    export_to.iter().map(named).collect()
}

impl Hosts {
    /// ServiceEntries of one cluster, and Services of all.
    pub fn new<'a, T: 'a>(
        entries: impl IntoIterator<Item = &'a Arc<Object<ServiceEntry, T>>>,
        services: &[Service],
    ) -> Hosts {
        let mut out = Hosts::default();
        for entry in entries {
            let namespace = &entry.meta.namespace;
            for scope in scopes(&entry.spec.export_to, namespace) {
                for host in &entry.spec.hosts {
                    let known = out.slot(&fqdn(namespace, host), &scope);
                    known
                        .ports
                        .extend(entry.spec.ports.iter().map(|p| p.number));
                    known.several_ports |= entry.spec.ports.len() > 1;
                    if let Some(selector) = &entry.spec.workload_selector {
                        known.workloads = selector.labels.clone();
                    }
                }
            }
        }
        for service in services {
            let meta = &service.object.meta;
            let name = (meta.namespace.clone(), meta.name.clone());
            // As Istio reads the annotation: no spaces are taken off.
            let export_to: Vec<String> =
                match service.object.annotation("networking.istio.io/exportTo") {
                    None | Some("") => Vec::new(),
                    Some(list) => list.split(',').map(str::to_owned).collect(),
                };
            let names = out.names.entry(meta.namespace.clone()).or_default();
            names.insert(meta.name.clone());
            for scope in scopes(&export_to, &meta.namespace) {
                let known = out.slot(&fqdn(&meta.namespace, &meta.name), &scope);
                if known.service.as_ref() != Some(&name) {
                    *known = Host {
                        service: Some(name.clone()),
                        ..Host::default()
                    };
                }
                let ports = &service.object.spec.ports;
                known.several_ports |= ports.len() > 1;
                known
                    .ports
                    .extend(ports.iter().filter_map(|p| u32::try_from(p.port).ok()));
            }
        }
        out
    }

    fn slot(&mut self, host: &str, scope: &str) -> &mut Host {
        let table = if let Some(suffix) = host.strip_prefix('*') {
            self.wildcards.entry(suffix.to_owned()).or_default()
        } else {
            self.exact.entry(host.to_owned()).or_default()
        };
        table.entry(scope.to_owned()).or_default()
    }

    /// What `host` means to an object of this namespace and `exportTo`.
    pub fn find(&self, namespace: &str, export_to: &[String], host: &str) -> Option<&Host> {
        let name = fqdn(namespace, host);
        let known = match name.strip_prefix('*') {
            Some(suffix) => self.wildcards.get(suffix),
            None => self.exact.get(&name),
        };
        if let Some(known) = known {
            let local = |e: &String| known.get(if e == "." { namespace } else { e });
            let found = known.get(EVERYBODY).or_else(|| match export_to {
                [] => known.get(namespace),
                some => some.iter().find_map(local),
            });
            if found.is_some() {
                return found;
            }
        }
        if self.wildcards.is_empty() {
            return None;
        }
        let rest = host.strip_prefix('*').unwrap_or(host);
        let starts = rest.char_indices().map(|(i, _)| i);
        // The longest suffix first: the closest wildcard is the one that counts.
        starts
            .chain([rest.len()])
            .filter_map(|i| self.wildcards.get(rest.get(i..)?))
            .find_map(|known| known.get(EVERYBODY).or_else(|| known.get(namespace)))
    }

    /// The Service that somebody may have meant by `host`.
    pub fn nearest(&self, namespace: &str, host: &str) -> Option<String> {
        /// Above this many names, asking costs more than the answer is worth.
        const MANY: usize = 500;
        let (of, name) = service_name(namespace, host);
        let elsewhere = self
            .names
            .iter()
            .find(|(other, names)| **other != of && names.contains(&name));
        let near = self.names.get(&of).filter(|names| names.len() <= MANY);
        let near = near.and_then(|names| {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            hawser_api::message::nearest(&name, &names).map(str::to_owned)
        });
        match (near, elsewhere) {
            (Some(near), _) if of == namespace => Some(near),
            (Some(near), _) => Some(format!("{near}.{of}{DOMAIN}")),
            (None, Some((other, _))) => Some(format!("{name}.{other}{DOMAIN}")),
            (None, None) => None,
        }
    }
}
