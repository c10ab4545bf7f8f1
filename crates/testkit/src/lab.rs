//! A lab of the test's own, driven as a user drives it: by the command line, kubectl and HTTP.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::http::{self, Answer};
use crate::place;

/// A running lab; dropping it runs `lab down`.
pub struct Lab {
    bin: PathBuf,
    /// Its folder.
    pub dir: PathBuf,
    status: Value,
}

impl Lab {
    /// Runs `hawser lab up --detach` with a folder of its own and further flags.
    pub fn up(bin: &Path, name: &str, flags: &[&str]) -> Result<Self> {
        ensure!(
            nix::unistd::geteuid().is_root(),
            "this test makes network namespaces: run it as root"
        );
        let dir = std::env::temp_dir().join(format!("hawser-test-{name}-{}", std::process::id()));
        let mut lab = Self {
            bin: bin.to_owned(),
            dir,
            status: Value::Null,
        };
        let envoy = place::envoy()?;
        let mut command = lab.command(&["lab", "up", "--detach"]);
        command
            .arg("--dir")
            .arg(&lab.dir)
            .arg("--envoy")
            .arg(envoy)
            .args(flags);
        ok(command.current_dir(place::root()))?;
        lab.status = serde_json::from_str(&ok(lab
            .command(&["lab", "status", "-o", "json"])
            .arg("--dir")
            .arg(&lab.dir))?)?;
        Ok(lab)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.bin);
        command.args(args);
        command
    }

    /// What `lab status -o json` said once the lab was up.
    pub fn status(&self) -> &Value {
        &self.status
    }

    fn cluster(&self, name: &str) -> Result<&Value> {
        let all = self.status["clusters"].as_array();
        all.into_iter()
            .flatten()
            .find(|c| c["name"] == name)
            .with_context(|| format!("no cluster {name} in the status"))
    }

    /// The address of a cluster's ingress on this machine.
    pub fn ingress(&self, cluster: &str) -> Result<SocketAddr> {
        let url = self.cluster(cluster)?["ingress"]
            .as_str()
            .context("no ingress in the status")?;
        url.trim_start_matches("http://")
            .parse()
            .with_context(|| format!("ingress {url}"))
    }

    /// Runs kubectl against a cluster.
    pub fn kubectl(&self, cluster: &str, args: &[&str]) -> Result<String> {
        ok(self.kubectl_command(cluster)?.args(args))
    }

    /// Runs kubectl with a manifest on its standard input; the output whether or not it succeeded.
    pub fn kubectl_apply(&self, cluster: &str, manifest: &str) -> Result<Output> {
        let file = self.dir.join(format!("test-{}.yaml", std::process::id()));
        std::fs::write(&file, manifest)?;
        Ok(self
            .kubectl_command(cluster)?
            .arg("apply")
            .arg("-f")
            .arg(&file)
            .output()?)
    }

    fn kubectl_command(&self, cluster: &str) -> Result<Command> {
        let kubeconfig = self.cluster(cluster)?["kubeconfig"]
            .as_str()
            .context("no kubeconfig in the status")?;
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(kubeconfig);
        Ok(command)
    }

    /// Runs a shell command in a pod's network (`namespace/pod-or-deployment`).
    pub fn sh(&self, cluster: &str, place: &str, script: &str) -> Result<String> {
        let mut command = self.command(&["lab", "exec", "--dir"]);
        command
            .arg(&self.dir)
            .args([cluster, place, "--", "bash", "-c", script]);
        ok(&mut command)
    }

    /// An HTTP GET from within a pod's network: what the pod's own application would get.
    pub fn get(
        &self,
        cluster: &str,
        place: &str,
        host: &str,
        port: u16,
        path: &str,
    ) -> Result<Answer> {
        let script = format!(
            "exec 3<>/dev/tcp/{host}/{port} && printf 'GET {path} HTTP/1.1\\r\\nhost: {host}:{port}\\r\\nconnection: close\\r\\n\\r\\n' >&3 && timeout 10 cat <&3"
        );
        http::parse(self.sh(cluster, place, &script)?.as_bytes())
    }

    /// Connections that a pod's Envoy has made to the endpoints of a cluster since it started.
    pub fn connections(&self, cluster: &str, place: &str, name: &str) -> Result<u64> {
        let answer = self.get(cluster, place, "127.0.0.1", 15000, "/clusters")?;
        let count = |line: &str| {
            let (address, count) = line
                .strip_prefix(name)?
                .strip_prefix("::")?
                .split_once("::cx_total::")?;
            (!address.is_empty()).then(|| count.trim().parse::<u64>().ok())?
        };
        Ok(answer.body.lines().filter_map(count).sum())
    }

    /// A control plane's `/debug/…` as JSON.
    pub fn debug(&self, cluster: &str, path: &str) -> Result<Value> {
        let answer = self.get(cluster, "istio-system/istiod", "127.0.0.1", 15014, path)?;
        ensure!(
            answer.status == 200,
            "{path}: {} {}",
            answer.status,
            answer.body
        );
        Ok(serde_json::from_str(&answer.body)?)
    }

    /// Processes of a pod by the name of their program.
    pub fn pids(&self, cluster: &str, place: &str, program: &str) -> Result<Vec<i32>> {
        let netns = self.sh(cluster, place, "readlink /proc/self/ns/net")?;
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc")?.flatten() {
            let Some(pid) = entry
                .file_name()
                .to_str()
                .and_then(|n| n.parse::<i32>().ok())
            else {
                continue;
            };
            let same = std::fs::read_link(entry.path().join("ns/net"))
                .is_ok_and(|l| l.as_os_str() == netns.trim());
            let comm = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            if same && comm.trim() == program {
                found.push(pid);
            }
        }
        ensure!(
            !found.is_empty(),
            "no process {program} in {cluster} {place}"
        );
        Ok(found)
    }

    /// Ends the lab, as `hawser lab down` does.
    pub fn down(&self) -> Result<()> {
        ok(self.command(&["lab", "down", "--dir"]).arg(&self.dir)).map(drop)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Err(error) = self.down() {
            eprintln!("lab down: {error:#}");
        }
        // What it leaves behind is a step of the tests; here the folder just goes.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Ends a process without warning it. One that ended by itself meanwhile is fine: short-lived ones, such as a probe's,
/// bear the name of the program that starts them.
pub fn kill_9(pid: i32) -> Result<()> {
    let killed = nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(pid),
        nix::sys::signal::Signal::SIGKILL,
    );
    match killed {
        Err(nix::errno::Errno::ESRCH) => Ok(()),
        other => other.with_context(|| format!("killing {pid}")),
    }
}

/// Runs a command that must succeed within two minutes; its standard output.
pub fn ok(command: &mut Command) -> Result<String> {
    let shown = format!("{command:?}");
    let output = command
        .output()
        .with_context(|| format!("running {shown}"))?;
    if !output.status.success() {
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        bail!("{shown}: {}\n{out}{err}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// How long a mesh may take to get over something.
pub const RECOVERY: Duration = Duration::from_secs(30);
