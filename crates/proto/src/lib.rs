//! Every protobuf type: Envoy, xDS, Istio's CA service and name table, with JSON by descriptors.
//!
//! The Rust types of Envoy are those of the `envoy-types` package; nothing generated is kept in this tree. [`json`] turns
//! any of them into protobuf JSON and back by descriptors, which is also what EnvoyFilter patches work on.

#![forbid(unsafe_code)]

pub mod istio;
pub mod json;
pub mod maps;
pub mod merge;
pub mod type_url;
pub mod wire;

pub use envoy_types::pb::{envoy, google, opentelemetry, xds};
pub use prost_reflect::{DescriptorPool, DynamicMessage};

use prost::{Message, Name};

/// Packs a message with the type URL that xDS uses (`type.googleapis.com/…`).
pub fn any<M: Message + Name>(message: &M) -> google::protobuf::Any {
    google::protobuf::Any {
        type_url: type_url::of::<M>(),
        value: message.encode_to_vec(),
    }
}
