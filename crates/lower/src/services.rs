//! Kubernetes Services.

use std::collections::{BTreeMap, BTreeSet};

use hawser_api::mesh::MeshConfig;
use hawser_model::service::Registry;
use hawser_model::traffic::LocalityPreference;
use hawser_model::{ClusterId, Hostname, Identity, Port, Resolution, Service, Str};
use ipnet::IpNet;

use crate::names::{self, labels, port, port_protocol, service_host, visibility};
use crate::world::{KubeService, TargetPort, View, World, target_port};

/// Lowers one Service as its cluster has it; `None` if its name makes no host.
pub fn service(object: &KubeService, view: &View<'_>, world: &World<'_>) -> Option<Service> {
    let spec = &object.spec;
    let (name, namespace) = (&object.meta.name, &object.meta.namespace);
    let host = service_host(name, namespace, &world.mesh.dns_domain)?;
    let external_name = (spec.type_ == "ExternalName")
        .then(|| Hostname::parse(&spec.external_name).ok())
        .flatten();
    let headless = spec.cluster_ip == "None";
    let resolution = if external_name.is_some() {
        Resolution::Alias
    } else if headless {
        Resolution::Passthrough
    } else {
        Resolution::Endpoints
    };
    let export_to: Vec<&str> = object
        .annotation("networking.istio.io/exportTo")
        .map(|t| t.split(',').collect())
        .unwrap_or_default();
    let mut addresses = BTreeMap::new();
    let own = cluster_ips(object);
    if !own.is_empty() {
        addresses.insert(view.id.clone(), own);
    }
    let mut external = BTreeMap::new();
    let outside = external_addresses(object, view);
    if !outside.is_empty() {
        external.insert(view.id.clone(), outside);
    }
    Some(Service {
        meta: names::meta(&object.meta),
        cluster_local: world.local_hosts.contains(&host),
        host,
        registry: Registry::Kubernetes,
        ports: spec.ports.iter().filter_map(self::port_of).collect(),
        addresses,
        auto_addresses: Vec::new(),
        resolution,
        mesh_external: false,
        visibility: visibility(
            &export_to,
            namespace,
            &world.mesh.default_service_visibility,
        ),
        labels: labels(&object.meta.labels),
        selector: labels(&spec.selector),
        headless,
        external_name,
        node_local: spec.internal_traffic_policy == "Local",
        traffic_distribution: preference(
            Some(&spec.traffic_distribution),
            [
                object.annotation(DISTRIBUTION),
                view.annotation(namespace, DISTRIBUTION),
            ],
        ),
        publish_not_ready: spec.publish_not_ready_addresses,
        identities: annotated_identities(object, &world.mesh.trust_domain),
        subject_alt_names: Vec::new(),
        external_addresses: external,
    })
}

/// The annotation that stands in for `trafficDistribution`.
pub const DISTRIBUTION: &str = "networking.istio.io/traffic-distribution";

fn port_of(written: &hawser_api::core::ServicePort) -> Option<Port> {
    if written.protocol == "SCTP" {
        return None;
    }
    Some(Port {
        name: written.name.as_str().into(),
        number: port(written.port)?,
        protocol: port_protocol(
            written.port,
            &written.name,
            &written.protocol,
            written.app_protocol.as_deref(),
        ),
        target_port: match target_port(written) {
            Some(TargetPort::Number(number)) => Some(number),
            _ => None,
        },
    })
}

fn cluster_ips(object: &KubeService) -> Vec<IpNet> {
    let spec = &object.spec;
    let mut out: Vec<IpNet> = Vec::new();
    for text in std::iter::once(&spec.cluster_ip).chain(&spec.cluster_ips) {
        if let Ok(ip) = text.parse::<std::net::IpAddr>()
            && !ip.is_unspecified()
            && !out.contains(&ip.into())
        {
            out.push(ip.into());
        }
    }
    out
}

/// Addresses at which a Service can be reached from outside its cluster: the load balancer's, `externalIPs`, and for a
/// NodePort service with a node selector the external addresses of those nodes.
pub fn external_addresses(object: &KubeService, view: &View<'_>) -> Vec<Str> {
    let spec = &object.spec;
    let mut out: Vec<Str> = Vec::new();
    if spec.type_ == "LoadBalancer" {
        for ingress in &object.status.load_balancer.ingress {
            let address = if ingress.ip.is_empty() {
                &ingress.hostname
            } else {
                &ingress.ip
            };
            if !address.is_empty() {
                out.push(address.as_str().into());
            }
        }
    }
    out.extend(names::strs(&spec.external_ips));
    if let Some(selector) = node_selector(object) {
        let mut nodes: BTreeSet<Str> = BTreeSet::new();
        for node in view.objects.nodes.iter() {
            let selected = selector
                .iter()
                .all(|(k, v)| node.meta.labels.get(k) == Some(v));
            let address = node
                .status
                .addresses
                .iter()
                .find(|a| a.type_ == "ExternalIP")
                .filter(|_| selected);
            nodes.extend(address.map(|a| Str::from(a.address.as_str())));
        }
        out.extend(nodes);
    }
    out
}

