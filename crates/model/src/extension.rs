//! TrafficExtensions: HTTP filters that users bring.

use crate::meta::{Meta, Selector};
use crate::name::Str;
use crate::telemetry::Mode;

/// A TrafficExtension that Envoy can carry out.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TrafficExtension {
    /// Place and age.
    pub meta: Meta,
    /// Which workloads.
    pub selector: Selector,
    /// Where among the other filters.
    pub phase: Phase,
    /// Those of higher priority come first within a phase, those without one last.
    pub priority: Option<i32>,
    /// Which traffic; any of them is enough, and none is all.
    pub matches: Vec<TrafficMatch>,
    /// The script, in Lua.
    pub lua: Str,
}

/// Where a filter stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub enum Phase {
    /// Before tokens are checked.
    Authn,
    /// Before policies decide.
    Authz,
    /// After them.
    Stats,
    /// After those, nearest to the router.
    #[default]
    Unspecified,
}

/// Some traffic of a workload.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct TrafficMatch {
    /// In which direction.
    pub mode: Mode,
    /// To which ports; none is all.
    pub ports: Vec<u16>,
}
