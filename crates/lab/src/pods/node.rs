//! The node object: what the cluster knows of the machine that runs its pods.

use std::time::Duration;

use hawser_kube::{Client, Error, FieldManager, Resource};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::NodeContext;
use super::serve::{self, Identity};

const NODES: Resource = Resource::cluster_wide("", "v1", "Node", "nodes");
const LEASES: Resource = Resource::namespaced("coordination.k8s.io", "v1", "Lease", "leases");
const LEASE_NAMESPACE: &str = "kube-node-lease";
const MANAGER: FieldManager<'static> = FieldManager {
    name: "hawser-lab",
    force: true,
};
/// A lab's node does not fail by itself: its heart beats slowly.
const HEARTBEAT: Duration = Duration::from_secs(60);
const LEASE_SECONDS: u64 = 180;

/// Registers the node and keeps its lease until `stop`.
pub(crate) async fn keep(node: &NodeContext, served: Option<&Identity>, stop: &CancellationToken) {
    let client = &node.client;
    let mut registered = false;
    let mut delay = Duration::from_millis(100);
    loop {
        let result = if registered {
            beat(client, &node.node_name).await
        } else {
            register(node, served).await
        };
        let wait = match result {
            Ok(()) if registered => HEARTBEAT,
            Ok(()) => {
                registered = true;
                Duration::ZERO
            }
            Err(error) => {
                tracing::debug!(%error, node = node.node_name, "keeping the node object");
                delay = (delay * 2).min(Duration::from_secs(5));
                delay
            }
        };
        tokio::select! {
            () = sleep(wait) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn register(node: &NodeContext, served: Option<&Identity>) -> Result<(), Error> {
    let mut object = json!({
        "metadata": {"name": node.node_name, "labels": {
            "kubernetes.io/hostname": node.node_name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": arch(),
            "topology.kubernetes.io/region": node.region,
            "topology.kubernetes.io/zone": node.zone,
        }},
        "spec": {"podCIDR": node.net.pod_cidr.to_string(), "podCIDRs": [node.net.pod_cidr.to_string()]},
    });
    let mut patch = json!({"status": status(node, &Timestamp::now().to_string())});
    if let Some(served) = served {
        object["metadata"]["annotations"] = json!({serve::CERTIFICATE: served.certificate});
        patch["status"]["daemonEndpoints"] = json!({"kubeletEndpoint": {"Port": serve::PORT}});
    }
    node.client.apply(&NODES, &object, MANAGER).await?;
    node.client
        .merge_patch(&NODES, (None, &node.node_name), "status", &patch)
        .await
        .map(drop)
}

fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn status(node: &NodeContext, now: &str) -> Value {
    let ip = node.net.node_ip.to_string();
    let condition = |kind: &str, status: &str, reason: &str, message: &str| {
        json!({"type": kind, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": now, "lastTransitionTime": now})
    };
    let capacity = json!({"cpu": node.cpus.to_string(), "memory": format!("{}Ki", node.memory >> 10), "pods": "1000"});
    json!({
        "addresses": [
            {"type": "InternalIP", "address": ip},
            {"type": "ExternalIP", "address": ip},
            {"type": "Hostname", "address": node.node_name},
        ],
        "capacity": capacity,
        "allocatable": capacity,
        "conditions": [
            condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
        ],
        "nodeInfo": {
            "architecture": arch(), "operatingSystem": "linux", "osImage": "hawser lab",
            "kernelVersion": std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
            "containerRuntimeVersion": concat!("hawser://", env!("CARGO_PKG_VERSION")),
            "kubeletVersion": concat!("v1.33.0+hawser-", env!("CARGO_PKG_VERSION")),
            "kubeProxyVersion": "", "machineID": "", "systemUUID": "", "bootID": "",
        },
    })
}

/// Renews the lease; before the server has its namespace there is nothing to renew.
async fn beat(client: &Client, node: &str) -> Result<(), Error> {
    let object = json!({
        "metadata": {"name": node, "namespace": LEASE_NAMESPACE},
        "spec": {
            "holderIdentity": node,
            "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": micro_time(Timestamp::now()),
        },
    });
    match client.apply(&LEASES, &object, MANAGER).await {
        Ok(_) | Err(Error::NotFound(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// RFC 3339 with six digits of a second, as Kubernetes' MicroTime is written.
fn micro_time(time: Timestamp) -> String {
    format!("{time:.6}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn micro_times() {
        assert_eq!(
            micro_time(Timestamp::UNIX_EPOCH),
            "1970-01-01T00:00:00.000000Z"
        );
    }
}
