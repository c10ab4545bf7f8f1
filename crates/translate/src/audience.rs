//! Who is given the same: sidecars that differ in nothing that their outbound configuration depends on.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use hawser_model::{Labels, Proxy, Shared, Str};

use crate::envoy_filter::Patches;
use crate::listener::spec::HttpShared;
use crate::memo::Rendered;
use crate::scope::{Scope, ScopeKey};
use crate::selection::Selection;

/// Types of resources of which much is shared.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) enum Part {
    Clusters,
    Endpoints,
    Listeners,
    Routes,
    Names,
}

/// All that one type of a sidecar's outbound configuration depends on: selecting it sees nothing else of the proxy.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Audience {
    pub part: Part,
    pub scope: ScopeKey,
    /// The proxy without what makes it one among many.
    pub client: Proxy,
    /// Logs and traces, for listeners: workloads may have them of their own.
    pub http: Option<Shared<HttpShared>>,
    pub patches: Patches,
}

/// Of a proxy what others have too. Labels and node stay where rules ask for them, addresses where its own pod is among
/// those that it calls one by one.
pub(crate) fn client(proxy: &Proxy, scope: &Scope) -> Proxy {
    let mut client = Proxy {
        id: "".into(),
        name: "".into(),
        identity: None,
        workload: "".into(),
        service_name: "".into(),
        metadata: BTreeMap::new(),
        refused: Vec::new(),
        version: "".into(),
        ..proxy.clone()
    };
    if !scope.asks_who {
        client.labels = Labels::default();
        client.node = "".into();
    }
    if !proxy.addresses.iter().any(|a| scope.pods.contains(a)) {
        let v4 = proxy
            .has_ipv4()
            .then_some(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let v6 = proxy
            .has_ipv6()
            .then_some(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        client.addresses = v4.into_iter().chain(v6).collect();
    }
    client
}

type Made = Arc<OnceLock<Arc<Selection>>>;

/// What each audience is given under one snapshot, and was under the one before.
#[derive(Debug, Default)]
pub(crate) struct Audiences {
    now: Mutex<HashMap<Shared<Audience>, Made>>,
    before: HashMap<Shared<Audience>, Arc<Selection>>,
}

impl Audiences {
    /// For the next snapshot. What nobody asked for under this one stays as it was before.
    pub(crate) fn next(&self) -> Self {
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let asked: BTreeSet<Part> = now.keys().map(|a| a.part).collect();
        let kept = self.before.iter().filter(|(a, _)| !asked.contains(&a.part));
        let made = now.iter().filter_map(|(a, made)| Some((a, made.get()?)));
        Self {
            now: Mutex::default(),
            before: kept
                .chain(made)
                .map(|(a, s)| (a.clone(), Arc::clone(s)))
                .collect(),
        }
    }

    /// What an audience is given, selected by the first who asks.
    pub(crate) fn get(
        &self,
        audience: Shared<Audience>,
        select: impl FnOnce(&Audience) -> BTreeMap<Str, Rendered>,
    ) -> Arc<Selection> {
        let made = {
            let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(now.entry(audience.clone()).or_default())
        };
        let before = self.before.get(&audience);
        Arc::clone(made.get_or_init(|| Selection::after(before, select(&audience))))
    }
}
