//! EnvoyFilters: the user's own changes to what was generated (Istio's `envoyfilter` package).
//!
//! Patches are applied to one resource at a time, after it was generated, so that a patch is part of that resource's
//! input and nothing else is disturbed.

mod cluster;
mod extension;
mod listener;
mod route;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hawser_model::filter::{ApplyTo, Context, EnvoyFilter, NamedPatch, Operation, Patch};
use hawser_model::problem::ObjectName;
use hawser_model::{Meta, Problem, Proxy, ProxyKind, Severity, Shared, Snapshot};
use hawser_proto::{DynamicMessage, json, merge};
use regex::Regex;

pub(crate) use cluster::{added as added_clusters, patch as patch_cluster};
pub(crate) use extension::{bootstrap, extensions};
pub(crate) use listener::{added as added_listeners, patch as patch_listener};
pub(crate) use route::patch as patch_routes;

use crate::resource::Resource;

/// A patch with the object that it stands in.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Owned {
    pub meta: Meta,
    pub patch: Patch,
    /// The ports of route configurations that it means, where it names a port.
    pub ports: Vec<u32>,
}

/// Which ports of its services a gateway's listening ports stand for.
pub(crate) type ServicePorts = BTreeMap<u16, BTreeSet<u16>>;

/// Patches for one kind of resource, in order; `None` where there are none, as in most meshes.
pub(crate) type Patches = Option<Shared<Vec<Owned>>>;

/// The patches that concern a proxy.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub clusters: Patches,
    pub listeners: Patches,
    pub routes: Patches,
    pub extensions: Patches,
    pub bootstrap: Patches,
    pub problems: Vec<Problem>,
}

/// Finds the patches that concern a proxy: those of the root namespace and of its own, in order of priority, then the
/// root's first, then by age. `ports` says what a gateway's ports stand for.
pub(crate) fn plan(
    snapshot: &Snapshot,
    proxy: &Proxy,
    labels: &hawser_model::Labels,
    ports: impl FnOnce() -> ServicePorts,
) -> Plan {
    if snapshot.filters.is_empty() {
        return Plan::default();
    }
    let ports = ports();
    let mut plan = Plan::default();
    let [
        mut clusters,
        mut listeners,
        mut routes,
        mut extensions,
        mut bootstrap,
    ] = [const { Vec::new() }; 5];
    for filter in filters_of(snapshot, proxy, labels) {
        for patch in &filter.patches {
            let is_refused = |r: &NamedPatch| r.filter == filter.meta && r.patch == *patch;
            if proxy.refused.iter().any(is_refused) {
                continue;
            }
            let named = patch.target.route.as_ref().map_or(0, |r| r.port);
            let owned = Owned {
                meta: filter.meta.clone(),
                patch: patch.clone(),
                ports: route_ports(named, &ports),
            };
            if !is_for(&owned, proxy, &mut plan.problems) {
                continue;
            }
            match patch.apply_to {
                ApplyTo::Cluster => clusters.push(owned),
                ApplyTo::Listener
                | ApplyTo::FilterChain
                | ApplyTo::NetworkFilter
                | ApplyTo::HttpFilter
                | ApplyTo::ListenerFilter => listeners.push(owned),
                ApplyTo::RouteConfiguration | ApplyTo::VirtualHost | ApplyTo::HttpRoute => {
                    // Inbound routes stand in their listener.
                    listeners.push(owned.clone());
                    routes.push(owned);
                }
                ApplyTo::ExtensionConfig => extensions.push(owned),
                ApplyTo::Bootstrap => bootstrap.push(owned),
            }
        }
    }
    plan.clusters = some(clusters);
    plan.listeners = some(listeners);
    plan.routes = some(routes);
    plan.extensions = some(extensions);
    plan.bootstrap = some(bootstrap);
    plan
}

