//! What a change makes stale: so little that an endpoint's change costs only its own services.

use std::collections::BTreeSet;

use hawser_api::{Kind, Resource};
use hawser_model::{ClusterId, ServiceKey, Str};

use crate::gateway_api;
use crate::names::service_host;
use crate::services::DISTRIBUTION;
use crate::store::{Objects, service_of};
use crate::workloads::WorkloadName;

/// A part of the snapshot that is lowered as a whole.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Topic {
    /// Sources that are lost, objects that could not be read.
    Sources,
    /// MeshConfig and MeshNetworks.
    Mesh,
    /// Definitions of services.
    Services,
    /// Endpoints of all services.
    Endpoints,
    /// All workloads.
    Workloads,
    /// Labels of namespaces.
    Namespaces,
    /// Gateways into networks.
    NetworkGateways,
    /// What the Gateway API and Ingresses become.
    Converted,
    /// VirtualServices.
    Routes,
    /// DestinationRules.
    Rules,
    /// Gateways.
    Gateways,
    /// Sidecars.
    Sidecars,
    /// PeerAuthentications.
    PeerAuthn,
    /// RequestAuthentications.
    RequestAuthn,
    /// AuthorizationPolicies.
    Authz,
    /// Telemetries.
    Telemetry,
    /// ProxyConfigs.
    ProxyConfigs,
    /// EnvoyFilters.
    Filters,
    /// TrafficExtensions, and WasmPlugins, of which users are told.
    Extensions,
    /// What routes and extension providers refer to; follows from those, rules and services.
    References,
}

impl Topic {
    /// All of them.
    pub const ALL: [Topic; 20] = [
        Topic::Sources,
        Topic::Mesh,
        Topic::Services,
        Topic::Endpoints,
        Topic::Workloads,
        Topic::Namespaces,
        Topic::NetworkGateways,
        Topic::Converted,
        Topic::Routes,
        Topic::Rules,
        Topic::Gateways,
        Topic::Sidecars,
        Topic::PeerAuthn,
        Topic::RequestAuthn,
        Topic::Authz,
        Topic::Telemetry,
        Topic::Filters,
        Topic::ProxyConfigs,
        Topic::Extensions,
        Topic::References,
    ];
}

/// A workload that changed: its place, and labels that it has or had.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Touched {
    /// The workload.
    pub name: WorkloadName,
    /// Labels by which services may choose it.
    pub labels: hawser_api::Labels,
}

/// What has to be lowered again.
#[derive(Clone, Debug, Default)]
pub struct Dirty {
    /// Whole topics.
    pub topics: BTreeSet<Topic>,
    /// Services whose endpoints have to be gathered again.
    pub endpoints: BTreeSet<ServiceKey>,
    /// Workloads that changed.
    pub touched: BTreeSet<Touched>,
    /// Versions moved on, even if nothing else did.
    pub versions: bool,
}

/// What the mesh's settings and other objects decide about the meaning of a change.
#[derive(Clone, Copy, Debug)]
pub struct Meaning<'a> {
    /// The cluster whose configuration counts.
    pub config_cluster: &'a ClusterId,
    /// Where the mesh's own objects live.
    pub root_namespace: &'a str,
    /// The DNS domain of services.
    pub domain: &'a str,
    /// True if MeshConfig hides namespaces by their labels.
    pub discovery: bool,
    /// What the configuration cluster says, this change included.
    pub configuration: Option<&'a Objects>,
}

impl Meaning<'_> {
    /// Whether the Gateway API refers to a Secret or a ConfigMap of a cluster.
    fn names(&self, cluster: &ClusterId, resource: &Resource) -> bool {
        let meta = resource.meta();
        cluster == self.config_cluster
            && self.configuration.is_some_and(|objects| {
                gateway_api::names(objects, resource.kind(), &meta.namespace, &meta.name)
            })
    }
}

impl Dirty {
    /// Everything.
    pub fn all() -> Self {
        Self {
            topics: Topic::ALL.into_iter().collect(),
            versions: true,
            ..Self::default()
        }
    }

