//! The role `control-plane`: everything put together.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use hawser_api::message::Field;
use hawser_api::{Change, SourceId};
use hawser_inject::settings::Settings;
use hawser_kube::Client;
use hawser_kube::lease::{Candidate, campaign};
use hawser_model::ClusterId;
use hawser_proto::istio::ca::service::istio_certificate_service_server::IstioCertificateServiceServer;
use hawser_serve::ads::{Ads, Reports};
use hawser_serve::auth::Authenticator;
use hawser_serve::ca_service::CaService;
use hawser_serve::metrics::Metrics;
use hawser_serve::{Board, View, server};
use ipnet::IpNet;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::certificates::Certificates;
use crate::jwks::Fetcher;
use crate::mesh::{self, Mesh};
use crate::reviewer::ClusterReviewer;
use crate::wants::Wants;
use crate::writer::{Input, Published, Writer};
use crate::{
    addresses, authority, credentials, debug, feed, jwks, kinds, listen, refresh, refusals, roots,
    settings, statuses, webhook,
};

/// Names under which proxies and API servers call a control plane.
pub(crate) const SERVICE: &str = "istiod";

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
    /// Name of this replica, by which the lease names it; made up where nobody says.
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    pub pod_name: Option<String>,
    /// Where the images of injected containers come from.
    #[arg(long, env = "HUB", default_value = "hawser")]
    pub hub: String,
    /// The tag of those images.
    #[arg(long, env = "TAG", default_value = env!("CARGO_PKG_VERSION"))]
    pub tag: String,
    /// Name of the mesh, unless MeshConfig's defaultConfig has one.
    #[arg(long, env = "MESH_ID", default_value = "")]
    pub mesh_id: String,
    /// Networks that token keys are never fetched from, such as 169.254.0.0/16.
    #[arg(
        long,
        env = "BLOCKED_CIDRS_IN_JWKS_URIS",
        value_name = "CIDR",
        value_delimiter = ','
    )]
    pub blocked_cidrs_in_jwks_uris: Vec<IpNet>,
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
    let full = if text.starts_with(':') {
        format!("0.0.0.0{text}")
    } else {
        text.to_owned()
    };
    full.parse().map_err(|_| {
        "expected an IP address and a port, such as 127.0.0.1:15010 or :15010".to_owned()
    })
}

