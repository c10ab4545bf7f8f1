//! Asking other DNS servers, from inside the node's network or from the machine's own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hickory_proto::op::{Message, Query};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;

use super::plan::Upstream;
use crate::net::{connect_in, in_netns};

const TIMEOUT: Duration = Duration::from_secs(2);
/// Rounds over all servers before giving up.
const ROUNDS: usize = 2;

/// A question for others.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) netns: PathBuf,
    pub(super) to: Vec<Upstream>,
    pub(super) query: Query,
}

/// Asks one server after another until one answers; `None` when none does.
pub(super) async fn ask(ask: Ask) -> Option<Message> {
    let mut servers: Vec<(SocketAddr, bool)> = Vec::new();
    for upstream in &ask.to {
        match upstream {
            Upstream::Server(address) => servers.push((*address, true)),
            Upstream::Host => {
                servers.extend(host_servers().into_iter().map(|address| (address, false)))
            }
        }
    }
    for _ in 0..ROUNDS {
        for (server, inside) in &servers {
            let netns = inside.then_some(ask.netns.as_path());
            match tokio::time::timeout(TIMEOUT, exchange(netns, *server, &ask.query)).await {
                Ok(Ok(message)) => return Some(message),
                Ok(Err(error)) => tracing::debug!(%server, %error, "a DNS server did not answer"),
                Err(_) => tracing::debug!(%server, "a DNS server did not answer in time"),
            }
        }
    }
    None
}

/// The machine's resolvers.
fn host_servers() -> Vec<SocketAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let address = words
            .next()
            .filter(|word| *word == "nameserver")
            .and_then(|_| words.next())?;
        Some(SocketAddr::new(address.parse::<IpAddr>().ok()?, 53))
    });
    // As many as resolvers use (resolv.conf(5)).
    servers.take(3).collect()
}

async fn exchange(
    netns: Option<&Path>,
    server: SocketAddr,
    query: &Query,
) -> std::io::Result<Message> {
    // The id is what a forger has to guess, besides the port.
    let [high, low, ..] = *uuid::Uuid::new_v4().as_bytes();
    let mut message = Message::query();
    message.metadata.id = u16::from_be_bytes([high, low]);
    message.metadata.recursion_desired = true;
    message.add_query(query.clone());
    let bytes = message.to_vec().map_err(std::io::Error::other)?;
    let answer = over_udp(netns, server, &bytes, &message).await?;
    if !answer.metadata.truncation {
        return Ok(answer);
    }
    over_tcp(netns, server, &bytes, &message).await
}

fn udp_socket(netns: Option<&Path>, server: SocketAddr) -> std::io::Result<UdpSocket> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let bind = || std::net::UdpSocket::bind((any, 0));
    let socket = match netns {
        Some(netns) => in_netns(netns, bind)?,
        None => bind()?,
    };
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

async fn over_udp(
    netns: Option<&Path>,
    server: SocketAddr,
    bytes: &[u8],
    query: &Message,
) -> std::io::Result<Message> {
    let socket = udp_socket(netns, server)?;
    socket.connect(server).await?;
    socket.send(bytes).await?;
    let mut buffer = [0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // What does not belong to the question may be forged: keep waiting for what does.
        if let Ok(answer) = Message::from_vec(buffer.get(..length).unwrap_or_default())
            && belongs(&answer, query)
        {
            return Ok(answer);
        }
    }
}

async fn over_tcp(
    netns: Option<&Path>,
    server: SocketAddr,
    bytes: &[u8],
    query: &Message,
) -> std::io::Result<Message> {
    let mut stream = match netns {
        Some(netns) => connect_in(netns, server, TIMEOUT).await?,
        None => tokio::net::TcpStream::connect(server).await?,
    };
    let length = u16::try_from(bytes.len()).map_err(std::io::Error::other)?;
    stream
        .write_all(&[&length.to_be_bytes(), bytes].concat())
        .await?;
    let length = stream.read_u16().await?;
    let mut buffer = vec![0; usize::from(length)];
    stream.read_exact(&mut buffer).await?;
    let answer = Message::from_vec(&buffer).map_err(std::io::Error::other)?;
    if belongs(&answer, query) {
        Ok(answer)
    } else {
        Err(std::io::Error::other("an answer to another question"))
    }
}

fn belongs(answer: &Message, query: &Message) -> bool {
    answer.metadata.id == query.metadata.id
        && answer.metadata.message_type == hickory_proto::op::MessageType::Response
        && answer.queries == query.queries
}
