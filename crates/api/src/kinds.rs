//! The one table of kinds that Hawser knows; `Kind`, `Resource` and parsing follow from it.

use crate::message::{Fault, FaultKind, Field, Reader};
use crate::meta::{Meta, Object};
use crate::status::{IstioStatus, ServiceEntryStatus};
use crate::{apps, core, extensions, gateway_api, networking, security, telemetry};
use serde_json::{Map, Value};
use std::fmt;
use std::sync::{Arc, LazyLock};

/// Whose API a kind belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Istio,
    GatewayApi,
    Kubernetes,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct KindInfo {
    /// Empty for the core group.
    pub group: &'static str,
    /// Served versions, oldest first; the last is the preferred one.
    pub versions: &'static [&'static str],
    /// The `kind` of objects.
    pub name: &'static str,
    pub plural: &'static str,
    pub short_names: &'static [&'static str],
    pub namespaced: bool,
    pub categories: &'static [&'static str],
    pub origin: Origin,
    /// Whether the kind has a `spec` (else its own fields are at the top).
    pub has_spec: bool,
}

impl KindInfo {
    /// The preferred version.
    pub fn version(&self) -> &'static str {
        self.versions.last().copied().unwrap_or_default()
    }

    /// The preferred `apiVersion`, such as `networking.istio.io/v1` or `v1`.
    pub fn api_version(&self) -> String {
        api_version(self.group, self.version())
    }

    pub fn singular(&self) -> String {
        self.name.to_ascii_lowercase()
    }

    /// The CRD's name, `plural.group`.
    pub fn crd_name(&self) -> String {
        format!("{}.{}", self.plural, self.group)
    }
}

fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

/// Names one object of a kind that Hawser knows. Cluster-wide kinds have an empty namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    pub kind: Kind,
    pub namespace: String,
    pub name: String,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// What came out of one document.
#[derive(Clone, Debug)]
pub struct Parsed {
    pub resource: Resource,
    /// The version that the document was written in.
    pub version: String,
    /// Faults that leave the object usable: unknown fields.
    pub faults: Vec<Fault>,
}

/// Why a document is not an object that Hawser can use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("not a Kubernetes object: {0}")]
    NotAnObject(&'static str),
    #[error("kind {kind} of {api_version} is not known")]
    UnknownKind { api_version: String, kind: String },
    #[error("{kind} has no version {version}; versions are {served}")]
    UnknownVersion {
        kind: Kind,
        version: String,
        served: String,
    },
    #[error("{object}: {}", first(.faults))]
    Invalid {
        object: ObjectRef,
        faults: Vec<Fault>,
    },
}

impl ParseError {
    /// What may have been meant; empty if nothing is near.
    pub fn help(&self) -> String {
        match self {
            ParseError::UnknownKind { kind, .. } => {
                let names: Vec<&str> = Kind::ALL.iter().map(|k| k.info().name).collect();
                let near = crate::message::nearest(kind, &names);
                let near = near.and_then(|name| Kind::ALL.iter().find(|k| k.info().name == name));
                near.map_or_else(String::new, |k| {
                    let info = k.info();
                    format!("did you mean {} of {}?", info.name, info.api_version())
                })
            }
            ParseError::UnknownVersion { kind, .. } => {
                format!("write apiVersion: {}", kind.info().api_version())
            }
            ParseError::NotAnObject(_) | ParseError::Invalid { .. } => String::new(),
        }
    }
}

fn first(faults: &[Fault]) -> String {
    faults
        .iter()
        .find(|f| !f.harmless())
        .map_or_else(String::new, Fault::to_string)
}

