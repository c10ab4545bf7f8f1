//! What several kinds share: workload selectors, target references, exportTo.

use super::{Check, names};
use crate::meta::Labels;
use crate::selector::{LabelSelector, TargetRef, WorkloadSelector};
use std::collections::BTreeSet;

pub(super) fn label_selector(c: &mut Check, key: &str, labels: &Labels) {
    for (name, value) in labels {
        c.within(key, |c| {
            if name.is_empty() {
                c.error("a label's name must not be empty", "");
            }
            if name.contains('*') || value.contains('*') {
                c.error_at(
                    name,
                    format!("wildcards are not supported in a selector ({name}={value})"),
                    "leave the selector out to select everything",
                );
            }
        });
    }
}

/// A `matchLabels` selector.
pub(super) fn selector(c: &mut Check, selector: Option<&LabelSelector>) {
    let Some(selector) = selector else { return };
    c.within("selector", |c| {
        label_selector(c, "matchLabels", &selector.match_labels);
        if selector.match_labels.is_empty() {
            c.warn(
                "the selector has no labels, so it selects everything in the namespace",
                "remove it, or add matchLabels",
            );
        }
    });
}

/// A `labels` selector. False if it is so wrong that Istio looks no further.
pub(super) fn workload_selector(c: &mut Check, selector: Option<&WorkloadSelector>) -> bool {
    let Some(selector) = selector else {
        return true;
    };
    c.within("workloadSelector", |c| {
        let before = c.findings.len();
        label_selector(c, "labels", &selector.labels);
        if c.findings.len() > before {
            return false;
        }
        if selector.labels.is_empty() {
            c.warn(
                "the selector has no labels, so it selects everything in the namespace",
                "remove it, or add labels",
            );
        }
        true
    })
}

/// Selector and targets of a policy: at most one of them, and targets that policies can have.
pub(super) fn targets(
    c: &mut Check,
    by_labels: Option<&LabelSelector>,
    one: Option<&TargetRef>,
    many: &[TargetRef],
) {
    let set = [by_labels.is_some(), one.is_some(), !many.is_empty()];
    if set.iter().filter(|s| **s).count() > 1 {
        c.error(
            "only one of selector and targetRefs may be set",
            "keep one of them",
        );
    }
    selector(c, by_labels);
    if let Some(one) = one {
        c.within("targetRef", |c| target(c, one));
    }
    c.each("targetRefs", many, target);
}

fn target(c: &mut Check, target: &TargetRef) {
    if target.name.is_empty() {
        c.error_at("name", "must be set", "");
    }
    if !target.namespace.is_empty() {
        c.error_at(
            "namespace",
            "a target in another namespace is not supported",
            "remove the namespace",
        );
    }
    let allowed = matches!(
        (target.group.as_str(), target.kind.as_str()),
        ("" | "core", "Service")
            | ("networking.istio.io", "ServiceEntry")
            | ("gateway.networking.k8s.io", "Gateway" | "GatewayClass")
    );
    if !allowed {
        c.error(
            format!("a policy cannot target kind {} of group \"{}\"", target.kind, target.group),
            "use a Gateway or GatewayClass (group gateway.networking.k8s.io), a Service, or a ServiceEntry (group networking.istio.io)",
        );
    }
}

/// Where an object is visible.
pub(super) fn export_to(
    c: &mut Check,
    export_to: &[String],
    service_entry: bool,
    with_selector: bool,
) {
    let namespace = c.namespace().to_owned();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for (i, entry) in export_to.iter().enumerate() {
        let key = if entry == "." {
            namespace.as_str()
        } else {
            entry.as_str()
        };
        let at = format!("exportTo[{i}]");
        let length = c.path.len();
        c.path.push('.');
        c.path.push_str(&at);
        if seen.contains(key) {
            c.error(
                format!("\"{entry}\" stands twice in exportTo"),
                "remove one",
            );
        } else if key == "~" && !service_entry {
            c.error("~ (nowhere) is only for ServiceEntries", "remove it");
        } else if key == "*" || key == "~" || names::is_dns_label(key) {
            seen.insert(key);
        } else {
            c.error(
                format!("\"{entry}\" is not a namespace"),
                "use *, . or the name of a namespace",
            );
        }
        c.path.truncate(length);
    }
    c.within("exportTo", |c| {
        if with_selector && !seen.is_empty() {
            if !seen.contains(namespace.as_str()) {
                c.error(
                    "a rule with a workloadSelector is only for its own namespace",
                    "use exportTo: [\".\"], or leave it out",
                );
            } else if seen.len() > 1 {
                c.error(
                    "a rule with a workloadSelector cannot be exported to several namespaces",
                    "use exportTo: [\".\"]",
                );
            }
        }
        if seen.contains("*") && export_to.len() > 1 {
            c.error(
                "* already includes all other entries",
                "keep * alone, or remove it",
            );
        }
        if seen.contains("~") && export_to.len() > 1 {
            c.error(
                "~ (nowhere) contradicts the other entries",
                "keep ~ alone, or remove it",
            );
        }
    });
}

/// Labels by Kubernetes' rules.
pub(super) fn labels(c: &mut Check, key: &str, labels: &Labels) {
    c.entries(key, labels, |c, name, value| {
        if let Err(wrong) = names::label(name, value) {
            c.error(wrong.message, wrong.help);
        }
    });
}
