//! Gateways: ports that routers open.

use std::time::Duration;

use crate::labels::Labels;
use crate::meta::Meta;
use crate::name::{Hostname, ServiceKey, Str};
use crate::route::GatewayRef;
use crate::service::Protocol;

/// A Gateway, Istio's or one made from the Gateway API or an Ingress.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Gateway {
    /// Place and age.
    pub meta: Meta,
    /// Which routers open it.
    pub selector: Labels,
    /// True if only routers of the gateway's own namespace count.
    pub same_namespace: bool,
    /// The services whose ports it stands behind, for Gateways of the Gateway API; empty otherwise.
    pub services: Vec<ServiceKey>,
    /// Its servers.
    pub servers: Vec<Server>,
}

impl Gateway {
    /// How routes name it.
    #[must_use]
    pub fn reference(&self) -> GatewayRef {
        GatewayRef::Named {
            namespace: self.meta.namespace.clone(),
            name: self.meta.name.clone(),
        }
    }
}

/// One port with its hosts.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Server {
    /// Port number as clients call it.
    pub port: u16,
    /// Port's name.
    pub port_name: Str,
    /// What is spoken.
    pub protocol: Protocol,
    /// Address or Unix path to bind; empty is all addresses.
    pub bind: Str,
    /// Hosts and, for each, from which namespace VirtualServices may bind to it.
    pub hosts: Vec<ServerHost>,
    /// Server's name; may be empty.
    pub name: Str,
    /// TLS, if any.
    pub tls: Option<ServerTls>,
}

/// A host of a server.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ServerHost {
    /// Whose VirtualServices count.
    pub namespace: NamespaceMatch,
    /// The host, perhaps a wildcard.
    pub host: Hostname,
}

/// Namespaces in a `ns/host` text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum NamespaceMatch {
    /// `*` or none given.
    Any,
    /// One (`.` is already replaced).
    Only(Str),
    /// `~`: none.
    Nothing,
}

/// TLS of a server.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct ServerTls {
    /// Which kind.
    pub mode: ServerTlsMode,
    /// Answer HTTP with a redirect to HTTPS.
    pub https_redirect: bool,
    /// Secrets with certificate and key; more than one for several key types.
    pub credential_names: Vec<Str>,
    /// Files: certificate, key.
    pub certificates: Vec<(Str, Str)>,
    /// File of the roots for clients' certificates.
    pub ca_certificates: Str,
    /// Secret or config map with those roots.
    pub ca_credential_name: Str,
    /// File of the revocation list.
    pub ca_crl: Str,
    /// Clients' names accepted.
    pub subject_alt_names: Vec<Str>,
    /// Clients' public keys accepted.
    pub verify_spki: Vec<Str>,
    /// Clients' certificates accepted.
    pub verify_hash: Vec<Str>,
    /// Least version.
    pub min_version: TlsVersion,
    /// Greatest version.
    pub max_version: TlsVersion,
    /// Ciphers for TLS 1.2.
    pub ciphers: Vec<Str>,
    /// Key exchange groups.
    pub ecdh_curves: Vec<Str>,
    /// Whether clients are accepted whose certificate does not hold.
    pub accept_untrusted: bool,
    /// Time that the handshake may take; `None` is 15 s.
    pub handshake_timeout: Option<Duration>,
}

/// Kinds of TLS of a server.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub enum ServerTlsMode {
    /// By SNI, not decrypted, by VirtualService.
    Passthrough,
    /// Terminated.
    #[default]
    Simple,
    /// Terminated, client certificate demanded.
    Mutual,
    /// By SNI that names the mesh's own cluster, not decrypted.
    AutoPassthrough,
    /// Terminated with the mesh's certificate, client certificate demanded.
    IstioMutual,
    /// Terminated, client certificate checked if given.
    OptionalMutual,
}

/// Versions of TLS.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub enum TlsVersion {
    /// Not said.
    #[default]
    Auto,
    /// 1.0.
    V1_0,
    /// 1.1.
    V1_1,
    /// 1.2.
    V1_2,
    /// 1.3.
    V1_3,
}
