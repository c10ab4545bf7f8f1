//! What happens to every object before it is stored: pruning, defaulting, naming, validation, ownership.

use serde_json::Value;

use super::Request;
use crate::http::Query;
use crate::kinds::{Kind, crd, from_storage, to_storage};
use crate::object::{meta, set_meta, text};
use crate::schema::managed::{self, Writer};
use crate::schema::{FieldIssue, Invalid, KindRef, SchemaRef, Schemas};
use crate::status::ApiError;

/// What to do about fields that a kind does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FieldValidation {
    Ignore,
    #[default]
    Warn,
    Strict,
}

/// The options of a write.
#[derive(Debug, Clone, Default)]
pub struct WriteOptions {
    pub dry_run: bool,
    /// Empty: the default manager.
    pub manager: String,
    pub validation: FieldValidation,
    /// For server-side apply: take fields from other managers.
    pub force: bool,
}

impl WriteOptions {
    /// # Errors
    /// 422 for values that do not exist.
    pub fn parse(query: &Query, options_kind: &str) -> Result<WriteOptions, ApiError> {
        let invalid = |reason: &'static str, field: &str, message: String| {
            let problem = Invalid {
                reason,
                field: field.to_owned(),
                message,
            };
            ApiError::invalid_as("meta.k8s.io", options_kind, "", &[problem])
        };
        let unsupported = |field: &str, value: &str, known: &str| {
            let message = format!("Unsupported value: {value:?}: supported values: {known}");
            invalid("FieldValueNotSupported", field, message)
        };
        let dry_run = match query.get("dryRun") {
            "" => false,
            "All" => true,
            other => return Err(unsupported("dryRun", other, "\"All\"")),
        };
        let validation = match query.get("fieldValidation") {
            "" | "Warn" => FieldValidation::Warn,
            "Strict" => FieldValidation::Strict,
            "Ignore" => FieldValidation::Ignore,
            other => {
                return Err(unsupported(
                    "fieldValidation",
                    other,
                    "\"Ignore\", \"Strict\", \"Warn\"",
                ));
            }
        };
        let manager = query.get("fieldManager").to_owned();
        if manager.len() > 128 {
            let message = "Too long: may not be more than 128 bytes".to_owned();
            return Err(invalid("FieldValueTooLong", "fieldManager", message));
        }
        Ok(WriteOptions {
            dry_run,
            manager,
            validation,
            force: query.flag("force"),
        })
    }
}

impl Kind {
    /// The version that the server works in: the stored one for built-in kinds, the requested one for custom kinds
    /// (whose versions differ in their schema only).
    pub fn work_gvk(&self) -> KindRef<'_> {
        if self.custom.is_some() {
            self.gvk()
        } else {
            self.storage_gvk()
        }
    }

    /// From the requested version to the one worked in.
    pub fn to_work(&self, object: &mut Value) {
        if self.custom.is_none() && !self.served_as_stored() {
            to_storage(self, object);
        }
    }

    /// From the version worked in to the stored one.
    pub fn work_to_storage(&self, object: &mut Value) {
        if self.custom.is_some() && !self.served_as_stored() {
            to_storage(self, object);
        }
    }

    /// From the stored version to the one worked in.
    pub fn storage_to_work(&self, object: &mut Value) {
        if self.custom.is_some() && !self.served_as_stored() {
            from_storage(self, object);
        }
    }

    /// From the stored version to the requested one.
    pub fn to_served(&self, object: &mut Value) {
        if !self.served_as_stored() {
            from_storage(self, object);
        }
    }

    /// Whose shape objects have, for field ownership.
    pub fn schema_ref(&self) -> SchemaRef<'_> {
        match &self.custom {
            Some(custom) => custom.schema().map_or(SchemaRef::Deduced, SchemaRef::Crd),
            None => Schemas::builtin()
                .type_schema(self.work_gvk())
                .unwrap_or(SchemaRef::Deduced),
        }
    }

    /// Drops fields that the kind does not have and reports them.
    pub fn prune(&self, object: &mut Value) -> Vec<FieldIssue> {
        match &self.custom {
            Some(custom) => custom
                .schema()
                .map(|schema| schema.prune(object))
                .unwrap_or_default(),
            None => Schemas::builtin().prune(self.work_gvk(), object),
        }
    }

    /// Fills in defaults.
    pub fn default(&self, object: &mut Value) {
        match &self.custom {
            Some(custom) => {
                if let Some(schema) = custom.schema() {
                    schema.default(object);
                }
            }
            None => {
                Schemas::builtin().default(self.work_gvk(), object);
                if self.is("customresourcedefinitions.apiextensions.k8s.io") {
                    crd::default_spec(object);
                }
            }
        }
    }

    /// What is wrong with an object, or with changing `old` into it; names are looked at by the caller.
    pub fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<Invalid> {
        match &self.custom {
            Some(custom) => custom
                .schema()
                .map(|schema| schema.validate(object, old))
                .unwrap_or_default(),
            None => {
                let mut problems = Schemas::builtin().validate(self.work_gvk(), object, old);
                if problems.is_empty() && self.is("customresourcedefinitions.apiextensions.k8s.io")
                {
                    problems.extend(crd::validate(object, old));
                }
                problems
            }
        }
    }
}

