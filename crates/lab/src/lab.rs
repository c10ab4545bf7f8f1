//! A running lab: networks, API servers, and per cluster a node, controllers, DNS and a way in.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures::StreamExt;
use hawser_kube::{Client, Event, Resource, Selection, watch as watch_kind};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::controllers;
use crate::dir::{LabDir, Lock};
use crate::dns;
use crate::kubeconfig;
use crate::net::{Forwarder, LabNet, Node, NodeNet, Target, plan};
use crate::pods::{self, Dirs, Images, NodeContext};
use crate::processes;
use crate::progress::Progress;
use crate::sandbox::Runner;
use crate::server::{NODE_PORT, Served, Servers};
use crate::state::{ClusterState, LabPhase, State};

const SERVICES: Resource = Resource::namespaced("", "v1", "Service", "services");
/// Namespace and name of the gateway that `ingress` leads to.
const INGRESS: (&str, &str) = ("istio-system", "istio-ingressgateway");
/// How long nodes may take to end their pods.
const NODES_END: Duration = Duration::from_secs(15);

/// What a lab is made of.
#[derive(Debug)]
pub struct Options {
    /// How many clusters.
    pub clusters: usize,
    /// What images stand for.
    pub images: Images,
    /// Programs that containers need besides this one.
    pub companions: Vec<&'static str>,
    /// The Envoy program, where one is needed.
    pub envoy: Option<PathBuf>,
}

/// A cluster of a running lab.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// Its API server.
    pub client: Client,
    /// Its node's network.
    pub net: NodeNet,
    /// A kubeconfig for it alone.
    pub kubeconfig: PathBuf,
    /// Where its ingress gateway answers on this machine.
    pub ingress: SocketAddr,
    /// Records of the lab's running pods.
    pub records: PathBuf,
}

/// A running lab. [`Lab::end`] ends it; dropping it lets the kernel do so.
#[derive(Debug)]
pub struct Lab {
    /// Its folder.
    pub dir: LabDir,
    /// Its clusters.
    pub clusters: Vec<Cluster>,
    /// This program as it stays while the lab is up.
    pub exe: PathBuf,
    state: State,
    stop: CancellationToken,
    stop_servers: CancellationToken,
    nodes: Vec<JoinHandle<()>>,
    servers: Servers,
    // Both end what they hold when they are dropped.
    _runner: Runner,
    _net: LabNet,
    _lock: Lock,
}

impl Lab {
    /// Starts clusters in `dir` and returns once their API servers answer and their nodes work.
    pub async fn start(dir: LabDir, options: Options, progress: &Progress) -> anyhow::Result<Lab> {
        if let Some(state) = dir
            .read_state()
            .ok()
            .flatten()
            .filter(|_| dir.holder().is_none())
        {
            processes::sweep(&state.id);
        }
        let lock = dir.take()?;
        let id = uuid::Uuid::new_v4().simple().to_string()[..8].to_string();
        let exe =
            crate::programs::gather(&dir.bin(), &options.companions, options.envoy.as_deref())?;
        let runner =
            Runner::new(&exe, &id).context("starting the thread that starts containers")?;
        let plan = plan(options.clusters);
        let net = tokio::task::spawn_blocking(move || LabNet::create(&plan)).await??;
        progress.say(format!("networks of {} clusters", net.nodes.len()));

        let names: Vec<String> = (1..=net.nodes.len())
            .map(|number| format!("cluster{number}"))
            .collect();
        let served = names
            .iter()
            .zip(&net.nodes)
            .map(|(name, node)| Served {
                name: name.clone(),
                net: node.net.clone(),
                kubeconfig: dir.kubeconfig(name),
            })
            .collect();
        let stop = CancellationToken::new();
        let stop_servers = CancellationToken::new();
        let servers =
            Servers::start(&runner, &dir, exe.clone(), served, stop_servers.clone()).await?;
        progress.say("API servers answer");

        let images = Arc::new(options.images);
        let mut clusters = Vec::new();
        let mut nodes = Vec::new();
        for ((name, node), client) in names.iter().zip(&net.nodes).zip(&servers.clients) {
            let context = node_context(&dir, &id, name, node, client, &runner, &images);
            nodes.push(tokio::spawn(pods::run(context, stop.clone())));
            start_controllers(client, &node.net, &stop_servers);
            let ingress = start_ingress(client, &node.net, &stop).await?;
            clusters.push(Cluster {
                name: name.clone(),
                client: client.clone(),
                net: node.net.clone(),
                kubeconfig: dir.kubeconfig(name),
                ingress,
                records: dir.records(),
            });
        }
        let files: Vec<_> = clusters
            .iter()
            .map(|cluster| (cluster.name.clone(), cluster.kubeconfig.clone()))
            .collect();
        let merged = dir.merged_kubeconfig();
        write_private(&merged, &kubeconfig::merge(&files)?)?;
        let state = State {
            id,
            pid: std::process::id(),
            phase: LabPhase::Starting,
            kubeconfig: merged,
            clusters: clusters.iter().map(cluster_state).collect(),
        };
        dir.write_state(&state)?;
        let lab = Lab {
            dir,
            clusters,
            exe,
            state,
            stop,
            stop_servers,
            nodes,
            servers,
            _runner: runner,
            _net: net,
            _lock: lock,
        };
        Ok(lab)
    }

    /// Says to other commands that the lab is ready.
    pub fn ready(&mut self) -> anyhow::Result<()> {
        self.state.phase = LabPhase::Ready;
        self.dir
            .write_state(&self.state)
            .context("writing the lab's state")
    }

