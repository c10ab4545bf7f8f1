//! Patches of clusters.

use std::collections::BTreeMap;
use std::sync::Arc;

use hawser_model::Str;
use hawser_model::filter::{ApplyTo, ClusterTarget, Context, Operation};
use hawser_proto::envoy::config::cluster::v3 as cds;
use hawser_proto::envoy::config::core::v3::TransportSocket;
use hawser_proto::{json, merge};
use prost::{Message, Name};

use super::{Owned, Patched};
use crate::resource::Resource;
use crate::wire;

/// A cluster after the patches; `None` if one removes it. An inbound cluster has no host in its name: it is known by
/// that of its service.
pub(crate) fn patch(
    resource: &Arc<Resource>,
    service: Option<&str>,
    patches: &[Owned],
    router: bool,
) -> Patched {
    let context = context(&resource.name, router);
    let mut touched: Option<cds::Cluster> = None;
    for owned in patches {
        let meant = owned.means(context)
            && owned
                .patch
                .target
                .cluster
                .as_ref()
                .is_none_or(|t| is_target(t, &resource.name, service));
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
            touched = Some(merged(owned, cluster));
        }
    }
    Some(match touched {
        Some(cluster) => wire::resource(&cluster.name.clone(), &cluster),
        None => Arc::clone(resource),
    })
}

/// The cluster with a patch merged in. A transport socket is merged into that of the same name, whichever way the cluster
/// chooses among several; a cluster that chooses cannot have one besides.
fn merged(owned: &Owned, mut cluster: cds::Cluster) -> cds::Cluster {
    let socket = owned
        .value::<cds::Cluster>()
        .and_then(|c| c.transport_socket);
    let Some(socket) = socket else {
        return owned.merged(&cluster);
    };
    if !cluster.transport_socket_matches.is_empty() {
        let mut choices = std::mem::take(&mut cluster.transport_socket_matches);
        cluster = owned.merged(&cluster);
        cluster.transport_socket = None;
        let same = choices
            .iter_mut()
            .filter_map(|m| m.transport_socket.as_mut())
            .find(|s| s.name == socket.name);
        if let Some(own) = same {
            merge_socket(owned, own, socket);
        }
        choices.append(&mut cluster.transport_socket_matches);
        cluster.transport_socket_matches = choices;
        return cluster;
    }
    let own = cluster.transport_socket.take();
    cluster = owned.merged(&cluster);
    cluster.transport_socket = match own {
        Some(mut own) if own.name == socket.name => {
            merge_socket(owned, &mut own, socket);
            Some(own)
        }
        _ => Some(socket),
    };
    cluster
}

fn merge_socket(owned: &Owned, own: &mut TransportSocket, socket: TransportSocket) {
    let patch = json::decode(&TransportSocket::full_name(), &socket.encode_to_vec());
    let whole = patch.and_then(|patch| merge::merged(own, patch, owned.replaces_lists()));
    if let Ok(whole) = whole {
        *own = whole;
    }
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

fn is_target(target: &ClusterTarget, name: &str, service: Option<&str>) -> bool {
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
    let host = service
        .filter(|_| name.starts_with("inbound|"))
        .unwrap_or(host);
    (target.port == 0 || port.parse() == Ok(target.port))
        && (target.subset.is_empty() || &*target.subset == subset)
        && (target.service.is_empty() || &*target.service == host)
}
