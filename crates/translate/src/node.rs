//! Reading the xDS node that a proxy introduces itself with (reference: Istio's `model.ParseServiceNodeWithMetadata`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use hawser_model::proxy::{Interception, TlsFiles};
use hawser_model::{ClusterId, Identity, Labels, Locality, NetworkId, Proxy, ProxyKind, Str};
use hawser_proto::envoy::config::core::v3::Node;
use hawser_proto::google::protobuf::{Struct, Value, value::Kind};

/// Why a node is not one of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// The id does not have four parts.
    #[error("node id {0:?} is not of the form type~ip~name.namespace~domain")]
    Form(String),
    /// The first part of the id is of no known type.
    #[error("unknown node type {0:?}: expected sidecar, router or waypoint")]
    Kind(String),
    /// The id is too long to be one.
    #[error("node id has {0} bytes, more than 1024")]
    TooLong(usize),
}

/// Reads a node.
pub fn proxy(node: &Node) -> Result<Proxy, NodeError> {
    if node.id.len() > 1024 {
        return Err(NodeError::TooLong(node.id.len()));
    }
    let parts: Vec<&str> = node.id.split('~').collect();
    let [kind, ip, place, domain] = parts[..] else {
        return Err(NodeError::Form(node.id.clone()));
    };
    let kind = match kind {
        "sidecar" => ProxyKind::Sidecar,
        "router" => ProxyKind::Router,
        "waypoint" => ProxyKind::Waypoint,
        other => return Err(NodeError::Kind(other.to_owned())),
    };
    let meta = Meta(node.metadata.as_ref());
    let (name, namespace_of_id) = place.rsplit_once('.').unwrap_or((place, ""));
    let namespace: Str = match meta.text("NAMESPACE") {
        "" => namespace_of_id.into(),
        given => given.into(),
    };
    let mut addresses: Vec<IpAddr> = meta
        .text("INSTANCE_IPS")
        .split(',')
        .filter_map(|t| t.trim().parse().ok())
        .collect();
    if addresses.is_empty() {
        addresses.extend(ip.parse::<IpAddr>().ok());
    }
    let mut labels: Vec<(Str, Str)> = meta.map("LABELS");
    for (key, value) in meta.map("STATIC_LABELS") {
        labels.push((key, value));
    }
    let labels: Labels = labels.into_iter().collect();
    let config = meta.inner("PROXY_CONFIG");
    let topology = config.inner("gatewayTopology");
    let account = meta.text("SERVICE_ACCOUNT");
    let trust_domain = match config.text("trustDomain") {
        "" => "cluster.local",
        given => given,
    };
    let cluster = match meta.text("CLUSTER_ID") {
        "" => "Kubernetes",
        given => given,
    };
    let text = |key: &str| -> Str { meta.text(key).into() };
    let locality = node
        .locality
        .as_ref()
        .filter(|l| !l.region.is_empty())
        .map(|l| Locality {
            region: l.region.as_str().into(),
            zone: l.zone.as_str().into(),
            sub_zone: l.sub_zone.as_str().into(),
        })
        .or_else(|| Locality::labelled(|key| labels.get(key)))
        .unwrap_or_default();
    Ok(Proxy {
        id: node.id.as_str().into(),
        kind,
        addresses,
        name: name.into(),
        dns_domain: domain.into(),
        cluster: ClusterId::new(cluster),
        network: NetworkId::new(meta.text("NETWORK")),
        locality,
        identity: (!account.is_empty()).then(|| Identity {
            trust_domain: trust_domain.into(),
            namespace: namespace.clone(),
            service_account: account.into(),
        }),
        namespace,
        labels,
        workload: text("WORKLOAD_NAME"),
        service_name: node.cluster.as_str().into(),
        node: text("NODE_NAME"),
        metadata: meta.texts(),
        refused: Vec::new(),
        version: text("ISTIO_VERSION"),
        interception: match meta.text("INTERCEPTION_MODE") {
            "TPROXY" => Interception::Tproxy,
            "NONE" => Interception::None,
            _ => Interception::Redirect,
        },
        network_view: meta
            .text("REQUESTED_NETWORK_VIEW")
            .split(',')
            .map(str::trim)
            .filter(|n| !n.is_empty())
            .map(NetworkId::new)
            .collect::<BTreeSet<_>>(),
        dns_capture: meta.truth("DNS_CAPTURE"),
        unprivileged: meta.truth("UNPRIVILEGED_POD"),
        http10: meta.text("HTTP10") == "1",
        idle_timeout_ms: milliseconds(meta.text("IDLE_TIMEOUT")),
        tls_files: TlsFiles {
            client_cert: text("TLS_CLIENT_CERT_CHAIN"),
            client_key: text("TLS_CLIENT_KEY"),
            client_root: text("TLS_CLIENT_ROOT_CERT"),
            server_cert: text("TLS_SERVER_CERT_CHAIN"),
            server_key: text("TLS_SERVER_KEY"),
            server_root: text("TLS_SERVER_ROOT_CERT"),
        },
        own_ports: ["ENVOY_STATUS_PORT", "ENVOY_PROMETHEUS_PORT"]
            .iter()
            .filter_map(|key| u16::try_from(meta.number(key)).ok().filter(|p| *p != 0))
            .collect(),
        trusted_proxies: topology.number("numTrustedProxies"),
        forward_client_cert: match topology.text("forwardClientCertDetails") {
            "" => None,
            mode => Some(mode.into()),
        },
        proxy_protocol: topology.has("proxyProtocol"),
    })
}

