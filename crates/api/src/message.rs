//! Reading JSON into types: every fault is reported with its path, and unknown fields are faults, not failures.
//!
//! Types are defined by the macros of `define`; from one definition come the Rust type, how it is read and written, and its
//! [`Shape`] (from which CRDs are generated and objects are checked).

pub(crate) use crate::define::{choice, message, one_of};
use crate::shape::Shape;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What is wrong with one value of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// A field that the type does not have. The object is usable without it.
    UnknownField,
    /// A value of the wrong type or out of the range of its type.
    Type,
    /// A name that the enum does not have.
    Enum,
    /// More than one member of a oneof.
    OneOf,
    /// A rule of the schema (required, length, pattern, …) is broken.
    Rule,
}

/// A fault at a path such as `spec.http[0].route[0].weight`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fault {
    pub path: String,
    pub kind: FaultKind,
    pub message: String,
    /// What to do about it; empty if there is nothing useful to say.
    pub help: String,
}

impl Fault {
    /// Whether the object can be used all the same.
    pub fn harmless(&self) -> bool {
        self.kind == FaultKind::UnknownField
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            write!(f, "{}", self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

#[derive(Debug)]
enum Segment {
    Key(String),
    Index(usize),
}

/// Where the reader is, and what it found wrong so far.
#[derive(Debug, Default)]
pub struct Reader {
    path: Vec<Segment>,
    faults: Vec<Fault>,
}

/// Faults beyond this number are not kept: one broken document must not fill the memory.
const MAX_FAULTS: usize = 200;

impl Reader {
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn enter(&mut self, key: String) {
        self.path.push(Segment::Key(key));
    }

    pub(crate) fn enter_index(&mut self, index: usize) {
        self.path.push(Segment::Index(index));
    }

    pub(crate) fn leave(&mut self) {
        self.path.pop();
    }

    /// The path of the value being read.
    pub fn path(&self) -> String {
        let mut out = String::new();
        for segment in &self.path {
            match segment {
                Segment::Key(key) => push_key(&mut out, key),
                Segment::Index(i) => out.push_str(&format!("[{i}]")),
            }
        }
        out
    }

    pub(crate) fn fault(
        &mut self,
        kind: FaultKind,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(Fault {
                path: self.path(),
                kind,
                message: message.into(),
                help: help.into(),
            });
        }
    }

    pub(crate) fn unknown(&mut self, key: String, known: &[&str]) {
        let help = match nearest(&key, known) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => fields(known),
        };
        let message = format!("unknown field \"{key}\"");
        self.enter(key);
        self.fault(FaultKind::UnknownField, message, help);
        self.leave();
    }

    /// An object; `known` are the names of its fields, for the message if it is none.
    pub(crate) fn object(
        &mut self,
        value: Value,
        known: impl FnOnce() -> Vec<String>,
    ) -> Option<Map<String, Value>> {
        match value {
            Value::Object(map) => Some(map),
            Value::Null => None,
            other => {
                let known = known();
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                let help = match other {
                    Value::Array(_) => "remove the - before its first field".to_owned(),
                    _ => fields(&known),
                };
                self.not_a("an object", &other, help);
                None
            }
        }
    }

    pub(crate) fn wrong_type(&mut self, wanted: &str, got: &Value) {
        let help = match (wanted, got) {
            // YAML reads no, on, 1.10 and the like as something else than text.
            ("a string", Value::Bool(_) | Value::Number(_)) => "put the value in quotes".to_owned(),
            ("a whole number" | "a number" | "true or false", Value::String(text))
                if text.parse::<f64>().is_ok() || text.parse::<bool>().is_ok() =>
            {
                "remove the quotes".to_owned()
            }
            ("a list", Value::Object(_)) => {
                "put a - before the first field of each item".to_owned()
            }
            ("a list", Value::String(text)) if text.len() <= 60 => format!("write [{text}]"),
            ("a list", Value::Number(_) | Value::Bool(_)) => format!("write [{got}]"),
            (wanted, Value::Number(number)) if wanted.starts_with("a duration") => {
                format!("write {number}s, if seconds are meant")
            }
            _ => String::new(),
        };
        self.not_a(wanted, got, help);
    }

    fn not_a(&mut self, wanted: &str, got: &Value, help: String) {
        self.fault(
            FaultKind::Type,
            format!("must be {wanted}, not {}", describe(got)),
            help,
        );
    }

    /// What was found wrong, in the order of the document.
    pub fn finish(self) -> Vec<Fault> {
        self.faults
    }
}

/// The names of fields, if they are few enough to be read.
fn fields(known: &[&str]) -> String {
    match known.len() {
        0 => String::new(),
        1 => format!("its only field is {}", known.concat()),
        2..=12 => format!("its fields are {}", known.join(", ")),
        _ => String::new(),
    }
}

/// Appends a key to a path: `.name`, or `[name]` where a dot would mislead (labels, headers).
pub(crate) fn push_key(out: &mut String, key: &str) {
    let plain = !key.is_empty()
        && key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if !plain {
        out.push('[');
        out.push_str(key);
        out.push(']');
    } else {
        if !out.is_empty() {
            out.push('.');
        }
        out.push_str(key);
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(b) => format!("the boolean {b}"),
        Value::Number(n) => format!("the number {n}"),
        Value::String(s) => {
            let short: String = s.chars().take(40).collect();
            format!("the string \"{short}\"")
        }
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// The candidate closest to `word`, if close enough to be a slip of the finger.
pub fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    if word.len() > 64 {
        return None;
    }
    candidates
        .iter()
        .map(|c| {
            (
                distance(&word.to_ascii_lowercase(), &c.to_ascii_lowercase()),
                *c,
            )
        })
        .filter(|(d, c)| *d <= 1 + c.len() / 4)
        .min()
        .map(|(_, c)| c)
        .or_else(|| {
            // An abbreviation or a singular: "retry" for "retries", "dest" for "destination".
            let stem = word.get(..4)?;
            candidates.iter().find(|c| c.starts_with(stem)).copied()
        })
}

/// Levenshtein's distance, with one row.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let cost = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// A type that can be read from JSON, written to it, and described.
pub trait Field: Sized {
    /// Reads the value; whatever cannot be read is reported and left at its default.
    fn read(value: Value, cx: &mut Reader) -> Self;
    fn write(&self) -> Value;
    /// Whether leaving the field out of JSON means the same.
    fn is_default(&self) -> bool;
    fn shape() -> Shape;
}

impl Field for bool {
    fn read(value: Value, cx: &mut Reader) -> Self {
        match value {
            Value::Bool(b) => b,
            Value::Null => false,
            other => {
                cx.wrong_type("true or false", &other);
                false
            }
        }
    }
    fn write(&self) -> Value {
        Value::Bool(*self)
    }
    fn is_default(&self) -> bool {
        !self
    }
    fn shape() -> Shape {
        Shape::Bool
    }
}

impl Field for String {
    fn read(value: Value, cx: &mut Reader) -> Self {
        match value {
            Value::String(s) => s,
            Value::Null => String::new(),
            other => {
                cx.wrong_type("a string", &other);
                String::new()
            }
        }
    }
    fn write(&self) -> Value {
        Value::String(self.clone())
    }
    fn is_default(&self) -> bool {
        self.is_empty()
    }
    fn shape() -> Shape {
        Shape::String
    }
}

impl Field for f64 {
    fn read(value: Value, cx: &mut Reader) -> Self {
        match value.as_f64() {
            Some(n) => n,
            None if value.is_null() => 0.0,
            None => {
                cx.wrong_type("a number", &value);
                0.0
            }
        }
    }
    fn write(&self) -> Value {
        serde_json::Number::from_f64(*self).map_or(Value::Null, Value::Number)
    }
    fn is_default(&self) -> bool {
        *self == 0.0
    }
    fn shape() -> Shape {
        Shape::Double
    }
}

/// The integer that a number with a point or an exponent is: Helm writes large ones as `1e+06`, and an API server takes them.
fn whole(number: f64) -> Option<i128> {
    // Above 2^53 a float no longer says which integer was meant.
    (number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0).then_some(number as i128)
}

macro_rules! integer {
    ($($ty:ty, $format:expr, $lenient:expr;)*) => {$(
        impl Field for $ty {
            fn read(value: Value, cx: &mut Reader) -> Self {
                let number = match &value {
                    Value::Null => return 0,
                    Value::Number(n) => n
                        .as_i64()
                        .map(i128::from)
                        .or_else(|| n.as_u64().map(i128::from))
                        .or_else(|| whole(n.as_f64()?)),
                    // proto3's JSON writes 64-bit numbers as strings.
                    Value::String(s) if $lenient => s.parse::<i128>().ok(),
                    _ => None,
                };
                match number {
                    None => {
                        cx.wrong_type("a whole number", &value);
                        0
                    }
                    Some(n) => <$ty>::try_from(n).unwrap_or_else(|_| {
                        cx.fault(
                            FaultKind::Type,
                            format!("the number {n} is out of range"),
                            format!("use a number from {} to {}", <$ty>::MIN, <$ty>::MAX),
                        );
                        0
                    }),
                }
            }
            fn write(&self) -> Value {
                Value::from(*self)
            }
            fn is_default(&self) -> bool {
                *self == 0
            }
            fn shape() -> Shape {
                Shape::Int { min: <$ty>::MIN as i128, max: <$ty>::MAX as i128, format: $format }
            }
        }
    )*};
}

integer! {
    i32, Some("int32"), false;
    u32, None, false;
    i64, Some("int64"), true;
    u64, None, true;
}

impl Field for Value {
    fn read(value: Value, _: &mut Reader) -> Self {
        value
    }
    fn write(&self) -> Value {
        self.clone()
    }
    fn is_default(&self) -> bool {
        self.is_null()
    }
    fn shape() -> Shape {
        Shape::Any
    }
}

/// A free JSON object (`google.protobuf.Struct`).
pub type Struct = Map<String, Value>;

impl Field for Struct {
    fn read(value: Value, cx: &mut Reader) -> Self {
        cx.object(value, Vec::new).unwrap_or_default()
    }
    fn write(&self) -> Value {
        Value::Object(self.clone())
    }
    fn is_default(&self) -> bool {
        self.is_empty()
    }
    fn shape() -> Shape {
        Shape::Struct
    }
}

/// No value at all: kinds without a status.
impl Field for () {
    fn read(_: Value, _: &mut Reader) -> Self {}
    fn write(&self) -> Value {
        Value::Null
    }
    fn is_default(&self) -> bool {
        true
    }
    fn shape() -> Shape {
        Shape::Any
    }
}

impl<T: Field> Field for Option<T> {
    fn read(value: Value, cx: &mut Reader) -> Self {
        if value.is_null() {
            None
        } else {
            Some(T::read(value, cx))
        }
    }
    fn write(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::write)
    }
    fn is_default(&self) -> bool {
        self.is_none()
    }
    fn shape() -> Shape {
        T::shape().optional()
    }
}

impl<T: Field> Field for Arc<T> {
    fn read(value: Value, cx: &mut Reader) -> Self {
        Arc::new(T::read(value, cx))
    }
    fn write(&self) -> Value {
        T::write(self)
    }
    fn is_default(&self) -> bool {
        T::is_default(self)
    }
    fn shape() -> Shape {
        T::shape()
    }
}

impl<T: Field> Field for Vec<T> {
    fn read(value: Value, cx: &mut Reader) -> Self {
        match value {
            Value::Array(items) => items
                .into_iter()
                .enumerate()
                .map(|(i, item)| {
                    cx.enter_index(i);
                    let item = T::read(item, cx);
                    cx.leave();
                    item
                })
                .collect(),
            Value::Null => Vec::new(),
            other => {
                cx.wrong_type("a list", &other);
                Vec::new()
            }
        }
    }
    fn write(&self) -> Value {
        Value::Array(self.iter().map(T::write).collect())
    }
    fn is_default(&self) -> bool {
        self.is_empty()
    }
    fn shape() -> Shape {
        Shape::List(Box::new(T::shape()))
    }
}

/// A key of a map, which JSON always writes as a string.
pub trait Key: Ord + Sized {
    fn parse(key: &str) -> Option<Self>;
    fn text(&self) -> String;
}

impl Key for String {
    fn parse(key: &str) -> Option<Self> {
        Some(key.to_owned())
    }
    fn text(&self) -> String {
        self.clone()
    }
}

impl Key for u32 {
    fn parse(key: &str) -> Option<Self> {
        key.parse().ok()
    }
    fn text(&self) -> String {
        self.to_string()
    }
}

impl<K: Key, T: Field> Field for BTreeMap<K, T> {
    fn read(value: Value, cx: &mut Reader) -> Self {
        let mut out = BTreeMap::new();
        for (key, value) in cx.object(value, Vec::new).unwrap_or_default() {
            let parsed = K::parse(&key);
            cx.enter(key);
            match parsed {
                Some(key) => {
                    out.insert(key, T::read(value, cx));
                }
                None => cx.fault(FaultKind::Type, "the key must be a number", ""),
            }
            cx.leave();
        }
        out
    }
    fn write(&self) -> Value {
        Value::Object(self.iter().map(|(k, v)| (k.text(), v.write())).collect())
    }
    fn is_default(&self) -> bool {
        self.is_empty()
    }
    fn shape() -> Shape {
        Shape::Map(Box::new(T::shape()))
    }
}

/// Reads a whole value of a type; the faults are in the order of the document.
pub fn read<T: Field>(value: Value) -> (T, Vec<Fault>) {
    let mut cx = Reader::new();
    let read = T::read(value, &mut cx);
    (read, cx.finish())
}

/// For a serde bridge: the first fault that is not harmless, if any.
pub(crate) fn strict<T: Field, E: serde::de::Error>(value: Value) -> Result<T, E> {
    let (read, faults) = read(value);
    match faults.into_iter().find(|f| !f.harmless()) {
        Some(fault) => Err(E::custom(fault)),
        None => Ok(read),
    }
}
