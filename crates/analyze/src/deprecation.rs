//! Fields and kinds that Istio has given up (Istio `deprecation.DeprecationAnalyzer`).

use crate::codes::DEPRECATED;
use crate::finding::{Finding, on};
use crate::world::World;
use hawser_api::Kind;

/// Kinds of `rbac.istio.io` that no version serves any more.
const REMOVED: [&str; 4] = [
    "ClusterRbacConfig",
    "RbacConfig",
    "ServiceRole",
    "ServiceRoleBinding",
];

pub fn deprecated(world: &World) -> Vec<Finding> {
    let mut out = Vec::new();
    for route in &world.virtual_services {
        for (i, http) in route.spec.http.iter().enumerate() {
            let delay = http.fault.as_ref().and_then(|f| f.delay.as_ref());
            if delay.is_some_and(|d| d.percent > 0) {
                let path = format!("spec.http[{i}].fault.delay.percent");
                let found = Finding::new(
                    DEPRECATED,
                    on(Kind::VirtualService, &route.meta),
                    path,
                    "percent of a delay is deprecated",
                );
                out.push(found.help("write percentage: {value: …} instead"));
            }
        }
    }
    for sidecar in &world.sidecars {
        let policy = sidecar.spec.outbound_traffic_policy.as_ref();
        if policy.is_some_and(|p| p.egress_proxy.is_some()) {
            let path = "spec.outboundTrafficPolicy.egressProxy";
            let found = Finding::new(
                DEPRECATED,
                on(Kind::Sidecar, &sidecar.meta),
                path,
                "egressProxy is deprecated and ignored by Istio",
            );
            out.push(found.help("route through the egress gateway with a VirtualService"));
        }
    }
    for crd in &world.crds {
        let kind = crd.spec.names.kind.as_str();
        if crd.spec.group == "rbac.istio.io" && REMOVED.contains(&kind) {
            let message = format!("kind {kind} of rbac.istio.io was removed from Istio");
            let found = Finding::new(
                DEPRECATED,
                on(Kind::CustomResourceDefinition, &crd.meta),
                "spec.names.kind",
                message,
            );
            out.push(
                found.help(
                    "use AuthorizationPolicy of security.istio.io, and delete the definition",
                ),
            );
        }
    }
    out
}