/// Runs until SIGTERM or SIGINT.
pub async fn run(args: ControlPlaneArgs) -> Result<()> {
    let drain = hawser_base::drain::on_signal().context("signal handlers")?;
    let client = match &args.kubeconfig {
        Some(path) => Client::from_kubeconfig_file(path, None).await?,
        None => Client::in_cluster()?,
    };
    if client.is_insecure() {
        tracing::warn!(
            "the kubeconfig says insecure-skip-tls-verify: anyone on the way can read and change what this cluster says"
        );
    }
    let config = mesh::read_file(args.mesh_config.as_deref(), settings::mesh_config)?;
    let networks = mesh::read_file(args.mesh_networks.as_deref(), settings::mesh_networks)?;
    let fixed = config.is_some() || networks.is_some();
    let first = match fixed {
        true => Mesh {
            config: config.unwrap_or_default(),
            networks: networks.unwrap_or_default(),
        },
        false => mesh::of_cluster(&client, &args.namespace).await?,
    };
    let trust_domain = first.config.trust_domain().to_owned();
    let (meshes, mesh) = watch::channel(first);

    let first = authority::first(&client, &args.namespace, &trust_domain).await?;
    tracing::info!(until = %first.validity().until, "authority loaded");
    let (authority, authority_now) = watch::channel(Arc::new(first));
    let certificates = Certificates::new(&args.namespace, &args.domain, authority_now.clone())?;

    let (inputs, inbox) = mpsc::channel(1024);
    let (published, views) = publications();
    let (wants_sender, wants) = watch::channel(Arc::<Wants>::default());
    let source = SourceId::new(args.cluster_id.as_str());
    let kinds: Vec<_> = kinds::CONFIGURATION
        .iter()
        .chain(kinds::WORKLOADS)
        .copied()
        .collect();
    let writer = Writer::new(ClusterId::new(&args.cluster_id), &source, &kinds);
    let current = mesh.borrow().clone();
    let (injection_sender, injection) = watch::channel(Arc::new(injection(&args, &current)));
    // The mesh's settings come first, so that nothing is lowered under others.
    inputs
        .send(Input::Mesh(Box::new(current)))
        .await
        .context("the writer stopped")?;
    feed::follow(
        &client,
        &source,
        &kinds,
        &changes_into(inputs.clone()),
        &drain,
    );
    if !fixed {
        tokio::spawn(mesh::follow(
            client.clone(),
            args.namespace.clone(),
            meshes,
            drain.clone(),
        ));
        tokio::spawn(pass_on(
            mesh,
            args.clone(),
            inputs.clone(),
            injection_sender,
        ));
    }

    let mut registry = prometheus_client::registry::Registry::default();
    let metrics = Metrics::new(&mut registry);
    let fetcher = Fetcher::new(args.blocked_cidrs_in_jwks_uris.clone(), &mut registry)?;
    see_to(&client, &args, fetcher, &wants, &inputs, &drain);
    let board = Board::start();
    let reviewer = Arc::new(ClusterReviewer::new(client.clone()));
    let authenticator = Authenticator::new(reviewer.clone(), trust_domain.as_str().into());
    let (demands, demanded) = mpsc::unbounded_channel();
    let (refusals, refused) = mpsc::unbounded_channel();
    tokio::spawn(refusals::follow(refused, inputs.clone()));
    tokio::spawn(credentials::keep(
        client.clone(),
        demanded,
        published.subscribe(),
        inputs.clone(),
        drain.clone(),
    ));
    let ads = Ads::new(
        views,
        authenticator.clone(),
        Reports {
            board: board.clone(),
            demands,
            refusals,
        },
        metrics.clone(),
        drain.clone(),
    );
    let ca = CaService::new(authority_now.clone(), authenticator, metrics);
    let open_routes = Routes::new(ads.clone());
    let secure_routes = Routes::new(ads).add_service(IstioCertificateServiceServer::new(ca));

    let monitor = debug::Monitor {
        published: published.subscribe(),
        board,
        registry: Arc::new(registry),
        reviewer,
        system_namespace: args.namespace.as_str().into(),
    };

    let open = listen::bind(args.grpc_addr, "discovery, plaintext,")?;
    let secure = listen::bind(args.secure_grpc_addr, "discovery and certificates")?;
    let webhooks = listen::bind(args.webhook_addr, "webhooks")?;
    let monitoring = listen::bind(args.monitoring_addr, "monitoring")?;

    tokio::spawn(authority::follow(
        client.clone(),
        args.namespace.clone(),
        authority,
        drain.clone(),
    ));
    tokio::spawn(roots::distribute(
        client.clone(),
        authority_now.clone(),
        drain.clone(),
    ));
    tokio::spawn(webhook::keep_bundles(
        client,
        args.namespace.clone(),
        authority_now,
        published.subscribe(),
        drain.clone(),
    ));
    tokio::spawn(webhook::serve(
        webhooks,
        webhook::router(webhook::Injector {
            settings: injection,
            published: published.subscribe(),
        }),
        certificates.webhook.clone(),
        drain.clone(),
    ));
    let router = debug::router(monitor).into_make_service_with_connect_info::<SocketAddr>();
    let stop = drain.clone();
    tokio::spawn(async move {
        let serving = axum::serve(monitoring, router)
            .with_graceful_shutdown(async move { stop.cancelled().await });
        if let Err(error) = serving.await {
            tracing::error!(%error, "monitoring stopped");
        }
    });
    let open_server = tokio::spawn(server::plaintext(open, open_routes, drain.clone()));
    let secure_server = tokio::spawn(server::tls(
        secure,
        secure_routes,
        certificates.discovery.clone(),
        drain.clone(),
    ));
    tokio::spawn(certificates.keep(drain.clone()));
    writer.run(inbox, (published, wants_sender), drain).await;
    open_server.await.context("plaintext server")?;
    secure_server.await.context("secure server")?;
    Ok(())
}