/// The filters that concern a proxy, in the order in which they are applied.
fn filters_of<'s>(
    snapshot: &'s Snapshot,
    proxy: &Proxy,
    labels: &hawser_model::Labels,
) -> Vec<&'s Shared<EnvoyFilter>> {
    let root = &snapshot.mesh.root_namespace;
    let concerns = |f: &&Shared<EnvoyFilter>| {
        if f.selector.targets.is_empty() {
            return f.selector.labels.selects(labels);
        }
        let gateway = labels.get("gateway.networking.k8s.io/gateway-name");
        f.selector
            .targets
            .iter()
            .any(|t| &*t.kind == "Gateway" && Some(&*t.name) == gateway)
    };
    let mut filters: Vec<_> = snapshot
        .filters
        .iter()
        .filter(|f| f.meta.namespace == *root || f.meta.namespace == proxy.namespace)
        .filter(concerns)
        .collect();
    // The snapshot has them by age.
    filters.sort_by_key(|f| (f.priority, f.meta.namespace != *root));
    filters
}

/// The listening ports that a patch for a port means: where services lead to a listening port, it is known by theirs.
fn route_ports(named: u32, ports: &ServicePorts) -> Vec<u32> {
    let stands_for = |(port, of): (&u16, &BTreeSet<u16>)| {
        of.iter()
            .any(|p| u32::from(*p) == named)
            .then_some(u32::from(*port))
    };
    let mut out: Vec<u32> = ports.iter().filter_map(stands_for).collect();
    if named != 0 && !ports.keys().any(|p| u32::from(*p) == named) {
        out.push(named);
    }
    out
}

pub(crate) fn some(patches: Vec<Owned>) -> Patches {
    (!patches.is_empty()).then(|| Shared::new(patches))
}

/// True if the patch means this proxy, by version and metadata, and its value can be read.
fn is_for(owned: &Owned, proxy: &Proxy, problems: &mut Vec<Problem>) -> bool {
    let patch = &owned.patch;
    if !patch.proxy_version.is_empty() {
        match Regex::new(&patch.proxy_version) {
            // A proxy that does not say its version matches none.
            Ok(r) if !proxy.version.is_empty() && r.is_match(&proxy.version) => {}
            Ok(_) => return false,
            Err(_) => {
                problems.push(owned.problem(
                    Severity::Error,
                    "match.proxy.proxyVersion",
                    "is not a valid regular expression".to_owned(),
                    "",
                ));
                return false;
            }
        }
    }
    let metadata = patch
        .proxy_metadata
        .iter()
        .all(|(k, v)| proxy.metadata.get(k) == Some(v));
    // What is of no traffic has no context.
    let whole = matches!(
        patch.apply_to,
        ApplyTo::ExtensionConfig | ApplyTo::Bootstrap
    );
    let context = whole
        || match patch.context {
            Context::Any => true,
            Context::SidecarInbound | Context::SidecarOutbound => proxy.kind == ProxyKind::Sidecar,
            Context::Gateway => proxy.kind == ProxyKind::Router,
            Context::Waypoint => proxy.kind == ProxyKind::Waypoint,
        };
    if !metadata || !context {
        return false;
    }
    if patch.operation == Operation::Remove {
        return true;
    }
    let name = message(patch.apply_to);
    let Err(strict) = read(name, &patch.value, json::parse) else {
        return true;
    };
    const HELP: &str = "see Envoy's API of version 1.40";
    match read(name, &patch.value, json::parse_lenient) {
        Ok(_) => {
            let why = format!("{strict}; the rest is applied");
            problems.push(owned.problem(Severity::Warning, "patch.value", why, HELP));
            true
        }
        Err(why) => {
            problems.push(owned.problem(Severity::Error, "patch.value", why, HELP));
            false
        }
    }
}

type Parse = fn(&str, &serde_json::Value) -> Result<DynamicMessage, json::JsonError>;

/// A patch's value as a message of a named type.
fn read(name: &str, text: &str, parse: Parse) -> Result<DynamicMessage, String> {
    if text.is_empty() {
        return Err("is missing".to_owned());
    }
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|e| format!("is not valid JSON: {e}"))?;
    parse(name, &value).map_err(|e| e.to_string())
}