macro_rules! kinds {
    ($(
        $Variant:ident($spec:ty, $status:ty) = $body:ident, $origin:ident, $group:literal, [$($version:literal),+], $name:literal, $plural:literal,
        [$($short:literal),*], $scope:ident, [$($category:literal),*];
    )*) => {
        /// A kind that Hawser knows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind { $($Variant),* }

        /// An object of a kind that Hawser knows.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Resource { $($Variant(Arc<Object<$spec, $status>>)),* }

        impl Kind {
            pub const ALL: &'static [Kind] = &[$(Kind::$Variant),*];

            /// The kind's row.
            pub fn info(self) -> &'static KindInfo {
                match self {
                    $(Kind::$Variant => const { &KindInfo {
                        group: $group,
                        versions: &[$($version),+],
                        name: $name,
                        plural: $plural,
                        short_names: &[$($short),*],
                        namespaced: scope!($scope),
                        categories: &[$($category),*],
                        origin: Origin::$origin,
                        has_spec: has_spec!($body),
                    } }),*
                }
            }

            /// The shape of the kind's `spec`, or of its own fields where there is none. Built once.
            pub fn spec_shape(self) -> &'static crate::shape::Shape {
                match self {
                    $(Kind::$Variant => {
                        static SHAPE: LazyLock<crate::shape::Shape> = LazyLock::new(<$spec as Field>::shape);
                        &SHAPE
                    }),*
                }
            }

            pub fn status_shape(self) -> crate::shape::Shape {
                match self { $(Kind::$Variant => <$status as Field>::shape()),* }
            }
        }

        impl Resource {
            pub fn kind(&self) -> Kind {
                match self { $(Resource::$Variant(_) => Kind::$Variant),* }
            }

            pub fn meta(&self) -> &Meta {
                match self { $(Resource::$Variant(object) => &object.meta),* }
            }

            /// The object as JSON, in the kind's preferred version.
            pub fn to_value(&self) -> Value {
                match self { $(Resource::$Variant(object) => write(Kind::$Variant, object)),* }
            }

            fn read(kind: Kind, value: Value) -> (Resource, Vec<Fault>) {
                match kind {
                    $(Kind::$Variant => {
                        let (object, faults) = read(value, has_spec!($body));
                        (Resource::$Variant(Arc::new(object)), faults)
                    }),*
                }
            }
        }
    };
}

macro_rules! scope {
    (Namespaced) => {
        true
    };
    (Cluster) => {
        false
    };
}

macro_rules! has_spec {
    (spec) => {
        true
    };
    (flat) => {
        false
    };
}

