//! The sample application, all services in one small binary.

mod catalogue;
mod client;
mod greeter;
mod page;
mod peers;
mod productpage;
mod propagate;
mod reviews;
mod session;

use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::get;
use clap::{Parser, ValueEnum};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// The largest request body any of the services reads, in bytes.
const BODY_LIMIT: usize = 64 * 1024;
/// How long connections may take to finish after SIGTERM.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// The services of the Bookinfo sample, and the two of the multicluster samples.
#[derive(Debug, Parser)]
#[command(name = "hawser-bookinfo")]
struct Args {
    /// Which service to be.
    role: Role,
    /// The version served: reviews v1 has no stars, v2 black ones, v3 red ones.
    #[arg(long, env = "SERVICE_VERSION", default_value = "v1")]
    version: String,
    /// The port to listen on; 9080, and 5000 for helloworld, unless given.
    #[arg(long)]
    port: Option<u16>,
    /// The address to listen on.
    #[arg(long, default_value = "0.0.0.0")]
    bind: std::net::IpAddr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    Productpage,
    Details,
    Reviews,
    Ratings,
    Helloworld,
    Sleep,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let instance = std::env::var("HOSTNAME").unwrap_or_else(|_| "unknown".to_owned());
    let peers = peers::Peers::from_env(|name| std::env::var(name).ok());
    let router = match args.role {
        Role::Productpage => productpage::router(peers),
        Role::Details => catalogue::details(),
        Role::Ratings => catalogue::ratings(),
        Role::Reviews => {
            let cluster = std::env::var("CLUSTER_NAME").ok();
            reviews::router(peers, &args.version, instance, cluster)
        }
        Role::Helloworld => greeter::router(&args.version, &instance),
        Role::Sleep => {
            terminated().await;
            return Ok(());
        }
    };
    let default_port = if args.role == Role::Helloworld {
        5000
    } else {
        9080
    };
    let address = (args.bind, args.port.unwrap_or(default_port));
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {}:{}", address.0, address.1))?;
    eprintln!(
        "{:?} {} listens on {}",
        args.role,
        args.version,
        listener.local_addr()?
    );
    serve(listener, router).await
}

/// Serves until SIGTERM or SIGINT, then lets open requests finish for a while.
async fn serve(listener: TcpListener, router: Router) -> anyhow::Result<()> {
    let router = with_common(router);
    let server = axum::serve(listener, router).with_graceful_shutdown(terminated());
    let deadline = async {
        terminated().await;
        tokio::time::sleep(SHUTDOWN_GRACE).await;
    };
    tokio::select! {
        done = server => done.context("the server stopped"),
        () = deadline => Ok(()),
    }
}

/// What every service has: the health endpoint and a bound on request bodies.
fn with_common(router: Router) -> Router {
    router
        .route(
            "/health",
            get(|| async { axum::Json(serde_json::json!({"status": "healthy"})) }),
        )
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
}

async fn terminated() {
    let terminate = signal(SignalKind::terminate());
    let interrupt = signal(SignalKind::interrupt());
    match (terminate, interrupt) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        }
        _ => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
