//! BackendTLSPolicies: TLS towards a service, as a DestinationRule.

use std::collections::{BTreeMap, BTreeSet};

use hawser_api::Kind;
use hawser_model::traffic::{ClientTls, ClientTlsMode, DestinationRule, TrafficPolicy};
use hawser_model::{Labels, Meta, Problem, Shared, Str, Visibility};

use super::Context;
use crate::config::Converted;
use crate::names;
use crate::notes::{NOT_FOUND, Notes};

/// Lowers all policies; of several for one service and port, the oldest counts.
pub(super) fn convert(context: &Context<'_>, out: &mut Converted, problems: &mut Vec<Problem>) {
    let mut taken: BTreeSet<(String, String, String)> = BTreeSet::new();
    for policy in super::sorted(&context.view.objects.backend_tls_policies, context.view) {
        let mut notes = Notes::new(
            problems,
            context.view.id,
            Kind::BackendTlsPolicy,
            &policy.meta,
        );
        let namespace = policy.meta.namespace.as_str();
        let tls = client_tls(policy);
        for (i, target) in policy.spec.target_refs.iter().enumerate() {
            let section = target.section_name.clone().unwrap_or_default();
            let key = (namespace.to_owned(), target.name.clone(), section.clone());
            let service = context.view.objects.services.get(namespace, &target.name);
            let (true, Some(service)) = (target.kind == "Service", service) else {
                notes.error(
                    NOT_FOUND,
                    format!("spec.targetRefs[{i}]"),
                    format!("there is no Service {namespace}/{}", target.name),
                    "name a Service of the policy's namespace",
                );
                continue;
            };
            if !taken.insert(key) {
                notes.error(
                    crate::notes::CONFLICT,
                    format!("spec.targetRefs[{i}]"),
                    format!("an older BackendTLSPolicy has the Service {}", target.name),
                    "the older one counts; remove one of them",
                );
                continue;
            }
            let domain = &context.world.mesh.dns_domain;
            let Some(host) = names::service_host(&target.name, namespace, domain) else {
                continue;
            };
            let of_port = service
                .spec
                .ports
                .iter()
                .find(|p| !section.is_empty() && p.name == section)
                .and_then(|p| names::port(p.port));
            let whole = TrafficPolicy {
                tls: Some(tls.clone()),
                ..TrafficPolicy::default()
            };
            let policy_of_host = match (section.is_empty(), of_port) {
                (true, _) => whole,
                (false, Some(port)) => TrafficPolicy {
                    ports: BTreeMap::from([(port, whole)]),
                    ..TrafficPolicy::default()
                },
                (false, None) => {
                    notes.error(
                        NOT_FOUND,
                        format!("spec.targetRefs[{i}].sectionName"),
                        format!("the Service {} has no port {section:?}", target.name),
                        "name one of its ports",
                    );
                    continue;
                }
            };
            out.rules.push(DestinationRule {
                meta: Meta {
                    name: format!("{}~{}~{section}", policy.meta.name, target.name).into(),
                    ..names::meta(&policy.meta)
                },
                host,
                visibility: Visibility::Public,
                workload_selector: Labels::default(),
                policy: Some(Shared::new(policy_of_host)),
                subsets: Vec::new(),
            });
        }
    }
}

fn client_tls(
    policy: &hawser_api::Object<
        hawser_api::gateway_api::BackendTlsPolicySpec,
        hawser_api::gateway_api::PolicyStatus,
    >,
) -> ClientTls {
    let validation = &policy.spec.validation;
    let credential_name: Str = validation
        .ca_certificate_refs
        .first()
        .map(|r| {
            let scheme = if r.kind == "Secret" {
                "kubernetes"
            } else {
                "configmap"
            };
            format!("{scheme}://{}/{}", policy.meta.namespace, r.name).into()
        })
        .unwrap_or_default();
    let system = validation.well_known_ca_certificates.as_deref() == Some("System");
    let subject_alt_names: Vec<Str> = validation
        .subject_alt_names
        .iter()
        .filter_map(|s| s.hostname.as_deref().or(s.uri.as_deref()))
        .map(Into::into)
        .collect();
    ClientTls {
        mode: ClientTlsMode::Simple,
        ca_certificates: if system { "system" } else { "" }.into(),
        credential_name,
        subject_alt_names: if subject_alt_names.is_empty() {
            vec![validation.hostname.as_str().into()]
        } else {
            subject_alt_names
        },
        sni: validation.hostname.as_str().into(),
        ..ClientTls::default()
    }
}
