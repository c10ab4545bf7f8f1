//! The servers behind the proxy: one process answers on every address, with what it was asked.

use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use serde_json::json;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// How a client that does not speak HTTP begins.
pub const BYTES: &[u8] = b"no HTTP\n";
/// The header that says which address answered.
pub const ANSWERED_BY: &str = "x-answered-by";
/// The external authorizer.
const AUTHORIZER: &str = "10.1.0.61:";
/// A request with this header is refused by the external authorizer.
pub const REFUSE: &str = "x-refuse-me";

/// Serves until the process ends.
pub async fn serve(listener: std::net::TcpListener, tls: Arc<ServerConfig>) -> Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        // A client that goes away in the middle is no concern of the server's.
        let tls = TlsAcceptor::from(Arc::clone(&tls));
        tokio::spawn(async move { drop(connection(stream, tls).await) });
    }
}

async fn connection(stream: TcpStream, tls: TlsAcceptor) -> Result<()> {
    let called = SockRef::from(&stream)
        .original_dst_v4()?
        .as_socket()
        .map(|a| a.to_string())
        .unwrap_or_default();
    let mut first = [0; 4];
    while stream.peek(&mut first).await? < 4 {
        tokio::task::yield_now().await;
        if stream.peek(&mut first).await? == 0 {
            return Ok(());
        }
    }
    // A handshake record.
    if first[0] == 0x16 {
        let stream = tls.accept(stream).await?;
        let (_, session) = stream.get_ref();
        let sni = session.server_name().unwrap_or_default().to_owned();
        let client = session.peer_certificates().is_some_and(|c| !c.is_empty());
        let mut bytes = tokio::io::BufReader::new(stream);
        let first = tokio::io::AsyncBufReadExt::fill_buf(&mut bytes)
            .await?
            .starts_with(BYTES);
        return speak(bytes, first, called, Some((sni, client))).await;
    }
    speak(stream, BYTES.starts_with(&first), called, None).await
}

async fn speak<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    mut stream: S,
    bytes: bool,
    called: String,
    tls: Option<(String, bool)>,
) -> Result<()> {
    if bytes {
        stream.write_all(format!("{called}\n").as_bytes()).await?;
        stream.shutdown().await?;
        return Ok(());
    }
    let answer = service_fn(move |request: Request<hyper::body::Incoming>| {
        let (called, tls) = (called.clone(), tls.clone());
        async move {
            let headers: Vec<(String, String)> = request
                .headers()
                .iter()
                .map(|(n, v)| {
                    (
                        n.to_string(),
                        String::from_utf8_lossy(v.as_bytes()).into_owned(),
                    )
                })
                .collect();
            if request.headers().contains_key(REFUSE) && called.starts_with(AUTHORIZER) {
                return Response::builder()
                    .status(403)
                    .body(Full::new(Bytes::new()));
            }
            let body = json!({
                "path": request.uri().path_and_query().map_or("", |p| p.as_str()),
                "authority": request.uri().authority().map(ToString::to_string),
                "version": format!("{:?}", request.version()),
                "headers": headers,
                "sni": tls.as_ref().map(|t| &t.0),
                "client_certificate": tls.as_ref().is_some_and(|t| t.1),
            });
            Response::builder()
                .header(ANSWERED_BY, called)
                .body(Full::new(Bytes::from(body.to_string())))
        }
    });
    auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), answer)
        .await
        .map_err(anyhow::Error::from_boxed)
}
