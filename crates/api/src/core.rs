//! The Kubernetes kinds that the control plane and the analyzers read, with the fields that they read.

use crate::message::message;
use crate::meta::Labels;
use crate::scalar::{Bytes, IntOrString, Timestamp};
use crate::status::Condition;
use std::collections::BTreeMap;

message! {
    pub struct NamespaceSpec (slim) {}

    pub struct NamespaceStatus (slim) {
        /// `Active` or `Terminating`.
        phase: String,
    }

    pub struct NodeSpec (slim) {
        pod_cidr as "podCIDR": String,
        pod_cidrs as "podCIDRs": Vec<String>,
        provider_id as "providerID": String,
    }

    pub struct NodeStatus (slim) {
        addresses: Vec<NodeAddress>,
        conditions: Vec<Condition>,
    }

    pub struct NodeAddress (slim) {
        /// `InternalIP`, `ExternalIP`, `Hostname`, …
        type_: String,
        address: String,
    }

    pub struct ServiceSpec (slim) {
        /// `ClusterIP` (if empty), `NodePort`, `LoadBalancer` or `ExternalName`.
        type_: String,
        ports: Vec<ServicePort>,
        selector: Labels,
        /// An address, empty, or `None` for a headless service.
        cluster_ip as "clusterIP": String,
        cluster_ips as "clusterIPs": Vec<String>,
        external_ips as "externalIPs": Vec<String>,
        external_name: String,
        ip_families: Vec<String>,
        ip_family_policy: String,
        session_affinity: String,
        external_traffic_policy: String,
        internal_traffic_policy: String,
        traffic_distribution: String,
        publish_not_ready_addresses: bool,
        load_balancer_class: String,
        load_balancer_ip as "loadBalancerIP": String,
    }

    pub struct ServicePort (slim) {
        name: String,
        /// `TCP` (if empty), `UDP` or `SCTP`.
        protocol: String,
        app_protocol: Option<String>,
        port: i32,
        /// The service port itself if absent.
        target_port: Option<IntOrString>,
        node_port: i32,
    }

    pub struct ServiceStatus (slim) {
        load_balancer: LoadBalancerStatus,
        conditions: Vec<Condition>,
    }

    pub struct LoadBalancerStatus (slim) {
        ingress: Vec<LoadBalancerIngress>,
    }

    pub struct LoadBalancerIngress (slim) {
        ip: String,
        hostname: String,
        ip_mode: String,
    }

    pub struct Endpoints (slim) {
        subsets: Vec<EndpointSubset>,
    }

    pub struct EndpointSubset (slim) {
        addresses: Vec<EndpointAddress>,
        not_ready_addresses: Vec<EndpointAddress>,
        ports: Vec<EndpointPort>,
    }

    pub struct EndpointAddress (slim) {
        ip: String,
        hostname: String,
        node_name: String,
        target_ref: Option<ObjectReference>,
    }

    pub struct EndpointPort (slim) {
        name: String,
        port: Option<i32>,
        protocol: String,
        app_protocol: Option<String>,
    }

    pub struct ObjectReference (slim) {
        kind: String,
        namespace: String,
        name: String,
        uid: String,
    }

    pub struct EndpointSlice (slim) {
        /// `IPv4`, `IPv6` or `FQDN`.
        address_type: String,
        endpoints: Vec<Endpoint>,
        ports: Vec<EndpointPort>,
    }

    pub struct Endpoint (slim) {
        addresses: Vec<String>,
        conditions: EndpointConditions,
        hostname: String,
        node_name: String,
        zone: String,
        target_ref: Option<ObjectReference>,
    }

    /// Unknown is to be taken as ready.
    pub struct EndpointConditions (slim) {
        ready: Option<bool>,
        serving: Option<bool>,
        terminating: Option<bool>,
    }

    pub struct PodSpec (slim) {
        containers: Vec<Container>,
        init_containers: Vec<Container>,
        service_account_name: String,
        node_name: String,
        host_network: bool,
        hostname: String,
        subdomain: String,
        security_context: Option<SecurityContext>,
    }

    pub struct Container (slim) {
        name: String,
        image: String,
        command: Vec<String>,
        args: Vec<String>,
        ports: Vec<ContainerPort>,
        env: Vec<EnvVar>,
        security_context: Option<SecurityContext>,
        restart_policy: String,
    }

    pub struct EnvVar (slim) {
        name: String,
        value: String,
    }

    pub struct ContainerPort (slim) {
        name: String,
        container_port: i32,
        protocol: String,
    }

    pub struct SecurityContext (slim) {
        run_as_user: Option<i64>,
        run_as_group: Option<i64>,
    }

    pub struct PodStatus (slim) {
        /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
        phase: String,
        reason: String,
        pod_ip as "podIP": String,
        pod_ips as "podIPs": Vec<PodIp>,
        host_ip as "hostIP": String,
        conditions: Vec<Condition>,
        start_time: Option<Timestamp>,
    }

    pub struct PodIp (slim) {
        ip: String,
    }

    /// Values print as their length only.
    pub struct Secret (slim) {
        type_: String,
        data: BTreeMap<String, Bytes>,
        string_data: BTreeMap<String, SecretText>,
        immutable: Option<bool>,
    }

    pub struct ConfigMap (slim) {
        data: BTreeMap<String, String>,
        binary_data: BTreeMap<String, Bytes>,
    }

    pub struct ServiceAccount (slim) {
        automount_service_account_token: Option<bool>,
    }

    pub struct IngressSpec (slim) {
        ingress_class_name: Option<String>,
        default_backend: Option<IngressBackend>,
        tls: Vec<IngressTls>,
        rules: Vec<IngressRule>,
    }

    pub struct IngressTls (slim) {
        hosts: Vec<String>,
        secret_name: String,
    }

    pub struct IngressRule (slim) {
        host: String,
        http: Option<HttpIngressRuleValue>,
    }

    pub struct HttpIngressRuleValue (slim) {
        paths: Vec<HttpIngressPath>,
    }

    pub struct HttpIngressPath (slim) {
        path: String,
        /// `Exact`, `Prefix` or `ImplementationSpecific`.
        path_type: String,
        backend: IngressBackend,
    }

    pub struct IngressBackend (slim) {
        service: Option<IngressServiceBackend>,
        resource: Option<serde_json::Value>,
    }

    pub struct IngressServiceBackend (slim) {
        name: String,
        port: IngressServiceBackendPort,
    }

    pub struct IngressServiceBackendPort (slim) {
        name: String,
        number: i32,
    }

    pub struct IngressStatus (slim) {
        load_balancer: LoadBalancerStatus,
    }

    pub struct IngressClassSpec (slim) {
        controller: String,
    }
}

/// A secret's value given in the clear. Never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretText(pub String);

impl std::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<{} bytes>", self.0.len())
    }
}

impl crate::message::Field for SecretText {
    fn read(value: serde_json::Value, cx: &mut crate::message::Reader) -> Self {
        match value {
            serde_json::Value::String(text) => SecretText(text),
            // The usual fault would quote the value.
            _ => {
                cx.fault(crate::message::FaultKind::Type, "must be a string", "");
                SecretText::default()
            }
        }
    }
    fn write(&self) -> serde_json::Value {
        serde_json::Value::String(self.0.clone())
    }
    fn is_default(&self) -> bool {
        self.0.is_empty()
    }
    fn shape() -> crate::shape::Shape {
        crate::shape::Shape::String
    }
}
