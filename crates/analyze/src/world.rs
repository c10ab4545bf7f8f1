//! One cluster as the analyzers see it: its objects by kind and in order, and lookup tables over all clusters.

use hawser_api::apps::{CrdSpec, WebhookConfiguration, WorkloadSpec, WorkloadStatus};
use hawser_api::core::{ConfigMap, NamespaceSpec, NamespaceStatus, PodSpec, PodStatus, Secret};
use hawser_api::extensions::WasmPlugin;
use hawser_api::gateway_api::{
    GatewaySpec, GatewayStatus, GrpcRouteSpec, HttpRouteSpec, RouteStatus,
};
use hawser_api::mesh::{MeshConfig, MeshNetworks};
use hawser_api::networking as net;
use hawser_api::security as sec;
use hawser_api::status::{IstioStatus, ServiceEntryStatus};
use hawser_api::telemetry::Telemetry;
use hawser_api::{Kind, Labels, Meta, Object, ObjectRef, Resource, manifest};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::hosts::Hosts;
use crate::pods::{Pod, Pods, Service, Services};
use crate::run::Settings;

pub type Obj<S, T = IstioStatus> = Arc<Object<S, T>>;

/// What the clusters have in common.
#[derive(Default)]
pub struct Shared {
    pub pods: Pods,
    pub services: Services,
    pub namespaces: BTreeSet<String>,
    /// By namespace and name; several where clusters have each their own.
    pub secrets: BTreeMap<(String, String), Vec<Obj<Secret, ()>>>,
    /// By namespace, the labels of the pods that controllers make, and of workloads outside Kubernetes.
    pub templates: BTreeMap<String, Vec<Labels>>,
}

/// One cluster. Lists are in order of namespace and name.
pub struct World {
    pub cluster: usize,
    pub cluster_name: String,
    /// Seconds since 1970: certificates have a term.
    pub now: i64,
    /// Whether Secrets were to be had.
    pub secrets_known: bool,
    /// Where the control plane is.
    pub istio_namespace: String,
    pub mesh: MeshConfig,
    pub mesh_networks: Option<(MeshNetworks, ObjectRef)>,
    pub shared: Arc<Shared>,
    pub hosts: Hosts,
    pub namespaces: BTreeMap<String, Obj<NamespaceSpec, NamespaceStatus>>,
    pub config_maps: Vec<Obj<ConfigMap, ()>>,
    pub secrets: Vec<Obj<Secret, ()>>,
    pub deployments: Vec<Obj<WorkloadSpec, WorkloadStatus>>,
    pub mutating_webhooks: Vec<Obj<WebhookConfiguration, ()>>,
    pub validating_webhooks: Vec<Obj<WebhookConfiguration, ()>>,
    pub crds: Vec<Obj<CrdSpec, ()>>,
    pub virtual_services: Vec<Obj<net::VirtualService>>,
    pub destination_rules: Vec<Obj<net::DestinationRule>>,
    pub gateways: Vec<Obj<net::Gateway>>,
    pub service_entries: Vec<Obj<net::ServiceEntry, ServiceEntryStatus>>,
    pub sidecars: Vec<Obj<net::Sidecar>>,
    pub envoy_filters: Vec<Obj<net::EnvoyFilter>>,
    pub proxy_configs: Vec<Obj<net::ProxyConfig>>,
    pub request_authentications: Vec<Obj<sec::RequestAuthentication>>,
    pub authorization_policies: Vec<Obj<sec::AuthorizationPolicy>>,
    pub telemetries: Vec<Obj<Telemetry>>,
    pub wasm_plugins: Vec<Obj<WasmPlugin>>,
    pub k8s_gateways: Vec<Obj<GatewaySpec, GatewayStatus>>,
    pub http_routes: Vec<Obj<HttpRouteSpec, RouteStatus>>,
    pub grpc_routes: Vec<Obj<GrpcRouteSpec, RouteStatus>>,
}

impl World {
    /// The pods of this cluster itself.
    pub fn own_pods(&self) -> impl Iterator<Item = &Pod> {
        let pods = self.shared.pods.all().iter();
        pods.filter(|pod| pod.cluster == self.cluster && !pod.stand_in)
    }

    /// The Services of this cluster itself.
    pub fn own_services(&self) -> impl Iterator<Item = &Service> {
        let services = self.shared.services.all().iter();
        services.filter(|service| service.cluster == self.cluster)
    }
}

/// The object of a list with this name.
pub fn find<'a, S, T>(list: &'a [Obj<S, T>], namespace: &str, name: &str) -> Option<&'a Obj<S, T>> {
    let order = |o: &Obj<S, T>| {
        let this = (o.meta.namespace.as_str(), o.meta.name.as_str());
        this.cmp(&(namespace, name))
    };
    list.binary_search_by(order).ok().and_then(|i| list.get(i))
}

/// One object of each name (the last one counts), in order.
type Objects = BTreeMap<ObjectRef, Resource>;

