//! The one value that holds what the sources said and lowers what changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use hawser_api::mesh::{MeshConfig, MeshNetworks};
use hawser_api::{Change, Event, Kind, ObjectRef, Resource, SourceId, Timestamp};
use hawser_model::filter::RefusedPatch;
use hawser_model::snapshot::Version;
use hawser_model::{ClusterId, Problem, Shared, Snapshot, Str};

use crate::allocate::{Allocation, allocations};
use crate::config;
use crate::dirty::{Dirty, Meaning, Topic};
use crate::mesh_config;
use crate::mesh_services::{self, Known};
use crate::networks;
use crate::references;
use crate::security::FetchedKeys;
use crate::sources;
use crate::store::{Objects, Source};
use crate::world::{Addresses, World, coarse};

/// What the control plane was told when it started, and may be told anew.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The cluster whose configuration counts.
    pub config_cluster: ClusterId,
    /// The DNS domain of Kubernetes services.
    pub dns_domain: Str,
    /// MeshConfig.
    pub mesh_config: MeshConfig,
    /// MeshNetworks.
    pub mesh_networks: MeshNetworks,
}

impl Settings {
    /// Istio's defaults: `cluster.local`, an empty MeshConfig and no networks.
    pub fn new(config_cluster: ClusterId) -> Self {
        Self {
            config_cluster,
            dns_domain: "cluster.local".into(),
            mesh_config: MeshConfig::default(),
            mesh_networks: MeshNetworks::default(),
        }
    }
}

/// What was lowered last, beside the snapshot itself.
#[derive(Debug, Default)]
struct Parts {
    services: Known,
    problems: BTreeMap<Topic, Vec<Problem>>,
    converted: config::Converted,
}

/// Holds the objects of all sources and makes snapshots of them. Owned by the control plane's one writer task.
///
/// Changes are folded in by [`Lowerer::apply`], at the cost of one insertion; [`Lowerer::snapshot`] then lowers what
/// they made stale and shares everything else with the snapshot before. Snapshots depend only on what the sources said
/// last, never on the order in which they said it.
#[derive(Debug)]
pub struct Lowerer {
    settings: Settings,
    sources: BTreeMap<ClusterId, Source>,
    keys: FetchedKeys,
    refused_patches: Vec<RefusedPatch>,
    addresses: Addresses,
    now: Timestamp,
    dirty: Dirty,
    parts: Parts,
    last: Snapshot,
    published: Option<Arc<Snapshot>>,
}

impl Lowerer {
    /// Without any objects, with Istio's default settings.
    pub fn new(config_cluster: ClusterId) -> Self {
        Self::with_settings(Settings::new(config_cluster))
    }

    /// Without any objects.
    pub fn with_settings(settings: Settings) -> Self {
        let mesh = mesh_config::mesh(
            &settings.config_cluster,
            &settings.mesh_config,
            &settings.mesh_networks,
            &settings.dns_domain,
            &mut Vec::new(),
        );
        let last = Snapshot {
            version: Arc::default(),
            config_cluster: settings.config_cluster.clone(),
            mesh: Shared::new(mesh),
            services: Arc::default(),
            endpoints: Arc::default(),
            workloads: Arc::default(),
            network_gateways: Shared::new(Default::default()),
            routes: Arc::default(),
            rules: Arc::default(),
            gateways: Arc::default(),
            sidecars: Arc::default(),
            peer_authn: Arc::default(),
            request_authn: Arc::default(),
            authz: Arc::default(),
            telemetry: Arc::default(),
            extensions: Arc::default(),
            filters: Arc::default(),
            proxy_configs: Arc::default(),
            problems: Arc::default(),
        };
        Self {
            settings,
            sources: BTreeMap::new(),
            keys: FetchedKeys::new(),
            refused_patches: Vec::new(),
            addresses: Addresses::new(),
            now: Timestamp(0),
            dirty: Dirty::all(),
            parts: Parts::default(),
            last,
            published: None,
        }
    }

    /// With these objects of each cluster, as from files: what `hawser translate` needs.
    pub fn from_objects(
        settings: Settings,
        objects: impl IntoIterator<Item = (ClusterId, Resource)>,
    ) -> Self {
        let mut lowerer = Self::with_settings(settings);
        for (cluster, resource) in objects {
            lowerer.apply(Change {
                source: SourceId::new(cluster.0),
                version: None,
                event: Event::Apply(resource),
            });
        }
        lowerer
    }

