//! Who owns which field: server-side apply and `metadata.managedFields`.

use serde_json::Value;

use super::SchemaRef;

/// One field that an apply would take from another manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// As the cause's message: `conflict with "manager"` and details.
    pub message: String,
    /// The path, such as `.data.k`.
    pub field: String,
}

/// Why an apply is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyError {
    /// Others own the fields and the apply was not forced: 409.
    Conflicts(Vec<Conflict>),
    /// The applied object does not fit its schema: 400 with this message.
    Malformed(String),
}

/// Who writes, and when.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    pub manager: &'a str,
    /// Empty for the object itself.
    pub subresource: &'a str,
    /// RFC 3339 with seconds, as in `metadata`.
    pub now: &'a str,
}

/// Merges an applied configuration into the live object, tracking ownership.
pub fn apply(
    _schema: SchemaRef<'_>,
    _live: Option<&Value>,
    applied: &Value,
    _writer: Writer<'_>,
    _force: bool,
) -> Result<Value, ApplyError> {
    Ok(applied.clone())
}

/// Records in `after` who wrote what differs from `before`: any write that is not an apply.
pub fn update(
    _schema: SchemaRef<'_>,
    _before: Option<&Value>,
    _after: &mut Value,
    _writer: Writer<'_>,
) {
}
