//! The aggregated discovery service with responses whose resources are shared bytes.
//!
//! The same messages on the wire as `envoy.service.discovery.v3`; only their Rust types differ: a resource that goes to a
//! thousand proxies is rendered once, and each response refers to the same bytes until it is written to its connection.

use bytes::Bytes;

pub use crate::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};

/// `google.protobuf.Any` with shared bytes.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct SharedAny {
    /// The type.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// The encoded message.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

/// `DiscoveryResponse`.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct DiscoveryResponse {
    /// Version of what is sent.
    #[prost(string, tag = "1")]
    pub version_info: String,
    /// The resources.
    #[prost(message, repeated, tag = "2")]
    pub resources: Vec<SharedAny>,
    /// Their type.
    #[prost(string, tag = "4")]
    pub type_url: String,
    /// To be repeated in the acknowledgement.
    #[prost(string, tag = "5")]
    pub nonce: String,
}

/// `DeltaDiscoveryResponse`.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct DeltaDiscoveryResponse {
    /// For humans.
    #[prost(string, tag = "1")]
    pub system_version_info: String,
    /// New and changed resources.
    #[prost(message, repeated, tag = "2")]
    pub resources: Vec<DeltaResource>,
    /// Their type.
    #[prost(string, tag = "4")]
    pub type_url: String,
    /// To be repeated in the acknowledgement.
    #[prost(string, tag = "5")]
    pub nonce: String,
    /// Names of what is no more.
    #[prost(string, repeated, tag = "6")]
    pub removed_resources: Vec<String>,
}

/// `Resource` of a delta response.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct DeltaResource {
    /// Version of this resource.
    #[prost(string, tag = "1")]
    pub version: String,
    /// The resource.
    #[prost(message, optional, tag = "2")]
    pub resource: Option<SharedAny>,
    /// Its name.
    #[prost(string, tag = "3")]
    pub name: String,
}

/// Client and server stubs.
#[cfg(feature = "grpc")]
pub mod service {
    #![allow(clippy::all, missing_docs)]
    include!(concat!(
        env!("OUT_DIR"),
        "/envoy.service.discovery.v3.AggregatedDiscoveryService.rs"
    ));
}
