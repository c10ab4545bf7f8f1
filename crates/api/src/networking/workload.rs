//! WorkloadEntry, WorkloadGroup and ProxyConfig: workloads outside Kubernetes, and how their proxies start.

use crate::message::message;
use crate::meta::Labels;
use crate::rules;
use crate::selector::LabelSelector;
use std::collections::BTreeMap;

message! {
    pub struct WorkloadEntry {
        /// An IP, a host name, or `unix:///path`; may be empty where `network` says the gateway.
        address: String [MaxLength(256), Cel(&rules::UDS_ABSOLUTE), Cel(&rules::UDS_NOT_DIR)],
        /// Port by the service port's name.
        ports: BTreeMap<String, u32> [MaxProperties(128), Each(&[Cel(&rules::PORT)]), Cel(&rules::PORT_NAMES)],
        labels: Labels [MaxProperties(256)],
        network: String [MaxLength(2048)],
        /// `region/zone/subzone`.
        locality: String [MaxLength(2048)],
        weight: u32,
        service_account: String [MaxLength(253)],
    }
    rule Cel(&rules::UDS_WITHOUT_PORTS);

    pub struct WorkloadGroup {
        metadata: Option<WorkloadGroupMeta>,
        template: Option<WorkloadEntry> [Required],
        probe: Option<ReadinessProbe>,
    }

    pub struct WorkloadGroupMeta {
        labels: Labels [MaxProperties(256)],
        annotations: Labels [MaxProperties(256)],
    }

    pub struct ReadinessProbe {
        initial_delay_seconds: i32 [Min(0)],
        timeout_seconds: i32 [Min(0)],
        period_seconds: i32 [Min(0)],
        success_threshold: i32 [Min(0)],
        failure_threshold: i32 [Min(0)],
        http_get: Option<HttpHealthCheck>,
        tcp_socket: Option<TcpHealthCheck>,
        exec: Option<ExecHealthCheck>,
        grpc: Option<GrpcHealthCheck>,
    }
    oneof [http_get, tcp_socket, exec, grpc]

    pub struct HttpHealthCheck {
        path: String,
        port: u32 [Required, Cel(&rules::PORT)],
        host: String,
        scheme: String [Cel(&rules::PROBE_SCHEME)],
        http_headers: Vec<HttpHeader>,
    }

    pub struct HttpHeader {
        name: String [Pattern("^[-_A-Za-z0-9]+$")],
        value: String,
    }

    pub struct TcpHealthCheck {
        host: String,
        port: u32 [Required, Cel(&rules::PORT)],
    }

    pub struct ExecHealthCheck {
        command: Vec<String> [Required, Each(&[MinLength(1)])],
    }

    pub struct GrpcHealthCheck {
        port: u32 [Cel(&rules::PORT)],
        service: String,
    }

    pub struct ProxyConfig {
        selector: Option<LabelSelector>,
        concurrency: Option<i32> [Min(0)],
        environment_variables: BTreeMap<String, String> [Each(&[MaxLength(2048)])],
        image: Option<ProxyImage>,
    }

    pub struct ProxyImage {
        /// `default`, `debug` or `distroless`.
        image_type: String,
    }
}
