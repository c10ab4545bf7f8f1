//! Role-based access control: the stored roles and bindings as an index, and the questions asked of it. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Attributes, MASTERS, User};
use crate::store::Volume;

/// One rule of a role.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    #[serde(deserialize_with = "nullable")]
    pub verbs: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub api_groups: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub resources: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub resource_names: Vec<String>,
    #[serde(
        rename = "nonResourceURLs",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "nullable"
    )]
    pub non_resource_urls: Vec<String>,
}

fn nullable<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::<Vec<String>>::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Subject {
    kind: String,
    name: String,
    #[serde(default)]
    namespace: String,
}

#[derive(Debug, Clone, Deserialize)]
struct RoleRef {
    kind: String,
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Binding {
    role_ref: RoleRef,
    #[serde(default)]
    subjects: Option<Vec<Subject>>,
}

#[derive(Deserialize)]
struct Role {
    #[serde(default)]
    rules: Option<Vec<Rule>>,
}

#[derive(Debug)]
struct Grant {
    /// Empty for a ClusterRoleBinding.
    namespace: String,
    binding: String,
    role: RoleRef,
    subjects: Vec<Subject>,
}

/// The roles and bindings of a cluster at one moment.
#[derive(Debug, Default)]
pub struct Policy {
    cluster_roles: BTreeMap<String, Vec<Rule>>,
    roles: BTreeMap<(String, String), Vec<Rule>>,
    grants: Vec<Grant>,
}

/// The stored kinds that a [`Policy`] is made of, in the order of [`Policy::new`].
pub const SOURCES: [&str; 4] = [
    "clusterroles.rbac.authorization.k8s.io",
    "roles.rbac.authorization.k8s.io",
    "clusterrolebindings.rbac.authorization.k8s.io",
    "rolebindings.rbac.authorization.k8s.io",
];

impl Policy {
    /// Reads the four kinds in the order of [`SOURCES`]; an object that cannot be read grants nothing.
    pub fn new(sources: &[std::sync::Arc<Volume>]) -> Policy {
        let mut policy = Policy::default();
        let [cluster_roles, roles, cluster_bindings, bindings] = sources else {
            return policy;
        };
        for object in cluster_roles.iter(None) {
            let role = serde_json::from_slice::<Role>(&object.json).ok();
            let rules = role.and_then(|role| role.rules).unwrap_or_default();
            policy
                .cluster_roles
                .insert(object.key.name.to_string(), rules);
        }
        for object in roles.iter(None) {
            let role = serde_json::from_slice::<Role>(&object.json).ok();
            let rules = role.and_then(|role| role.rules).unwrap_or_default();
            policy.roles.insert(
                (
                    object.key.namespace.to_string(),
                    object.key.name.to_string(),
                ),
                rules,
            );
        }
        for object in cluster_bindings.iter(None).chain(bindings.iter(None)) {
            if let Ok(binding) = serde_json::from_slice::<Binding>(&object.json) {
                policy.grants.push(Grant {
                    namespace: object.key.namespace.to_string(),
                    binding: object.key.name.to_string(),
                    role: binding.role_ref,
                    subjects: binding.subjects.unwrap_or_default(),
                });
            }
        }
        policy
    }

    fn rules(&self, namespace: &str, role: &RoleRef) -> &[Rule] {
        let rules = match role.kind.as_str() {
            "ClusterRole" => self.cluster_roles.get(&role.name),
            _ => self.roles.get(&(namespace.to_owned(), role.name.clone())),
        };
        rules.map_or(&[], Vec::as_slice)
    }

    /// The rules of a role that a binding in `namespace` refers to.
    pub fn role_rules(&self, namespace: &str, kind: &str, name: &str) -> &[Rule] {
        self.rules(
            namespace,
            &RoleRef {
                kind: kind.into(),
                name: name.into(),
            },
        )
    }

