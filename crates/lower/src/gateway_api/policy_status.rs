//! What became of BackendTLSPolicies, as the status that says so: for each service that they name, and for each Gateway
//! whose routes lead to one.

use std::collections::{BTreeMap, BTreeSet};

use hawser_api::gateway_api as api;

use super::Route;
use super::backends::{Fault, Reference};
use super::classes::{CONTROLLER, WAYPOINTS};
use super::status::{Conditions, same};

/// Kind, namespace and name of a service.
pub(super) type Target = (String, String, String);

/// Gateways by the services that their routes lead to.
#[derive(Default)]
pub(super) struct Ancestors {
    gateways: BTreeMap<Target, BTreeSet<(String, String)>>,
}

impl Ancestors {
    /// Remembers a route's backends for its Gateways.
    pub(super) fn add<'a>(
        &mut self,
        route: &Route<'_>,
        backends: impl Iterator<Item = Reference<'a>>,
    ) {
        let own = route.meta.namespace.as_str();
        let gateways: BTreeSet<(String, String)> = route
            .parents
            .iter()
            .filter(|p| p.kind.as_deref().is_none_or(|k| k == "Gateway"))
            .map(|p| {
                let namespace = p.namespace.as_deref().unwrap_or(own);
                (namespace.to_owned(), p.name.clone())
            })
            .collect();
        if gateways.is_empty() {
            return;
        }
        for backend in backends {
            let target = (
                backend.kind.unwrap_or("Service").to_owned(),
                backend.namespace.unwrap_or(own).to_owned(),
                backend.name.to_owned(),
            );
            let known = self.gateways.entry(target).or_default();
            known.extend(gateways.iter().cloned());
        }
    }

    /// Gateways whose routes lead to a service.
    pub(super) fn of(&self, target: &Target) -> impl Iterator<Item = &(String, String)> {
        self.gateways.get(target).into_iter().flatten()
    }
}

/// What is wrong with a policy: the policy itself, and its references.
#[derive(Clone, Default)]
pub(super) struct Faults {
    pub accepted: Option<Fault>,
    pub resolved: Option<Fault>,
}

/// What there is to say of a policy: of its targets, then of the Gateways that lead to them.
pub(super) fn ancestors(
    conditions: &Conditions<'_>,
    old: &[api::PolicyAncestorStatus],
    targets: &[(&api::PolicyTargetReference, Faults)],
    gateways: &BTreeSet<(String, String)>,
) -> Vec<api::PolicyAncestorStatus> {
    let own = conditions.meta.namespace.as_str();
    let make = |reference: api::ParentReference, controller: &str, faults: &Faults| {
        let mut all = old.iter().filter(|a| a.controller_name == controller);
        let before = all.find(|a| same(&a.ancestor_ref, &reference, own));
        let conditions = Conditions {
            old: before.map(|a| a.conditions.as_slice()).unwrap_or_default(),
            meta: conditions.meta,
            now: conditions.now,
        };
        api::PolicyAncestorStatus {
            controller_name: controller.to_owned(),
            conditions: vec![
                conditions.unless("Accepted", faults.accepted.as_ref()),
                conditions.unless("ResolvedRefs", faults.resolved.as_ref()),
            ],
            ancestor_ref: reference,
        }
    };
    let mut out = Vec::new();
    for (target, faults) in targets {
        let reference = api::ParentReference {
            group: Some(target.group.clone()),
            kind: Some(target.kind.clone()),
            name: target.name.clone(),
            section_name: target.section_name.clone(),
            ..Default::default()
        };
        out.push(make(reference, WAYPOINTS[0], faults));
    }
    let mut all = targets.iter().map(|(_, faults)| faults);
    let worst = all.rfind(|f| f.accepted.is_some() || f.resolved.is_some());
    let worst = worst.cloned().unwrap_or_default();
    for (_, name) in gateways {
        let reference = api::ParentReference {
            group: Some("gateway.networking.k8s.io".to_owned()),
            kind: Some("Gateway".to_owned()),
            name: name.clone(),
            ..Default::default()
        };
        out.push(make(reference, CONTROLLER, &worst));
    }
    out
}
