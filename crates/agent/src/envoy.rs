//! Running Envoy: started, started again when it dies, drained before it is stopped.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hawser_base::backoff::Backoff;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::admin::Admin;
use crate::chance::chance;
use crate::config::{Config, Ports};

/// An Envoy that ran this long was well, so the next start after it need not wait.
const WELL: Duration = Duration::from_secs(30);
/// How long Envoy may take to exit once told to.
const EXIT_PATIENCE: Duration = Duration::from_secs(5);
/// How often open connections are counted while draining.
const POLL: Duration = Duration::from_millis(100);

/// Why Envoy does not run.
#[derive(Debug, thiserror::Error)]
pub enum EnvoyError {
    #[error("no Envoy found: {0}; give one with --envoy, in ENVOY_PATH, or as `envoy` on PATH")]
    Missing(String),
    #[error("cannot start {program}: {source}")]
    Start {
        program: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot read {path}: {source}")]
    Override {
        path: PathBuf,
        source: std::io::Error,
    },
}

/// How Envoy is started.
pub struct Launch {
    program: PathBuf,
    arguments: Vec<String>,
}

impl Launch {
    /// The program and its arguments; the bootstrap must be in place before it is started.
    pub fn new(config: &Config) -> Result<Launch, EnvoyError> {
        let program = find(config.envoy.as_deref(), std::env::var_os("PATH").as_deref())?;
        let mut arguments = vec![
            "--config-path".to_owned(),
            config.bootstrap().to_string_lossy().into_owned(),
            // There is one Envoy per pod and no hot restart; without it, Envoys of several pods on one
            // machine do not meet in shared memory.
            "--disable-hot-restart".to_owned(),
            "--drain-strategy".to_owned(),
            "immediate".to_owned(),
            "--drain-time-s".to_owned(),
            config.drain.as_secs().max(1).to_string(),
            "--local-address-ip-version".to_owned(),
            if config
                .addresses
                .first()
                .is_some_and(std::net::IpAddr::is_ipv6)
            {
                "v6"
            } else {
                "v4"
            }
            .to_owned(),
            "--file-flush-interval-msec".to_owned(),
            "1000".to_owned(),
            "--log-level".to_owned(),
            config.log_level.clone(),
            "--concurrency".to_owned(),
            config.concurrency.max(1).to_string(),
        ];
        if !config.component_log_level.is_empty() {
            arguments.extend([
                "--component-log-level".to_owned(),
                config.component_log_level.clone(),
            ]);
        }
        if let Some(path) = &config.bootstrap_override {
            let source = std::fs::read_to_string(path);
            let text = source.map_err(|source| EnvoyError::Override {
                path: path.clone(),
                source,
            })?;
            arguments.extend(["--config-yaml".to_owned(), text]);
        }
        Ok(Launch { program, arguments })
    }

    fn start(&self) -> Result<Child, EnvoyError> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).kill_on_drop(true);
        die_with_parent(&mut command);
        command.spawn().map_err(|source| EnvoyError::Start {
            program: self.program.clone(),
            source,
        })
    }
}

/// Has the kernel kill Envoy when the agent dies, however it dies: nobody else would stop it.
#[allow(
    unsafe_code,
    reason = "pre_exec runs between fork and exec; prctl is async-signal-safe and allocates nothing"
)]
fn die_with_parent(command: &mut Command) {
    let set = || nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(std::io::Error::from);
    // SAFETY: the closure makes one system call and touches no memory that another thread may hold.
    unsafe {
        command.pre_exec(set);
    }
}

fn find(given: Option<&Path>, search: Option<&std::ffi::OsStr>) -> Result<PathBuf, EnvoyError> {
    if let Some(path) = given {
        return match path.is_file() {
            true => Ok(path.to_owned()),
            false => Err(EnvoyError::Missing(format!(
                "{} is not a file",
                path.display()
            ))),
        };
    }
    let directories = search
        .map(|search| std::env::split_paths(search).collect::<Vec<_>>())
        .unwrap_or_default();
    let found = directories
        .into_iter()
        .map(|directory| directory.join("envoy"))
        .find(|path| path.is_file());
    found.ok_or_else(|| EnvoyError::Missing("none is configured".to_owned()))
}

