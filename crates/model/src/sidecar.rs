//! Sidecar resources: what a workload sees and opens.

use crate::gateway::{NamespaceMatch, ServerTls};
use crate::labels::Labels;
use crate::meta::Meta;
use crate::name::{Hostname, Str};
use crate::route::Destination;
use crate::service::Protocol;
use crate::traffic::ConnectionPool;

/// A Sidecar.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Sidecar {
    /// Place and age.
    pub meta: Meta,
    /// Which workloads; empty is all of the namespace (of the mesh, in the root namespace).
    pub selector: Labels,
    /// Ports opened inwards, in place of those found; `None` where not given.
    pub ingress: Vec<IngressListener>,
    /// What is seen outwards; empty where not given.
    pub egress: Vec<EgressListener>,
    /// Limits for all inbound ports.
    pub inbound_pool: Option<ConnectionPool>,
    /// What becomes of traffic to unknown places; `None` is the mesh's policy.
    pub outbound_policy: Option<OutboundPolicy>,
}

/// A port opened inwards.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct IngressListener {
    /// Port number.
    pub port: u16,
    /// Port name.
    pub port_name: Str,
    /// What is spoken.
    pub protocol: Protocol,
    /// Address to bind; empty is the workload's.
    pub bind: Str,
    /// Whether traffic is captured.
    pub capture: CaptureMode,
    /// Where the application listens: `127.0.0.1:PORT`, `0.0.0.0:PORT`, `[::1]:PORT`, `unix:///path`; empty: same port.
    pub default_endpoint: Str,
    /// TLS of its own, where mutual TLS is off.
    pub tls: Option<ServerTls>,
    /// Limits.
    pub pool: Option<ConnectionPool>,
}

/// What is seen outwards.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct EgressListener {
    /// A port of its own, or the catch-all.
    pub port: Option<EgressPort>,
    /// Address to bind; empty is all.
    pub bind: Str,
    /// Whether traffic is captured.
    pub capture: CaptureMode,
    /// Which hosts of which namespaces.
    pub hosts: Vec<(EgressNamespace, Hostname)>,
}

/// The port of an egress listener.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct EgressPort {
    /// Number.
    pub number: u16,
    /// Name.
    pub name: Str,
    /// What is spoken.
    pub protocol: Protocol,
}

/// Namespaces of an egress host; as [`NamespaceMatch`].
pub type EgressNamespace = NamespaceMatch;

/// Whether traffic is captured.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum CaptureMode {
    /// As the workload's.
    #[default]
    Default,
    /// By address translation.
    Iptables,
    /// Not.
    None,
}

/// What becomes of traffic to unknown places.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum OutboundPolicy {
    /// `REGISTRY_ONLY`.
    RegistryOnly,
    /// `ALLOW_ANY`.
    AllowAny,
    /// `ALLOW_ANY` through an egress proxy.
    EgressProxy(Destination),
}
