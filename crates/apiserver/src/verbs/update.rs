//! Update, patch and apply: one road for every change of an existing object.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::create::{Tracking, create, create_prepared, decoded};
use super::prepare::{WriteOptions, check_identity, check_types, clean_meta, judge_fields, track};
use super::{Outcome, Request};
use crate::admission;
use crate::http::BODY_LIMIT;
use crate::kinds::Kind;
use crate::names::{validate_meta, validate_meta_update};
use crate::object::{carry, carry_meta, finalizers, meta, set_meta, text, timestamp, unset_meta};
use crate::rules;
use crate::schema::managed::{self, ApplyError, Conflict, Writer};
use crate::schema::{FieldIssue, Invalid, PatchError, Schemas};
use crate::status::ApiError;
use crate::store::{Change, Expect, Stored, Write, WriteError};

/// Attempts when others write the same object meanwhile.
const ATTEMPTS: usize = 32;

/// Which part of an object a write may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All but the status of kinds with a status subresource.
    Main,
    /// A subresource that changes only the fields it stands for.
    Subresource(&'static str),
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Part::Main => "",
            Part::Subresource(name) => name,
        }
    }
}

/// Makes the wanted object from the present one, both in the requested version.
pub type Desired<'a> = dyn Fn(&Value) -> Result<Value, ApiError> + Send + Sync + 'a;

/// Changes an existing object (or, for PUT of some kinds, makes it).
///
/// # Errors
/// What the API answers when it refuses.
pub async fn update(
    request: &Request<'_>,
    part: Part,
    options: &WriteOptions,
    is_put: bool,
    duplicates: Vec<FieldIssue>,
    desired: &Desired<'_>,
) -> Result<Outcome, ApiError> {
    let kind = &request.kind;
    for _ in 0..ATTEMPTS {
        let Some(stored) = request.cluster.store.get(&kind.resource, &request.key()) else {
            if is_put && kind.create_on_update && part == Part::Main {
                return create(request, decoded(desired(&Value::Null)?), options).await;
            }
            return Err(ApiError::not_found(kind, &request.name));
        };
        let served = super::show::served(kind, &stored);
        let mut new = desired(&served)?;
        check_identity(request, &mut new)?;
        check_revision(kind, &request.name, &new, &stored, is_put)?;
        kind.to_work(&mut new);
        let mut warnings = Vec::new();
        let mut issues = duplicates.clone();
        issues.extend(kind.prune(&mut new));
        judge_fields(kind, issues, options.validation, &mut warnings)?;
        check_types(kind, &new)?;
        match finish(
            request,
            &stored,
            new,
            part,
            options,
            warnings,
            Tracking::Record,
        )
        .await?
        {
            Some(outcome) => return Ok(outcome),
            None => continue,
        }
    }
    Err(ApiError::conflict(kind, &request.name))
}

