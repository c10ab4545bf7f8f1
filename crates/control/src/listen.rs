//! Binding the addresses of the command line, and telling which port the system chose.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpSocket};

/// Connections that may wait to be accepted: when a control plane comes back, all its proxies come at once, and those that
/// find the queue full are reset. The kernel cuts it to `net.core.somaxconn`.
const BACKLOG: u32 = 65_535;

/// Binds; `what` names the listener in the log line and in errors.
pub(crate) fn bind(address: SocketAddr, what: &str) -> Result<TcpListener> {
    let listener =
        listen(address).with_context(|| format!("{what}: cannot listen on {address}"))?;
    let address = listener
        .local_addr()
        .with_context(|| format!("{what}: no local address"))?;
    tracing::info!("{what} on {address}");
    Ok(listener)
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // As `TcpListener::bind` does: a control plane that is started again does not wait for connections of the last one.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
