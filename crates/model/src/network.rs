//! Networks and the gateways into them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::name::{ClusterId, NetworkId, Str};

/// A gateway through which the endpoints of a network can be reached.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct NetworkGateway {
    /// The network it leads into.
    pub network: NetworkId,
    /// The cluster it stands in; `None` for those of MeshNetworks.
    pub cluster: Option<ClusterId>,
    /// An IP address, or a host name that nobody resolved yet.
    pub address: GatewayAddress,
    /// Port for mutual TLS by SNI; 0 if it has none.
    pub port: u16,
    /// Port for HBONE; 0 if it has none.
    pub hbone_port: u16,
}

/// Where a network gateway listens.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum GatewayAddress {
    /// An IP address.
    Ip(IpAddr),
    /// A host name.
    Host(Str),
}

/// All gateways of all networks.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct NetworkGateways {
    /// In order.
    pub all: BTreeSet<NetworkGateway>,
    /// Networks that have a gateway of which no address is known (yet).
    pub unresolved: BTreeSet<NetworkId>,
}

impl NetworkGateways {
    /// Gateways into a network, those of a cluster if it has any there, else all of the network's.
    pub fn towards(&self, network: &NetworkId, cluster: &ClusterId) -> Vec<&NetworkGateway> {
        let of_network = || self.all.iter().filter(move |g| g.network == *network);
        let of_cluster: Vec<_> = of_network()
            .filter(|g| g.cluster.as_ref() == Some(cluster))
            .collect();
        if of_cluster.is_empty() {
            of_network().collect()
        } else {
            of_cluster
        }
    }
}