/// A duration such as `30s` or `5m`, in milliseconds.
fn milliseconds(text: &str) -> Option<u64> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
    number.checked_mul(match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    })
}

/// A node's metadata, of which any part may be missing or of another type.
#[derive(Clone, Copy)]
struct Meta<'a>(Option<&'a Struct>);

impl<'a> Meta<'a> {
    fn get(self, key: &str) -> Option<&'a Kind> {
        self.0?.fields.get(key)?.kind.as_ref()
    }

    fn has(self, key: &str) -> bool {
        !matches!(self.get(key), None | Some(Kind::NullValue(_)))
    }

    fn text(self, key: &str) -> &'a str {
        match self.get(key) {
            Some(Kind::StringValue(s)) => s,
            _ => "",
        }
    }

    fn truth(self, key: &str) -> bool {
        match self.get(key) {
            Some(Kind::BoolValue(b)) => *b,
            Some(Kind::StringValue(s)) => matches!(s.as_str(), "true" | "1"),
            _ => false,
        }
    }

    fn number(self, key: &str) -> u32 {
        match self.get(key) {
            // Saturates; a negative number or none at all is 0.
            Some(Kind::NumberValue(n)) => *n as u32,
            Some(Kind::StringValue(s)) => s.parse().unwrap_or(0),
            _ => 0,
        }
    }

    fn inner(self, key: &str) -> Self {
        match self.get(key) {
            Some(Kind::StructValue(inner)) => Self(Some(inner)),
            _ => Self(None),
        }
    }

    /// All entries that are texts.
    fn texts(self) -> BTreeMap<Str, Str> {
        self.entries().into_iter().collect()
    }

    fn map(self, key: &str) -> Vec<(Str, Str)> {
        let mut out = self.inner(key).entries();
        out.sort();
        out
    }

    fn entries(self) -> Vec<(Str, Str)> {
        let text = |v: &Value| match &v.kind {
            Some(Kind::StringValue(s)) => Some(Str::from(s.as_str())),
            _ => None,
        };
        self.0
            .into_iter()
            .flat_map(|s| &s.fields)
            .filter_map(|(k, v)| Some((Str::from(k.as_str()), text(v)?)))
            .collect()
    }
}