kinds! {
    VirtualService(networking::VirtualService, IstioStatus) = spec, Istio, "networking.istio.io", ["v1alpha3", "v1beta1", "v1"],
        "VirtualService", "virtualservices", ["vs"], Namespaced, ["istio-io", "networking-istio-io"];
    DestinationRule(networking::DestinationRule, IstioStatus) = spec, Istio, "networking.istio.io", ["v1alpha3", "v1beta1", "v1"],
        "DestinationRule", "destinationrules", ["dr"], Namespaced, ["istio-io", "networking-istio-io"];
    Gateway(networking::Gateway, IstioStatus) = spec, Istio, "networking.istio.io", ["v1alpha3", "v1beta1", "v1"],
        "Gateway", "gateways", ["gw"], Namespaced, ["istio-io", "networking-istio-io"];
    ServiceEntry(networking::ServiceEntry, ServiceEntryStatus) = spec, Istio, "networking.istio.io", ["v1alpha3", "v1beta1", "v1"],
        "ServiceEntry", "serviceentries", ["se"], Namespaced, ["istio-io", "networking-istio-io"];
    WorkloadEntry(networking::WorkloadEntry, IstioStatus) = spec, Istio, "networking.istio.io", ["v1alpha3", "v1beta1", "v1"],
        "WorkloadEntry", "workloadentries", ["we"], Namespaced, ["istio-io", "networking-istio-io"];
    WorkloadGroup(networking::WorkloadGroup, IstioStatus) = spec, Istio, "networking.istio.io", ["v1alpha3", "v1beta1", "v1"],
        "WorkloadGroup", "workloadgroups", ["wg"], Namespaced, ["istio-io", "networking-istio-io"];
    Sidecar(networking::Sidecar, IstioStatus) = spec, Istio, "networking.istio.io", ["v1alpha3", "v1beta1", "v1"],
        "Sidecar", "sidecars", [], Namespaced, ["istio-io", "networking-istio-io"];
    EnvoyFilter(networking::EnvoyFilter, IstioStatus) = spec, Istio, "networking.istio.io", ["v1alpha3"],
        "EnvoyFilter", "envoyfilters", [], Namespaced, ["istio-io", "networking-istio-io"];
    ProxyConfig(networking::ProxyConfig, IstioStatus) = spec, Istio, "networking.istio.io", ["v1beta1"],
        "ProxyConfig", "proxyconfigs", [], Namespaced, ["istio-io", "networking-istio-io"];
    PeerAuthentication(security::PeerAuthentication, IstioStatus) = spec, Istio, "security.istio.io", ["v1beta1", "v1"],
        "PeerAuthentication", "peerauthentications", ["pa"], Namespaced, ["istio-io", "security-istio-io"];
    RequestAuthentication(security::RequestAuthentication, IstioStatus) = spec, Istio, "security.istio.io", ["v1beta1", "v1"],
        "RequestAuthentication", "requestauthentications", ["ra"], Namespaced, ["istio-io", "security-istio-io"];
    AuthorizationPolicy(security::AuthorizationPolicy, IstioStatus) = spec, Istio, "security.istio.io", ["v1beta1", "v1"],
        "AuthorizationPolicy", "authorizationpolicies", ["ap"], Namespaced, ["istio-io", "security-istio-io"];
    Telemetry(telemetry::Telemetry, IstioStatus) = spec, Istio, "telemetry.istio.io", ["v1alpha1", "v1"],
        "Telemetry", "telemetries", ["telemetry"], Namespaced, ["istio-io", "telemetry-istio-io"];
    WasmPlugin(extensions::WasmPlugin, IstioStatus) = spec, Istio, "extensions.istio.io", ["v1alpha1"],
        "WasmPlugin", "wasmplugins", [], Namespaced, ["istio-io", "extensions-istio-io"];
    TrafficExtension(extensions::TrafficExtension, IstioStatus) = spec, Istio, "extensions.istio.io", ["v1alpha1"],
        "TrafficExtension", "trafficextensions", [], Namespaced, ["istio-io", "extensions-istio-io"];

    GatewayClass(gateway_api::GatewayClassSpec, gateway_api::GatewayClassStatus) = spec, GatewayApi, "gateway.networking.k8s.io", ["v1beta1", "v1"],
        "GatewayClass", "gatewayclasses", ["gc"], Cluster, ["gateway-api"];
    K8sGateway(gateway_api::GatewaySpec, gateway_api::GatewayStatus) = spec, GatewayApi, "gateway.networking.k8s.io", ["v1beta1", "v1"],
        "Gateway", "gateways", ["gtw"], Namespaced, ["gateway-api"];
    ListenerSet(gateway_api::ListenerSetSpec, gateway_api::ListenerSetStatus) = spec, GatewayApi, "gateway.networking.k8s.io", ["v1"],
        "ListenerSet", "listenersets", ["lset"], Namespaced, ["gateway-api"];
    HttpRoute(gateway_api::HttpRouteSpec, gateway_api::RouteStatus) = spec, GatewayApi, "gateway.networking.k8s.io", ["v1beta1", "v1"],
        "HTTPRoute", "httproutes", [], Namespaced, ["gateway-api"];
    GrpcRoute(gateway_api::GrpcRouteSpec, gateway_api::RouteStatus) = spec, GatewayApi, "gateway.networking.k8s.io", ["v1"],
        "GRPCRoute", "grpcroutes", [], Namespaced, ["gateway-api"];
    TlsRoute(gateway_api::TlsRouteSpec, gateway_api::RouteStatus) = spec, GatewayApi, "gateway.networking.k8s.io", ["v1alpha2", "v1alpha3", "v1"],
        "TLSRoute", "tlsroutes", [], Namespaced, ["gateway-api"];
    TcpRoute(gateway_api::TcpRouteSpec, gateway_api::RouteStatus) = spec, GatewayApi, "gateway.networking.k8s.io", ["v1alpha2"],
        "TCPRoute", "tcproutes", [], Namespaced, ["gateway-api"];
    ReferenceGrant(gateway_api::ReferenceGrantSpec, ()) = spec, GatewayApi, "gateway.networking.k8s.io", ["v1beta1", "v1"],
        "ReferenceGrant", "referencegrants", ["refgrant"], Namespaced, ["gateway-api"];
    BackendTlsPolicy(gateway_api::BackendTlsPolicySpec, gateway_api::PolicyStatus) = spec, GatewayApi, "gateway.networking.k8s.io", ["v1alpha3", "v1"],
        "BackendTLSPolicy", "backendtlspolicies", ["btlspolicy"], Namespaced, ["gateway-api"];

    Namespace(core::NamespaceSpec, core::NamespaceStatus) = spec, Kubernetes, "", ["v1"], "Namespace", "namespaces", ["ns"], Cluster, [];
    Node(core::NodeSpec, core::NodeStatus) = spec, Kubernetes, "", ["v1"], "Node", "nodes", ["no"], Cluster, [];
    Service(core::ServiceSpec, core::ServiceStatus) = spec, Kubernetes, "", ["v1"], "Service", "services", ["svc"], Namespaced, ["all"];
    Endpoints(core::Endpoints, ()) = flat, Kubernetes, "", ["v1"], "Endpoints", "endpoints", ["ep"], Namespaced, [];
    Pod(core::PodSpec, core::PodStatus) = spec, Kubernetes, "", ["v1"], "Pod", "pods", ["po"], Namespaced, ["all"];
    Secret(core::Secret, ()) = flat, Kubernetes, "", ["v1"], "Secret", "secrets", [], Namespaced, [];
    ConfigMap(core::ConfigMap, ()) = flat, Kubernetes, "", ["v1"], "ConfigMap", "configmaps", ["cm"], Namespaced, [];
    ServiceAccount(core::ServiceAccount, ()) = flat, Kubernetes, "", ["v1"], "ServiceAccount", "serviceaccounts", ["sa"], Namespaced, [];
    EndpointSlice(core::EndpointSlice, ()) = flat, Kubernetes, "discovery.k8s.io", ["v1"],
        "EndpointSlice", "endpointslices", [], Namespaced, [];
    Ingress(core::IngressSpec, core::IngressStatus) = spec, Kubernetes, "networking.k8s.io", ["v1"], "Ingress", "ingresses", ["ing"], Namespaced, [];
    IngressClass(core::IngressClassSpec, ()) = spec, Kubernetes, "networking.k8s.io", ["v1"], "IngressClass", "ingressclasses", [], Cluster, [];
    Deployment(apps::WorkloadSpec, apps::WorkloadStatus) = spec, Kubernetes, "apps", ["v1"], "Deployment", "deployments", ["deploy"], Namespaced, ["all"];
    ReplicaSet(apps::WorkloadSpec, apps::WorkloadStatus) = spec, Kubernetes, "apps", ["v1"], "ReplicaSet", "replicasets", ["rs"], Namespaced, ["all"];
    StatefulSet(apps::WorkloadSpec, apps::WorkloadStatus) = spec, Kubernetes, "apps", ["v1"], "StatefulSet", "statefulsets", ["sts"], Namespaced, ["all"];
    DaemonSet(apps::WorkloadSpec, apps::WorkloadStatus) = spec, Kubernetes, "apps", ["v1"], "DaemonSet", "daemonsets", ["ds"], Namespaced, ["all"];
    MutatingWebhookConfiguration(apps::WebhookConfiguration, ()) = flat, Kubernetes, "admissionregistration.k8s.io", ["v1"],
        "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", [], Cluster, ["api-extensions"];
    ValidatingWebhookConfiguration(apps::WebhookConfiguration, ()) = flat, Kubernetes, "admissionregistration.k8s.io", ["v1"],
        "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", [], Cluster, ["api-extensions"];
    CustomResourceDefinition(apps::CrdSpec, ()) = spec, Kubernetes, "apiextensions.k8s.io", ["v1"],
        "CustomResourceDefinition", "customresourcedefinitions", ["crd", "crds"], Cluster, ["api-extensions"];
}

