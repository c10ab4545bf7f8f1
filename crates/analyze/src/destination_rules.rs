//! DestinationRules: hosts that are nobody's, subsets that select nothing, TLS without verification.

use crate::codes::{
    NO_VERIFICATION, NO_VERIFICATION_ON_PORT, SUBSET_OF_ANOTHER, SUBSET_WITHOUT_PODS,
    UNKNOWN_RULE_HOST,
};
use crate::finding::{Finding, on, selector_text};
use crate::hosts::Host;
use crate::pods::selects;
use crate::world::{Obj, World};
use hawser_api::Kind;
use hawser_api::networking::{ClientTlsMode, ClientTlsSettings, DestinationRule};
use std::collections::BTreeSet;

/// Those that name a host: that it is missing is told already, and there is nothing to look for.
fn named(world: &World) -> impl Iterator<Item = &Obj<DestinationRule>> {
    let all = world.destination_rules.iter();
    all.filter(|rule| !rule.spec.host.is_empty())
}

/// Istio `destinationrule.CaCertificateAnalyzer`.
pub fn verification(world: &World) -> Vec<Finding> {
    let mut out = Vec::new();
    for rule in named(world) {
        let Some(policy) = &rule.spec.traffic_policy else {
            continue;
        };
        let object = || on(Kind::DestinationRule, &rule.meta);
        let help = "set caCertificates, or credentialName with a CA, so that the server's certificate is verified";
        // Only a rule for some workloads may take credentials from a Secret, and with them its CA.
        let selective = rule.spec.workload_selector.is_some();
        if let Some(mode) = unverified(policy.tls.as_ref(), selective) {
            let message = format!(
                "TLS mode {mode} without caCertificates: nobody verifies who {} is",
                rule.spec.host
            );
            out.push(
                Finding::new(NO_VERIFICATION, object(), "spec.trafficPolicy.tls", message)
                    .help(help),
            );
        }
        for (i, settings) in policy.port_level_settings.iter().enumerate() {
            if let Some(mode) = unverified(settings.tls.as_ref(), selective) {
                let port = settings.port.as_ref().map_or(0, |p| p.number);
                let message = format!(
                    "TLS mode {mode} without caCertificates on port {port}: nobody verifies who {} is",
                    rule.spec.host
                );
                let path = format!("spec.trafficPolicy.portLevelSettings[{i}].tls");
                out.push(Finding::new(NO_VERIFICATION_ON_PORT, object(), path, message).help(help));
            }
        }
    }
    out
}

fn unverified(tls: Option<&ClientTlsSettings>, selective: bool) -> Option<&'static str> {
    let tls = tls?;
    let verifies = !matches!(tls.mode, ClientTlsMode::Simple | ClientTlsMode::Mutual)
        || !tls.ca_certificates.is_empty()
        || (selective && !tls.credential_name.is_empty());
    (!verifies).then(|| tls.mode.as_str())
}

/// Istio `destinationrule.SubsetSelectPodAnalyzer`, and subsets whose pods are another service's.
pub fn subsets(world: &World) -> Vec<Finding> {
    let mut out = Vec::new();
    for rule in named(world) {
        let object = || on(Kind::DestinationRule, &rule.meta);
        let namespace = &rule.meta.namespace;
        let host = &rule.spec.host;
        let Some(known) = world.hosts.find(namespace, &rule.spec.export_to, host) else {
            let message = format!("host {host} is no service of the mesh");
            let help = match world.hosts.nearest(namespace, host) {
                Some(near) => format!("did you mean {near}?"),
                None => {
                    "name a Service or a host of a ServiceEntry that is exported to this namespace"
                        .to_owned()
                }
            };
            out.push(Finding::new(UNKNOWN_RULE_HOST, object(), "spec.host", message).help(help));
            continue;
        };
        let mut seen = BTreeSet::new();
        // Of subsets with the same name the last one counts.
        for (i, subset) in rule.spec.subsets.iter().enumerate().rev() {
            if !seen.insert(&subset.name) {
                continue;
            }
            let mut labels = known.workloads.clone();
            labels.extend(subset.labels.clone());
            let path = format!("spec.subsets[{i}].labels");
            if world.shared.pods.select_subset(&labels).next().is_none() {
                let message = format!("subset {} selects no pod", subset.name);
                let labels = selector_text(&labels);
                let help = if known.service.is_some() {
                    format!(
                        "calls to it find no endpoint; correct the labels ({labels}), or remove the subset"
                    )
                } else {
                    // Istio looks at pods alone, and so its users expect.
                    format!(
                        "only pods are looked at: if a WorkloadEntry or an endpoint of the ServiceEntry has the labels ({labels}), all is well"
                    )
                };
                out.push(Finding::new(SUBSET_WITHOUT_PODS, object(), path, message).help(help));
            } else if !has_pod_of_service(world, known, &labels) {
                let message = format!(
                    "subset {} selects no pod of the service, only pods of others",
                    subset.name
                );
                let help = format!(
                    "correct the labels ({}), or give them to the service's pods",
                    selector_text(&labels)
                );
                out.push(Finding::new(SUBSET_OF_ANOTHER, object(), path, message).help(help));
            }
        }
    }
    out
}

/// Whether a pod that the Service selects is in the subset; of other hosts it is not known.
fn has_pod_of_service(world: &World, host: &Host, labels: &hawser_api::Labels) -> bool {
    let Some((namespace, name)) = &host.service else {
        return true;
    };
    let mut selectors = world
        .shared
        .services
        .named(namespace, name)
        .map(|s| &s.object.spec.selector)
        .peekable();
    if selectors.peek().is_none() {
        return true;
    }
    selectors.any(|selector| {
        // A Service without a selector has endpoints of somebody else's making.
        selector.is_empty() || {
            let mut pods = world.shared.pods.select_in(namespace, selector);
            pods.any(|pod| selects(labels, &pod.subset_labels))
        }
    })
}
