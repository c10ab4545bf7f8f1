//! Conditions in `status` by which a controller says no (Istio `conditions.ConditionAnalyzer`).

use crate::codes::NEGATIVE_CONDITION;
use crate::finding::{Finding, on};
use crate::world::World;
use hawser_api::status::Condition;
use hawser_api::{Kind, Meta};

const GATEWAY_API: &[&str] = &["Accepted", "Programmed", "ResolvedRefs"];
const POLICY: &[&str] = &["ZtunnelAccepted", "WaypointAccepted"];
const WAYPOINT: &[&str] = &["istio.io/WaypointBound"];

pub fn conditions(world: &World) -> Vec<Finding> {
    let mut out = Vec::new();
    for service in world.own_services() {
        let object = &service.object;
        check(
            Kind::Service,
            &object.meta,
            "status.conditions",
            WAYPOINT,
            &object.status.conditions,
            &mut out,
        );
    }
    for o in &world.service_entries {
        check(
            Kind::ServiceEntry,
            &o.meta,
            "status.conditions",
            WAYPOINT,
            &o.status.conditions,
            &mut out,
        );
    }
    for o in &world.authorization_policies {
        check(
            Kind::AuthorizationPolicy,
            &o.meta,
            "status.conditions",
            POLICY,
            &o.status.conditions,
            &mut out,
        );
    }
    for o in &world.k8s_gateways {
        check(
            Kind::K8sGateway,
            &o.meta,
            "status.conditions",
            GATEWAY_API,
            &o.status.conditions,
            &mut out,
        );
    }
    for o in &world.http_routes {
        for (i, parent) in o.status.parents.iter().enumerate() {
            let path = format!("status.parents[{i}].conditions");
            check(
                Kind::HttpRoute,
                &o.meta,
                &path,
                GATEWAY_API,
                &parent.conditions,
                &mut out,
            );
        }
    }
    for o in &world.grpc_routes {
        for (i, parent) in o.status.parents.iter().enumerate() {
            let path = format!("status.parents[{i}].conditions");
            check(
                Kind::GrpcRoute,
                &o.meta,
                &path,
                GATEWAY_API,
                &parent.conditions,
                &mut out,
            );
        }
    }
    out
}

fn check(
    kind: Kind,
    meta: &Meta,
    path: &str,
    types: &[&str],
    conditions: &[Condition],
    out: &mut Vec<Finding>,
) {
    for (i, c) in conditions.iter().enumerate() {
        let negative = types.contains(&c.type_.as_str()) && c.status == "False";
        // A waypoint that takes only a part of a policy says so under a condition that is true.
        let partial =
            types == POLICY && c.type_ == "WaypointAccepted" && c.reason == "PartiallyInvalid";
        if negative || partial {
            let message = format!(
                "its controller says {} is {}: {} ({})",
                c.type_, c.status, c.message, c.reason
            );
            out.push(Finding::new(
                NEGATIVE_CONDITION,
                on(kind, meta),
                format!("{path}[{i}]"),
                message,
            ));
        }
    }
}
