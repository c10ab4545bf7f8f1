//! MeshConfig, the proxy's defaults in it, and MeshNetworks (`mesh/v1alpha1`).

mod extension_provider;
mod proxy_defaults;

pub use extension_provider::*;
pub use proxy_defaults::*;

use crate::message::{Fault, choice, message, read};
use crate::networking::{
    ClientTlsSettings, HttpRetry, LocalityLoadBalancerSetting, TcpKeepalive, TlsProtocol,
    TrafficPolicy, ZoneAwareLoadBalancerSetting,
};
use crate::scalar::Duration;
use crate::selector::KubeSelector;
use serde_json::Value;
use std::collections::BTreeMap;

message! {
    /// `istio.mesh.v1alpha1.MeshConfig`, with defaults not filled in: the methods below know them.
    pub struct MeshConfig {
        proxy_listen_port: i32,
        proxy_inbound_listen_port: i32,
        proxy_http_port: i32,
        connect_timeout: Option<Duration>,
        tcp_keepalive: Option<TcpKeepalive>,
        ingress_class: String,
        ingress_service: String,
        ingress_controller_mode: IngressControllerMode,
        ingress_selector: String,
        enable_tracing: bool,
        access_log_file: String,
        access_log_format: String,
        access_log_encoding: AccessLogEncoding,
        enable_envoy_access_log_service: bool,
        disable_envoy_listener_log: bool,
        default_config: Option<ProxyDefaults>,
        outbound_traffic_policy: Option<MeshOutboundTrafficPolicy>,
        inbound_traffic_policy: Option<MeshInboundTrafficPolicy>,
        config_sources: Vec<ConfigSource>,
        enable_auto_mtls: Option<bool>,
        enable_prometheus_merge: Option<bool>,
        trust_domain: String,
        trust_domain_aliases: Vec<String>,
        ca_certificates: Vec<CertificateData>,
        ca: Option<ExternalCa>,
        default_service_export_to: Vec<String>,
        default_virtual_service_export_to: Vec<String>,
        default_destination_rule_export_to: Vec<String>,
        root_namespace: String,
        locality_lb_setting: Option<LocalityLoadBalancerSetting>,
        zone_aware_lb_setting: Option<ZoneAwareLoadBalancerSetting>,
        dns_refresh_rate: Option<Duration>,
        h2_upgrade_policy: MeshH2UpgradePolicy,
        inbound_cluster_stat_name: String,
        outbound_cluster_stat_name: String,
        service_settings: Vec<ServiceSettings>,
        service_scope_configs: Vec<ServiceScopeConfig>,
        service_entry_visibility: Option<Value>,
        extension_providers: Vec<ExtensionProvider>,
        default_providers: Option<DefaultProviders>,
        discovery_selectors: Vec<KubeSelector>,
        path_normalization: Option<ProxyPathNormalization>,
        default_http_retry_policy: Option<HttpRetry>,
        default_inbound_http_retry_policy: Option<HttpRetry>,
        default_traffic_policy: Option<TrafficPolicy>,
        mesh_mtls as "meshMTLS": Option<TlsConfig>,
        tls_defaults: Option<TlsConfig>,
        verify_certificate_at_client: Option<bool>,
        protocol_detection_timeout: Option<Duration>,
        thrift_config: Option<Value>,
        certificates: Vec<Value>,
        hbone_idle_timeout: Option<Duration>,
    }

    pub struct MeshOutboundTrafficPolicy {
        mode: Option<MeshOutboundMode>,
    }

    pub struct MeshInboundTrafficPolicy {
        mode: MeshInboundMode,
    }

    pub struct ConfigSource {
        address: String,
        tls_settings: Option<ClientTlsSettings>,
        subscribed_resources: Vec<String>,
    }

    pub struct CertificateData {
        pem: Option<String>,
        spiffe_bundle_url: Option<String>,
        cert_signers: Vec<String>,
        trust_domains: Vec<String>,
    }
    oneof [pem, spiffe_bundle_url]

    pub struct ExternalCa {
        address: String,
        tls_settings: Option<ClientTlsSettings>,
        request_timeout: Option<Duration>,
        istiod_side: bool,
    }

    pub struct ServiceSettings {
        settings: Option<Settings>,
        hosts: Vec<String>,
    }

    pub struct Settings {
        cluster_local: bool,
    }

    pub struct ServiceScopeConfig {
        namespace_selector: Option<KubeSelector>,
        services_selector: Option<KubeSelector>,
        scope: ServiceScope,
    }

    pub struct DefaultProviders {
        tracing: Vec<String>,
        metrics: Vec<String>,
        access_logging: Vec<String>,
    }

    pub struct ProxyPathNormalization {
        normalization: PathNormalization,
    }

    pub struct TlsConfig {
        min_protocol_version: TlsProtocol,
        ecdh_curves: Vec<String>,
        cipher_suites: Vec<String>,
    }

    /// Which addresses belong to which network, and where its gateways are.
    pub struct MeshNetworks {
        networks: BTreeMap<String, Network>,
    }

    pub struct Network {
        endpoints: Vec<NetworkEndpoints>,
        gateways: Vec<NetworkGateway>,
    }

    pub struct NetworkEndpoints {
        from_cidr: Option<String>,
        from_registry: Option<String>,
    }
    oneof [from_cidr, from_registry]

    pub struct NetworkGateway {
        registry_service_name: Option<String>,
        address: Option<String>,
        port: u32,
        /// Not used (as in Istio).
        locality: String,
    }
    oneof [registry_service_name, address]
}

