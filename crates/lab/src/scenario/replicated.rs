//! A mesh of clusters with replicated control planes: each knows its own cluster only; a common
//! root, gateways and names under `.global` join them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use base64::Engine;
use futures::future::{try_join, try_join_all};
use hawser_kube::Selection;
use serde_json::{Value, json};

use super::observe::{self, Observed};
use super::steps::{
    PODS, SERVICES, Values, acknowledged, deployments_available, own_command, service_field, wait,
};
use crate::apply::Applier;
use crate::lab::{Cluster, Lab};
use crate::progress::Progress;

/// Where the mesh lives in each cluster.
pub(super) const SYSTEM: &str = "istio-system";
pub(super) const GATEWAY: (&str, &str) = (SYSTEM, "istio-ingressgateway");
/// The port at which gateways take in connections of other clusters.
pub(super) const GATEWAY_PORT: u16 = 15443;

const PATIENCE: Duration = Duration::from_secs(60);
const CACERTS: [&str; 4] = [
    "ca-cert.pem",
    "ca-key.pem",
    "root-cert.pem",
    "cert-chain.pem",
];

const CLUSTER1: &str = include_str!("../../../../samples/bookinfo/cluster1.yaml");
const CLUSTER2: &str = include_str!("../../../../samples/bookinfo/cluster2.yaml");
const APP_GATEWAY: &str = include_str!("../../../../samples/bookinfo/gateway.yaml");
const BY_LOAD_BALANCER: &str =
    include_str!("../../../../samples/bookinfo/reviews-global-loadbalancer.yaml");
const BY_NODE_PORT: &str =
    include_str!("../../../../samples/bookinfo/reviews-global-nodeport.yaml");
const SUBSETS: &str = include_str!("../../../../samples/bookinfo/reviews-subsets.yaml");
const RULES: &str = include_str!("../../../../samples/bookinfo/reviews-virtualservice.yaml");
const KUBE_DNS: &str = include_str!("../../../../samples/bookinfo/kube-dns.yaml");

/// How one cluster reaches the other's gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GatewayBy {
    /// By the load balancer's address.
    LoadBalancer,
    /// By the host's address and the node port.
    NodePort,
}

/// Installs the mesh in every cluster: certificates, control plane and gateways, DNS, injection.
pub async fn install(lab: &Lab, progress: &Progress) -> anyhow::Result<()> {
    let certs = lab.dir.certs();
    make_certificates(&lab.exe, &certs, &lab.clusters).await?;
    progress.say("one root, an intermediate authority for each cluster");
    let installed = lab
        .clusters
        .iter()
        .map(|cluster| install_one(&lab.exe, &certs, cluster, progress));
    try_join_all(installed).await.map(drop)
}

async fn make_certificates(exe: &Path, certs: &Path, clusters: &[Cluster]) -> anyhow::Result<()> {
    let dir = certs
        .to_str()
        .context("the lab's folder has a name that is not text")?;
    own_command(exe, &["ca", "init", "--dir", dir]).await?;
    for cluster in clusters {
        own_command(exe, &["ca", "intermediate", &cluster.name, "--dir", dir]).await?;
    }
    Ok(())
}

async fn install_one(
    exe: &Path,
    certs: &Path,
    cluster: &Cluster,
    progress: &Progress,
) -> anyhow::Result<()> {
    let name = cluster.name.as_str();
    let in_cluster = || format!("{name}: installing the mesh");
    let mut applier = Applier::new(cluster.client.clone());
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}});
    applier
        .apply_object(namespace)
        .await
        .with_context(in_cluster)?;
    applier
        .apply_object(cacerts(&certs.join(name))?)
        .await
        .with_context(in_cluster)?;

    let cluster_id = format!("clusterID={name}");
    let generate = [
        "manifest",
        "generate",
        "--profile",
        "replicated",
        "--set",
        &cluster_id,
    ];
    let manifest = own_command(exe, &generate).await?;
    let count = applier
        .apply("the mesh's manifest", &manifest, &Values::new())
        .await
        .with_context(in_cluster)?;
    progress.say(format!("{name}: {count} objects of the mesh applied"));

    let dns = service_field(
        &cluster.client,
        (SYSTEM, "istiocoredns"),
        "/spec/clusterIP",
        PATIENCE,
    );
    let values = Values::from([("ISTIOCOREDNS_IP", dns.await.with_context(in_cluster)?)]);
    applier
        .apply("kube-dns.yaml", KUBE_DNS, &values)
        .await
        .with_context(in_cluster)?;
    let label = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "default", "labels": {"istio-injection": "enabled"}},
    });
    applier.apply_object(label).await.with_context(in_cluster)?;

    deployments_available(&cluster.client, SYSTEM, PATIENCE)
        .await
        .with_context(in_cluster)?;
    progress.say(format!("{name}: control plane and gateways ready"));
    Ok(())
}

