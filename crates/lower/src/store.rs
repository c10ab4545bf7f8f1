//! What the sources said: the objects of each cluster, by kind, namespace and name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hawser_api::meta::Object;
use hawser_api::{Fault, Kind, ObjectRef, Resource, Timestamp};
use hawser_api::{core, extensions, gateway_api as gw, networking, security, status, telemetry};

/// Objects of one kind, by namespace (empty for cluster-wide kinds) and name.
#[derive(Clone, Debug)]
pub struct Table<S, T> {
    by_namespace: BTreeMap<String, BTreeMap<String, Arc<Object<S, T>>>>,
}

impl<S, T> Default for Table<S, T> {
    fn default() -> Self {
        Self {
            by_namespace: BTreeMap::new(),
        }
    }
}

impl<S, T> Table<S, T> {
    /// The object of that name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<&Arc<Object<S, T>>> {
        self.by_namespace.get(namespace)?.get(name)
    }

    /// All, in order of namespace and name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Object<S, T>>> {
        self.by_namespace.values().flat_map(BTreeMap::values)
    }

    /// Those of one namespace, in order of name.
    pub fn of(&self, namespace: &str) -> impl Iterator<Item = &Arc<Object<S, T>>> {
        self.by_namespace
            .get(namespace)
            .into_iter()
            .flat_map(BTreeMap::values)
    }

    fn put(&mut self, object: Arc<Object<S, T>>) -> Option<Arc<Object<S, T>>> {
        self.by_namespace
            .entry(object.meta.namespace.clone())
            .or_default()
            .insert(object.meta.name.clone(), object)
    }

    fn take(&mut self, namespace: &str, name: &str) -> Option<Arc<Object<S, T>>> {
        let names = self.by_namespace.get_mut(namespace)?;
        let taken = names.remove(name);
        if names.is_empty() {
            self.by_namespace.remove(namespace);
        }
        taken
    }
}

