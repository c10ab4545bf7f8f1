//! Settings of the whole mesh: MeshConfig and MeshNetworks.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::authn::MtlsMode;
use crate::gateway::{ServerTls, ServerTlsMode, TlsVersion};
use crate::meta::Visibility;
use crate::name::{ClusterId, NetworkId, Str};
use crate::provider::{LogFormat, Provider};
use crate::route::Retries;
use crate::sidecar::OutboundPolicy;
use crate::telemetry::TracingDefaults;
use crate::traffic::{
    ConnectionPool, H2Upgrade, LocalitySettings, OutlierDetection, TcpKeepalive, ZoneAware,
};

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
    /// `defaultTrafficPolicy.connectionPool`: limits where no rule gives any, inbound too.
    pub default_pool: Option<ConnectionPool>,
    /// `defaultTrafficPolicy.outlierDetection`, where no rule gives any.
    pub default_outlier: Option<OutlierDetection>,
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
    /// `accessLogFormat`, of the kind that `accessLogEncoding` says.
    pub access_log_format: LogFormat,
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
