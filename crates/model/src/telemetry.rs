//! Telemetry: access logs and traces.

use std::collections::BTreeMap;

use crate::matching::Fraction;
use crate::meta::{Meta, Selector};
use crate::name::Str;

/// A Telemetry object.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Telemetry {
    /// Place and age.
    pub meta: Meta,
    /// Which workloads.
    pub selector: Selector,
    /// Traces.
    pub tracing: Vec<Tracing>,
    /// Access logs.
    pub access_logging: Vec<AccessLogging>,
}

/// Of which traffic a setting holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub enum Mode {
    /// Both ways.
    #[default]
    ClientAndServer,
    /// Outbound.
    Client,
    /// Inbound.
    Server,
}

/// Settings of traces.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Tracing {
    /// Of which traffic.
    pub mode: Mode,
    /// Names of extension providers; empty is the default.
    pub providers: Vec<Str>,
    /// Share of requests; `None` is inherited.
    pub sampling: Option<Fraction>,
    /// No spans are reported; `None` is inherited.
    pub disabled: Option<bool>,
    /// Further tags.
    pub tags: BTreeMap<Str, Tag>,
    /// Use the request id for sampling; `None` is the default.
    pub use_request_id: Option<bool>,
    /// Istio's own tags; `None` is inherited.
    pub istio_tags: Option<bool>,
    /// Headers of traces are not passed on; `None` is inherited.
    pub no_propagation: Option<bool>,
}

/// Where a tag's value comes from.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Tag {
    /// This text.
    Literal(Str),
    /// An environment variable of the proxy, with a default.
    Environment(Str, Str),
    /// A request header, with a default.
    Header(Str, Str),
    /// A formatter.
    Formatter(Str),
}

/// What MeshConfig's `defaultConfig.tracing` says where Telemetry objects say nothing.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct TracingDefaults {
    /// Share of requests; `None` is one in a hundred.
    pub sampling: Option<Fraction>,
    /// Further tags.
    pub tags: BTreeMap<Str, Tag>,
    /// Longest path that is a tag; 0 is Envoy's.
    pub max_path_tag_length: u32,
}

/// Settings of access logs.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct AccessLogging {
    /// Of which traffic.
    pub mode: Mode,
    /// Names of extension providers; empty is the default.
    pub providers: Vec<Str>,
    /// Off; `None` is inherited.
    pub disabled: Option<bool>,
    /// A CEL expression; empty is all.
    pub filter: Str,
}
