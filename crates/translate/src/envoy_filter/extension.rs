//! What EnvoyFilters add besides listeners, routes and clusters: extension configurations, and parts of the bootstrap.

use std::collections::BTreeMap;
use std::sync::Arc;

use hawser_model::Str;
use hawser_proto::envoy::config::bootstrap::v3::Bootstrap;
use hawser_proto::envoy::config::core::v3::TypedExtensionConfig;
use hawser_proto::merge;

use super::Owned;
use crate::resource::Resource;
use crate::wire;

/// Extension configurations by name; of two with one name, the later counts.
pub(crate) fn extensions(patches: &[Owned]) -> BTreeMap<Str, Arc<Resource>> {
    patches
        .iter()
        .filter_map(|o| o.value::<TypedExtensionConfig>())
        .filter(|e| !e.name.is_empty())
        .map(|e| wire::resource(&e.name.clone(), &e))
        .map(|r| (r.name.clone(), r))
        .collect()
}

/// All that is to be merged into the bootstrap, as one.
pub(crate) fn bootstrap(patches: &[Owned]) -> Option<Arc<Resource>> {
    let mut values = patches.iter().filter_map(Owned::message);
    let mut whole = values.next()?;
    for value in values {
        merge::merge_into(&mut whole, value);
    }
    let whole: Bootstrap = merge::typed(&whole).ok()?;
    Some(wire::resource("bootstrap", &whole))
}
