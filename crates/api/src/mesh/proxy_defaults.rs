//! `istio.mesh.v1alpha1.ProxyConfig`: how a proxy starts, in MeshConfig and in the annotation `proxy.istio.io/config`.

use crate::message::{choice, message};
use crate::networking::{ClientTlsSettings, TcpKeepalive};
use crate::scalar::Duration;
use std::collections::BTreeMap;

message! {
    /// `istio.mesh.v1alpha1.ProxyConfig` (called so here to tell it from the kind ProxyConfig).
    pub struct ProxyDefaults {
        config_path: String,
        binary_path: String,
        service_cluster: Option<String>,
        tracing_service_name: TracingServiceName,
        drain_duration: Option<Duration>,
        discovery_address: String,
        statsd_udp_address: String,
        proxy_admin_port: i32,
        control_plane_auth_policy: AuthenticationPolicy,
        custom_config_file: String,
        stat_name_length: i32,
        concurrency: Option<i32>,
        proxy_bootstrap_template_path: String,
        interception_mode: InterceptionMode,
        tracing: Option<TracingConfig>,
        envoy_access_log_service: Option<RemoteService>,
        envoy_metrics_service: Option<RemoteService>,
        proxy_metadata: BTreeMap<String, String>,
        runtime_values: BTreeMap<String, String>,
        status_port: i32,
        extra_stat_tags: Vec<String>,
        termination_drain_duration: Option<Duration>,
        mesh_id: String,
        readiness_probe: Option<serde_json::Value>,
        proxy_stats_matcher: Option<ProxyStatsMatcher>,
        hold_application_until_proxy_starts: Option<bool>,
        ca_certificates_pem: Vec<String>,
        image: Option<crate::networking::ProxyImage>,
        private_key_provider: Option<serde_json::Value>,
        proxy_headers: Option<ProxyHeaders>,
        file_flush_interval: Option<Duration>,
        file_flush_min_size_kb: Option<u32>,
        stats_compression: Option<bool>,
        stats_eviction_interval: Option<Duration>,
        gateway_topology: Option<Topology>,
        connection_settings: Option<serde_json::Value>,
        sds: Option<serde_json::Value>,
        zipkin_address: String,
        availability_zone: String,
        parent_shutdown_duration: Option<Duration>,
        connect_timeout: Option<Duration>,
    }

    /// How many proxies stand before this one, and what it does with client certificates' details.
    pub struct Topology {
        num_trusted_proxies: u32,
        forward_client_cert_details: ForwardClientCertDetails,
        proxy_protocol: Option<TopologyProxyProtocol>,
    }

    pub struct TopologyProxyProtocol {}

    pub struct RemoteService {
        address: String,
        tls_settings: Option<ClientTlsSettings>,
        tcp_keepalive: Option<TcpKeepalive>,
    }

    pub struct ProxyStatsMatcher {
        inclusion_prefixes: Vec<String>,
        inclusion_suffixes: Vec<String>,
        inclusion_regexps: Vec<String>,
    }

    pub struct TracingConfig {
        zipkin: Option<TracerAddress>,
        lightstep: Option<TracerAddress>,
        datadog: Option<TracerAddress>,
        stackdriver: Option<serde_json::Value>,
        open_census_agent: Option<serde_json::Value>,
        custom_tags: BTreeMap<String, crate::telemetry::CustomTag>,
        max_path_tag_length: u32,
        sampling: f64,
        tls_settings: Option<ClientTlsSettings>,
        enable_istio_tags: Option<bool>,
    }

    pub struct TracerAddress (slim) {
        address: String,
    }

    pub struct ProxyHeaders {
        forwarded_client_cert: ForwardClientCertDetails,
        set_current_client_cert_details: Option<SetCurrentClientCertDetails>,
        request_id: Option<HeaderSwitch>,
        server: Option<ServerHeader>,
        attempt_count: Option<HeaderSwitch>,
        envoy_debug_headers: Option<HeaderSwitch>,
        metadata_exchange_headers: Option<MetadataExchangeHeaders>,
        x_forwarded_host: Option<HeaderSwitch>,
        x_forwarded_port: Option<HeaderSwitch>,
        preserve_http1_header_case: Option<bool>,
    }

    pub struct HeaderSwitch {
        disabled: Option<bool>,
    }

    pub struct ServerHeader {
        value: String,
        disabled: Option<bool>,
    }

    pub struct MetadataExchangeHeaders {
        mode: MetadataExchangeMode,
    }

    pub struct SetCurrentClientCertDetails {
        subject: Option<bool>,
        cert: Option<bool>,
        chain: Option<bool>,
        dns: Option<bool>,
        uri: Option<bool>,
    }
}

choice! {
    pub enum TracingServiceName {
        AppLabelAndNamespace = "APP_LABEL_AND_NAMESPACE",
        CanonicalNameOnly = "CANONICAL_NAME_ONLY",
        CanonicalNameAndNamespace = "CANONICAL_NAME_AND_NAMESPACE",
    }

    pub enum AuthenticationPolicy {
        None = "NONE",
        MutualTls = "MUTUAL_TLS",
        Inherit = "INHERIT",
    }

    pub enum InterceptionMode {
        Redirect = "REDIRECT",
        Tproxy = "TPROXY",
        None = "NONE",
    }

    pub enum ForwardClientCertDetails {
        Undefined = "UNDEFINED",
        Sanitize = "SANITIZE",
        ForwardOnly = "FORWARD_ONLY",
        AppendForward = "APPEND_FORWARD",
        SanitizeSet = "SANITIZE_SET",
        AlwaysForwardOnly = "ALWAYS_FORWARD_ONLY",
    }

    pub enum MetadataExchangeMode {
        Undefined = "UNDEFINED",
        InMesh = "IN_MESH",
    }
}
