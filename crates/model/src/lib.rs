//! The mesh's nouns: Snapshot, Service, Endpoint, Network, Identity, Proxy, Problem.
//!
//! Plain data that knows neither side of the system: no serde, no protobuf, no Kubernetes. `lower` makes these values
//! (already parsed and resolved: short host names are qualified, delegates merged, defaults applied), `translate` reads
//! them. Everything is `Eq + Hash`, so that any part of it can be the input, and so the key, of a memoised rendering.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod authn;
pub mod authz;
pub mod endpoint;
pub mod extension;
pub mod filter;
pub mod gateway;
pub mod identity;
pub mod labels;
pub mod matching;
pub mod mesh;
pub mod meta;
pub mod name;
pub mod network;
pub mod problem;
pub mod provider;
pub mod proxy;
pub mod proxy_config;
pub mod route;
pub mod service;
pub mod shared;
pub mod sidecar;
pub mod snapshot;
pub mod telemetry;
pub mod traffic;

pub use endpoint::{Endpoint, EndpointSet, Health, Locality};
pub use identity::Identity;
pub use labels::Labels;
pub use meta::{Meta, Selector, TargetRef, Visibility};
pub use name::{ClusterId, Hostname, NetworkId, ServiceKey, Str};
pub use problem::{Problem, Severity};
pub use proxy::{Proxy, ProxyKind};
pub use service::{Port, Protocol, Resolution, Service};
pub use shared::Shared;
pub use snapshot::Snapshot;
