//! Errors as the API tells them: a `Status` object with code, reason and details.

use serde_json::{Map, Value, json};

use crate::kinds::Kind;
use crate::schema::{Invalid, summary};
use crate::store::WriteError;

/// An answer that is not success; becomes a `v1.Status`.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    pub code: u16,
    pub reason: &'static str,
    pub message: String,
    /// `details`, or null for an answer without.
    pub details: Value,
    /// Seconds for the `Retry-After` header.
    pub retry_after: Option<u32>,
}

impl ApiError {
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> ApiError {
        ApiError {
            code,
            reason,
            message: message.into(),
            details: Value::Null,
            retry_after: None,
        }
    }

    fn with(mut self, details: Value) -> ApiError {
        self.details = details;
        self
    }

    pub fn bad_request(message: impl Into<String>) -> ApiError {
        ApiError::new(400, "BadRequest", message)
    }

    pub fn internal(message: impl Into<String>) -> ApiError {
        let message = message.into();
        let details = json!({"causes": [{"message": message}]});
        ApiError::new(
            500,
            "InternalError",
            format!("Internal error occurred: {message}"),
        )
        .with(details)
    }

    pub fn unauthorized() -> ApiError {
        ApiError::new(401, "Unauthorized", "Unauthorized")
    }

    /// The path names no resource that is served.
    pub fn no_such_resource() -> ApiError {
        ApiError::new(
            404,
            "NotFound",
            "the server could not find the requested resource",
        )
        .with(json!({}))
    }

    pub fn not_found(kind: &Kind, name: &str) -> ApiError {
        let message = format!("{} {name:?} not found", kind.qualified_resource());
        ApiError::new(404, "NotFound", message).with(details(&kind.group, &kind.plural, name))
    }

    pub fn namespace_not_found(name: &str) -> ApiError {
        let message = format!("namespaces {name:?} not found");
        ApiError::new(404, "NotFound", message).with(details("", "namespaces", name))
    }

    pub fn already_exists(kind: &Kind, name: &str) -> ApiError {
        let message = format!("{} {name:?} already exists", kind.qualified_resource());
        ApiError::new(409, "AlreadyExists", message).with(details(&kind.group, &kind.plural, name))
    }

    /// Optimistic locking failed.
    pub fn conflict(kind: &Kind, name: &str) -> ApiError {
        let what = "the object has been modified; please apply your changes to the latest version and try again";
        let message = format!(
            "Operation cannot be fulfilled on {} {name:?}: {what}",
            kind.qualified_resource()
        );
        ApiError::new(409, "Conflict", message).with(details(&kind.group, &kind.plural, name))
    }

    /// A conflict for another reason, such as a precondition that does not hold; named by kind as the real server does.
    pub fn conflict_because(kind: &Kind, name: &str, why: &str) -> ApiError {
        let message = format!(
            "Operation cannot be fulfilled on {} {name:?}: {why}",
            kind.qualified_kind()
        );
        ApiError::new(409, "Conflict", message).with(details(&kind.group, &kind.kind, name))
    }

    pub fn invalid(kind: &Kind, name: &str, problems: &[Invalid]) -> ApiError {
        ApiError::invalid_as(&kind.group, &kind.kind, name, problems)
    }

    /// An invalid object of a kind that is not in the table, such as options.
    pub fn invalid_as(group: &str, kind: &str, name: &str, problems: &[Invalid]) -> ApiError {
        let qualified = if group.is_empty() {
            kind.to_owned()
        } else {
            format!("{kind}.{group}")
        };
        let message = format!("{qualified} {name:?} is invalid: {}", summary(problems));
        let mut details = details(group, kind, name);
        let causes: Vec<Value> = problems
            .iter()
            .map(|p| json!({"reason": p.reason, "message": p.message, "field": p.field}))
            .collect();
        if let Some(details) = details.as_object_mut() {
            details.insert("causes".into(), causes.into());
        }
        ApiError::new(422, "Invalid", message).with(details)
    }

