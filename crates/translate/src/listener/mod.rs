//! Listeners (LDS).

pub(crate) mod gateway;
pub(crate) mod http;
pub(crate) mod inbound;
pub(crate) mod outbound;
mod render;
pub(crate) mod spec;
pub(crate) mod tls;

pub(crate) use render::render;
pub(crate) use spec::ListenerSpec;

/// All ALPN names of the mesh that say "mutual TLS between sidecars".
pub(crate) const MESH_ALPN: &[&str] = &[
    "istio",
    "istio-peer-exchange",
    "istio-http/1.0",
    "istio-http/1.1",
    "istio-h2",
];
/// Those that say "HTTP inside".
pub(crate) const MESH_HTTP_ALPN: &[&str] = &["istio-http/1.0", "istio-http/1.1", "istio-h2"];
/// Those that say "bytes inside".
pub(crate) const MESH_TCP_ALPN: &[&str] = &["istio-peer-exchange", "istio"];
/// What the HTTP inspector finds in plain text.
pub(crate) const PLAIN_HTTP_ALPN: &[&str] = &["http/1.1", "h2c"];