/// Starts the tasks that see to what the mesh wants of the world outside.
fn see_to(
    client: &Client,
    args: &ControlPlaneArgs,
    fetcher: Fetcher,
    wants: &watch::Receiver<Arc<Wants>>,
    inputs: &mpsc::Sender<Input>,
    drain: &CancellationToken,
) {
    let fetch = move |uri: String| {
        let fetcher = fetcher.clone();
        async move { fetcher.fetch(&uri).await.map_err(|e| e.to_string()) }
    };
    let keys = (inputs.clone(), Input::Keys);
    tokio::spawn(refresh::keep(
        wants.clone(),
        |w| &w.keys,
        jwks::schedule(),
        fetch,
        keys,
        drain.clone(),
    ));
    let ips = (inputs.clone(), addresses::input);
    tokio::spawn(refresh::keep(
        wants.clone(),
        |w| &w.names,
        addresses::schedule(),
        addresses::resolve,
        ips,
        drain.clone(),
    ));

    let replica = args
        .pod_name
        .clone()
        .unwrap_or_else(|| format!("{SERVICE}-{}", uuid::Uuid::new_v4()));
    let candidate = Candidate::new(args.namespace.as_str(), statuses::LEASE, replica);
    let (elected, leading) = watch::channel(false);
    tokio::spawn(campaign(client.clone(), candidate, elected, drain.clone()));
    tokio::spawn(statuses::write(
        client.clone(),
        wants.clone(),
        leading,
        drain.clone(),
    ));
}

/// What pods are injected with.
fn injection(args: &ControlPlaneArgs, mesh: &Mesh) -> Settings {
    let defaults = mesh.config.default_config.as_ref().map(Field::write);
    let proxy_config = match defaults {
        Some(Value::Object(fields)) => fields,
        _ => Default::default(),
    };
    let text = |key: &str| {
        proxy_config
            .get(key)
            .and_then(Value::as_str)
            .filter(|t| !t.is_empty())
            .map(str::to_owned)
    };
    Settings {
        system_namespace: args.namespace.clone(),
        discovery_address: text("discoveryAddress")
            .unwrap_or_else(|| format!("{SERVICE}.{}.svc:15012", args.namespace)),
        cluster_id: args.cluster_id.clone(),
        network: args.network.clone(),
        mesh_id: text("meshId").unwrap_or_else(|| args.mesh_id.clone()),
        trust_domain: mesh.config.trust_domain().to_owned(),
        cluster_domain: args.domain.clone(),
        init_image: format!("{}/init:{}", args.hub, args.tag),
        proxy_image: format!("{}/proxyv2:{}", args.hub, args.tag),
        proxy_config,
        root_namespace: mesh.config.root_namespace().to_owned(),
        prometheus_merge: mesh.config.enable_prometheus_merge.unwrap_or(true),
        ..Settings::default()
    }
}

/// Tells the writer and the injector of new settings.
async fn pass_on(
    mut mesh: watch::Receiver<Mesh>,
    args: ControlPlaneArgs,
    inputs: mpsc::Sender<Input>,
    injector: watch::Sender<Arc<Settings>>,
) {
    while mesh.changed().await.is_ok() {
        let mesh = mesh.borrow_and_update().clone();
        injector.send_replace(Arc::new(injection(&args, &mesh)));
        if inputs.send(Input::Mesh(Box::new(mesh))).await.is_err() {
            return;
        }
    }
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
fn publications() -> (
    watch::Sender<Option<Published>>,
    watch::Receiver<Option<View>>,
) {
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
