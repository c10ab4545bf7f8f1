//! Embedded Kubernetes-compatible API server on an embedded database.

pub mod schema;
