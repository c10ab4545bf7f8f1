//! Handing queries on to the servers behind us, bytes unchanged.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// How long one server may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks each server over UDP until one answers.
pub async fn over_udp(servers: &[SocketAddr], query: &[u8]) -> Option<Vec<u8>> {
    for server in servers {
        match timeout(PATIENCE, ask_udp(*server, query)).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => tracing::debug!(%server, %error, "DNS server did not answer"),
            Err(_) => tracing::debug!(%server, "DNS server did not answer in time"),
        }
    }
    None
}

/// Asks each server over TCP until one answers.
pub async fn over_tcp(servers: &[SocketAddr], query: &[u8]) -> Option<Vec<u8>> {
    for server in servers {
        match timeout(PATIENCE, ask_tcp(*server, query)).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => {
                tracing::debug!(%server, %error, "DNS server did not answer over TCP")
            }
            Err(_) => tracing::debug!(%server, "DNS server did not answer over TCP in time"),
        }
    }
    None
}

/// A socket of its own per query: its random port, and being connected, keep forged answers out.
async fn ask_udp(server: SocketAddr, query: &[u8]) -> std::io::Result<Vec<u8>> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // The first two bytes are the query's number; another's answer is not ours.
        if length >= 12 && buffer.get(..2) == query.get(..2) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

async fn ask_tcp(server: SocketAddr, query: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    write_frame(&mut stream, query).await?;
    read_frame(&mut stream).await
}

/// Reads a message with its length before it (RFC 1035, 4.2.2).
pub async fn read_frame(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// Writes a message with its length before it.
pub async fn write_frame(stream: &mut TcpStream, message: &[u8]) -> std::io::Result<()> {
    let Ok(length) = u16::try_from(message.len()) else {
        return Err(std::io::Error::other(
            "a DNS message longer than 65535 bytes",
        ));
    };
    let mut frame = length.to_be_bytes().to_vec();
    frame.extend_from_slice(message);
    stream.write_all(&frame).await
}
