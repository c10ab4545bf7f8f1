//! What lowering reads: the clusters, in order of precedence, and the mesh's settings.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use hawser_api::mesh::{MeshConfig, MeshNetworks};
use hawser_api::{Object, Timestamp, core};
use hawser_model::mesh::Mesh;
use hawser_model::{ClusterId, Locality, NetworkId};

use crate::names;
use crate::services::LocalHosts;
use crate::store::{Objects, Source};

/// The label that says to which network something belongs.
pub const NETWORK_LABEL: &str = "topology.istio.io/network";

/// Addresses of host names, as the control plane resolved them.
pub type Addresses = BTreeMap<String, Vec<IpAddr>>;

/// One cluster.
#[derive(Debug)]
pub struct View<'a> {
    /// Its ID.
    pub id: &'a ClusterId,
    /// Its objects.
    pub objects: &'a Objects,
    /// For how long it has not answered, coarsely.
    pub stale_for: Option<Duration>,
    /// Namespaces that MeshConfig's `discoverySelectors` leave out.
    hidden: BTreeSet<&'a str>,
    /// Network by the label of its system namespace.
    network: Option<&'a str>,
}

/// All clusters, the configuration cluster first, the others in order of their IDs.
#[derive(Debug)]
pub struct World<'a> {
    /// The clusters.
    pub views: Vec<View<'a>>,
    /// The cluster whose configuration counts.
    pub config_cluster: &'a ClusterId,
    /// The mesh's settings.
    pub mesh: &'a Mesh,
    /// MeshConfig as it was written.
    pub config: &'a MeshConfig,
    /// MeshNetworks as they were written.
    pub networks: &'a MeshNetworks,
    /// Hosts that are served within each cluster alone.
    pub local_hosts: LocalHosts,
}

/// The age of an answer, coarse enough that a cluster that stays away does not change the snapshot all the time.
pub fn coarse(since: Timestamp, now: Timestamp) -> Duration {
    const STEPS: [u64; 5] = [0, 60, 300, 900, 3600];
    let age = u64::try_from(now.0.saturating_sub(since.0)).unwrap_or(0);
    let seconds = if age >= 3600 {
        age - age % 3600
    } else {
        STEPS.iter().rev().copied().find(|s| age >= *s).unwrap_or(0)
    };
    Duration::from_secs(seconds)
}

impl<'a> World<'a> {
    /// Puts the clusters in order.
    pub fn new(
        sources: &'a BTreeMap<ClusterId, Source>,
        config_cluster: &'a ClusterId,
        mesh: &'a Mesh,
        config: &'a MeshConfig,
        networks: &'a MeshNetworks,
        now: Timestamp,
    ) -> Self {
        let mut views: Vec<View<'a>> = sources
            .iter()
            .map(|(id, source)| View {
                id,
                objects: &source.objects,
                stale_for: source.lost_since.map(|since| coarse(since, now)),
                hidden: hidden(&source.objects, config),
                network: source
                    .objects
                    .namespaces
                    .get("", config.root_namespace())
                    .and_then(|ns| ns.label(NETWORK_LABEL))
                    .filter(|n| !n.is_empty()),
            })
            .collect();
        views.sort_by_key(|v| (v.id != config_cluster, v.id));
        Self {
            views,
            config_cluster,
            mesh,
            config,
            networks,
            local_hosts: LocalHosts::new(config, &mesh.dns_domain),
        }
    }

    /// The cluster whose configuration counts.
    pub fn config_view(&self) -> Option<&View<'a>> {
        self.views.iter().find(|v| v.id == self.config_cluster)
    }

    /// The network of something at an address: by its own label, its cluster's system namespace, MeshNetworks.
    pub fn network(
        &self,
        view: &View<'_>,
        labels: &hawser_api::Labels,
        ip: Option<IpAddr>,
    ) -> NetworkId {
        let own = labels.get(NETWORK_LABEL).map(String::as_str);
        match own.filter(|n| !n.is_empty()).or(view.network) {
            Some(network) => NetworkId::new(network),
            None => self.mesh.network_of(view.id, ip),
        }
    }
}

/// Namespaces that no discovery selector matches; none are hidden where there are no selectors.
fn hidden<'a>(objects: &'a Objects, config: &MeshConfig) -> BTreeSet<&'a str> {
    if config.discovery_selectors.is_empty() {
        return BTreeSet::new();
    }
    objects
        .namespaces
        .iter()
        .filter(|ns| ns.meta.name != config.root_namespace())
        .filter(|ns| {
            !config
                .discovery_selectors
                .iter()
                .any(|s| s.matches(&ns.meta.labels))
        })
        .map(|ns| ns.meta.name.as_str())
        .collect()
}

impl View<'_> {
    /// Whether the mesh sees a namespace.
    pub fn shows(&self, namespace: &str) -> bool {
        self.hidden.is_empty() || !self.hidden.contains(namespace)
    }

    /// What a namespace's annotation says for all in it.
    pub fn annotation(&self, namespace: &str, key: &str) -> Option<&str> {
        self.objects.namespaces.get("", namespace)?.annotation(key)
    }

    /// The locality of a node, by its labels.
    pub fn node_locality(&self, node: &str) -> Locality {
        let Some(node) = self.objects.nodes.get("", node) else {
            return Locality::default();
        };
        let label = |keys: &[&str]| {
            keys.iter()
                .find_map(|k| node.label(k))
                .unwrap_or_default()
                .into()
        };
        Locality {
            region: label(&[
                "topology.kubernetes.io/region",
                "failure-domain.beta.kubernetes.io/region",
            ]),
            zone: label(&[
                "topology.kubernetes.io/zone",
                "failure-domain.beta.kubernetes.io/zone",
            ]),
            sub_zone: label(&["topology.istio.io/subzone"]),
        }
    }
}

/// The locality that labels say.
pub fn labelled_locality(labels: &hawser_api::Labels) -> Option<Locality> {
    Locality::labelled(|key| labels.get(key).map(|l| &**l))
}

/// Target port of a Kubernetes service port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetPort<'a> {
    /// By number.
    Number(u16),
    /// By the name of a container port.
    Name(&'a str),
}

/// The target of a service port: itself where nothing is said.
pub fn target_port(port: &core::ServicePort) -> Option<TargetPort<'_>> {
    match &port.target_port {
        Some(hawser_api::IntOrString::String(name)) => Some(match name.parse::<u16>() {
            Ok(number) => TargetPort::Number(number),
            Err(_) => TargetPort::Name(name),
        }),
        Some(hawser_api::IntOrString::Int(number)) if *number != 0 => {
            names::port(*number).map(TargetPort::Number)
        }
        _ => names::port(port.port).map(TargetPort::Number),
    }
}

/// A Kubernetes service as it was written.
pub type KubeService = Object<core::ServiceSpec, core::ServiceStatus>;
