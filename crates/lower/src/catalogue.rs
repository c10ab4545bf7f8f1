//! All services by host and namespace, and what each is made from.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as MapEntry;
use std::sync::Arc;

use hawser_api::Kind;
use hawser_model::service::Registry;
use hawser_model::{ClusterId, Problem, Service, ServiceKey};

use crate::notes::{CONFLICT, Notes};
use crate::service_entries::{self, Entry};
use crate::services;
use crate::spread;
use crate::world::{KubeService, World};

/// A service and the objects behind it.
#[derive(Clone, Debug)]
pub struct Definition {
    /// The service, without the identities of its endpoints.
    pub service: Service,
    /// The Kubernetes Service of each cluster that has one.
    pub kubernetes: BTreeMap<ClusterId, Arc<KubeService>>,
    /// The ServiceEntries, in order of precedence.
    pub entries: Vec<Arc<Entry>>,
}

impl Definition {
    /// True if it would be lowered the same: equal, and made from the very same objects.
    pub fn same(&self, other: &Self) -> bool {
        self.service == other.service
            && self.kubernetes.len() == other.kubernetes.len()
            && self
                .kubernetes
                .iter()
                .zip(&other.kubernetes)
                .all(|(a, b)| a.0 == b.0 && Arc::ptr_eq(a.1, b.1))
            && self.entries.len() == other.entries.len()
            && self
                .entries
                .iter()
                .zip(&other.entries)
                .all(|(a, b)| Arc::ptr_eq(a, b))
    }
}

/// All services.
pub type Catalogue = BTreeMap<ServiceKey, Definition>;

/// Gathers all services: Kubernetes Services of all clusters by host, then ServiceEntries of the configuration cluster,
/// oldest first; where both define a host of one namespace, the Kubernetes Service is what counts and the ServiceEntry
/// adds endpoints.
pub fn catalogue(world: &World<'_>, problems: &mut Vec<Problem>) -> Catalogue {
    let mut out = Catalogue::new();
    for view in &world.views {
        let shown: Vec<&Arc<KubeService>> = view
            .objects
            .services
            .iter()
            .filter(|object| view.shows(&object.meta.namespace))
            .collect();
        let read = spread::map(&shown, |object| services::service(object, view, world));
        for (object, service) in shown.into_iter().zip(read) {
            let Some(service) = service else {
                continue;
            };
            let definition = match out.entry(service.key()) {
                MapEntry::Vacant(free) => free.insert(Definition {
                    service,
                    kubernetes: BTreeMap::new(),
                    entries: Vec::new(),
                }),
                MapEntry::Occupied(taken) => {
                    let definition = taken.into_mut();
                    services::merge(&mut definition.service, service, view.id);
                    definition
                }
            };
            definition
                .kubernetes
                .insert(view.id.clone(), Arc::clone(object));
        }
    }
    let Some(config) = world.config_view() else {
        return out;
    };
    let mut entries: Vec<&Arc<Entry>> = config
        .objects
        .service_entries
        .iter()
        .filter(|e| config.shows(&e.meta.namespace))
        .collect();
    entries.sort_by_key(|e| crate::names::meta(&e.meta));
    for object in entries {
        for service in service_entries::services(object, config.id, world, problems) {
            let key = service.key();
            let Some(existing) = out.get_mut(&key) else {
                out.insert(
                    key,
                    Definition {
                        service,
                        kubernetes: BTreeMap::new(),
                        entries: vec![Arc::clone(object)],
                    },
                );
                continue;
            };
            let unlike = service_entries::unlike(&existing.service, &service);
            if existing.service.registry == Registry::External
                && let Some(field) = unlike
            {
                Notes::new(problems, config.id, Kind::ServiceEntry, &object.meta).warn(
                    CONFLICT,
                    field,
                    format!("another ServiceEntry of {} says otherwise", key.host),
                    "the older one counts; this one adds endpoints to its ports, but neither ports nor addresses",
                );
            } else if existing.service.registry == Registry::External {
                for port in service_entries::merge(&mut existing.service, &service) {
                    Notes::new(problems, config.id, Kind::ServiceEntry, &object.meta).warn(
                        "IST0177",
                        "spec.ports",
                        format!(
                            "another ServiceEntry of {} gives port {port} another protocol",
                            key.host
                        ),
                        "the older one counts; agree on one protocol",
                    );
                }
            } else {
                Notes::new(problems, config.id, Kind::ServiceEntry, &object.meta).warn(
                    CONFLICT,
                    "spec.hosts",
                    format!("{} is a Kubernetes Service of this namespace", key.host),
                    "the entry's endpoints are added to the Service's; all else it says has no effect",
                );
            }
            existing.entries.push(Arc::clone(object));
        }
    }
    out
}
