//! The shape of a type as data: what a CRD says about it, and what a schema check compares with.

use serde_json::Value;

/// What a JSON value must look like.
#[derive(Clone, Debug)]
pub enum Shape {
    Bool,
    /// A whole number between the bounds (both included).
    Int {
        min: i128,
        max: i128,
        format: Option<&'static str>,
    },
    Double,
    String,
    /// One of the names, the first being proto3's zero value.
    Enum(&'static [&'static str]),
    /// A duration such as `1.5s` or `1m30s`.
    Duration,
    /// An RFC 3339 time.
    Time,
    /// Base64 text.
    Bytes,
    IntOrString,
    /// A wrapper such as `google.protobuf.BoolValue`, for which null is a value.
    Nullable(Box<Shape>),
    List(Box<Shape>),
    Map(Box<Shape>),
    Message(MessageShape),
    /// Any JSON object, as `google.protobuf.Struct`.
    Struct,
    /// Any JSON value.
    Any,
}

/// A message: its fields by JSON name, and the rules between them.
#[derive(Clone, Debug)]
pub struct MessageShape {
    pub name: &'static str,
    /// Whether fields not listed are let pass (types of which only a part is read).
    pub slim: bool,
    pub fields: Vec<FieldShape>,
    /// Groups of which at most one member may be set, by JSON name.
    pub oneofs: Vec<Vec<String>>,
    pub rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
pub struct FieldShape {
    /// JSON name.
    pub name: String,
    pub shape: Shape,
    pub rules: Vec<Rule>,
}

/// A restriction beyond the type, with the meaning that a CRD gives it.
#[derive(Clone, Copy, Debug)]
pub enum Rule {
    Required,
    MinLength(usize),
    MaxLength(usize),
    Min(i64),
    Max(i64),
    MinProperties(usize),
    MinItems(usize),
    MaxItems(usize),
    MaxProperties(usize),
    Pattern(&'static str),
    /// The list's items are told apart by these fields, which must be unique together.
    MapKeys(&'static [&'static str]),
    /// Rules for each item of a list or each value of a map.
    Each(&'static [Rule]),
    /// A second name that Istio's CRDs accept, for what was once written in snake_case.
    Alias(&'static str),
    /// A duration that may also be zero or negative (others are at least one millisecond).
    AnyDuration,
    Cel(&'static Cel),
}

/// A CEL rule of a CRD, and the same rule in Rust.
#[derive(Debug)]
pub struct Cel {
    pub rule: &'static str,
    pub message: &'static str,
    /// True when the value satisfies the rule.
    pub holds: fn(&Value) -> bool,
}

impl Shape {
    /// The shape of an `Option` of this: wrappers of numbers and booleans admit null.
    pub fn optional(self) -> Shape {
        match self {
            Shape::Bool | Shape::Int { .. } | Shape::Double => Shape::Nullable(Box::new(self)),
            other => other,
        }
    }
}

/// The JSON name of a Rust field, by proto3's rule: underscores go, the letter after one is raised.
/// A final underscore only keeps clear of a keyword.
pub fn json_name(field: &str) -> String {
    let mut out = String::with_capacity(field.len());
    let mut raise = false;
    for c in field.chars() {
        if c == '_' {
            raise = true;
        } else if raise {
            out.push(c.to_ascii_uppercase());
            raise = false;
        } else {
            out.push(c);
        }
    }
    out
}

/// Whether `key` names the Rust field `field`, in camelCase or as proto wrote it. Without allocating.
pub(crate) fn names(key: &str, field: &str) -> bool {
    let field = field.trim_end_matches('_');
    if key == field {
        return true;
    }
    let mut key = key.bytes();
    let mut raise = false;
    for b in field.bytes() {
        if b == b'_' {
            raise = true;
            continue;
        }
        let want = if raise { b.to_ascii_uppercase() } else { b };
        raise = false;
        if key.next() != Some(want) {
            return false;
        }
    }
    key.next().is_none()
}
