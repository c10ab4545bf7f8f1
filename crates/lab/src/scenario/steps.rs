//! Steps that scenarios are made of.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use hawser_kube::{Client, Resource, Selection};
use serde_json::Value;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::fetch::Connection;
use crate::lab::Cluster;
use crate::net::connect_in;
use crate::pods::netns_of;

pub(super) const SERVICES: Resource = Resource::namespaced("", "v1", "Service", "services");
pub(super) const PODS: Resource = Resource::namespaced("", "v1", "Pod", "pods");
const DEPLOYMENTS: Resource = Resource::namespaced("apps", "v1", "Deployment", "deployments");

/// Where a control plane answers questions about itself, inside its pod.
const MONITORING: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 15014);
/// The label and value of control plane pods, as Istio has it.
const CONTROL_PLANE: &str = "app=istiod";
const POLL: Duration = Duration::from_millis(50);

/// Values for `${NAME}` in manifests.
pub(super) type Values = BTreeMap<&'static str, String>;

/// Asks `question` until it has an answer; the last "not yet" is the error's message.
pub(super) async fn wait<T, F>(
    what: &str,
    patience: Duration,
    mut question: impl FnMut() -> F,
) -> anyhow::Result<T>
where
    F: Future<Output = Result<T, String>>,
{
    let deadline = Instant::now() + patience;
    loop {
        match question().await {
            Ok(answer) => return Ok(answer),
            Err(not_yet) if Instant::now() > deadline => {
                bail!("{what}: after {patience:?} still {not_yet}")
            }
            Err(_) => sleep(POLL).await,
        }
    }
}

