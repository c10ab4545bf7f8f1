//! The role `control-plane`: everything put together.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use futures::StreamExt;
use hawser_api::mesh::{MeshConfig, MeshNetworks};
use hawser_api::{Change, SourceId};
use hawser_ca::Authority;
use hawser_inject::settings::Settings;
use hawser_kube::{Client, Event, Resource, Selection};
use hawser_model::ClusterId;
use hawser_proto::ads::service::aggregated_discovery_service_server::AggregatedDiscoveryServiceServer;
use hawser_proto::istio::ca::service::istio_certificate_service_server::IstioCertificateServiceServer;
use hawser_serve::ads::Ads;
use hawser_serve::auth::Authenticator;
use hawser_serve::ca_service::CaService;
use hawser_serve::metrics::Metrics;
use hawser_serve::{Board, View, server};
use rustls::ServerConfig;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::reviewer::ClusterReviewer;
use crate::writer::{Input, Published, Writer};
use crate::settings::{self, Read};
use crate::{authority, debug, feed, kinds, listen, roots, webhook};

/// Names under which proxies and API servers call a control plane.
const SERVICE: &str = "istiod";
const CONFIG_MAPS: Resource = Resource::namespaced("", "v1", "ConfigMap", "configmaps");

/// Run a control plane: discovery, certificates and injection for one cluster.
#[derive(clap::Args, Debug, Clone)]
pub struct ControlPlaneArgs {
    /// Name of the cluster, as in Istio's `clusterID`.
    #[arg(long, env = "CLUSTER_ID", default_value = "Kubernetes")]
    pub cluster_id: String,
    /// Kubeconfig of the cluster; without it, the one of the pod that this runs in.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// MeshConfig as YAML; without it, key `mesh` of ConfigMap `istio` in the system namespace, followed as it changes.
    #[arg(long, value_name = "FILE")]
    pub mesh_config: Option<PathBuf>,
    /// MeshNetworks as YAML; without it, key `meshNetworks` of the same ConfigMap.
    #[arg(long, value_name = "FILE")]
    pub mesh_networks: Option<PathBuf>,
    /// The control plane's own namespace.
    #[arg(long, env = "POD_NAMESPACE", default_value = "istio-system")]
    pub namespace: String,
    /// Network of the cluster's pods, where the mesh has several.
    #[arg(long, env = "NETWORK", default_value = "")]
    pub network: String,
    /// DNS domain of the cluster.
    #[arg(long, default_value = "cluster.local")]
    pub domain: String,
    /// Plaintext discovery, without authentication; on loopback unless an address is given.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:15010", value_parser = address)]
    pub grpc_addr: SocketAddr,
    /// Discovery and certificates over mutual TLS.
    #[arg(long, value_name = "ADDRESS", default_value = ":15012", value_parser = address)]
    pub secure_grpc_addr: SocketAddr,
    /// Admission webhooks.
    #[arg(long, value_name = "ADDRESS", default_value = ":15017", value_parser = address)]
    pub webhook_addr: SocketAddr,
    /// Readiness, metrics and debugging.
    #[arg(long, value_name = "ADDRESS", default_value = ":15014", value_parser = address)]
    pub monitoring_addr: SocketAddr,
}

/// `HOST:PORT`, or `:PORT` for all addresses.
fn address(text: &str) -> Result<SocketAddr, String> {
    let full = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() };
    full.parse().map_err(|_| "expected an IP address and a port, such as 127.0.0.1:15010 or :15010".to_owned())
}

