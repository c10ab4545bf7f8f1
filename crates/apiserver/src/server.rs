//! Starting a cluster, listening for it, and stopping it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use ipnet::Ipv4Net;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::auth::{Authenticator, Issuer, MASTERS, StaticToken, User};
use crate::cluster::{Cluster, Parts};
use crate::kubelet::Identity;
use crate::store::{RedbDisk, Store};
use crate::{api, keeper, netns, pki, rules};

/// How one cluster is served.
#[derive(Debug, Clone)]
pub struct Config {
    pub name: String,
    /// Port 0 picks a free one.
    pub addr: SocketAddr,
    /// Holds the database, the CA and the keys; made if it does not exist.
    pub data_dir: PathBuf,
    pub service_cidr: Ipv4Net,
    /// Also listen in this network namespace, and dial webhooks that are Services from there.
    pub netns: Option<(PathBuf, SocketAddr)>,
    /// Further bearer tokens.
    pub tokens: Vec<StaticToken>,
    /// Audiences of tokens that this server takes as meant for itself, beside its issuer's name.
    pub audiences: Vec<String>,
}

impl Config {
    /// A cluster on a free loopback port with Kubernetes' usual service addresses.
    pub fn new(name: impl Into<String>, data_dir: impl Into<PathBuf>) -> Config {
        Config {
            name: name.into(),
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            data_dir: data_dir.into(),
            service_cidr: default_service_cidr(),
            netns: None,
            tokens: Vec::new(),
            audiences: Vec::new(),
        }
    }
}

/// 10.96.0.0/16.
pub fn default_service_cidr() -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(10, 96, 0, 0), 16)
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cluster {cluster}: {source:#}")]
    Cluster {
        cluster: String,
        source: anyhow::Error,
    },
}

/// Starts clusters.
pub struct Server;

/// A running cluster; dropping it stops it.
pub struct Handle {
    name: String,
    /// Where it listens, with the port chosen.
    pub addr: SocketAddr,
    /// Where it listens inside its network namespace.
    pub netns_addr: Option<SocketAddr>,
    ca_pem: String,
    token: String,
    authority: pki::Authority,
    stop: watch::Sender<bool>,
}

impl Server {
    /// Starts one cluster and returns once it serves.
    ///
    /// # Errors
    /// When its folder cannot be used or its addresses are not free.
    pub async fn start(config: Config) -> Result<Handle, StartError> {
        let cluster = config.name.clone();
        start(config)
            .await
            .map_err(|source| StartError::Cluster { cluster, source })
    }
}

impl Handle {
    /// `https://IP:PORT`.
    pub fn url(&self) -> String {
        format!("https://{}", self.addr)
    }

    /// An administrator's kubeconfig; the context is named as the cluster.
    pub fn kubeconfig(&self) -> String {
        pki::kubeconfig(&self.name, &self.url(), &self.ca_pem, &self.token)
    }

    /// The same for clients inside the network namespace.
    pub fn netns_kubeconfig(&self) -> Option<String> {
        let addr = self.netns_addr?;
        Some(pki::kubeconfig(
            &self.name,
            &format!("https://{addr}"),
            &self.ca_pem,
            &self.token,
        ))
    }

    /// The administrator's bearer token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The cluster's CA certificate, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// A client certificate and its key, PEM, for a user in groups.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn client_certificate(
        &self,
        user: &str,
        groups: &[&str],
    ) -> anyhow::Result<(String, String)> {
        self.authority.client_certificate(user, groups)
    }

    /// Ends watches and stops accepting; what is acknowledged is on disk already.
    pub fn shutdown(&self) {
        self.stop.send_replace(true);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shutdown();
    }
}

