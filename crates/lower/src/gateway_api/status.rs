//! What became of classes and routes, as the statuses that say so.

use std::collections::BTreeMap;

use hawser_api::message::Field;
use hawser_api::status::Condition;
use hawser_api::{IntOrString, Kind, ObjectRef, Timestamp, gateway_api as api};

use super::attach::{Parent, Target};
use super::backends::Fault;
use super::classes::{CONTROLLER, class};
use super::{Context, Route};
use crate::config::StatusUpdate;

/// Makes the conditions of one object, or of a part of it.
pub(super) struct Conditions<'a> {
    pub old: &'a [Condition],
    pub meta: &'a hawser_api::Meta,
    pub now: Timestamp,
}

impl Conditions<'_> {
    /// A condition; the time of its last transition is kept as long as it says the same.
    pub(super) fn make(&self, type_: &str, good: bool, reason: &str, message: &str) -> Condition {
        let status = if good { "True" } else { "False" };
        let since = self
            .old
            .iter()
            .find(|c| c.type_ == type_ && c.status == status)
            .and_then(|c| c.last_transition_time);
        Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            observed_generation: i32::try_from(self.meta.generation)
                .ok()
                .filter(|g| *g > 0)
                .map(IntOrString::Int),
            last_probe_time: None,
            last_transition_time: Some(since.unwrap_or(self.now)),
        }
    }

    /// One that is true, for a reason of its own name, unless there is a fault.
    pub(super) fn unless(&self, type_: &str, fault: Option<&Fault>) -> Condition {
        match fault {
            Some(fault) => self.make(type_, false, fault.reason, &fault.message),
            None => self.make(type_, true, type_, ""),
        }
    }
}

/// An update, unless the object says so already.
pub(super) fn update<T: Field + PartialEq>(
    kind: Kind,
    meta: &hawser_api::Meta,
    old: &T,
    new: &T,
) -> Option<StatusUpdate> {
    (old != new).then(|| StatusUpdate {
        object: ObjectRef {
            kind,
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
        },
        status: new.write(),
    })
}

/// GatewayClasses of ours are accepted.
pub(super) fn of_classes(context: &Context<'_>, out: &mut Vec<StatusUpdate>) {
    for object in context.view.objects.gateway_classes.iter() {
        if class(context, &object.meta.name).is_none() {
            continue;
        }
        let conditions = Conditions {
            old: &object.status.conditions,
            meta: &object.meta,
            now: context.now,
        };
        let new = api::GatewayClassStatus {
            conditions: vec![conditions.unless("Accepted", None)],
        };
        out.extend(update(
            Kind::GatewayClass,
            &object.meta,
            &object.status,
            &new,
        ));
    }
}

/// A route, for each of its parents that is ours; faults are those of its rules in gateways and, with `true`, in the
/// mesh. What other controllers say of it stays.
pub(super) fn of_route(
    context: &Context<'_>,
    route: &Route<'_>,
    parents: &[Parent],
    faults: &BTreeMap<bool, &Fault>,
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
        let ours = |p: &&api::RouteParentStatus| {
            p.controller_name == CONTROLLER && p.parent_ref == parent.reference
        };
        if new.iter().any(|p| ours(&p)) {
            continue;
        }
        let conditions = Conditions {
            old: route
                .status
                .parents
                .iter()
                .find(ours)
                .map(|p| p.conditions.as_slice())
                .unwrap_or_default(),
            meta: route.meta,
            now: context.now,
        };
        let accepted = match &parent.target {
            Target::Refused(refusal) => {
                let (reason, message) = refusal.told();
                conditions.make("Accepted", false, reason, message)
            }
            _ => conditions.unless("Accepted", None),
        };
        let fault = faults.get(&parent.target.is_mesh(&parent.reference));
        new.push(api::RouteParentStatus {
            parent_ref: parent.reference.clone(),
            controller_name: CONTROLLER.to_owned(),
            conditions: vec![accepted, conditions.unless("ResolvedRefs", fault.copied())],
        });
    }
    update(
        route.kind,
        route.meta,
        route.status,
        &api::RouteStatus { parents: new },
    )
}
