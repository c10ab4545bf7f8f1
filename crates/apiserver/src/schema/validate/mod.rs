//! What is wrong with an object of a built-in kind, or with changing one into it, in the words of the real server
//! (`k8s.io/kubernetes/pkg/apis/*/validation`). Names and labels are checked for all kinds elsewhere.

mod pods;
mod resources;
mod workloads;

use serde_json::Value;

use super::ir::{Schemas, at, text};
use super::{Invalid, KindRef};

const IMMUTABLE: &str = "field is immutable";

impl Schemas {
    /// What is wrong with an object, or with changing `old` into it.
    pub fn validate(&self, kind: KindRef<'_>, object: &Value, old: Option<&Value>) -> Vec<Invalid> {
        let mut found = Found::default();
        match (kind.group, kind.kind) {
            ("", "Pod") => pods::pod(&mut found, object, old),
            ("apps", "Deployment") => workloads::deployment(&mut found, object, old),
            ("apps", "ReplicaSet") => workloads::replica_set(&mut found, object, old),
            ("apps", "StatefulSet") => workloads::stateful_set(&mut found, object, old),
            ("apps", "DaemonSet") => workloads::daemon_set(&mut found, object, old),
            ("batch", "Job") => workloads::job(&mut found, object, old),
            ("batch", "CronJob") => workloads::cron_job(&mut found, object),
            ("autoscaling", "HorizontalPodAutoscaler") => workloads::autoscaler(&mut found, object),
            ("policy", "PodDisruptionBudget") => workloads::disruption_budget(&mut found, object),
            ("", "Service") => resources::service(&mut found, object, old),
            ("", "Secret") => resources::secret(&mut found, object, old),
            ("", "ConfigMap") => resources::config_map(&mut found, object, old),
            ("networking.k8s.io", "Ingress") => resources::ingress(&mut found, object),
            ("discovery.k8s.io", "EndpointSlice") => {
                resources::endpoint_slice(&mut found, object, old)
            }
            ("coordination.k8s.io", "Lease") => resources::lease(&mut found, object),
            ("scheduling.k8s.io", "PriorityClass") => {
                resources::priority_class(&mut found, object, old)
            }
            ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => {
                resources::role(&mut found, object, kind.kind)
            }
            ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => {
                resources::binding(&mut found, object, old, kind.kind);
            }
            (
                "admissionregistration.k8s.io",
                "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration",
            ) => {
                resources::webhooks(&mut found, object);
            }
            ("authentication.k8s.io", "TokenRequest") => {
                resources::token_request(&mut found, object)
            }
            _ => {}
        }
        found.problems
    }
}

/// The problems found so far.
#[derive(Default)]
struct Found {
    problems: Vec<Invalid>,
}

impl Found {
    fn add(&mut self, reason: &'static str, field: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Invalid {
            reason,
            field: field.into(),
            message: message.into(),
        });
    }

    /// A field that is missing; `detail` may be empty.
    fn required(&mut self, field: impl Into<String>, detail: &str) {
        let message = if detail.is_empty() {
            "Required value".to_owned()
        } else {
            format!("Required value: {detail}")
        };
        self.add("FieldValueRequired", field, message);
    }

    fn invalid(&mut self, field: impl Into<String>, value: &Value, detail: &str) {
        self.add(
            "FieldValueInvalid",
            field,
            format!("Invalid value: {value}: {detail}"),
        );
    }

    fn forbidden(&mut self, field: impl Into<String>, detail: &str) {
        self.add("FieldValueForbidden", field, format!("Forbidden: {detail}"));
    }

    fn duplicate(&mut self, field: impl Into<String>, value: &Value) {
        self.add(
            "FieldValueDuplicate",
            field,
            format!("Duplicate value: {value}"),
        );
    }

    /// A string that must be one of `known`, when it is there.
    fn one_of(&mut self, field: impl Into<String>, value: &str, known: &[&str]) {
        if !value.is_empty() && !known.contains(&value) {
            let known: Vec<String> = known.iter().map(|k| format!("{k:?}")).collect();
            let message = format!(
                "Unsupported value: {value:?}: supported values: {}",
                known.join(", ")
            );
            self.add("FieldValueNotSupported", field, message);
        }
    }

    fn at_least(&mut self, field: impl Into<String>, value: Option<&Value>, least: i64) {
        if let Some(value) = value.filter(|v| v.as_i64().is_some_and(|n| n < least)) {
            let detail = if least == 0 {
                "must be greater than or equal to 0".to_owned()
            } else {
                format!("must be greater than {}", least - 1)
            };
            self.invalid(field, value, &detail);
        }
    }

    fn port(&mut self, field: impl Into<String>, value: Option<&Value>) {
        match value.and_then(Value::as_i64) {
            Some(1..=65535) => {}
            Some(_) | None if value.is_some_and(Value::is_string) => {}
            _ => self.invalid(
                field,
                value.unwrap_or(&Value::from(0)),
                "must be between 1 and 65535, inclusive",
            ),
        }
    }

    /// A field that updates may not change.
    fn immutable(&mut self, field: &str, new: Option<&Value>, old: Option<&Value>) {
        if new != old {
            self.invalid(field, new.unwrap_or(&Value::Null), IMMUTABLE);
        }
    }
}

/// The items of the list at `path`, with their index.
fn items<'a>(object: &'a Value, path: &[&str]) -> impl Iterator<Item = (usize, &'a Value)> {
    at(object, path)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .enumerate()
}

fn is_empty(object: &Value, path: &[&str]) -> bool {
    match at(object, path) {
        None | Some(Value::Null) => true,
        Some(Value::Array(list)) => list.is_empty(),
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::String(text)) => text.is_empty(),
        Some(_) => false,
    }
}

/// A label of DNS: lower case letters, digits and dashes, at most 63.
fn is_dns_label(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    !name.is_empty()
        && name.len() <= 63
        && name.bytes().all(|b| inner(b) || b == b'-')
        && name.bytes().next().is_some_and(inner)
        && name.bytes().last().is_some_and(inner)
}

/// Whether a label selector selects something with these labels.
fn selects(selector: &Value, labels: Option<&Value>) -> bool {
    let label = |key: &str| labels.and_then(|l| l.get(key)).and_then(Value::as_str);
    let equal = at(selector, &["matchLabels"])
        .and_then(Value::as_object)
        .into_iter()
        .flatten();
    let required = items(selector, &["matchExpressions"]).map(|(_, r)| r);
    let fits = |r: &Value| {
        let value = label(text(r, &["key"]));
        let listed = value.is_some_and(|v| items(r, &["values"]).any(|(_, x)| x == v));
        match text(r, &["operator"]) {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    };
    equal.into_iter().all(|(k, v)| label(k) == v.as_str()) && required.into_iter().all(fits)
}
