//! What the server knows about the shape of objects, as pure functions over JSON values.
//!
//! Built-in kinds come from one schema table made at build time (see `build.rs`); custom kinds bring
//! their own schema ([`CrdSchema`]). Both answer the same questions: which fields exist, what they default
//! to, which writes are wrong, how lists merge, who owns a field ([`managed`]), and how a row of a table looks.

mod crd;
mod defaults;
mod ir;
pub mod managed;
mod openapi;
pub mod openapi_v2;
mod protobuf;
mod prune;
mod quantity;
mod strategic;
mod table;
#[cfg(test)]
mod tests;
mod validate;

pub use crd::CrdSchema;
pub use ir::Schemas;
pub use table::crd_table;

/// A kind by group, version and name; the core group is the empty string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KindRef<'a> {
    pub group: &'a str,
    pub version: &'a str,
    pub kind: &'a str,
}

/// A field that strict decoding complains about; `Display` is the real server's wording.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldIssue {
    #[error("unknown field \"{path}\"")]
    Unknown { path: String },
    #[error("duplicate field \"{path}\"")]
    Duplicate { path: String },
}

/// One reason why an object is refused; becomes a cause of a `Status` with code 422.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// A `CauseType`, such as `FieldValueInvalid`.
    pub reason: &'static str,
    /// The path of the field, such as `spec.ports[0].port`.
    pub field: String,
    /// What is wrong, without the field.
    pub message: String,
}

/// Why a protobuf body could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("the body does not start with the Kubernetes protobuf prefix")]
    Prefix,
    #[error("the protobuf body is malformed: {0}")]
    Malformed(&'static str),
    #[error("no kind {kind:?} is registered for version {api_version:?}")]
    UnknownKind { api_version: String, kind: String },
}

/// Why a strategic merge patch could not be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    #[error("no kind {0:?} with a strategic merge schema")]
    UnknownKind(String),
    #[error("{0}")]
    Malformed(String),
}

/// A built-in type of [`Schemas::builtin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuiltinType(pub(crate) ir::TypeId);

/// What a table's rows carry beside their cells (`?includeObject=`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    None,
    #[default]
    Metadata,
    Object,
}

/// Whose shape an object has, for field ownership.
#[derive(Clone, Copy, Debug)]
pub enum SchemaRef<'a> {
    /// A built-in kind.
    Builtin(BuiltinType),
    /// A custom resource.
    Crd(&'a CrdSchema),
    /// Nothing is known: maps are granular and lists atomic.
    Deduced,
}

impl Schemas {
    /// The table of built-in kinds, loaded once.
    pub fn builtin() -> &'static Schemas {
        static BUILTIN: std::sync::OnceLock<Schemas> = std::sync::OnceLock::new();
        BUILTIN.get_or_init(Schemas::load)
    }

    /// The shape of a built-in kind for field ownership.
    pub fn type_schema(&self, kind: KindRef<'_>) -> Option<SchemaRef<'static>> {
        self.kind(kind)
            .map(|id| SchemaRef::Builtin(BuiltinType(id)))
    }
}

/// The sentence for a 422 `Status`: `field: message`, or a bracketed list of them without repetitions.
pub fn summary(invalid: &[Invalid]) -> String {
    let mut parts: Vec<String> = Vec::new();
    for i in invalid {
        let text = format!("{}: {}", i.field, i.message);
        if !parts.contains(&text) {
            parts.push(text);
        }
    }
    match parts.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}