async fn start(config: Config) -> anyhow::Result<Handle> {
    std::fs::create_dir_all(&config.data_dir)
        .with_context(|| format!("making {}", config.data_dir.display()))?;
    let listener = TcpListener::bind(config.addr)
        .await
        .with_context(|| format!("listening on {}", config.addr))?;
    let addr = listener.local_addr()?;
    let inner = match &config.netns {
        None => None,
        Some((path, addr)) => {
            let listener = netns::listen(path, *addr)
                .with_context(|| format!("listening on {addr} in {}", path.display()))?;
            listener.set_nonblocking(true)?;
            Some(TcpListener::from_std(listener)?)
        }
    };
    let netns_addr = inner.as_ref().map(TcpListener::local_addr).transpose()?;

    let authority = pki::Authority::open(&config.data_dir, &config.name)?;
    let mut ips = vec![
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        addr.ip(),
        IpAddr::V4(service_ip(&config.service_cidr)),
    ];
    ips.extend(netns_addr.map(|addr| addr.ip()));
    ips.sort_unstable();
    ips.dedup();
    let tls = TlsAcceptor::from(authority.server_config(&ips)?);
    let token = pki::admin_token(&config.data_dir)?;
    let admin = User {
        username: "kubernetes-admin".into(),
        groups: vec![MASTERS.into()],
        ..User::default()
    };
    let mut tokens = config.tokens;
    tokens.push(StaticToken {
        token: token.clone(),
        user: admin,
    });

    let database = config.data_dir.join("objects.redb");
    let disk =
        RedbDisk::open(&database).with_context(|| format!("opening {}", database.display()))?;
    let (store, events) = Store::open(Box::new(disk), rules::services::claims_of)
        .with_context(|| format!("reading {}", database.display()))?;
    let (stop, stopping) = watch::channel(false);
    let (certificate, key) = authority.client_certificate("kube-apiserver-kubelet-client", &[])?;
    let cluster = Arc::new(Cluster::new(Parts {
        name: config.name.clone(),
        store,
        authenticator: Authenticator::new(tokens),
        ca_pem: authority.pem.clone(),
        service_cidr: config.service_cidr,
        addr,
        netns_addr,
        audiences: std::iter::once(Issuer::URL.to_owned())
            .chain(config.audiences)
            .collect(),
        netns: config.netns.map(|(path, _)| path),
        kubelet_identity: Identity { certificate, key },
        stopping: stopping.clone(),
    }));
    load_service_account_key(&cluster, &config.data_dir)?;
    keeper::bootstrap(&cluster)
        .await
        .context("making the objects that every cluster has")?;
    tokio::spawn(keeper::run(cluster.clone(), events, stopping.clone()));
    tokio::spawn(accept(
        listener,
        tls.clone(),
        cluster.clone(),
        stopping.clone(),
    ));
    if let Some(inner) = inner {
        tokio::spawn(accept(inner, tls, cluster.clone(), stopping));
    }
    tracing::info!(cluster = %config.name, %addr, "the API server is ready");
    Ok(Handle {
        name: config.name,
        addr,
        netns_addr,
        ca_pem: authority.pem.clone(),
        token,
        authority,
        stop,
    })
}

fn service_ip(cidr: &Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(cidr.network()) + 1)
}

/// Loads the key that signs tokens. On the first start it is made in the background: finding RSA primes takes long.
fn load_service_account_key(cluster: &Arc<Cluster>, dir: &std::path::Path) -> anyhow::Result<()> {
    let path = pki::service_account_key(dir);
    if path.exists() {
        let der = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        return cluster
            .issuer
            .load(&der)
            .with_context(|| format!("{} is not usable", path.display()));
    }
    let cluster = cluster.clone();
    tokio::task::spawn_blocking(move || {
        let made = Issuer::generate()
            .map_err(anyhow::Error::from)
            .and_then(|der| pki::write_private(&path, &der).map(|()| der))
            .and_then(|der| cluster.issuer.load(&der).map_err(anyhow::Error::from));
        if let Err(error) = made {
            tracing::error!(cluster = %cluster.name, "no tokens can be issued: making the service account key: {error:#}");
        }
    });
    Ok(())
}

/// How long a client may take for the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a client may take for the head of a request; as in the real server.
const HEADERS: Duration = Duration::from_secs(32);
/// A pause after an error of accepting, such as having no more descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

async fn accept(
    listener: TcpListener,
    tls: TlsAcceptor,
    cluster: Arc<Cluster>,
    mut stopping: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = crate::cluster::stopped(&mut stopping) => return,
        };
        match accepted {
            Ok((stream, _)) => {
                tokio::spawn(connection(
                    stream,
                    tls.clone(),
                    cluster.clone(),
                    stopping.clone(),
                ));
            }
            Err(error) => {
                tracing::warn!(cluster = %cluster.name, "accepting a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    tls: TlsAcceptor,
    cluster: Arc<Cluster>,
    mut stopping: watch::Receiver<bool>,
) {
    // Small answers should not wait for more; failing to say so costs only latency.
    let _ = stream.set_nodelay(true);
    let stream = match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(cluster = %cluster.name, "TLS handshake: {error}");
            return;
        }
        Err(_) => return,
    };
    let certificate: Option<Arc<[u8]>> = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(|chain| chain.first())
        .map(|leaf| leaf.as_ref().into());
    let service = service_fn(move |request| {
        let (cluster, certificate) = (cluster.clone(), certificate.clone());
        async move {
            Ok::<_, std::convert::Infallible>(
                api::handle(&cluster, certificate.as_deref(), request).await,
            )
        }
    });
    let mut builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    // Whoever is slow to ask holds a connection, but not for ever.
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS);
    builder
        .http2()
        .max_concurrent_streams(1000)
        .initial_stream_window_size(1 << 20);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // A connection that breaks is the client's affair.
        _ = connection.as_mut() => return,
        () = crate::cluster::stopped(&mut stopping) => connection.as_mut().graceful_shutdown(),
    }
    let _ = tokio::time::timeout(HANDSHAKE, connection).await;
}
