//! The kubelet: runs the pods that are bound to its node as processes of this machine.
//!
//! It sees pods through the API as any client does, one worker task per pod owns everything of that
//! pod, and what happens to its containers goes back through the status subresource.

mod container;
mod env;
mod etc;
mod fields;
mod images;
mod ipam;
mod logs;
mod node;
mod probe;
mod record;
mod serve;
mod source;
mod state;
mod volumes;
mod worker;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use futures::StreamExt;
use hawser_kube::{Client, Event, Resource, Selection, watch as watch_kind};
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use images::{Image, Images, ImagesError, command_line};
pub use logs::{collect as collect_output, path as log_path};
pub use record::{ContainerRecord, Record, netns_of, read_all};

use crate::net::{Netns, NodeNet};
use crate::sandbox::Runner;
use ipam::Ipam;
use worker::{Wish, Worker};

const PODS: Resource = Resource::namespaced("", "v1", "Pod", "pods");

/// Directories of the lab that the kubelet uses; all exist.
#[derive(Debug, Clone)]
pub struct Dirs {
    /// Volumes of pods, by uid.
    pub volumes: PathBuf,
    /// Output of containers.
    pub logs: PathBuf,
    /// Records of running pods.
    pub records: PathBuf,
    /// An empty directory on which containers build their roots, each seeing only its own.
    pub scratch: PathBuf,
    /// Programs of the lab (`hawser`, `hawser-bookinfo`, `envoy`), readable by all inside containers.
    pub bin: PathBuf,
}

/// A node and what its kubelet works with.
#[derive(Debug)]
pub struct NodeContext {
    /// The cluster's name.
    pub cluster: String,
    /// The lab's id.
    pub lab_id: String,
    /// The node's name.
    pub node_name: String,
    /// Label `topology.kubernetes.io/region`.
    pub region: String,
    /// Label `topology.kubernetes.io/zone`.
    pub zone: String,
    /// The cluster's API server.
    pub client: Client,
    /// The node's network namespace.
    pub netns: Netns,
    /// The node's network.
    pub net: NodeNet,
    /// Starts containers.
    pub runner: Runner,
    /// What images stand for.
    pub images: Arc<Images>,
    /// The cluster's DNS service.
    pub dns: Ipv4Addr,
    /// Directories.
    pub dirs: Dirs,
    /// Processors of this machine.
    pub cpus: u64,
    /// Memory of this machine, bytes.
    pub memory: u64,
}

/// A pod's address with its number on the node.
#[derive(Debug, Clone, Copy)]
struct Address {
    ip: Ipv4Addr,
    number: u32,
}

/// The API server's own service: the first address of the range.
fn first_service(net: &NodeNet) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(net.service_cidr.network()) + 1)
}

/// Runs a node until `stop`, then ends its pods and returns.
pub async fn run(node: NodeContext, stop: CancellationToken) {
    let node = Arc::new(node);
    let identity = match serve::Identity::make(&node) {
        Ok(identity) => Some(Arc::new(identity)),
        Err(error) => {
            tracing::warn!(%error, node = node.node_name, "kubectl logs will not work");
            None
        }
    };
    if let Some(identity) = &identity {
        tokio::spawn(serve::run(node.clone(), identity.clone(), stop.clone()));
    }
    let heartbeat = tokio::spawn({
        let (node, stop) = (node.clone(), stop.clone());
        async move { node::keep(&node, identity.as_deref(), &stop).await }
    });
    let mut kubelet = Kubelet {
        ipam: Ipam::new(node.net.pod_cidr),
        node: node.clone(),
        pods: BTreeMap::new(),
        ended: JoinSet::new(),
    };
    let selection = Selection::all().fields(format!("spec.nodeName={}", node.node_name));
    let mut events = watch_kind(&node.client, PODS, selection);
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(event) => kubelet.see(event),
                None => break,
            },
            Some(ended) = kubelet.ended.join_next() => match ended {
                Ok(uid) => kubelet.forget(&uid),
                Err(error) => tracing::error!(%error, "a pod's worker failed"),
            },
            () = stop.cancelled() => break,
        }
    }
    for pod in kubelet.pods.values() {
        pod.wish.send_replace(Wish::NodeEnds);
    }
    while kubelet.ended.join_next().await.is_some() {}
    heartbeat.abort();
}

/// A pod with a worker.
struct Known {
    wish: watch::Sender<Wish>,
    address: Option<Address>,
}

struct Kubelet {
    node: Arc<NodeContext>,
    ipam: Ipam,
    /// By uid.
    pods: BTreeMap<String, Known>,
    ended: JoinSet<String>,
}

impl Kubelet {
    fn see(&mut self, event: Event) {
        match event {
            Event::Reset { objects, .. } => {
                let present: Vec<Arc<Pod>> = objects.into_iter().filter_map(parse).collect();
                for (uid, known) in &self.pods {
                    if !present
                        .iter()
                        .any(|pod| pod.metadata.uid.as_ref() == Some(uid))
                    {
                        known.wish.send_replace(Wish::Gone);
                    }
                }
                for pod in present {
                    self.want(pod);
                }
            }
            Event::Apply { object, .. } => {
                if let Some(pod) = parse(object) {
                    self.want(pod);
                }
            }
            Event::Delete { uid, .. } => {
                if let Some(known) = self.pods.get(&uid) {
                    known.wish.send_replace(Wish::Gone);
                }
            }
            Event::Stale { error, .. } => {
                // Pods run on while the server is away.
                tracing::debug!(%error, cluster = self.node.cluster, "no news of pods");
            }
            Event::Bookmark { .. } | Event::Absent => {}
        }
    }

    fn want(&mut self, pod: Arc<Pod>) {
        let Some(uid) = pod.metadata.uid.clone() else {
            return;
        };
        if let Some(known) = self.pods.get(&uid) {
            known.wish.send_replace(Wish::Pod(pod));
            return;
        }
        let phase = pod
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref());
        let over = matches!(phase, Some("Succeeded" | "Failed"));
        if over && pod.metadata.deletion_timestamp.is_none() {
            return;
        }
        let host_network = pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true);
        let address = if host_network {
            None
        } else {
            match self.ipam.take() {
                Some((ip, number)) => Some(Address { ip, number }),
                None => {
                    tracing::error!(
                        cluster = self.node.cluster,
                        "no free pod address; the pod waits for the next list"
                    );
                    return;
                }
            }
        };
        let (wish, wishes) = watch::channel(Wish::Pod(pod.clone()));
        let worker = Worker::new(self.node.clone(), pod, wishes, address);
        self.pods.insert(uid.clone(), Known { wish, address });
        self.ended.spawn(async move {
            worker.run().await;
            uid
        });
    }

    fn forget(&mut self, uid: &str) {
        if let Some(Known {
            address: Some(address),
            ..
        }) = self.pods.remove(uid)
        {
            self.ipam.release(address.number);
        }
    }
}

fn parse(object: Value) -> Option<Arc<Pod>> {
    match serde_json::from_value(object) {
        Ok(pod) => Some(Arc::new(pod)),
        Err(error) => {
            tracing::warn!(%error, "a pod that cannot be read");
            None
        }
    }
}
