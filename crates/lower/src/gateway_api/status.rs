//! What became of classes, Gateways and routes, as the statuses that say so.

use hawser_api::message::Field;
use hawser_api::status::Condition;
use hawser_api::{IntOrString, Kind, ObjectRef, Timestamp, gateway_api as api};

use super::attach::{Parent, Target};
use super::backends::Fault;
use super::listeners::{Listener, controller};
use super::{CONTROLLER, Context, Route};
use crate::config::StatusUpdate;
use crate::names::port;

/// A condition; the time of its last transition is kept as long as it says the same.
fn condition(
    old: &[Condition],
    (type_, good, reason): (&str, bool, &str),
    message: &str,
    meta: &hawser_api::Meta,
    now: Timestamp,
) -> Condition {
    let status = if good { "True" } else { "False" };
    let since = old
        .iter()
        .find(|c| c.type_ == type_ && c.status == status)
        .and_then(|c| c.last_transition_time);
    Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: i32::try_from(meta.generation)
            .ok()
            .filter(|g| *g > 0)
            .map(IntOrString::Int),
        last_probe_time: None,
        last_transition_time: Some(since.unwrap_or(now)),
    }
}

fn object_ref(kind: Kind, meta: &hawser_api::Meta) -> ObjectRef {
    ObjectRef {
        kind,
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
    }
}

/// An update, unless the object says so already.
fn update<T: Field + PartialEq>(
    kind: Kind,
    meta: &hawser_api::Meta,
    old: &T,
    new: &T,
) -> Option<StatusUpdate> {
    (old != new).then(|| StatusUpdate {
        object: object_ref(kind, meta),
        status: new.write(),
    })
}

/// GatewayClasses of ours are accepted.
pub(super) fn of_classes(context: &Context<'_>, out: &mut Vec<StatusUpdate>) {
    for class in context.view.objects.gateway_classes.iter() {
        if class.spec.controller_name != CONTROLLER {
            continue;
        }
        let old = &class.status.conditions;
        let new = api::GatewayClassStatus {
            conditions: vec![condition(
                old,
                ("Accepted", true, "Accepted"),
                "",
                &class.meta,
                context.now,
            )],
        };
        out.extend(update(Kind::GatewayClass, &class.meta, &class.status, &new));
    }
}