/// Worlds of clusters, each a name and its objects.
pub fn worlds(clusters: Vec<(String, Objects)>, settings: &Settings) -> Vec<World> {
    let mut pods = Vec::new();
    let mut services = Vec::new();
    let mut shared = Shared::default();
    for (cluster, (_, objects)) in clusters.iter().enumerate() {
        let namespaces = namespaces(objects);
        let has_pods = objects.keys().any(|o| o.kind == Kind::Pod);
        let nodes = nodes(objects);
        for resource in objects.values() {
            match resource {
                Resource::Pod(object) => {
                    let node = nodes.get(object.spec.node_name.as_str()).copied();
                    pods.push(pod(cluster, object.clone(), &namespaces, node));
                }
                Resource::Deployment(o) | Resource::StatefulSet(o) | Resource::DaemonSet(o)
                    if !has_pods =>
                {
                    pods.push(Pod {
                        stand_in: true,
                        ..pod(cluster, Arc::new(of_template(o)), &namespaces, None)
                    });
                }
                Resource::Service(object) => services.push(Service {
                    cluster,
                    object: object.clone(),
                }),
                Resource::Namespace(object) => {
                    shared.namespaces.insert(object.meta.name.clone());
                }
                Resource::Secret(object) => {
                    let name = (object.meta.namespace.clone(), object.meta.name.clone());
                    shared.secrets.entry(name).or_default().push(object.clone());
                }
                _ => {}
            }
            if let Some(labels) = template(resource) {
                let namespace = resource.meta().namespace.clone();
                shared.templates.entry(namespace).or_default().push(labels);
            }
        }
    }
    shared.pods = Pods::new(pods);
    shared.services = Services::new(services);
    let shared = Arc::new(shared);
    clusters
        .into_iter()
        .enumerate()
        .map(|(i, (name, objects))| world(i, name, objects, &shared, settings))
        .collect()
}

fn world(
    cluster: usize,
    cluster_name: String,
    objects: Objects,
    shared: &Arc<Shared>,
    settings: &Settings,
) -> World {
    let config = mesh_settings(&objects, settings);
    let mut world = World {
        cluster,
        cluster_name,
        now: settings.now,
        secrets_known: settings.secrets_known,
        istio_namespace: settings.istio_namespace.clone(),
        mesh: config.mesh,
        mesh_networks: config.networks,
        shared: shared.clone(),
        hosts: Hosts::default(),
        namespaces: namespaces(&objects),
        config_maps: Vec::new(),
        secrets: Vec::new(),
        deployments: Vec::new(),
        mutating_webhooks: Vec::new(),
        validating_webhooks: Vec::new(),
        crds: Vec::new(),
        virtual_services: Vec::new(),
        destination_rules: Vec::new(),
        gateways: Vec::new(),
        service_entries: Vec::new(),
        sidecars: Vec::new(),
        envoy_filters: Vec::new(),
        proxy_configs: Vec::new(),
        request_authentications: Vec::new(),
        authorization_policies: Vec::new(),
        telemetries: Vec::new(),
        wasm_plugins: Vec::new(),
        k8s_gateways: Vec::new(),
        http_routes: Vec::new(),
        grpc_routes: Vec::new(),
    };
    for resource in objects.into_values() {
        match resource {
            Resource::ConfigMap(o) => world.config_maps.push(o),
            Resource::Secret(o) => world.secrets.push(o),
            Resource::Deployment(o) => world.deployments.push(o),
            Resource::MutatingWebhookConfiguration(o) => world.mutating_webhooks.push(o),
            Resource::ValidatingWebhookConfiguration(o) => world.validating_webhooks.push(o),
            Resource::CustomResourceDefinition(o) => world.crds.push(o),
            Resource::VirtualService(o) => world.virtual_services.push(o),
            Resource::DestinationRule(o) => world.destination_rules.push(o),
            Resource::Gateway(o) => world.gateways.push(o),
            Resource::ServiceEntry(o) => world.service_entries.push(o),
            Resource::Sidecar(o) => world.sidecars.push(o),
            Resource::EnvoyFilter(o) => world.envoy_filters.push(o),
            Resource::ProxyConfig(o) => world.proxy_configs.push(o),
            Resource::RequestAuthentication(o) => world.request_authentications.push(o),
            Resource::AuthorizationPolicy(o) => world.authorization_policies.push(o),
            Resource::Telemetry(o) => world.telemetries.push(o),
            Resource::WasmPlugin(o) => world.wasm_plugins.push(o),
            Resource::K8sGateway(o) => world.k8s_gateways.push(o),
            Resource::HttpRoute(o) => world.http_routes.push(o),
            Resource::GrpcRoute(o) => world.grpc_routes.push(o),
            _ => {}
        }
    }
    world.hosts = Hosts::new(&world.service_entries, shared.services.all());
    world
}

fn namespaces(objects: &Objects) -> BTreeMap<String, Obj<NamespaceSpec, NamespaceStatus>> {
    let namespace = |resource: &Resource| match resource {
        Resource::Namespace(o) => Some((o.meta.name.clone(), o.clone())),
        _ => None,
    };
    objects.values().filter_map(namespace).collect()
}

