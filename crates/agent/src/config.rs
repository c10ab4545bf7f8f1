//! Everything the agent is told, read once: flags, environment, the pod's labels and annotations.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};

use crate::args::{ProxyArgs, ProxyRole};
use crate::dns::{ResolvConf, ResolvError};
use crate::{go_duration, node};

/// The largest value of `PROXY_CONFIG`, in bytes.
const PROXY_CONFIG_LIMIT: usize = 256 * 1024;

/// Ports on the pod. All but status, readiness and statistics are bound to loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// Envoy's administration, 15000.
    pub admin: u16,
    /// The agent's status and merged statistics, 15020.
    pub status: u16,
    /// Envoy's listener for readiness, 15021.
    pub readiness: u16,
    /// The agent's DNS proxy, 15053.
    pub dns: u16,
    /// Envoy's listener for its statistics, 15090.
    pub statistics: u16,
}

impl Default for Ports {
    fn default() -> Ports {
        Ports {
            admin: 15000,
            status: 15020,
            readiness: 15021,
            dns: 15053,
            statistics: 15090,
        }
    }
}

/// Where the application's own metrics are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplicationMetrics {
    pub port: u16,
    pub path: String,
}

/// What the agent needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    pub role: ProxyRole,
    /// The pod's addresses, its own first.
    pub addresses: Vec<IpAddr>,
    pub pod: String,
    pub namespace: String,
    pub service_account: String,
    pub trust_domain: String,
    pub cluster_id: String,
    pub domain: String,
    pub service_cluster: String,
    /// The control plane, `HOST:PORT`.
    pub discovery_address: String,
    /// The name that its certificate must have.
    pub discovery_name: String,
    pub root_cert: PathBuf,
    pub token: PathBuf,
    pub proxy_dir: PathBuf,
    pub envoy: Option<PathBuf>,
    /// A file of configuration that Envoy merges over its bootstrap.
    pub bootstrap_override: Option<PathBuf>,
    pub ports: Ports,
    /// Whether the DNS proxy runs.
    pub dns: bool,
    pub resolv: ResolvConf,
    /// Whether Envoy asks for changes only (delta) or for the state of the world.
    pub delta: bool,
    /// How long certificates are to be valid.
    pub certificate_lifetime: Duration,
    /// How long connections may take to finish when the pod ends.
    pub drain: Duration,
    pub concurrency: u32,
    pub log_level: String,
    pub component_log_level: String,
    pub application_metrics: Option<ApplicationMetrics>,
    /// The node's metadata, as control planes read it.
    pub metadata: Map<String, Value>,
    /// Region, zone and subzone, as far as they are known.
    pub locality: [String; 3],
    /// Extra values of Envoy's runtime (`proxyConfig.runtimeValues`).
    pub runtime: BTreeMap<String, Value>,
}

