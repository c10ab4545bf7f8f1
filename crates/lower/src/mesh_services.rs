//! Services, endpoints and workloads, which depend on each other: only what changed is gathered again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hawser_model::snapshot::{Services, Workloads};
use hawser_model::{EndpointSet, Problem, Service, ServiceKey, Shared, Snapshot, Str};

use crate::catalogue::{Catalogue, Definition, catalogue};
use crate::dirty::{Dirty, Topic};
use crate::workloads::WorkloadName;
use crate::world::World;
use crate::{endpoints, spread, workloads};

/// What was gathered last.
#[derive(Debug, Default)]
pub struct Known {
    /// Definitions.
    pub catalogue: Catalogue,
    /// Services with the identities of their endpoints.
    services: BTreeMap<ServiceKey, Shared<Service>>,
}

/// Lowers what is stale of services, endpoints and workloads; problems of the definitions if those were gathered anew.
pub fn lower(
    world: &World<'_>,
    dirty: &Dirty,
    known: &mut Known,
    next: &mut Snapshot,
) -> Option<Vec<Problem>> {
    let mut found = None;
    let mut stale = dirty.endpoints.clone();
    let mut gone: Vec<ServiceKey> = Vec::new();
    // Namespaces whose services are others than before.
    let mut redefined: BTreeSet<Str> = BTreeSet::new();
    if dirty.topics.contains(&Topic::Services) {
        let mut problems = Vec::new();
        let new = catalogue(world, &mut problems);
        found = Some(problems);
        gone.extend(
            known
                .catalogue
                .keys()
                .filter(|k| !new.contains_key(k))
                .cloned(),
        );
        let changed: Vec<&ServiceKey> = new
            .iter()
            .filter(|(key, d)| !known.catalogue.get(key).is_some_and(|old| old.same(d)))
            .map(|(key, _)| key)
            .collect();
        redefined.extend(
            changed
                .iter()
                .copied()
                .chain(&gone)
                .map(|k| k.namespace.clone()),
        );
        stale.extend(changed.into_iter().cloned());
        known.catalogue = new;
    }
    if dirty.topics.contains(&Topic::Endpoints) {
        stale.extend(known.catalogue.keys().cloned());
    }
    stale.extend(chosen(dirty, &known.catalogue, world));
    let mut changed = false;
    let mut sets: Vec<(ServiceKey, Option<Shared<EndpointSet>>)> =
        gone.iter().map(|k| (k.clone(), None)).collect();
    for key in gone {
        changed |= known.services.remove(&key).is_some();
    }
    let stale: Vec<(&ServiceKey, &Definition)> = stale
        .iter()
        .filter_map(|key| known.catalogue.get_key_value(key))
        .collect();
    let gathered = spread::map(&stale, |(_, definition)| gather(definition, world));
    for ((key, _), (service, set)) in stale.into_iter().zip(gathered) {
        if known.services.get(key).is_none_or(|old| *old != service) {
            known.services.insert(key.clone(), service);
            changed = true;
        }
        if set.is_some() && next.endpoints.get(key) == set.as_ref() {
            continue;
        }
        sets.push((key.clone(), set));
    }
    sets.retain(|(key, set)| set.is_some() || next.endpoints.contains_key(key));
    if !sets.is_empty() {
        let endpoints = Arc::make_mut(&mut next.endpoints);
        for (key, set) in sets {
            match set {
                Some(set) => endpoints.insert(key, set),
                None => endpoints.remove(&key),
            };
        }
    }
    if changed {
        next.services = Arc::new(Services::new(known.services.values().cloned()));
    }
    lower_workloads(world, dirty, &redefined, &known.catalogue, next);
    found
}

/// A service with the identities of its endpoints, and the endpoints if it has any of its own.
fn gather(
    definition: &Definition,
    world: &World<'_>,
) -> (Shared<Service>, Option<Shared<EndpointSet>>) {
    let set = endpoints::endpoints(definition, world);
    let mut service = definition.service.clone();
    service
        .identities
        .extend(set.iter().filter_map(|e| e.identity.clone()));
    let set = endpoints::has_endpoints(definition).then(|| Shared::new(set));
    (Shared::new(service), set)
}

