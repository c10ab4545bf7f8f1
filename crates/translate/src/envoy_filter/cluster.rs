//! Patches of clusters.

use std::collections::BTreeMap;
use std::sync::Arc;

use hawser_model::Str;
use hawser_model::filter::{ApplyTo, ClusterTarget, Context, Operation};
use hawser_proto::envoy::config::cluster::v3 as cds;
use prost::Message;

use super::{Owned, Patched};
use crate::resource::Resource;
use crate::wire;

/// A cluster after the patches; `None` if one removes it.
pub(crate) fn patch(resource: &Arc<Resource>, patches: &[Owned], router: bool) -> Patched {
    let context = context(&resource.name, router);
    let mut touched: Option<cds::Cluster> = None;
    for owned in patches {
        let meant = owned.means(context)
            && owned
                .patch
                .target
                .cluster
                .as_ref()
                .is_none_or(|t| is_target(t, &resource.name));
        if !meant {
            continue;
        }
        if owned.patch.operation == Operation::Remove {
            return None;
        }
        if owned.merges() {
            let cluster = match touched.take() {
                Some(c) => c,
                None => match cds::Cluster::decode(resource.any.value.as_slice()) {
                    Ok(c) => c,
                    Err(_) => return Some(Arc::clone(resource)),
                },
            };
            touched = Some(owned.merged(&cluster));
        }
    }
    Some(match touched {
        Some(cluster) => wire::resource(&cluster.name.clone(), &cluster),
        None => Arc::clone(resource),
    })
}

/// Clusters that patches add.
pub(crate) fn added(patches: &[Owned], router: bool) -> BTreeMap<Str, Arc<Resource>> {
    patches
        .iter()
        .filter(|o| o.patch.apply_to == ApplyTo::Cluster && o.patch.operation == Operation::Add)
        .filter(|o| match o.patch.context {
            Context::Any => true,
            Context::Gateway => router,
            _ => !router,
        })
        .filter_map(|o| o.value::<cds::Cluster>())
        .filter(|c| !c.name.is_empty())
        .map(|c| wire::resource(&c.name.clone(), &c))
        .map(|r| (r.name.clone(), r))
        .collect()
}

fn context(name: &str, router: bool) -> Context {
    if router {
        Context::Gateway
    } else if name.starts_with("inbound|") || name == crate::cluster::INBOUND_PASSTHROUGH {
        Context::SidecarInbound
    } else {
        Context::SidecarOutbound
    }
}

fn is_target(target: &ClusterTarget, name: &str) -> bool {
    if !target.name.is_empty() {
        return &*target.name == name;
    }
    let parts: Vec<&str> = match name.strip_prefix("outbound_.") {
        Some(rest) => rest.splitn(3, "_.").collect(),
        None => name.splitn(4, '|').skip(1).collect(),
    };
    let [port, subset, host] = parts[..] else {
        return target.port == 0 && target.service.is_empty() && target.subset.is_empty();
    };
    let inbound = name.starts_with("inbound|");
    (target.port == 0 || port.parse() == Ok(target.port))
        && (target.subset.is_empty() || &*target.subset == subset)
        // Inbound clusters have no host in their names.
        && (inbound || target.service.is_empty() || &*target.service == host)
}
