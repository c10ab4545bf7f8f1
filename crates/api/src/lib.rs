//! Every Kubernetes-shaped type and Change: Istio's kinds, Gateway API and the core kinds used; one table of kinds.

pub mod apps;
pub mod change;
pub mod ciphers;
pub mod core;
pub mod crd;
mod define;
pub mod extensions;
pub mod gateway_api;
pub mod kinds;
pub mod manifest;
pub mod mesh;
pub mod message;
pub mod meta;
pub mod networking;
mod rules;
pub mod scalar;
mod scalar_yaml;
pub mod schema;
pub mod security;
pub mod selector;
pub mod shape;
pub mod status;
pub mod telemetry;
pub(crate) mod uri;
pub mod validate;
pub mod yaml;

pub use change::{Change, Event, SourceId};
pub use kinds::{Kind, KindInfo, ObjectRef, ParseError, Parsed, Resource, parse};
pub use message::{Fault, FaultKind};
pub use meta::{Labels, Meta, Object};
pub use scalar::{Duration, IntOrString, Timestamp};