impl Kind {
    /// The kind named `kind` of `group`, whatever the version.
    pub fn find(group: &str, kind: &str) -> Option<Kind> {
        Kind::ALL
            .iter()
            .copied()
            .find(|k| k.info().name == kind && k.info().group == group)
    }

    /// The kind that a document with this `apiVersion` and `kind` has.
    pub fn of(api_version: &str, kind: &str) -> Result<Kind, ParseError> {
        // Old manifests: the same fields, under the group that these kinds began in.
        let api_version = match (api_version, kind) {
            ("extensions/v1beta1", "Deployment" | "ReplicaSet" | "DaemonSet") => "apps/v1",
            _ => api_version,
        };
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let found = Kind::find(group, kind).ok_or_else(|| ParseError::UnknownKind {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
        })?;
        let served = found.info().versions;
        if served.contains(&version) {
            Ok(found)
        } else {
            Err(ParseError::UnknownVersion {
                kind: found,
                version: version.to_owned(),
                served: served.join(", "),
            })
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.info().name)
    }
}

impl Resource {
    pub fn object_ref(&self) -> ObjectRef {
        let meta = self.meta();
        ObjectRef {
            kind: self.kind(),
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
        }
    }
}

fn read<S: Field, T: Field>(value: Value, has_spec: bool) -> (Object<S, T>, Vec<Fault>) {
    let mut cx = Reader::new();
    let mut map = cx.object(value, Vec::new).unwrap_or_default();
    map.remove("apiVersion");
    map.remove("kind");
    cx.enter("metadata".to_owned());
    let meta = Meta::read(map.remove("metadata").unwrap_or_default(), &mut cx);
    cx.leave();
    // What a controller wrote must not make the user's object unusable.
    let status = T::read(map.remove("status").unwrap_or_default(), &mut Reader::new());
    let spec = if has_spec {
        cx.enter("spec".to_owned());
        let spec = S::read(map.remove("spec").unwrap_or_default(), &mut cx);
        cx.leave();
        for (key, _) in map {
            cx.unknown(key, &["apiVersion", "kind", "metadata", "spec", "status"]);
        }
        spec
    } else {
        S::read(Value::Object(map), &mut cx)
    };
    (Object { meta, spec, status }, cx.finish())
}

