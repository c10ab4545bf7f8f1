//! Endpoints (EDS).

pub(crate) mod build;
pub(crate) mod locality;
pub(crate) mod network;

use std::sync::Arc;

use hawser_model::mesh::Mesh;
use hawser_model::network::NetworkGateways;
use hawser_model::traffic::DestinationRule;
use hawser_model::{EndpointSet, Service, Shared, Str};
use hawser_proto::envoy::config::endpoint::v3 as eds;

use crate::resource::Resource;
use crate::view::{Near, NetworkView};
use crate::wire;

/// All that the endpoints of a cluster depend on.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct EndpointInput {
    /// The cluster's name.
    pub name: Str,
    pub service: Shared<Service>,
    pub port: u16,
    pub subset: Str,
    pub rule: Option<Shared<DestinationRule>>,
    pub endpoints: Option<Shared<EndpointSet>>,
    pub gateways: Shared<NetworkGateways>,
    pub mesh: Shared<Mesh>,
    pub view: Shared<NetworkView>,
    /// Where the proxy stands, if the service's setting asks for it.
    pub near: Option<Shared<Near>>,
    /// What PeerAuthentications demand of the namespace's workloads on that port, for those that have any.
    pub mtls: Shared<crate::authn::NamespaceMtls>,
    /// For an `AUTO_PASSTHROUGH` gateway: endpoints with mutual TLS alone.
    pub sni_dnat: bool,
    /// The proxy's node, for services that only endpoints of the same node serve.
    pub node: Option<Str>,
    /// Endpoints found by DNS: host names count.
    pub dns: bool,
}

/// The endpoints of a cluster by locality.
pub(crate) fn localities(input: &EndpointInput) -> Vec<eds::LocalityLbEndpoints> {
    build::localities(input)
}

/// Renders the endpoints of a cluster.
pub(crate) fn render(input: &EndpointInput) -> Arc<Resource> {
    wire::resource(
        &input.name,
        &eds::ClusterLoadAssignment {
            cluster_name: input.name.to_string(),
            endpoints: localities(input),
            ..Default::default()
        },
    )
}
