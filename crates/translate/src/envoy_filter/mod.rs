//! EnvoyFilters: the user's own changes to what was generated (Istio's `envoyfilter` package).
//!
//! Patches are applied to one resource at a time, after it was generated, so that a patch is part of that resource's
//! input and nothing else is disturbed.

mod cluster;
mod listener;
mod merge;
mod route;

use std::sync::Arc;

use hawser_model::filter::{ApplyTo, Context, EnvoyFilter, Operation, Patch};
use hawser_model::problem::ObjectName;
use hawser_model::{Meta, Problem, Proxy, ProxyKind, Severity, Shared, Snapshot};
use regex::Regex;

pub(crate) use cluster::{added as added_clusters, patch as patch_cluster};
pub(crate) use listener::{added as added_listeners, patch as patch_listener};
pub(crate) use route::patch as patch_routes;

use crate::resource::Resource;

/// A patch with the object that it stands in.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Owned {
    pub meta: Meta,
    pub patch: Patch,
}

/// Patches for one kind of resource, in order; `None` where there are none, as in most meshes.
pub(crate) type Patches = Option<Shared<Vec<Owned>>>;

/// The patches that concern a proxy.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub clusters: Patches,
    pub listeners: Patches,
    pub routes: Patches,
    pub problems: Vec<Problem>,
}

/// Finds the patches that concern a proxy: those of the root namespace first, then those of its own.
pub(crate) fn plan(snapshot: &Snapshot, proxy: &Proxy, labels: &hawser_model::Labels) -> Plan {
    if snapshot.filters.is_empty() {
        return Plan::default();
    }
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
    let of = |namespace: &str| {
        let mut filters: Vec<_> = snapshot
            .filters
            .iter()
            .filter(|f| &*f.meta.namespace == namespace)
            .filter(concerns)
            .collect();
        filters.sort_by_key(|f| f.priority);
        filters
    };
    let mut filters = of(root);
    if proxy.namespace != *root {
        filters.extend(of(&proxy.namespace));
    }
    let mut plan = Plan::default();
    let (mut clusters, mut listeners, mut routes) = (Vec::new(), Vec::new(), Vec::new());
    for filter in filters {
        for patch in &filter.patches {
            let owned = Owned {
                meta: filter.meta.clone(),
                patch: patch.clone(),
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
                ApplyTo::ExtensionConfig | ApplyTo::Bootstrap => plan.problems.push(owned.problem(
                    "applyTo",
                    format!("{:?} is not supported", patch.apply_to),
                    "put the configuration into the filter itself",
                )),
            }
        }
    }
    plan.clusters = some(clusters);
    plan.listeners = some(listeners);
    plan.routes = some(routes);
    plan
}

fn some(patches: Vec<Owned>) -> Patches {
    (!patches.is_empty()).then(|| Shared::new(patches))
}

/// True if the patch means this proxy, by version and metadata, and its value can be read.
fn is_for(owned: &Owned, proxy: &Proxy, problems: &mut Vec<Problem>) -> bool {
    let patch = &owned.patch;
    if !patch.proxy_version.is_empty() {
        match Regex::new(&patch.proxy_version) {
            Ok(r) if r.is_match(&proxy.version) => {}
            Ok(_) => return false,
            Err(_) => {
                problems.push(owned.problem(
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
    let context = match patch.context {
        Context::Any => true,
        Context::SidecarInbound | Context::SidecarOutbound => proxy.kind == ProxyKind::Sidecar,
        Context::Gateway => proxy.kind == ProxyKind::Router,
        Context::Waypoint => proxy.kind == ProxyKind::Waypoint,
    };
    if !metadata || !context {
        return false;
    }
    if patch.operation == Operation::Remove || message(patch.apply_to).is_none() {
        return true;
    }
    match merge::read_message(message(patch.apply_to).unwrap_or_default(), &patch.value) {
        Ok(_) => true,
        Err(why) => {
            problems.push(owned.problem("patch.value", why, "see Envoy's API of version 1.40"));
            false
        }
    }
}

/// The type of a patch's value.
fn message(apply_to: ApplyTo) -> Option<&'static str> {
    Some(match apply_to {
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
        ApplyTo::ExtensionConfig | ApplyTo::Bootstrap => return None,
    })
}

impl Owned {
    fn problem(&self, field: &str, message: String, help: &str) -> Problem {
        Problem {
            code: "HWS0601",
            severity: Severity::Error,
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

    /// The value as a typed message; `None` if it cannot be read, which was told before.
    fn value<M: prost::Message + prost::Name + Default>(&self) -> Option<M> {
        merge::read(&self.patch.value).ok()
    }

    /// The message with this patch's value merged in; unchanged if the value cannot be read.
    fn merged<M: prost::Message + prost::Name + Default + Clone>(&self, message: &M) -> M {
        merge::merged(message, &self.patch.value, self.replaces_lists())
            .unwrap_or_else(|_| message.clone())
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
