//! Services: what can be called.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::identity::Identity;
use crate::labels::Labels;
use crate::meta::{Meta, Visibility};
use crate::name::{ClusterId, Hostname, ServiceKey, Str};
use crate::traffic::LocalityPreference;

/// Something that can be called by name: a Kubernetes Service (of one or many clusters, merged by host) or one host of a
/// ServiceEntry.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Service {
    /// Namespace, name and age of the object behind it (of the oldest, in a merge).
    pub meta: Meta,
    /// Fully qualified, such as `reviews.default.svc.cluster.local`.
    pub host: Hostname,
    /// Who told us.
    pub registry: Registry,
    /// In order of declaration. Of a merge, those of the first cluster in order of precedence.
    pub ports: Vec<Port>,
    /// Virtual addresses by cluster; a ServiceEntry's stand under every cluster as the empty ID. `0.0.0.0` never appears.
    pub addresses: BTreeMap<ClusterId, Vec<IpNet>>,
    /// Addresses allocated for a ServiceEntry that has none (240.240.0.0/16, 2001:2::/48).
    pub auto_addresses: Vec<IpAddr>,
    /// How its endpoints are found.
    pub resolution: Resolution,
    /// True for `MESH_EXTERNAL`: no mutual TLS by itself.
    pub mesh_external: bool,
    /// Who may see it.
    pub visibility: Visibility,
    /// Labels of the object.
    pub labels: Labels,
    /// Which workloads it selects (`spec.selector`, `workloadSelector`); empty if it selects none.
    pub selector: Labels,
    /// Kubernetes `clusterIP: None`.
    pub headless: bool,
    /// The target of a Kubernetes `ExternalName`, which then is an alias.
    pub external_name: Option<Hostname>,
    /// `internalTrafficPolicy: Local`.
    pub node_local: bool,
    /// `trafficDistribution` or its annotation.
    pub traffic_distribution: Option<LocalityPreference>,
    /// `publishNotReadyAddresses`.
    pub publish_not_ready: bool,
    /// Identities of the workloads behind it, of all clusters; what a client accepts under mutual TLS.
    pub identities: BTreeSet<Identity>,
    /// A ServiceEntry's `subjectAltNames`.
    pub subject_alt_names: Vec<Str>,
    /// True if only endpoints of the caller's cluster count (MeshConfig `serviceSettings`).
    pub cluster_local: bool,
    /// External addresses by cluster: load balancer status and `externalIPs`; IPs or host names.
    pub external_addresses: BTreeMap<ClusterId, Vec<Str>>,
}

impl Service {
    /// Its place in the mesh.
    pub fn key(&self) -> ServiceKey {
        ServiceKey {
            host: self.host.clone(),
            namespace: self.meta.namespace.clone(),
        }
    }

    /// The port with that number.
    pub fn port(&self, number: u16) -> Option<&Port> {
        self.ports.iter().find(|p| p.number == number)
    }

    /// Addresses as a proxy of that cluster sees them: its own cluster's, else a ServiceEntry's, else those of the first
    /// cluster that has the service (where DNS of the caller's cluster does not know the name, the name table does), else
    /// allocated ones.
    pub fn addresses_in(&self, cluster: &ClusterId) -> Vec<IpNet> {
        let own = self
            .addresses
            .get(cluster)
            .or_else(|| self.addresses.get(&ClusterId::new("")))
            .or_else(|| self.addresses.values().find(|a| !a.is_empty()));
        match own {
            Some(own) if !own.is_empty() => own.clone(),
            _ => self
                .auto_addresses
                .iter()
                .map(|ip| IpNet::from(*ip))
                .collect(),
        }
    }
}

/// Who told us of a service.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Registry {
    /// A Kubernetes Service.
    Kubernetes,
    /// A ServiceEntry.
    External,
}

/// A service's port.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Port {
    /// Its name; may be empty.
    pub name: Str,
    /// Its number.
    pub number: u16,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// A ServiceEntry's `targetPort`, or a Kubernetes numeric target port.
    pub target_port: Option<u16>,
}

/// What is spoken on a port, from its name or `appProtocol` (Istio's `protocol.Instance`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Protocol {
    /// HTTP/1.1 (also `h2c` upgrades).
    Http,
    /// HTTP/2 in clear.
    Http2,
    /// gRPC.
    Grpc,
    /// gRPC-Web.
    GrpcWeb,
    /// HTTP within TLS that the application makes.
    Https,
    /// TLS that the application makes.
    Tls,
    /// Bytes.
    Tcp,
    /// MongoDB.
    Mongo,
    /// MySQL.
    Mysql,
    /// Redis.
    Redis,
    /// HBONE.
    Hbone,
    /// Datagrams; not proxied.
    Udp,
    /// Not said: sniffed.
    Unknown,
}

impl Protocol {
    /// HTTP in a form that a proxy can read.
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Http2 | Self::Grpc | Self::GrpcWeb)
    }

    /// HTTP/2 in clear.
    pub fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Grpc | Self::GrpcWeb)
    }

    /// TLS by the application: only its SNI can be read.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Tls)
    }

    /// Proxied as bytes, TLS included.
    pub fn is_tcp(self) -> bool {
        matches!(
            self,
            Self::Tcp
                | Self::Https
                | Self::Tls
                | Self::Mongo
                | Self::Mysql
                | Self::Redis
                | Self::Hbone
        )
    }

    /// To be found out per connection.
    pub fn is_sniffed(self) -> bool {
        self == Self::Unknown
    }
}

/// How a service's endpoints are found.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Resolution {
    /// From the snapshot, by EDS.
    Endpoints,
    /// By DNS, all addresses (`STRICT_DNS`).
    Dns,
    /// By DNS, one address at a time (`LOGICAL_DNS`).
    DnsRoundRobin,
    /// Where the caller wanted to go (`ORIGINAL_DST`): headless services, `resolution: NONE`.
    Passthrough,
    /// By DNS per request, for wildcard hosts (`dynamic_forward_proxy`).
    DynamicDns,
    /// Nowhere itself: another name for `external_name`.
    Alias,
}
