//! EnvoyFilters: patches to what was generated.

use crate::meta::{Meta, Selector};
use crate::name::Str;

/// An EnvoyFilter.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct EnvoyFilter {
    /// Place and age.
    pub meta: Meta,
    /// Order: lower first.
    pub priority: i32,
    /// Which workloads.
    pub selector: Selector,
    /// In order of writing.
    pub patches: Vec<Patch>,
}

/// One patch.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Patch {
    /// Its place in the object, for messages.
    pub index: usize,
    /// To what it applies (`LISTENER`, `HTTP_FILTER`, …).
    pub apply_to: ApplyTo,
    /// Of which traffic.
    pub context: Context,
    /// Istio version (regular expression) of the proxy; empty is any.
    pub proxy_version: Str,
    /// Node metadata that must be so.
    pub proxy_metadata: Vec<(Str, Str)>,
    /// Which object.
    pub target: Target,
    /// What to do.
    pub operation: Operation,
    /// The JSON text of `patch.value`; empty is none.
    pub value: Str,
}

/// A patch, and the EnvoyFilter in which it stands.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct NamedPatch {
    /// Place and age of the EnvoyFilter.
    pub filter: Meta,
    /// The patch as it was written then.
    pub patch: Patch,
}

/// A patch that a proxy's Envoy would not take.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RefusedPatch {
    /// Which.
    pub named: NamedPatch,
    /// What Envoy said.
    pub why: Str,
    /// Whose Envoy: the id of its node.
    pub proxy: Str,
}

/// To what a patch applies.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[allow(missing_docs)] // The names are Istio's.
pub enum ApplyTo {
    Listener,
    FilterChain,
    NetworkFilter,
    HttpFilter,
    RouteConfiguration,
    VirtualHost,
    HttpRoute,
    Cluster,
    ExtensionConfig,
    Bootstrap,
    ListenerFilter,
}

/// Of which traffic.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[allow(missing_docs)] // The names are Istio's.
pub enum Context {
    Any,
    SidecarInbound,
    SidecarOutbound,
    Gateway,
    Waypoint,
}

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[allow(missing_docs)] // The names are Istio's.
pub enum Operation {
    Merge,
    Add,
    Remove,
    InsertBefore,
    InsertAfter,
    InsertFirst,
    Replace,
    /// As `Merge`, with lists taking each other's place instead of being joined.
    MergeAndReplaceList,
}

/// Which object a patch means; empty parts match anything.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Target {
    /// Listener.
    pub listener: Option<ListenerTarget>,
    /// Route configuration.
    pub route: Option<RouteTarget>,
    /// Cluster.
    pub cluster: Option<ClusterTarget>,
}

/// Which listener, chain and filter.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct ListenerTarget {
    /// Port; 0 is any.
    pub port: u32,
    /// Listener's name.
    pub name: Str,
    /// Listener filter's name.
    pub listener_filter: Str,
    /// Chain's name.
    pub chain_name: Str,
    /// Chain's SNI.
    pub sni: Str,
    /// Chain's transport protocol.
    pub transport_protocol: Str,
    /// Chain's application protocols, comma-separated.
    pub application_protocols: Str,
    /// Chain's destination port; 0 is any.
    pub destination_port: u32,
    /// Network filter's name.
    pub filter: Str,
    /// HTTP filter's name.
    pub sub_filter: Str,
}

/// Which route configuration, virtual host and route.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct RouteTarget {
    /// Port number of a gateway; 0 is any.
    pub port: u32,
    /// Port name of a gateway.
    pub port_name: Str,
    /// `namespace/name` of the Gateway.
    pub gateway: Str,
    /// Route configuration's name.
    pub name: Str,
    /// Virtual host's name.
    pub vhost: Str,
    /// Virtual host's domain.
    pub domain: Str,
    /// Route's name.
    pub route: Str,
    /// Route's action: `ROUTE`, `REDIRECT`, `DIRECT_RESPONSE`; empty is any.
    pub action: Str,
}

/// Which cluster.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct ClusterTarget {
    /// Port number; 0 is any.
    pub port: u32,
    /// Host.
    pub service: Str,
    /// Subset.
    pub subset: Str,
    /// Full name.
    pub name: Str,
}
