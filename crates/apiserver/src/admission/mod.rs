//! Admission: what may change or refuse a write after authorization and before storage.

use std::sync::Arc;

use serde_json::Value;

use crate::rules;
use crate::status::ApiError;
use crate::store::Volume;
use crate::verbs::Request;

/// What is being admitted.
#[derive(Debug, Clone, Copy)]
pub struct Review {
    pub operation: &'static str,
    pub subresource: &'static str,
    pub dry_run: bool,
}

/// The stored kinds that [`Hooks`] are made of, in the order of [`Hooks::new`].
pub const SOURCES: [&str; 2] = [
    "mutatingwebhookconfigurations.admissionregistration.k8s.io",
    "validatingwebhookconfigurations.admissionregistration.k8s.io",
];

/// The configured webhooks at one moment.
#[derive(Debug, Default)]
pub struct Hooks {}

impl Hooks {
    pub fn new(_sources: &[Arc<Volume>]) -> Hooks {
        Hooks {}
    }
}

/// Lets everything that may change an object do so; for a deletion there is no new object.
///
/// # Errors
/// The refusal of a plugin or webhook.
pub async fn mutate(
    request: &Request<'_>,
    review: &Review,
    mut object: Option<Value>,
    _old: Option<&Value>,
    _warnings: &mut Vec<String>,
) -> Result<Option<Value>, ApiError> {
    if let Some(pod) = &mut object
        && request.kind.is("pods")
        && review.operation == "CREATE"
    {
        rules::admit_pod(request, pod)?;
    }
    Ok(object)
}

/// Asks everything that may refuse a write.
///
/// # Errors
/// The refusal of a webhook or policy.
pub async fn validate(
    _request: &Request<'_>,
    _review: &Review,
    _object: Option<&Value>,
    _old: Option<&Value>,
    _warnings: &mut Vec<String>,
) -> Result<(), ApiError> {
    Ok(())
}
