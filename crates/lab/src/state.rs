//! What a lab says of itself in its folder, and `hawser lab status` repeats.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Distinguishes this lab's processes from others.
    pub id: String,
    /// The lab's process.
    pub pid: u32,
    /// How far it is.
    pub phase: LabPhase,
    /// One kubeconfig with all clusters.
    pub kubeconfig: PathBuf,
    /// The clusters, in order.
    pub clusters: Vec<ClusterState>,
}

/// How far a lab is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LabPhase {
    /// Being set up.
    Starting,
    /// Set up; its application answers.
    Ready,
}

impl LabPhase {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            LabPhase::Starting => "starting",
            LabPhase::Ready => "ready",
        }
    }
}

/// A cluster of a lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterState {
    /// Its name.
    pub name: String,
    /// A kubeconfig for it alone.
    pub kubeconfig: PathBuf,
    /// Where its ingress gateway answers on this machine.
    pub ingress: String,
    /// Its node's address on the network between clusters.
    #[serde(rename = "nodeIP")]
    pub node_ip: Ipv4Addr,
    /// A file that opens as its node's network namespace, for `nsenter --net=FILE`.
    #[serde(rename = "nodeNetns")]
    pub node_netns: PathBuf,
}
