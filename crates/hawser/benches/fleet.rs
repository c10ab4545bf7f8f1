//! How long a change takes to reach the last of N connected proxies, and what a proxy costs in memory.
//!
//!     scripts/bench            1, 100 and 1,000 proxies over 1,000 services
//!     scripts/bench 300 1000   300 proxies over 1,000 services
//!
//! Real parts but for the proxies: an embedded API server, a control plane in a process of its own, and delta ADS clients that
//! ask for what Envoy asks for and acknowledge it. A change is applied by the API and timed until the last client has it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use hawser_kube::{Client, FieldManager, Resource};
use hawser_proto::envoy::config::core::v3::Node;
use hawser_proto::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use hawser_proto::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use hawser_proto::type_url;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tonic::transport::Channel;

const PODS_PER_SERVICE: usize = 3;
const PATIENCE: Duration = Duration::from_secs(300);

#[tokio::main]
async fn main() -> Result<()> {
    hawser_base::tls::install();
    // cargo passes `--bench`.
    let numbers: Vec<usize> = std::env::args()
        .skip(1)
        .filter_map(|a| a.parse().ok())
        .collect();
    let services = numbers.get(1).copied().unwrap_or(1000);
    let fleets = numbers
        .first()
        .map_or_else(|| vec![1, 100, 1000], |n| vec![*n]);
    let folder = std::env::temp_dir().join(format!("hawser-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let result = measure(&folder, services, &fleets).await;
    std::fs::remove_dir_all(&folder)?;
    result
}

async fn measure(folder: &Path, services: usize, fleets: &[usize]) -> Result<()> {
    let server = hawser_apiserver::Server::start(hawser_apiserver::Config::new(
        "bench",
        folder.join("data"),
    ))
    .await?;
    let kubeconfig = folder.join("kubeconfig");
    std::fs::write(&kubeconfig, server.kubeconfig())?;
    let client = Client::from_kubeconfig(&server.kubeconfig(), None).await?;
    let began = Instant::now();
    populate(&client, services).await?;
    eprintln!(
        "{services} services with {PODS_PER_SERVICE} pods each written in {:.1} s",
        began.elapsed().as_secs_f64()
    );

    println!(
        "| proxies | services | first full configuration (s) | VirtualService to the last proxy (s) | endpoint to the last proxy (s) | control plane (MB) | per proxy (KB) |"
    );
    println!("|---|---|---|---|---|---|---|");
    for n in fleets.iter().copied() {
        let plane = ControlPlane::start(&kubeconfig).await?;
        let empty = plane.resident_kb()?;
        let began = Instant::now();
        let fleet = Fleet::connect(plane.discovery, n, services).await?;
        let full = began.elapsed();
        let loaded = plane.resident_kb()?;
        let marker = format!("bench-{n}-{}", std::process::id());
        let route = fleet
            .time(
                type_url::ROUTE,
                marker.clone(),
                apply_route(&client, &marker),
            )
            .await?;
        let address = format!("10.99.{}.{}", n >> 8 & 255, n & 255);
        let endpoint = fleet
            .time(
                type_url::ENDPOINT,
                address.clone(),
                move_endpoint(&client, &address),
            )
            .await?;
        let per_proxy = loaded.saturating_sub(empty) / n as u64;
        println!(
            "| {n} | {services} | {:.2} | {:.3} | {:.3} | {} | {per_proxy} |",
            full.as_secs_f64(),
            route.as_secs_f64(),
            endpoint.as_secs_f64(),
            plane.resident_kb()? / 1024,
        );
    }
    server.shutdown();
    Ok(())
}

fn resource(
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
) -> Resource {
    Resource::namespaced(group, version, kind, plural)
}

async fn populate(client: &Client, services: usize) -> Result<()> {
    let namespaces = Resource::cluster_wide("", "v1", "Namespace", "namespaces");
    for name in ["istio-system", "default"] {
        let object =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        client
            .apply(
                &namespaces,
                &object,
                FieldManager {
                    name: "bench",
                    force: true,
                },
            )
            .await?;
    }
    let crds = Resource::cluster_wide(
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
    );
    for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../api/crds"))? {
        for document in hawser_api::manifest::read("crds", &std::fs::read(file?.path())?).docs {
            client
                .apply(
                    &crds,
                    &document.value,
                    FieldManager {
                        name: "bench",
                        force: true,
                    },
                )
                .await?;
        }
    }
    let writes = (0..services).map(|i| write_service(client.clone(), i));
    let mut writes = futures::stream::iter(writes).buffer_unordered(16);
    while let Some(written) = writes.next().await {
        written?;
    }
    Ok(())
}

async fn write_service(client: Client, i: usize) -> Result<()> {
    let name = format!("service-{i}");
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": name, "namespace": "default" },
        "spec": { "selector": { "app": name }, "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }] },
    });
    client
        .create(&resource("", "v1", "Service", "services"), &service)
        .await?;
    client
        .create(
            &resource("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
            &slice(i, &[]),
        )
        .await?;
    Ok(())
}

/// The slice of service `i`, with further addresses.
fn slice(i: usize, more: &[&str]) -> Value {
    let name = format!("service-{i}");
    let own = (0..PODS_PER_SERVICE).map(|p| {
        format!(
            "10.{}.{}.{}",
            1 + (i * PODS_PER_SERVICE + p) / 62_500,
            (i * PODS_PER_SERVICE + p) / 250 % 250,
            (i * PODS_PER_SERVICE + p) % 250 + 1
        )
    });
    let addresses = own.chain(more.iter().map(|a| (*a).to_owned()));
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": { "name": name, "namespace": "default", "labels": { "kubernetes.io/service-name": name } },
        "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
        "endpoints": addresses.map(|a| json!({ "addresses": [a], "conditions": { "ready": true } })).collect::<Vec<_>>(),
    })
}

