//! What streams serve from.

use std::collections::BTreeSet;
use std::sync::Arc;

use hawser_model::filter::NamedPatch;
use hawser_model::{Hostname, Proxy, Str};
use hawser_translate::Patched;
pub use hawser_translate::{Given, Resource, Selection};

use crate::kind::Kind;
use crate::trials;

/// Where a stream finds resources: one snapshot's translation.
pub trait Source: Send + Sync {
    /// The resources of a type for a proxy: those named at least, or all of them. Names without a resource are left out.
    fn resources(&self, proxy: &Proxy, kind: Kind, names: Option<&BTreeSet<Str>>) -> Given;

    /// The patch to leave out next for a proxy that refused resources of a type: one that changes them, and is none of
    /// `cleared`. `None` where there is none.
    fn suspect(&self, proxy: &Proxy, kind: Kind, cleared: &[NamedPatch]) -> Option<NamedPatch> {
        let _ = (proxy, kind, cleared);
        None
    }
}

/// A snapshot to serve from, and what is new in it.
#[derive(Clone)]
pub struct View {
    /// The translation.
    pub source: Arc<dyn Source>,
    /// Counts up with each snapshot.
    pub sequence: u64,
    /// What may differ from the view numbered `sequence - 1`.
    pub scope: Scope,
}

/// What may differ between a view and the one before it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Scope {
    /// Anything may.
    pub configuration: bool,
    /// Endpoints of these hosts may.
    pub hosts: Arc<BTreeSet<Hostname>>,
    /// The name table may.
    pub names: bool,
    /// Credentials may.
    pub credentials: bool,
}

impl Scope {
    /// Everything may differ.
    pub fn all() -> Self {
        Self {
            configuration: true,
            hosts: Arc::default(),
            names: true,
            credentials: true,
        }
    }
}

/// The host in a cluster's name: `outbound|9080|v1|HOST` or `outbound_.9080_.v1_.HOST`.
pub fn host_of(cluster: &str) -> Option<&str> {
    cluster
        .splitn(4, '|')
        .nth(3)
        .or_else(|| cluster.splitn(4, "_.").nth(3))
}

impl Source for hawser_translate::Translator {
    fn resources(&self, proxy: &Proxy, kind: Kind, names: Option<&BTreeSet<Str>>) -> Given {
        match kind {
            Kind::Cluster => self.clusters(proxy),
            Kind::Endpoint => self.endpoints(proxy, names),
            Kind::Listener => self.listeners(proxy),
            Kind::Route => self.routes(proxy, names),
            Kind::NameTable => self.names(proxy),
            Kind::Extension => self.extensions(proxy, names),
            Kind::Bootstrap => self.bootstrap(proxy),
            Kind::Secret => Given::default(),
        }
    }

    fn suspect(&self, proxy: &Proxy, kind: Kind, cleared: &[NamedPatch]) -> Option<NamedPatch> {
        let of = match kind {
            Kind::Cluster => Patched::Clusters,
            Kind::Listener => Patched::Listeners,
            Kind::Route => Patched::Routes,
            Kind::Extension => Patched::Extensions,
            Kind::Endpoint | Kind::Secret | Kind::NameTable | Kind::Bootstrap => return None,
        };
        let mut suspects = trials::suspected(self.patches(proxy, of)).into_iter();
        suspects.find(|p| !cleared.contains(p) && self.matters(proxy, of, p))
    }
}
