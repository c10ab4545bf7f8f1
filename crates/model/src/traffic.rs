//! DestinationRules: what happens to traffic once its destination is known.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::labels::Labels;
use crate::meta::{Meta, Visibility};
use crate::name::{Hostname, Str};
use crate::shared::Shared;

/// A DestinationRule.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct DestinationRule {
    /// Place and age.
    pub meta: Meta,
    /// Its host, qualified; may be a wildcard.
    pub host: Hostname,
    /// To whom it is visible.
    pub visibility: Visibility,
    /// Of which client workloads it holds; empty is all.
    pub workload_selector: Labels,
    /// True if it was made from a policy of the Gateway API: what a user's own rule says of the host counts before it.
    pub by_policy: bool,
    /// For the whole host.
    pub policy: Option<Shared<TrafficPolicy>>,
    /// Named subsets, in order of writing.
    pub subsets: Vec<Subset>,
}

/// A named part of a service's endpoints.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Subset {
    /// Its name.
    pub name: Str,
    /// Which endpoints.
    pub labels: Labels,
    /// What differs from the host's policy.
    pub policy: Option<Shared<TrafficPolicy>>,
}

/// Load balancing, pools, outliers, TLS. Each part that is `None` is inherited.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct TrafficPolicy {
    /// How an endpoint is chosen.
    pub load_balancer: Option<LoadBalancer>,
    /// Limits of connections and requests.
    pub connection_pool: Option<ConnectionPool>,
    /// When an endpoint is set aside.
    pub outlier: Option<OutlierDetection>,
    /// TLS towards the endpoint.
    pub tls: Option<ClientTls>,
    /// By port number; a port's policy replaces the whole policy, part by part without inheriting from the host's (as in
    /// Istio: what a port does not say takes the default, not the host's value).
    pub ports: BTreeMap<u16, TrafficPolicy>,
    /// HTTP CONNECT tunnel.
    pub tunnel: Option<Tunnel>,
    /// PROXY protocol version towards the endpoint: 1 or 2.
    pub proxy_protocol: Option<u8>,
    /// Budget of retries.
    pub retry_budget: Option<RetryBudget>,
}

/// A budget of concurrent retries.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct RetryBudget {
    /// Share of active requests, in millionths of a percent point; `None` is 20 %.
    pub percent: Option<crate::matching::Fraction>,
    /// Retries allowed in any case.
    pub min_concurrency: u32,
}

/// An HTTP CONNECT tunnel.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Tunnel {
    /// `CONNECT` or `POST`.
    pub protocol: Str,
    /// Host asked for.
    pub host: Str,
    /// Port asked for.
    pub port: u32,
}

/// How an endpoint is chosen.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct LoadBalancer {
    /// The algorithm.
    pub policy: LbPolicy,
    /// Locality settings of this rule, in place of the mesh's.
    pub locality: Option<LocalitySettings>,
    /// Slow start.
    pub warmup: Option<Warmup>,
    /// Zones chosen by Envoy itself; excludes `locality`.
    pub zone_aware: Option<ZoneAware>,
}

/// Endpoints of the caller's zone as far as they bear it, those of its region else, other regions for failover alone
/// (`ZoneAwareLoadBalancerSetting`).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct ZoneAware {
    /// False turns off what the mesh says of localities, too.
    pub enabled: bool,
    /// Where a region fails over to.
    pub failover: Vec<(Str, Str)>,
    /// Labels that order endpoints by likeness, `key` or `key=value`.
    pub failover_priority: Vec<Str>,
    /// Least number of endpoints; `None` is Envoy's default (6).
    pub min_cluster_size: Option<u64>,
}

/// The algorithm of choice.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub enum LbPolicy {
    /// Not said: least request.
    #[default]
    Unspecified,
    /// Least request.
    LeastRequest,
    /// In turn.
    RoundRobin,
    /// At random.
    Random,
    /// Where the caller wanted to go.
    Passthrough,
    /// By hash.
    ConsistentHash(ConsistentHash),
    /// By what endpoints report of their load (ORCA).
    Utilization(Utilization),
}

/// Choice by reported load; what is `None` is Envoy's default.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Utilization {
    /// How long reports of a new endpoint do not count.
    pub blackout: Option<Duration>,
    /// How long a report counts.
    pub expiration: Option<Duration>,
    /// Time between updates of weights.
    pub update: Option<Duration>,
    /// What errors add to the load, in thousandths.
    pub error_penalty_milli: Option<u64>,
    /// Which metrics say what the load is.
    pub metrics: Vec<Str>,
}

/// Choice by hash.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ConsistentHash {
    /// Of what.
    pub key: HashKey,
    /// In which structure.
    pub algorithm: HashAlgorithm,
}

/// What is hashed.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum HashKey {
    /// A request header.
    Header(Str),
    /// A cookie, made where it is missing.
    Cookie {
        /// Name.
        name: Str,
        /// Path.
        path: Str,
        /// Lifetime; `None`: the cookie is not made.
        ttl: Option<Duration>,
        /// Attributes of the cookie, in order.
        attributes: Vec<(Str, Str)>,
    },
    /// The caller's address.
    SourceIp,
    /// A query parameter.
    QueryParameter(Str),
}