choice! {
    pub enum IngressControllerMode {
        Unspecified = "UNSPECIFIED",
        Off = "OFF",
        Default = "DEFAULT",
        Strict = "STRICT",
    }

    pub enum AccessLogEncoding {
        Text = "TEXT",
        Json = "JSON",
    }

    pub enum MeshOutboundMode {
        RegistryOnly = "REGISTRY_ONLY",
        AllowAny = "ALLOW_ANY",
        AllowAnyDynamicDns = "ALLOW_ANY_DYNAMIC_DNS",
    }

    pub enum MeshInboundMode {
        Passthrough = "PASSTHROUGH",
        Localhost = "LOCALHOST",
    }

    pub enum MeshH2UpgradePolicy {
        DoNotUpgrade = "DO_NOT_UPGRADE",
        Upgrade = "UPGRADE",
    }

    pub enum ServiceScope {
        Local = "LOCAL",
        Global = "GLOBAL",
    }

    pub enum PathNormalization {
        Default = "DEFAULT",
        None = "NONE",
        Base = "BASE",
        MergeSlashes = "MERGE_SLASHES",
        DecodeAndMergeSlashes = "DECODE_AND_MERGE_SLASHES",
    }
}

impl MeshConfig {
    /// Reads a MeshConfig; faults are values, and what could not be read has its default.
    pub fn from_value(value: Value) -> (MeshConfig, Vec<Fault>) {
        read(value)
    }

    /// `cluster.local` unless set.
    pub fn trust_domain(&self) -> &str {
        if self.trust_domain.is_empty() {
            "cluster.local"
        } else {
            &self.trust_domain
        }
    }

    /// `istio-system` unless set.
    pub fn root_namespace(&self) -> &str {
        if self.root_namespace.is_empty() {
            "istio-system"
        } else {
            &self.root_namespace
        }
    }

    /// On unless switched off.
    pub fn auto_mtls(&self) -> bool {
        self.enable_auto_mtls.unwrap_or(true)
    }

    /// 10 s unless set.
    pub fn connect_timeout(&self) -> Duration {
        self.connect_timeout.unwrap_or(Duration::from_secs(10))
    }

    /// 60 s unless set.
    pub fn dns_refresh_rate(&self) -> Duration {
        self.dns_refresh_rate.unwrap_or(Duration::from_secs(60))
    }

    /// Traffic to unknown destinations is let out unless told otherwise.
    pub fn outbound_mode(&self) -> MeshOutboundMode {
        self.outbound_traffic_policy
            .as_ref()
            .map_or(MeshOutboundMode::AllowAny, |p| {
                p.mode.unwrap_or(MeshOutboundMode::AllowAny)
            })
    }

    pub fn inbound_mode(&self) -> MeshInboundMode {
        self.inbound_traffic_policy
            .as_ref()
            .map_or(MeshInboundMode::Passthrough, |p| p.mode)
    }

    /// 15001 unless set.
    pub fn outbound_port(&self) -> u32 {
        u32::try_from(self.proxy_listen_port)
            .ok()
            .filter(|p| *p > 0)
            .unwrap_or(15001)
    }

    /// 15006 unless set.
    pub fn inbound_port(&self) -> u32 {
        u32::try_from(self.proxy_inbound_listen_port)
            .ok()
            .filter(|p| *p > 0)
            .unwrap_or(15006)
    }

    /// `BASE` unless set.
    pub fn path_normalization(&self) -> PathNormalization {
        match self.path_normalization.as_ref().map(|p| p.normalization) {
            None | Some(PathNormalization::Default) => PathNormalization::Base,
            Some(other) => other,
        }
    }

    /// Off (zero) unless set.
    pub fn protocol_detection_timeout(&self) -> Duration {
        self.protocol_detection_timeout.unwrap_or(Duration::ZERO)
    }
}

impl MeshNetworks {
    /// Reads MeshNetworks; faults are values.
    pub fn from_value(value: Value) -> (MeshNetworks, Vec<Fault>) {
        read(value)
    }
}
