//! What a proxy is given: encoded resources by name.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use hawser_model::{Problem, Str};
use hawser_proto::google::protobuf::Any;

/// One encoded resource, shared by all proxies that get the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    /// Its name.
    pub name: Str,
    /// Type URL and encoded message.
    pub any: Arc<Any>,
    /// Hash of the content: equal versions mean equal bytes.
    pub version: u64,
}

impl Resource {
    pub(crate) fn new(name: Str, type_url: String, value: Vec<u8>) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(&value);
        Self {
            name,
            version: hasher.finish(),
            any: Arc::new(Any { type_url, value }),
        }
    }
}

/// Everything that one proxy is given, secrets aside.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    /// Clusters.
    pub clusters: BTreeMap<Str, Arc<Resource>>,
    /// Endpoints of the clusters that ask for them.
    pub endpoints: BTreeMap<Str, Arc<Resource>>,
    /// Listeners.
    pub listeners: BTreeMap<Str, Arc<Resource>>,
    /// Routes that the listeners refer to.
    pub routes: BTreeMap<Str, Arc<Resource>>,
    /// The name table, for sidecars whose agent answers DNS.
    pub names: Option<Arc<Resource>>,
    /// Extension configurations that filters may refer to.
    pub extensions: BTreeMap<Str, Arc<Resource>>,
    /// What is merged into the proxy's bootstrap by its agent.
    pub bootstrap: Option<Arc<Resource>>,
    /// What is wrong with the configuration as this proxy sees it.
    pub problems: Vec<Problem>,
}
