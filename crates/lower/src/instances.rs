//! Pods and WorkloadEntries, as what stands behind services.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::LazyLock;

use hawser_api::networking::WorkloadEntry;
use hawser_api::status::IstioStatus;
use hawser_api::{Object, core};
use hawser_model::endpoint::{Address, Endpoint, Health};
use hawser_model::{ClusterId, Identity, Labels, Locality, NetworkId, Str};

use crate::names::port;
use crate::world::{NETWORK_LABEL, View, World, labelled_locality};

/// A pod as it was written.
pub type Pod = Object<core::PodSpec, core::PodStatus>;
/// A WorkloadEntry as it was written.
pub type Entry = Object<WorkloadEntry, IstioStatus>;

/// One workload: its endpoint but for the port, and the ports that have names.
#[derive(Clone, Debug)]
pub struct Instance {
    /// The endpoint, with port 0 and no service port.
    pub endpoint: Endpoint,
    /// All its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its labels as written.
    pub labels: hawser_api::Labels,
    /// Ports by name.
    pub ports: BTreeMap<Str, u16>,
}

impl Instance {
    /// True if a selector chooses it. An empty selector chooses nothing.
    pub fn selected_by(&self, selector: &hawser_api::Labels) -> bool {
        !selector.is_empty() && selector.iter().all(|(k, v)| self.labels.get(k) == Some(v))
    }

    /// Its endpoint for a service port.
    pub fn endpoint(&self, service_port: &str, port: u16) -> Endpoint {
        Endpoint {
            port,
            service_port: service_port.into(),
            ..self.endpoint.clone()
        }
    }
}

/// Whether a pod can be anybody's endpoint at all.
pub fn pod_lives(pod: &Pod) -> bool {
    !matches!(pod.status.phase.as_str(), "Failed" | "Succeeded")
        && pod.meta.deletion_timestamp.is_none()
        && !pod.status.pod_ip.is_empty()
}

/// Whether a pod says that it is ready.
pub fn pod_ready(pod: &Pod) -> bool {
    pod.status
        .conditions
        .iter()
        .any(|c| c.type_ == "Ready" && c.status == "True")
}

/// Addresses of a pod, the main one first.
pub fn pod_addresses(pod: &Pod) -> Vec<IpAddr> {
    let mut out = Vec::new();
    let texts = std::iter::once(&pod.status.pod_ip).chain(pod.status.pod_ips.iter().map(|p| &p.ip));
    for ip in texts.filter_map(|t| t.parse().ok()) {
        if !out.contains(&ip) {
            out.push(ip);
        }
    }
    out
}

/// Named TCP ports of a pod's containers; the first of a name counts, as in Kubernetes.
pub fn pod_ports(pod: &Pod) -> BTreeMap<Str, u16> {
    let mut out = BTreeMap::new();
    let containers = pod.spec.containers.iter().chain(
        pod.spec
            .init_containers
            .iter()
            .filter(|c| c.restart_policy == "Always"),
    );
    for written in containers.flat_map(|c| &c.ports) {
        let tcp = written.protocol.is_empty() || written.protocol == "TCP";
        if let Some(number) = port(written.container_port)
            && tcp
            && !written.name.is_empty()
        {
            out.entry(written.name.as_str().into()).or_insert(number);
        }
    }
    out
}

/// What a pod is as an endpoint.
pub fn pod(pod: &Pod, view: &View<'_>, world: &World<'_>) -> Instance {
    let addresses = pod_addresses(pod);
    let main = addresses.first().copied();
    let network = world.network(view, &pod.meta.labels, main);
    let node = pod.spec.node_name.as_str();
    let locality = labelled_locality(&pod.meta.labels).unwrap_or_else(|| view.node_locality(node));
    let account = match pod.spec.service_account_name.as_str() {
        "" => "default",
        account => account,
    };
    let endpoint = Endpoint {
        address: main.map_or(Address::Unknown, Address::Ip),
        additional_addresses: Vec::new(),
        port: 0,
        service_port: Str::default(),
        labels: augmented(&pod.meta.labels, view.id, &locality, node, &network),
        cluster: view.id.clone(),
        network,
        locality,
        health: Health::Healthy,
        weight: 1,
        mutual_tls: pod.label(TLS_MODE) == Some("istio"),
        identity: Some(Identity {
            trust_domain: world.mesh.trust_domain.clone(),
            namespace: pod.meta.namespace.as_str().into(),
            service_account: account.into(),
        }),
        namespace: pod.meta.namespace.as_str().into(),
        workload: workload_name(pod).into(),
        node: node.into(),
        hostname: Str::default(),
    };
    Instance {
        endpoint,
        addresses,
        labels: pod.meta.labels.clone(),
        ports: pod_ports(pod),
    }
}

/// The label that says whether a sidecar terminates mutual TLS.
const TLS_MODE: &str = "security.istio.io/tlsMode";