async fn apply_route(client: &Client, marker: &str) -> Result<()> {
    let route = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": { "name": "bench", "namespace": "default" },
        "spec": { "hosts": ["service-0"], "http": [{ "name": marker, "route": [{ "destination": { "host": "service-1" } }] }] },
    });
    let kind = resource(
        "networking.istio.io",
        "v1",
        "VirtualService",
        "virtualservices",
    );
    client
        .apply(
            &kind,
            &route,
            FieldManager {
                name: "bench",
                force: true,
            },
        )
        .await?;
    Ok(())
}

async fn move_endpoint(client: &Client, address: &str) -> Result<()> {
    let kind = resource("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices");
    client
        .apply(
            &kind,
            &slice(2, &[address]),
            FieldManager {
                name: "bench",
                force: true,
            },
        )
        .await?;
    Ok(())
}

/// A control plane in a process of its own, ended when dropped.
struct ControlPlane {
    child: Child,
    discovery: SocketAddr,
}

impl ControlPlane {
    async fn start(kubeconfig: &Path) -> Result<Self> {
        let free = || -> Result<SocketAddr> {
            Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
        };
        let (discovery, secure, webhook, monitoring) = (free()?, free()?, free()?, free()?);
        let child = Command::new(PathBuf::from(env!("CARGO_BIN_EXE_hawser")))
            .args(["control-plane", "--cluster-id", "bench", "--kubeconfig"])
            .arg(kubeconfig)
            .args([
                "--grpc-addr",
                &discovery.to_string(),
                "--secure-grpc-addr",
                &secure.to_string(),
            ])
            .args([
                "--webhook-addr",
                &webhook.to_string(),
                "--monitoring-addr",
                &monitoring.to_string(),
            ])
            .env("HAWSER_LOG", "warn")
            .stdout(Stdio::null())
            .spawn()
            .context("starting the control plane")?;
        let plane = Self { child, discovery };
        let deadline = Instant::now() + Duration::from_secs(60);
        while tokio::net::TcpStream::connect(monitoring).await.is_err() {
            if Instant::now() > deadline {
                bail!("the control plane did not start");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // One proxy's configuration says that the first snapshot is there.
        drop(Fleet::connect(discovery, 1, 0).await?);
        Ok(plane)
    }

    /// Resident memory of the process, in KiB.
    fn resident_kb(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status
            .lines()
            .find_map(|l| l.strip_prefix("VmRSS:"))
            .context("no VmRSS")?;
        Ok(line
            .split_whitespace()
            .next()
            .context("empty VmRSS")?
            .parse()?)
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What all proxies look for: a type, and a text within its resources.
type Wanted = Option<Arc<(&'static str, String)>>;

struct Fleet {
    wanted: watch::Sender<Wanted>,
    found: tokio::sync::Mutex<mpsc::Receiver<()>>,
    n: usize,
}

impl Fleet {
    /// Connects `n` proxies and waits until each has its clusters, endpoints, listeners and routes.
    async fn connect(address: SocketAddr, n: usize, services: usize) -> Result<Self> {
        let (wanted, watching) = watch::channel(None);
        let (found, receiver) = mpsc::channel(n);
        let (full, mut fulls) = mpsc::channel(n);
        for i in 0..n {
            let proxy = Proxy {
                address,
                i,
                services,
                wanted: watching.clone(),
                found: found.clone(),
                full: full.clone(),
            };
            tokio::spawn(async move {
                if let Err(error) = proxy.run().await {
                    eprintln!("proxy {i}: {error:#}");
                }
            });
        }
        drop(full);
        for _ in 0..n {
            let one = tokio::time::timeout(PATIENCE, fulls.recv())
                .await
                .context("not all proxies got their configuration")?;
            one.context("a proxy failed")?;
        }
        Ok(Self {
            wanted,
            found: tokio::sync::Mutex::new(receiver),
            n,
        })
    }

    /// From the begin of `change` until every proxy has received the text.
    async fn time(
        &self,
        url: &'static str,
        text: String,
        change: impl Future<Output = Result<()>>,
    ) -> Result<Duration> {
        self.wanted.send_replace(Some(Arc::new((url, text))));
        let began = Instant::now();
        change.await?;
        let mut found = self.found.lock().await;
        for _ in 0..self.n {
            tokio::time::timeout(PATIENCE, found.recv())
                .await
                .context("the change did not reach all proxies")?;
        }
        Ok(began.elapsed())
    }
}

struct Proxy {
    address: SocketAddr,
    i: usize,
    services: usize,
    wanted: watch::Receiver<Wanted>,
    found: mpsc::Sender<()>,
    full: mpsc::Sender<()>,
}

impl Proxy {
    async fn run(self) -> Result<()> {
        let channel = Channel::from_shared(format!("http://{}", self.address))?
            .connect()
            .await?;
        let mut client =
            AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(256 << 20);
        let (requests, outgoing) = mpsc::channel(16);
        let node = Node {
            id: format!(
                "sidecar~10.200.{}.{}~proxy-{}.default~default.svc.cluster.local",
                self.i >> 8,
                self.i & 255,
                self.i
            ),
            ..Node::default()
        };
        for url in [type_url::CLUSTER, type_url::LISTENER] {
            let request = DeltaDiscoveryRequest {
                node: Some(node.clone()),
                type_url: url.to_owned(),
                ..Default::default()
            };
            requests.send(request).await?;
        }
        let outgoing = tokio_stream::wrappers::ReceiverStream::new(outgoing);
        let mut responses = client
            .delta_aggregated_resources(outgoing)
            .await?
            .into_inner();
        let mut asked: BTreeSet<String> = BTreeSet::new();
        let mut seen: BTreeSet<String> = BTreeSet::new();
        let mut n_endpoints = 0;
        let mut told = false;
        while let Some(response) = responses.message().await? {
            let wanted = self.wanted.borrow().clone();
            if let Some(wanted) = wanted
                && wanted.0 == response.type_url
                && holds(&response, &wanted.1)
            {
                self.found.send(()).await?;
            }
            seen.insert(response.type_url.clone());
            n_endpoints += if response.type_url == type_url::ENDPOINT {
                response.resources.len()
            } else {
                0
            };
            let (url, names) = follow_up(&response);
            let new: Vec<String> = names
                .into_iter()
                .filter(|n| asked.insert(format!("{url} {n}")))
                .collect();
            let ack = DeltaDiscoveryRequest {
                type_url: response.type_url,
                response_nonce: response.nonce,
                ..Default::default()
            };
            requests.send(ack).await?;
            if !new.is_empty() {
                let more = DeltaDiscoveryRequest {
                    type_url: url.to_owned(),
                    resource_names_subscribe: new,
                    ..Default::default()
                };
                requests.send(more).await?;
            }
            let all = seen.len() == 4 && n_endpoints >= self.services
                || self.services == 0 && seen.len() >= 2;
            if all && !std::mem::replace(&mut told, true) {
                self.full.send(()).await?;
            }
        }
        Ok(())
    }
}

fn holds(response: &DeltaDiscoveryResponse, text: &str) -> bool {
    let inside = |bytes: &[u8]| bytes.windows(text.len()).any(|w| w == text.as_bytes());
    response
        .resources
        .iter()
        .filter_map(|r| r.resource.as_ref())
        .any(|a| inside(&a.value))
}

/// What Envoy asks for after a response: endpoints of clusters, routes of listeners.
fn follow_up(response: &DeltaDiscoveryResponse) -> (&'static str, Vec<String>) {
    match response.type_url.as_str() {
        // All outbound clusters of this mesh get their endpoints by discovery. Reading that from each cluster would make the
        // clients, which share the machine, the larger part of what is measured.
        type_url::CLUSTER => {
            let names = response
                .resources
                .iter()
                .map(|r| &r.name)
                .filter(|n| n.starts_with("outbound|"));
            (type_url::ENDPOINT, names.cloned().collect())
        }
        type_url::LISTENER => (type_url::ROUTE, vec!["80".to_owned()]),
        _ => ("", Vec::new()),
    }
}