/// What is wrong with the flags or the environment.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("the environment variable {name} is not set; the injector sets it from the pod")]
    Missing { name: &'static str },
    #[error("{name}: {value:?} is not {expected}")]
    Invalid {
        name: String,
        value: String,
        expected: &'static str,
    },
    #[error(transparent)]
    Resolv(#[from] ResolvError),
    #[error(transparent)]
    PodInfo(#[from] node::PodInfoError),
}

impl Config {
    /// Puts together what flags and environment say. Reads the pod's labels and annotations and resolv.conf.
    pub fn from_environment(
        args: &ProxyArgs,
        environment: BTreeMap<String, String>,
    ) -> Result<Config, ConfigError> {
        let variable = |name: &str| {
            environment
                .get(name)
                .map(String::as_str)
                .filter(|value| !value.is_empty())
        };
        let required = |name: &'static str| {
            variable(name)
                .map(str::to_owned)
                .ok_or(ConfigError::Missing { name })
        };
        let proxy_config = proxy_config(variable("PROXY_CONFIG"))?;
        let text = |name: &str| {
            proxy_config
                .get(name)
                .and_then(Value::as_str)
                .filter(|value| !value.is_empty())
        };
        let duration = |name: &str, value: Option<&str>, default: Duration| match value {
            None => Ok(default),
            Some(value) => go_duration::parse(value)
                .ok_or_else(|| invalid(name, value, "a duration such as 24h or 5s")),
        };
        let namespace = required("POD_NAMESPACE")?;
        let own = match variable("INSTANCE_IP") {
            Some(value) => value
                .parse()
                .map_err(|_| invalid("INSTANCE_IP", value, "an IP address"))?,
            None => first_address().ok_or(ConfigError::Missing {
                name: "INSTANCE_IP",
            })?,
        };
        let discovery = text("discoveryAddress")
            .or(variable("CA_ADDR"))
            .unwrap_or("istiod.istio-system.svc:15012");
        let host = discovery
            .rsplit_once(':')
            .filter(|(_, port)| port.parse::<u16>().is_ok());
        let Some((host, _)) = host else {
            return Err(invalid("discoveryAddress", discovery, "HOST:PORT"));
        };
        let pod_info = node::PodInfo::read(&args.podinfo_dir)?;
        let metadata = node::metadata(&environment, &proxy_config, &pod_info, own);
        let domain = args
            .domain
            .clone()
            .unwrap_or_else(|| format!("{namespace}.svc.cluster.local"));
        let service_cluster = args.service_cluster.clone();
        let service_cluster = service_cluster.unwrap_or_else(|| {
            node::service_cluster(&pod_info, variable("ISTIO_META_WORKLOAD_NAME"), &namespace)
        });
        let dns =
            variable("ISTIO_META_DNS_CAPTURE") == Some("true") && args.role == ProxyRole::Sidecar;
        Ok(Config {
            role: args.role,
            addresses: vec![own],
            pod: required("POD_NAME")?,
            service_account: variable("SERVICE_ACCOUNT").unwrap_or("default").to_owned(),
            trust_domain: args.trust_domain.clone(),
            cluster_id: variable("ISTIO_META_CLUSTER_ID")
                .unwrap_or("Kubernetes")
                .to_owned(),
            domain,
            service_cluster,
            discovery_address: discovery.to_owned(),
            discovery_name: variable("ISTIOD_SAN")
                .unwrap_or(host.trim_matches(['[', ']']))
                .to_owned(),
            root_cert: args.root_cert.clone(),
            token: args.token.clone(),
            proxy_dir: args.proxy_dir.clone(),
            envoy: args.envoy.clone(),
            bootstrap_override: variable("ISTIO_BOOTSTRAP_OVERRIDE").map(PathBuf::from),
            ports: ports(&environment, &proxy_config)?,
            dns,
            resolv: if dns {
                ResolvConf::read(&args.resolv_conf)?
            } else {
                ResolvConf::default()
            },
            delta: variable("ISTIO_DELTA_XDS") != Some("false"),
            certificate_lifetime: duration(
                "SECRET_TTL",
                variable("SECRET_TTL"),
                Duration::from_secs(24 * 3600),
            )?,
            drain: duration(
                "terminationDrainDuration",
                text("terminationDrainDuration").or(variable("TERMINATION_DRAIN_DURATION")),
                Duration::from_secs(5),
            )?,
            concurrency: proxy_config
                .get("concurrency")
                .and_then(Value::as_u64)
                .and_then(|count| u32::try_from(count).ok())
                .unwrap_or(args.concurrency),
            log_level: args.proxy_log_level.clone(),
            component_log_level: args.proxy_component_log_level.clone(),
            application_metrics: application_metrics(variable("ISTIO_PROMETHEUS_ANNOTATIONS"))?,
            locality: node::locality(&pod_info),
            metadata,
            runtime: runtime(&proxy_config),
            namespace,
        })
    }

    /// `sidecar~IP~POD.NAMESPACE~DOMAIN`, the id by which control planes know the proxy.
    pub fn node_id(&self) -> String {
        let address = self
            .addresses
            .first()
            .map(IpAddr::to_string)
            .unwrap_or_default();
        format!(
            "{}~{address}~{}.{}~{}",
            self.role.as_str(),
            self.pod,
            self.namespace,
            self.domain
        )
    }

    /// The identity that the proxy asks a certificate for (SPIFFE).
    pub fn identity(&self) -> String {
        format!(
            "spiffe://{}/ns/{}/sa/{}",
            self.trust_domain, self.namespace, self.service_account
        )
    }

    /// The socket on which Envoy gets its certificates.
    pub fn sds_socket(&self) -> PathBuf {
        self.proxy_dir.join("SDS")
    }

    /// The socket on which Envoy gets its configuration.
    pub fn xds_socket(&self) -> PathBuf {
        self.proxy_dir.join("XDS")
    }

    /// The bootstrap file.
    pub fn bootstrap(&self) -> PathBuf {
        Path::new(&self.proxy_dir).join("envoy-rev.json")
    }
}

fn invalid(name: &str, value: &str, expected: &'static str) -> ConfigError {
    let value = value.chars().take(100).collect();
    ConfigError::Invalid {
        name: name.to_owned(),
        value,
        expected,
    }
}

fn proxy_config(text: Option<&str>) -> Result<Map<String, Value>, ConfigError> {
    let Some(text) = text else {
        return Ok(Map::new());
    };
    let wrong = || invalid("PROXY_CONFIG", text, "a JSON object");
    if text.len() > PROXY_CONFIG_LIMIT {
        return Err(wrong());
    }
    serde_json::from_str(text).map_err(|_| wrong())
}

fn ports(
    environment: &BTreeMap<String, String>,
    proxy_config: &Map<String, Value>,
) -> Result<Ports, ConfigError> {
    let configured = |field: &str, variable: &str, default: u16| {
        if let Some(value) = proxy_config.get(field) {
            let port = value.as_u64().and_then(|port| u16::try_from(port).ok());
            return port.ok_or_else(|| invalid(field, &value.to_string(), "a port"));
        }
        match environment.get(variable) {
            Some(value) => value
                .parse()
                .map_err(|_| invalid(variable, value, "a port")),
            None => Ok(default),
        }
    };
    let usual = Ports::default();
    Ok(Ports {
        admin: configured("proxyAdminPort", "ENVOY_ADMIN_PORT", usual.admin)?,
        status: configured("statusPort", "ISTIO_STATUS_PORT", usual.status)?,
        readiness: configured("envoyStatusPort", "ENVOY_STATUS_PORT", usual.readiness)?,
        dns: configured("dnsProxyPort", "DNS_PROXY_PORT", usual.dns)?,
        statistics: configured(
            "envoyPrometheusPort",
            "ENVOY_PROMETHEUS_PORT",
            usual.statistics,
        )?,
    })
}

fn application_metrics(text: Option<&str>) -> Result<Option<ApplicationMetrics>, ConfigError> {
    let Some(text) = text else { return Ok(None) };
    let wrong = || {
        invalid(
            "ISTIO_PROMETHEUS_ANNOTATIONS",
            text,
            "{\"scrape\",\"port\",\"path\"} with a port",
        )
    };
    let value: Value = serde_json::from_str(text).map_err(|_| wrong())?;
    let field = |name: &str| value.get(name).and_then(Value::as_str);
    if field("scrape") != Some("true") {
        return Ok(None);
    }
    let port = field("port").unwrap_or("80").parse().map_err(|_| wrong())?;
    let path = field("path").unwrap_or("/metrics").to_owned();
    Ok(Some(ApplicationMetrics { port, path }))
}

fn runtime(proxy_config: &Map<String, Value>) -> BTreeMap<String, Value> {
    let values = proxy_config.get("runtimeValues").and_then(Value::as_object);
    let value = |value: &Value| match value.as_str() {
        Some("true") => Value::Bool(true),
        Some("false") => Value::Bool(false),
        _ => value.clone(),
    };
    values
        .into_iter()
        .flatten()
        .map(|(name, set)| (name.clone(), value(set)))
        .collect()
}

/// The first address of this machine that others can reach.
fn first_address() -> Option<IpAddr> {
    let interfaces = nix::ifaddrs::getifaddrs().ok()?;
    let addresses = interfaces.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address
            .as_sockaddr_in()
            .map(|address| IpAddr::from(address.ip()));
        v4.or_else(|| {
            address
                .as_sockaddr_in6()
                .map(|address| IpAddr::from(address.ip()))
        })
    });
    let usable = |address: &IpAddr| match address {
        IpAddr::V4(address) => !address.is_loopback() && !address.is_link_local(),
        IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
    };
    addresses.into_iter().find(usable)
}
