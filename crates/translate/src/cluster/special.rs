//! Clusters that every proxy has.

use std::time::Duration;

use hawser_model::Shared;
use hawser_model::mesh::Mesh;
use hawser_proto::envoy::config::cluster::v3 as cds;
use hawser_proto::envoy::config::core::v3 as core;

use super::{BLACK_HOLE, Builder, INBOUND_PASSTHROUGH, PASSTHROUGH, http};
use crate::view::ClientView;
use crate::wire;

/// Idle connections of pass-through clusters are closed after this time: their targets are not known beforehand, so that
/// pools for them pile up otherwise.
const PASSTHROUGH_IDLE: Duration = Duration::from_secs(300);

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct SpecialCluster {
    pub which: Which,
    pub mesh: Shared<Mesh>,
    pub view: Shared<ClientView>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Which {
    BlackHole,
    Passthrough,
    InboundPassthrough,
}

/// The address that the application sees as that of an inbound connection: the sidecar's capture rules let it pass.
pub(crate) fn inbound_bind(view: &ClientView) -> core::BindConfig {
    let v6 = "::6";
    let v4 = "127.0.0.6";
    let (first, extra) = match (view.ipv4, view.ipv6) {
        (false, true) => (v6, None),
        (true, true) => (v4, Some(v6)),
        _ => (v4, None),
    };
    core::BindConfig {
        source_address: Some(wire::socket_address(first, 0)),
        extra_source_addresses: extra
            .map(|e| core::ExtraSourceAddress {
                address: Some(wire::socket_address(e, 0)),
                socket_options: None,
            })
            .into_iter()
            .collect(),
        ..Default::default()
    }
}

pub(super) fn render(input: &SpecialCluster) -> cds::Cluster {
    let name = match input.which {
        Which::BlackHole => BLACK_HOLE,
        Which::Passthrough => PASSTHROUGH,
        Which::InboundPassthrough => INBOUND_PASSTHROUGH,
    };
    let mut b = Builder::new(name.to_owned(), &input.mesh);
    if input.which == Which::BlackHole {
        b.discovery(cds::cluster::DiscoveryType::Static);
        return b.finish();
    }
    b.discovery(cds::cluster::DiscoveryType::OriginalDst);
    b.cluster.lb_policy = cds::cluster::LbPolicy::ClusterProvided as i32;
    b.pool(&input.mesh, input.mesh.default_pool.as_ref(), None);
    b.http.protocol = http::Upstream::Downstream;
    b.http.idle_timeout.get_or_insert(PASSTHROUGH_IDLE);
    if input.which == Which::InboundPassthrough {
        b.cluster.upstream_bind_config = Some(inbound_bind(&input.view));
    }
    b.finish()
}
