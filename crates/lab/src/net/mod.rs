//! The lab's networks: one namespace per node, one for the network between them, none of the host's.
//!
//! Namespaces have no name in the file system: the lab process holds each one open, and when it
//! ends, even by `kill -9`, the kernel takes the namespaces with their bridges, addresses and rules
//! away. Other processes reach one by [`NodeNet::netns`], `/proc/PID/fd/N`, which `nsenter --net=`
//! and `ip link set … netns` take like any namespace file.

mod forward;
mod netns;
mod plan;

use std::net::Ipv4Addr;
use std::path::PathBuf;

use ipnet::Ipv4Net;

pub use forward::{Forwarder, Target};
pub use netns::{Netns, connect_in, in_netns};
pub use plan::{MAX_CLUSTERS, NodePlan, Plan, plan};

/// What a cluster's controllers must know of its node's network.
#[derive(Debug, Clone)]
pub struct NodeNet {
    /// A file that opens as the node's network namespace.
    pub netns: PathBuf,
    /// The bridge that pods hang on, inside the namespace. Pods know no neighbours on it: they reach
    /// each other through the node's forwarding, so service rules see every packet.
    pub pod_bridge: String,
    /// The interface on the network between clusters.
    pub wan_if: String,
    /// The node's address on that network: its InternalIP, and `hostIP` of its pods.
    pub node_ip: Ipv4Addr,
    /// Addresses of pods; the same range in every cluster.
    pub pod_cidr: Ipv4Net,
    /// Addresses of services.
    pub service_cidr: Ipv4Net,
    /// Addresses for load balancers, routed on the network between clusters, this cluster's own share.
    pub lb_pool: Ipv4Net,
}

impl NodeNet {
    /// The node's address on the pod network, which is every pod's gateway.
    pub fn pod_gateway(&self) -> Ipv4Addr {
        plan::nth(self.pod_cidr, 1)
    }
}

/// What can go wrong while making or using a network.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// A system call on a namespace failed.
    #[error("{what}: {source}")]
    System {
        /// What was being done.
        what: String,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// `ip` or `nft` refused.
    #[error("{command} failed: {message}")]
    Command {
        /// The command, without its input.
        command: String,
        /// What it said.
        message: String,
    },
    /// The pod network has no free address left.
    #[error("no free address left in {0}")]
    Exhausted(Ipv4Net),
}