/// Runs one of this program's own commands; what it prints.
pub(super) async fn own_command(exe: &Path, args: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(exe)
        .args(args)
        .kill_on_drop(true)
        .output()
        .await;
    let output = output.with_context(|| format!("running hawser {}", args.join(" ")))?;
    if !output.status.success() {
        bail!(
            "hawser {}: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    String::from_utf8(output.stdout).context("the command's output is not text")
}

/// Waits until every deployment of a namespace has all its pods available.
pub(super) async fn deployments_available(
    client: &Client,
    namespace: &str,
    patience: Duration,
) -> anyhow::Result<()> {
    let selection = Selection::in_namespace(namespace);
    wait(&format!("deployments of {namespace}"), patience, || async {
        let list = client
            .list(&DEPLOYMENTS, &selection)
            .await
            .map_err(|error| error.to_string())?;
        let waiting: Vec<&str> = list
            .items
            .iter()
            .filter(|deployment| !available(deployment))
            .filter_map(|deployment| deployment["metadata"]["name"].as_str())
            .collect();
        match (list.items.is_empty(), waiting.is_empty()) {
            (true, _) => Err("none there".to_string()),
            (false, true) => Ok(()),
            (false, false) => Err(format!("waiting for {}", waiting.join(", "))),
        }
    })
    .await
}

fn available(deployment: &Value) -> bool {
    let wanted = deployment["spec"]["replicas"].as_i64().unwrap_or(1);
    let status = &deployment["status"];
    let current =
        status["observedGeneration"].as_i64() >= deployment["metadata"]["generation"].as_i64();
    current && status["availableReplicas"].as_i64().unwrap_or(0) >= wanted
}

/// Waits for a text at `pointer` of a service.
pub(super) async fn service_field(
    client: &Client,
    (namespace, name): (&str, &str),
    pointer: &str,
    patience: Duration,
) -> anyhow::Result<String> {
    wait(
        &format!("{pointer} of service {namespace}/{name}"),
        patience,
        || async {
            let service = client
                .get(&SERVICES, Some(namespace), name)
                .await
                .map_err(|error| error.to_string())?;
            let text = service
                .pointer(pointer)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty());
            text.map(str::to_string).ok_or_else(|| "empty".to_string())
        },
    )
    .await
}

/// The ready pods of a namespace with these labels: name and address.
pub(super) async fn ready_pods(
    client: &Client,
    namespace: &str,
    labels: &str,
) -> anyhow::Result<Vec<(String, Ipv4Addr)>> {
    let list = client
        .list(&PODS, &Selection::in_namespace(namespace).labels(labels))
        .await?;
    let ready = |pod: &&Value| {
        let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
        conditions
            .into_iter()
            .any(|c| c["type"] == "Ready" && c["status"] == "True")
            && pod["metadata"]["deletionTimestamp"].is_null()
    };
    let parts = |pod: &Value| {
        let ip = pod["status"]["podIP"].as_str()?.parse().ok()?;
        Some((pod["metadata"]["name"].as_str()?.to_string(), ip))
    };
    Ok(list.items.iter().filter(ready).filter_map(parts).collect())
}

/// Waits until every proxy that is connected to the cluster's control plane has acknowledged its
/// newest configuration; how many there are.
pub(super) async fn acknowledged(cluster: &Cluster, patience: Duration) -> anyhow::Result<usize> {
    wait(
        &format!("proxies of {}", cluster.name),
        patience,
        || async {
            let text = |error: anyhow::Error| error.to_string();
            let pods = ready_pods(&cluster.client, "istio-system", CONTROL_PLANE)
                .await
                .map_err(text)?;
            let (pod, _) = pods.first().ok_or("there is no control plane")?;
            // These questions are answered on the pod's own loopback only.
            let netns = netns_of(&cluster.records, &cluster.name, "istio-system", pod);
            let netns = netns.map_err(|error| error.to_string())?;
            let stream = connect_in(&netns, MONITORING, Duration::from_secs(2)).await;
            let stream = stream.map_err(|error| error.to_string())?;
            let mut connection = Connection::new(stream, "localhost").await.map_err(text)?;
            let answer = connection.get("/debug/syncz", &[]).await.map_err(text)?;
            if answer.status != 200 {
                let said = String::from_utf8_lossy(&answer.body);
                return Err(format!("answered {} {}", answer.status, said.trim()));
            }
            let proxies: Vec<Value> =
                serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
            all_acknowledged(&proxies)
        },
    )
    .await
}

fn all_acknowledged(proxies: &[Value]) -> Result<usize, String> {
    let behind: Vec<String> = proxies
        .iter()
        .filter(|proxy| proxy["up_to_date"] != true)
        .map(|proxy| {
            let types = proxy["types"].as_object().into_iter().flatten();
            let refused =
                types.filter_map(|(kind, status)| Some((kind, status["error"].as_str()?)));
            let refused: Vec<String> = refused
                .map(|(kind, error)| format!(" refused {kind}: {error}"))
                .collect();
            format!(
                "{}{}",
                proxy["proxy"].as_str().unwrap_or("a proxy"),
                refused.concat()
            )
        })
        .collect();
    if behind.is_empty() {
        Ok(proxies.len())
    } else {
        Err(format!("without the newest rules: {}", behind.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn availability() {
        let cases = [
            (
                json!({"spec": {"replicas": 2}, "status": {"availableReplicas": 2}}),
                true,
            ),
            (
                json!({"spec": {"replicas": 2}, "status": {"availableReplicas": 1}}),
                false,
            ),
            (json!({"spec": {}, "status": {}}), false),
            (
                json!({"metadata": {"generation": 2}, "status": {"observedGeneration": 1, "availableReplicas": 1}}),
                false,
            ),
        ];
        for (deployment, expected) in cases {
            assert_eq!(available(&deployment), expected, "{deployment}");
        }
    }

    #[test]
    fn who_has_not_acknowledged() {
        let ok = json!({"proxy": "a.b", "up_to_date": true});
        let nack = json!({"proxy": "c.d", "up_to_date": false, "types": {"LDS": {"error": "no"}, "CDS": {"error": null}}});
        assert_eq!(all_acknowledged(std::slice::from_ref(&ok)), Ok(1));
        assert_eq!(
            all_acknowledged(&[ok, nack]),
            Err("without the newest rules: c.d refused LDS: no".to_string())
        );
    }
}