/// Turns unknown fields into warnings or a refusal.
///
/// # Errors
/// 400 when strict validation was asked for and there are any.
pub fn judge_fields(
    kind: &Kind,
    issues: Vec<FieldIssue>,
    validation: FieldValidation,
    warnings: &mut Vec<String>,
) -> Result<(), ApiError> {
    if issues.is_empty() || validation == FieldValidation::Ignore {
        return Ok(());
    }
    let texts: Vec<String> = issues.iter().map(ToString::to_string).collect();
    if validation == FieldValidation::Warn {
        warnings.extend(texts);
        return Ok(());
    }
    let list = texts.join(", ");
    Err(ApiError::bad_request(format!(
        "{} in version {:?} cannot be handled as a {}: strict decoding error: {list}",
        kind.kind, kind.version, kind.kind
    )))
}

/// Checks that every field of a built-in kind holds the type of value that it is declared with.
///
/// # Errors
/// 400 naming the first that does not.
pub fn check_types(kind: &Kind, object: &Value) -> Result<(), ApiError> {
    let found = match &kind.custom {
        Some(_) => None,
        None => Schemas::builtin().type_error(kind.work_gvk(), object),
    };
    match found {
        None => Ok(()),
        Some(why) => Err(ApiError::bad_request(format!(
            "{} in version {:?} cannot be handled as a {}: {why}",
            kind.kind, kind.version, kind.kind
        ))),
    }
}

/// Checks that a body is of the kind and in the place that the path says.
///
/// # Errors
/// 400 as the real server words it.
pub fn check_identity(request: &Request<'_>, object: &mut Value) -> Result<(), ApiError> {
    let kind = &request.kind;
    if !object.is_object() {
        return Err(unrecognized(
            kind,
            "couldn't get version/kind; json parse error: the body is not a JSON object",
        ));
    }
    let (api_version, body_kind) = (
        text(object, "/apiVersion").to_owned(),
        text(object, "/kind").to_owned(),
    );
    if body_kind.is_empty() && kind.custom.is_some() {
        return Err(ApiError::bad_request(
            "Object 'Kind' is missing in the request body",
        ));
    }
    let expected = kind.api_version();
    if (!body_kind.is_empty() && *body_kind != *kind.kind)
        || (!api_version.is_empty() && api_version != expected)
    {
        let (_, version) = crate::kinds::split_api_version(&api_version);
        if kind.custom.is_some() || body_kind == *kind.kind {
            return Err(ApiError::bad_request(format!(
                "the API version in the data ({api_version}) does not match the expected API version ({expected})"
            )));
        }
        let internal = if kind.group.is_empty() {
            "core"
        } else {
            kind.group.split('.').next().unwrap_or_default()
        };
        return Err(ApiError::bad_request(format!(
            "{body_kind} in version {version:?} cannot be handled as a {0}: converting ({version}.{body_kind}) to \
             ({internal}.{0}): unknown conversion",
            kind.kind
        )));
    }
    if let Some(fields) = object.as_object_mut() {
        fields.insert("apiVersion".into(), expected.into());
        fields.insert("kind".into(), (&*kind.kind).into());
    }
    let namespace = meta(object, "namespace").to_owned();
    if kind.namespaced() {
        if !namespace.is_empty() && namespace != request.namespace {
            return Err(ApiError::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        set_meta(object, "namespace", request.namespace.as_str());
    } else {
        crate::object::unset_meta(object, "namespace");
    }
    if !request.name.is_empty() {
        let name = meta(object, "name").to_owned();
        if name.is_empty() {
            set_meta(object, "name", request.name.as_str());
        } else if name != request.name {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                request.name
            )));
        }
    }
    Ok(())
}

/// The answer to a body that cannot be read as the kind.
pub fn unrecognized(kind: &Kind, why: &str) -> ApiError {
    ApiError::bad_request(format!(
        "the object provided is unrecognized (must be of type {}): {why}",
        kind.kind
    ))
}

/// Records who wrote what.
pub fn track(
    request: &Request<'_>,
    options: &WriteOptions,
    subresource: &str,
    before: Option<&Value>,
    after: &mut Value,
    now: &str,
) {
    let manager = if options.manager.is_empty() {
        request.agent.as_str()
    } else {
        &options.manager
    };
    managed::update(
        request.kind.schema_ref(),
        before,
        after,
        Writer {
            manager,
            subresource,
            now,
        },
    );
}

/// Null fields say nothing in a stored object's metadata.
pub fn clean_meta(object: &mut Value) {
    if let Some(metadata) = crate::object::meta_mut(object) {
        metadata.retain(|_, value| !value.is_null());
        for field in [
            "labels",
            "annotations",
            "finalizers",
            "ownerReferences",
            "managedFields",
        ] {
            let empty = match metadata.get(field) {
                Some(Value::Object(map)) => map.is_empty(),
                Some(Value::Array(list)) => list.is_empty(),
                _ => false,
            };
            if empty {
                metadata.remove(field);
            }
        }
        metadata.remove("selfLink");
    }
}
