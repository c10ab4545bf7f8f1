//! Binding the addresses of the command line, and telling which port the system chose.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::net::TcpListener;

/// Binds; `what` names the listener in the log line and in errors.
pub(crate) async fn bind(address: SocketAddr, what: &str) -> Result<TcpListener> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("{what}: cannot listen on {address}"))?;
    let address = listener
        .local_addr()
        .with_context(|| format!("{what}: no local address"))?;
    tracing::info!("{what} on {address}");
    Ok(listener)
}
