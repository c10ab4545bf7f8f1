//! The one binary: roles and the user's commands.

#![forbid(unsafe_code)]

mod analyze;
mod ask;
mod blocks;
mod ca;
mod explain;
mod files;
mod kube_inject;
mod manifest;
mod offline;
mod proxy;
mod remote_secret;
mod service_dns;
mod translate;
mod validate;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser, Subcommand};
use hawser_base::logging::{self, Format};

/// A multicluster service mesh that speaks Istio's APIs and drives stock Envoy.
///
/// Exit status: 0 done, 1 the answer is no (problems found) or something failed, 2 wrong use.
#[derive(Parser, Debug)]
#[command(name = "hawser", version, propagate_version = true)]
struct Cli {
    /// Log as JSON, one object a line.
    #[arg(long, global = true)]
    log_json: bool,
    #[command(subcommand)]
    command: Command,
}

// One value a process, read once.
#[allow(clippy::large_enum_variant)]
#[derive(Subcommand, Debug)]
enum Command {
    /// Clusters on this machine: start, stop, look into them.
    Lab(hawser_lab::LabArgs),
    Analyze(analyze::AnalyzeArgs),
    Validate(validate::ValidateArgs),
    Translate(translate::TranslateArgs),
    Explain(explain::ExplainArgs),
    Ca(ca::CaArgs),
    Manifest(manifest::ManifestArgs),
    KubeInject(kube_inject::KubeInjectArgs),
    CreateRemoteSecret(remote_secret::RemoteSecretArgs),
    #[command(visible_alias = "ps")]
    ProxyStatus(proxy::ProxyStatusArgs),
    #[command(visible_alias = "pc")]
    ProxyConfig(proxy::ProxyConfigArgs),
    ControlPlane(hawser_control::ControlPlaneArgs),
    /// What runs beside each Envoy: certificates, DNS, bootstrap, starting and draining.
    Agent(hawser_agent::AgentArgs),
    /// Redirect this network namespace's traffic to its proxy.
    Capture(hawser_capture::CaptureArgs),
    ServiceDns(service_dns::ServiceDnsArgs),
    /// Serve the Kubernetes API for one or several clusters, from an embedded database.
    Apiserver(hawser_apiserver::ApiserverArgs),
    /// Print a shell's completion script.
    Completion {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

impl Command {
    /// What is logged unless `HAWSER_LOG` says otherwise: servers tell what they do, commands only what goes wrong.
    fn log_filter(&self) -> &str {
        match self {
            Self::Agent(args) => args.log_filter(),
            Self::ControlPlane(_) | Self::ServiceDns(_) | Self::Apiserver(_) => "info",
            _ => "warn",
        }
    }
}

fn main() -> ExitCode {
    // A lab's containers start as this program, and must not have threads yet.
    if let Some(code) = hawser_lab::main_if_asked() {
        return code;
    }
    let cli = Cli::parse();
    logging::init(
        if cli.log_json {
            Format::Json
        } else {
            Format::Text
        },
        cli.command.log_filter(),
    );
    hawser_base::tls::install();
    quiet_when_nobody_reads();
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("hawser: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// `hawser … | head` closes our output. Printing panics then, which undoes what must be undone, but is nobody's mistake to
/// be told of.
fn quiet_when_nobody_reads() {
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let payload = panic.payload();
        let said = payload.downcast_ref::<String>();
        if !said.is_some_and(|s| s.starts_with("failed") && s.contains("Broken pipe")) {
            loud(panic);
        }
    }));
}

fn run(command: Command) -> Result<ExitCode> {
    let done = |()| ExitCode::SUCCESS;
    match command {
        Command::Analyze(args) => block_on(analyze::run(args)),
        Command::Validate(args) => validate::run(&args),
        Command::Translate(args) => translate::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Ca(args) => ca::run(&args).map(done),
        Command::Manifest(args) => manifest::run(&args),
        Command::KubeInject(args) => kube_inject::run(&args),
        Command::CreateRemoteSecret(args) => block_on(remote_secret::run(args)),
        Command::ProxyStatus(args) => proxy::status(&args),
        Command::ProxyConfig(args) => proxy::config(&args),
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "hawser", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
        Command::Lab(args) => block_on(hawser_lab::run(args)),
        Command::ControlPlane(args) => block_on(hawser_control::run(args)).map(done),
        Command::Agent(args) => block_on(hawser_agent::run(args)).map(done),
        Command::Capture(args) => block_on(hawser_capture::run(args)).map(done),
        Command::ServiceDns(args) => block_on(service_dns::run(args)).map(done),
        Command::Apiserver(args) => block_on(hawser_apiserver::run(args)).map(done),
    }
}

fn block_on<T>(role: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    runtime.block_on(role)
}
