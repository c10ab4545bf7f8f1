//! UDP and TCP on one port: the table answers, or the servers behind us do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::answer;
use super::forward;
use super::table::Table;

/// Queries being forwarded at a time; more are answered SERVFAIL.
const FORWARDED: usize = 1024;
/// TCP connections at a time; more wait to be accepted.
const CONNECTIONS: usize = 256;
/// How long a TCP connection may be silent.
const IDLE: Duration = Duration::from_secs(10);

/// Where to listen and whom to ask.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// UDP and TCP; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Asked about what the table does not know; without any, such names do not exist.
    pub upstreams: Vec<SocketAddr>,
}

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for DNS on {address}: {source}")]
pub struct ServerError {
    pub address: SocketAddr,
    pub source: std::io::Error,
}

/// A DNS server that is bound and ready to run.
pub struct Server {
    udp: Arc<UdpSocket>,
    tcp: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    table: watch::Receiver<Arc<Table>>,
    upstreams: Vec<SocketAddr>,
    forwarded: Semaphore,
}

impl Server {
    /// Binds both sockets. The table may change at any time; the newest is used.
    pub async fn bind(
        config: ServerConfig,
        table: watch::Receiver<Arc<Table>>,
    ) -> Result<Server, ServerError> {
        let wrong = |address| move |source| ServerError { address, source };
        let udp = UdpSocket::bind(config.listen)
            .await
            .map_err(wrong(config.listen))?;
        let address = udp.local_addr().map_err(wrong(config.listen))?;
        let tcp = TcpListener::bind(address).await.map_err(wrong(address))?;
        // Asking ourselves would go round in circles.
        let upstreams = config
            .upstreams
            .into_iter()
            .filter(|upstream| *upstream != address)
            .collect();
        let shared = Arc::new(Shared {
            table,
            upstreams,
            forwarded: Semaphore::new(FORWARDED),
        });
        Ok(Server {
            udp: Arc::new(udp),
            tcp,
            address,
            shared,
        })
    }

    /// The address of both sockets.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until cancelled.
    pub async fn run(self, stop: CancellationToken) {
        let udp = serve_udp(self.udp, Arc::clone(&self.shared));
        let tcp = serve_tcp(self.tcp, self.shared);
        tokio::select! {
            () = stop.cancelled() => {}
            () = udp => {}
            () = tcp => {}
        }
    }
}

async fn serve_udp(socket: Arc<UdpSocket>, shared: Arc<Shared>) {
    let mut buffer = vec![0; usize::from(u16::MAX)];
    let mut turn = 0_usize;
    loop {
        let (length, from) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                // An ICMP error about an earlier answer; the socket itself is fine.
                tracing::debug!(%error, "receiving a DNS query");
                continue;
            }
        };
        let bytes = buffer.get(..length).unwrap_or_default();
        let Ok(query) = Message::from_vec(bytes) else {
            continue;
        };
        if !answer::is_query(&query) {
            continue;
        }
        turn = turn.wrapping_add(1);
        let known = answer::from_table(&query, &shared.table.borrow(), turn);
        if let Some(known) = known {
            send(&socket, answer::for_udp(&query, &known), from).await;
            continue;
        }
        let (socket, shared, bytes) = (Arc::clone(&socket), Arc::clone(&shared), bytes.to_vec());
        tokio::spawn(async move {
            let answer = match shared.unknown(&query) {
                Some(answer) => answer::for_udp(&query, &answer),
                None => shared.forward(&query, &bytes, false).await,
            };
            send(&socket, answer, from).await;
        });
    }
}

async fn send(socket: &UdpSocket, answer: Option<Vec<u8>>, to: SocketAddr) {
    if let Some(answer) = answer
        && let Err(error) = socket.send_to(&answer, to).await
    {
        tracing::debug!(%error, %to, "sending a DNS answer");
    }
}

async fn serve_tcp(listener: TcpListener, shared: Arc<Shared>) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    converse(stream, &shared).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a DNS connection");
                // Out of descriptors, most likely: give others time to finish.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Answers the queries of one connection, one after the other.
async fn converse(mut stream: TcpStream, shared: &Shared) {
    let mut turn = 0_usize;
    while let Ok(Ok(bytes)) = timeout(IDLE, forward::read_frame(&mut stream)).await {
        let Ok(query) = Message::from_vec(&bytes) else {
            return;
        };
        if !answer::is_query(&query) {
            return;
        }
        turn = turn.wrapping_add(1);
        let known = answer::from_table(&query, &shared.table.borrow(), turn)
            .or_else(|| shared.unknown(&query));
        let answer = match known {
            Some(answer) => answer.to_vec().ok(),
            None => shared.forward(&query, &bytes, true).await,
        };
        let Some(answer) = answer else { return };
        if !matches!(
            timeout(IDLE, forward::write_frame(&mut stream, &answer)).await,
            Ok(Ok(()))
        ) {
            return;
        }
    }
}

impl Shared {
    /// The answer to what the table does not know when there is nobody to ask: a known name has no
    /// records of that kind, any other does not exist.
    fn unknown(&self, query: &Message) -> Option<Message> {
        if !self.upstreams.is_empty() {
            return None;
        }
        let names = query
            .queries
            .iter()
            .map(|question| question.name().to_ascii());
        let table = self.table.borrow();
        let known = names.into_iter().any(|name| table.find(&name).is_some());
        let code = if known {
            ResponseCode::NoError
        } else {
            ResponseCode::NXDomain
        };
        Some(answer::reply(query, code))
    }

    async fn forward(&self, query: &Message, bytes: &[u8], tcp: bool) -> Option<Vec<u8>> {
        let answer = match self.forwarded.try_acquire() {
            Ok(_permit) if tcp => forward::over_tcp(&self.upstreams, bytes).await,
            Ok(_permit) => forward::over_udp(&self.upstreams, bytes).await,
            Err(_) => None,
        };
        answer.or_else(|| answer::reply(query, ResponseCode::ServFail).to_vec().ok())
    }
}
