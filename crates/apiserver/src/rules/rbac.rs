//! Roles and bindings: nobody may grant what they do not hold.

use serde_json::Value;

use crate::auth::Attributes;
use crate::auth::rbac::Rule;
use crate::object::{meta, text};
use crate::status::ApiError;
use crate::verbs::Request;

/// # Errors
/// 403 listing the rules that the user lacks.
pub fn check_escalation(
    request: &Request<'_>,
    object: &Value,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    let kind = &request.kind;
    let policy = request.cluster.policy();
    let is_role = matches!(&*kind.kind, "Role" | "ClusterRole");
    let verb = if is_role { "escalate" } else { "bind" };
    let (resource, name) = if is_role {
        (kind.plural.to_string(), meta(object, "name"))
    } else {
        let plural = if text(object, "/roleRef/kind") == "ClusterRole" {
            "clusterroles"
        } else {
            "roles"
        };
        (plural.to_owned(), text(object, "/roleRef/name"))
    };
    let unchanged = old.is_some_and(|old| {
        ["rules", "roleRef", "subjects", "aggregationRule"]
            .iter()
            .all(|field| old.get(*field) == object.get(*field))
    });
    let attributes = Attributes {
        verb,
        group: &kind.group,
        resource: &resource,
        namespace: &request.namespace,
        name,
        ..Attributes::default()
    };
    if unchanged || policy.allows(&request.user, &attributes).is_some() {
        return Ok(());
    }
    let rules: Vec<Rule> = if is_role {
        serde_json::from_value(object["rules"].clone()).unwrap_or_default()
    } else {
        policy
            .role_rules(&request.namespace, text(object, "/roleRef/kind"), name)
            .to_vec()
    };
    let missing = policy.missing(&request.user, &request.namespace, &rules);
    if missing.is_empty() {
        return Ok(());
    }
    let user = &request.user;
    let list: Vec<String> = missing.iter().map(|rule| rule.describe()).collect();
    let groups: Vec<String> = user
        .groups
        .iter()
        .map(|group| format!("{group:?}"))
        .collect();
    let why = format!(
        "user {:?} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}",
        user.username,
        groups.join(" "),
        list.join("\n")
    );
    Err(ApiError::forbidden(kind, meta(object, "name"), &why))
}