/// The secret that a control plane takes its authority from.
fn cacerts(dir: &Path) -> anyhow::Result<Value> {
    let mut data = BTreeMap::new();
    for name in CACERTS {
        let path = dir.join(name);
        let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
        data.insert(
            name,
            base64::engine::general_purpose::STANDARD.encode(bytes),
        );
    }
    Ok(json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": "cacerts", "namespace": SYSTEM},
        "data": data,
    }))
}

/// The two clusters of the scenario, in its roles.
fn pair(lab: &Lab) -> anyhow::Result<(&Cluster, &Cluster)> {
    match lab.clusters.as_slice() {
        [first, second, ..] => Ok((first, second)),
        _ => bail!("the scenario takes two clusters"),
    }
}

/// Installs Bookinfo over both clusters, and the rules that send jason to the second.
pub async fn bookinfo(lab: &Lab, by: GatewayBy, progress: &Progress) -> anyhow::Result<()> {
    let (first, second) = pair(lab)?;
    let none = Values::new();
    let in_first = async {
        let mut applier = Applier::new(first.client.clone());
        applier.apply("cluster1.yaml", CLUSTER1, &none).await?;
        applier.apply("gateway.yaml", APP_GATEWAY, &none).await?;
        deployments_available(&first.client, "default", PATIENCE).await
    };
    let in_second = async {
        let mut applier = Applier::new(second.client.clone());
        applier.apply("cluster2.yaml", CLUSTER2, &none).await?;
        deployments_available(&second.client, "default", PATIENCE).await
    };
    try_join(in_first, in_second).await?;
    progress.say("bookinfo is running in both clusters");
    observe::answers(first, PATIENCE).await?;
    progress.say("the product page answers; its reviews have no stars");

    let (file, text, values) = match by {
        GatewayBy::LoadBalancer => (
            "reviews-global-loadbalancer.yaml",
            BY_LOAD_BALANCER,
            by_load_balancer(second).await?,
        ),
        GatewayBy::NodePort => (
            "reviews-global-nodeport.yaml",
            BY_NODE_PORT,
            by_node_port(second).await?,
        ),
    };
    let mut applier = Applier::new(first.client.clone());
    applier.apply(file, text, &values).await?;
    applier
        .apply("reviews-subsets.yaml", SUBSETS, &none)
        .await?;
    Applier::new(second.client.clone())
        .apply("reviews-subsets.yaml", SUBSETS, &none)
        .await?;
    // Subsets first: a rule that names one that is not there would fail requests for a moment.
    applier
        .apply("reviews-virtualservice.yaml", RULES, &none)
        .await?;
    observe::reaches_the_other_cluster(first, PATIENCE).await?;
    progress.say("jason's request is served by the other cluster");
    let (one, two) = try_join(
        acknowledged(first, PATIENCE),
        acknowledged(second, PATIENCE),
    )
    .await?;
    progress.say(format!(
        "all {} proxies have acknowledged the rules",
        one + two
    ));
    Ok(())
}

async fn by_load_balancer(cluster: &Cluster) -> anyhow::Result<Values> {
    let address = service_field(
        &cluster.client,
        GATEWAY,
        "/status/loadBalancer/ingress/0/ip",
        PATIENCE,
    )
    .await?;
    Ok(Values::from([("CLUSTER2_GW_ADDR", address)]))
}

async fn by_node_port(cluster: &Cluster) -> anyhow::Result<Values> {
    let (namespace, name) = GATEWAY;
    wait("host and node port of the gateway", PATIENCE, || async {
        let text = |error: hawser_kube::Error| error.to_string();
        let service = cluster
            .client
            .get(&SERVICES, Some(namespace), name)
            .await
            .map_err(text)?;
        let ports = service["spec"]["ports"].as_array().into_iter().flatten();
        let port = ports
            .into_iter()
            .find(|port| port["port"] == GATEWAY_PORT)
            .map(|port| &port["nodePort"]);
        let port = port
            .and_then(Value::as_u64)
            .ok_or("there is no node port")?;
        let selection = Selection::in_namespace(namespace).labels("istio=ingressgateway");
        let pods = cluster.client.list(&PODS, &selection).await.map_err(text)?;
        let host = pods
            .items
            .first()
            .and_then(|pod| pod["status"]["hostIP"].as_str())
            .ok_or("there is no pod")?;
        Ok(Values::from([
            ("CLUSTER2_GW_HOST", host.to_string()),
            ("CLUSTER2_GW_PORT", port.to_string()),
        ]))
    })
    .await
}

/// Asks the product page 200 times and tells what was seen on the way.
pub async fn observe(lab: &Lab, progress: &Progress) -> anyhow::Result<Observed> {
    let (first, second) = pair(lab)?;
    let observed = observe::observe(first, second).await?;
    progress.say("200 requests observed");
    Ok(observed)
}
