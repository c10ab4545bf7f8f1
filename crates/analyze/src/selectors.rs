//! Sidecars and Telemetries of which two apply to one pod, or none to any.

use crate::codes::{
    CONFLICTING_SIDECARS, CONFLICTING_TELEMETRIES, Code, NOT_FOUND, POLICY_WITHOUT_EFFECT,
    SEVERAL_DEFAULT_SIDECARS, SEVERAL_DEFAULT_TELEMETRIES,
};
use crate::finding::{Finding, list, on, selector_text};
use crate::injection::{INJECTION, MODE, REVISION};
use crate::pods::Pod;
use crate::world::World;
use hawser_api::{Kind, Labels, Meta};
use std::collections::BTreeMap;

/// An object with a selector, or that applies to its namespace.
struct Policy<'a> {
    meta: &'a Meta,
    selector: Option<&'a Labels>,
}

/// Istio `sidecar.SelectorAnalyzer`.
pub fn sidecars(world: &World) -> Vec<Finding> {
    let policies: Vec<Policy<'_>> = world
        .sidecars
        .iter()
        .map(|s| Policy {
            meta: &s.meta,
            selector: s
                .spec
                .workload_selector
                .as_ref()
                .map(|w| &w.labels)
                .filter(|labels| !labels.is_empty()),
        })
        .collect();
    let mut out = Vec::new();
    let by_pod = by_pod(
        world,
        Kind::Sidecar,
        "spec.workloadSelector.labels",
        &policies,
        &mut out,
    );
    for (pod, sidecars) in by_pod {
        if pod.is_ambient() {
            for sidecar in sidecars {
                let message =
                    "a pod that it selects is in ambient mode: it has no sidecar to configure";
                out.push(Finding::new(
                    POLICY_WITHOUT_EFFECT,
                    on(Kind::Sidecar, sidecar.meta),
                    "spec.workloadSelector",
                    message,
                ));
            }
        } else {
            conflict(
                CONFLICTING_SIDECARS,
                Kind::Sidecar,
                pod,
                &sidecars,
                &mut out,
            );
        }
    }
    for (namespace, sidecars) in by_namespace(&policies) {
        let labels = world.namespaces.get(namespace);
        let injected = labels.is_some_and(|n| {
            n.label(INJECTION) == Some("enabled")
                || n.label(REVISION).is_some_and(|r| !r.is_empty())
        });
        let ambient = !injected && labels.is_some_and(|n| n.label(MODE) == Some("ambient"));
        if ambient {
            for sidecar in sidecars {
                let message =
                    "its namespace is in ambient mode: there are no sidecars to configure";
                out.push(Finding::new(
                    POLICY_WITHOUT_EFFECT,
                    on(Kind::Sidecar, sidecar.meta),
                    "metadata.namespace",
                    message,
                ));
            }
        } else {
            several(
                SEVERAL_DEFAULT_SIDECARS,
                Kind::Sidecar,
                namespace,
                &sidecars,
                &mut out,
            );
        }
    }
    out
}

/// Istio `telemetry.SelectorAnalyzer` and `telemetry.DefaultSelectorAnalyzer`.
pub fn telemetries(world: &World) -> Vec<Finding> {
    let policy = |labels_of_none: bool| {
        let all = world.telemetries.iter().map(move |t| {
            let selector = t.spec.selector.as_ref().map(|s| &s.match_labels);
            Policy {
                meta: &t.meta,
                selector: selector.filter(|labels| labels_of_none || !labels.is_empty()),
            }
        });
        all.collect::<Vec<_>>()
    };
    let mut out = Vec::new();
    for (pod, telemetries) in by_pod(
        world,
        Kind::Telemetry,
        "spec.selector.matchLabels",
        &policy(false),
        &mut out,
    ) {
        conflict(
            CONFLICTING_TELEMETRIES,
            Kind::Telemetry,
            pod,
            &telemetries,
            &mut out,
        );
    }
    // A selector without labels is one all the same; targetRefs are none.
    let policies = policy(true);
    for (namespace, telemetries) in by_namespace(&policies) {
        several(
            SEVERAL_DEFAULT_TELEMETRIES,
            Kind::Telemetry,
            namespace,
            &telemetries,
            &mut out,
        );
    }
    out
}

/// Which policies select each pod; those that select none are found here.
fn by_pod<'a>(
    world: &'a World,
    kind: Kind,
    path: &str,
    policies: &[Policy<'a>],
    out: &mut Vec<Finding>,
) -> Vec<(&'a Pod, Vec<Policy<'a>>)> {
    let mut by_pod: BTreeMap<(&str, &str, usize), (&Pod, Vec<Policy<'a>>)> = BTreeMap::new();
    for policy in policies {
        let Some(selector) = policy.selector else {
            continue;
        };
        let mut somebody = false;
        for pod in world
            .shared
            .pods
            .select_in(&policy.meta.namespace, selector)
        {
            somebody = true;
            let key = (pod.namespace(), pod.name(), pod.cluster);
            by_pod
                .entry(key)
                .or_insert_with(|| (pod, Vec::new()))
                .1
                .push(Policy { ..*policy });
        }
        if !somebody {
            let message = format!(
                "no pod of the namespace has the labels of the selector ({})",
                selector_text(selector)
            );
            out.push(
                Finding::new(NOT_FOUND, on(kind, policy.meta), path, message)
                    .help("select labels that pods of the namespace have"),
            );
        }
    }
    by_pod.into_values().collect()
}

fn by_namespace<'a, 'b>(policies: &'b [Policy<'a>]) -> BTreeMap<&'a str, Vec<&'b Policy<'a>>> {
    let mut out: BTreeMap<&str, Vec<&Policy<'_>>> = BTreeMap::new();
    for policy in policies.iter().filter(|p| p.selector.is_none()) {
        out.entry(&policy.meta.namespace).or_default().push(policy);
    }
    out
}

fn conflict(code: Code, kind: Kind, pod: &Pod, policies: &[Policy<'_>], out: &mut Vec<Finding>) {
    if policies.len() < 2 {
        return;
    }
    let names = list(policies.iter().map(|p| p.meta.name.as_str()));
    for policy in policies {
        let message = format!(
            "{names} of namespace {} select the same pod {}: which one applies is not defined",
            policy.meta.namespace,
            pod.name()
        );
        out.push(
            Finding::new(code, on(kind, policy.meta), "metadata.name", message)
                .help("have each pod selected by one of them"),
        );
    }
}

fn several(
    code: Code,
    kind: Kind,
    namespace: &str,
    policies: &[&Policy<'_>],
    out: &mut Vec<Finding>,
) {
    if policies.len() < 2 {
        return;
    }
    let names = list(policies.iter().map(|p| p.meta.name.as_str()));
    for policy in policies {
        let message = format!(
            "{names} of namespace {namespace} have no selector: which one applies is not defined"
        );
        out.push(
            Finding::new(code, on(kind, policy.meta), "metadata.name", message)
                .help("keep one without a selector in a namespace"),
        );
    }
}
