//! A lab that is up, and asking its clusters.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hawser_kube::{Client, Resource};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// How long anything may take that the tests wait for.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// Asks until the answer is yes; the last no is the failure's message.
pub async fn wait<T>(what: &str, mut question: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match question().await {
            Ok(answer) => return answer,
            Err(no) => assert!(Instant::now() < deadline, "waiting for {what}: {no}"),
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Runs this program as `hawser`; exit code and all it said.
pub async fn run_self(args: &[&str]) -> (i32, String) {
    let command = tokio::process::Command::new(std::env::current_exe().expect("this program"))
        .args(args)
        .env("RUST_BACKTRACE", "0")
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE * 3, command)
        .await
        .expect("in time")
        .expect("this program");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code().unwrap_or(-1),
        text(&output.stdout) + &text(&output.stderr),
    )
}

pub fn own_folder(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("hawser-test-{name}-{}", std::process::id()))
}

/// Until a process is gone.
pub async fn gone(what: &str, pid: Pid) {
    wait(what, async || {
        match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) if !stat.contains(") Z ") => Err("alive".to_string()),
            _ => Ok(()),
        }
    })
    .await;
}

/// Processes that carry a lab's id.
pub fn carriers(id: &str) -> usize {
    let wanted = format!("HAWSER_LAB_ID={id}");
    let entries = std::fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(Result::ok);
    entries
        .filter_map(|entry| std::fs::read(entry.path().join("environ")).ok())
        .filter(|environ| {
            environ
                .split(|byte| *byte == 0)
                .any(|variable| variable == wanted.as_bytes())
        })
        .count()
}

/// A pod bound to a node, with one container that runs a script.
pub fn pod(name: &str, node: &str, script: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": 2,
            "containers": [{"name": "main", "image": "none", "command": ["sh", "-c", script]}],
        },
    })
}

pub struct Scene {
    pub dir: PathBuf,
    pub state: Value,
    pub clusters: Vec<Cluster>,
}

pub struct Cluster {
    pub name: String,
    client: Client,
}

impl Scene {
    pub async fn up(name: &str) -> Scene {
        let dir = own_folder(name);
        let folder = dir.to_str().expect("text");
        let began = Instant::now();
        let (code, said) = run_self(&[
            "lab",
            "up",
            "--topology",
            "none",
            "--app",
            "none",
            "--detach",
            "--dir",
            folder,
        ])
        .await;
        assert_eq!(code, 0, "{said}");
        println!("lab up in {:?}", began.elapsed());
        let (code, state) = run_self(&["lab", "status", "-o", "json", "--dir", folder]).await;
        assert_eq!(code, 0, "{state}");
        let state: Value = serde_json::from_str(&state).expect("JSON");
        let mut clusters = Vec::new();
        for cluster in state["clusters"].as_array().expect("clusters") {
            let kubeconfig = Path::new(cluster["kubeconfig"].as_str().expect("a kubeconfig"));
            let client = Client::from_kubeconfig_file(kubeconfig, None)
                .await
                .expect("a client");
            clusters.push(Cluster {
                name: cluster["name"].as_str().expect("a name").to_string(),
                client,
            });
        }
        Scene {
            dir,
            state,
            clusters,
        }
    }

    /// A command of this lab.
    pub async fn lab(&self, args: &[&str]) -> (i32, String) {
        let (command, rest) = args.split_first().expect("a command");
        let dir = self.dir.to_str().expect("text");
        run_self(&[&["lab", command, "--dir", dir], rest].concat()).await
    }

    /// The lab's process whose command line holds `word`.
    pub fn process(&self, word: &str) -> Pid {
        let id = format!(
            "HAWSER_LAB_ID={}",
            self.state["id"].as_str().expect("an id")
        );
        let entries = std::fs::read_dir("/proc")
            .expect("/proc")
            .filter_map(Result::ok);
        let found = entries.map(|entry| entry.path()).find(|path| {
            let read = |name: &str| {
                String::from_utf8_lossy(&std::fs::read(path.join(name)).unwrap_or_default())
                    .into_owned()
            };
            read("environ").split('\0').any(|variable| variable == id)
                && read("cmdline").split('\0').any(|arg| arg == word)
        });
        let path = found.unwrap_or_else(|| panic!("no process {word}"));
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        Pid::from_raw(name.parse().expect("a pid"))
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // Whatever the tests did: a failed one leaves no lab either.
        let exe = std::env::current_exe().expect("this program");
        let _ = std::process::Command::new(exe)
            .args(["lab", "down", "--dir"])
            .arg(&self.dir)
            .output();
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

fn resource(plural: &str) -> Resource {
    match plural {
        "pods" => Resource::namespaced("", "v1", "Pod", "pods"),
        "nodes" => Resource::cluster_wide("", "v1", "Node", "nodes"),
        "configmaps" => Resource::namespaced("", "v1", "ConfigMap", "configmaps"),
        "secrets" => Resource::namespaced("", "v1", "Secret", "secrets"),
        other => panic!("{other}"),
    }
}

impl Cluster {
    pub async fn try_get(
        &self,
        plural: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Value, String> {
        self.client
            .get(&resource(plural), namespace, name)
            .await
            .map_err(|error| error.to_string())
    }

    pub async fn get(
        &self,
        plural: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Value, String> {
        Ok(wait(&format!("{plural} {name}"), async || {
            self.try_get(plural, namespace, name).await
        })
        .await)
    }

    pub async fn create(&self, object: Value) {
        let plural = format!(
            "{}s",
            object["kind"].as_str().expect("a kind").to_lowercase()
        );
        let created = self.client.create(&resource(&plural), &object).await;
        created.unwrap_or_else(|error| panic!("creating {}: {error}", object["metadata"]["name"]));
    }

    pub async fn delete(&self, name: &str, grace: u32) {
        let at = (Some("default"), name);
        let options = json!({"gracePeriodSeconds": grace});
        self.client
            .delete(&resource("pods"), at, &options)
            .await
            .expect("deleting");
    }

    pub async fn pod_gone(&self, name: &str) {
        wait(&format!("{name} to be gone"), async || {
            match self.try_get("pods", Some("default"), name).await {
                Err(error) if error.starts_with("not found") => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }

    pub async fn pod_when(&self, name: &str, holds: impl Fn(&Value) -> bool) -> Value {
        wait(&format!("pod {name}"), async || {
            let pod = self.try_get("pods", Some("default"), name).await?;
            if holds(&pod) {
                Ok(pod)
            } else {
                Err(pod["status"].to_string())
            }
        })
        .await
    }

    pub async fn ready(&self, name: &str) -> Value {
        self.pod_when(name, |pod| {
            let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
            conditions
                .into_iter()
                .any(|c| c["type"] == "Ready" && c["status"] == "True")
        })
        .await
    }
}
