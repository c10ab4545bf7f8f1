//! Sidecar (`networking/v1alpha3/sidecar.proto`).

use crate::message::{choice, message};
use crate::networking::{ConnectionPoolSettings, Destination, ServerTlsSettings};
use crate::selector::WorkloadSelector;

message! {
    pub struct Sidecar {
        workload_selector: Option<WorkloadSelector>,
        ingress: Vec<IstioIngressListener>,
        egress: Vec<IstioEgressListener>,
        inbound_connection_pool: Option<ConnectionPoolSettings>,
        outbound_traffic_policy: Option<OutboundTrafficPolicy>,
    }

    pub struct IstioIngressListener {
        port: Option<SidecarPort> [Required],
        bind: String,
        capture_mode: CaptureMode,
        /// `127.0.0.1:PORT`, `0.0.0.0:PORT`, `[::1]:PORT`, `[::]:PORT` or `unix:///path`.
        default_endpoint: String,
        tls: Option<ServerTlsSettings>,
        connection_pool: Option<ConnectionPoolSettings>,
    }

    pub struct IstioEgressListener {
        port: Option<SidecarPort>,
        bind: String,
        capture_mode: CaptureMode,
        /// `namespace/host`; the namespace may be `.`, `*` or `~`.
        hosts: Vec<String> [Required],
    }

    pub struct SidecarPort {
        number: u32,
        protocol: String,
        name: String,
        /// Deprecated.
        target_port: u32,
    }

    pub struct OutboundTrafficPolicy {
        mode: OutboundMode,
        egress_proxy: Option<Destination>,
    }
}

choice! {
    pub enum CaptureMode {
        Default = "DEFAULT",
        Iptables = "IPTABLES",
        None = "NONE",
    }

    pub enum OutboundMode {
        RegistryOnly = "REGISTRY_ONLY",
        AllowAny = "ALLOW_ANY",
    }
}
