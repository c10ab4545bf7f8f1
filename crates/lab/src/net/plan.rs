//! Pure: which addresses a lab's clusters get.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// The addresses of a lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The network between the nodes.
    pub wan_cidr: Ipv4Net,
    /// Pods, the same in every cluster: as on real premises, where nobody asked.
    pub pod_cidr: Ipv4Net,
    /// Services, the same in every cluster.
    pub service_cidr: Ipv4Net,
    /// One node per cluster.
    pub nodes: Vec<NodePlan>,
}

/// The addresses of one cluster's node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePlan {
    /// The cluster's name.
    pub cluster: String,
    /// The node's own address.
    pub node_ip: Ipv4Addr,
    /// Addresses for its load balancers.
    pub lb_pool: Ipv4Net,
}

/// The most clusters one lab can have: each takes a /24 of the network between them.
pub const MAX_CLUSTERS: usize = 16;

/// The address number `n` of a network, counting from its base address; the base address itself
/// when the network is too small.
pub(super) fn nth(net: Ipv4Net, n: u32) -> Ipv4Addr {
    let size = (u64::from(u32::MAX) + 1) >> net.prefix_len();
    if u64::from(n) < size {
        Ipv4Addr::from(u32::from(net.network()) + n)
    } else {
        net.network()
    }
}

/// Plans `count` clusters (at most [`MAX_CLUSTERS`]) named cluster1, cluster2, …
pub fn plan(count: usize) -> Plan {
    let network = |a, b, c, len| Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, 0), len);
    let nodes = (1..=count.min(MAX_CLUSTERS) as u8)
        .map(|number| NodePlan {
            cluster: format!("cluster{number}"),
            node_ip: Ipv4Addr::new(172, 30, 0, 10 + number),
            lb_pool: network(172, 30, number, 24),
        })
        .collect();
    Plan {
        wan_cidr: network(172, 30, 0, 16),
        pod_cidr: network(10, 1, 0, 16),
        service_cidr: network(10, 96, 0, 16),
        nodes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_share_pods_and_differ_outside() {
        let plan = plan(3);
        let seen: Vec<String> = plan
            .nodes
            .iter()
            .map(|n| format!("{} {} {}", n.cluster, n.node_ip, n.lb_pool))
            .collect();
        assert_eq!(
            seen,
            [
                "cluster1 172.30.0.11 172.30.1.0/24",
                "cluster2 172.30.0.12 172.30.2.0/24",
                "cluster3 172.30.0.13 172.30.3.0/24"
            ]
        );
        assert!(
            plan.nodes
                .iter()
                .all(|n| plan.wan_cidr.contains(&n.lb_pool) && plan.wan_cidr.contains(&n.node_ip))
        );
    }

    #[test]
    fn nth_stays_inside() {
        let net: Ipv4Net = "10.1.0.0/16".parse().unwrap();
        assert_eq!(nth(net, 1), Ipv4Addr::new(10, 1, 0, 1));
        assert_eq!(nth(net, 65_535), Ipv4Addr::new(10, 1, 255, 255));
        assert_eq!(nth(net, 65_536), Ipv4Addr::new(10, 1, 0, 0));
    }
}
