//! Clusters towards the application beside a sidecar.

use hawser_model::mesh::Mesh;
use hawser_model::traffic::ConnectionPool;
use hawser_model::{Protocol, Service, Shared, Str};
use hawser_proto::envoy::config::cluster::v3 as cds;
use hawser_proto::envoy::config::endpoint::v3 as eds;

use super::special::inbound_bind;
use super::{Builder, http, metadata};
use crate::view::ClientView;
use crate::wire;

/// A cluster for one port of the workload.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct InboundCluster {
    /// The workload's port.
    pub port: u16,
    pub protocol: Protocol,
    /// The service behind it, if any.
    pub service: Option<Shared<Service>>,
    pub mesh: Shared<Mesh>,
    pub view: Shared<ClientView>,
    pub pool: Option<ConnectionPool>,
    /// Where the application listens, if not where the caller called: an address and port, or a Unix socket.
    pub endpoint: Option<(Str, u16)>,
}

/// `inbound|9080||`.
pub(crate) fn name(port: u16) -> String {
    format!("inbound|{port}||")
}

pub(super) fn render(input: &InboundCluster) -> cds::Cluster {
    let mut b = Builder::new(name(input.port), &input.mesh);
    match &input.endpoint {
        None => {
            b.discovery(cds::cluster::DiscoveryType::OriginalDst);
            b.cluster.lb_policy = cds::cluster::LbPolicy::ClusterProvided as i32;
            // Envoy forgets original destinations after a time and then drops what is still open to them.
            b.cluster.cleanup_interval = Some(wire::seconds(MAX_DURATION_S));
            b.cluster.upstream_bind_config = Some(inbound_bind(&input.view));
        }
        Some((address, port)) => {
            b.discovery(cds::cluster::DiscoveryType::Static);
            b.cluster.load_assignment = Some(eds::ClusterLoadAssignment {
                cluster_name: b.cluster.name.clone(),
                endpoints: vec![eds::LocalityLbEndpoints {
                    lb_endpoints: vec![eds::LbEndpoint {
                        host_identifier: Some(eds::lb_endpoint::HostIdentifier::Endpoint(
                            eds::Endpoint {
                                address: Some(wire::address(address, u32::from(*port))),
                                ..Default::default()
                            },
                        )),
                        ..Default::default()
                    }],
                    ..Default::default()
                }],
                ..Default::default()
            });
            let local = address
                .parse::<std::net::IpAddr>()
                .map_or(true, |ip| ip.is_loopback());
            if !local {
                b.cluster.upstream_bind_config = Some(inbound_bind(&input.view));
            }
        }
    }
    if input.protocol.is_http2() {
        b.http.protocol = http::Upstream::Http2;
    } else if input.protocol.is_sniffed() {
        b.http.protocol = http::Upstream::Downstream;
    }
    b.pool(&input.mesh, input.pool.as_ref(), None);
    b.cluster.common_lb_config = Some(Default::default());
    if let Some(service) = &input.service {
        b.cluster.metadata = Some(metadata(service, "", None));
    }
    b.finish()
}

/// The longest duration that Envoy takes.
const MAX_DURATION_S: i64 = 9_223_372_035;
