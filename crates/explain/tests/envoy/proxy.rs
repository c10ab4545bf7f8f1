//! A real Envoy in the pod's namespace, with the configuration under test.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use hawser_testkit::{place, wait};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::ads::{ControlPlane, Resources};
use crate::net::Net;

/// A running Envoy; it ends with this value.
pub struct Envoy {
    process: Child,
    control_plane: ControlPlane,
    server: tokio::task::JoinHandle<()>,
    folder: tempfile::TempDir,
}

impl Drop for Envoy {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
        self.server.abort();
    }
}

impl Envoy {
    /// Starts one, and waits until it has everything; fails with what it refused.
    pub fn start(
        runtime: &Handle,
        net: &Net,
        resources: Resources,
        concurrency: &str,
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::set_permissions(
            folder.path(),
            std::os::unix::fs::PermissionsExt::from_mode(0o777),
        )?;
        let control_plane = ControlPlane::new(resources);
        let server = {
            let _entered = runtime.enter();
            control_plane.serve(&folder.path().join("xds"))?
        };
        std::fs::write(
            folder.path().join("bootstrap.json"),
            bootstrap(folder.path()).to_string(),
        )?;
        let (envoy, path, concurrency) = (
            place::envoy()?,
            folder.path().to_owned(),
            concurrency.to_owned(),
        );
        // Started by the pod's thread, whose namespace it inherits and with which it ends.
        let process = net.pod.run(move || spawn(&envoy, &path, &concurrency))??;
        let mut out = Self {
            process,
            control_plane,
            server,
            folder,
        };
        out.wait()?;
        Ok(out)
    }

    fn wait(&mut self) -> Result<()> {
        let ready = wait::until("Envoy is ready", Duration::from_secs(20), || {
            if let Some(status) = self.process.try_wait()? {
                return Ok(Err(anyhow::anyhow!("Envoy ended: {status}")));
            }
            let refused = self.control_plane.refused();
            if !refused.is_empty() {
                return Ok(Err(anyhow::anyhow!(
                    "Envoy refused: {}",
                    refused.join("; ")
                )));
            }
            ensure!(
                self.admin("/ready")?.contains("LIVE"),
                "not live yet; clusters that are not: {}",
                self.admin("/stats?filter=cluster_manager.(warming|cluster_added|active)")?
            );
            let stats = self.admin("/stats?filter=warming")?;
            ensure!(
                !stats
                    .lines()
                    .any(|l| l.contains("warming") && !l.ends_with(": 0")),
                "warming: {stats}"
            );
            Ok(Ok(()))
        });
        ready.and_then(|r| r).with_context(|| {
            format!(
                "waiting for: {}\n{}",
                self.admin("/init_dump").unwrap_or_default(),
                self.log()
            )
        })
    }

    /// What it refused of what it was given.
    pub fn refused(&self) -> Vec<String> {
        self.control_plane.refused()
    }

    /// The end of its log.
    pub fn log(&self) -> String {
        let text = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let from = text.len().saturating_sub(2000);
        text.get(from..).unwrap_or(&text).to_owned()
    }

    /// Requests sent up to now by cluster, named as its statistics are.
    pub fn requests(&self) -> Result<BTreeMap<String, u64>> {
        let text = self.admin("/stats?usedonly&filter=^cluster\\..*\\.upstream_rq_total$")?;
        let line = |l: &str| {
            let (name, count) = l.rsplit_once(": ")?;
            let name = name
                .strip_prefix("cluster.")?
                .strip_suffix(".upstream_rq_total")?;
            Some((
                name.trim_end_matches(';').to_owned(),
                count.trim().parse().ok()?,
            ))
        };
        Ok(text.lines().filter_map(line).collect())
    }

    fn admin(&self, path: &str) -> Result<String> {
        let mut socket = UnixStream::connect(self.folder.path().join("admin"))?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        socket.write_all(
            format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n").as_bytes(),
        )?;
        let mut bytes = Vec::new();
        socket.take(8 << 20).read_to_end(&mut bytes)?;
        let answer = hawser_testkit::http::parse(&bytes)?;
        if answer.status != 200 && answer.status != 503 {
            bail!("admin: {} {}", answer.status, answer.body);
        }
        Ok(answer.body)
    }
}

fn spawn(envoy: &Path, folder: &Path, concurrency: &str) -> Result<Child> {
    let log = std::fs::File::create(folder.join("log"))?;
    let own: PathBuf = folder.join("bootstrap.json");
    Command::new("setpriv")
        .args([
            "--reuid=1337",
            "--regid=1337",
            "--clear-groups",
            "--pdeathsig=KILL",
        ])
        .arg(envoy)
        .args([
            "--use-dynamic-base-id",
            "--concurrency",
            concurrency,
            "--log-level",
            "warning",
            "--disable-hot-restart",
        ])
        .arg("-c")
        .arg(own)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .context("setpriv (util-linux)")
}

/// As the agent's bootstrap has it, as far as it matters to calls.
fn bootstrap(folder: &Path) -> Value {
    let pipe = |name: &str| {
        let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
        json!({
            "name": name, "type": "STATIC", "connect_timeout": "1s",
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": {"pipe": {"path": folder.join("xds").to_string_lossy()}}}}]}]},
            "typed_extension_protocol_options": {options: {
                "@type": format!("type.googleapis.com/{options}"), "explicit_http_config": {"http2_protocol_options": {}}}},
        })
    };
    let ads = json!({"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"});
    json!({
        "node": {"id": "test", "cluster": "test"},
        "layered_runtime": {"layers": [{"name": "global config", "static_layer": {
            "re2.max_program_size.error_level": 32768,
            "envoy.reloadable_features.http_reject_path_with_fragment": false,
        }}]},
        "admin": {"address": {"pipe": {"path": folder.join("admin").to_string_lossy(), "mode": 511}}},
        "dynamic_resources": {
            "lds_config": ads, "cds_config": ads,
            "ads_config": {"api_type": "GRPC", "transport_api_version": "V3", "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}]},
        },
        "static_resources": {"clusters": [pipe("xds-grpc"), pipe("sds-grpc")]},
    })
}