/// Keeps an Envoy running until stopped, then drains it. `epoch` counts the starts.
pub async fn supervise(
    launch: Launch,
    config: &Config,
    epoch: watch::Sender<u64>,
    stop: CancellationToken,
) -> Result<(), EnvoyError> {
    let admin = Admin::new(config.ports.admin);
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
    loop {
        let mut child = launch.start()?;
        let started = Instant::now();
        epoch.send_modify(|count| *count += 1);
        tracing::info!(pid = child.id(), epoch = *epoch.borrow(), "Envoy started");
        tokio::select! {
            status = child.wait() => {
                let status = status.map(|status| status.to_string()).unwrap_or_else(|error| error.to_string());
                if started.elapsed() >= WELL {
                    backoff.succeeded();
                }
                let delay = backoff.after_failure(chance());
                tracing::error!(status, restart_in = ?delay, "Envoy ended by itself");
                tokio::select! {
                    () = tokio::time::sleep(delay) => {}
                    () = stop.cancelled() => return Ok(()),
                }
            }
            () = stop.cancelled() => {
                drain(&admin, config.drain, config.ports).await;
                terminate(&mut child).await;
                return Ok(());
            }
        }
    }
}

/// Tells Envoy to take no new work and waits until no connection is left, or `limit` is over.
async fn drain(admin: &Admin, limit: Duration, ports: Ports) {
    let begun = Instant::now();
    if let Err(error) = admin.post("/drain_listeners?graceful&skip_exit").await {
        tracing::warn!(%error, "Envoy cannot be drained");
        return;
    }
    loop {
        match admin.statistics("downstream_cx_active%24").await {
            Ok(statistics) => {
                let open = open_connections(&statistics, ports);
                if open == 0 || begun.elapsed() >= limit {
                    tracing::info!(open, took = ?begun.elapsed(), "Envoy drained");
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "connections cannot be counted");
                return;
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Connections of listeners, without those of administration, statistics and readiness, and without
/// counting them again by worker.
fn open_connections(statistics: &std::collections::BTreeMap<String, u64>, ports: Ports) -> u64 {
    let own = [ports.statistics, ports.readiness].map(|port| format!("_{port}"));
    let counted = statistics.iter().filter(|(name, _)| {
        let listener = name
            .strip_prefix("listener.")
            .and_then(|name| name.strip_suffix(".downstream_cx_active"));
        listener.is_some_and(|listener| {
            !listener.starts_with("admin")
                && !listener.contains("worker_")
                && !own.iter().any(|port| listener.ends_with(port))
        })
    });
    counted.map(|(_, count)| count).sum()
}

async fn terminate(child: &mut Child) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    if let Some(pid) = pid {
        // An error means that it has ended already.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
    if tokio::time::timeout(EXIT_PATIENCE, child.wait())
        .await
        .is_err()
    {
        tracing::warn!("Envoy does not end, so it is killed");
        if let Err(error) = child.kill().await {
            tracing::warn!(%error, "Envoy cannot be killed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{find, open_connections};
    use crate::config::Ports;

    #[test]
    fn connections_that_count() {
        let statistics = [
            ("listener.0.0.0.0_15006.downstream_cx_active", 2),
            ("listener.0.0.0.0_15006.worker_0.downstream_cx_active", 2),
            ("listener.0.0.0.0_15021.downstream_cx_active", 4),
            ("listener.0.0.0.0_15090.downstream_cx_active", 8),
            ("listener.admin.downstream_cx_active", 16),
            ("http.inbound.downstream_cx_active", 32),
        ];
        let statistics = statistics
            .map(|(name, count)| (name.to_owned(), count))
            .into();
        assert_eq!(open_connections(&statistics, Ports::default()), 2);
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = find(Some("/nowhere/envoy".as_ref()), None)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("/nowhere/envoy is not a file") && error.contains("--envoy"),
            "{error}"
        );
        assert!(find(None, Some("/nowhere".as_ref())).is_err());
    }
}
