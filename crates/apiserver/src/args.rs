//! The `apiserver` role of the command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use ipnet::Ipv4Net;

use crate::auth::parse_token_file;
use crate::pki::write_private;
use crate::server::{Config, Server, default_service_cidr};

/// Serve one or several clusters.
#[derive(Debug, Clone, clap::Args)]
pub struct ApiserverArgs {
    /// Address of the one cluster, or of those given by --cluster without an address.
    #[arg(long, default_value = "127.0.0.1:6443")]
    pub addr: SocketAddr,
    /// Folder for databases and keys.
    #[arg(long, default_value = ".hawser/apiserver")]
    pub data_dir: PathBuf,
    /// Where to write the kubeconfig of the one cluster.
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
    /// Name of the one cluster.
    #[arg(long, default_value = "hawser")]
    pub name: String,
    /// Addresses of services of the one cluster.
    #[arg(long, default_value_t = default_service_cidr())]
    pub service_cidr: Ipv4Net,
    /// A cluster: name=N,addr=A[,netns=PATH,netns-addr=IP:PORT][,kubeconfig=OUT][,netns-kubeconfig=OUT][,service-cidr=CIDR].
    #[arg(long = "cluster", value_name = "KEY=VALUE,…")]
    pub clusters: Vec<ClusterArg>,
    /// Further bearer tokens, one line each: token,user,uid[,"group1,group2"].
    #[arg(long)]
    pub token_auth_file: Option<PathBuf>,
    /// Further audiences of tokens that are meant for this server.
    #[arg(long, value_delimiter = ',')]
    pub api_audiences: Vec<String>,
}

/// One `--cluster`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterArg {
    pub name: String,
    pub addr: SocketAddr,
    pub netns: Option<(PathBuf, SocketAddr)>,
    pub kubeconfig: Option<PathBuf>,
    pub netns_kubeconfig: Option<PathBuf>,
    pub service_cidr: Ipv4Net,
}

impl std::str::FromStr for ClusterArg {
    type Err = String;

    fn from_str(text: &str) -> Result<ClusterArg, String> {
        let (mut name, mut addr, mut netns, mut netns_addr) = (None, None, None, None);
        let (mut kubeconfig, mut netns_kubeconfig, mut service_cidr) =
            (None, None, default_service_cidr());
        for part in text.split(',') {
            let (key, value) = part
                .split_once('=')
                .ok_or_else(|| format!("{part:?} is not KEY=VALUE"))?;
            let address = || {
                value
                    .parse::<SocketAddr>()
                    .map_err(|error| format!("{key}={value}: {error}"))
            };
            match key {
                "name" => name = Some(value.to_owned()),
                "addr" => addr = Some(address()?),
                "netns" => netns = Some(PathBuf::from(value)),
                "netns-addr" => netns_addr = Some(address()?),
                "kubeconfig" => kubeconfig = Some(PathBuf::from(value)),
                "netns-kubeconfig" => netns_kubeconfig = Some(PathBuf::from(value)),
                "service-cidr" => {
                    service_cidr = value
                        .parse()
                        .map_err(|error| format!("{key}={value}: {error}"))?;
                }
                other => {
                    return Err(format!(
                        "{other:?} is not known: name, addr, netns, netns-addr, kubeconfig, netns-kubeconfig, service-cidr"
                    ));
                }
            }
        }
        let name = name
            .filter(|name| is_file_name(name))
            .ok_or("name= is missing or no plain name")?;
        let netns = match (netns, netns_addr) {
            (Some(path), Some(addr)) => Some((path, addr)),
            (None, None) => None,
            _ => return Err("netns= and netns-addr= belong together".into()),
        };
        let addr = addr.ok_or("addr= is missing")?;
        Ok(ClusterArg {
            name,
            addr,
            netns,
            kubeconfig,
            netns_kubeconfig,
            service_cidr,
        })
    }
}

/// A cluster's name is also the name of its folder.
fn is_file_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Serves until SIGINT or SIGTERM.
///
/// # Errors
/// When a cluster cannot be started or a kubeconfig cannot be written.
pub async fn run(args: ApiserverArgs) -> anyhow::Result<()> {
    let tokens = match &args.token_auth_file {
        None => Vec::new(),
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("reading {}", path.display()))?;
            parse_token_file(&text).map_err(|why| anyhow::anyhow!("{}: {why}", path.display()))?
        }
    };
    let several = !args.clusters.is_empty();
    let clusters = if several {
        args.clusters
    } else {
        vec![ClusterArg {
            name: args.name,
            addr: args.addr,
            netns: None,
            kubeconfig: args.kubeconfig,
            netns_kubeconfig: None,
            service_cidr: args.service_cidr,
        }]
    };
    let mut running = Vec::new();
    for cluster in clusters {
        let data_dir = if several {
            args.data_dir.join(&cluster.name)
        } else {
            args.data_dir.clone()
        };
        let config = Config {
            name: cluster.name,
            addr: cluster.addr,
            data_dir,
            service_cidr: cluster.service_cidr,
            netns: cluster.netns,
            tokens: tokens.clone(),
            audiences: args.api_audiences.clone(),
        };
        let name = config.name.clone();
        let handle = Server::start(config).await?;
        println!("{name} {}", handle.url());
        if let Some(path) = &cluster.kubeconfig {
            write_private(path, handle.kubeconfig().as_bytes())?;
        }
        if let (Some(path), Some(kubeconfig)) =
            (&cluster.netns_kubeconfig, handle.netns_kubeconfig())
        {
            write_private(path, kubeconfig.as_bytes())?;
        }
        running.push(handle);
    }
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    running.iter().for_each(crate::server::Handle::shutdown);
    Ok(())
}