/// The type of a patch's value.
fn message(apply_to: ApplyTo) -> &'static str {
    match apply_to {
        ApplyTo::Listener => "envoy.config.listener.v3.Listener",
        ApplyTo::FilterChain => "envoy.config.listener.v3.FilterChain",
        ApplyTo::NetworkFilter => "envoy.config.listener.v3.Filter",
        ApplyTo::ListenerFilter => "envoy.config.listener.v3.ListenerFilter",
        ApplyTo::HttpFilter => {
            "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter"
        }
        ApplyTo::RouteConfiguration => "envoy.config.route.v3.RouteConfiguration",
        ApplyTo::VirtualHost => "envoy.config.route.v3.VirtualHost",
        ApplyTo::HttpRoute => "envoy.config.route.v3.Route",
        ApplyTo::Cluster => "envoy.config.cluster.v3.Cluster",
        ApplyTo::ExtensionConfig => "envoy.config.core.v3.TypedExtensionConfig",
        ApplyTo::Bootstrap => "envoy.config.bootstrap.v3.Bootstrap",
    }
}

impl Owned {
    fn problem(&self, severity: Severity, field: &str, message: String, help: &str) -> Problem {
        Problem {
            code: "HWS0601",
            severity,
            object: ObjectName {
                cluster: None,
                kind: "EnvoyFilter".into(),
                namespace: self.meta.namespace.clone(),
                name: self.meta.name.clone(),
            },
            field: format!("spec.configPatches[{}].{field}", self.patch.index),
            message,
            help: help.to_owned(),
        }
    }

    /// True if the patch means traffic of that kind.
    fn means(&self, context: Context) -> bool {
        self.patch.context == Context::Any || self.patch.context == context
    }

    fn replaces_lists(&self) -> bool {
        self.patch.operation == Operation::MergeAndReplaceList
    }

    fn merges(&self) -> bool {
        matches!(
            self.patch.operation,
            Operation::Merge | Operation::MergeAndReplaceList
        )
    }

    /// The value as a message; `None` if it cannot be read, which was told before.
    fn message(&self) -> Option<DynamicMessage> {
        read(
            message(self.patch.apply_to),
            &self.patch.value,
            json::parse_lenient,
        )
        .ok()
    }

    /// The value as a typed message.
    fn value<M: prost::Message + prost::Name + Default>(&self) -> Option<M> {
        merge::typed(&self.message()?).ok()
    }

    /// The message with this patch's value merged in; unchanged if the value cannot be read.
    fn merged<M: prost::Message + prost::Name + Default + Clone>(&self, message: &M) -> M {
        self.message()
            .and_then(|patch| merge::merged(message, patch, self.replaces_lists()).ok())
            .unwrap_or_else(|| message.clone())
    }
}

/// Applies an insertion, replacement or removal to a list whose members have names. `is` tells which member is meant;
/// without one, insertions go to the ends and nothing is removed.
fn edit<M: Clone>(
    list: &mut Vec<M>,
    operation: Operation,
    value: Option<M>,
    named: bool,
    is: impl Fn(&M) -> bool,
    end: impl Fn(&[M]) -> usize,
) {
    let at = || list.iter().position(&is);
    match (operation, value) {
        (Operation::Add, Some(v)) => list.insert(end(list), v),
        (Operation::InsertFirst, Some(v)) => list.insert(0, v),
        (Operation::InsertAfter, Some(v)) if !named => list.insert(end(list), v),
        (Operation::InsertBefore, Some(v)) if !named => list.insert(0, v),
        (Operation::InsertAfter, Some(v)) => {
            if let Some(at) = at() {
                list.insert(at + 1, v);
            }
        }
        (Operation::InsertBefore, Some(v)) => {
            if let Some(at) = at() {
                list.insert(at, v);
            }
        }
        (Operation::Replace, Some(v)) if named => {
            if let Some(at) = at()
                && let Some(slot) = list.get_mut(at)
            {
                *slot = v;
            }
        }
        (Operation::Remove, _) if named => list.retain(|m| !is(m)),
        _ => {}
    }
}

/// Of a rendered resource and patches: the resource after them; `None` if it is removed.
pub(crate) type Patched = Option<Arc<Resource>>;
