//! Sans-IO ADS stream machine with a tonic shell; CA service; authentication.
//!
//! [`stream::Stream`] decides what a proxy is sent and when, without I/O; [`ads`] moves its decisions over gRPC, one task a
//! connection. [`ca_service`] signs certificates for callers that [`auth`] has identified, [`server`] holds the sockets.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod ads;
pub mod auth;
pub mod board;
pub mod ca_service;
pub mod credentials;
pub mod kind;
pub mod metrics;
pub mod server;
pub mod source;
pub mod stream;
mod trials;
mod wire;

pub use board::Board;
pub use kind::Kind;
pub use source::{Resource, Scope, Source, View};