    /// True if nothing has to be done.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
            && self.endpoints.is_empty()
            && self.touched.is_empty()
            && !self.versions
    }

    /// Marks topics.
    pub fn mark(&mut self, topics: &[Topic]) {
        self.topics.extend(topics);
    }

    /// Marks what depends on an object that came, changed or went.
    pub fn object(
        &mut self,
        cluster: &ClusterId,
        old: Option<&Resource>,
        new: Option<&Resource>,
        meaning: Meaning<'_>,
    ) {
        let Some(either) = new.or(old) else { return };
        let configuration = match either.kind() {
            Kind::VirtualService => Some(Topic::Routes),
            Kind::DestinationRule => Some(Topic::Rules),
            Kind::Gateway => Some(Topic::Gateways),
            Kind::Sidecar => Some(Topic::Sidecars),
            Kind::EnvoyFilter => Some(Topic::Filters),
            Kind::PeerAuthentication => Some(Topic::PeerAuthn),
            Kind::RequestAuthentication => Some(Topic::RequestAuthn),
            Kind::AuthorizationPolicy => Some(Topic::Authz),
            Kind::Telemetry => Some(Topic::Telemetry),
            Kind::ProxyConfig => Some(Topic::ProxyConfigs),
            Kind::WasmPlugin | Kind::TrafficExtension => Some(Topic::Extensions),
            Kind::GatewayClass
            | Kind::ListenerSet
            | Kind::HttpRoute
            | Kind::GrpcRoute
            | Kind::TlsRoute
            | Kind::TcpRoute
            | Kind::ReferenceGrant
            | Kind::BackendTlsPolicy
            | Kind::Ingress
            | Kind::IngressClass => Some(Topic::Converted),
            _ => None,
        };
        if let Some(topic) = configuration {
            if cluster == meaning.config_cluster {
                self.mark(&[topic]);
            }
            return;
        }
        match either.kind() {
            // Backends may be hosts of ServiceEntries.
            Kind::ServiceEntry if cluster == meaning.config_cluster => {
                self.mark(&[Topic::Services, Topic::Converted]);
            }
            Kind::K8sGateway => self.mark(&[Topic::Converted, Topic::NetworkGateways]),
            Kind::Service => {
                self.mark(&[Topic::Services, Topic::NetworkGateways, Topic::Converted]);
            }
            // Most of them are nothing to the mesh, and change for reasons of others.
            Kind::ConfigMap | Kind::Secret => {
                let known = self.topics.contains(&Topic::Converted);
                if !known && !same_contents(old, new) && meaning.names(cluster, either) {
                    self.mark(&[Topic::Converted]);
                }
            }
            Kind::EndpointSlice => {
                for resource in [old, new].into_iter().flatten() {
                    let namespace = &resource.meta().namespace;
                    let host = service_of(resource)
                        .and_then(|s| service_host(s, namespace, meaning.domain));
                    self.endpoints.extend(host.map(|host| ServiceKey {
                        host,
                        namespace: namespace.as_str().into(),
                    }));
                }
                self.slices_by_hand(cluster, old, new);
            }
            Kind::Pod | Kind::WorkloadEntry => {
                for resource in [old, new].into_iter().flatten() {
                    self.touched.insert(touched(cluster, resource));
                }
            }
            Kind::Node if node_facts(old) != node_facts(new) => self.mark(&[
                Topic::Services,
                Topic::Endpoints,
                Topic::Workloads,
                Topic::NetworkGateways,
                Topic::Converted,
            ]),
            Kind::Namespace => {
                let prefers = |r: Option<&Resource>| {
                    r.and_then(|r| r.meta().annotations.get(DISTRIBUTION).cloned())
                };
                if prefers(old) != prefers(new) {
                    self.mark(&[Topic::Services]);
                }
                let labels = |r: Option<&Resource>| r.map(|r| r.meta().labels.clone());
                if labels(old) == labels(new) {
                    return;
                }
                if meaning.discovery {
                    self.mark(&Topic::ALL);
                }
                self.mark(&[Topic::Namespaces, Topic::Converted]);
                if either.meta().name == meaning.root_namespace {
                    self.mark(&[Topic::Endpoints, Topic::Workloads, Topic::NetworkGateways]);
                }
            }
            _ => {}
        }
    }

    /// Slices written by hand decide by address which workloads a service without selector has.
    fn slices_by_hand(
        &mut self,
        cluster: &ClusterId,
        old: Option<&Resource>,
        new: Option<&Resource>,
    ) {
        for resource in [old, new].into_iter().flatten() {
            let Resource::EndpointSlice(slice) = resource else {
                continue;
            };
            for target in slice
                .spec
                .endpoints
                .iter()
                .filter_map(|e| e.target_ref.as_ref())
                .filter(|t| t.kind == "Pod")
            {
                self.touched.insert(Touched {
                    name: (
                        cluster.clone(),
                        slice.meta.namespace.as_str().into(),
                        target.name.as_str().into(),
                    ),
                    // No selector chooses nobody: endpoints are marked already.
                    labels: hawser_api::Labels::new(),
                });
            }
        }
    }
}

fn touched(cluster: &ClusterId, resource: &Resource) -> Touched {
    let meta = resource.meta();
    let mut labels = meta.labels.clone();
    if let Resource::WorkloadEntry(entry) = resource {
        for (k, v) in &entry.spec.labels {
            labels.entry(k.clone()).or_insert_with(|| v.clone());
        }
    }
    let name: Str = meta.name.as_str().into();
    Touched {
        name: (cluster.clone(), meta.namespace.as_str().into(), name),
        labels,
    }
}

/// True if a ConfigMap or Secret holds what it held. Of a control plane's, only that they are there is known.
fn same_contents(old: Option<&Resource>, new: Option<&Resource>) -> bool {
    match (old, new) {
        (Some(Resource::ConfigMap(a)), Some(Resource::ConfigMap(b))) => a.spec.data == b.spec.data,
        (Some(Resource::Secret(a)), Some(Resource::Secret(b))) => a.spec.data == b.spec.data,
        _ => false,
    }
}

/// What of a node matters: its labels and its external address. Heartbeats do not.
fn node_facts(node: Option<&Resource>) -> Option<(hawser_api::Labels, Vec<String>)> {
    match node {
        Some(Resource::Node(node)) => Some((
            node.meta.labels.clone(),
            node.status
                .addresses
                .iter()
                .filter(|a| a.type_ == "ExternalIP")
                .map(|a| a.address.clone())
                .collect(),
        )),
        _ => None,
    }
}
