//! The mesh at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::authn::{PeerAuthentication, RequestAuthentication};
use crate::authz::AuthorizationPolicy;
use crate::endpoint::{EndpointSet, Locality};
use crate::extension::TrafficExtension;
use crate::filter::EnvoyFilter;
use crate::gateway::Gateway;
use crate::identity::Identity;
use crate::labels::Labels;
use crate::mesh::Mesh;
use crate::name::{ClusterId, Hostname, NetworkId, ServiceKey, Str};
use crate::network::NetworkGateways;
use crate::problem::Problem;
use crate::proxy_config::ProxyConfig;
use crate::route::VirtualService;
use crate::service::Service;
use crate::shared::Shared;
use crate::sidecar::Sidecar;
use crate::telemetry::Telemetry;
use crate::traffic::DestinationRule;

/// The mesh at one moment, as one control plane sees it. Each topic is an `Arc`: a new snapshot shares what did not
/// change, and a reader learns what changed by comparing pointers ([`Snapshot::changes`]).
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Which versions of the sources it contains.
    pub version: Arc<Version>,
    /// The cluster of the control plane: Istio's configuration is read from it alone.
    pub config_cluster: ClusterId,
    /// Settings of the whole mesh.
    pub mesh: Shared<Mesh>,
    /// All services.
    pub services: Arc<Services>,
    /// Endpoints of each service that has endpoints of its own.
    pub endpoints: Arc<BTreeMap<ServiceKey, Shared<EndpointSet>>>,
    /// Workloads by cluster and address, to find out what a proxy stands beside.
    pub workloads: Arc<Workloads>,
    /// Gateways into networks.
    pub network_gateways: Shared<NetworkGateways>,
    /// VirtualServices, in order of precedence.
    pub routes: Arc<Vec<Shared<VirtualService>>>,
    /// DestinationRules, in order of precedence.
    pub rules: Arc<Vec<Shared<DestinationRule>>>,
    /// Gateways, in order of precedence.
    pub gateways: Arc<Vec<Shared<Gateway>>>,
    /// Sidecars, in order of precedence.
    pub sidecars: Arc<Vec<Shared<Sidecar>>>,
    /// PeerAuthentications, in order of precedence.
    pub peer_authn: Arc<Vec<Shared<PeerAuthentication>>>,
    /// RequestAuthentications, in order of precedence.
    pub request_authn: Arc<Vec<Shared<RequestAuthentication>>>,
    /// AuthorizationPolicies, in order of name.
    pub authz: Arc<Vec<Shared<AuthorizationPolicy>>>,
    /// Telemetries, in order of precedence.
    pub telemetry: Arc<Vec<Shared<Telemetry>>>,
    /// EnvoyFilters, in order of application.
    pub filters: Arc<Vec<Shared<EnvoyFilter>>>,
    /// TrafficExtensions, in order of precedence.
    pub extensions: Arc<Vec<Shared<TrafficExtension>>>,
    /// ProxyConfigs, in order of precedence. They concern pods that are injected, not what proxies are sent.
    pub proxy_configs: Arc<Vec<Shared<ProxyConfig>>>,
    /// What is wrong with the configuration, in order.
    pub problems: Arc<Vec<Problem>>,
}

/// All services, by host.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Services {
    by_host: BTreeMap<Hostname, Vec<Shared<Service>>>,
}

impl Services {
    /// Sorts services by host, and those of one host by namespace.
    pub fn new(services: impl IntoIterator<Item = Shared<Service>>) -> Self {
        let mut by_host: BTreeMap<Hostname, Vec<Shared<Service>>> = BTreeMap::new();
        for service in services {
            by_host
                .entry(service.host.clone())
                .or_default()
                .push(service);
        }
        for same in by_host.values_mut() {
            same.sort_by(|a, b| a.meta.namespace.cmp(&b.meta.namespace));
        }
        Self { by_host }
    }