/// Server-side apply of a configuration.
///
/// # Errors
/// 409 naming the managers that own the fields, and whatever other writes answer.
pub async fn apply(
    request: &Request<'_>,
    part: Part,
    options: &WriteOptions,
    configuration: &Value,
    duplicates: Vec<FieldIssue>,
) -> Result<Outcome, ApiError> {
    let kind = &request.kind;
    let mut applied = configuration.clone();
    if meta(&applied, "managedFields").is_empty()
        && applied
            .pointer("/metadata/managedFields")
            .is_some_and(|fields| !fields.is_null())
    {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    check_identity(request, &mut applied)?;
    kind.to_work(&mut applied);
    let mut warnings = Vec::new();
    let mut issues = duplicates;
    let mut pruned = applied.clone();
    let unknown = kind.prune(&mut pruned);
    check_types(kind, &pruned)?;
    // Pruning also drops empty maps and lists, but applying one is owning it.
    if !unknown.is_empty() {
        applied = pruned;
    }
    issues.extend(unknown);
    judge_fields(kind, issues, options.validation, &mut warnings)?;
    for _ in 0..ATTEMPTS {
        let now = timestamp(request.cluster.now());
        let writer = Writer {
            manager: &options.manager,
            subresource: part.name(),
            now: &now,
        };
        let stored = request.cluster.store.get(&kind.resource, &request.key());
        let live = stored.as_ref().map(|stored| work(kind, stored));
        if let (None, true) = (&live, part != Part::Main) {
            return Err(ApiError::not_found(kind, &request.name));
        }
        if let Some(stored) = &stored {
            check_revision(kind, &request.name, &applied, stored, false)?;
        } else if !meta(&applied, "resourceVersion").is_empty() {
            return Err(ApiError::conflict(kind, &request.name));
        }
        let mut merged = managed::apply(
            kind.schema_ref(),
            live.as_ref(),
            &applied,
            writer,
            options.force,
        )
        .map_err(apply_refused)?;
        kind.prune(&mut merged);
        match &stored {
            Some(stored) => {
                match finish(
                    request,
                    stored,
                    merged,
                    part,
                    options,
                    warnings.clone(),
                    Tracking::Done,
                )
                .await?
                {
                    Some(outcome) => return Ok(outcome),
                    None => continue,
                }
            }
            None => {
                let created =
                    create_prepared(request, merged, options, warnings.clone(), Tracking::Done)
                        .await;
                match created {
                    // Somebody else was faster: merge into theirs.
                    Err(error) if error.reason == "AlreadyExists" => continue,
                    other => return other,
                }
            }
        }
    }
    Err(ApiError::conflict(kind, &request.name))
}

fn apply_refused(error: ApplyError) -> ApiError {
    match error {
        ApplyError::Malformed(message) => ApiError::bad_request(message),
        ApplyError::Conflicts(conflicts) => {
            let cause = |conflict: &Conflict| json!({"reason": "FieldManagerConflict", "message": conflict.message, "field": conflict.field});
            let causes: Vec<Value> = conflicts.iter().map(cause).collect();
            let mut error = ApiError::new(409, "Conflict", managed::conflict_summary(&conflicts));
            error.details = json!({"causes": causes});
            error
        }
    }
}

/// The present object in the version worked in.
fn work(kind: &Kind, stored: &Stored) -> Value {
    let mut live = stored.value();
    kind.storage_to_work(&mut live);
    live
}

/// Optimistic locking, as far as the caller asked for it.
fn check_revision(
    kind: &Kind,
    name: &str,
    new: &Value,
    stored: &Stored,
    is_put: bool,
) -> Result<(), ApiError> {
    let asked = meta(new, "resourceVersion");
    if asked.is_empty() || asked == "0" {
        if is_put && kind.custom.is_some() {
            let problem = Invalid {
                reason: "FieldValueInvalid",
                field: "metadata.resourceVersion".into(),
                message: "Invalid value: 0: must be specified for an update".into(),
            };
            return Err(ApiError::invalid_as(
                &kind.group,
                &kind.plural,
                name,
                &[problem],
            ));
        }
    } else if asked != stored.revision.to_string() {
        return Err(ApiError::conflict(kind, name));
    }
    let uid = meta(new, "uid");
    if !uid.is_empty() && *uid != *stored.uid {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            stored.uid
        );
        let mut error = ApiError::conflict(kind, name);
        error.message = format!(
            "Operation cannot be fulfilled on {} {name:?}: {why}",
            kind.qualified_resource()
        );
        return Err(error);
    }
    Ok(())
}

