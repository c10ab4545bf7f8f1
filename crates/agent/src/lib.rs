//! Beside each proxy: certificates, SDS socket, DNS, bootstrap, starting and draining Envoy.
//!
//! [`run`] reads flags and environment into a [`Config`] and runs the agent until it is told to stop.
//! Each part is a task that owns its state; certificates, the name table and Envoy's epoch travel
//! between them by watch channels.

mod admin;
mod agent;
mod args;
pub mod bootstrap;
mod bootstrap_patch;
mod certificate;
mod chance;
mod config;
mod control;
pub mod dns;
mod envoy;
mod go_duration;
mod node;
mod pem;
mod sds;
mod socket;
mod status;
mod xds;

pub use agent::{AgentError, run_with};
pub use args::{AgentArgs, ProxyArgs, ProxyRole, run};
pub use certificate::{CertificateError, Secrets, rotation_delay};
pub use config::{Config, ConfigError, Ports};
pub use control::{ConnectError, ControlPlane};
