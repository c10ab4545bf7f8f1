//! Admission: what may change or refuse a write after authorization and before storage.

mod call;
mod hooks;
mod policy;
mod rules;

use std::sync::Arc;

use serde_json::{Value, json};

use crate::object::meta;
use crate::status::ApiError;
use crate::store::Volume;
use crate::verbs::Request;

pub use hooks::Hook;
use policy::Policies;

/// What is being admitted.
#[derive(Debug, Clone, Copy)]
pub struct Review {
    /// `CREATE`, `UPDATE` or `DELETE`.
    pub operation: &'static str,
    pub subresource: &'static str,
    pub dry_run: bool,
}

/// The stored kinds that [`Hooks`] are made of, in the order of [`Hooks::new`].
pub const SOURCES: [&str; 4] = [
    "mutatingwebhookconfigurations.admissionregistration.k8s.io",
    "validatingwebhookconfigurations.admissionregistration.k8s.io",
    "validatingadmissionpolicies.admissionregistration.k8s.io",
    "validatingadmissionpolicybindings.admissionregistration.k8s.io",
];

/// The configured webhooks and policies at one moment, in the order in which they are asked.
#[derive(Debug, Default)]
pub struct Hooks {
    mutating: Vec<Hook>,
    validating: Vec<Hook>,
    policies: Policies,
}

impl Hooks {
    /// Reads the four kinds in the order of [`SOURCES`].
    pub fn new(sources: &[Arc<Volume>]) -> Hooks {
        let [mutating, validating, policies, bindings] = sources else {
            return Hooks::default();
        };
        Hooks {
            mutating: hooks::read(mutating),
            validating: hooks::read(validating),
            policies: Policies::read(policies, bindings),
        }
    }
}

/// One admission: the request with its objects as webhooks are told of them.
pub(crate) struct Attributes<'a> {
    request: &'a Request<'a>,
    review: &'a Review,
    name: String,
    object: Option<Value>,
    old: Option<&'a Value>,
    /// The namespace that the object is in, or is; null for other cluster-scoped objects.
    namespace: Value,
}

impl<'a> Attributes<'a> {
    fn new(
        request: &'a Request<'a>,
        review: &'a Review,
        object: Option<Value>,
        old: Option<&'a Value>,
    ) -> Attributes<'a> {
        let shown = object.as_ref().or(old);
        let name = shown
            .map(|object| meta(object, "name"))
            .filter(|name| !name.is_empty());
        let name = name.unwrap_or(&request.name).to_owned();
        let namespace = if request.kind.is("namespaces") {
            shown.cloned().unwrap_or_default()
        } else if request.kind.namespaced() {
            request
                .cluster
                .namespace(&request.namespace)
                .map(|stored| stored.value())
                .unwrap_or_default()
        } else {
            Value::Null
        };
        Attributes {
            request,
            review,
            name,
            object,
            old,
            namespace,
        }
    }

    fn options(&self) -> Value {
        let kind = match self.review.operation {
            "CREATE" => "CreateOptions",
            "UPDATE" => "UpdateOptions",
            _ => "DeleteOptions",
        };
        let mut options = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
        if self.review.dry_run {
            options["dryRun"] = json!(["All"]);
        }
        options
    }
}

/// Configurations of admission itself are not admitted by it, so that a broken one can be repaired.
fn exempt(request: &Request<'_>) -> bool {
    SOURCES.contains(&request.kind.resource.as_str())
}

/// Lets everything that may change an object do so; for a deletion there is no new object.
///
/// # Errors
/// The refusal of a plugin or webhook, and a webhook's failure if it must not fail.
pub async fn mutate(
    request: &Request<'_>,
    review: &Review,
    mut object: Option<Value>,
    old: Option<&Value>,
    warnings: &mut Vec<String>,
) -> Result<Option<Value>, ApiError> {
    let is_new_pod =
        request.kind.is("pods") && review.operation == "CREATE" && review.subresource.is_empty();
    if let Some(pod) = &mut object
        && is_new_pod
    {
        crate::rules::admit_pod(request, pod)?;
    }
    let hooks = request.cluster.hooks();
    if hooks.mutating.is_empty() || exempt(request) {
        return Ok(object);
    }
    let mut attributes = Attributes::new(request, review, object, old);
    // Which hooks ran, and the object as each left it: those that ask for it are run again if it changed since.
    let mut left: Vec<(usize, Option<Value>)> = Vec::new();
    let before = attributes.object.clone();
    for (at, hook) in hooks.mutating.iter().enumerate() {
        if hook.run(&mut attributes, warnings).await? {
            left.push((at, attributes.object.clone()));
        }
    }
    if attributes.object != before
        && is_new_pod
        && let Some(pod) = &mut attributes.object
    {
        // What a webhook added (a container, say) gets what every pod gets.
        request.kind.default(pod);
        crate::rules::admit_pod(request, pod)?;
    }
    for (at, seen) in left {
        if let Some(hook) = hooks.mutating.get(at).filter(|hook| hook.reinvoke)
            && attributes.object != seen
        {
            hook.run(&mut attributes, warnings).await?;
        }
    }
    Ok(attributes.object)
}

/// Asks everything that may refuse a write.
///
/// # Errors
/// The refusal of a webhook or policy, and a webhook's failure if it must not fail.
pub async fn validate(
    request: &Request<'_>,
    review: &Review,
    object: Option<&Value>,
    old: Option<&Value>,
    warnings: &mut Vec<String>,
) -> Result<(), ApiError> {
    let hooks = request.cluster.hooks();
    if exempt(request) || (hooks.validating.is_empty() && hooks.policies.is_empty()) {
        return Ok(());
    }
    let mut attributes = Attributes::new(request, review, object.cloned(), old);
    hooks.policies.validate(&attributes, warnings)?;
    for hook in &hooks.validating {
        hook.run(&mut attributes, warnings).await?;
    }
    Ok(())
}
