//! ValidatingAdmissionPolicies: rules in CEL that need no server of their own.

use std::collections::BTreeMap;

use kube_cel::VapExpression;
use serde_json::Value;

use super::Attributes;
use super::rules::{Match, evaluator};
use crate::object::{meta, strings, text};
use crate::status::ApiError;
use crate::store::{Key, Volume};

/// The policies and their bindings.
#[derive(Debug, Default)]
pub struct Policies {
    bound: Vec<Bound>,
}

#[derive(Debug)]
struct Bound {
    policy: String,
    binding: String,
    about: Match,
    /// The binding's own narrowing; `None` when it has none.
    narrowed: Option<Match>,
    validations: Vec<Validation>,
    fail: bool,
    deny: bool,
    warn: bool,
    param_kind: Option<(String, String)>,
    param_ref: Value,
}

#[derive(Debug)]
struct Validation {
    expression: VapExpression,
    reason: String,
}

impl Policies {
    pub fn is_empty(&self) -> bool {
        self.bound.is_empty()
    }

    pub fn read(policies: &Volume, bindings: &Volume) -> Policies {
        let policies: BTreeMap<String, Value> = policies
            .iter(None)
            .map(|stored| (stored.key.name.to_string(), stored.value()))
            .collect();
        let mut bound = Vec::new();
        for stored in bindings.iter(None) {
            let binding = stored.value();
            let Some(policy) = policies.get(text(&binding, "/spec/policyName")) else {
                continue;
            };
            let spec = &policy["spec"];
            let actions = strings(binding.pointer("/spec/validationActions"));
            let kind = &spec["paramKind"];
            let narrowing = &binding["spec"]["matchResources"];
            bound.push(Bound {
                policy: meta(policy, "name").to_owned(),
                binding: meta(&binding, "name").to_owned(),
                about: Match::read(
                    &spec["matchConstraints"],
                    "resourceRules",
                    &spec["matchConditions"],
                ),
                narrowed: narrowing["resourceRules"]
                    .as_array()
                    .is_some_and(|rules| !rules.is_empty())
                    .then(|| Match::read(narrowing, "resourceRules", &Value::Null)),
                validations: spec["validations"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(Validation::read)
                    .collect(),
                fail: text(spec, "/failurePolicy") != "Ignore",
                deny: actions.contains(&"Deny"),
                warn: actions.contains(&"Warn"),
                param_kind: kind.is_object().then(|| {
                    (
                        text(kind, "/apiVersion").to_owned(),
                        text(kind, "/kind").to_owned(),
                    )
                }),
                param_ref: binding["spec"]["paramRef"].clone(),
            });
        }
        Policies { bound }
    }

    /// Evaluates every policy that is about the request.
    ///
    /// # Errors
    /// The first denial.
    pub fn validate(
        &self,
        attributes: &Attributes<'_>,
        warnings: &mut Vec<String>,
    ) -> Result<(), ApiError> {
        for bound in &self.bound {
            let about = |about: &Match| about.shown(attributes);
            // A binding narrows by rules and labels alone, which cannot fail.
            if !bound
                .narrowed
                .as_ref()
                .is_none_or(|narrowed| matches!(about(narrowed), Ok(Some(_))))
            {
                continue;
            }
            match about(&bound.about) {
                Ok(Some(_)) => bound.validate(attributes, warnings)?,
                Err(why) if bound.fail => bound.judge(attributes, "", &why, warnings)?,
                Ok(None) | Err(_) => {}
            }
        }
        Ok(())
    }
}

impl Validation {
    fn read(validation: &Value) -> Validation {
        let optional = |field: &str| validation[field].as_str().map(str::to_owned);
        let expression = text(validation, "/expression").to_owned();
        Validation {
            expression: VapExpression {
                message: optional("message")
                    .or_else(|| Some(format!("failed expression: {}", expression.trim()))),
                message_expression: optional("messageExpression"),
                expression,
            },
            reason: text(validation, "/reason").to_owned(),
        }
    }
}

impl Bound {
    fn validate(
        &self,
        attributes: &Attributes<'_>,
        warnings: &mut Vec<String>,
    ) -> Result<(), ApiError> {
        let evaluator = evaluator(attributes, self.params(attributes));
        for validation in &self.validations {
            let results = evaluator.evaluate(std::slice::from_ref(&validation.expression));
            let Some(failed) = results.iter().find(|result| !result.passed) else {
                continue;
            };
            let why = failed.message.clone().unwrap_or_default();
            // A rule that cannot be evaluated is told in words of its own.
            let broken = validation.expression.message_expression.is_none()
                && validation.expression.message.as_deref() != Some(why.as_str());
            if broken && !self.fail {
                continue;
            }
            self.judge(attributes, &validation.reason, &why, warnings)?;
        }
        Ok(())
    }

    /// Does what the binding says about a rule that does not hold.
    fn judge(
        &self,
        attributes: &Attributes<'_>,
        reason: &str,
        why: &str,
        warnings: &mut Vec<String>,
    ) -> Result<(), ApiError> {
        if self.warn {
            warnings.push(format!(
                "Validation failed for ValidatingAdmissionPolicy '{}' with binding '{}': {why}",
                self.policy, self.binding
            ));
        }
        if !self.deny {
            return Ok(());
        }
        let message = format!(
            "ValidatingAdmissionPolicy '{}' with binding '{}' denied request: {why}",
            self.policy, self.binding
        );
        Err(denial(attributes, reason, &message))
    }

    /// The object that `paramRef` names.
    fn params(&self, attributes: &Attributes<'_>) -> Option<Value> {
        let (api_version, kind) = self.param_kind.as_ref()?;
        let request = attributes.request;
        let (group, version) = crate::kinds::split_api_version(api_version);
        let catalog = request.cluster.catalog.load();
        let kind = catalog.find_kind(group, version, kind)?;
        let namespace = match (kind.namespaced(), text(&self.param_ref, "/namespace")) {
            (false, _) => "",
            (true, "") => request.namespace.as_str(),
            (true, namespace) => namespace,
        };
        let stored = request.cluster.store.get(
            &kind.resource,
            &Key::new(namespace, text(&self.param_ref, "/name")),
        );
        Some(stored.map(|stored| stored.value()).unwrap_or_default())
    }
}

fn denial(attributes: &Attributes<'_>, reason: &str, message: &str) -> ApiError {
    let mut error = ApiError::forbidden(&attributes.request.kind, &attributes.name, message);
    (error.code, error.reason) = match reason {
        "Unauthorized" => (401, "Unauthorized"),
        "Forbidden" => (403, "Forbidden"),
        "RequestEntityTooLarge" => (413, "RequestEntityTooLarge"),
        _ => (422, "Invalid"),
    };
    error.details["causes"] = serde_json::json!([{"message": message}]);
    error
}