fn write<S: Field, T: Field>(kind: Kind, object: &Object<S, T>) -> Value {
    let info = kind.info();
    let mut map = Map::new();
    map.insert("apiVersion".to_owned(), Value::String(info.api_version()));
    map.insert("kind".to_owned(), Value::String(info.name.to_owned()));
    map.insert("metadata".to_owned(), object.meta.write());
    if info.has_spec {
        map.insert("spec".to_owned(), object.spec.write());
    } else if let Value::Object(fields) = object.spec.write() {
        map.extend(fields);
    }
    if !object.status.is_default() {
        map.insert("status".to_owned(), object.status.write());
    }
    Value::Object(map)
}

/// Reads one Kubernetes object of any served version of a known kind.
///
/// Unknown fields come back in [`Parsed::faults`]; anything that would change the object's meaning (a wrong type, a bad
/// enum, two members of a oneof) is [`ParseError::Invalid`] with every fault found.
pub fn parse(value: Value) -> Result<Parsed, ParseError> {
    let Value::Object(map) = &value else {
        return Err(ParseError::NotAnObject("it is not a JSON object"));
    };
    let text = |key: &str| {
        map.get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let (written, kind) = (text("apiVersion"), text("kind"));
    if written.is_empty() {
        return Err(ParseError::NotAnObject("it has no apiVersion"));
    }
    if kind.is_empty() {
        return Err(ParseError::NotAnObject("it has no kind"));
    }
    let kind = Kind::of(&written, &kind)?;
    let (resource, faults) = Resource::read(kind, value);
    if faults.iter().any(|f| f.kind != FaultKind::UnknownField) {
        return Err(ParseError::Invalid {
            object: resource.object_ref(),
            faults,
        });
    }
    let version = written.rsplit('/').next().unwrap_or_default().to_owned();
    Ok(Parsed {
        resource,
        version,
        faults,
    })
}
