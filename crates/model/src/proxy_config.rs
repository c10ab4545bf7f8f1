//! ProxyConfigs: how the proxies of a namespace or of some workloads are started.

use std::collections::BTreeMap;

use crate::labels::Labels;
use crate::meta::Meta;
use crate::name::Str;

/// A ProxyConfig.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ProxyConfig {
    /// Place and age.
    pub meta: Meta,
    /// Of which workloads; none is all of the namespace (of the mesh, in the root namespace).
    pub labels: Labels,
    /// Worker threads; 0 is one for each CPU.
    pub concurrency: Option<u32>,
    /// Environment of the proxy's container.
    pub environment: BTreeMap<Str, Str>,
    /// `default`, `debug` or `distroless`; empty is not said.
    pub image_type: Str,
}
