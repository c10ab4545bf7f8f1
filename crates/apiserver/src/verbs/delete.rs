//! Delete and delete-collection: preconditions, grace, finalizers and what becomes of dependents.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use time::Duration;

use super::list::list;
use super::update::nothing_holds;
use super::{Outcome, Request};
use crate::admission;
use crate::http::Query;
use crate::object::{finalizers, set_finalizers, set_meta, text, timestamp};
use crate::rules;
use crate::status::{ApiError, success};
use crate::store::{Change, Expect, Stored, Write, WriteError};

/// `metav1.DeleteOptions`, from a body or the query.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeleteOptions {
    pub grace_period_seconds: Option<i64>,
    pub propagation_policy: Option<String>,
    pub orphan_dependents: Option<bool>,
    pub preconditions: Option<Preconditions>,
    pub dry_run: Option<Vec<String>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Preconditions {
    pub uid: Option<String>,
    pub resource_version: Option<String>,
}

impl DeleteOptions {
    /// # Errors
    /// 400 for values that cannot be read.
    pub fn parse(body: Option<Value>, query: &Query) -> Result<DeleteOptions, ApiError> {
        let mut options: DeleteOptions = match body {
            Some(body) if !body.is_null() => serde_json::from_value(body).map_err(|error| {
                ApiError::bad_request(format!("decoding DeleteOptions: {error}"))
            })?,
            _ => DeleteOptions::default(),
        };
        if let seconds @ Some(_) = query.get("gracePeriodSeconds").parse().ok() {
            options.grace_period_seconds = seconds;
        }
        if query.has("propagationPolicy") {
            options.propagation_policy = Some(query.get("propagationPolicy").to_owned());
        }
        if query.has("orphanDependents") {
            options.orphan_dependents = Some(query.flag("orphanDependents"));
        }
        if query.has("dryRun") {
            options.dry_run = Some(query.all("dryRun").map(str::to_owned).collect());
        }
        match options.propagation_policy.as_deref() {
            None | Some("Background" | "Foreground" | "Orphan") => Ok(options),
            Some(other) => {
                let problem = crate::schema::Invalid {
                    reason: "FieldValueNotSupported",
                    field: "propagationPolicy".into(),
                    message: format!(
                        "Unsupported value: {other:?}: supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\""
                    ),
                };
                Err(ApiError::invalid_as(
                    "meta.k8s.io",
                    "DeleteOptions",
                    "",
                    &[problem],
                ))
            }
        }
    }

    fn dry_run(&self) -> bool {
        self.dry_run.iter().flatten().any(|value| value == "All")
    }
}

