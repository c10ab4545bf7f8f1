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
use crate::statuses::merged;

/// The group of a reference that names none.
const GROUP: &str = "gateway.networking.k8s.io";

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

/// An update, unless the object says so already. What others say of it is left to whoever writes.
pub(super) fn update<T: Field + PartialEq>(
    kind: Kind,
    meta: &hawser_api::Meta,
    old: &T,
    new: &T,
) -> Option<StatusUpdate> {
    if old == new {
        return None;
    }
    let object = ObjectRef {
        kind,
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
    };
    let (live, status) = (old.write(), new.write());
    (merged(&object, &live, &status) != live).then_some(StatusUpdate { object, status })
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
/// mesh.
pub(super) fn of_route(
    context: &Context<'_>,
    route: &Route<'_>,
    parents: &[Parent],
    faults: &BTreeMap<bool, &Fault>,
) -> Option<StatusUpdate> {
    let own = route.meta.namespace.as_str();
    let mut new: Vec<api::RouteParentStatus> = Vec::new();
    for parent in parents {
        if matches!(parent.target, Target::NotOurs) {
            continue;
        }
        let said = |p: &&api::RouteParentStatus| same(&p.parent_ref, &parent.reference, own);
        if new.iter().any(|p| said(&p)) {
            continue;
        }
        let mut before = route.status.parents.iter();
        let conditions = Conditions {
            old: before
                .find(|p| p.controller_name == CONTROLLER && said(p))
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

/// True if two references of an object of that namespace name the same, whatever of it they leave to defaults.
pub(super) fn same(a: &api::ParentReference, b: &api::ParentReference, own: &str) -> bool {
    let place = |r: &api::ParentReference| {
        (
            r.group.clone().unwrap_or_else(|| GROUP.to_owned()),
            r.kind.clone().unwrap_or_else(|| "Gateway".to_owned()),
            r.namespace.clone().unwrap_or_else(|| own.to_owned()),
        )
    };
    (&a.name, &a.section_name, a.port) == (&b.name, &b.section_name, b.port) && place(a) == place(b)
}