    /// Those of one host, in order of namespace.
    pub fn of_host(&self, host: &str) -> &[Shared<Service>] {
        self.by_host.get(host).map_or(&[], Vec::as_slice)
    }

    /// One service.
    pub fn get(&self, key: &ServiceKey) -> Option<&Shared<Service>> {
        self.of_host(key.host.as_str())
            .iter()
            .find(|s| s.meta.namespace == key.namespace)
    }

    /// All, in order of host and namespace.
    pub fn iter(&self) -> impl Iterator<Item = &Shared<Service>> {
        self.by_host.values().flatten()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.by_host.values().map(Vec::len).sum()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.by_host.is_empty()
    }
}

/// A pod, or a WorkloadEntry: what a proxy may stand beside.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Workload {
    /// Its name (pod or WorkloadEntry).
    pub name: Str,
    /// Its namespace.
    pub namespace: Str,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its labels.
    pub labels: Labels,
    /// Its network.
    pub network: NetworkId,
    /// Where it stands.
    pub locality: Locality,
    /// Whose key it has.
    pub identity: Option<Identity>,
    /// Its node.
    pub node: Str,
    /// Uses its node's network.
    pub host_network: bool,
    /// Named container ports, for target ports by name.
    pub ports: BTreeMap<Str, u16>,
    /// Services that it serves, and on which of its ports: service, service port number, workload port.
    pub serves: Vec<(ServiceKey, u16, u16)>,
}

/// Workloads by name and address.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Workloads {
    /// By cluster, namespace and name.
    pub by_name: BTreeMap<(ClusterId, Str, Str), Shared<Workload>>,
    /// By cluster and address; pods of a node's network share one.
    pub by_address: BTreeMap<(ClusterId, IpAddr), Vec<Shared<Workload>>>,
    /// Labels of namespaces, by cluster.
    pub namespaces: BTreeMap<(ClusterId, Str), Labels>,
}

/// For each source (cluster, file or peer) and kind, the last resourceVersion that the snapshot contains; bookmarks count.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Version {
    /// Counts up with every snapshot of this process.
    pub sequence: u64,
    /// Last resourceVersion by source and kind.
    pub sources: BTreeMap<(ClusterId, Str), Str>,
    /// Sources that do not answer.
    pub stale: BTreeSet<ClusterId>,
}

/// Which topics of two snapshots differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Changes {
    /// Anything but endpoints (and the version): listeners, routes and clusters may differ.
    pub configuration: bool,
    /// Endpoints.
    pub endpoints: bool,
}

impl Snapshot {
    /// What differs between an earlier snapshot and this one, by comparing pointers.
    pub fn changes(&self, earlier: &Self) -> Changes {
        let same = Shared::ptr_eq(&self.mesh, &earlier.mesh)
            && Arc::ptr_eq(&self.services, &earlier.services)
            && Arc::ptr_eq(&self.workloads, &earlier.workloads)
            && Shared::ptr_eq(&self.network_gateways, &earlier.network_gateways)
            && Arc::ptr_eq(&self.routes, &earlier.routes)
            && Arc::ptr_eq(&self.rules, &earlier.rules)
            && Arc::ptr_eq(&self.gateways, &earlier.gateways)
            && Arc::ptr_eq(&self.sidecars, &earlier.sidecars)
            && Arc::ptr_eq(&self.peer_authn, &earlier.peer_authn)
            && Arc::ptr_eq(&self.request_authn, &earlier.request_authn)
            && Arc::ptr_eq(&self.authz, &earlier.authz)
            && Arc::ptr_eq(&self.telemetry, &earlier.telemetry)
            && Arc::ptr_eq(&self.filters, &earlier.filters)
            && Arc::ptr_eq(&self.extensions, &earlier.extensions);
        Changes {
            configuration: !same,
            endpoints: !Arc::ptr_eq(&self.endpoints, &earlier.endpoints),
        }
    }
}
