//! AuthorizationPolicies that select nobody, or name namespaces that are not there (Istio `auth.AuthorizationPoliciesAnalyzer`).

use crate::codes::{NO_WORKLOADS, NOT_FOUND};
use crate::finding::{Finding, on, selector_text};
use crate::pods::Pod;
use crate::world::World;
use hawser_api::Kind;
use hawser_api::message::nearest;

pub fn authorization_policies(world: &World) -> Vec<Finding> {
    let mut out = Vec::new();
    let pods = &world.shared.pods;
    let in_mesh = |pod: &Pod| pod.in_mesh || pod.is_ambient();
    for policy in &world.authorization_policies {
        let object = || on(Kind::AuthorizationPolicy, &policy.meta);
        let namespace = &policy.meta.namespace;
        let mesh_wide = namespace == world.mesh.root_namespace();
        let none = hawser_api::Labels::new();
        let selector = policy.spec.selector.as_ref().map(|s| &s.match_labels);
        let somebody = match selector {
            Some(labels) if mesh_wide => pods.select(labels).any(in_mesh),
            None if mesh_wide => true,
            of_namespace => pods
                .select_in(namespace, of_namespace.unwrap_or(&none))
                .any(in_mesh),
        };
        if !somebody {
            let (path, message, help) = match selector {
                Some(labels) => (
                    "spec.selector.matchLabels",
                    format!(
                        "no pod in the mesh has the labels {}",
                        selector_text(labels)
                    ),
                    if mesh_wide {
                        "select labels that pods have"
                    } else {
                        "select labels that pods of the policy's namespace have"
                    },
                ),
                None => (
                    "",
                    format!("no pod of namespace {namespace} is in the mesh"),
                    "apply the policy where its pods are, or label the namespace for injection",
                ),
            };
            out.push(Finding::new(NO_WORKLOADS, object(), path, message).help(help));
        }
        for (i, rule) in policy.spec.rules.iter().enumerate() {
            for (j, from) in rule.from.iter().enumerate() {
                let Some(source) = &from.source else { continue };
                let lists = [
                    ("namespaces", &source.namespaces),
                    ("notNamespaces", &source.not_namespaces),
                ];
                for (field, names) in lists {
                    for (k, name) in names
                        .iter()
                        .enumerate()
                        .filter(|(_, name)| !is_there(name, world))
                    {
                        let path = format!("spec.rules[{i}].from[{j}].source.{field}[{k}]");
                        let known: Vec<&str> =
                            world.shared.namespaces.iter().map(String::as_str).collect();
                        let help = match nearest(name, &known) {
                            Some(near) => format!("did you mean {near}?"),
                            None => "create the namespace, or correct its name".to_owned(),
                        };
                        out.push(
                            Finding::new(
                                NOT_FOUND,
                                object(),
                                path,
                                format!("namespace \"{name}\" does not exist"),
                            )
                            .help(help),
                        );
                    }
                }
            }
        }
    }
    out
}

/// Whether a namespace matches: a name in any case, `*`, a prefix with `*`, or a suffix after it.
fn is_there(pattern: &str, world: &World) -> bool {
    let namespaces = &world.shared.namespaces;
    if pattern == "*" {
        return !namespaces.is_empty();
    }
    if let Some(suffix) = pattern.strip_prefix('*') {
        return namespaces.iter().any(|n| n.ends_with(suffix));
    }
    if let Some(prefix) = pattern.strip_suffix('*') {
        return namespaces.iter().any(|n| n.starts_with(prefix));
    }
    namespaces.contains(pattern) || namespaces.iter().any(|n| n.eq_ignore_ascii_case(pattern))
}
