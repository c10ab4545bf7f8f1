//! Clusters on one machine: network namespaces, nodes, services, pods as processes.

mod apply;
mod cli;
pub mod controllers;
mod dir;
pub mod dns;
mod exec;
mod fetch;
mod kubeconfig;
mod lab;
pub mod net;
pub mod pods;
mod preflight;
mod processes;
mod programs;
mod progress;
pub mod sandbox;
mod scenario;
mod server;
mod state;

pub use apply::{Applier, ApplyError};
pub use cli::{LabArgs, run};
pub use sandbox::main_if_asked;
