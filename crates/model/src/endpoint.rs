//! Endpoints: who answers for a service.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::identity::Identity;
use crate::labels::Labels;
use crate::name::{ClusterId, NetworkId, Str};
use crate::shared::Shared;

/// Region, zone and sub-zone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Locality {
    /// Region.
    pub region: Str,
    /// Zone.
    pub zone: Str,
    /// Sub-zone.
    pub sub_zone: Str,
}

impl Locality {
    /// From `region/zone/sub-zone`, of which the end may be missing.
    pub fn parse(text: &str) -> Self {
        let mut parts = text.splitn(3, '/').map(Str::from);
        let mut next = || parts.next().unwrap_or_default();
        Self {
            region: next(),
            zone: next(),
            sub_zone: next(),
        }
    }

    /// What a pod's or proxy's labels say: `topology.istio.io/locality`, else `istio-locality`; dots may stand for
    /// the slashes.
    pub fn labelled<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        let text = ["topology.istio.io/locality", "istio-locality"]
            .into_iter()
            .find_map(get)
            .filter(|t| !t.is_empty())?;
        Some(if text.contains('/') {
            Self::parse(text)
        } else {
            Self::parse(&text.replace('.', "/"))
        })
    }
}

/// Whether an endpoint takes traffic.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub enum Health {
    /// Ready.
    #[default]
    Healthy,
    /// Not ready.
    Unhealthy,
    /// Shutting down; existing sessions may go on.
    Draining,
}

/// Where an endpoint listens.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Address {
    /// An IP address.
    Ip(IpAddr),
    /// A host name, to be resolved by the proxy.
    Host(Str),
    /// The path of a Unix socket.
    Unix(Str),
    /// Nobody said (a WorkloadEntry without address: reachable through its network's gateway alone).
    Unknown,
}

/// One who answers for one port of a service.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Endpoint {
    /// Where it listens.
    pub address: Address,
    /// Further addresses of the other IP family.
    pub additional_addresses: Vec<IpAddr>,
    /// On which port.
    pub port: u16,
    /// The name of the service port that it serves.
    pub service_port: Str,
    /// Labels of the pod or WorkloadEntry, and those of the topology (`topology.kubernetes.io/region` and `zone`,
    /// `topology.istio.io/subzone`, `cluster` and `network`, `kubernetes.io/hostname`), which subsets may name too.
    pub labels: Labels,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its network.
    pub network: NetworkId,
    /// Where it stands.
    pub locality: Locality,
    /// Whether it takes traffic.
    pub health: Health,
    /// Its share; 1 where nobody said.
    pub weight: u32,
    /// True if a sidecar terminates mutual TLS there (label `security.istio.io/tlsMode: istio`).
    pub mutual_tls: bool,
    /// Whose key it has.
    pub identity: Option<Identity>,
    /// Namespace of the workload.
    pub namespace: Str,
    /// Name of the workload (Deployment and the like).
    pub workload: Str,
    /// The node it runs on.
    pub node: Str,
    /// A pod's name below the domain of its namespace's services (`hostname.subdomain`); empty without a subdomain.
    pub hostname: Str,
}

/// All endpoints of a service, by the cluster that told us. An empty shard is an answer; a shard with `stale_for` is the
/// last answer of a cluster that no longer answers.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct EndpointSet {
    /// By cluster, in the order of cluster IDs; ServiceEntries' under the cluster that holds them.
    pub shards: BTreeMap<ClusterId, Shard>,
}

impl EndpointSet {
    /// All endpoints, in order of shards.
    pub fn iter(&self) -> impl Iterator<Item = &Shared<Endpoint>> {
        self.shards.values().flat_map(|s| s.endpoints.iter())
    }
}

/// What one cluster said of a service's endpoints.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Shard {
    /// In order of address and port.
    pub endpoints: Vec<Shared<Endpoint>>,
    /// For how long that cluster has not answered.
    pub stale_for: Option<Duration>,
}