    /// Ends pods, then API servers, then networks, and clears the folder.
    pub async fn end(self) -> anyhow::Result<()> {
        self.stop.cancel();
        let nodes = futures::future::join_all(self.nodes);
        if tokio::time::timeout(NODES_END, nodes).await.is_err() {
            tracing::warn!("pods did not end in time; they are killed");
        }
        self.stop_servers.cancel();
        self.servers.ended().await;
        drop(self._runner);
        processes::sweep(&self.state.id);
        drop(self._net);
        self.dir.clear()?;
        Ok(())
    }
}

fn cluster_state(cluster: &Cluster) -> ClusterState {
    ClusterState {
        name: cluster.name.clone(),
        kubeconfig: cluster.kubeconfig.clone(),
        ingress: format!("http://{}", cluster.ingress),
        node_ip: cluster.net.node_ip,
        node_netns: cluster.net.netns.clone(),
    }
}

fn write_private(path: &std::path::Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let file = std::fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| path.display().to_string())
}

fn node_context(
    dir: &LabDir,
    lab_id: &str,
    name: &str,
    node: &Node,
    client: &Client,
    runner: &Runner,
    images: &Arc<Images>,
) -> NodeContext {
    NodeContext {
        cluster: name.to_string(),
        lab_id: lab_id.to_string(),
        node_name: format!("{name}-node"),
        region: name.to_string(),
        zone: format!("{name}-a"),
        client: client.clone(),
        netns: node.netns.clone(),
        net: node.net.clone(),
        runner: runner.clone(),
        images: images.clone(),
        dns: dns_service(&node.net),
        dirs: Dirs {
            volumes: dir.volumes(),
            logs: dir.logs(),
            records: dir.records(),
            scratch: dir.scratch(),
            bin: dir.bin(),
        },
        cpus: std::thread::available_parallelism().map_or(1, |count| count.get() as u64),
        memory: total_memory(&std::fs::read_to_string("/proc/meminfo").unwrap_or_default()),
    }
}

/// The tenth address of the services' range, as clusters commonly have it.
fn dns_service(net: &NodeNet) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(net.service_cidr.network()) + 10)
}

/// Bytes.
fn total_memory(meminfo: &str) -> u64 {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"));
    line.and_then(|rest| {
        rest.trim()
            .trim_end_matches("kB")
            .trim()
            .parse::<u64>()
            .ok()
    })
    .unwrap_or(0)
        << 10
}

fn start_controllers(client: &Client, net: &NodeNet, stop: &CancellationToken) {
    let settings = controllers::Settings {
        client: client.clone(),
        net: net.clone(),
        apiserver: SocketAddrV4::new(net.node_ip, NODE_PORT),
    };
    tokio::spawn(controllers::run(settings, stop.clone()));
    let settings = dns::Settings {
        client: client.clone(),
        net: net.clone(),
    };
    let stop = stop.clone();
    tokio::spawn(async move {
        if let Err(error) = dns::run(settings, stop).await {
            tracing::error!(%error, "cluster DNS does not run");
        }
    });
}

/// A port on this machine's loopback that leads to the cluster's ingress gateway once it has an address.
async fn start_ingress(
    client: &Client,
    net: &NodeNet,
    stop: &CancellationToken,
) -> anyhow::Result<SocketAddr> {
    let (set_target, target) = watch::channel(None);
    let forwarder = Forwarder::start(0, target, stop.clone())
        .await
        .context("listening on the host's loopback")?;
    let (namespace, name) = INGRESS;
    let selection = Selection::in_namespace(namespace).fields(format!("metadata.name={name}"));
    let mut events = watch_kind(client, SERVICES, selection);
    let (netns, stop) = (net.netns.clone(), stop.clone());
    tokio::spawn(async move {
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = stop.cancelled() => return,
            };
            let service = match event {
                Some(Event::Reset { objects, .. }) => objects.into_iter().next(),
                Some(Event::Apply { object, .. }) => Some(object),
                Some(Event::Delete { .. }) => None,
                Some(_) => continue,
                None => return,
            };
            let address = service.as_ref().and_then(balancer_address);
            set_target.send_replace(address.map(|address| Target {
                netns: netns.clone(),
                address,
            }));
        }
    });
    Ok(forwarder.address())
}

/// Load balancer address and HTTP port of a service.
fn balancer_address(service: &Value) -> Option<SocketAddr> {
    let ip: Ipv4Addr = service
        .pointer("/status/loadBalancer/ingress/0/ip")?
        .as_str()?
        .parse()
        .ok()?;
    let ports = service.pointer("/spec/ports")?.as_array()?;
    let http = ports
        .iter()
        .find(|port| port["port"] == 80)
        .or(ports.first())?;
    let port = u16::try_from(http["port"].as_u64()?).ok()?;
    Some(SocketAddr::from((ip, port)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ingress_addresses() {
        let service = json!({
            "spec": {"ports": [{"port": 15021}, {"port": 80}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "172.30.1.1"}]}}
        });
        assert_eq!(balancer_address(&service), "172.30.1.1:80".parse().ok());
        assert_eq!(
            balancer_address(&json!({"spec": {"ports": [{"port": 80}]}})),
            None
        );
    }

    #[test]
    fn memory_of_the_machine() {
        assert_eq!(
            total_memory("MemTotal:       16 kB\nMemFree: 1 kB\n"),
            16384
        );
    }
}
