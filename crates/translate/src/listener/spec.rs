//! All that a listener depends on, as values: the input of rendering.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hawser_model::gateway::{ServerTls, TlsVersion};
use hawser_model::mesh::PathNormalization;
use hawser_model::proxy::TlsFiles;
use hawser_model::{Shared, Str};
use hawser_proto::google::protobuf::Any;
use ipnet::IpNet;

use crate::extensions::Extensions;
use crate::telemetry::{AccessLogs, Tracing};

/// A listener.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct ListenerSpec {
    pub name: Str,
    /// The first is the address, the others are additional.
    pub addresses: Vec<Str>,
    pub port: u16,
    /// False for those that only take over from the capturing listener.
    pub bound: bool,
    pub inbound: bool,
    /// Hands connections over to the listener of their original destination.
    pub original_dst: bool,
    pub transparent: bool,
    pub filters: Vec<ListenerFilter>,
    pub chains: Vec<Chain>,
    pub default_chain: Option<Chain>,
    /// How long to wait for the first bytes before going on without them; zero is forever, none is Envoy's default, and
    /// ends the connection.
    pub detection_timeout: Option<Duration>,
    /// Logs of connections that no chain takes.
    pub logs: Shared<AccessLogs>,
    /// Accept one connection at a time, for a fair share among threads.
    pub one_at_a_time: bool,
}

/// A listener filter.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum ListenerFilter {
    OriginalDst,
    /// Connections towards the application keep their caller's address.
    OriginalSrc,
    TlsInspector(Ports),
    HttpInspector(Ports),
    ProxyProtocol,
}

/// The original destinations at which a listener filter looks.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Ports {
    AllBut(Vec<u16>),
    Only(Vec<u16>),
}

impl Ports {
    pub(crate) const ALL: Self = Self::AllBut(Vec::new());
}

/// A filter chain.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Chain {
    pub name: Str,
    pub matches: ChainMatch,
    pub tls: Option<Shared<TlsSpec>>,
    /// Filters before the last one, such as RBAC.
    pub before: Shared<Vec<Encoded>>,
    pub to: ChainTo,
    /// Ends handshakes that take longer than 15 seconds.
    pub handshake_timeout: bool,
}

/// Which connections a chain takes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub(crate) struct ChainMatch {
    pub destination_port: Option<u16>,
    pub prefixes: Vec<IpNet>,
    pub server_names: Vec<Str>,
    /// `tls`, `raw_buffer` or any.
    pub transport: &'static str,
    pub alpn: &'static [&'static str],
}

impl ChainMatch {
    /// In the form that Envoy accepts: names and ranges once each, and no names for all names.
    pub(crate) fn tidy(mut self) -> Self {
        if self.server_names.iter().any(|n| &**n == "*") {
            self.server_names.clear();
        }
        self.server_names.sort();
        self.server_names.dedup();
        let ranges: BTreeSet<IpNet> = self.prefixes.iter().map(IpNet::trunc).collect();
        if ranges.len() < self.prefixes.len() {
            self.prefixes = ranges.into_iter().collect();
        }
        self
    }

    /// True if a connection could fit both equally well: Envoy refuses a listener with two such chains.
    pub(crate) fn collides(&self, other: &Self) -> bool {
        fn meet<T: PartialEq>(a: &[T], b: &[T]) -> bool {
            (a.is_empty() && b.is_empty()) || a.iter().any(|x| b.contains(x))
        }
        let ranges = |m: &Self| m.prefixes.iter().map(IpNet::trunc).collect::<Vec<_>>();
        self.destination_port == other.destination_port
            && self.transport == other.transport
            && meet(self.alpn, other.alpn)
            && meet(&ranges(self), &ranges(other))
            && meet(&self.server_names, &other.server_names)
    }
}

/// The last filter of a chain.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum ChainTo {
    Http(HttpSpec),
    Tcp(TcpSpec),
}

impl ChainTo {
    /// True if connections end up the same, whatever filters they pass.
    pub(crate) fn leads_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Http(a), Self::Http(b)) => a.routes == b.routes,
            _ => self == other,
        }
    }
}

/// An HTTP connection manager.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct HttpSpec {
    pub stat_prefix: Str,
    pub routes: Routes,
    pub server: bool,
    pub shared: Shared<HttpShared>,
    /// HTTP filters before CORS, faults and the router.
    pub filters: Shared<Vec<Encoded>>,
    /// Tells sidecars behind sniffed ports before decryption that HTTP is spoken.
    pub announce_http: bool,
}

/// What the connection managers of a proxy have in common.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct HttpShared {
    pub use_remote_address: bool,
    pub trusted_hops: u32,
    pub client_cert: ClientCert,
    pub http10: bool,
    pub idle_timeout: Option<Duration>,
    pub paths: PathNormalization,
    pub logs: Shared<AccessLogs>,
    pub tracing: Option<Shared<Tracing>>,
    pub extensions: Shared<Extensions>,
    pub gateway: bool,
}

/// What becomes of X-Forwarded-Client-Cert.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum ClientCert {
    Sanitize,
    ForwardOnly,
    AppendForward,
    SanitizeSet,
    AlwaysForwardOnly,
}

/// Where a connection manager's routes are.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Routes {
    /// By RDS.
    Named(Str),
    /// All to one inbound cluster.
    Inbound {
        name: Str,
        vhost: Str,
        cluster: Str,
        operation: Str,
        retries: Option<Shared<hawser_model::route::Retries>>,
    },
}

/// A TCP proxy.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct TcpSpec {
    pub stat_prefix: Str,
    /// Clusters and their weights; a cluster that nothing is weighed against has 0.
    pub clusters: Vec<(Str, u32)>,
    pub idle_timeout: Option<Duration>,
    pub max_duration: Option<Duration>,
    pub hash_source_ip: bool,
    pub tunnel: Option<hawser_model::traffic::Tunnel>,
    pub logs: Shared<AccessLogs>,
}

/// TLS of a chain.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum TlsSpec {
    /// Mutual TLS of the mesh.
    Mesh {
        trust_domains: Vec<Str>,
        min_version: TlsVersion,
        ciphers: Vec<Str>,
        files: TlsFiles,
    },
    /// A gateway's server.
    Server { tls: ServerTls, files: TlsFiles },
    /// TLS of a Sidecar's ingress listener.
    Ingress(ServerTls),
}

/// A filter that is already encoded.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Encoded {
    pub name: Str,
    type_url: Str,
    value: Arc<[u8]>,
}

impl Encoded {
    pub(crate) fn new<M: prost::Message + prost::Name>(name: &str, message: &M) -> Self {
        Self {
            name: name.into(),
            type_url: hawser_proto::type_url::of::<M>().into(),
            value: crate::canonical::encode(message).into(),
        }
    }

    pub(crate) fn any(&self) -> Any {
        Any {
            type_url: self.type_url.to_string(),
            value: self.value.to_vec(),
        }
    }
}

/// A TCP proxy to one cluster.
pub(crate) fn tcp(cluster: &str, logs: &Shared<AccessLogs>) -> TcpSpec {
    TcpSpec {
        stat_prefix: cluster.into(),
        clusters: vec![(cluster.into(), 0)],
        idle_timeout: None,
        max_duration: None,
        hash_source_ip: false,
        tunnel: None,
        logs: logs.clone(),
    }
}
