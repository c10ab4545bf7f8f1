//! Which patch made Envoy refuse: those of EnvoyFilters that change what a proxy is given of a type.

use std::collections::BTreeMap;

use hawser_model::filter::NamedPatch;
use hawser_model::{Proxy, Str};

use crate::envoy_filter::{Patches, some};
use crate::translator::{Session, Translator};

/// A type of resources that patches may change.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Patched {
    /// Clusters.
    Clusters,
    /// Listeners, with the filters and inbound routes that stand in them.
    Listeners,
    /// Route configurations.
    Routes,
    /// Configurations of filters that come by themselves.
    Extensions,
}

impl Translator {
    /// The patches that concern a proxy's resources of a type, in the order in which they are applied.
    pub fn patches(&self, proxy: &Proxy, of: Patched) -> Vec<NamedPatch> {
        let mut session = self.session(proxy);
        let all = plan(&mut session, of).take();
        let named = |owned: &crate::envoy_filter::Owned| NamedPatch {
            filter: owned.meta.clone(),
            patch: owned.patch.clone(),
        };
        all.iter().flat_map(|all| all.iter()).map(named).collect()
    }

    /// Whether the proxy would be given something else without that patch.
    pub fn matters(&self, proxy: &Proxy, of: Patched, patch: &NamedPatch) -> bool {
        let with = self.session(proxy);
        let mut without = self.session(proxy);
        let rest = plan(&mut without, of);
        *rest = rest.take().and_then(|all| {
            let others = all
                .iter()
                .filter(|p| p.meta != patch.filter || p.patch != patch.patch);
            some(others.cloned().collect())
        });
        self.versions(&with, of) != self.versions(&without, of)
    }

    fn versions(&self, session: &Session<'_>, of: Patched) -> BTreeMap<Str, u64> {
        let given = match of {
            Patched::Clusters => self.given_clusters(session),
            Patched::Listeners => self.given_listeners(session),
            Patched::Routes => self.given_routes(session, None),
            Patched::Extensions => Self::given_extensions(session, None),
        };
        let all = given.all().into_iter();
        all.map(|(name, resource)| (name, resource.version))
            .collect()
    }
}

fn plan<'s>(session: &'s mut Session<'_>, of: Patched) -> &'s mut Patches {
    let plan = &mut session.patches;
    match of {
        Patched::Clusters => &mut plan.clusters,
        Patched::Listeners => &mut plan.listeners,
        Patched::Routes => &mut plan.routes,
        Patched::Extensions => &mut plan.extensions,
    }
}