/// Keys that the labels of every endpoint share.
struct Keys {
    region: Str,
    zone: Str,
    sub_zone: Str,
    cluster: Str,
    node: Str,
    network: Str,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys {
    region: "topology.kubernetes.io/region".into(),
    zone: "topology.kubernetes.io/zone".into(),
    sub_zone: "topology.istio.io/subzone".into(),
    cluster: "topology.istio.io/cluster".into(),
    node: "kubernetes.io/hostname".into(),
    network: NETWORK_LABEL.into(),
});

/// Labels with those of the topology, by which subsets and failover priorities may choose (Istio's `AugmentLabels`).
pub fn augmented(
    labels: &hawser_api::Labels,
    cluster: &ClusterId,
    locality: &Locality,
    node: &str,
    network: &NetworkId,
) -> Labels {
    let mut all: Vec<(Str, Str)> = labels
        .iter()
        .map(|(k, v)| (k.as_str().into(), v.as_str().into()))
        .collect();
    let mut set = |key: &Str, value: &Str| {
        if !value.is_empty() {
            all.push((key.clone(), value.clone()));
        }
    };
    set(&KEYS.region, &locality.region);
    set(&KEYS.zone, &locality.zone);
    set(&KEYS.sub_zone, &locality.sub_zone);
    set(&KEYS.cluster, &cluster.0);
    if labels.get(NETWORK_LABEL).is_none_or(String::is_empty) {
        set(&KEYS.network, &network.0);
    }
    if !node.is_empty() {
        all.push((KEYS.node.clone(), node.into()));
    }
    all.into_iter().collect()
}

/// The workload that a pod belongs to: by label, by its controller, else itself.
fn workload_name(pod: &Pod) -> String {
    if let Some(name) = pod.label("service.istio.io/workload-name") {
        return name.to_owned();
    }
    let Some(owner) = pod
        .meta
        .owner_references
        .iter()
        .find(|o| o.controller == Some(true))
    else {
        return pod.meta.name.clone();
    };
    let of_deployment = (owner.kind == "ReplicaSet")
        .then(|| pod.label("pod-template-hash"))
        .flatten()
        .and_then(|hash| owner.name.strip_suffix(hash)?.strip_suffix('-'));
    of_deployment.unwrap_or(&owner.name).to_owned()
}

/// What a WorkloadEntry is as an endpoint; one that is checked and not healthy is none.
pub fn entry(entry: &Entry, view: &View<'_>, world: &World<'_>) -> Option<Instance> {
    if entry.annotation("proxy.istio.io/health-checks-enabled") == Some("true")
        && !entry
            .status
            .conditions
            .iter()
            .any(|c| c.type_ == "Healthy" && c.status == "True")
    {
        return None;
    }
    Some(inline(
        &entry.spec,
        &entry.meta.namespace,
        &entry.meta.name,
        &entry.meta.labels,
        view,
        world,
    ))
}

/// What a WorkloadEntry, or one within a ServiceEntry, is as an endpoint. Labels of the object count before those of the
/// spec; its network is only what the spec says (a machine elsewhere must not be taken for one of the cluster's).
pub fn inline(
    spec: &WorkloadEntry,
    namespace: &str,
    name: &str,
    more_labels: &hawser_api::Labels,
    view: &View<'_>,
    world: &World<'_>,
) -> Instance {
    let mut labels = spec.labels.clone();
    labels.extend(more_labels.clone());
    let address = address(&spec.address);
    let ip = match address {
        Address::Ip(ip) => Some(ip),
        _ => None,
    };
    let network = NetworkId::new(&spec.network);
    let locality = if spec.locality.is_empty() {
        labelled_locality(&labels).unwrap_or_default()
    } else {
        Locality::parse(&spec.locality)
    };
    let label_network = if network.is_unset() {
        world.network(view, &labels, ip)
    } else {
        network.clone()
    };
    let endpoint = Endpoint {
        address,
        additional_addresses: Vec::new(),
        port: 0,
        service_port: Str::default(),
        labels: augmented(&labels, view.id, &locality, "", &label_network),
        cluster: view.id.clone(),
        network,
        locality,
        health: Health::Healthy,
        weight: spec.weight.max(1),
        mutual_tls: match labels.get(TLS_MODE) {
            Some(mode) => mode == "istio",
            None => !spec.service_account.is_empty(),
        },
        identity: (!spec.service_account.is_empty()).then(|| Identity {
            trust_domain: world.mesh.trust_domain.clone(),
            namespace: namespace.into(),
            service_account: spec.service_account.as_str().into(),
        }),
        namespace: namespace.into(),
        workload: name.into(),
        node: Str::default(),
        hostname: Str::default(),
    };
    Instance {
        endpoint,
        addresses: ip.into_iter().collect(),
        labels,
        ports: spec
            .ports
            .iter()
            .filter_map(|(name, number)| Some((name.as_str().into(), port(*number)?)))
            .collect(),
    }
}

fn address(text: &str) -> Address {
    if text.is_empty() {
        return Address::Unknown;
    }
    if let Some(path) = text.strip_prefix("unix://") {
        return Address::Unix(path.into());
    }
    text.parse()
        .map_or_else(|_| Address::Host(text.into()), Address::Ip)
}