/// The labels that workloads of this object have.
fn template(resource: &Resource) -> Option<Labels> {
    match resource {
        Resource::Deployment(o)
        | Resource::StatefulSet(o)
        | Resource::DaemonSet(o)
        | Resource::ReplicaSet(o) => Some(o.spec.template.metadata.labels.clone()),
        Resource::WorkloadEntry(o) => Some(o.spec.labels.clone()),
        _ => None,
    }
}

fn nodes(objects: &Objects) -> BTreeMap<&str, &Labels> {
    objects
        .values()
        .filter_map(|resource| match resource {
            Resource::Node(o) => Some((o.meta.name.as_str(), &o.meta.labels)),
            _ => None,
        })
        .collect()
}

/// The labels of a node that count as its pods' own.
const TOPOLOGY: [&str; 3] = [
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.istio.io/subzone",
];

fn with_node(labels: &Labels, node: &str, node_labels: Option<&Labels>) -> Labels {
    let mut out = labels.clone();
    if let Some(of_node) = node_labels {
        for key in TOPOLOGY {
            if let Some(value) = of_node.get(key) {
                out.insert(key.to_owned(), value.clone());
            }
        }
        out.insert("kubernetes.io/hostname".to_owned(), node.to_owned());
    }
    out
}

fn pod(
    cluster: usize,
    object: Obj<PodSpec, PodStatus>,
    namespaces: &NamespaceMap,
    node: Option<&Labels>,
) -> Pod {
    Pod {
        cluster,
        stand_in: false,
        in_mesh: pod_in_mesh(&object, namespaces),
        subset_labels: with_node(&object.meta.labels, &object.spec.node_name, node),
        object,
    }
}

/// A pod as a controller would make it.
fn of_template(workload: &Object<WorkloadSpec, WorkloadStatus>) -> Object<PodSpec, PodStatus> {
    let template = &workload.spec.template;
    Object {
        meta: Meta {
            name: workload.meta.name.clone(),
            namespace: workload.meta.namespace.clone(),
            ..template.metadata.clone()
        },
        spec: template.spec.clone(),
        status: PodStatus::default(),
    }
}

/// The label, and the old annotation, that decide about one pod's proxy.
pub const INJECT: &str = "sidecar.istio.io/inject";
/// The name of the proxy's container.
pub const PROXY: &str = "istio-proxy";

type NamespaceMap = BTreeMap<String, Obj<NamespaceSpec, NamespaceStatus>>;

fn pod_in_mesh(pod: &Object<PodSpec, PodStatus>, namespaces: &NamespaceMap) -> bool {
    let containers = pod.spec.containers.iter().chain(&pod.spec.init_containers);
    in_mesh(
        containers,
        &pod.meta.labels,
        &pod.meta.annotations,
        &pod.meta.namespace,
        namespaces,
    )
}

/// Whether pods of this kind have a proxy, or get one: the container, else the label, else the annotation, else the namespace.
pub fn in_mesh<'a>(
    containers: impl IntoIterator<Item = &'a hawser_api::core::Container>,
    labels: &Labels,
    annotations: &Labels,
    namespace: &str,
    namespaces: &NamespaceMap,
) -> bool {
    let mut containers = containers.into_iter();
    if containers.any(|c| c.name == PROXY && !c.image.is_empty()) {
        return true;
    }
    match labels.get(INJECT).or_else(|| annotations.get(INJECT)) {
        Some(asked) => asked == "true",
        None => namespaces
            .get(namespace)
            .is_some_and(|n| n.label("istio-injection") == Some("enabled")),
    }
}

#[derive(Default)]
struct MeshSettings {
    mesh: MeshConfig,
    networks: Option<(MeshNetworks, ObjectRef)>,
}

/// MeshConfig and MeshNetworks as ConfigMap `istio` has them. What is wrong in them is for the control plane to say.
fn mesh_settings(objects: &Objects, settings: &Settings) -> MeshSettings {
    let mut out = MeshSettings {
        mesh: settings.mesh.clone().unwrap_or_default(),
        networks: None,
    };
    let name = ObjectRef {
        kind: Kind::ConfigMap,
        namespace: settings.istio_namespace.clone(),
        name: match settings.revision.as_str() {
            "" | "default" => "istio".to_owned(),
            revision => format!("istio-{revision}"),
        },
    };
    let Some(Resource::ConfigMap(map)) = objects.get(&name) else {
        return out;
    };
    if settings.mesh.is_none()
        && let Some(value) = map.spec.data.get("mesh").and_then(|text| yaml(text))
    {
        out.mesh = MeshConfig::from_value(value).0;
    }
    if let Some(value) = map
        .spec
        .data
        .get("meshNetworks")
        .and_then(|text| yaml(text))
    {
        out.networks = Some((MeshNetworks::from_value(value).0, name));
    }
    out
}

/// The first document of a text.
pub fn yaml(text: &str) -> Option<Value> {
    let read = manifest::read("", text.as_bytes());
    read.docs.into_iter().next().map(|doc| doc.value)
}
