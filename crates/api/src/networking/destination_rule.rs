//! DestinationRule (`networking/v1alpha3/destination_rule.proto`).

use crate::message::{choice, message};
use crate::meta::Labels;
use crate::networking::PortSelector;
use crate::scalar::Duration;
use crate::selector::LabelSelector;
use std::collections::BTreeMap;

message! {
    pub struct DestinationRule {
        host: String [Required],
        traffic_policy: Option<TrafficPolicy>,
        subsets: Vec<Subset>,
        export_to: Vec<String>,
        /// The clients that the rule is for.
        workload_selector: Option<LabelSelector>,
    }

    pub struct TrafficPolicy {
        load_balancer: Option<LoadBalancerSettings>,
        connection_pool: Option<ConnectionPoolSettings>,
        outlier_detection: Option<OutlierDetection>,
        tls: Option<ClientTlsSettings>,
        port_level_settings: Vec<PortTrafficPolicy> [MaxItems(4096)],
        tunnel: Option<TunnelSettings>,
        proxy_protocol: Option<ProxyProtocol>,
        retry_budget: Option<RetryBudget>,
    }

    /// A port's own policy: takes the place of the service's as a whole, nothing is inherited.
    pub struct PortTrafficPolicy {
        port: Option<PortSelector>,
        load_balancer: Option<LoadBalancerSettings>,
        connection_pool: Option<ConnectionPoolSettings>,
        outlier_detection: Option<OutlierDetection>,
        tls: Option<ClientTlsSettings>,
    }

    pub struct TunnelSettings {
        /// `CONNECT` (the default) or `POST`.
        protocol: String,
        target_host: String [Required],
        target_port: u32 [Required],
    }

    pub struct ProxyProtocol {
        version: ProxyProtocolVersion,
    }

    pub struct RetryBudget {
        /// Of the active and pending requests, in percent.
        percent: Option<f64> [Min(0), Max(100)],
        min_retry_concurrency: u32,
        /// Over which requests are counted; those in flight only if zero or absent.
        budget_interval: Option<Duration> [AnyDuration],
    }

    pub struct Subset {
        name: String [Required],
        labels: Labels,
        traffic_policy: Option<TrafficPolicy>,
    }

    pub struct LoadBalancerSettings {
        simple: Option<SimpleLb>,
        consistent_hash: Option<ConsistentHashLb>,
        backend_utilization: Option<BackendUtilization>,
        locality_lb_setting: Option<LocalityLoadBalancerSetting>,
        zone_aware_lb_setting: Option<ZoneAwareLoadBalancerSetting>,
        /// Deprecated in favour of `warmup`.
        warmup_duration_secs: Option<Duration>,
        warmup: Option<WarmupConfiguration>,
    }
    oneof [simple, consistent_hash, backend_utilization]

    pub struct ConsistentHashLb {
        http_header_name: Option<String>,
        http_cookie: Option<HttpCookie>,
        use_source_ip: Option<bool>,
        http_query_parameter_name: Option<String>,
        ring_hash: Option<RingHash>,
        maglev: Option<Maglev>,
        /// Deprecated in favour of `ringHash`.
        minimum_ring_size: u64 [Min(0)],
    }
    oneof [http_header_name, http_cookie, use_source_ip, http_query_parameter_name]
    oneof [ring_hash, maglev]

    pub struct RingHash {
        minimum_ring_size: u64 [Min(0)],
    }

    pub struct Maglev {
        /// Prime, at most 5000011.
        table_size: u64 [Min(0)],
    }

    pub struct HttpCookie {
        name: String [Required],
        path: String,
        ttl: Option<Duration> [AnyDuration],
        attributes: Vec<HttpCookieAttribute>,
    }

    pub struct HttpCookieAttribute {
        name: String [Required],
        value: String,
    }

    /// Weights from what endpoints report of their load (ORCA), as Envoy's client-side weighted round robin.
    pub struct BackendUtilization (slim) {
        blackout_period: Option<Duration>,
        weight_expiration_period: Option<Duration>,
        weight_update_period: Option<Duration>,
        metric_names_for_computing_utilization: Vec<String>,
        error_utilization_penalty: Option<f64>,
    }

    pub struct WarmupConfiguration {
        duration: Option<Duration> [Required],
        minimum_percent: Option<f64> [Min(0), Max(100)],
        aggression: Option<f64> [Min(0)],
    }

    pub struct LocalityLoadBalancerSetting {
        distribute: Vec<LocalityDistribute>,
        failover: Vec<LocalityFailover>,
        failover_priority: Vec<String>,
        enabled: Option<bool>,
    }

    pub struct LocalityDistribute {
        /// `region/zone/subzone`; a final `*` matches the rest.
        from: String,
        /// Percent of the traffic by locality.
        to: BTreeMap<String, u32>,
    }

    pub struct LocalityFailover {
        from: String,
        to: String,
    }

    pub struct ZoneAwareLoadBalancerSetting {
        enabled: Option<bool>,
        failover: Vec<LocalityFailover>,
        failover_priority: Vec<String>,
        /// 6 if absent.
        min_cluster_size: Option<u32> [Min(1)],
    }

    pub struct ConnectionPoolSettings {
        tcp: Option<TcpSettings>,
        http: Option<HttpSettings>,
    }

    pub struct TcpSettings {
        max_connections: i32,
        connect_timeout: Option<Duration>,
        tcp_keepalive: Option<TcpKeepalive>,
        max_connection_duration: Option<Duration>,
        /// Zero switches the timeout off.
        idle_timeout: Option<Duration> [AnyDuration],
    }

    pub struct TcpKeepalive {
        probes: u32,
        time: Option<Duration>,
        interval: Option<Duration>,
    }

    pub struct HttpSettings {
        http1_max_pending_requests: i32,
        http2_max_requests: i32,
        max_requests_per_connection: i32,
        max_retries: i32,
        idle_timeout: Option<Duration>,
        h2_upgrade_policy: H2UpgradePolicy,
        use_client_protocol: bool,
        max_concurrent_streams: i32,
        http2_keep_alive: Option<Http2KeepAlive>,
    }

    /// PINGs on upstream connections.
    pub struct Http2KeepAlive {
        interval: Option<Duration>,
        timeout: Option<Duration>,
    }

    pub struct OutlierDetection {
        /// Deprecated: gateway errors.
        consecutive_errors: i32,
        split_external_local_origin_errors: bool,
        consecutive_local_origin_failures: Option<u32>,
        consecutive_gateway_errors: Option<u32>,
        consecutive_5xx_errors: Option<u32>,
        interval: Option<Duration>,
        base_ejection_time: Option<Duration>,
        max_ejection_percent: i32,
        min_health_percent: i32,
        /// What counts as an error besides connection failures; 5xx if empty.
        outlier_detection_http_error_codes: Vec<u32> [Each(&[Min(100), Max(599)])],
    }

    pub struct ClientTlsSettings {
        mode: ClientTlsMode,
        client_certificate: String,
        private_key: String,
        ca_certificates: String,
        credential_name: String,
        subject_alt_names: Vec<String>,
        sni: String,
        insecure_skip_verify: Option<bool>,
        ca_crl: String,
    }
}

choice! {
    pub enum SimpleLb {
        Unspecified = "UNSPECIFIED",
        LeastConn = "LEAST_CONN",
        Random = "RANDOM",
        Passthrough = "PASSTHROUGH",
        RoundRobin = "ROUND_ROBIN",
        LeastRequest = "LEAST_REQUEST",
    }

    pub enum H2UpgradePolicy {
        Default = "DEFAULT",
        DoNotUpgrade = "DO_NOT_UPGRADE",
        Upgrade = "UPGRADE",
    }

    pub enum ProxyProtocolVersion {
        V1 = "V1",
        V2 = "V2",
    }

    /// `ClientTLSSettings.TLSmode`.
    pub enum ClientTlsMode {
        Disable = "DISABLE",
        Simple = "SIMPLE",
        Mutual = "MUTUAL",
        IstioMutual = "ISTIO_MUTUAL",
    }
}
