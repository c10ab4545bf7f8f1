//! BackendTLSPolicies: TLS towards a service, as a DestinationRule for each host (Istio's `backend_policies.go`).

use std::collections::{BTreeMap, BTreeSet};

use hawser_api::gateway_api as api;
use hawser_api::{Kind, Object};
use hawser_model::traffic::{ClientTls, ClientTlsMode, DestinationRule, TrafficPolicy};
use hawser_model::{Hostname, Labels, Meta, Problem, Shared, Str, Visibility};

use super::Context;
use super::backends::Fault;
use super::policy_status::{Ancestors, Faults, ancestors};
use super::status::{Conditions, update};
use super::tls;
use crate::config::Converted;
use crate::names::{self, service_host};
use crate::notes::{CONFLICT, NOT_FOUND, Notes, UNSUPPORTED};

type Policy = Object<api::BackendTlsPolicySpec, api::PolicyStatus>;

/// The credential of a policy whose roots cannot be had: there is none of that name, so nothing gets through.
const NO_ROOTS: &str = "invalid://";

/// What all policies say of one host.
struct Host {
    name: String,
    namespace: Str,
    policy: TrafficPolicy,
}

/// A service that a policy names: its hosts and ports.
struct Target {
    hosts: Vec<Hostname>,
    ports: Vec<(String, u16)>,
}

/// Lowers all policies, oldest first; of several for one host or port, the oldest counts.
pub(super) fn convert(
    context: &Context<'_>,
    gateways: &Ancestors,
    out: &mut Converted,
    problems: &mut Vec<Problem>,
) {
    let mut hosts: BTreeMap<(Str, Hostname), Host> = BTreeMap::new();
    for policy in super::sorted(&context.view.objects.backend_tls_policies, context.view) {
        let mut notes = Notes::new(
            problems,
            context.view.id,
            Kind::BackendTlsPolicy,
            &policy.meta,
        );
        let (tls, common) = client_tls(context, policy, &mut notes);
        let mut told = Vec::new();
        let mut known: BTreeSet<(String, String)> = BTreeSet::new();
        for (i, reference) in policy.spec.target_refs.iter().enumerate() {
            let field = format!("spec.targetRefs[{i}]");
            let mut faults = common.clone();
            match target(context, policy, reference) {
                Ok(found) => {
                    let conflict = put(
                        &mut hosts, policy, reference, &found, &tls, &field, &mut notes,
                    );
                    faults.accepted = conflict.or(faults.accepted);
                    let key = (
                        reference.kind.clone(),
                        policy.meta.namespace.clone(),
                        reference.name.clone(),
                    );
                    known.extend(gateways.of(&key).cloned());
                }
                Err(message) => {
                    let help = "name a Service or ServiceEntry of the policy's namespace, and one of its ports";
                    notes.error(NOT_FOUND, field, message.clone(), help);
                    faults.accepted = Some(Fault::new("TargetNotFound", message));
                }
            }
            told.push((reference, faults));
        }
        let conditions = Conditions {
            old: &[],
            meta: &policy.meta,
            now: context.now,
        };
        let new = api::PolicyStatus {
            ancestors: ancestors(&conditions, &policy.status.ancestors, &told, &known),
        };
        let kind = Kind::BackendTlsPolicy;
        out.statuses
            .extend(update(kind, &policy.meta, &policy.status, &new));
    }
    out.rules
        .extend(hosts.into_iter().map(|((_, host), of)| DestinationRule {
            meta: Meta {
                created_s: 0,
                name: of.name.as_str().into(),
                namespace: of.namespace,
            },
            host,
            visibility: Visibility::Public,
            workload_selector: Labels::default(),
            by_policy: true,
            policy: Some(Shared::new(of.policy)),
            subsets: Vec::new(),
        }));
}

/// What a target reference names, or what is wrong with it.
fn target(
    context: &Context<'_>,
    policy: &Policy,
    reference: &api::PolicyTargetReference,
) -> Result<Target, String> {
    let namespace = policy.meta.namespace.as_str();
    let objects = context.view.objects;
    let name = reference.name.as_str();
    let missing = || format!("there is no {} {namespace}/{name}", reference.kind);
    let found = match (reference.group.as_str(), reference.kind.as_str()) {
        ("" | "core", "Service") => {
            let service = objects.services.get(namespace, name).ok_or_else(missing)?;
            let domain = &context.world.mesh.dns_domain;
            let ports = service.spec.ports.iter();
            Target {
                hosts: service_host(name, namespace, domain).into_iter().collect(),
                ports: ports
                    .filter_map(|p| Some((p.name.clone(), names::port(p.port)?)))
                    .collect(),
            }
        }
        ("networking.istio.io", "ServiceEntry") => {
            let entries = &objects.service_entries;
            let entry = entries.get(namespace, name).ok_or_else(missing)?;
            let hosts = entry.spec.hosts.iter();
            let ports = entry.spec.ports.iter();
            Target {
                hosts: hosts.filter_map(|h| Hostname::parse(h).ok()).collect(),
                ports: ports
                    .filter_map(|p| Some((p.name.clone(), names::port(p.number)?)))
                    .collect(),
            }
        }
        (group, kind) => return Err(format!("a {kind} of group {group:?} cannot be a target")),
    };
    match section(reference) {
        Some(section) if !found.ports.iter().any(|(name, _)| name == section) => Err(format!(
            "the {} {name} has no port {section:?}",
            reference.kind
        )),
        _ => Ok(found),
    }
}