/// From the wanted object to the stored one; `None` when somebody else has written meanwhile.
async fn finish(
    request: &Request<'_>,
    stored: &Arc<Stored>,
    mut new: Value,
    part: Part,
    options: &WriteOptions,
    mut warnings: Vec<String>,
    tracking: Tracking,
) -> Result<Option<Outcome>, ApiError> {
    let kind = &request.kind;
    let live = work(kind, stored);
    kind.default(&mut new);
    restrict(kind, part, &live, &mut new);
    rules::before_update(request, part, &live, &mut new)?;
    clean_meta(&mut new);
    let now = timestamp(request.cluster.now());
    if tracking == Tracking::Record {
        track(request, options, part.name(), Some(&live), &mut new, &now);
    }
    let review = admission::Review {
        operation: "UPDATE",
        subresource: part.name(),
        dry_run: options.dry_run,
    };
    let admitted =
        admission::mutate(request, &review, Some(new), Some(&live), &mut warnings).await?;
    let mut new = admitted.unwrap_or_default();
    restrict(kind, part, &live, &mut new);
    rules::after_admission(kind, &mut new);
    clean_meta(&mut new);
    let generation = live.pointer("/metadata/generation").and_then(Value::as_u64);
    if kind.generation {
        let counts = !matches!(part, Part::Subresource("status" | "binding"));
        let bump = u64::from(counts && content(kind, &live) != content(kind, &new));
        set_meta(&mut new, "generation", generation.unwrap_or(1) + bump);
    }
    let mut problems = validate_meta_update(&new, &live);
    problems.extend(validate_meta(kind, &new));
    // A binding changes what nothing else may, and was checked where it was made.
    if problems.is_empty()
        && part != Part::Subresource("binding")
        && !only_metadata_differs(&live, &new)
    {
        // Debugging adds containers to a pod whose others stay as they are.
        let old = (part != Part::Subresource("ephemeralcontainers")).then_some(&live);
        problems = kind.validate(&new, old);
    }
    if !problems.is_empty() {
        return Err(ApiError::invalid(kind, &request.name, &problems));
    }
    warnings.extend(rules::warnings(kind));
    rules::check_authority(request, &new, Some(&live))?;
    admission::validate(request, &review, Some(&new), Some(&live), &mut warnings).await?;

    if same_but_for_times(&live, &new) {
        return Ok(Some(Outcome {
            object: stored.value(),
            is_status: false,
            created: false,
            warnings,
        }));
    }
    kind.work_to_storage(&mut new);
    let old = stored.value();
    for attempt in 0.. {
        let mut staged = new.clone();
        let asked = rules::allocate(request, &mut staged, Some(&old))?;
        if options.dry_run {
            return Ok(Some(Outcome {
                object: staged,
                is_status: false,
                created: false,
                warnings,
            }));
        }
        let change = if rules::finished(kind, &staged) {
            Change::Delete
        } else {
            Change::Put(staged.clone())
        };
        let deleted = matches!(change, Change::Delete);
        let write = Write {
            resource: kind.resource.clone(),
            key: request.key(),
            expect: Expect::Revision(stored.revision),
            change,
        };
        match request.cluster.store.write(write).await {
            Ok(result) => {
                // The answer to the write that removes the last finalizer shows the object without it.
                let object = if deleted { staged } else { result.value() };
                return Ok(Some(Outcome {
                    object,
                    is_status: false,
                    created: false,
                    warnings,
                }));
            }
            Err(WriteError::Stale) => return Ok(None),
            Err(WriteError::Claimed(claim)) => {
                rules::claimed(kind, &request.name, &claim, &asked, attempt)?
            }
            Err(error) => {
                return Err(ApiError::from_write(
                    kind,
                    &request.namespace,
                    &request.name,
                    error,
                ));
            }
        }
    }
    Ok(None)
}

/// Puts back what this part of an object must not change.
fn restrict(kind: &Kind, part: Part, live: &Value, new: &mut Value) {
    match part {
        Part::Main => {
            if kind.status {
                carry(live, new, "status");
            }
        }
        Part::Subresource("status") => {
            let status = new.get("status").cloned();
            let metadata = new.get("metadata").cloned().unwrap_or_default();
            let mut restored = live.clone();
            if let Some(fields) = restored.as_object_mut() {
                match status {
                    Some(status) => drop(fields.insert("status".into(), status)),
                    None => drop(fields.remove("status")),
                }
                let own_metadata = kind.custom.is_none() && &*kind.storage_group != "apps";
                if own_metadata {
                    fields.insert("metadata".into(), metadata.clone());
                } else if let (Some(to), Some(fields)) = (
                    fields.get_mut("metadata").and_then(Value::as_object_mut),
                    metadata.get("managedFields"),
                ) {
                    to.insert("managedFields".into(), fields.clone());
                }
            }
            *new = restored;
        }
        Part::Subresource("ephemeralcontainers") => {
            let wanted = new.pointer("/spec/ephemeralContainers").cloned();
            let managers = new.pointer("/metadata/managedFields").cloned();
            *new = live.clone();
            if let (Some(spec), Some(wanted)) =
                (new.get_mut("spec").and_then(Value::as_object_mut), wanted)
            {
                spec.insert("ephemeralContainers".into(), wanted);
            }
            if let Some(managers) = managers {
                set_meta(new, "managedFields", managers);
            }
        }
        // The others make the wanted object from the present one themselves.
        Part::Subresource(_) => {}
    }
    for field in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
    ] {
        carry_meta(live, new, field);
    }
    carry_meta(live, new, "resourceVersion");
    unset_meta(new, "selfLink");
    // What was generated stays as it was unless said otherwise.
    if new.pointer("/metadata/generateName").is_none() {
        carry_meta(live, new, "generateName");
    }
}

/// What `metadata.generation` counts changes of.
fn content(kind: &Kind, object: &Value) -> Map<String, Value> {
    let mut content = object.as_object().cloned().unwrap_or_default();
    for field in ["metadata", "apiVersion", "kind"] {
        content.remove(field);
    }
    if kind.status || kind.custom.is_none() {
        content.remove("status");
    }
    content
}