impl NetError {
    pub(crate) fn system(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> NetError {
        let what = what.into();
        move |source| NetError::System { what, source }
    }
}

/// A cluster's node: its namespace and how it is wired.
#[derive(Debug)]
pub struct Node {
    /// The namespace; it lives as long as this value (and the processes inside).
    pub netns: Netns,
    /// The wiring, as told to the controllers.
    pub net: NodeNet,
}

/// Every network of a lab. Dropping it lets the kernel remove them.
#[derive(Debug)]
pub struct LabNet {
    /// The namespace of the bridge between the nodes.
    pub wan: Netns,
    /// One node per cluster, in the plan's order.
    pub nodes: Vec<Node>,
}

impl LabNet {
    /// Makes what the plan says. Blocks for some tens of milliseconds per node.
    pub fn create(plan: &Plan) -> Result<LabNet, NetError> {
        let wan = Netns::create()?;
        wan.ip(&[
            "link set lo up".to_string(),
            format!("link add {WAN_BRIDGE} type bridge"),
            format!("link set {WAN_BRIDGE} up"),
        ])?;
        let mut nodes = Vec::with_capacity(plan.nodes.len());
        for (index, node) in plan.nodes.iter().enumerate() {
            nodes.push(create_node(plan, node, &wan, index)?);
        }
        Ok(LabNet { wan, nodes })
    }
}

const WAN_BRIDGE: &str = "wan";
const WAN_IF: &str = "wan0";
const POD_BRIDGE: &str = "pods0";
/// Where the host has bridges filtered (Docker asks for it), a packet to a service would be
/// translated on the bridge and never reach the node's own rules.
const BRIDGE_FILTERS: &[(&str, &str)] = &[
    ("net/bridge/bridge-nf-call-iptables", "0"),
    ("net/bridge/bridge-nf-call-ip6tables", "0"),
];

fn create_node(plan: &Plan, node: &NodePlan, wan: &Netns, index: usize) -> Result<Node, NetError> {
    let netns = Netns::create()?;
    wan.ip(&[
        format!(
            "link add node{index} type veth peer name {WAN_IF} netns {}",
            netns.path().display()
        ),
        format!("link set node{index} master {WAN_BRIDGE} up"),
    ])?;
    let net = NodeNet {
        netns: netns.path().to_path_buf(),
        pod_bridge: POD_BRIDGE.to_string(),
        wan_if: WAN_IF.to_string(),
        node_ip: node.node_ip,
        pod_cidr: plan.pod_cidr,
        service_cidr: plan.service_cidr,
        lb_pool: node.lb_pool,
    };
    netns.sysctl(&[
        ("net/ipv4/ip_forward", "1"),
        // Pod to pod leaves by the interface it came from; the pods must not be told to talk directly.
        ("net/ipv4/conf/all/send_redirects", "0"),
        ("net/ipv4/conf/default/send_redirects", "0"),
        // Replies of translated connections may come back by another interface than they went.
        ("net/ipv4/conf/all/rp_filter", "0"),
        ("net/ipv4/conf/default/rp_filter", "0"),
    ])?;
    netns.ip(&[
        "link set lo up".to_string(),
        format!("link add {POD_BRIDGE} type bridge"),
        format!(
            "addr add {}/{} dev {POD_BRIDGE}",
            net.pod_gateway(),
            plan.pod_cidr.prefix_len()
        ),
        format!("link set {POD_BRIDGE} up"),
        format!(
            "addr add {}/{} dev {WAN_IF}",
            node.node_ip,
            plan.wan_cidr.prefix_len()
        ),
        format!("link set {WAN_IF} up"),
    ])?;
    netns.sysctl(&[
        ("net/ipv4/conf/pods0/send_redirects", "0"),
        ("net/ipv4/conf/wan0/send_redirects", "0"),
    ])?;
    netns.sysctl_if_there(BRIDGE_FILTERS)?;
    // What a network plugin does for pods that talk to the world: the other cluster has no route to them.
    netns.nft(&format!(
        "table ip hawser_pods {{\n chain leaving {{\n  type nat hook postrouting priority srcnat;\n  \
         ip saddr {} oifname \"{WAN_IF}\" masquerade\n }}\n}}\n",
        plan.pod_cidr
    ))?;
    Ok(Node { netns, net })
}

/// A pod's network: its namespace, its address and the host side of its wire.
#[derive(Debug)]
pub struct PodNet {
    /// The pod's namespace.
    pub netns: Netns,
    /// The pod's address.
    pub ip: Ipv4Addr,
    link: String,
    node: Netns,
}

impl PodNet {
    /// Makes a namespace with a wire to the node's bridge. `number` must be unique on the node.
    pub fn create(
        node: &Netns,
        net: &NodeNet,
        ip: Ipv4Addr,
        number: u32,
    ) -> Result<PodNet, NetError> {
        let netns = Netns::create()?;
        let link = format!("pod{number}");
        node.ip(&[
            format!(
                "link add {link} type veth peer name eth0 netns {}",
                netns.path().display()
            ),
            format!("link set {link} master {} up", net.pod_bridge),
        ])?;
        let gateway = net.pod_gateway();
        netns.ip(&[
            "link set lo up".to_string(),
            format!("addr add {ip}/32 dev eth0"),
            "link set eth0 up".to_string(),
            format!("route add {gateway} dev eth0 scope link src {ip}"),
            format!("route add default via {gateway} dev eth0 src {ip}"),
        ])?;
        // Any process of a pod may listen on port 80, as container runtimes configure it.
        netns.sysctl(&[("net/ipv4/ip_unprivileged_port_start", "0")])?;
        Ok(PodNet {
            netns,
            ip,
            link,
            node: node.clone(),
        })
    }

    /// Takes the wire away at once, even while a process still holds the namespace.
    pub fn remove(self) {
        if let Err(error) = self.node.ip(&[format!("link del {}", self.link)]) {
            tracing::debug!(%error, link = self.link, "pod link was gone already");
        }
    }
}