/// Runs until SIGTERM or SIGINT.
pub async fn run(args: ControlPlaneArgs) -> Result<()> {
    let drain = hawser_base::drain::on_signal().context("signal handlers")?;
    let client = match &args.kubeconfig {
        Some(path) => Client::from_kubeconfig_file(path, None).await?,
        None => Client::in_cluster()?,
    };
    if client.is_insecure() {
        tracing::warn!("the kubeconfig says insecure-skip-tls-verify: anyone on the way can read and change what this cluster says");
    }
    let mesh = read_file(args.mesh_config.as_deref(), settings::mesh_config)?;
    let networks = read_file(args.mesh_networks.as_deref(), settings::mesh_networks)?;
    let fixed = mesh.is_some() || networks.is_some();
    let (mesh, networks) = match fixed {
        true => (mesh.unwrap_or_default(), networks.unwrap_or_default()),
        false => mesh_of_cluster(&client, &args.namespace).await?,
    };
    let trust_domain = mesh.trust_domain().to_owned();

    let first = authority::first(&client, &args.namespace, &trust_domain).await?;
    tracing::info!(until = %first.validity().until, "authority loaded");
    let (authority, authority_now) = watch::channel(Arc::new(first));
    let certificates = Certificates::new(&args.namespace, &args.domain, authority_now.clone())?;

    let (inputs, inbox) = mpsc::channel(1024);
    let (published, views) = publications();
    let source = SourceId::new(args.cluster_id.as_str());
    let kinds: Vec<_> = kinds::CONFIGURATION.iter().chain(kinds::WORKLOADS).copied().collect();
    let writer = Writer::new(ClusterId::new(&args.cluster_id), &source, &kinds);
    // The mesh's settings come first, so that nothing is lowered under others.
    let settings = Input::Mesh(Box::new(mesh), Box::new(networks));
    inputs.send(settings).await.context("the writer stopped")?;
    feed::follow(&client, &source, &kinds, &changes_into(inputs.clone()), &drain);
    if !fixed {
        tokio::spawn(follow_mesh(client.clone(), args.namespace.clone(), inputs.clone(), drain.clone()));
    }

    let mut registry = prometheus_client::registry::Registry::default();
    let metrics = Metrics::new(&mut registry);
    let board = Board::start();
    let reviewer = Arc::new(ClusterReviewer::new(client.clone()));
    let authenticator = Authenticator::new(reviewer.clone(), trust_domain.as_str().into());
    let ads = Ads::new(views, authenticator.clone(), board.clone(), metrics.clone(), drain.clone());
    let ca = CaService::new(authority_now.clone(), authenticator, metrics);
    let discovery = AggregatedDiscoveryServiceServer::new(ads);
    let open_routes = Routes::new(discovery.clone());
    let secure_routes = Routes::new(discovery).add_service(IstioCertificateServiceServer::new(ca));

    let monitor = debug::Monitor {
        published: published.subscribe(),
        board,
        registry: Arc::new(registry),
        reviewer,
        system_namespace: args.namespace.as_str().into(),
    };
    let injection = Settings {
        system_namespace: args.namespace.clone(),
        discovery_address: format!("{SERVICE}.{}.svc:15012", args.namespace),
        cluster_id: args.cluster_id.clone(),
        network: args.network.clone(),
        trust_domain,
        cluster_domain: args.domain.clone(),
        ..Settings::default()
    };

    let open = listen::bind(args.grpc_addr, "discovery, plaintext,").await?;
    let secure = listen::bind(args.secure_grpc_addr, "discovery and certificates").await?;
    let webhooks = listen::bind(args.webhook_addr, "webhooks").await?;
    let monitoring = listen::bind(args.monitoring_addr, "monitoring").await?;

    tokio::spawn(authority::follow(client.clone(), args.namespace.clone(), authority, drain.clone()));
    tokio::spawn(roots::distribute(client.clone(), authority_now.clone(), drain.clone()));
    tokio::spawn(webhook::keep_bundles(client, args.namespace.clone(), authority_now, drain.clone()));
    tokio::spawn(webhook::serve(webhooks, webhook::router(Arc::new(injection)), certificates.webhook.clone(), drain.clone()));
    let router = debug::router(monitor).into_make_service_with_connect_info::<SocketAddr>();
    let stop = drain.clone();
    tokio::spawn(async move {
        let serving = axum::serve(monitoring, router).with_graceful_shutdown(async move { stop.cancelled().await });
        if let Err(error) = serving.await {
            tracing::error!(%error, "monitoring stopped");
        }
    });
    let open_server = tokio::spawn(server::plaintext(open, open_routes, drain.clone()));
    let secure_server = tokio::spawn(server::tls(secure, secure_routes, certificates.discovery.clone(), drain.clone()));
    tokio::spawn(certificates.keep(drain.clone()));
    writer.run(inbox, published, drain).await;
    open_server.await.context("plaintext server")?;
    secure_server.await.context("secure server")?;
    Ok(())
}

/// Changes of watches as inputs of the writer.
fn changes_into(inputs: mpsc::Sender<Input>) -> mpsc::Sender<Change> {
    let (changes, mut inbox) = mpsc::channel(256);
    tokio::spawn(async move {
        while let Some(change) = inbox.recv().await {
            if inputs.send(Input::Change(change)).await.is_err() {
                return;
            }
        }
    });
    changes
}

/// What the writer publishes, and the part of it that streams serve from.
fn publications() -> (watch::Sender<Option<Published>>, watch::Receiver<Option<View>>) {
    let (published, mut all) = watch::channel(None::<Published>);
    let (views, receiver) = watch::channel(None);
    tokio::spawn(async move {
        while all.changed().await.is_ok() {
            let view = all.borrow_and_update().as_ref().map(|p| p.view.clone());
            views.send_replace(view);
        }
    });
    (published, receiver)
}

fn read_file<T>(path: Option<&Path>, read: impl Fn(&str, &str) -> Result<Read<T>, String>) -> Result<Option<T>> {
    let Some(path) = path else { return Ok(None) };
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let read = read(&path.display().to_string(), &text).map_err(anyhow::Error::msg)?;
    read.warnings.iter().for_each(|w| tracing::warn!("{w}"));
    Ok(Some(read.settings))
}