/// The name of the port that a reference is for alone.
fn section(reference: &api::PolicyTargetReference) -> Option<&str> {
    reference.section_name.as_deref().filter(|s| !s.is_empty())
}

/// Adds a policy to the hosts that it is for; where an older one was first, that is what comes back.
fn put(
    hosts: &mut BTreeMap<(Str, Hostname), Host>,
    policy: &Policy,
    reference: &api::PolicyTargetReference,
    target: &Target,
    tls: &ClientTls,
    field: &str,
    notes: &mut Notes<'_>,
) -> Option<Fault> {
    let namespace: Str = policy.meta.namespace.as_str().into();
    let mut conflict = None;
    for host in &target.hosts {
        let key = (namespace.clone(), host.clone());
        let of = hosts.entry(key).or_insert_with(|| Host {
            name: rule_name(reference, host),
            namespace: namespace.clone(),
            policy: TrafficPolicy::default(),
        });
        let port = section(reference).and_then(|section| {
            let mut ports = target.ports.iter();
            ports.find(|(name, _)| name == section).map(|(_, n)| *n)
        });
        let slot = match port {
            None => &mut of.policy.tls,
            Some(port) => &mut of.policy.ports.entry(port).or_default().tls,
        };
        if slot.is_some() {
            let message = format!("an older BackendTLSPolicy has the host {host}");
            let help = "the older one counts; remove one of them";
            notes.error(CONFLICT, field, message.clone(), help);
            conflict = Some(Fault::new("Conflicted", message));
            continue;
        }
        *slot = Some(tls.clone());
    }
    conflict
}

/// Istio's name for the rule of a host.
fn rule_name(reference: &api::PolicyTargetReference, host: &Hostname) -> String {
    let name = &reference.name;
    if reference.kind == "ServiceEntry" {
        let host = host.as_str().replace('.', "-");
        format!("{name}~{host}~istio-autogenerated-k8s-gateway")
    } else {
        format!("{name}~istio-autogenerated-k8s-gateway")
    }
}

/// What a policy asks of a connection.
fn client_tls(
    context: &Context<'_>,
    policy: &Policy,
    notes: &mut Notes<'_>,
) -> (ClientTls, Faults) {
    let validation = &policy.spec.validation;
    let (credential_name, faults) = roots(context, policy, notes);
    let names = validation
        .subject_alt_names
        .iter()
        .filter_map(|san| match san.type_.as_str() {
            "Hostname" => san.hostname.as_deref(),
            "URI" => san.uri.as_deref(),
            _ => None,
        });
    let mut names: Vec<Str> = names.map(Into::into).collect();
    if names.is_empty() {
        // The certificate must be the backend's own, whoever else has one of these roots.
        names.push(validation.hostname.as_str().into());
    }
    let tls = ClientTls {
        mode: ClientTlsMode::Simple,
        credential_name,
        subject_alt_names: names,
        sni: validation.hostname.as_str().into(),
        ..ClientTls::default()
    };
    (tls, faults)
}

/// The credential that holds a policy's roots; an empty one is the system's.
fn roots(context: &Context<'_>, policy: &Policy, notes: &mut Notes<'_>) -> (Str, Faults) {
    let validation = &policy.spec.validation;
    if let Some(known) = validation.well_known_ca_certificates.as_deref() {
        let message = format!("there are no well-known roots {known:?}; write System");
        let accepted = (known != "System").then(|| Fault::new("Invalid", message));
        let faults = Faults {
            accepted,
            resolved: None,
        };
        return (Str::default(), faults);
    }
    let Some(reference) = validation.ca_certificate_refs.first() else {
        return (Str::default(), Faults::default());
    };
    if validation.ca_certificate_refs.len() > 1 {
        notes.warn(
            UNSUPPORTED,
            "spec.validation.caCertificateRefs",
            "only the first reference counts",
            "put all roots into one ConfigMap",
        );
    }
    let (namespace, name) = (policy.meta.namespace.as_str(), reference.name.as_str());
    let kind = reference.kind.as_str();
    let fault = match (reference.group.as_str(), kind) {
        ("" | "core", "ConfigMap") => match tls::config_map(context, namespace, name) {
            Some(true) => {
                let credential = format!("configmap://{namespace}/{name}");
                return (credential.into(), Faults::default());
            }
            Some(false) => Fault::new(
                "InvalidCACertificateRef",
                format!("the ConfigMap {namespace}/{name} has no roots (ca.crt)"),
            ),
            None => Fault::new(
                "InvalidCACertificateRef",
                format!("there is no ConfigMap {namespace}/{name}"),
            ),
        },
        _ => Fault::new(
            "InvalidKind",
            format!("a {kind} cannot hold a policy's roots; use a ConfigMap"),
        ),
    };
    let field = "spec.validation.caCertificateRefs";
    let help = "without roots nothing gets through; create the ConfigMap, with key ca.crt";
    notes.error(NOT_FOUND, field, fault.message.clone(), help);
    let faults = Faults {
        accepted: Some(Fault::new("NoValidCACertificate", fault.message.clone())),
        resolved: Some(fault),
    };
    (NO_ROOTS.into(), faults)
}