    /// A request of the right form that the server rejects wholly, such as a JSON patch whose test fails.
    pub fn unprocessable() -> ApiError {
        ApiError::new(
            422,
            "Invalid",
            "the server rejected our request due to an error in our request",
        )
        .with(json!({}))
    }

    pub fn forbidden(kind: &Kind, name: &str, why: &str) -> ApiError {
        ApiError::forbidden_resource(&kind.group, &kind.plural, name, why)
    }

    pub fn forbidden_resource(group: &str, plural: &str, name: &str, why: &str) -> ApiError {
        let qualified = if group.is_empty() {
            plural.to_owned()
        } else {
            format!("{plural}.{group}")
        };
        let name_part = if name.is_empty() {
            String::new()
        } else {
            format!(" {name:?}")
        };
        let message = format!("{qualified}{name_part} is forbidden: {why}");
        ApiError::new(403, "Forbidden", message).with(details(group, plural, name))
    }

    pub fn namespace_terminating(kind: &Kind, namespace: &str, name: &str) -> ApiError {
        let why = format!(
            "unable to create new content in namespace {namespace} because it is being terminated"
        );
        let mut error = ApiError::forbidden(kind, name, &why);
        error.details["causes"] = json!([{
            "reason": "NamespaceTerminating",
            "message": format!("namespace {namespace} is being terminated"),
            "field": "metadata.namespace",
        }]);
        error
    }

    pub fn method_not_allowed() -> ApiError {
        let message = "the server does not allow this method on the requested resource";
        ApiError::new(405, "MethodNotAllowed", message).with(json!({}))
    }

    pub fn not_acceptable(available: &str) -> ApiError {
        let message = format!("406: Not Acceptable\n\nAvailable representations: {available}");
        ApiError::new(406, "NotAcceptable", message).with(json!({}))
    }

    pub fn unsupported_media_type(message: impl Into<String>) -> ApiError {
        ApiError::new(415, "UnsupportedMediaType", message)
    }

    /// The revision asked for has been forgotten.
    pub fn expired(message: impl Into<String>) -> ApiError {
        ApiError::new(410, "Expired", message)
    }

    pub fn revision_too_large(asked: u64, current: u64) -> ApiError {
        let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
        let causes =
            json!([{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]);
        let mut error = ApiError::new(504, "Timeout", message)
            .with(json!({"causes": causes, "retryAfterSeconds": 1}));
        error.retry_after = Some(1);
        error
    }

    pub fn too_large(limit: usize) -> ApiError {
        let message = format!("Request entity too large: limit is {limit}");
        ApiError::new(413, "RequestEntityTooLarge", message)
    }

    /// What a refused write means for the caller.
    pub fn from_write(kind: &Kind, namespace: &str, name: &str, error: WriteError) -> ApiError {
        match error {
            WriteError::Exists => ApiError::already_exists(kind, name),
            WriteError::Stale => ApiError::conflict(kind, name),
            WriteError::NamespaceMissing => ApiError::namespace_not_found(namespace),
            WriteError::NamespaceTerminating => {
                ApiError::namespace_terminating(kind, namespace, name)
            }
            other => ApiError::internal(other.to_string()),
        }
    }

    /// The `Status` object.
    pub fn to_status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        if !self.details.is_null() {
            status["details"] = self.details.clone();
        }
        status
    }
}

fn details(group: &str, kind: &str, name: &str) -> Value {
    let mut details = Map::new();
    for (field, value) in [("name", name), ("group", group), ("kind", kind)] {
        if !value.is_empty() {
            details.insert(field.into(), value.into());
        }
    }
    Value::Object(details)
}

/// The `Status` of a success that has no object to show.
pub fn success(code: Option<u16>, details: Value) -> Value {
    let mut status =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
    if let Some(code) = code {
        status["code"] = code.into();
    }
    if !details.is_null() {
        status["details"] = details;
    }
    status
}
