//! The Gateway API: policies that select a gateway's pods, and definitions too old to be read.

use crate::codes::{OLD_GATEWAY_API, SELECTOR_WITHOUT_EFFECT};
use crate::finding::{Finding, on};
use crate::world::World;
use hawser_api::selector::{LabelSelector, TargetRef};
use hawser_api::{Kind, Meta};
use std::collections::BTreeSet;

/// The label of pods that run a Gateway of the Gateway API.
const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

/// Istio `k8sgateway.SelectorAnalyzer`.
pub fn selectors(world: &World) -> Vec<Finding> {
    let mut out = Vec::new();
    for o in &world.authorization_policies {
        check(
            world,
            Kind::AuthorizationPolicy,
            &o.meta,
            o.spec.selector.as_ref(),
            o.spec.target_ref.as_ref(),
            &mut out,
        );
    }
    for o in &world.request_authentications {
        check(
            world,
            Kind::RequestAuthentication,
            &o.meta,
            o.spec.selector.as_ref(),
            o.spec.target_ref.as_ref(),
            &mut out,
        );
    }
    for o in &world.telemetries {
        check(
            world,
            Kind::Telemetry,
            &o.meta,
            o.spec.selector.as_ref(),
            o.spec.target_ref.as_ref(),
            &mut out,
        );
    }
    for o in &world.wasm_plugins {
        check(
            world,
            Kind::WasmPlugin,
            &o.meta,
            o.spec.selector.as_ref(),
            o.spec.target_ref.as_ref(),
            &mut out,
        );
    }
    out
}

fn check(
    world: &World,
    kind: Kind,
    meta: &Meta,
    selector: Option<&LabelSelector>,
    target: Option<&TargetRef>,
    out: &mut Vec<Finding>,
) {
    let (Some(selector), None) = (selector, target) else {
        return;
    };
    let pods = world
        .shared
        .pods
        .select_in(&meta.namespace, &selector.match_labels);
    let gateways: BTreeSet<&str> = pods
        .filter_map(|pod| pod.object.label(GATEWAY_NAME))
        .collect();
    for gateway in gateways {
        let message = format!(
            "the selector takes pods of Kubernetes Gateway {gateway}, where selectors have no effect"
        );
        let help = format!(
            "write targetRefs: [{{group: gateway.networking.k8s.io, kind: Gateway, name: {gateway}}}] instead of the selector"
        );
        out.push(
            Finding::new(
                SELECTOR_WITHOUT_EFFECT,
                on(kind, meta),
                "spec.selector",
                message,
            )
            .help(help),
        );
    }
}

/// The oldest bundle of which Istio reads a kind (`gatewayapi.MinimumCRDVersions`).
const OLDEST: [(&str, [u64; 3]); 3] = [
    ("backendtlspolicies.gateway.networking.k8s.io", [1, 4, 0]),
    ("grpcroutes.gateway.networking.k8s.io", [1, 1, 0]),
    ("tlsroutes.gateway.networking.k8s.io", [1, 5, 0]),
];

/// Istio `k8sgateway.CRDVersionAnalyzer`.
pub fn versions(world: &World) -> Vec<Finding> {
    const BUNDLE: &str = "gateway.networking.k8s.io/bundle-version";
    let mut out = Vec::new();
    for crd in &world.crds {
        let oldest = OLDEST.iter().find(|(name, _)| *name == crd.meta.name);
        let installed = crd.annotation(BUNDLE).and_then(version);
        let (Some((name, oldest)), Some(installed)) = (oldest, installed) else {
            continue;
        };
        if installed < *oldest {
            let written = |v: &[u64; 3]| v.map(|n| n.to_string()).join(".");
            let message = format!(
                "{name} is of Gateway API {}; objects of the kind are read from {} on",
                written(&installed),
                written(oldest)
            );
            let path = crate::finding::entry("metadata.annotations", BUNDLE);
            out.push(
                Finding::new(
                    OLD_GATEWAY_API,
                    on(Kind::CustomResourceDefinition, &crd.meta),
                    path,
                    message,
                )
                .help("install newer definitions of the Gateway API"),
            );
        }
    }
    out
}

/// The three numbers of a semantic version; what follows them (`-rc.1`) does not count.
fn version(text: &str) -> Option<[u64; 3]> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let numbers = text.split(['-', '+']).next()?;
    let mut out = [0; 3];
    let mut parts = numbers.split('.');
    for (slot, part) in out.iter_mut().zip(parts.by_ref()) {
        *slot = part.parse().ok()?;
    }
    parts.next().is_none().then_some(out)
}
