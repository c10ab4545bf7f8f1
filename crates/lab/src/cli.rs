//! `hawser lab …`: the commands and their flags.

mod exec;
mod logs;
mod status;
mod up;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

/// Clusters on this machine: network namespaces, pods as processes.
#[derive(Debug, Args)]
pub struct LabArgs {
    #[command(subcommand)]
    command: LabCommand,
}

#[derive(Debug, Subcommand)]
enum LabCommand {
    /// Starts clusters and a mesh over them, shows what a request does, and stays until Ctrl-C.
    Up(UpArgs),
    /// Ends a lab and removes what it, or a killed one, left.
    Down(DirArg),
    /// Says which clusters are up and how to reach them.
    Status(StatusArgs),
    /// Runs a command in a pod's network, with this machine's files.
    Exec(ExecArgs),
    /// Prints one kubeconfig for all clusters, contexts named as they are.
    Kubeconfig(DirArg),
    /// Prints what a pod's containers wrote.
    Logs(LogsArgs),
}

/// Which lab.
#[derive(Debug, Clone, Args)]
struct DirArg {
    /// The lab's folder, which names it.
    #[arg(long, default_value = ".hawser")]
    dir: PathBuf,
}

/// How meshes of several clusters are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Topology {
    /// A control plane in each cluster, which knows its own cluster only; gateways join them.
    Replicated,
    /// A control plane in each cluster, each knowing all clusters.
    MultiPrimary,
    /// One control plane for all clusters, in the first.
    PrimaryRemote,
    /// A control plane outside the clusters it serves.
    External,
    /// Clusters without a mesh.
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Networks {
    One,
    Two,
}

/// What is installed on the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum App {
    Bookinfo,
    Helloworld,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Proxy {
    Envoy,
}

/// How cluster1 reaches cluster2's gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum GatewayAddress {
    /// By its load balancer's address.
    Loadbalancer,
    /// By its host's address and node port.
    Nodeport,
}

#[derive(Debug, Clone, Args)]
struct UpArgs {
    #[command(flatten)]
    dir: DirArg,
    /// How many clusters.
    #[arg(long, default_value_t = 2)]
    clusters: usize,
    /// How the mesh is laid out.
    #[arg(long, value_enum, default_value = "replicated")]
    topology: Topology,
    /// Whether pods of different clusters can reach each other directly.
    #[arg(long, value_enum, default_value = "two")]
    networks: Networks,
    /// What to install on the mesh.
    #[arg(long, value_enum, default_value = "bookinfo")]
    app: App,
    /// The data plane.
    #[arg(long, value_enum, default_value = "envoy")]
    proxy: Proxy,
    /// How the application's cluster reaches the other's gateway.
    #[arg(long, value_enum, default_value = "loadbalancer")]
    gateway: GatewayAddress,
    /// The Envoy program; otherwise one on PATH, or in .cache/envoy.
    #[arg(long)]
    envoy: Option<PathBuf>,
    /// Further entries for the table of images, in the form of samples/images.yaml.
    #[arg(long)]
    images: Option<PathBuf>,
    /// Returns once the lab is up, and leaves it running.
    #[arg(long)]
    detach: bool,
    /// Set for the process that a `--detach` leaves behind.
    #[arg(long, hide = true)]
    daemon: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

#[derive(Debug, Clone, Args)]
struct StatusArgs {
    #[command(flatten)]
    dir: DirArg,
    /// How to print.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

#[derive(Debug, Clone, Args)]
struct ExecArgs {
    #[command(flatten)]
    dir: DirArg,
    /// The cluster's name.
    cluster: String,
    /// NAMESPACE/POD or NAMESPACE/DEPLOYMENT; `node` for the cluster's node.
    target: String,
    /// The command and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

#[derive(Debug, Clone, Args)]
struct LogsArgs {
    #[command(flatten)]
    dir: DirArg,
    /// The cluster's name; without it, the lab's own log.
    cluster: Option<String>,
    /// NAMESPACE/POD or NAMESPACE/DEPLOYMENT.
    #[arg(requires = "cluster")]
    target: Option<String>,
    /// One container only.
    #[arg(short, long)]
    container: Option<String>,
    /// Goes on with what is written later.
    #[arg(short, long)]
    follow: bool,
}

/// A value that is understood but not built yet, or makes no sense: wrong use.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct WrongUse(String);

/// Runs a lab command. Exit status: 0 done, 1 no (not up, not found), 2 wrong use.
pub async fn run(args: LabArgs) -> anyhow::Result<ExitCode> {
    let result = match args.command {
        LabCommand::Up(args) => up::run(args).await,
        LabCommand::Down(args) => status::down(&args.dir).await,
        LabCommand::Status(args) => status::run(&args.dir.dir, args.output),
        LabCommand::Exec(args) => exec::run(args).await,
        LabCommand::Kubeconfig(args) => status::kubeconfig(&args.dir),
        LabCommand::Logs(args) => logs::run(args).await,
    };
    match result {
        Err(error) if error.is::<WrongUse>() => {
            eprintln!("{error}");
            Ok(ExitCode::from(2))
        }
        other => other,
    }
}