    /// The kinds that matter: what a control plane has to watch.
    pub const fn kinds() -> &'static [Kind] {
        Objects::KINDS
    }

    /// Objects of one cluster, as they were said.
    pub fn objects(&self, cluster: &ClusterId) -> Option<&Objects> {
        self.sources.get(cluster).map(|s| &s.objects)
    }

    /// Folds in what a source says.
    pub fn apply(&mut self, change: Change) {
        let cluster = ClusterId(Arc::clone(&change.source.0));
        if change.event == Event::Removed {
            if self.sources.remove(&cluster).is_some() {
                self.dirty = Dirty::all();
            }
            return;
        }
        if !self.sources.contains_key(&cluster) {
            // A new cluster changes the order of precedence of all.
            self.sources.insert(cluster.clone(), Source::default());
            self.dirty = Dirty::all();
        }
        if let (Some(kind), Some(version)) = (change.event.kind(), change.version)
            && let Some(source) = self.sources.get_mut(&cluster)
        {
            source.versions.insert(kind, version);
            self.dirty.versions |= !only_if_named(kind, &change.event);
        }
        match change.event {
            Event::Apply(resource) => self.put(&cluster, resource),
            Event::Delete(object) => self.take(&cluster, &object),
            Event::Reset { kind, objects } => {
                let keep: std::collections::BTreeSet<ObjectRef> =
                    objects.iter().map(Resource::object_ref).collect();
                let gone: Vec<ObjectRef> = self
                    .sources
                    .get(&cluster)
                    .map(|s| s.objects.names(kind))
                    .unwrap_or_default()
                    .into_iter()
                    .filter(|name| !keep.contains(name))
                    .collect();
                for object in &gone {
                    self.take(&cluster, object);
                }
                for resource in objects {
                    self.put(&cluster, resource);
                }
                if let Some(source) = self.sources.get_mut(&cluster) {
                    let before = source.refused.len();
                    source
                        .refused
                        .retain(|o, _| o.kind != kind || keep.contains(o));
                    if source.refused.len() != before {
                        self.dirty.mark(&[Topic::Sources]);
                    }
                }
            }
            Event::Refuse { object, faults } => {
                if let Some(source) = self.sources.get_mut(&cluster) {
                    source.refused.insert(object, faults);
                    self.dirty.mark(&[Topic::Sources]);
                }
            }
            Event::Lost { since } => self.answers(&cluster, Some(since)),
            Event::Found => self.answers(&cluster, None),
            Event::Bookmark { .. } | Event::Synced { .. } | Event::Removed => {}
        }
    }

    fn put(&mut self, cluster: &ClusterId, resource: Resource) {
        let name = resource.object_ref();
        let Some(source) = self.sources.get_mut(cluster) else {
            return;
        };
        if source.refused.remove(&name).is_some() {
            self.dirty.mark(&[Topic::Sources]);
        }
        let old = source.objects.put(resource.clone());
        if old.as_ref() != Some(&resource) {
            let meaning = meaning(&self.settings, &self.sources);
            self.dirty
                .object(cluster, old.as_ref(), Some(&resource), meaning);
        }
    }

    fn take(&mut self, cluster: &ClusterId, object: &ObjectRef) {
        let Some(source) = self.sources.get_mut(cluster) else {
            return;
        };
        if source.refused.remove(object).is_some() {
            self.dirty.mark(&[Topic::Sources]);
        }
        if let Some(old) = source.objects.take(object) {
            let meaning = meaning(&self.settings, &self.sources);
            self.dirty.object(cluster, Some(&old), None, meaning);
        }
    }

    fn answers(&mut self, cluster: &ClusterId, lost_since: Option<Timestamp>) {
        if let Some(source) = self.sources.get_mut(cluster)
            && source.lost_since != lost_since
        {
            source.lost_since = lost_since;
            self.dirty.versions = true;
            self.dirty.mark(&[Topic::Sources, Topic::Endpoints]);
        }
    }

    /// Tells the time, by which the age of lost sources' answers is told. Minutes matter, seconds do not.
    pub fn set_now(&mut self, now: Timestamp) {
        let aged = self
            .sources
            .values()
            .filter_map(|s| s.lost_since)
            .any(|since| coarse(since, now) != coarse(since, self.now));
        self.now = now;
        if aged {
            self.dirty.mark(&[Topic::Sources, Topic::Endpoints]);
        }
    }

    /// New MeshConfig and MeshNetworks.
    pub fn set_mesh(&mut self, config: MeshConfig, networks: MeshNetworks) {
        if self.settings.mesh_config != config || self.settings.mesh_networks != networks {
            self.settings.mesh_config = config;
            self.settings.mesh_networks = networks;
            self.dirty = Dirty::all();
        }
    }

    /// Keys of tokens, as far as they were fetched (see [`Lowerer::keys_wanted`]).
    pub fn set_keys(&mut self, keys: FetchedKeys) {
        if self.keys != keys {
            self.keys = keys;
            self.dirty.mark(&[Topic::RequestAuthn]);
        }
    }

    /// Patches of EnvoyFilters that Envoy would not take.
    pub fn set_refused_patches(&mut self, refused: Vec<RefusedPatch>) {
        if self.refused_patches != refused {
            self.refused_patches = refused;
            self.dirty.mark(&[Topic::Filters]);
        }
    }

    /// Addresses of host names, as far as they were resolved (see [`Lowerer::names_wanted`]).
    pub fn set_addresses(&mut self, addresses: Addresses) {
        if self.addresses != addresses {
            self.addresses = addresses;
            self.dirty.mark(&[Topic::NetworkGateways]);
        }
    }

    /// URIs of key documents that RequestAuthentications need. What belongs under a URI that ends in
    /// `/.well-known/openid-configuration` is the key document to which the configuration there leads.
    pub fn keys_wanted(&self) -> std::collections::BTreeSet<String> {
        let rules = self
            .sources
            .get(&self.settings.config_cluster)
            .into_iter()
            .flat_map(|s| s.objects.request_authentications.iter())
            .flat_map(|o| &o.spec.jwt_rules);
        crate::security::keys_wanted(rules)
    }

    /// Host names of network gateways that have to be resolved.
    pub fn names_wanted(&self) -> std::collections::BTreeSet<String> {
        networks::names_wanted(&self.world())
    }

    /// Addresses to be written to the statuses of ServiceEntries of the configuration cluster.
    pub fn allocations(&self) -> Vec<Allocation> {
        self.sources
            .get(&self.settings.config_cluster)
            .map(|s| allocations(&s.objects))
            .unwrap_or_default()
    }

    /// Statuses to be written to objects of the configuration cluster, as of the last snapshot.
    pub fn statuses(&self) -> &[config::StatusUpdate] {
        &self.parts.converted.statuses
    }

    fn world(&self) -> World<'_> {
        World::new(
            &self.sources,
            &self.settings.config_cluster,
            &self.last.mesh,
            &self.settings.mesh_config,
            &self.settings.mesh_networks,
            self.now,
        )
    }

    /// The mesh as it is now. What did not change since the last snapshot is shared with it; if nothing did, it is the
    /// same one.
    pub fn snapshot(&mut self) -> Arc<Snapshot> {
        if let Some(published) = &self.published
            && self.dirty.is_empty()
        {
            return Arc::clone(published);
        }
        let dirty = std::mem::take(&mut self.dirty);
        if dirty.topics.contains(&Topic::Mesh) {
            self.lower_mesh();
        }
        let world = World::new(
            &self.sources,
            &self.settings.config_cluster,
            &self.last.mesh,
            &self.settings.mesh_config,
            &self.settings.mesh_networks,
            self.now,
        );
        let mut next = self.last.clone();
        let problems = mesh_services::lower(&world, &dirty, &mut self.parts.services, &mut next);
        if let Some(problems) = problems {
            self.parts.problems.insert(Topic::Services, problems);
        }
        if dirty.topics.contains(&Topic::NetworkGateways) {
            let mut problems = Vec::new();
            let gateways = networks::gateways(&world, &self.addresses, &mut problems);
            self.parts.problems.insert(Topic::NetworkGateways, problems);
            if *next.network_gateways != gateways {
                next.network_gateways = Shared::new(gateways);
            }
        }
        config::lower(
            &world,
            &dirty,
            (&self.keys, &self.refused_patches),
            (&self.parts.services.catalogue, self.now),
            &mut self.parts.converted,
            &mut self.parts.problems,
            &mut next,
        );
        let same = Arc::ptr_eq(&next.routes, &self.last.routes)
            && Arc::ptr_eq(&next.rules, &self.last.rules)
            && Arc::ptr_eq(&next.services, &self.last.services)
            && Arc::ptr_eq(&next.telemetry, &self.last.telemetry)
            && Arc::ptr_eq(&next.authz, &self.last.authz)
            && Shared::ptr_eq(&next.mesh, &self.last.mesh);
        if !same {
            let problems = references::problems(&next);
            self.parts.problems.insert(Topic::References, problems);
        }
        if dirty.topics.contains(&Topic::Sources) {
            self.parts
                .problems
                .insert(Topic::Sources, sources::problems(&self.sources, self.now));
        }
        let mut problems: Vec<Problem> = self.parts.problems.values().flatten().cloned().collect();
        problems.sort();
        problems.dedup();
        if *next.problems != problems {
            next.problems = Arc::new(problems);
        }
        next.version = Arc::new(Version {
            sequence: self.last.version.sequence + 1,
            ..sources::version(&self.sources)
        });
        self.last = next.clone();
        let published = Arc::new(next);
        self.published = Some(Arc::clone(&published));
        published
    }

    fn lower_mesh(&mut self) {
        let mut problems = Vec::new();
        let mesh = mesh_config::mesh(
            &self.settings.config_cluster,
            &self.settings.mesh_config,
            &self.settings.mesh_networks,
            &self.settings.dns_domain,
            &mut problems,
        );
        if *self.last.mesh != mesh {
            self.last.mesh = Shared::new(mesh);
        }
        self.parts.problems.insert(Topic::Mesh, problems);
    }
}

fn meaning<'a>(settings: &'a Settings, sources: &'a BTreeMap<ClusterId, Source>) -> Meaning<'a> {
    Meaning {
        config_cluster: &settings.config_cluster,
        root_namespace: settings.mesh_config.root_namespace(),
        domain: &settings.dns_domain,
        discovery: !settings.mesh_config.discovery_selectors.is_empty(),
        configuration: sources.get(&settings.config_cluster).map(|s| &s.objects),
    }
}

/// Whether an event matters only where somebody refers to the object. Its version is then told with the next snapshot,
/// and is no reason for one.
fn only_if_named(kind: Kind, event: &Event) -> bool {
    matches!(kind, Kind::ConfigMap | Kind::Secret)
        && matches!(event, Event::Apply(_) | Event::Delete(_))
}
