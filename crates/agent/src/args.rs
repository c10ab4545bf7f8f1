//! The flags of `hawser agent`, named as those of Istio's `pilot-agent`, which injected pods pass.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::agent;
use crate::config::Config;

/// Runs beside a proxy.
#[derive(Debug, Clone, Args)]
pub struct AgentArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// Gets certificates, serves them to Envoy, answers DNS, and runs Envoy.
    Proxy(ProxyArgs),
}

/// What the proxy is to the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProxyRole {
    Sidecar,
    #[value(alias = "gateway")]
    Router,
}

impl ProxyRole {
    /// The role as the first part of a node's id.
    pub fn as_str(self) -> &'static str {
        match self {
            ProxyRole::Sidecar => "sidecar",
            ProxyRole::Router => "router",
        }
    }
}

/// The flags of `agent proxy`.
#[derive(Debug, Clone, Args)]
pub struct ProxyArgs {
    /// What the proxy is to the mesh.
    #[arg(default_value = "sidecar")]
    pub role: ProxyRole,
    /// DNS domain of the proxy's services; NAMESPACE.svc.cluster.local unless given.
    #[arg(long)]
    pub domain: Option<String>,
    /// Name of the proxy's service for logs and traces.
    #[arg(long = "serviceCluster")]
    pub service_cluster: Option<String>,
    /// Level of Envoy's log.
    #[arg(long = "proxyLogLevel", default_value = "warning")]
    pub proxy_log_level: String,
    /// Levels of parts of Envoy's log.
    #[arg(long = "proxyComponentLogLevel", default_value = "")]
    pub proxy_component_log_level: String,
    /// Level of the agent's own log, `info` or `SCOPE:LEVEL,…`.
    #[arg(long = "log_output_level", default_value = "default:info")]
    pub log_output_level: String,
    /// Worker threads of Envoy.
    #[arg(long, default_value_t = 2)]
    pub concurrency: u32,
    /// Domain of the identities in the mesh.
    #[arg(
        long = "trust-domain",
        env = "TRUST_DOMAIN",
        default_value = "cluster.local"
    )]
    pub trust_domain: String,
    /// The Envoy program; one called `envoy` on PATH unless given.
    #[arg(long, env = "ENVOY_PATH")]
    pub envoy: Option<PathBuf>,
    /// Directory of the bootstrap and the sockets.
    #[arg(long, env = "ISTIO_PROXY_DIR", default_value = "/etc/istio/proxy")]
    pub proxy_dir: PathBuf,
    /// Directory of the pod's labels and annotations.
    #[arg(long, env = "ISTIO_PODINFO_DIR", default_value = "/etc/istio/pod")]
    pub podinfo_dir: PathBuf,
    /// The certificate that the control plane's is checked against.
    #[arg(
        long,
        env = "CA_ROOT_CA",
        default_value = "/var/run/secrets/istio/root-cert.pem"
    )]
    pub root_cert: PathBuf,
    /// The service account token by which the agent asks for its certificate.
    #[arg(
        long,
        env = "ISTIO_TOKEN_FILE",
        default_value = "/var/run/secrets/tokens/istio-token"
    )]
    pub token: PathBuf,
    /// The resolver configuration whose servers are asked about names outside the mesh.
    #[arg(long, env = "ISTIO_RESOLV_CONF", default_value = "/etc/resolv.conf")]
    pub resolv_conf: PathBuf,
}

impl AgentArgs {
    /// The level of the agent's log, as a filter (`info`).
    pub fn log_filter(&self) -> &str {
        let Command::Proxy(proxy) = &self.command;
        let levels = proxy.log_output_level.split(',').map(str::trim);
        let mut default = levels.filter_map(|item| match item.split_once(':') {
            Some(("default" | "all", level)) => Some(level),
            Some(_) => None,
            None => Some(item),
        });
        match default.next_back() {
            Some("none") => "off",
            Some(level @ ("debug" | "info" | "warn" | "error")) => level,
            _ => "info",
        }
    }
}

/// Runs the agent until SIGTERM or SIGINT, then drains.
pub async fn run(args: AgentArgs) -> anyhow::Result<()> {
    let Command::Proxy(proxy) = args.command;
    let config = Config::from_environment(&proxy, std::env::vars().collect())?;
    let stop = hawser_base::drain::on_signal()?;
    agent::run_with(config, stop).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{AgentArgs, Command, ProxyRole};
    use clap::{CommandFactory, Parser};

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        agent: AgentArgs,
    }

    /// The role and the log filter that a command line means.
    fn check(line: &str, role: ProxyRole, filter: &str) {
        let words = std::iter::once("agent").chain(line.split_whitespace());
        let cli = Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
        let Command::Proxy(proxy) = &cli.agent.command;
        assert_eq!(
            (proxy.role, cli.agent.log_filter()),
            (role, filter),
            "{line}"
        );
    }

    #[test]
    fn flags_of_injected_pods() {
        Cli::command().debug_assert();
        check("proxy", ProxyRole::Sidecar, "info");
        check(
            "proxy gateway --log_output_level=all:debug",
            ProxyRole::Router,
            "debug",
        );
        check(
            "proxy router --domain d --proxyLogLevel=warning --proxyComponentLogLevel=misc:error --log_output_level=dns:debug,default:warn",
            ProxyRole::Router,
            "warn",
        );
    }
}