/// Labels of the nodes at which a NodePort service is a gateway (`traffic.istio.io/nodeSelector`, JSON).
pub fn node_selector(object: &KubeService) -> Option<BTreeMap<String, String>> {
    if object.spec.type_ != "NodePort" {
        return None;
    }
    let text = object.annotation("traffic.istio.io/nodeSelector")?;
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    value
        .as_object()?
        .iter()
        .map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())))
        .collect()
}

/// `trafficDistribution`, or the annotation of the object, or that of its namespace.
pub fn preference(
    spec: Option<&str>,
    annotations: [Option<&str>; 2],
) -> Option<LocalityPreference> {
    match spec {
        Some("PreferClose" | "PreferSameZone") => return Some(LocalityPreference::SameZone),
        Some("PreferSameNode") => return Some(LocalityPreference::SameNode),
        _ => {}
    }
    annotations
        .into_iter()
        .flatten()
        .find_map(|text| match &*text.to_ascii_lowercase() {
            "preferclose" | "prefersamezone" => Some(LocalityPreference::SameZone),
            "prefersamenode" => Some(LocalityPreference::SameNode),
            "any" => Some(LocalityPreference::Any),
            _ => None,
        })
}

/// Identities that annotations add to those of the pods.
fn annotated_identities(object: &KubeService, trust_domain: &Str) -> BTreeSet<Identity> {
    let list = |key: &str| {
        object
            .annotation(key)
            .into_iter()
            .flat_map(|t| t.split(','))
            .map(str::trim)
            .filter(|t| !t.is_empty())
    };
    let accounts = list("alpha.istio.io/kubernetes-serviceaccounts").map(|account| Identity {
        trust_domain: trust_domain.clone(),
        namespace: object.meta.namespace.as_str().into(),
        service_account: account.into(),
    });
    accounts
        .chain(list("alpha.istio.io/canonical-serviceaccounts").filter_map(Identity::parse))
        .collect()
}

/// Hosts of which only endpoints of the caller's cluster count, or do not: MeshConfig's `serviceSettings` and Istio's
/// defaults, the most specific first.
#[derive(Debug)]
pub struct LocalHosts(Vec<(Hostname, bool)>);

impl LocalHosts {
    /// Those of a mesh.
    pub fn new(config: &MeshConfig, domain: &str) -> Self {
        let discovery = config
            .default_config
            .as_ref()
            .and_then(|c| c.discovery_address.split(':').next())
            .filter(|host| !host.is_empty())
            .map_or_else(
                || format!("istiod.{}.svc", config.root_namespace()),
                str::to_owned,
            );
        let defaults = [
            format!("*.kube-system.svc.{domain}"),
            format!("kubernetes.default.svc.{domain}"),
            if discovery.ends_with(domain) {
                discovery
            } else {
                format!("{discovery}.{domain}")
            },
        ];
        let said = config.service_settings.iter().flat_map(|s| {
            let local = s.settings.as_ref().is_some_and(|s| s.cluster_local);
            s.hosts.iter().map(move |h| (h.as_str(), local))
        });
        let mut hosts: Vec<(Hostname, bool)> = said
            .chain(defaults.iter().map(|h| (h.as_str(), true)))
            .filter_map(|(h, local)| Some((Hostname::parse(h).ok()?, local)))
            .collect();
        // Stable: what was said stands before the defaults.
        hosts.sort_by(|a, b| Hostname::by_specificity(&a.0, &b.0));
        Self(hosts)
    }

    /// Whether only endpoints of the caller's cluster count.
    pub fn contains(&self, host: &Hostname) -> bool {
        let found = self.0.iter().find(|(h, _)| host.is_subset_of(h));
        found.is_some_and(|(_, local)| *local)
    }
}

/// Merges what another cluster says of a service into what clusters of more precedence said.
pub fn merge(into: &mut Service, other: Service, other_cluster: &ClusterId) {
    if let Some(own) = other.addresses.get(other_cluster) {
        into.addresses.insert(other_cluster.clone(), own.clone());
    }
    if let Some(own) = other.external_addresses.get(other_cluster) {
        into.external_addresses
            .insert(other_cluster.clone(), own.clone());
    }
    into.identities.extend(other.identities);
    into.meta.created_s = into.meta.created_s.min(other.meta.created_s);
}
