//! The few Istio messages that travel on the wire between proxies and control planes, described by hand.

pub mod ca;
pub mod nds;
