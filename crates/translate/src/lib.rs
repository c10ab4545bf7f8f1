//! Pure: Snapshot + Proxy become Envoy resources.
