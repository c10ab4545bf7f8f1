//! The API servers: one supervised child process for all clusters of a lab.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use hawser_kube::Client;
use http::Method;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::dir::LabDir;
use crate::net::NodeNet;
use crate::pods::collect_output;
use crate::sandbox::{LAB_ID_VARIABLE, Process, Program, Request, Runner};

/// The port of the API server on its node, where pods reach it.
pub const NODE_PORT: u16 = 6443;
/// How long the first answer may take.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Between restarts.
const RESTART_DELAY: Duration = Duration::from_millis(200);

/// What the API server must know of one cluster.
#[derive(Debug, Clone)]
pub struct Served {
    /// The cluster's name.
    pub name: String,
    /// Its node's network, on which it listens for pods.
    pub net: NodeNet,
    /// Where its kubeconfig goes.
    pub kubeconfig: PathBuf,
}

/// The clusters' API servers.
#[derive(Debug)]
pub struct Servers {
    /// One client per cluster, in order.
    pub clients: Vec<Client>,
    supervisor: tokio::task::JoinHandle<()>,
}

impl Servers {
    /// Starts them and waits until each answers. When the process ends before `stop`, it is started
    /// again at the same addresses.
    pub async fn start(
        runner: &Runner,
        dir: &LabDir,
        exe: PathBuf,
        served: Vec<Served>,
        stop: CancellationToken,
    ) -> anyhow::Result<Servers> {
        let mut process = launch(runner, dir, &exe, &served, &BTreeMap::new()).await?;
        let mut clients = Vec::new();
        let mut ports = BTreeMap::new();
        let deadline = Instant::now() + START_TIMEOUT;
        for cluster in &served {
            let client = loop {
                match answering(&cluster.kubeconfig).await {
                    Ok(client) => break client,
                    Err(error) if Instant::now() > deadline => {
                        return Err(error.context(format!(
                            "the API server of {} does not answer",
                            cluster.name
                        )));
                    }
                    Err(_) => {}
                }
                tokio::select! {
                    code = process.wait() => {
                        let log = dir.logs().join(LOG);
                        bail!("the API server ended with {code}: {}", last_lines(&log));
                    }
                    () = sleep(Duration::from_millis(10)) => {}
                }
            };
            let port = port_of(client.server());
            ports.insert(
                cluster.name.clone(),
                port.context("the kubeconfig names no port")?,
            );
            clients.push(client);
        }
        let supervisor = tokio::spawn(supervise(
            process,
            runner.clone(),
            dir.clone(),
            exe,
            served,
            ports,
            stop,
        ));
        Ok(Servers {
            clients,
            supervisor,
        })
    }

    /// Waits for the end after `stop`.
    pub async fn ended(self) {
        let _ = self.supervisor.await;
    }
}

const LOG: &str = "apiserver.log";

async fn answering(kubeconfig: &std::path::Path) -> anyhow::Result<Client> {
    let client = Client::from_kubeconfig_file(kubeconfig, None).await?;
    client.raw(Method::GET, "/version", None).await?;
    Ok(client)
}

fn port_of(server: &str) -> Option<u16> {
    server
        .trim_end_matches('/')
        .rsplit_once(':')?
        .1
        .parse()
        .ok()
}

fn last_lines(log: &std::path::Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}

async fn launch(
    runner: &Runner,
    dir: &LabDir,
    exe: &std::path::Path,
    served: &[Served],
    ports: &BTreeMap<String, u16>,
) -> anyhow::Result<Process> {
    let mut argv = vec![exe.display().to_string(), "apiserver".to_string()];
    argv.extend(["--data-dir".to_string(), dir.api().display().to_string()]);
    for cluster in served {
        argv.push("--cluster".to_string());
        argv.push(format!(
            "name={},addr=127.0.0.1:{},netns={},netns-addr={}:{NODE_PORT},kubeconfig={}",
            cluster.name,
            ports.get(&cluster.name).unwrap_or(&0),
            cluster.net.netns.display(),
            cluster.net.node_ip,
            cluster.kubeconfig.display(),
        ));
    }
    let mut env: BTreeMap<String, String> = std::env::vars().collect();
    env.insert(LAB_ID_VARIABLE.to_string(), runner.lab_id().to_string());
    let program = Program {
        argv,
        env,
        cwd: None,
        uid: 0,
        gid: 0,
        groups: Vec::new(),
    };
    let mut process = runner
        .start(&Request::Guard(program))
        .await
        .context("starting the API server")?;
    collect_output(&mut process, &dir.logs().join(LOG)).context("the API server's log")?;
    Ok(process)
}

async fn supervise(
    mut process: Process,
    runner: Runner,
    dir: LabDir,
    exe: PathBuf,
    served: Vec<Served>,
    ports: BTreeMap<String, u16>,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            code = process.wait() => tracing::warn!(code, "the API server ended; starting it again"),
            () = stop.cancelled() => {
                process.signal(nix::sys::signal::Signal::SIGTERM);
                if tokio::time::timeout(Duration::from_secs(3), process.wait()).await.is_err() {
                    process.signal(nix::sys::signal::Signal::SIGKILL);
                    process.wait().await;
                }
                return;
            }
        }
        process = loop {
            match launch(&runner, &dir, &exe, &served, &ports).await {
                Ok(process) => break process,
                Err(error) => tracing::error!(%error, "the API server"),
            }
            tokio::select! {
                () = sleep(RESTART_DELAY) => {}
                () = stop.cancelled() => return,
            }
        };
        // One that ends at once must not be started in a hot loop.
        sleep(RESTART_DELAY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports() {
        assert_eq!(port_of("https://127.0.0.1:6443/"), Some(6443));
        assert_eq!(port_of("https://127.0.0.1"), None);
    }
}
