//! What became of Gateways and ListenerSets, as the statuses that say so.

use std::collections::BTreeSet;

use hawser_api::status::Condition;
use hawser_api::{Kind, gateway_api as api};
use hawser_model::ServiceKey;

use super::Context;
use super::backends::Fault;
use super::classes::Class;
use super::listener_sets::Attached;
use super::listeners::{Listener, OwnGateway, OwnerKind, Written, supported_kinds};
use super::status::{Conditions, update};
use super::tls;
use crate::config::StatusUpdate;

/// Which kind of address a Gateway wants told, if it has none from outside.
const ADDRESS_TYPE: &str = "networking.istio.io/address-type";

/// Gateways of our classes, with each of their listeners, and their ListenerSets.
pub(super) fn of_gateways(
    context: &Context<'_>,
    gateways: &[OwnGateway<'_>],
    listeners: &[Listener<'_>],
    out: &mut Vec<StatusUpdate>,
) {
    for gateway in gateways {
        let written = gateway.written;
        let new = match gateway.class {
            Class::Istio => of_gateway(context, gateway, listeners),
            Class::Remote => of_remote(context, written),
        };
        let kind = Kind::K8sGateway;
        out.extend(update(kind, &written.meta, &written.status, &new));
        for set in &gateway.sets {
            let new = of_set(context, gateway, set, listeners);
            let (meta, old) = (&set.written.meta, &set.written.status);
            out.extend(update(Kind::ListenerSet, meta, old, &new));
        }
    }
}

/// A Gateway that stands for another is as it says.
fn of_remote(context: &Context<'_>, gateway: &Written) -> api::GatewayStatus {
    let conditions = Conditions {
        old: &gateway.status.conditions,
        meta: &gateway.meta,
        now: context.now,
    };
    api::GatewayStatus {
        addresses: gateway.spec.addresses.clone(),
        conditions: vec![
            conditions.unless("Accepted", None),
            conditions.make(
                "Programmed",
                true,
                "Programmed",
                "it stands for a gateway elsewhere, which nothing here configures",
            ),
        ],
        listeners: Vec::new(),
        attached_listener_sets: None,
    }
}

fn of_gateway(
    context: &Context<'_>,
    gateway: &OwnGateway<'_>,
    listeners: &[Listener<'_>],
) -> api::GatewayStatus {
    let written = gateway.written;
    let own: Vec<&Listener<'_>> = listeners
        .iter()
        .filter(|l| l.is_of(OwnerKind::Gateway, &written.meta))
        .collect();
    let opened = listeners
        .iter()
        .filter(|l| std::ptr::eq(l.gateway, written) && l.server_wanted());
    let reach = Reach::of(context, &gateway.services, opened.map(|l| l.spec.port));
    let conditions = Conditions {
        old: &written.status.conditions,
        meta: &written.meta,
        now: context.now,
    };
    let good = own.iter().filter(|l| is_good(l)).count();
    let accepted = match &gateway.fault {
        Some(_) => conditions.unless("Accepted", gateway.fault.as_ref()),
        None if good == own.len() => conditions.unless("Accepted", None),
        None => conditions.make(
            "Accepted",
            good > 0,
            "ListenersNotValid",
            "some listeners are not valid; see their conditions",
        ),
    };
    let mut told = vec![accepted];
    if is_lax(written) {
        told.push(conditions.make(
            "InsecureFrontendValidationMode",
            true,
            "ConfigurationChanged",
            "clients whose certificates are not valid are let in",
        ));
    }
    told.push(reach.programmed(&conditions));
    let client = client_certificate(context, written);
    told.push(conditions.unless("ResolvedRefs", client.as_ref()));
    let sets: BTreeSet<_> = gateway
        .sets
        .iter()
        .filter(|set| {
            listeners
                .iter()
                .any(|l| l.is_of(OwnerKind::ListenerSet, &set.written.meta) && is_good(l))
        })
        .map(|set| (&set.written.meta.namespace, &set.written.meta.name))
        .collect();
    let mut addresses = reach.addresses(written);
    if addresses.is_empty() {
        // What was told once stays: somebody may rely on it.
        addresses.clone_from(&written.status.addresses);
    }
    api::GatewayStatus {
        addresses,
        conditions: told,
        listeners: own
            .iter()
            .map(|l| of_listener(context, l, &written.status.listeners))
            .collect(),
        attached_listener_sets: i32::try_from(sets.len()).ok().filter(|n| *n > 0),
    }
}

/// Whether a Gateway lets clients in without checking them.
fn is_lax(gateway: &Written) -> bool {
    let Some(frontend) = gateway.spec.tls.as_ref().and_then(|t| t.frontend.as_ref()) else {
        return false;
    };
    let ports = frontend.per_port.iter().map(|p| &p.tls);
    let mut all = ports.chain([&frontend.default]);
    all.any(|config| {
        let mode = config.validation.as_ref().and_then(|v| v.mode.as_deref());
        mode == Some("AllowInsecureFallback")
    })
}

/// What is wrong with the certificate that a Gateway wants shown to backends.
fn client_certificate(context: &Context<'_>, gateway: &Written) -> Option<Fault> {
    let backend = gateway.spec.tls.as_ref()?.backend.as_ref()?;
    let reference = backend.client_certificate_ref.as_ref()?;
    let owner = super::listeners::Owner {
        kind: OwnerKind::Gateway,
        meta: &gateway.meta,
    };
    let fault = tls::certificate(context, owner, reference).err()?;
    Some(match fault.reason {
        "InvalidCertificateRef" => Fault::new("InvalidClientCertificateRef", fault.message),
        _ => fault,
    })
}

/// A listener opens its port, or holds a place for others that do.
fn is_good(listener: &Listener<'_>) -> bool {
    listener.faults.is_empty() && listener.conflict.is_none()
}

fn of_set(
    context: &Context<'_>,
    gateway: &OwnGateway<'_>,
    set: &Attached<'_>,
    listeners: &[Listener<'_>],
) -> api::ListenerSetStatus {
    let written = set.written;
    let conditions = Conditions {
        old: &written.status.conditions,
        meta: &written.meta,
        now: context.now,
    };
    if let Some(message) = &set.refused {
        return api::ListenerSetStatus {
            conditions: vec![
                conditions.make("Accepted", false, "NotAllowed", message),
                conditions.make("Programmed", false, "NotAllowed", message),
            ],
            listeners: Vec::new(),
        };
    }
    let own: Vec<&Listener<'_>> = listeners
        .iter()
        .filter(|l| l.is_of(OwnerKind::ListenerSet, &written.meta))
        .collect();
    let ports = own.iter().filter(|l| l.server_wanted());
    let reach = Reach::of(context, &gateway.services, ports.map(|l| l.spec.port));
    let bad = "no listener is valid; see their conditions";
    let (accepted, programmed) = match &gateway.fault {
        Some(fault) => (
            conditions.unless("Accepted", Some(fault)),
            reach.programmed(&conditions),
        ),
        None if own.iter().any(|l| is_good(l)) => (
            conditions.unless("Accepted", None),
            reach.programmed(&conditions),
        ),
        None => (
            conditions.make("Accepted", false, "ListenersNotValid", bad),
            conditions.make("Programmed", false, "ListenersNotValid", bad),
        ),
    };
    api::ListenerSetStatus {
        conditions: vec![accepted, programmed],
        listeners: own
            .iter()
            .map(|l| of_listener(context, l, &written.status.listeners))
            .collect(),
    }
}

fn of_listener(
    context: &Context<'_>,
    listener: &Listener<'_>,
    old: &[api::ListenerStatus],
) -> api::ListenerStatus {
    let conditions = Conditions {
        old: old
            .iter()
            .find(|o| o.name == listener.spec.name)
            .map(|o| o.conditions.as_slice())
            .unwrap_or_default(),
        meta: listener.owner.meta,
        now: context.now,
    };
    let (kinds, all) = supported_kinds(&listener.spec);
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
        conditions: match listener.conflict {
            Some(reason) => conflicted(&conditions, reason),
            None => settled(&conditions, listener, all),
        },
    }
}

fn conflicted(conditions: &Conditions<'_>, reason: &str) -> Vec<Condition> {
    let message = "an earlier listener of the Gateway has this port for itself";
    vec![
        conditions.make("Accepted", false, reason, message),
        conditions.make("Conflicted", true, reason, message),
        conditions.make("Programmed", false, reason, message),
    ]
}

fn settled(
    conditions: &Conditions<'_>,
    listener: &Listener<'_>,
    all_kinds: bool,
) -> Vec<Condition> {
    let fault = |of: &str| listener.faults.iter().find(|f| f.0 == of).map(|f| &f.1);
    let kinds = Fault::new(
        "InvalidRouteKinds",
        "allowedRoutes.kinds has kinds that a listener of this protocol does not take",
    );
    vec![
        conditions.unless("Accepted", fault("Accepted")),
        conditions.make("Conflicted", false, "NoConflicts", ""),
        if listener.faults.is_empty() {
            conditions.unless("Programmed", None)
        } else {
            conditions.make("Programmed", false, "Invalid", "see the other conditions")
        },
        conditions.unless(
            "ResolvedRefs",
            (!all_kinds).then_some(&kinds).or(fault("ResolvedRefs")),
        ),
    ]
}

/// Where the services of a Gateway can be reached (Istio's `ResolveGatewayInstances`, but for whether their pods are
/// there: a status must not change with every pod).
#[derive(Default)]
struct Reach {
    /// Services, `host:port`.
    inside: BTreeSet<String>,
    /// Hosts of these services.
    hosts: BTreeSet<String>,
    /// Their addresses in the cluster.
    cluster_ips: BTreeSet<String>,
    /// Those from outside.
    outside: BTreeSet<String>,
    /// What is missing.
    warnings: BTreeSet<String>,
    /// Some service or port is not there at all.
    unusable: bool,
    /// No address names a service.
    nothing: bool,
}

impl Reach {
    fn of(
        context: &Context<'_>,
        services: &[ServiceKey],
        ports: impl Iterator<Item = i32>,
    ) -> Self {
        let ports: BTreeSet<u16> = ports.filter_map(crate::names::port).collect();
        let mut out = Self {
            nothing: services.is_empty(),
            ..Self::default()
        };
        for key in services {
            match context.catalogue.get(key) {
                Some(definition) => out.add(context, definition, &ports),
                None => {
                    out.unusable = true;
                    out.warnings.insert(format!(
                        "namespace {} has no service {}",
                        key.namespace, key.host
                    ));
                }
            }
        }
        out
    }

    fn add(
        &mut self,
        context: &Context<'_>,
        definition: &crate::catalogue::Definition,
        ports: &BTreeSet<u16>,
    ) {
        let service = &definition.service;
        for port in ports {
            if !service.ports.iter().any(|p| p.number == *port) {
                self.unusable = true;
                self.warnings
                    .insert(format!("the service {} has no port {port}", service.host));
                continue;
            }
            self.inside.insert(format!("{}:{port}", service.host));
            let inside = service.addresses.get(context.view.id).into_iter().flatten();
            self.cluster_ips
                .extend(inside.map(|net| net.addr().to_string()));
            let outside = service.external_addresses.values().flatten();
            let outside: Vec<String> = outside.map(ToString::to_string).collect();
            let balanced = definition
                .kubernetes
                .values()
                .any(|s| s.spec.type_.as_str() == "LoadBalancer");
            if outside.is_empty() && balanced {
                self.warnings
                    .insert(format!("the service {} has no address yet", service.host));
            } else {
                self.hosts.insert(service.host.to_string());
            }
            self.outside.extend(outside);
        }
    }

    fn programmed(&self, conditions: &Conditions<'_>) -> Condition {
        let make =
            |good, reason, message: &str| conditions.make("Programmed", good, reason, message);
        if self.nothing {
            return make(false, "UnsupportedAddress", "no address names a service");
        }
        if self.warnings.is_empty() {
            let all: Vec<&str> = self.inside.iter().map(String::as_str).collect();
            return make(true, "Programmed", &format!("it is {}", all.join(", ")));
        }
        let reason = if self.unusable {
            "AddressNotUsable"
        } else {
            "AddressNotAssigned"
        };
        let all: Vec<&str> = self.warnings.iter().map(String::as_str).collect();
        make(false, reason, &all.join("; "))
    }

    /// Addresses from outside, else those within the cluster: by name, unless the Gateway wants numbers.
    fn addresses(&self, gateway: &Written) -> Vec<api::GatewayAddress> {
        let wanted = gateway.annotation(ADDRESS_TYPE).unwrap_or("Hostname");
        let told: Vec<&String> = if !self.outside.is_empty() {
            self.outside.iter().collect()
        } else if wanted == "IPAddress" {
            self.cluster_ips.iter().collect()
        } else {
            self.hosts.iter().collect()
        };
        let told = told.into_iter().cloned();
        told.map(|value| {
            let number = value.parse::<std::net::IpAddr>().is_ok();
            let type_ = if number { "IPAddress" } else { "Hostname" };
            api::GatewayAddress {
                type_: Some(type_.to_owned()),
                value,
            }
        })
        .collect()
    }
}