/// Services that choose a workload that changed, or chose it before, and those whose slices name it: a slice may list a
/// pod that the selector does not (yet, or no longer) choose.
fn chosen(dirty: &Dirty, catalogue: &Catalogue, world: &World<'_>) -> Vec<ServiceKey> {
    let keys = workloads::by_namespace(catalogue);
    let mut out = Vec::new();
    for touched in &dirty.touched {
        let (cluster, namespace, name) = &touched.name;
        let view = world.views.iter().find(|v| v.id == cluster);
        let selects = |selector: &hawser_api::Labels| {
            selector
                .iter()
                .all(|(k, v)| touched.labels.get(k) == Some(v))
        };
        for key in keys.get(&**namespace).into_iter().flatten() {
            let Some(definition) = catalogue.get(*key) else {
                continue;
            };
            let by_service = definition
                .kubernetes
                .get(cluster)
                .is_some_and(|s| selects(&s.spec.selector));
            let by_entry = definition.entries.iter().any(|e| {
                e.spec
                    .workload_selector
                    .as_ref()
                    .is_some_and(|s| selects(&s.labels))
            });
            let by_slice = || {
                definition.kubernetes.get(cluster).is_some_and(|s| {
                    view.into_iter()
                        .flat_map(|v| v.objects.slices_of(namespace, &s.meta.name))
                        .flat_map(|slice| &slice.spec.endpoints)
                        .any(|e| match &e.target_ref {
                            Some(target) => target.kind == "Pod" && *target.name == **name,
                            // Whose it is depends on addresses alone.
                            None => true,
                        })
                })
            };
            if by_service || by_entry || by_slice() {
                out.push((*key).clone());
            }
        }
    }
    out
}

fn lower_workloads(
    world: &World<'_>,
    dirty: &Dirty,
    redefined: &BTreeSet<Str>,
    catalogue: &Catalogue,
    next: &mut Snapshot,
) {
    let whole =
        dirty.topics.contains(&Topic::Workloads) || dirty.topics.contains(&Topic::Namespaces);
    if whole {
        let new = workloads::workloads(world, catalogue);
        if *next.workloads != new {
            next.workloads = Arc::new(reuse(&next.workloads, new));
        }
        return;
    }
    let keys = workloads::by_namespace(catalogue);
    let mut names: BTreeSet<WorkloadName> = dirty.touched.iter().map(|t| t.name.clone()).collect();
    for namespace in redefined {
        for view in &world.views {
            let pods = view.objects.pods.of(namespace).map(|p| &p.meta.name);
            let entries = view.objects.workload_entries.of(namespace);
            let all = pods.chain(entries.map(|e| &e.meta.name));
            names.extend(all.map(|n| (view.id.clone(), namespace.clone(), n.as_str().into())));
        }
    }
    let mut by_name = None;
    for place in names {
        let (cluster, namespace, name) = &place;
        let Some(view) = world.views.iter().find(|v| v.id == cluster) else {
            continue;
        };
        let of_pod = view
            .objects
            .pods
            .get(namespace, name)
            .and_then(|p| workloads::of_pod(p, view, world, catalogue, &keys));
        let new = of_pod.or_else(|| {
            let entry = view.objects.workload_entries.get(namespace, name)?;
            workloads::of_entry(entry, view, world, catalogue, &keys)
        });
        let map = by_name.as_ref().unwrap_or(&next.workloads.by_name);
        if map.get(&place).map(|w| &**w) == new.as_ref() {
            continue;
        }
        let map = by_name.get_or_insert_with(|| next.workloads.by_name.clone());
        match new {
            Some(workload) => map.insert(place, Shared::new(workload)),
            None => map.remove(&place),
        };
    }
    // Endpoints within ServiceEntries are workloads by address alone, and change with the definitions.
    if by_name.is_none() && redefined.is_empty() {
        return;
    }
    let by_name = by_name.unwrap_or_else(|| next.workloads.by_name.clone());
    let new = workloads::finish(by_name, world, catalogue);
    if *next.workloads != new {
        next.workloads = Arc::new(new);
    }
}

/// Keeps the values that did not change, so that comparing them is comparing pointers.
fn reuse(old: &Workloads, mut new: Workloads) -> Workloads {
    for (name, workload) in &mut new.by_name {
        if let Some(same) = old.by_name.get(name).filter(|o| *o == workload) {
            *workload = same.clone();
        }
    }
    new
}
