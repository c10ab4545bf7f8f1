//! The flags of `hawser capture`, named as those of `istio-iptables`, which manifests pass.

use std::net::IpAddr;

use anyhow::Context;
use clap::Args;
use clap::builder::FalseyValueParser;
use ipnet::Ipv4Net;

use crate::settings::{self, DnsCapture, Ports, Ranges, Settings, SettingsError};
use crate::{nft, ruleset};

const RESOLV_CONF: &str = "/etc/resolv.conf";
/// The largest resolv.conf read, in bytes.
const RESOLV_CONF_LIMIT: u64 = 64 * 1024;

/// Redirects this pod's traffic to its proxy.
#[derive(Debug, Clone, Args)]
pub struct CaptureArgs {
    /// The proxy's port for outbound traffic.
    #[arg(short = 'p', long, default_value_t = 15001)]
    pub envoy_port: u16,
    /// The proxy's port for inbound traffic.
    #[arg(short = 'z', long, default_value_t = 15006)]
    pub inbound_capture_port: u16,
    /// The proxy's port for tunnelled inbound traffic.
    #[arg(short = 'e', long, default_value_t = 15008)]
    pub inbound_tunnel_port: u16,
    /// The users that the proxy runs as.
    #[arg(short = 'u', long, value_delimiter = ',', default_value = "1337")]
    pub proxy_uid: Vec<u32>,
    /// The groups that the proxy runs as; the users' numbers unless given.
    #[arg(short = 'g', long, value_delimiter = ',')]
    pub proxy_gid: Vec<u32>,
    /// How inbound traffic reaches the proxy; only REDIRECT.
    #[arg(short = 'm', long, default_value = "REDIRECT")]
    pub istio_inbound_interception_mode: String,
    /// Inbound ports to capture: a list, or "*".
    #[arg(short = 'b', long, default_value = "*")]
    pub istio_inbound_ports: String,
    /// Inbound ports to leave alone when all are captured.
    #[arg(short = 'd', long, default_value = "15090,15021,15020")]
    pub istio_local_exclude_ports: String,
    /// Outbound destinations to capture: ranges, or "*".
    #[arg(short = 'i', long, default_value = "*")]
    pub istio_service_cidr: String,
    /// Outbound destinations to leave alone.
    #[arg(short = 'x', long, default_value = "")]
    pub istio_service_exclude_cidr: String,
    /// Outbound ports to capture whatever the destination.
    #[arg(short = 'q', long, default_value = "")]
    pub istio_outbound_ports: String,
    /// Outbound ports to leave alone.
    #[arg(short = 'o', long, default_value = "")]
    pub istio_local_outbound_ports_exclude: String,
    /// Interfaces of virtual machines, whose traffic counts as outbound.
    #[arg(short = 'k', long, default_value = "")]
    pub kube_virt_interfaces: String,
    /// Interfaces whose traffic is left alone.
    #[arg(short = 'c', long, default_value = "")]
    pub istio_exclude_interfaces: String,
    /// Loopback addresses that ServiceEntries use, captured although other loopback traffic is not.
    #[arg(long, value_delimiter = ',', default_value = "127.255.0.0/16")]
    pub loopback_ranges: Vec<Ipv4Net>,
    /// Capture DNS to the servers in /etc/resolv.conf.
    #[arg(long, env = "ISTIO_META_DNS_CAPTURE", value_parser = FalseyValueParser::new())]
    pub redirect_dns: bool,
    /// Capture DNS to any server.
    #[arg(long)]
    pub capture_all_dns: bool,
    /// The port of the agent's DNS proxy.
    #[arg(long, default_value_t = 15053)]
    pub dns_port: u16,
    /// Also make rules for IPv6.
    #[arg(long, env = "ISTIO_DUAL_STACK", value_parser = FalseyValueParser::new())]
    pub dual_stack: bool,
    /// Print the rules instead of putting them in force.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Remove the rules instead.
    #[arg(long)]
    pub clean: bool,
}

impl CaptureArgs {
    /// The settings these flags mean, for a pod with these DNS servers.
    pub fn settings(&self, dns_servers: Vec<IpAddr>) -> Result<Settings, SettingsError> {
        if self.istio_inbound_interception_mode != "REDIRECT" {
            return Err(SettingsError {
                what: "--istio-inbound-interception-mode".to_owned(),
                value: self.istio_inbound_interception_mode.clone(),
                expected: "REDIRECT, the only mode there is",
            });
        }
        let proxy_gids = if self.proxy_gid.is_empty() {
            self.proxy_uid.clone()
        } else {
            self.proxy_gid.clone()
        };
        let dns = (self.redirect_dns || self.capture_all_dns).then(|| DnsCapture {
            port: self.dns_port,
            servers: (!self.capture_all_dns).then_some(dns_servers),
        });
        Ok(Settings {
            outbound_port: self.envoy_port,
            inbound_port: self.inbound_capture_port,
            tunnel_port: self.inbound_tunnel_port,
            proxy_uids: self.proxy_uid.clone(),
            proxy_gids,
            inbound_ports: Ports::parse("--istio-inbound-ports", &self.istio_inbound_ports)?,
            inbound_ports_excluded: Ports::parse_list(
                "--istio-local-exclude-ports",
                &self.istio_local_exclude_ports,
            )?,
            outbound_ranges: Ranges::parse("--istio-service-cidr", &self.istio_service_cidr)?,
            outbound_ranges_excluded: Ranges::parse_list(
                "--istio-service-exclude-cidr",
                &self.istio_service_exclude_cidr,
            )?,
            outbound_ports: Ports::parse("--istio-outbound-ports", &self.istio_outbound_ports)?,
            outbound_ports_excluded: Ports::parse_list(
                "--istio-local-outbound-ports-exclude",
                &self.istio_local_outbound_ports_exclude,
            )?,
            loopback_ranges: self.loopback_ranges.clone(),
            interfaces_excluded: settings::interfaces(
                "--istio-exclude-interfaces",
                &self.istio_exclude_interfaces,
            )?,
            virtual_interfaces: settings::interfaces(
                "--kube-virt-interfaces",
                &self.kube_virt_interfaces,
            )?,
            dns,
            ipv6: self.dual_stack,
        })
    }
}

/// Puts the rules in force, prints or removes them, as the flags say.
pub async fn run(args: CaptureArgs) -> anyhow::Result<()> {
    let rules = if args.clean {
        ruleset::removal()
    } else {
        let servers = if args.redirect_dns {
            nameservers(&read_resolv_conf()?)
        } else {
            Vec::new()
        };
        ruleset::ruleset(&args.settings(servers)?)
    };
    if args.dry_run {
        print!("{rules}");
        return Ok(());
    }
    nft::apply(&rules)?;
    tracing::info!(removed = args.clean, "traffic capture changed");
    Ok(())
}

fn read_resolv_conf() -> anyhow::Result<String> {
    use std::io::Read;
    let file =
        std::fs::File::open(RESOLV_CONF).with_context(|| format!("reading {RESOLV_CONF}"))?;
    let mut text = String::new();
    file.take(RESOLV_CONF_LIMIT)
        .read_to_string(&mut text)
        .with_context(|| format!("reading {RESOLV_CONF}"))?;
    Ok(text)
}

/// The `nameserver` lines of a resolv.conf (resolv.conf(5)); lines that make no sense are passed over.
pub(crate) fn nameservers(resolv_conf: &str) -> Vec<IpAddr> {
    let addresses = resolv_conf.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next()? == "nameserver")
            .then(|| words.next()?.parse().ok())
            .flatten()
    });
    addresses.collect()
}
