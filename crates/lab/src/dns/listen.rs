//! The server's sockets, made inside the node's namespace.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::net::{NodeNet, in_netns};

/// A query that came by TCP.
pub(super) struct TcpQuery {
    pub(super) bytes: Vec<u8>,
    pub(super) reply: oneshot::Sender<Vec<u8>>,
}

/// Connections at a time; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 128;
/// A connection without a question is closed (RFC 7766, 6.2.3).
const IDLE: Duration = Duration::from_secs(10);

/// Binds port 53, UDP and TCP, on the node's address in the pod network.
pub(super) fn bind(net: &NodeNet) -> std::io::Result<(std::net::UdpSocket, std::net::TcpListener)> {
    let address = (net.pod_gateway(), 53);
    in_netns(&net.netns, || {
        Ok((
            std::net::UdpSocket::bind(address)?,
            std::net::TcpListener::bind(address)?,
        ))
    })
}

/// Turns the sockets over to the runtime; questions by TCP come through the channel.
pub(super) fn serve(
    (udp, tcp): (std::net::UdpSocket, std::net::TcpListener),
    shutdown: CancellationToken,
) -> std::io::Result<(UdpSocket, mpsc::Receiver<TcpQuery>)> {
    udp.set_nonblocking(true)?;
    tcp.set_nonblocking(true)?;
    let (udp, tcp) = (UdpSocket::from_std(udp)?, TcpListener::from_std(tcp)?);
    let (sender, receiver) = mpsc::channel(64);
    tokio::spawn(accept(tcp, sender, shutdown));
    Ok((udp, receiver))
}

async fn accept(
    listener: TcpListener,
    sender: mpsc::Sender<TcpQuery>,
    shutdown: CancellationToken,
) {
    let slots = std::sync::Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(slot) = std::sync::Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let sender = sender.clone();
                tokio::spawn(async move {
                    // A connection's failure concerns nobody but its client.
                    if let Err(error) = connection(stream, sender).await {
                        tracing::trace!(%error, "a DNS connection ended");
                    }
                    drop(slot);
                });
            }
            // Out of file descriptors, for one: give others time to close.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn connection(mut stream: TcpStream, sender: mpsc::Sender<TcpQuery>) -> std::io::Result<()> {
    loop {
        let length = tokio::time::timeout(IDLE, stream.read_u16()).await??;
        let mut bytes = vec![0; usize::from(length)];
        tokio::time::timeout(IDLE, stream.read_exact(&mut bytes)).await??;
        let (reply, answer) = oneshot::channel();
        if sender.send(TcpQuery { bytes, reply }).await.is_err() {
            return Ok(());
        }
        let Ok(answer) = answer.await else {
            return Ok(());
        };
        let length = u16::try_from(answer.len()).map_err(std::io::Error::other)?;
        stream
            .write_all(&[&length.to_be_bytes(), answer.as_slice()].concat())
            .await?;
    }
}
