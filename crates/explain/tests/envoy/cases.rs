//! The cases: a configuration, and calls with what becomes of them.

mod authorization;
mod envoy_filters;
mod extensions;
mod gateway_api;
mod gateways;
mod hardening;
mod inbound;
mod outbound;
mod telemetry;
mod tokens;

use crate::world::Side;

/// A configuration, and calls.
pub struct Case {
    pub name: &'static str,
    pub side: Side,
    /// Objects beside those of the world.
    pub yaml: &'static str,
    /// MeshConfig.
    pub mesh: &'static str,
    /// More of the proxy's metadata, as JSON.
    pub metadata: &'static str,
    /// One call a line.
    pub calls: &'static str,
}

const fn case(name: &'static str, side: Side, yaml: &'static str, calls: &'static str) -> Case {
    Case {
        name,
        side,
        yaml,
        mesh: "",
        metadata: "",
        calls,
    }
}

pub fn all() -> Vec<Case> {
    let parts = [
        outbound::CASES,
        inbound::CASES,
        authorization::CASES,
        tokens::CASES,
        gateways::CASES,
        gateway_api::CASES,
        hardening::CASES,
        envoy_filters::CASES,
        telemetry::CASES,
        extensions::CASES,
    ];
    let all: Vec<Case> = parts.into_iter().flatten().map(|c| Case { ..*c }).collect();
    assert!(all.len() >= 40, "{} cases", all.len());
    all
}