/// The structure of a consistent hash.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum HashAlgorithm {
    /// Ring hash with a least number of virtual nodes; `None` leaves it to Envoy (1024).
    RingHash(Option<u64>),
    /// Maglev with a table size; `None` is Envoy's default.
    Maglev(Option<u64>),
}

/// Slow start of new endpoints.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Warmup {
    /// How long.
    pub duration: Duration,
    /// Least share at the start, in thousandths of a percent; `None` is Envoy's default (10 %).
    pub minimum_percent_milli: Option<u64>,
    /// Speed of increase, in thousandths; `None` is 1.
    pub aggression_milli: Option<u64>,
}

/// Locality settings (`LocalityLoadBalancerSetting`).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct LocalitySettings {
    /// Off if `Some(false)`.
    pub enabled: Option<bool>,
    /// Explicit weights, by the caller's locality.
    pub distribute: Vec<Distribute>,
    /// Where a region fails over to.
    pub failover: Vec<(Str, Str)>,
    /// Labels that order endpoints by likeness, `key` or `key=value`.
    pub failover_priority: Vec<Str>,
}

/// Explicit weights of localities.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Distribute {
    /// The caller's locality, with `*`.
    pub from: Str,
    /// Weights in percent by locality pattern.
    pub to: BTreeMap<Str, u32>,
}

/// A preference for near endpoints (`trafficDistribution`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum LocalityPreference {
    /// `PreferClose`, `PreferSameZone`.
    SameZone,
    /// `PreferSameNode`.
    SameNode,
    /// `Any`, said explicitly.
    Any,
}

/// Limits.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct ConnectionPool {
    /// Connections to all endpoints together.
    pub max_connections: Option<u32>,
    /// Time to connect.
    pub connect_timeout: Option<Duration>,
    /// TCP keep-alive.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// Longest life of a connection.
    pub max_connection_duration: Option<Duration>,
    /// TCP idle timeout.
    pub tcp_idle_timeout: Option<Duration>,
    /// Requests waiting for a connection.
    pub http1_max_pending: Option<u32>,
    /// Active requests.
    pub http2_max_requests: Option<u32>,
    /// Requests on one connection; 0 is no limit.
    pub max_requests_per_connection: Option<u32>,
    /// Active retries.
    pub max_retries: Option<u32>,
    /// HTTP idle timeout.
    pub http_idle_timeout: Option<Duration>,
    /// Upgrade to HTTP/2.
    pub h2_upgrade: H2Upgrade,
    /// Speak what the client speaks.
    pub use_client_protocol: bool,
    /// Streams on one HTTP/2 connection.
    pub max_concurrent_streams: Option<u32>,
    /// PINGs on HTTP/2 connections.
    pub http2_keepalive: Option<Http2Keepalive>,
}

/// PINGs on HTTP/2 connections.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Http2Keepalive {
    /// Time between PINGs; `None` is none.
    pub interval: Option<Duration>,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// Whether HTTP/1.1 connections become HTTP/2.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum H2Upgrade {
    /// As the mesh says.
    #[default]
    Default,
    /// Never.
    DoNotUpgrade,
    /// Always.
    Upgrade,
}

/// TCP keep-alive.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct TcpKeepalive {
    /// Probes before the peer is dead.
    pub probes: Option<u32>,
    /// Idle time before the first probe.
    pub time: Option<Duration>,
    /// Time between probes.
    pub interval: Option<Duration>,
}

/// When an endpoint is set aside.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct OutlierDetection {
    /// Consecutive 5xx; `Some(0)` turns it off.
    pub consecutive_5xx: Option<u32>,
    /// Consecutive 502, 503, 504 or connection failures; `Some(0)` turns it off.
    pub consecutive_gateway: Option<u32>,
    /// Consecutive failures of our own making.
    pub consecutive_local: Option<u32>,
    /// Tell local from remote failures.
    pub split_local: bool,
    /// Time between checks.
    pub interval: Option<Duration>,
    /// Shortest ejection.
    pub base_ejection: Option<Duration>,
    /// Largest share ejected, in percent.
    pub max_ejection_percent: Option<u32>,
    /// Least share of healthy endpoints for the balancer to respect health, in percent.
    pub min_health_percent: Option<u32>,
    /// HTTP codes that count as errors; empty is 5xx.
    pub http_errors: Vec<u32>,
}

/// TLS towards an endpoint.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct ClientTls {
    /// Which kind.
    pub mode: ClientTlsMode,
    /// File of the certificate chain.
    pub client_certificate: Str,
    /// File of the key.
    pub private_key: Str,
    /// File of the roots.
    pub ca_certificates: Str,
    /// File of the revocation list.
    pub ca_crl: Str,
    /// Secret with all of them.
    pub credential_name: Str,
    /// Names accepted.
    pub subject_alt_names: Vec<Str>,
    /// SNI sent.
    pub sni: Str,
    /// Accept any certificate.
    pub insecure_skip_verify: bool,
}

/// Kinds of TLS towards an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub enum ClientTlsMode {
    /// None.
    #[default]
    Disable,
    /// TLS.
    Simple,
    /// TLS with a client certificate given.
    Mutual,
    /// TLS with the mesh's certificate.
    IstioMutual,
}
