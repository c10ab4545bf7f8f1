//! What streams serve from.

use std::collections::BTreeSet;
use std::sync::Arc;

use hawser_model::{Hostname, Proxy, Str};
pub use hawser_translate::Resource;

use crate::kind::Kind;

/// Where a stream finds resources: one snapshot's translation.
pub trait Source: Send + Sync {
    /// The resources of a type for a proxy: those named, or all of them. Names without a resource are left out.
    fn resources(&self, proxy: &Proxy, kind: Kind, names: Option<&BTreeSet<Str>>) -> Vec<Arc<Resource>>;
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
}

impl Scope {
    /// Everything may differ.
    pub fn all() -> Self {
        Self { configuration: true, hosts: Arc::default(), names: true }
    }
}

/// The host in a cluster's name: `outbound|9080|v1|HOST` or `outbound_.9080_.v1_.HOST`.
pub fn host_of(cluster: &str) -> Option<&str> {
    cluster.splitn(4, '|').nth(3).or_else(|| cluster.splitn(4, "_.").nth(3))
}

impl Source for hawser_translate::Translator {
    fn resources(&self, proxy: &Proxy, kind: Kind, names: Option<&BTreeSet<Str>>) -> Vec<Arc<Resource>> {
        let named = |all: std::collections::BTreeMap<Str, Arc<Resource>>| -> Vec<Arc<Resource>> {
            all.into_values().filter(|r| names.is_none_or(|n| n.contains(&r.name))).collect()
        };
        match (kind, names) {
            (Kind::Cluster, _) => named(self.clusters(proxy)),
            (Kind::Listener, _) => named(self.listeners(proxy)),
            (Kind::Endpoint, Some(names)) => self.endpoints(proxy, names).into_values().collect(),
            (Kind::Route, Some(names)) => self.routes(proxy, names).into_values().collect(),
            // Nobody asks for all endpoints or routes but a dump of the configuration.
            (Kind::Endpoint, None) => self.all(proxy).endpoints.into_values().collect(),
            (Kind::Route, None) => self.all(proxy).routes.into_values().collect(),
            (Kind::NameTable, _) => self.names(proxy).into_iter().collect(),
            (Kind::Secret | Kind::Extension, _) => Vec::new(),
        }
    }
}