    /// Why a request is allowed; `None` when it is not.
    pub fn allows(&self, user: &User, wanted: &Attributes<'_>) -> Option<String> {
        if user.in_group(MASTERS) {
            return Some(String::new());
        }
        for (grant, subject) in self.grants_for(user, wanted.namespace) {
            if self
                .rules(&grant.namespace, &grant.role)
                .iter()
                .any(|rule| rule.allows(wanted))
            {
                return Some(grant.explain(subject));
            }
        }
        None
    }

    /// Every rule that applies to a user in a namespace.
    pub fn rules_for(&self, user: &User, namespace: &str) -> Vec<&Rule> {
        self.grants_for(user, namespace)
            .flat_map(|(grant, _)| self.rules(&grant.namespace, &grant.role))
            .collect()
    }

    fn grants_for<'a>(
        &'a self,
        user: &'a User,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a Grant, &'a Subject)> {
        self.grants
            .iter()
            .filter(move |grant| grant.namespace.is_empty() || grant.namespace == namespace)
            .filter_map(move |grant| {
                let subject = grant
                    .subjects
                    .iter()
                    .find(|subject| subject.covers(user, &grant.namespace))?;
                Some((grant, subject))
            })
    }

    /// The rules among `wanted` that the user does not have: nobody may grant more than they hold.
    pub fn missing<'a>(&self, user: &User, namespace: &str, wanted: &'a [Rule]) -> Vec<&'a Rule> {
        if user.in_group(MASTERS) {
            return Vec::new();
        }
        let held = self.rules_for(user, namespace);
        wanted
            .iter()
            .filter(|rule| {
                !rule
                    .split()
                    .all(|part| held.iter().any(|own| own.covers(&part)))
            })
            .collect()
    }
}

impl Grant {
    fn explain(&self, subject: &Subject) -> String {
        let binding = if self.namespace.is_empty() {
            format!("ClusterRoleBinding {:?}", self.binding)
        } else {
            // The real server writes the namespace last.
            format!(
                "RoleBinding {:?}",
                format!("{}/{}", self.binding, self.namespace)
            )
        };
        let name = match subject.kind.as_str() {
            "ServiceAccount" => format!("{}/{}", subject.name, subject.namespace),
            _ => subject.name.clone(),
        };
        format!(
            "RBAC: allowed by {binding} of {} {:?} to {} {name:?}",
            self.role.kind, self.role.name, subject.kind
        )
    }
}

impl Subject {
    fn covers(&self, user: &User, namespace: &str) -> bool {
        match self.kind.as_str() {
            "User" => self.name == user.username,
            "Group" => user.in_group(&self.name),
            "ServiceAccount" => {
                let namespace = if self.namespace.is_empty() {
                    namespace
                } else {
                    &self.namespace
                };
                user.username == format!("system:serviceaccount:{namespace}:{}", self.name)
            }
            _ => false,
        }
    }
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == "*" || item == wanted)
}

impl Rule {
    fn allows(&self, wanted: &Attributes<'_>) -> bool {
        if !has(&self.verbs, wanted.verb) {
            return false;
        }
        match wanted.path {
            Some(path) => self
                .non_resource_urls
                .iter()
                .any(|url| url_covers(url, path)),
            None => {
                has(&self.api_groups, wanted.group)
                    && self.covers_resource(wanted.resource, wanted.subresource)
                    && (self.resource_names.is_empty()
                        || self.resource_names.iter().any(|name| name == wanted.name))
            }
        }
    }

    fn covers_resource(&self, resource: &str, subresource: &str) -> bool {
        let full = if subresource.is_empty() {
            resource.to_owned()
        } else {
            format!("{resource}/{subresource}")
        };
        has(&self.resources, &full)
            || (!subresource.is_empty()
                && self
                    .resources
                    .iter()
                    .any(|r| r.strip_prefix("*/") == Some(subresource)))
    }

