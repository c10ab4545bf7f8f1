//! `hawser lab status`, `kubeconfig` and `down`.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::Output;
use crate::dir::LabDir;
use crate::processes;
use crate::state::State;

/// How long a lab may take to end by itself.
const END_TIMEOUT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// The lab that is up in `dir`.
pub(super) fn running(dir: &LabDir) -> anyhow::Result<Option<State>> {
    if dir.holder().is_none() {
        return Ok(None);
    }
    dir.read_state()
        .with_context(|| format!("reading the state of the lab in {}", dir.root().display()))
}

pub(super) fn run(dir: &Path, output: Output) -> anyhow::Result<ExitCode> {
    let dir = LabDir::new(dir)?;
    let state = running(&dir)?;
    match (&state, output) {
        (Some(state), Output::Json) => println!("{}", serde_json::to_string_pretty(state)?),
        (None, Output::Json) => println!("{}", json!({"phase": "down", "clusters": []})),
        (None, Output::Text) => println!("no lab is up in {}", dir.root().display()),
        (Some(state), Output::Text) => {
            println!(
                "lab {} in {}: {}, process {}",
                state.id,
                dir.root().display(),
                state.phase.as_str(),
                state.pid
            );
            println!(
                "{:<10} {:<24} {:<14} KUBECONFIG",
                "CLUSTER", "INGRESS", "NODE"
            );
            for cluster in &state.clusters {
                println!(
                    "{:<10} {:<24} {:<14} {}",
                    cluster.name,
                    cluster.ingress,
                    cluster.node_ip,
                    cluster.kubeconfig.display()
                );
            }
        }
    }
    Ok(if state.is_some() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

pub(super) fn kubeconfig(dir: &Path) -> anyhow::Result<ExitCode> {
    let dir = LabDir::new(dir)?;
    let Some(state) = running(&dir)? else {
        eprintln!("no lab is up in {}", dir.root().display());
        return Ok(ExitCode::from(1));
    };
    let text = std::fs::read_to_string(&state.kubeconfig)
        .with_context(|| state.kubeconfig.display().to_string())?;
    print!("{text}");
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn down(dir: &Path) -> anyhow::Result<ExitCode> {
    let dir = LabDir::new(dir)?;
    let state = dir.read_state().ok().flatten();
    let was_up = dir.holder();
    if let Some(pid) = was_up {
        stop(&dir, pid).await?;
    }
    if let Some(state) = &state {
        processes::sweep(&state.id);
    }
    if dir.is_lab() {
        dir.clear()?;
    }
    match (was_up, state) {
        (Some(_), _) => println!("the lab in {} is down", dir.root().display()),
        (None, Some(_)) => println!("removed what a killed lab left in {}", dir.root().display()),
        (None, None) => println!("no lab is up in {}", dir.root().display()),
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks the lab's process to end, then makes it.
async fn stop(dir: &LabDir, pid: u32) -> anyhow::Result<()> {
    let process = Pid::from_raw(i32::try_from(pid).context("the lab's process id")?);
    // The folder is locked by a live process, which wrote its id there: the number is nobody else's.
    for (signal, patience) in [
        (Signal::SIGTERM, END_TIMEOUT),
        (Signal::SIGKILL, Duration::from_secs(5)),
    ] {
        if let Err(error) = kill(process, signal)
            && error != nix::Error::ESRCH
        {
            return Err(error).with_context(|| format!("ending the lab's process {pid}"));
        }
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            // The folder is given up just before the process ends.
            if dir.holder().is_none() && ended(process) {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    }
    anyhow::bail!("the lab's process {pid} does not end")
}

/// A process that has ended but was not waited for yet counts as ended.
fn ended(process: Pid) -> bool {
    match std::fs::read_to_string(format!("/proc/{process}/stat")) {
        Ok(stat) => stat
            .rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with(['Z', 'X'])),
        Err(_) => true,
    }
}