/// Whether two objects differ in nothing but labels, annotations, finalizers, owners and managers. What was accepted
/// once must not keep a finalizer from being removed.
fn only_metadata_differs(live: &Value, new: &Value) -> bool {
    let without = |object: &Value| {
        let mut object = object.as_object().cloned().unwrap_or_default();
        object.remove("metadata");
        object
    };
    live.pointer("/metadata/deletionTimestamp").is_some() && without(live) == without(new)
}

/// A write that changes nothing but the time of its manager's entry is none.
fn same_but_for_times(live: &Value, new: &Value) -> bool {
    let strip = |object: &Value| {
        let mut object = object.clone();
        if let Some(entries) = object
            .pointer_mut("/metadata/managedFields")
            .and_then(Value::as_array_mut)
        {
            for entry in entries {
                if let Some(entry) = entry.as_object_mut() {
                    entry.remove("time");
                }
            }
        }
        object
    };
    live == new || strip(live) == strip(new)
}

/// The function that a patch body of a media type stands for.
///
/// # Errors
/// 415 for a type that the kind does not take, 400 for a body that cannot be read.
pub fn patch_function(
    kind: &Arc<Kind>,
    content_type: &str,
    body: &[u8],
) -> Result<Box<Desired<'static>>, ApiError> {
    let malformed = |why: String| ApiError::bad_request(format!("error decoding patch: {why}"));
    let media_type = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned();
    match media_type.as_str() {
        "application/json-patch+json" => {
            let patch: json_patch::Patch =
                serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))?;
            if patch.0.len() > MOST_OPERATIONS {
                return Err(ApiError::new(
                    413,
                    "RequestEntityTooLarge",
                    format!(
                        "The allowed maximum operations in a JSON patch is {MOST_OPERATIONS}, got {}",
                        patch.0.len()
                    ),
                ));
            }
            Ok(Box::new(move |live| {
                let mut new = live.clone();
                for operation in &patch.0 {
                    let one = std::slice::from_ref(operation);
                    json_patch::patch(&mut new, one).map_err(|_| ApiError::unprocessable())?;
                    // Copies of copies grow without bound from a small body.
                    if matches!(operation, json_patch::PatchOperation::Copy(_))
                        && new.to_string().len() > BODY_LIMIT
                    {
                        return Err(ApiError::too_large(BODY_LIMIT));
                    }
                }
                Ok(new)
            }))
        }
        "application/merge-patch+json" => {
            let patch: Value =
                serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))?;
            Ok(Box::new(move |live| {
                let mut new = live.clone();
                json_patch::merge(&mut new, &patch);
                Ok(new)
            }))
        }
        "application/strategic-merge-patch+json" if kind.custom.is_none() => {
            let patch: Value =
                serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))?;
            let kind = kind.clone();
            Ok(Box::new(move |live| {
                // Kinds that are stored as another one have its lists.
                let schema_kind = if kind.served_as_stored() {
                    kind.gvk()
                } else {
                    kind.storage_gvk()
                };
                Schemas::builtin()
                    .strategic_merge(schema_kind, live, &patch)
                    .map_err(|error| match error {
                        PatchError::UnknownKind(_) => {
                            ApiError::unsupported_media_type(patch_types(&kind))
                        }
                        PatchError::Malformed(message) => ApiError::bad_request(message),
                    })
            }))
        }
        _ if kind.custom.is_none() => {
            // Refused by the real server's router, which says less.
            let mut error = ApiError::unsupported_media_type("415: Unsupported Media Type");
            error.details = serde_json::json!({});
            Err(error)
        }
        _ => Err(ApiError::unsupported_media_type(patch_types(kind))),
    }
}

/// Operations in one JSON patch, as in the real server.
const MOST_OPERATIONS: usize = 10_000;

fn patch_types(kind: &Kind) -> String {
    let strategic = if kind.custom.is_none() {
        "application/strategic-merge-patch+json, "
    } else {
        ""
    };
    format!(
        "the body of the request was in an unknown format - accepted media types include: \
         application/json-patch+json, application/merge-patch+json, {strategic}application/apply-patch+yaml"
    )
}

/// Whether an object has nothing left that keeps it.
pub(super) fn nothing_holds(object: &Value) -> bool {
    finalizers(object).is_empty()
        && object
            .pointer("/metadata/deletionGracePeriodSeconds")
            .and_then(Value::as_i64)
            .unwrap_or(0)
            == 0
        && !text(object, "/metadata/deletionTimestamp").is_empty()
}
