//! Clusters on one machine: network namespaces, nodes, services, pods as processes.

pub mod net;
pub mod pods;
pub mod sandbox;
