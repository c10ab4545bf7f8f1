//! `networking.istio.io`. Names are those of Istio's protos, in Rust's case.

mod destination_rule;
mod envoy_filter;
mod gateway;
mod service_entry;
mod sidecar;
mod virtual_service;
mod workload;

pub use destination_rule::*;
pub use envoy_filter::*;
pub use gateway::*;
pub use service_entry::*;
pub use sidecar::*;
pub use virtual_service::*;
pub use workload::*;
