//! A connected proxy, as its xDS node describes it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::endpoint::Locality;
use crate::filter::NamedPatch;
use crate::identity::Identity;
use crate::labels::Labels;
use crate::name::{ClusterId, NetworkId, Str};

/// What a proxy is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum ProxyKind {
    /// Beside an application.
    Sidecar,
    /// A gateway (`router`).
    Router,
    /// A waypoint.
    Waypoint,
}

/// How inbound traffic reaches the proxy.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub enum Interception {
    /// NAT (`REDIRECT`).
    #[default]
    Redirect,
    /// `TPROXY`.
    Tproxy,
    /// Not at all (`NONE`).
    None,
}

/// A proxy: everything of its node that configuration depends on.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Proxy {
    /// The xDS node id, `type~ip~name.namespace~domain`.
    pub id: Str,
    /// What it is for.
    pub kind: ProxyKind,
    /// Its addresses; the first is the one of its id.
    pub addresses: Vec<IpAddr>,
    /// Name of its pod or machine.
    pub name: Str,
    /// Its namespace.
    pub namespace: Str,
    /// DNS domain of its namespace, `default.svc.cluster.local`.
    pub dns_domain: Str,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its network; unset where nobody said.
    pub network: NetworkId,
    /// Where it stands.
    pub locality: Locality,
    /// Labels of its workload.
    pub labels: Labels,
    /// Its identity, as far as the node says; authentication is another matter.
    pub identity: Option<Identity>,
    /// Name of its workload.
    pub workload: Str,
    /// Name under which its spans appear: the `cluster` of its node.
    pub service_name: Str,
    /// The node it runs on.
    pub node: Str,
    /// Texts of its node's metadata, which EnvoyFilters may ask for.
    pub metadata: BTreeMap<Str, Str>,
    /// Patches of EnvoyFilters that its Envoy would not take: it is configured without them.
    pub refused: Vec<NamedPatch>,
    /// `ISTIO_VERSION` of its agent.
    pub version: Str,
    /// How inbound traffic reaches it.
    pub interception: Interception,
    /// Networks that it wants to see (`REQUESTED_NETWORK_VIEW`); empty is all.
    pub network_view: BTreeSet<NetworkId>,
    /// The agent answers DNS (`DNS_CAPTURE`).
    pub dns_capture: bool,
    /// Runs without privileges: cannot bind ports below 1024 (`UNPRIVILEGED_POD`).
    pub unprivileged: bool,
    /// Accept HTTP/1.0 (`HTTP10`).
    pub http10: bool,
    /// Listener idle timeout for HTTP, in milliseconds (`IDLE_TIMEOUT`).
    pub idle_timeout_ms: Option<u64>,
    /// Certificate files given by `TLS_CLIENT_*` and `TLS_SERVER_*`.
    pub tls_files: TlsFiles,
    /// Ports that its own bootstrap listens on (`ENVOY_STATUS_PORT`, `ENVOY_PROMETHEUS_PORT`).
    pub own_ports: BTreeSet<u16>,
    /// `PROXY_CONFIG.gatewayTopology.numTrustedProxies`.
    pub trusted_proxies: u32,
    /// `PROXY_CONFIG.gatewayTopology.forwardClientCertDetails`, Istio's name of the mode.
    pub forward_client_cert: Option<Str>,
    /// `PROXY_CONFIG.gatewayTopology.proxyProtocol`.
    pub proxy_protocol: bool,
}

impl Proxy {
    /// True if it has an IPv4 address (or no address at all).
    pub fn has_ipv4(&self) -> bool {
        self.addresses.is_empty() || self.addresses.iter().any(IpAddr::is_ipv4)
    }

    /// True if it has an IPv6 address.
    pub fn has_ipv6(&self) -> bool {
        self.addresses.iter().any(IpAddr::is_ipv6)
    }
}

/// Paths of certificate files on the proxy's machine; empty where not given.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct TlsFiles {
    /// `TLS_CLIENT_CERT_CHAIN`.
    pub client_cert: Str,
    /// `TLS_CLIENT_KEY`.
    pub client_key: Str,
    /// `TLS_CLIENT_ROOT_CERT`.
    pub client_root: Str,
    /// `TLS_SERVER_CERT_CHAIN`.
    pub server_cert: Str,
    /// `TLS_SERVER_KEY`.
    pub server_key: Str,
    /// `TLS_SERVER_ROOT_CERT`.
    pub server_root: Str,
}
