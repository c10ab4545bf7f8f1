//! Create.

use serde_json::Value;

use super::prepare::{WriteOptions, check_identity, check_types, clean_meta, judge_fields, track};
use super::{Outcome, Request};
use crate::admission;
use crate::http::Decoded;
use crate::names::validate_meta;
use crate::object::{meta, random_suffix, set_meta, timestamp, unset_meta};
use crate::rules;
use crate::status::ApiError;
use crate::store::{Change, Expect, Write, WriteError};

/// Attempts at a name that is free, for `generateName`.
const GENERATE_ATTEMPTS: usize = 8;

/// Creates an object.
///
/// # Errors
/// What the API answers when it refuses.
pub async fn create(
    request: &Request<'_>,
    body: Decoded,
    options: &WriteOptions,
) -> Result<Outcome, ApiError> {
    let kind = &request.kind;
    let mut object = body.value;
    check_identity(request, &mut object)?;
    check_namespace(request, &object)?;
    kind.to_work(&mut object);
    let mut issues = body.duplicates;
    issues.extend(kind.prune(&mut object));
    let mut warnings = Vec::new();
    judge_fields(kind, issues, options.validation, &mut warnings)?;
    check_types(kind, &object)?;
    if !meta(&object, "resourceVersion").is_empty() {
        let message = "resourceVersion should not be set on objects to be created";
        return Err(ApiError::new(500, "InternalError", message));
    }
    create_prepared(request, object, options, warnings, Tracking::Record).await
}

/// Whether ownership has still to be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracking {
    Record,
    /// A server-side apply has recorded it.
    Done,
}

/// The second half: the object is pruned and in the version worked in.
pub async fn create_prepared(
    request: &Request<'_>,
    mut object: Value,
    options: &WriteOptions,
    mut warnings: Vec<String>,
    tracking: Tracking,
) -> Result<Outcome, ApiError> {
    let kind = &request.kind;
    let generated = meta(&object, "name").is_empty();
    let prefix = meta(&object, "generateName").to_owned();
    if generated && !prefix.is_empty() {
        set_meta(&mut object, "name", format!("{prefix}{}", random_suffix()));
    }
    kind.default(&mut object);
    rules::before_create(kind, &mut object);
    let now = request.cluster.now();
    for field in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "resourceVersion",
        "generation",
        "selfLink",
    ] {
        unset_meta(&mut object, field);
    }
    set_meta(&mut object, "uid", uuid::Uuid::new_v4().to_string());
    set_meta(&mut object, "creationTimestamp", timestamp(now));
    clean_meta(&mut object);
    if tracking == Tracking::Record {
        unset_meta(&mut object, "managedFields");
        track(request, options, "", None, &mut object, &timestamp(now));
    }
    let review = admission::Review {
        operation: "CREATE",
        subresource: "",
        dry_run: options.dry_run,
    };
    let admitted = admission::mutate(request, &review, Some(object), None, &mut warnings).await?;
    let mut object = admitted.unwrap_or_default();
    rules::after_admission(kind, &mut object);
    rules::begin(kind, &mut object);
    if kind.generation {
        set_meta(&mut object, "generation", 1);
    }
    clean_meta(&mut object);
    let name = meta(&object, "name").to_owned();
    let mut problems = validate_meta(kind, &object);
    if problems.is_empty() {
        problems = kind.validate(&object, None);
    }
    if !problems.is_empty() {
        return Err(ApiError::invalid(kind, &name, &problems));
    }
    warnings.extend(rules::warnings(kind));
    rules::check_authority(request, &object, None)?;
    admission::validate(request, &review, Some(&object), None, &mut warnings).await?;
    kind.work_to_storage(&mut object);

    for attempt in 0.. {
        let mut staged = object.clone();
        if generated && attempt > 0 {
            set_meta(&mut staged, "name", format!("{prefix}{}", random_suffix()));
        }
        let key = request.key_of(meta(&staged, "name"));
        let asked = rules::allocate(request, &mut staged, None)?;
        if options.dry_run {
            if request.cluster.store.get(&kind.resource, &key).is_some() {
                return Err(ApiError::already_exists(kind, &key.name));
            }
            return Ok(Outcome {
                object: staged,
                is_status: false,
                created: true,
                warnings,
            });
        }
        let write = Write {
            resource: kind.resource.clone(),
            key: key.clone(),
            expect: Expect::Absent,
            change: Change::Put(staged),
        };
        match request.cluster.store.write(write).await {
            Ok(stored) => {
                return Ok(Outcome {
                    object: stored.value(),
                    is_status: false,
                    created: true,
                    warnings,
                });
            }
            Err(WriteError::Exists) if generated && attempt < GENERATE_ATTEMPTS => {}
            Err(WriteError::Claimed(claim)) => {
                rules::claimed(kind, &key.name, &claim, &asked, attempt)?
            }
            Err(error) => {
                return Err(ApiError::from_write(
                    kind,
                    &request.namespace,
                    &key.name,
                    error,
                ));
            }
        }
    }
    Err(ApiError::internal("no name is free"))
}

/// The namespace must exist and stay.
fn check_namespace(request: &Request<'_>, object: &Value) -> Result<(), ApiError> {
    if !request.kind.namespaced() {
        return Ok(());
    }
    match request.cluster.namespace(&request.namespace) {
        None => Err(ApiError::namespace_not_found(&request.namespace)),
        Some(namespace) if namespace.deleting => Err(ApiError::namespace_terminating(
            &request.kind,
            &request.namespace,
            meta(object, "name"),
        )),
        Some(_) => Ok(()),
    }
}

/// A body made by this server itself.
pub fn decoded(value: Value) -> Decoded {
    Decoded {
        value,
        duplicates: Vec::new(),
    }
}
