//! From the host's loopback into a namespace, without touching the host's routes or rules.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connect_in;

/// Where a forwarder sends connections: an address as seen inside a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// A file that opens as the namespace to dial from.
    pub netns: PathBuf,
    /// The address to dial there.
    pub address: SocketAddr,
}

const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// A TCP listener on the host's loopback whose connections come out inside a namespace.
#[derive(Debug)]
pub struct Forwarder {
    address: SocketAddr,
}

impl Forwarder {
    /// Listens on 127.0.0.1 at `port` (0: any) until `stop`. While there is no target, connections
    /// are closed at once.
    pub async fn start(
        port: u16,
        target: watch::Receiver<Option<Target>>,
        stop: CancellationToken,
    ) -> std::io::Result<Forwarder> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        tokio::spawn(serve(listener, target, stop));
        Ok(Forwarder { address })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn serve(
    listener: TcpListener,
    target: watch::Receiver<Option<Target>>,
    stop: CancellationToken,
) {
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let client = match accepted {
            Ok((client, _)) => client,
            Err(error) => {
                // Out of file descriptors, as a rule: let connections end before taking more.
                tracing::warn!(%error, "accepting on the host's loopback");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(to) = target.borrow().clone() else {
            continue;
        };
        let stop = stop.clone();
        connections.spawn(async move {
            tokio::select! {
                result = carry(client, &to) => if let Err(error) = result {
                    tracing::debug!(%error, address = %to.address, "forwarded connection ended");
                },
                () = stop.cancelled() => {}
            }
        });
    }
}

async fn carry(mut client: TcpStream, to: &Target) -> std::io::Result<()> {
    let mut server = connect_in(&to.netns, to.address, DIAL_TIMEOUT).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut client, &mut server)
        .await
        .map(|_| ())
}