/// Deletes one object.
///
/// # Errors
/// What the API answers when it refuses.
pub async fn delete(request: &Request<'_>, options: &DeleteOptions) -> Result<Outcome, ApiError> {
    let kind = &request.kind;
    let mut warnings = Vec::new();
    loop {
        let stored = request.cluster.store.get(&kind.resource, &request.key());
        let stored = stored.ok_or_else(|| ApiError::not_found(kind, &request.name))?;
        check_preconditions(request, &stored, options)?;
        let live = stored.value();
        rules::before_delete(request, &live)?;
        let review = admission::Review {
            operation: "DELETE",
            subresource: "",
            dry_run: options.dry_run(),
        };
        admission::mutate(request, &review, None, Some(&live), &mut warnings).await?;
        admission::validate(request, &review, None, Some(&live), &mut warnings).await?;
        let (change, shown) = decide(request, &live, options);
        if options.dry_run() {
            return Ok(answer(request, &stored, shown, warnings));
        }
        if change
            .as_ref()
            .is_some_and(|change| matches!(change, Change::Put(object) if *object == live))
        {
            return Ok(answer(request, &stored, Some(live), warnings));
        }
        let Some(change) = change else {
            return Ok(answer(request, &stored, Some(live), warnings));
        };
        let gone = matches!(change, Change::Delete);
        let write = Write {
            resource: kind.resource.clone(),
            key: request.key(),
            expect: Expect::Revision(stored.revision),
            change,
        };
        match request.cluster.store.write(write).await {
            Ok(result) => {
                let shown = (!gone || kind.returns_deleted).then(|| result.value());
                return Ok(answer(request, &stored, shown, warnings));
            }
            Err(WriteError::Stale) => {}
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
}

/// The object if it is still there (or its kind shows what was deleted), a `Status` otherwise.
fn answer(
    request: &Request<'_>,
    stored: &Stored,
    shown: Option<Value>,
    warnings: Vec<String>,
) -> Outcome {
    let kind = &request.kind;
    match shown {
        Some(object) => Outcome {
            object,
            is_status: false,
            created: false,
            warnings,
        },
        None => {
            let mut details =
                json!({"name": request.name, "kind": *kind.plural, "uid": *stored.uid});
            if !kind.group.is_empty() {
                details["group"] = (&*kind.group).into();
            }
            Outcome {
                object: success(None, details),
                is_status: true,
                created: false,
                warnings,
            }
        }
    }
}

fn check_preconditions(
    request: &Request<'_>,
    stored: &Stored,
    options: &DeleteOptions,
) -> Result<(), ApiError> {
    let Some(preconditions) = &options.preconditions else {
        return Ok(());
    };
    if let Some(uid) = &preconditions.uid
        && **uid != *stored.uid
    {
        let why = format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been \
             deleted and then recreated",
            stored.uid
        );
        return Err(ApiError::conflict_because(
            &request.kind,
            &request.name,
            &why,
        ));
    }
    if let Some(revision) = &preconditions.resource_version
        && *revision != stored.revision.to_string()
    {
        let why = format!(
            "the ResourceVersion in the precondition ({revision}) does not match the ResourceVersion in record ({}). \
             The object might have been modified",
            stored.revision
        );
        return Err(ApiError::conflict_because(
            &request.kind,
            &request.name,
            &why,
        ));
    }
    Ok(())
}

/// What a deletion does to an object, and what is shown of it.
fn decide(
    request: &Request<'_>,
    live: &Value,
    options: &DeleteOptions,
) -> (Option<Change>, Option<Value>) {
    let kind = &request.kind;
    let mut object = live.clone();
    let mut wanted: Vec<String> = finalizers(live).into_iter().map(str::to_owned).collect();
    let already = !text(live, "/metadata/deletionTimestamp").is_empty();
    if !already {
        wanted.extend(rules::finalizer_of_deletion(kind, live).map(str::to_owned));
    }
    let policy = match (
        options.propagation_policy.as_deref(),
        options.orphan_dependents,
    ) {
        (Some(policy), _) => Some(policy),
        (None, Some(true)) => Some("Orphan"),
        (None, _) => None,
    };
    // Naming a policy replaces what an earlier deletion asked for.
    if let Some(policy) = policy {
        wanted.retain(|finalizer| finalizer != ORPHAN && finalizer != FOREGROUND);
        match policy {
            "Orphan" => wanted.push(ORPHAN.into()),
            "Foreground" => wanted.push(FOREGROUND.into()),
            _ => {}
        }
    }
    set_finalizers(&mut object, wanted);
    let grace = rules::grace(kind, live, options.grace_period_seconds);
    let before = live
        .pointer("/metadata/deletionGracePeriodSeconds")
        .and_then(Value::as_i64);
    if !already || before.is_some_and(|before| grace.unwrap_or(0) < before) {
        let now = request.cluster.now();
        let at = now + Duration::seconds(grace.unwrap_or(0));
        set_meta(&mut object, "deletionTimestamp", timestamp(at));
        // Namespaces are kept by `spec.finalizers` and have no grace.
        if !kind.is("namespaces") {
            set_meta(
                &mut object,
                "deletionGracePeriodSeconds",
                grace.unwrap_or(0),
            );
        }
        if kind.generation
            && !already
            && let Some(generation) = live.pointer("/metadata/generation").and_then(Value::as_u64)
        {
            set_meta(&mut object, "generation", generation + 1);
        }
    }
    rules::on_delete(kind, &mut object);
    let done = nothing_holds(&object) && rules::finished(kind, &object);
    if done {
        let shown = kind.returns_deleted.then_some(object);
        return (Some(Change::Delete), shown);
    }
    (Some(Change::Put(object.clone())), Some(object))
}

/// The garbage collector's finalizer that keeps an owner until its dependents are gone.
pub const FOREGROUND: &str = "foregroundDeletion";
/// The one that keeps it until its dependents no longer name it.
pub const ORPHAN: &str = "orphan";

/// Removes one finalizer, and the object with it when that was the last thing that held it. For the housekeeping;
/// not finding the object or the finalizer is as good.
///
/// # Errors
/// When the store fails.
pub async fn remove_finalizer(request: &Request<'_>, finalizer: &str) -> Result<(), ApiError> {
    let kind = &request.kind;
    loop {
        let Some(stored) = request.cluster.store.get(&kind.resource, &request.key()) else {
            return Ok(());
        };
        let mut object = stored.value();
        let kept: Vec<String> = finalizers(&object)
            .into_iter()
            .filter(|f| *f != finalizer)
            .map(str::to_owned)
            .collect();
        if kept.len() == finalizers(&object).len() && !rules::finished(kind, &object) {
            return Ok(());
        }
        set_finalizers(&mut object, kept);
        let change = if rules::finished(kind, &object) {
            Change::Delete
        } else {
            Change::Put(object)
        };
        let write = Write {
            resource: kind.resource.clone(),
            key: request.key(),
            expect: Expect::Revision(stored.revision),
            change,
        };
        match request.cluster.store.write(write).await {
            Ok(_) => return Ok(()),
            Err(WriteError::Stale) => {}
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
}

/// Deletes every object of a list.
///
/// # Errors
/// The first refusal that is not that an object has gone already.
pub async fn delete_collection(
    request: &Request<'_>,
    query: &Query,
    options: &DeleteOptions,
) -> Result<Vec<Arc<Stored>>, ApiError> {
    let page = list(request, query)?;
    let deletions = page.objects.iter().map(|object| async {
        let one = Request {
            cluster: request.cluster,
            kind: request.kind.clone(),
            namespace: object.key.namespace.to_string(),
            name: object.key.name.to_string(),
            user: request.user.clone(),
            agent: request.agent.clone(),
        };
        match delete(&one, options).await {
            Err(error) if error.code != 404 => Err(error),
            _ => Ok(()),
        }
    });
    // Together, so that the writer can commit them in groups.
    futures::future::try_join_all(deletions).await?;
    Ok(page.objects)
}