macro_rules! objects {
    ($( $field:ident: $Kind:ident($spec:ty, $status:ty); )*) => {
        /// The objects of one source that matter to the mesh; other kinds are not kept.
        #[derive(Clone, Debug, Default)]
        pub struct Objects {
            $( #[allow(missing_docs)] pub $field: Table<$spec, $status>, )*
            /// Names of the EndpointSlices of each service, by namespace and service name.
            slices_of: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
        }

        impl Objects {
            /// The kinds that are kept: what a control plane has to watch.
            pub const KINDS: &'static [Kind] = &[$( Kind::$Kind, )*];

            fn put_object(&mut self, resource: Resource) -> Option<Resource> {
                match resource {
                    $( Resource::$Kind(object) => self.$field.put(object).map(Resource::$Kind), )*
                    _ => None,
                }
            }

            fn take_object(&mut self, object: &ObjectRef) -> Option<Resource> {
                match object.kind {
                    $( Kind::$Kind => self.$field.take(&object.namespace, &object.name).map(Resource::$Kind), )*
                    _ => None,
                }
            }

            /// Names of all objects of a kind.
            pub fn names(&self, kind: Kind) -> BTreeSet<ObjectRef> {
                match kind {
                    $( Kind::$Kind => self.$field.iter().map(|o| ObjectRef {
                        kind,
                        namespace: o.meta.namespace.clone(),
                        name: o.meta.name.clone(),
                    }).collect(), )*
                    _ => BTreeSet::new(),
                }
            }
        }
    };
}

objects! {
    virtual_services: VirtualService(networking::VirtualService, status::IstioStatus);
    destination_rules: DestinationRule(networking::DestinationRule, status::IstioStatus);
    gateways: Gateway(networking::Gateway, status::IstioStatus);
    service_entries: ServiceEntry(networking::ServiceEntry, status::ServiceEntryStatus);
    workload_entries: WorkloadEntry(networking::WorkloadEntry, status::IstioStatus);
    sidecars: Sidecar(networking::Sidecar, status::IstioStatus);
    envoy_filters: EnvoyFilter(networking::EnvoyFilter, status::IstioStatus);
    peer_authentications: PeerAuthentication(security::PeerAuthentication, status::IstioStatus);
    request_authentications: RequestAuthentication(security::RequestAuthentication, status::IstioStatus);
    authorization_policies: AuthorizationPolicy(security::AuthorizationPolicy, status::IstioStatus);
    telemetries: Telemetry(telemetry::Telemetry, status::IstioStatus);
    wasm_plugins: WasmPlugin(extensions::WasmPlugin, status::IstioStatus);
    traffic_extensions: TrafficExtension(extensions::TrafficExtension, status::IstioStatus);
    proxy_configs: ProxyConfig(networking::ProxyConfig, status::IstioStatus);
    gateway_classes: GatewayClass(gw::GatewayClassSpec, gw::GatewayClassStatus);
    k8s_gateways: K8sGateway(gw::GatewaySpec, gw::GatewayStatus);
    listener_sets: ListenerSet(gw::ListenerSetSpec, gw::ListenerSetStatus);
    http_routes: HttpRoute(gw::HttpRouteSpec, gw::RouteStatus);
    grpc_routes: GrpcRoute(gw::GrpcRouteSpec, gw::RouteStatus);
    tls_routes: TlsRoute(gw::TlsRouteSpec, gw::RouteStatus);
    tcp_routes: TcpRoute(gw::TcpRouteSpec, gw::RouteStatus);
    reference_grants: ReferenceGrant(gw::ReferenceGrantSpec, ());
    backend_tls_policies: BackendTlsPolicy(gw::BackendTlsPolicySpec, gw::PolicyStatus);
    namespaces: Namespace(core::NamespaceSpec, core::NamespaceStatus);
    nodes: Node(core::NodeSpec, core::NodeStatus);
    services: Service(core::ServiceSpec, core::ServiceStatus);
    pods: Pod(core::PodSpec, core::PodStatus);
    secrets: Secret(core::Secret, ());
    config_maps: ConfigMap(core::ConfigMap, ());
    endpoint_slices: EndpointSlice(core::EndpointSlice, ());
    ingresses: Ingress(core::IngressSpec, core::IngressStatus);
    ingress_classes: IngressClass(core::IngressClassSpec, ());
}

/// The label of an EndpointSlice that names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

impl Objects {
    /// Puts an object in its place and gives back what stood there.
    pub fn put(&mut self, resource: Resource) -> Option<Resource> {
        if let Resource::EndpointSlice(slice) = &resource
            && let Some(service) = slice.label(SERVICE_NAME)
        {
            self.slices_of
                .entry(slice.meta.namespace.clone())
                .or_default()
                .entry(service.to_owned())
                .or_default()
                .insert(slice.meta.name.clone());
        }
        let new_service = service_of(&resource).map(str::to_owned);
        let old = self.put_object(resource);
        if let Some(old) = &old
            && service_of(old) != new_service.as_deref()
        {
            self.forget_slice(old);
        }
        old
    }

    /// Takes an object away and gives it back.
    pub fn take(&mut self, object: &ObjectRef) -> Option<Resource> {
        let old = self.take_object(object);
        if let Some(old) = &old {
            self.forget_slice(old);
        }
        old
    }

    /// The EndpointSlices of a service, in order of name.
    pub fn slices_of(
        &self,
        namespace: &str,
        service: &str,
    ) -> impl Iterator<Item = &Arc<Object<core::EndpointSlice>>> {
        self.slices_of
            .get(namespace)
            .and_then(|services| services.get(service))
            .into_iter()
            .flatten()
            .filter_map(move |name| self.endpoint_slices.get(namespace, name))
    }

    fn forget_slice(&mut self, old: &Resource) {
        let Resource::EndpointSlice(slice) = old else {
            return;
        };
        let Some(service) = slice.label(SERVICE_NAME) else {
            return;
        };
        let Some(services) = self.slices_of.get_mut(&slice.meta.namespace) else {
            return;
        };
        if let Some(names) = services.get_mut(service) {
            names.remove(&slice.meta.name);
            if names.is_empty() {
                services.remove(service);
            }
        }
        if services.is_empty() {
            self.slices_of.remove(&slice.meta.namespace);
        }
    }
}

/// The service that an EndpointSlice belongs to.
pub(crate) fn service_of(resource: &Resource) -> Option<&str> {
    match resource {
        Resource::EndpointSlice(slice) => slice.label(SERVICE_NAME),
        _ => None,
    }
}

/// One source and what it said.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// Its objects.
    pub objects: Objects,
    /// Last resourceVersion by kind.
    pub versions: BTreeMap<Kind, String>,
    /// Objects that could not be read, and why; what was known of them before is still in `objects`.
    pub refused: BTreeMap<ObjectRef, Vec<Fault>>,
    /// Since when it does not answer.
    pub lost_since: Option<Timestamp>,
}
