//! Routes of gateways.

use hawser_model::Str;
use hawser_proto::envoy::config::route::v3 as rds;

/// A route configuration of a gateway.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct GatewayRoutes {
    pub name: Str,
}

pub(super) fn render(input: &GatewayRoutes) -> rds::RouteConfiguration {
    rds::RouteConfiguration {
        name: input.name.to_string(),
        ..Default::default()
    }
}
