//! Listeners of gateways.

pub(crate) mod passthrough;
