//! Settings of the whole mesh: MeshConfig and MeshNetworks.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::authn::MtlsMode;
use crate::gateway::{ServerTls, ServerTlsMode, TlsVersion};
use crate::meta::Visibility;
use crate::name::{ClusterId, Hostname, NetworkId, Str};
use crate::route::Retries;
use crate::sidecar::OutboundPolicy;
use crate::telemetry::TracingDefaults;
use crate::traffic::{H2Upgrade, LocalitySettings, TcpKeepalive, ZoneAware};

/// What TLS other than the mesh's own is like where nothing else is said.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct TlsDefaults {
    /// Least version of servers.
    pub min_version: TlsVersion,
    /// Ciphers for TLS 1.2.
    pub ciphers: Vec<Str>,
    /// Key exchange groups.
    pub ecdh_curves: Vec<Str>,
}

impl TlsDefaults {
    /// A server's TLS with what it leaves open; servers of the mesh's own TLS take nothing from here.
    #[must_use]
    pub fn complete(&self, tls: &ServerTls) -> ServerTls {
        let mut tls = tls.clone();
        if tls.mode == ServerTlsMode::IstioMutual {
            return tls;
        }
        if tls.min_version == TlsVersion::Auto {
            tls.min_version = self.min_version;
        }
        if tls.ciphers.is_empty() {
            tls.ciphers.clone_from(&self.ciphers);
        }
        if tls.ecdh_curves.is_empty() {
            tls.ecdh_curves.clone_from(&self.ecdh_curves);
        }
        tls
    }
}

/// MeshConfig with its defaults filled in.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Mesh {
    /// `trustDomain`.
    pub trust_domain: Str,
    /// `trustDomainAliases`.
    pub trust_domain_aliases: Vec<Str>,
    /// `rootNamespace`.
    pub root_namespace: Str,
    /// DNS domain of Kubernetes services, `cluster.local`.
    pub dns_domain: Str,
    /// `enableAutoMtls`.
    pub auto_mtls: bool,
    /// `outboundTrafficPolicy`.
    pub outbound_policy: OutboundPolicy,
    /// `inboundTrafficPolicy.mode: PASSTHROUGH`; false is `LOCALHOST`.
    pub inbound_passthrough: bool,
    /// `localityLbSetting`.
    pub locality: LocalitySettings,
    /// `zoneAwareLbSetting`, which excludes `locality`.
    pub zone_aware: Option<ZoneAware>,
    /// `defaultServiceExportTo`, `defaultVirtualServiceExportTo`, `defaultDestinationRuleExportTo`. `.` is represented by
    /// `None` in [`DefaultVisibility`].
    pub default_service_visibility: DefaultVisibility,
    /// For VirtualServices.
    pub default_route_visibility: DefaultVisibility,
    /// For DestinationRules.
    pub default_rule_visibility: DefaultVisibility,
    /// `extensionProviders` by name.
    pub providers: BTreeMap<Str, Provider>,
    /// `defaultProviders.accessLogging`.
    pub default_access_logging: Vec<Str>,
    /// `defaultProviders.tracing`.
    pub default_tracing: Vec<Str>,
    /// `defaultConfig.tracing`.
    pub tracing: TracingDefaults,
    /// `pathNormalization`.
    pub path_normalization: PathNormalization,
    /// `meshMTLS.minProtocolVersion`.
    pub mtls_min_version: TlsVersion,
    /// `meshMTLS.cipherSuites`; none are Istio's.
    pub mtls_ciphers: Vec<Str>,
    /// `tlsDefaults`: TLS that is not the mesh's own.
    pub tls_defaults: TlsDefaults,
    /// `defaultHttpRetryPolicy`.
    pub default_retries: Option<Retries>,
    /// `defaultInboundHttpRetryPolicy`.
    pub default_inbound_retries: Option<Retries>,
    /// `accessLogFile`; empty is off.
    pub access_log_file: Str,
    /// `accessLogFormat`; empty is the default.
    pub access_log_format: Str,
    /// `accessLogEncoding: JSON`.
    pub access_log_json: bool,
    /// `connectTimeout`.
    pub connect_timeout: Duration,
    /// `protocolDetectionTimeout`; zero is none.
    pub protocol_detection_timeout: Duration,
    /// `dnsRefreshRate`.
    pub dns_refresh_rate: Duration,
    /// `proxyListenPort` (15001).
    pub outbound_port: u16,
    /// `proxyInboundListenPort` (15006).
    pub inbound_port: u16,
    /// `h2UpgradePolicy`.
    pub h2_upgrade: H2Upgrade,
    /// `tcpKeepalive`.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// `enablePrometheusMerge` and such do not concern translation. `verifyCertificateAtClient` is accepted without effect.
    /// `ingressClass`.
    pub ingress_class: Str,
    /// `ingressSelector`.
    pub ingress_selector: Str,
    /// `ingressService`.
    pub ingress_service: Str,
    /// Mode of mutual TLS where no PeerAuthentication says otherwise.
    pub default_mtls: MtlsMode,
    /// MeshNetworks.
    pub networks: BTreeMap<NetworkId, Network>,
}

/// Default of `exportTo`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub enum DefaultVisibility {
    /// `*`.
    #[default]
    Public,
    /// `.`: the object's own namespace.
    Private,
    /// Anything else.
    Fixed(Visibility),
}

/// A network of MeshNetworks.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Network {
    /// `endpoints[].fromCidr`.
    pub cidrs: Vec<IpNet>,
    /// `endpoints[].fromRegistry`.
    pub clusters: Vec<ClusterId>,
}