async fn mesh_of_cluster(client: &Client, namespace: &str) -> Result<(MeshConfig, MeshNetworks)> {
    match client.get(&CONFIG_MAPS, Some(namespace), "istio").await {
        Ok(map) => mesh_of(&map).map_err(|e| anyhow::anyhow!("configmap {namespace}/istio is refused: {e}")),
        Err(hawser_kube::Error::NotFound(_)) => Ok(Default::default()),
        Err(error) => Err(error).with_context(|| format!("reading configmap {namespace}/istio")),
    }
}

fn mesh_of(map: &Value) -> Result<(MeshConfig, MeshNetworks), String> {
    let text = |key: &str| map["data"][key].as_str().unwrap_or_default();
    let config = settings::mesh_config("mesh", text("mesh"))?;
    let networks = settings::mesh_networks("meshNetworks", text("meshNetworks"))?;
    config.warnings.iter().chain(&networks.warnings).for_each(|w| tracing::warn!("configmap istio: {w}"));
    Ok((config.settings, networks.settings))
}

/// Follows ConfigMap `istio`; what cannot be read is reported, and the settings before it stay.
async fn follow_mesh(client: Client, namespace: String, inputs: mpsc::Sender<Input>, drain: CancellationToken) {
    let selection = Selection::in_namespace(namespace.as_str()).fields("metadata.name=istio");
    let mut events = hawser_kube::watch(&client, CONFIG_MAPS, selection);
    loop {
        let event = tokio::select! {
            () = drain.cancelled() => return,
            event = events.next() => event,
        };
        let map = match event {
            None => return,
            Some(Event::Reset { objects, .. }) => objects.into_iter().next(),
            Some(Event::Apply { object, .. }) => Some(object),
            Some(_) => None,
        };
        match map.as_ref().map(mesh_of) {
            None => {}
            Some(Ok((config, networks))) => {
                if inputs.send(Input::Mesh(Box::new(config), Box::new(networks))).await.is_err() {
                    return;
                }
            }
            Some(Err(error)) => tracing::error!("configmap {namespace}/istio is refused, the settings before it stay: {error}"),
        }
    }
}

/// The control plane's own certificates, for proxies and for the API server; renewed before they end and whenever the
/// authority changes.
struct Certificates {
    names: Vec<String>,
    authority: watch::Receiver<Arc<Authority>>,
    discovery: watch::Receiver<Arc<ServerConfig>>,
    webhook: watch::Receiver<Arc<ServerConfig>>,
    senders: (watch::Sender<Arc<ServerConfig>>, watch::Sender<Arc<ServerConfig>>),
}

/// How often to look whether the certificates are near their end.
const RENEWAL: std::time::Duration = std::time::Duration::from_secs(12 * 3600);

impl Certificates {
    fn new(namespace: &str, domain: &str, mut authority: watch::Receiver<Arc<Authority>>) -> Result<Self> {
        let names = vec![
            format!("{SERVICE}.{namespace}.svc"),
            format!("{SERVICE}.{namespace}"),
            format!("{SERVICE}.{namespace}.svc.{domain}"),
            format!("istio-pilot.{namespace}.svc"),
            SERVICE.to_owned(),
            "localhost".to_owned(),
        ];
        let (discovery, webhook) = Self::make(&names, &authority.borrow_and_update())?;
        let (discovery_sender, discovery) = watch::channel(Arc::new(discovery));
        let (webhook_sender, webhook) = watch::channel(Arc::new(webhook));
        Ok(Self { names, authority, discovery, webhook, senders: (discovery_sender, webhook_sender) })
    }

    fn make(names: &[String], authority: &Authority) -> Result<(ServerConfig, ServerConfig)> {
        let key = rcgen::KeyPair::generate().context("generating a key")?;
        let serial = uuid::Uuid::new_v4().as_u128();
        let issued = authority.server(&key, names, time::OffsetDateTime::now_utc(), serial)?;
        let key_pem = key.serialize_pem();
        let discovery = server::tls_config(&issued.pem, &key_pem, authority.roots())?;
        let webhook = webhook::tls_config(&issued.pem, &key_pem)?;
        Ok((discovery, webhook))
    }

    async fn keep(mut self, drain: CancellationToken) {
        loop {
            tokio::select! {
                () = drain.cancelled() => return,
                changed = self.authority.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = tokio::time::sleep(RENEWAL) => {}
            }
            let authority = Arc::clone(&self.authority.borrow_and_update());
            match Self::make(&self.names, &authority) {
                Ok((discovery, webhook)) => {
                    self.senders.0.send_replace(Arc::new(discovery));
                    self.senders.1.send_replace(Arc::new(webhook));
                }
                Err(error) => tracing::error!("the certificates before stay: {error:#}"),
            }
        }
    }
}
