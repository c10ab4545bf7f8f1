//! One cluster of the process: its storage, kinds, keys and policies, which share nothing with other clusters.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ipnet::Ipv4Net;
use time::OffsetDateTime;
use tokio::sync::watch;

use crate::admission::Hooks;
use crate::auth::rbac::{self, Policy};
use crate::auth::{Authenticator, Issuer};
use crate::kinds::Catalog;
use crate::kubelet::Identity;
use crate::store::{Key, ResourceId, Store, Stored, Volume};

/// What requests to one cluster are served from. Everything in it is immutable or published whole by one task.
pub struct Cluster {
    pub name: String,
    pub store: Store,
    /// Published by the housekeeping when a CRD changes.
    pub catalog: ArcSwap<Catalog>,
    pub issuer: Issuer,
    pub authenticator: Authenticator,
    /// The cluster's CA certificate, PEM.
    pub ca_pem: String,
    pub service_cidr: Ipv4Net,
    pub addr: SocketAddr,
    /// Where clients inside the cluster's own network reach this server.
    pub netns_addr: Option<SocketAddr>,
    /// Who this server is in tokens' `aud`: a token for none of these is not for this server.
    pub audiences: Vec<String>,
    /// Whose network admission webhooks that are Services are dialled in; `None`: this process's.
    pub netns: Option<PathBuf>,
    /// How kubelets know this server.
    pub kubelet_identity: Identity,
    policy: Derived<Policy>,
    hooks: Derived<Hooks>,
    stopping: watch::Receiver<bool>,
}

/// What a cluster is made of.
pub struct Parts {
    pub name: String,
    pub store: Store,
    pub authenticator: Authenticator,
    pub ca_pem: String,
    pub service_cidr: Ipv4Net,
    pub addr: SocketAddr,
    pub netns_addr: Option<SocketAddr>,
    pub audiences: Vec<String>,
    pub netns: Option<PathBuf>,
    pub kubelet_identity: Identity,
    pub stopping: watch::Receiver<bool>,
}

impl Cluster {
    pub fn new(parts: Parts) -> Cluster {
        Cluster {
            name: parts.name,
            store: parts.store,
            catalog: ArcSwap::from_pointee(Catalog::new([])),
            issuer: Issuer::new(),
            authenticator: parts.authenticator,
            ca_pem: parts.ca_pem,
            service_cidr: parts.service_cidr,
            addr: parts.addr,
            netns_addr: parts.netns_addr,
            audiences: parts.audiences,
            netns: parts.netns,
            kubelet_identity: parts.kubelet_identity,
            policy: Derived::new(&rbac::SOURCES, Policy::new),
            hooks: Derived::new(&crate::admission::SOURCES, Hooks::new),
            stopping: parts.stopping,
        }
    }

    /// The time that objects are stamped with.
    pub fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }

    /// Seconds since 1970.
    pub fn unix_now(&self) -> u64 {
        u64::try_from(self.now().unix_timestamp()).unwrap_or(0)
    }

    pub fn namespace(&self, name: &str) -> Option<Arc<Stored>> {
        self.store
            .get(&ResourceId::new("namespaces", ""), &Key::new("", name))
    }

    /// The roles and bindings as they are now.
    pub fn policy(&self) -> Arc<Policy> {
        self.policy.get(&self.store)
    }

    /// The admission webhooks and policies as they are now.
    pub fn hooks(&self) -> Arc<Hooks> {
        self.hooks.get(&self.store)
    }

    /// Becomes true when the server shuts down.
    pub fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.clone()
    }
}

/// Resolves when the server shuts down.
pub async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the server's handle is gone, which is the same.
    drop(stopping.wait_for(|stopping| *stopping).await);
}

/// A value computed from some resources, kept until one of them changes.
struct Derived<T> {
    sources: Vec<ResourceId>,
    make: fn(&[Arc<Volume>]) -> T,
    kept: ArcSwap<Kept<T>>,
}

struct Kept<T> {
    revisions: Vec<u64>,
    value: Arc<T>,
}

impl<T: Default> Derived<T> {
    fn new(sources: &[&str], make: fn(&[Arc<Volume>]) -> T) -> Derived<T> {
        Derived {
            sources: sources
                .iter()
                .map(|source| ResourceId::parse(source))
                .collect(),
            make,
            kept: ArcSwap::from_pointee(Kept {
                revisions: Vec::new(),
                value: Arc::default(),
            }),
        }
    }

    fn get(&self, store: &Store) -> Arc<T> {
        let volumes: Vec<Arc<Volume>> = self
            .sources
            .iter()
            .map(|source| store.read(source).0)
            .collect();
        let revisions: Vec<u64> = volumes.iter().map(|volume| volume.revision()).collect();
        let kept = self.kept.load();
        if kept.revisions == revisions {
            return kept.value.clone();
        }
        let value = Arc::new((self.make)(&volumes));
        self.kept.store(Arc::new(Kept {
            revisions,
            value: value.clone(),
        }));
        value
    }
}
