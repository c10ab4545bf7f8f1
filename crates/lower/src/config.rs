//! The kinds that are lowered as whole lists: routes, rules, gateways, policies.

use std::collections::{BTreeMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use hawser_api::{Object, Timestamp};
use hawser_model::filter::RefusedPatch;
use hawser_model::gateway::Gateway;
use hawser_model::route::VirtualService;
use hawser_model::traffic::DestinationRule;
use hawser_model::{Problem, Shared, Snapshot};

use crate::catalogue::Catalogue;
use crate::dirty::{Dirty, Topic};
use crate::names;
use crate::security::FetchedKeys;
use crate::store::Table;
use crate::world::World;
use crate::{
    delegates, destination_rules, extensions, filters, gateway_api, gateways, ingress,
    proxy_configs, security, sidecars, telemetry, virtual_services,
};

/// Lowers every stale list.
pub fn lower(
    world: &World<'_>,
    dirty: &Dirty,
    (keys, refused): (&FetchedKeys, &[RefusedPatch]),
    (catalogue, now): (&Catalogue, Timestamp),
    converted: &mut Converted,
    problems: &mut BTreeMap<Topic, Vec<Problem>>,
    next: &mut Snapshot,
) {
    let Some(view) = world.config_view() else {
        return;
    };
    let (cluster, objects, mesh) = (view.id, view.objects, world.mesh);
    let stale = |topic| dirty.topics.contains(&topic);
    let mut note = |topic: Topic, found: Vec<Problem>| {
        problems.insert(topic, found);
    };
    if stale(Topic::Converted) {
        let mut found = Vec::new();
        *converted = gateway_api::convert(world, catalogue, now, &mut found);
        ingress::convert(world, converted, &mut found);
        note(Topic::Converted, found);
    }
    if stale(Topic::Routes) || stale(Topic::Converted) {
        let mut found = Vec::new();
        let written = sorted(&objects.virtual_services, world);
        let mut routes: Vec<_> = delegates::merge(&written, cluster, mesh, &mut found)
            .iter()
            .filter_map(|(o, http)| {
                virtual_services::virtual_service(o, http, cluster, mesh, &mut found)
            })
            .collect();
        routes.extend(converted.routes.iter().cloned());
        routes.sort_by(|a, b| a.meta.cmp(&b.meta));
        keep(&mut next.routes, routes);
        note(Topic::Routes, found);
    }
    if stale(Topic::Rules) || stale(Topic::Converted) {
        let mut found = Vec::new();
        let mut rules: Vec<_> = sorted(&objects.destination_rules, world)
            .iter()
            .filter_map(|o| destination_rules::destination_rule(o, cluster, mesh, &mut found))
            .collect();
        rules.extend(converted.rules.iter().cloned());
        rules.sort_by(|a, b| a.meta.cmp(&b.meta));
        keep(&mut next.rules, rules);
        note(Topic::Rules, found);
    }
    if stale(Topic::Gateways) || stale(Topic::Converted) {
        let mut found = Vec::new();
        let mut lowered: Vec<_> = sorted(&objects.gateways, world)
            .iter()
            .map(|o| gateways::gateway(o, cluster, &mut found))
            .collect();
        lowered.extend(converted.gateways.iter().cloned());
        lowered.sort_by(|a, b| a.meta.cmp(&b.meta));
        keep(&mut next.gateways, lowered);
        note(Topic::Gateways, found);
    }
    if stale(Topic::Sidecars) {
        let mut found = Vec::new();
        let lowered = sorted(&objects.sidecars, world)
            .iter()
            .map(|o| sidecars::sidecar(o, cluster, mesh, &mut found))
            .collect();
        keep(&mut next.sidecars, lowered);
        note(Topic::Sidecars, found);
    }
    if stale(Topic::PeerAuthn) {
        let mut found = Vec::new();
        let lowered = sorted(&objects.peer_authentications, world)
            .iter()
            .map(|o| security::peer_authentication(o, cluster, &mut found))
            .collect();
        keep(&mut next.peer_authn, lowered);
        note(Topic::PeerAuthn, found);
    }
    if stale(Topic::RequestAuthn) {
        let mut found = Vec::new();
        let lowered = sorted(&objects.request_authentications, world)
            .iter()
            .map(|o| security::request_authentication(o, cluster, keys, &mut found))
            .collect();
        keep(&mut next.request_authn, lowered);
        note(Topic::RequestAuthn, found);
    }
    if stale(Topic::Authz) {
        let mut found = Vec::new();
        let mut written = sorted(&objects.authorization_policies, world);
        written.sort_by(|a, b| {
            (&a.meta.name, &a.meta.namespace).cmp(&(&b.meta.name, &b.meta.namespace))
        });
        let lowered = written
            .iter()
            .map(|o| security::authorization_policy(o, cluster, mesh, &mut found))
            .collect();
        keep(&mut next.authz, lowered);
        note(Topic::Authz, found);
    }
    if stale(Topic::Telemetry) {
        let mut found = Vec::new();
        let lowered = sorted(&objects.telemetries, world)
            .iter()
            .map(|o| telemetry::telemetry(o, cluster, mesh, &mut found))
            .collect();
        keep(&mut next.telemetry, lowered);
        note(Topic::Telemetry, found);
    }
    if stale(Topic::Filters) {
        let mut found = Vec::new();
        let mut lowered: Vec<_> = sorted(&objects.envoy_filters, world)
            .iter()
            .map(|o| filters::envoy_filter(o, cluster, refused, &mut found))
            .collect();
        lowered.sort_by_key(|f| f.priority);
        keep(&mut next.filters, lowered);
        note(Topic::Filters, found);
    }
    if stale(Topic::ProxyConfigs) {
        let lowered = sorted(&objects.proxy_configs, world)
            .iter()
            .map(|o| proxy_configs::proxy_config(o))
            .collect();
        keep(&mut next.proxy_configs, lowered);
    }
    if stale(Topic::Extensions) {
        let mut found = Vec::new();
        let lowered = sorted(&objects.traffic_extensions, world)
            .iter()
            .filter_map(|o| extensions::traffic_extension(o, cluster, &mut found))
            .collect();
        keep(&mut next.extensions, lowered);
        for plugin in sorted(&objects.wasm_plugins, world) {
            extensions::wasm_plugin(&plugin, cluster, &mut found);
        }
        note(Topic::Extensions, found);
    }
}

/// Objects of the namespaces that the mesh sees, in order of precedence.
fn sorted<S, T>(table: &Table<S, T>, world: &World<'_>) -> Vec<Arc<Object<S, T>>> {
    let mut out: Vec<_> = table
        .iter()
        .filter(|o| {
            world
                .config_view()
                .is_some_and(|v| v.shows(&o.meta.namespace))
        })
        .cloned()
        .collect();
    out.sort_by_key(|o| names::meta(&o.meta));
    out
}

/// What the Gateway API and Ingresses become.
#[derive(Clone, Debug, Default)]
pub struct Converted {
    /// Gateways.
    pub gateways: Vec<Gateway>,
    /// VirtualServices.
    pub routes: Vec<VirtualService>,
    /// DestinationRules.
    pub rules: Vec<DestinationRule>,
    /// Statuses to write.
    pub statuses: Vec<StatusUpdate>,
}

/// A status to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusUpdate {
    /// The object.
    pub object: hawser_api::ObjectRef,
    /// Its new status.
    pub status: serde_json::Value,
}

/// The new list, with old values where they are equal, and the old list itself if it is the same.
fn keep<T: Hash + Eq>(old: &mut Arc<Vec<Shared<T>>>, new: Vec<T>) {
    let known: HashSet<&Shared<T>> = old.iter().collect();
    let new: Vec<Shared<T>> = new
        .into_iter()
        .map(Shared::new)
        .map(|value| known.get(&value).map_or(value, |same| (*same).clone()))
        .collect();
    let same = new.len() == old.len() && new.iter().zip(&**old).all(|(a, b)| Shared::ptr_eq(a, b));
    if !same {
        *old = Arc::new(new);
    }
}