/// How paths are normalised before policies and routes see them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub enum PathNormalization {
    /// Not at all.
    None,
    /// RFC 3986 (`BASE`, the default).
    #[default]
    Base,
    /// And adjacent slashes merged.
    MergeSlashes,
    /// And escaped slashes decoded.
    DecodeAndMergeSlashes,
}

/// An extension provider.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Provider {
    /// External authorization over HTTP.
    ExtAuthzHttp(ExtAuthzHttp),
    /// External authorization over gRPC.
    ExtAuthzGrpc(ExtAuthzGrpc),
    /// Access log to a file.
    FileLog {
        /// Path.
        path: Str,
        /// Text format; empty is the default.
        text: Str,
        /// JSON labels; empty is text.
        json: BTreeMap<Str, Str>,
        /// What is empty is left out.
        omit_empty: bool,
    },
    /// Access log over gRPC (`envoyHttpAls`, `envoyTcpAls`, `envoyOtelAls`).
    GrpcLog {
        /// Which of them.
        kind: GrpcLogKind,
        /// Host of the service.
        service: Hostname,
        /// Its port.
        port: u16,
        /// Name of the log.
        log_name: Str,
        /// What is logged besides.
        more: LogDetails,
    },
    /// Zipkin.
    Zipkin {
        /// Host of the service.
        service: Hostname,
        /// Its port.
        port: u16,
        /// Path; empty is `/api/v2/spans`.
        path: Str,
        /// Trace ids of 64 bits instead of 128.
        trace_id_64bit: bool,
        /// W3C's headers beside those of B3.
        w3c: bool,
        /// Longest path that is a tag; 0 is Envoy's.
        max_tag_length: u32,
    },
    /// OpenTelemetry.
    OpenTelemetry {
        /// Host of the service.
        service: Hostname,
        /// Its port.
        port: u16,
        /// HTTP path; `None` is gRPC.
        http_path: Option<Str>,
        /// How long an export may take; `None` is Envoy's.
        timeout: Option<Duration>,
        /// Headers of an export.
        headers: Vec<(Str, Str)>,
        /// Longest path that is a tag; 0 is Envoy's.
        max_tag_length: u32,
    },
    /// Datadog.
    Datadog {
        /// Host of the service.
        service: Hostname,
        /// Its port.
        port: u16,
        /// Longest path that is a tag; 0 is Envoy's.
        max_tag_length: u32,
    },
    /// SkyWalking.
    SkyWalking {
        /// Host of the service.
        service: Hostname,
        /// Its port.
        port: u16,
        /// Access token.
        token: Str,
    },
    /// Prometheus: no part of the proxies' configuration.
    Prometheus,
    /// Known, without effect on stock Envoy.
    Inert(Str),
}

/// What an access log over gRPC tells besides.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct LogDetails {
    /// Filter state.
    pub filter_state: Vec<Str>,
    /// Headers of requests.
    pub request_headers: Vec<Str>,
    /// Headers of responses.
    pub response_headers: Vec<Str>,
    /// Trailers of responses.
    pub response_trailers: Vec<Str>,
}

/// Kinds of access logs over gRPC.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum GrpcLogKind {
    /// HTTP.
    Http,
    /// TCP.
    Tcp,
    /// OpenTelemetry.
    OpenTelemetry,
}

/// External authorization over HTTP.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ExtAuthzHttp {
    /// Host of the service.
    pub service: Hostname,
    /// Its port.
    pub port: u16,
    /// Time it may take; `None` is 600 s.
    pub timeout: Option<Duration>,
    /// Prefix of the path.
    pub path_prefix: Str,
    /// Let requests through where it fails.
    pub fail_open: bool,
    /// Status where it fails; empty is 403.
    pub status_on_error: Str,
    /// Request headers sent along.
    pub include_headers: Vec<Str>,
    /// Headers added to the check.
    pub add_headers: BTreeMap<Str, Str>,
    /// Body sent along.
    pub body: Option<ExtAuthzBody>,
    /// Headers of its answer that go upstream if allowed.
    pub upstream_on_allow: Vec<Str>,
    /// Headers of its answer that go downstream if refused.
    pub downstream_on_deny: Vec<Str>,
    /// Headers of its answer that go downstream if allowed.
    pub downstream_on_allow: Vec<Str>,
    /// Decide the route anew if allowed.
    pub clear_route_cache: bool,
}

/// External authorization over gRPC.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ExtAuthzGrpc {
    /// Host of the service.
    pub service: Hostname,
    /// Its port.
    pub port: u16,
    /// Time it may take; `None` is 600 s.
    pub timeout: Option<Duration>,
    /// Let requests through where it fails.
    pub fail_open: bool,
    /// Status where it fails; empty is 403.
    pub status_on_error: Str,
    /// Body sent along.
    pub body: Option<ExtAuthzBody>,
    /// Decide the route anew if allowed.
    pub clear_route_cache: bool,
}

/// A body sent to an external authorizer.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ExtAuthzBody {
    /// At most so many bytes.
    pub max_bytes: u32,
    /// Send what was read where there is more.
    pub allow_partial: bool,
    /// As bytes rather than text.
    pub raw: bool,
}

impl Mesh {
    /// The network that MeshNetworks gives to an address of a cluster: by the cluster first, else by address range.
    pub fn network_of(&self, cluster: &ClusterId, ip: Option<IpAddr>) -> NetworkId {
        let by_cluster = self
            .networks
            .iter()
            .find(|(_, n)| n.clusters.contains(cluster));
        let by_range = || {
            let ip = ip?;
            self.networks
                .iter()
                .find(|(_, n)| n.cidrs.iter().any(|c| c.contains(&ip)))
        };
        by_cluster
            .or_else(by_range)
            .map(|(id, _)| id.clone())
            .unwrap_or_default()
    }
}
