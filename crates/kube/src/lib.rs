//! The only Kubernetes client: watches become changes, server-side apply, leases.
//!
//! Objects are `serde_json::Value`s here: what a kind means is the business of whoever asked for it.
//! [`Client`] asks one API server; [`watch`] follows a kind there; [`lease::campaign`] elects a leader.

mod backoff;
mod client;
mod config;
mod connect;
mod error;
pub mod lease;
mod lines;
mod resource;
mod watch;

pub use client::{Client, FieldManager, List, Selection};
pub use config::ConfigError;
pub use error::Error;
pub use resource::Resource;
pub use watch::{Event, watch};
