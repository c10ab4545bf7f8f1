//! Runs the API server alone, for trying it out: `cargo run -p hawser-apiserver --example serve -- --kubeconfig F`.

use clap::Parser;

#[derive(Parser)]
struct Args {
    #[command(flatten)]
    apiserver: hawser_apiserver::ApiserverArgs,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    hawser_apiserver::run(Args::parse().apiserver).await
}
