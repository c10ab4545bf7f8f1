//! Containers without a container runtime: a process in its own mount and process namespaces.
//!
//! The lab starts its own binary once more with the first argument [`ARGUMENT`], hands it a
//! [`Request`] and hears back on the same socket. That process (`outer`) enters the pod's network,
//! lays the container's file system over the host's, and forks an init process (`pid 1` of the
//! container) which starts the command, reaps what it leaves and ends with its exit code.
//! Each process dies with its parent, so killing the lab in any way ends every container.

mod init;
mod root;
mod run;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use init::main_if_asked;
pub use run::{Process, Runner, SandboxError};

/// The first argument of a process that is to become a container.
pub const ARGUMENT: &str = "lab-sandbox";

/// The environment variable that every process of a lab carries, with the lab's id.
pub const LAB_ID_VARIABLE: &str = "HAWSER_LAB_ID";

/// Where the lab's own programs are inside every container.
pub const BIN: &str = "/opt/hawser/bin";

/// What the new process is to be.
#[derive(Serialize, Deserialize)]
pub enum Request {
    /// A new container.
    Run(Container),
    /// One more process in a running container.
    Join(Join),
    /// A plain process of the host that ends with the lab.
    Guard(Program),
}

/// A command with its surroundings. No `Debug`: the environment may hold secrets.
#[derive(Serialize, Deserialize)]
pub struct Program {
    /// Command and arguments; never empty.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// Working directory; `/` when absent.
    pub cwd: Option<String>,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// A new container.
#[derive(Serialize, Deserialize)]
pub struct Container {
    /// A file that opens as the network namespace.
    pub netns: PathBuf,
    /// The host name.
    pub hostname: String,
    /// An existing directory of the host over which the container's root is built; what is mounted
    /// there is seen by the container only.
    pub scratch: PathBuf,
    /// Files below `/etc`, name to content, that differ from the host's.
    pub etc: BTreeMap<String, String>,
    /// Volumes, outer ones first.
    pub mounts: Vec<Mount>,
    /// What to run.
    pub program: Program,
}

/// A file or directory of the host made visible in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Path on the host.
    pub source: PathBuf,
    /// Path in the container; made when absent.
    pub target: PathBuf,
    /// Whether writing is refused.
    pub read_only: bool,
}

/// One more process in a running container.
#[derive(Serialize, Deserialize)]
pub struct Join {
    /// The host's process id of the container's init process.
    pub pid: u32,
    /// What to run.
    pub program: Program,
}

/// What a sandbox answers when it has, or has not, started the command.
#[derive(Debug, Serialize, Deserialize)]
enum Reply {
    /// The command runs; the host's process id of the container's init process.
    Started(u32),
    /// It could not be started.
    Failed(String),
}
