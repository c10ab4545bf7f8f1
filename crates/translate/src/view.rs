//! Of a proxy, the parts that one kind of resource depends on: small, and the same for many proxies.

use std::collections::BTreeSet;

use hawser_model::proxy::{Interception, TlsFiles};
use hawser_model::{ClusterId, Locality, NetworkId, Proxy, ProxyKind, Str};

/// What outbound clusters, listeners and routes depend on.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct ClientView {
    pub kind: ProxyKind,
    pub cluster: ClusterId,
    pub ipv4: bool,
    pub ipv6: bool,
    pub tls_files: TlsFiles,
    pub interception: Interception,
    pub http10: bool,
    pub idle_timeout_ms: Option<u64>,
    pub unprivileged: bool,
    pub own_ports: BTreeSet<u16>,
    pub trusted_proxies: u32,
    pub forward_client_cert: Option<Str>,
    pub proxy_protocol: bool,
}

impl ClientView {
    pub(crate) fn of(proxy: &Proxy) -> Self {
        Self {
            kind: proxy.kind,
            cluster: proxy.cluster.clone(),
            ipv4: proxy.has_ipv4(),
            ipv6: proxy.has_ipv6(),
            tls_files: proxy.tls_files.clone(),
            interception: proxy.interception,
            http10: proxy.http10,
            idle_timeout_ms: proxy.idle_timeout_ms,
            unprivileged: proxy.unprivileged,
            own_ports: proxy.own_ports.clone(),
            trusted_proxies: proxy.trusted_proxies,
            forward_client_cert: proxy.forward_client_cert.clone(),
            proxy_protocol: proxy.proxy_protocol,
        }
    }

    pub(crate) fn is_router(&self) -> bool {
        self.kind == ProxyKind::Router
    }

    /// The address that stands for all addresses.
    pub(crate) fn wildcard(&self) -> &'static str {
        if self.ipv4 { "0.0.0.0" } else { "::" }
    }

    /// The machine itself.
    pub(crate) fn local_host(&self) -> &'static str {
        if self.ipv4 { "127.0.0.1" } else { "::1" }
    }

    /// All addresses, in each form that the proxy has.
    pub(crate) fn wildcards(&self) -> Vec<Str> {
        self.forms("0.0.0.0", "::")
    }

    /// The machine itself, in each form that the proxy has.
    pub(crate) fn local_hosts(&self) -> Vec<Str> {
        self.forms("127.0.0.1", "::1")
    }

    fn forms(&self, v4: &str, v6: &str) -> Vec<Str> {
        match (self.ipv4, self.ipv6) {
            (true, true) => vec![v4.into(), v6.into()],
            (false, true) => vec![v6.into()],
            _ => vec![v4.into()],
        }
    }

    /// True if an address of that family means something to the proxy.
    pub(crate) fn supports(&self, ip: std::net::IpAddr) -> bool {
        if ip.is_ipv4() { self.ipv4 } else { self.ipv6 }
    }
}

/// Where a proxy stands, for endpoints.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct NetworkView {
    pub router: bool,
    pub cluster: ClusterId,
    pub network: NetworkId,
    pub visible: BTreeSet<NetworkId>,
    pub ipv4: bool,
    pub ipv6: bool,
}

impl NetworkView {
    pub(crate) fn of(proxy: &Proxy) -> Self {
        Self {
            router: proxy.kind != ProxyKind::Sidecar,
            cluster: proxy.cluster.clone(),
            network: proxy.network.clone(),
            visible: proxy.network_view.clone(),
            ipv4: proxy.has_ipv4(),
            ipv6: proxy.has_ipv6(),
        }
    }

    pub(crate) fn supports(&self, ip: std::net::IpAddr) -> bool {
        if ip.is_ipv4() { self.ipv4 } else { self.ipv6 }
    }
}

/// How near endpoints are, where that matters.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Near {
    pub locality: Locality,
    /// Of the labels those that are compared, with those that stand for the proxy's place.
    pub labels: hawser_model::Labels,
}