/// Gateways of our class, with each of their listeners.
pub(super) fn of_gateways(
    context: &Context<'_>,
    listeners: &[Listener<'_>],
    out: &mut Vec<StatusUpdate>,
) {
    for gateway in context.view.objects.k8s_gateways.iter() {
        if controller(context, &gateway.spec.gateway_class_name) != Some(CONTROLLER) {
            continue;
        }
        let own: Vec<&Listener<'_>> = listeners
            .iter()
            .filter(|l| std::ptr::eq(l.gateway, &**gateway))
            .collect();
        let services = own.first().map(|l| l.services.as_slice()).unwrap_or(&[]);
        let addresses = addresses(context, services);
        let broken = own.iter().filter(|l| !l.works()).count();
        let old = &gateway.status.conditions;
        let make = |what, message: &str| condition(old, what, message, &gateway.meta, context.now);
        let accepted = if broken > 0 {
            make(
                ("Accepted", true, "ListenersNotValid"),
                "some listeners are not valid; see their conditions",
            )
        } else {
            make(("Accepted", true, "Accepted"), "")
        };
        let programmed = if addresses.is_empty() {
            make(
                ("Programmed", false, "AddressNotAssigned"),
                "the Gateway's service has no address yet",
            )
        } else {
            make(("Programmed", true, "Programmed"), "")
        };
        let new = api::GatewayStatus {
            addresses,
            conditions: vec![accepted, programmed],
            listeners: own
                .iter()
                .map(|l| of_listener(l, &gateway.status.listeners, context))
                .collect(),
        };
        out.extend(update(
            Kind::K8sGateway,
            &gateway.meta,
            &gateway.status,
            &new,
        ));
    }
}

/// Where a Gateway can be reached: addresses of its services from outside, else within the cluster.
fn addresses(
    context: &Context<'_>,
    services: &[hawser_model::Hostname],
) -> Vec<api::GatewayAddress> {
    let mut texts: Vec<String> = Vec::new();
    for definition in context.catalogue.values() {
        if !services.contains(&definition.service.host) {
            continue;
        }
        let service = &definition.service;
        match service.external_addresses.get(context.view.id) {
            Some(outside) => texts.extend(outside.iter().map(ToString::to_string)),
            None => texts.extend(
                service
                    .addresses
                    .get(context.view.id)
                    .into_iter()
                    .flatten()
                    .map(|net| net.addr().to_string()),
            ),
        }
    }
    texts
        .into_iter()
        .map(|value| api::GatewayAddress {
            type_: Some(
                if value.parse::<std::net::IpAddr>().is_ok() {
                    "IPAddress"
                } else {
                    "Hostname"
                }
                .to_owned(),
            ),
            value,
        })
        .collect()
}

fn of_listener(
    listener: &Listener<'_>,
    old: &[api::ListenerStatus],
    context: &Context<'_>,
) -> api::ListenerStatus {
    let old = old
        .iter()
        .find(|o| o.name == listener.spec.name)
        .map(|o| o.conditions.as_slice())
        .unwrap_or(&[]);
    let meta = &listener.gateway.meta;
    let fault = |condition: &str| listener.faults.iter().find(|f| f.0 == condition);
    let make = |type_: &str, good_reason: &str| match fault(type_) {
        Some((_, reason, message)) => {
            condition(old, (type_, false, reason), message, meta, context.now)
        }
        None => condition(old, (type_, true, good_reason), "", meta, context.now),
    };
    let conflicted = match fault("Conflicted") {
        Some((_, reason, message)) => condition(
            old,
            ("Conflicted", true, reason),
            message,
            meta,
            context.now,
        ),
        None => condition(
            old,
            ("Conflicted", false, "NoConflicts"),
            "",
            meta,
            context.now,
        ),
    };
    let works = listener.works() && port(listener.spec.port).is_some();
    let programmed = if works {
        condition(
            old,
            ("Programmed", true, "Programmed"),
            "",
            meta,
            context.now,
        )
    } else {
        condition(
            old,
            ("Programmed", false, "Invalid"),
            "see the other conditions",
            meta,
            context.now,
        )
    };
    let passthrough = listener
        .spec
        .tls
        .as_ref()
        .is_some_and(|t| t.mode.as_deref() == Some("Passthrough"));
    let kinds: &[&str] = match listener.spec.protocol.as_str() {
        "HTTP" | "HTTPS" => &["HTTPRoute", "GRPCRoute"],
        "TLS" if passthrough => &["TLSRoute"],
        "TLS" => &["TLSRoute", "TCPRoute"],
        "TCP" => &["TCPRoute"],
        _ => &[],
    };
    api::ListenerStatus {
        name: listener.spec.name.clone(),
        supported_kinds: kinds
            .iter()
            .map(|kind| api::RouteGroupKind {
                group: Some("gateway.networking.k8s.io".to_owned()),
                kind: (*kind).to_owned(),
            })
            .collect(),
        attached_routes: listener.attached,
        conditions: vec![
            make("Accepted", "Accepted"),
            conflicted,
            programmed,
            make("ResolvedRefs", "ResolvedRefs"),
        ],
    }
}

/// A route, for each of its parents that is ours. What other controllers say of it stays.
pub(super) fn of_route(
    context: &Context<'_>,
    route: &Route<'_>,
    parents: &[Parent],
    faults: &[Fault],
) -> Option<StatusUpdate> {
    let mut new: Vec<api::RouteParentStatus> = route
        .status
        .parents
        .iter()
        .filter(|p| p.controller_name != CONTROLLER)
        .cloned()
        .collect();
    for parent in parents {
        if matches!(parent.target, Target::NotOurs) {
            continue;
        }
        let old = route
            .status
            .parents
            .iter()
            .find(|p| p.controller_name == CONTROLLER && p.parent_ref == parent.reference)
            .map(|p| p.conditions.as_slice())
            .unwrap_or(&[]);
        let make = |what, message: &str| condition(old, what, message, route.meta, context.now);
        let fault = |condition: &str| faults.iter().find(|f| f.condition == condition);
        let accepted = match (&parent.target, fault("Accepted")) {
            (Target::Refused(reason, message), _) => make(("Accepted", false, reason), message),
            (_, Some(f)) => make(("Accepted", false, f.reason), &f.message),
            _ => make(("Accepted", true, "Accepted"), ""),
        };
        let resolved = match fault("ResolvedRefs") {
            Some(f) => make(("ResolvedRefs", false, f.reason), &f.message),
            None => make(("ResolvedRefs", true, "ResolvedRefs"), ""),
        };
        new.push(api::RouteParentStatus {
            parent_ref: parent.reference.clone(),
            controller_name: CONTROLLER.to_owned(),
            conditions: vec![accepted, resolved],
        });
    }
    update(
        route.kind,
        route.meta,
        route.status,
        &api::RouteStatus { parents: new },
    )
}
