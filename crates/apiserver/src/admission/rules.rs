//! Which requests a webhook or policy is about: rules, selectors and conditions.

use kube_cel::{
    AdmissionRequest, GroupVersionKind, GroupVersionResource, VapEvaluator, VapExpression,
};
use serde_json::Value;

use super::Attributes;
use crate::object::{strings, text};
use crate::selector::LabelSelector;

/// What a condition says that is false; one that cannot be evaluated says why instead.
const FALSE: &str = "false";

/// `rules`, `resourceRules` and the selectors beside them.
#[derive(Debug, Clone, Default)]
pub struct Match {
    rules: Vec<Rule>,
    excluded: Vec<Rule>,
    /// Whether other versions of the same resource count as well.
    equivalent: bool,
    namespaces: LabelSelector,
    objects: LabelSelector,
    conditions: Vec<VapExpression>,
}

#[derive(Debug, Clone, Default)]
struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    names: Vec<String>,
    scope: String,
}

/// The version of the resource in which an object is shown to a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub group: String,
    pub version: String,
}

fn read_rules(rules: &Value) -> Vec<Rule> {
    let list = |rule: &Value, field: &str| -> Vec<String> {
        strings(rule.get(field))
            .into_iter()
            .map(str::to_owned)
            .collect()
    };
    let rules = rules.as_array().into_iter().flatten();
    rules
        .map(|rule| Rule {
            operations: list(rule, "operations"),
            groups: list(rule, "apiGroups"),
            versions: list(rule, "apiVersions"),
            resources: list(rule, "resources"),
            names: list(rule, "resourceNames"),
            scope: text(rule, "/scope").to_owned(),
        })
        .collect()
}

impl Match {
    /// Reads a webhook, or a policy's `matchConstraints` with the policy's `matchConditions`.
    pub fn read(holder: &Value, rules: &str, conditions: &Value) -> Match {
        Match {
            rules: read_rules(&holder[rules]),
            excluded: read_rules(&holder["excludeResourceRules"]),
            equivalent: text(holder, "/matchPolicy") != "Exact",
            namespaces: LabelSelector::from_object(&holder["namespaceSelector"]),
            objects: LabelSelector::from_object(&holder["objectSelector"]),
            conditions: conditions
                .as_array()
                .into_iter()
                .flatten()
                .map(|condition| VapExpression {
                    expression: text(condition, "/expression").to_owned(),
                    message: Some(FALSE.to_owned()),
                    message_expression: None,
                })
                .collect(),
        }
    }

    /// The version to show the object in if this is about it.
    ///
    /// # Errors
    /// When no condition is false, but one cannot be evaluated: whoever asks knows whether to fail open or closed.
    pub fn shown(&self, attributes: &Attributes<'_>) -> Result<Option<Shown>, String> {
        let kind = &attributes.request.kind;
        let mut candidates = vec![(kind.group.to_string(), kind.version.to_string())];
        if self.equivalent {
            let catalog = attributes.request.cluster.catalog.load();
            let others = catalog
                .kinds()
                .filter(|other| other.resource == kind.resource);
            candidates
                .extend(others.map(|other| (other.group.to_string(), other.version.to_string())));
        }
        let covered = candidates.into_iter().find(|(group, version)| {
            self.rules
                .iter()
                .any(|rule| rule.covers(attributes, group, version))
        });
        let Some((group, version)) = covered else {
            return Ok(None);
        };
        let excluded = self
            .excluded
            .iter()
            .any(|rule| rule.covers(attributes, &group, &version));
        let selected = !excluded && self.selects(attributes) && self.conditions_hold(attributes)?;
        Ok(selected.then_some(Shown { group, version }))
    }

    fn selects(&self, attributes: &Attributes<'_>) -> bool {
        let labels = |object: &Value| object.pointer("/metadata/labels").cloned();
        // Objects outside namespaces are never left out by a namespace's labels.
        let namespace = attributes.namespace.is_null()
            || self
                .namespaces
                .matches_labels(labels(&attributes.namespace).as_ref());
        let object = |object: Option<&Value>| {
            object.is_some_and(|object| self.objects.matches_labels(labels(object).as_ref()))
        };
        namespace
            && (self.objects.is_empty()
                || object(attributes.object.as_ref())
                || object(attributes.old))
    }

    fn conditions_hold(&self, attributes: &Attributes<'_>) -> Result<bool, String> {
        if self.conditions.is_empty() {
            return Ok(true);
        }
        let results = evaluator(attributes, None).evaluate(&self.conditions);
        let failed: Vec<_> = results.iter().filter(|result| !result.passed).collect();
        if failed
            .iter()
            .any(|result| result.message.as_deref() == Some(FALSE))
        {
            return Ok(false);
        }
        let errors = failed.iter().map(|result| {
            let why = result.message.as_deref().unwrap_or_default();
            let why = why.strip_prefix("evaluation error: ").unwrap_or(why);
            format!(
                "expression '{}' resulted in error: {why}",
                result.expression
            )
        });
        match errors.collect::<Vec<_>>().as_slice() {
            [] => Ok(true),
            [one] => Err(one.clone()),
            many => Err(format!("[{}]", many.join(", "))),
        }
    }
}

impl Rule {
    fn covers(&self, attributes: &Attributes<'_>, group: &str, version: &str) -> bool {
        let has =
            |list: &[String], wanted: &str| list.iter().any(|item| item == "*" || item == wanted);
        let kind = &attributes.request.kind;
        let scope = match self.scope.as_str() {
            "Namespaced" => kind.namespaced(),
            "Cluster" => !kind.namespaced(),
            _ => true,
        };
        let subresource = attributes.review.subresource;
        let resource = self.resources.iter().any(|pattern| {
            let (resource, sub) = pattern.split_once('/').unwrap_or((pattern, ""));
            // `*` alone means everything but subresources, as the API documents.
            (resource == "*" || *resource == *kind.plural) && (sub == subresource || sub == "*")
        });
        scope
            && resource
            && has(&self.operations, attributes.review.operation)
            && has(&self.groups, group)
            && has(&self.versions, version)
            && (self.names.is_empty() || self.names.contains(&attributes.name))
    }
}

/// CEL's view of an admission.
pub fn evaluator(attributes: &Attributes<'_>, params: Option<Value>) -> VapEvaluator {
    let request = attributes.request;
    let kind = &request.kind;
    let mut builder = VapEvaluator::builder().request(AdmissionRequest {
        operation: attributes.review.operation.to_owned(),
        username: request.user.username.clone(),
        uid: request.user.uid.clone(),
        groups: request.user.groups.clone(),
        name: attributes.name.clone(),
        namespace: request.namespace.clone(),
        dry_run: attributes.review.dry_run,
        kind: GroupVersionKind {
            group: kind.group.to_string(),
            version: kind.version.to_string(),
            kind: kind.kind.to_string(),
        },
        resource: GroupVersionResource {
            group: kind.group.to_string(),
            version: kind.version.to_string(),
            resource: kind.plural.to_string(),
        },
    });
    builder = builder.object(attributes.object.clone().unwrap_or_default());
    if let Some(old) = attributes.old {
        builder = builder.old_object(old.clone());
    }
    if let Some(params) = params {
        builder = builder.params(params);
    }
    builder
        .namespace_object(attributes.namespace.clone())
        .build()
}
