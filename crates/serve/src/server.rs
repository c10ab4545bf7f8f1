//! The sockets: plaintext on 15010, mutual TLS on 15012, over HTTP/2.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hawser_model::Str;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tower::Service;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::auth::Peer;

/// A handshake that takes longer is given up.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// A peer that is silent for this long is asked whether it lives.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// Flow-control window of an idle connection, in bytes: what a proxy sends is small.
const WINDOW: u32 = 256 * 1024;
/// Streams at a time on one connection.
const MAX_STREAMS: u32 = 64;

/// Why a TLS configuration could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The PEM is no good.
    #[error(transparent)]
    Pem(#[from] hawser_base::tls::PemError),
    /// rustls refused it.
    #[error("tls: {0}")]
    Rustls(#[from] rustls::Error),
    /// The roots are no good.
    #[error("tls: client verifier: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// TLS for port 15012: our certificate, and client certificates of the mesh's roots, which are checked if given (a proxy
/// that has none yet comes with a token).
pub fn tls_config(
    chain_pem: &str,
    key_pem: &str,
    roots_pem: &str,
) -> Result<ServerConfig, TlsError> {
    let provider = hawser_base::tls::provider();
    let mut roots = RootCertStore::empty();
    for root in hawser_base::tls::certificates(roots_pem.as_bytes())? {
        roots.add(root)?;
    }
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            hawser_base::tls::certificates(chain_pem.as_bytes())?,
            hawser_base::tls::private_key(key_pem.as_bytes())?,
        )?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// Serves without encryption or authentication, for proxies on the same machine and for tools.
pub async fn plaintext(listener: TcpListener, routes: Routes, drain: CancellationToken) {
    let connections = TaskTracker::new();
    while let Some(socket) = accept(&listener, &drain).await {
        let peer = Peer {
            uris: Vec::new(),
            plaintext: true,
        };
        connections.spawn(connection(socket, routes.clone(), peer, drain.clone()));
    }
    finish(connections).await;
}

/// Serves over TLS with whatever configuration is current; connections made under an earlier one go on.
pub async fn tls(
    listener: TcpListener,
    routes: Routes,
    config: watch::Receiver<Arc<ServerConfig>>,
    drain: CancellationToken,
) {
    let connections = TaskTracker::new();
    while let Some(socket) = accept(&listener, &drain).await {
        let acceptor = TlsAcceptor::from(Arc::clone(&config.borrow()));
        let (routes, drain) = (routes.clone(), drain.clone());
        connections.spawn(async move {
            match tokio::time::timeout(HANDSHAKE, acceptor.accept(socket)).await {
                Ok(Ok(stream)) => {
                    let uris = stream
                        .get_ref()
                        .1
                        .peer_certificates()
                        .and_then(|c| c.first())
                        .map(uri_names);
                    let peer = Peer {
                        uris: uris.unwrap_or_default(),
                        plaintext: false,
                    };
                    connection(stream, routes, peer, drain).await;
                }
                Ok(Err(error)) => tracing::debug!(%error, "handshake failed"),
                Err(_) => tracing::debug!("handshake took too long"),
            }
        });
    }
    finish(connections).await;
}

/// The URI names of a certificate that TLS has verified.
fn uri_names(certificate: &CertificateDer<'_>) -> Vec<Str> {
    let Ok((_, parsed)) = x509_parser::certificate::X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let Ok(Some(names)) = parsed.subject_alternative_name() else {
        return Vec::new();
    };
    let uri = |n: &GeneralName<'_>| match n {
        GeneralName::URI(uri) => Some(Str::from(*uri)),
        _ => None,
    };
    names.value.general_names.iter().filter_map(uri).collect()
}

async fn accept(
    listener: &TcpListener,
    drain: &CancellationToken,
) -> Option<tokio::net::TcpStream> {
    loop {
        tokio::select! {
            () = drain.cancelled() => return None,
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => {
                    // Without it small responses wait for acknowledgements; failure costs time, not correctness.
                    let _ = socket.set_nodelay(true);
                    return Some(socket);
                }
                // Out of descriptors, or a peer that left early: neither is a reason to stop.
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
}

async fn connection<S>(socket: S, routes: Routes, peer: Peer, drain: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = hyper::service::service_fn(move |mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        let mut routes = routes.clone();
        async move {
            let answer = routes.call(request.map(tonic::body::Body::new)).await;
            Ok::<_, Infallible>(answer.unwrap_or_else(|never: Infallible| match never {}))
        }
    });
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_concurrent_streams(MAX_STREAMS);
    let serving = builder.serve_connection(TokioIo::new(socket), service);
    tokio::pin!(serving);
    tokio::select! {
        ended = serving.as_mut() => log_end(ended),
        () = drain.cancelled() => {
            serving.as_mut().graceful_shutdown();
            log_end(serving.await);
        }
    }
}

fn log_end(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

async fn finish(connections: TaskTracker) {
    connections.close();
    if tokio::time::timeout(Duration::from_secs(5), connections.wait())
        .await
        .is_err()
    {
        tracing::warn!("connections were cut after five seconds of draining");
    }
}