    /// One rule for each combination, so that each can be covered by another rule.
    fn split(&self) -> impl Iterator<Item = Rule> {
        let mut parts = Vec::new();
        for verb in &self.verbs {
            for url in &self.non_resource_urls {
                let (verbs, non_resource_urls) = (vec![verb.clone()], vec![url.clone()]);
                parts.push(Rule {
                    verbs,
                    non_resource_urls,
                    ..Rule::default()
                });
            }
            for group in &self.api_groups {
                for resource in &self.resources {
                    let one = |resource_names| Rule {
                        verbs: vec![verb.clone()],
                        api_groups: vec![group.clone()],
                        resources: vec![resource.clone()],
                        resource_names,
                        non_resource_urls: Vec::new(),
                    };
                    if self.resource_names.is_empty() {
                        parts.push(one(Vec::new()));
                    }
                    parts.extend(
                        self.resource_names
                            .iter()
                            .map(|name| one(vec![name.clone()])),
                    );
                }
            }
        }
        parts.into_iter()
    }

    /// Whether this rule grants all that a split rule does.
    fn covers(&self, part: &Rule) -> bool {
        let all = |own: &[String], wanted: &[String]| wanted.iter().all(|item| has(own, item));
        let resource = |wanted: &String| {
            let (resource, subresource) = wanted.split_once('/').unwrap_or((wanted, ""));
            self.covers_resource(resource, subresource)
        };
        let names = self.resource_names.is_empty()
            || (!part.resource_names.is_empty()
                && part
                    .resource_names
                    .iter()
                    .all(|name| self.resource_names.contains(name)));
        all(&self.verbs, &part.verbs)
            && all(&self.api_groups, &part.api_groups)
            && part.resources.iter().all(resource)
            && names
            && part.non_resource_urls.iter().all(|url| {
                self.non_resource_urls
                    .iter()
                    .any(|own| url_covers(own, url))
            })
    }

    /// As the real server prints a rule in the message about escalation.
    pub fn describe(&self) -> String {
        let mut parts = Vec::new();
        for (name, list) in [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("ResourceNames", &self.resource_names),
            ("NonResourceURLs", &self.non_resource_urls),
            ("Verbs", &self.verbs),
        ] {
            if !list.is_empty() {
                let quoted: Vec<String> = list.iter().map(|item| format!("{item:?}")).collect();
                parts.push(format!("{name}:[{}]", quoted.join(" ")));
            }
        }
        format!("{{{}}}", parts.join(", "))
    }
}

fn url_covers(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => pattern == path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(verbs: &[&str], groups: &[&str], resources: &[&str], names: &[&str]) -> Rule {
        let list = |items: &[&str]| items.iter().map(|&item| item.to_owned()).collect();
        Rule {
            verbs: list(verbs),
            api_groups: list(groups),
            resources: list(resources),
            resource_names: list(names),
            non_resource_urls: Vec::new(),
        }
    }

    #[test]
    fn rules_allow_and_cover() {
        let wanted = |verb, resource, subresource, name| Attributes {
            verb,
            resource,
            subresource,
            name,
            ..Attributes::default()
        };
        for (rule, wanted, expected) in [
            (
                rule(&["get"], &[""], &["pods"], &[]),
                wanted("get", "pods", "", "a"),
                true,
            ),
            (
                rule(&["get"], &[""], &["pods"], &[]),
                wanted("get", "pods", "log", "a"),
                false,
            ),
            (
                rule(&["get"], &[""], &["pods/log"], &[]),
                wanted("get", "pods", "log", "a"),
                true,
            ),
            (
                rule(&["get"], &[""], &["*/log"], &[]),
                wanted("get", "pods", "log", "a"),
                true,
            ),
            (
                rule(&["*"], &["*"], &["*"], &[]),
                wanted("delete", "secrets", "", ""),
                true,
            ),
            (
                rule(&["get"], &[""], &["pods"], &["b"]),
                wanted("get", "pods", "", "a"),
                false,
            ),
            (
                rule(&["get"], &["apps"], &["pods"], &[]),
                wanted("get", "pods", "", "a"),
                false,
            ),
        ] {
            assert_eq!(rule.allows(&wanted), expected, "{rule:?} on {wanted:?}");
        }
        let narrow = rule(&["get"], &[""], &["pods"], &["a"]);
        let wide = rule(&["get", "list"], &[""], &["pods", "services"], &[]);
        assert!(narrow.split().all(|part| wide.covers(&part)));
        assert!(!wide.split().all(|part| narrow.covers(&part)));
    }
}
