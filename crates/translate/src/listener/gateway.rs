//! Servers of gateways, as ports of a router.

pub(crate) mod passthrough;

use hawser_model::gateway::{Gateway, Server, ServerTlsMode};
use hawser_model::{Protocol, Shared, Str};

/// A server on a port of the router.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    pub gateway: Shared<Gateway>,
    pub server: Server,
    /// Where the router listens.
    pub port: u16,
    /// Its route configuration, if it speaks HTTP that the router can read.
    pub route: Option<Str>,
}

/// `http.8080` for all plain servers of a port, `https.443.NAME.GATEWAY.NAMESPACE` for each server with TLS (Istio's
/// `gatewayRDSRouteName`).
pub(crate) fn route_name(gateway: &Gateway, server: &Server, port: u16) -> Option<Str> {
    let bind = if server.bind.is_empty() {
        String::new()
    } else {
        format!(".{}", server.bind)
    };
    if server.protocol.is_http() {
        return Some(format!("http.{port}{bind}").into());
    }
    let ends_here = server.tls.as_ref().is_some_and(|t| {
        !matches!(
            t.mode,
            ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough
        )
    });
    (server.protocol == Protocol::Https && ends_here).then(|| {
        format!(
            "https.{}.{}.{}.{}{bind}",
            server.port, server.port_name, gateway.meta.name, gateway.meta.namespace
        )
        .into()
    })
}
