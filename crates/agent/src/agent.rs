//! Putting the parts together: starts them, waits for the end, stops them in order.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hawser_proto::envoy::service::discovery::v3::aggregated_discovery_service_server::AggregatedDiscoveryServiceServer;
use hawser_proto::envoy::service::secret::v3::secret_discovery_service_server::SecretDiscoveryServiceServer;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::admin::Admin;
use crate::bootstrap::bootstrap;
use crate::bootstrap_patch;
use crate::certificate::{SecretsReceiver, keep_fresh};
use crate::config::Config;
use crate::control::ControlPlane;
use crate::dns::{self, Table, Viewpoint};
use crate::envoy::{self, EnvoyError, Launch};
use crate::sds::SecretService;
use crate::socket::{self, SocketError};
use crate::status::{self, Counters, Status};
use crate::xds::{NameSink, Relay};

/// The largest request of Envoy, in bytes: what it has already, told to a control plane that is back.
const REQUEST_LIMIT: usize = 64 * 1024 * 1024;

/// Why the agent ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error("cannot write {path}: {source}")]
    Write {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot listen on {address}: {source}")]
    Listen {
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error(transparent)]
    Socket(#[from] SocketError),
    #[error(transparent)]
    Dns(#[from] dns::ServerError),
    #[error(transparent)]
    Envoy(#[from] EnvoyError),
    #[error("serving Envoy failed: {0}")]
    Serve(#[from] tonic::transport::Error),
    #[error("serving the status failed: {0}")]
    Status(std::io::Error),
}

/// Runs the agent until `stop` is cancelled, then drains Envoy and ends.
pub async fn run_with(config: Config, stop: CancellationToken) -> Result<(), AgentError> {
    let launch = Launch::new(&config)?;
    std::fs::create_dir_all(&config.proxy_dir).map_err(|source| AgentError::Write {
        path: config.proxy_dir.clone(),
        source,
    })?;
    let control = ControlPlane {
        address: config.discovery_address.clone(),
        name: config.discovery_name.clone(),
        root_cert: config.root_cert.clone(),
        token: config.token.clone(),
        cluster_id: config.cluster_id.clone(),
    };
    let (publish, secrets) = watch::channel(None);
    let (epoch, epochs) = watch::channel(0);
    let counters = Arc::new(Counters::default());
    // What serves Envoy ends after Envoy.
    let services = CancellationToken::new();
    let mut tasks: JoinSet<Result<(), AgentError>> = JoinSet::new();

    let names = start_dns(&config, &mut tasks, &services).await?;
    start_status(
        &config,
        &mut tasks,
        &services,
        &stop,
        secrets.clone(),
        epochs,
        Arc::clone(&counters),
    )
    .await?;
    let fresh = keep_fresh(
        control.clone(),
        config.identity(),
        config.certificate_lifetime,
        publish,
        services.clone(),
    );
    tasks.spawn(async {
        fresh.await;
        Ok(())
    });
    let sds = SecretDiscoveryServiceServer::new(SecretService::new(secrets.clone()));
    tasks.spawn(serve(
        socket::listen(&config.sds_socket())?,
        Server::builder().add_service(sds),
        services.clone(),
    ));
    let relay = Relay {
        control: control.clone(),
        secrets: secrets.clone(),
        names,
        counters,
    };
    let xds = AggregatedDiscoveryServiceServer::new(relay).max_decoding_message_size(REQUEST_LIMIT);
    tasks.spawn(serve(
        socket::listen(&config.xds_socket())?,
        Server::builder().add_service(xds),
        services.clone(),
    ));
    let bootstrap = tokio::select! {
        patched = bootstrap_patch::patched(bootstrap(&config), &control, &secrets) => patched,
        // Stopped while waiting: nothing is started any more.
        () = stop.cancelled() => bootstrap(&config),
    };
    write_private(&config.bootstrap(), &format!("{bootstrap:#}\n"))?;

    let outcome = tokio::select! {
        outcome = envoy::supervise(launch, &config, epoch, stop.clone()) => outcome.map_err(AgentError::from),
        failed = first_failure(&mut tasks) => Err(failed),
    };
    stop.cancel();
    services.cancel();
    // Streams that Envoy left open end with the tasks.
    tasks.shutdown().await;
    outcome
}

/// Waits for a task that fails; tasks that end well are of no interest.
async fn first_failure(tasks: &mut JoinSet<Result<(), AgentError>>) -> AgentError {
    while let Some(ended) = tasks.join_next().await {
        match ended {
            Ok(Err(error)) => return error,
            Ok(Ok(())) => {}
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
    std::future::pending().await
}

async fn serve(
    listener: UnixListener,
    router: tonic::transport::server::Router,
    stop: CancellationToken,
) -> Result<(), AgentError> {
    let incoming = UnixListenerStream::new(listener);
    Ok(router
        .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
        .await?)
}

async fn start_dns(
    config: &Config,
    tasks: &mut JoinSet<Result<(), AgentError>>,
    services: &CancellationToken,
) -> Result<Option<NameSink>, AgentError> {
    if !config.dns {
        return Ok(None);
    }
    let (table, tables) = watch::channel(Arc::new(Table::default()));
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, config.ports.dns));
    let server_config = dns::ServerConfig {
        listen,
        upstreams: config.resolv.servers.clone(),
    };
    let server = dns::Server::bind(server_config, tables).await?;
    tracing::info!(address = %server.address(), upstreams = ?config.resolv.servers, "DNS proxy listens");
    let stop = services.clone();
    tasks.spawn(async move {
        server.run(stop).await;
        Ok(())
    });
    let viewpoint = Viewpoint {
        namespace: config.namespace.clone(),
        search: config.resolv.search.first().cloned(),
    };
    Ok(Some(NameSink { viewpoint, table }))
}

async fn start_status(
    config: &Config,
    tasks: &mut JoinSet<Result<(), AgentError>>,
    services: &CancellationToken,
    stop: &CancellationToken,
    secrets: SecretsReceiver,
    epoch: watch::Receiver<u64>,
    counters: Arc<Counters>,
) -> Result<(), AgentError> {
    // Prometheus and the kubelet come from outside the pod.
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, config.ports.status));
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| AgentError::Listen { address, source })?;
    let application = config
        .application_metrics
        .clone()
        .map(|metrics| (Admin::new(metrics.port), metrics));
    let router = status::router(Status {
        admin: Admin::new(config.ports.admin),
        application,
        secrets,
        epoch,
        counters,
        stop: stop.clone(),
    });
    let stopped = services.clone().cancelled_owned();
    tasks.spawn(async move {
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        axum::serve(listener, service)
            .with_graceful_shutdown(stopped)
            .await
            .map_err(AgentError::Status)
    });
    Ok(())
}

/// Writes a file that only its owner may read.
fn write_private(path: &Path, text: &str) -> Result<(), AgentError> {
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        // The mode above counts only for a new file.
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())
    };
    write().map_err(|source| AgentError::Write {
        path: path.to_owned(),
        source,
    })
}
