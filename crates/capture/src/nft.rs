//! Handing a ruleset to the `nft` program.

use std::io::{ErrorKind, Write};
use std::process::{Command, Stdio};

/// Why a ruleset is not in force.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error("the program `nft` was not found; install the package nftables")]
    Missing,
    #[error("nft: not permitted; capture needs CAP_NET_ADMIN in the pod's network namespace")]
    NotPermitted,
    #[error("nft refused the ruleset: {0}")]
    Refused(String),
    #[error("cannot run nft: {0}")]
    Run(#[from] std::io::Error),
}

/// Puts a ruleset in force in the network namespace of the calling thread: all of it, or nothing.
pub fn apply(ruleset: &str) -> Result<(), ApplyError> {
    let mut command = Command::new("nft");
    command
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(ApplyError::Missing),
        Err(error) => return Err(error.into()),
    };
    if let Some(mut stdin) = child.stdin.take() {
        // A closed pipe means that nft gave up; its message says why.
        match stdin.write_all(ruleset.as_bytes()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(error.into()),
            _ => {}
        }
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if message.contains("Operation not permitted") {
        return Err(ApplyError::NotPermitted);
    }
    Err(ApplyError::Refused(message))
}
