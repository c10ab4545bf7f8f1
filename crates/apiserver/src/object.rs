//! Reading and writing an object's common fields.

use serde_json::{Map, Value};
use time::OffsetDateTime;

/// A string at a JSON pointer; empty when absent or something else.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// A field of `metadata` as text; empty when absent.
pub fn meta<'a>(object: &'a Value, field: &str) -> &'a str {
    object
        .get("metadata")
        .and_then(|metadata| metadata.get(field))
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// `metadata`, made if it is absent or null. `None` when the object is no JSON object.
pub fn meta_mut(object: &mut Value) -> Option<&mut Map<String, Value>> {
    let metadata = object
        .as_object_mut()?
        .entry("metadata")
        .or_insert_with(|| Value::Object(Map::new()));
    if !metadata.is_object() {
        *metadata = Value::Object(Map::new());
    }
    metadata.as_object_mut()
}

/// Sets a field of `metadata`.
pub fn set_meta(object: &mut Value, field: &str, value: impl Into<Value>) {
    if let Some(metadata) = meta_mut(object) {
        metadata.insert(field.to_owned(), value.into());
    }
}

/// Removes a field of `metadata`.
pub fn unset_meta(object: &mut Value, field: &str) {
    if let Some(metadata) = meta_mut(object) {
        metadata.remove(field);
    }
}

/// Gives `to` the field of `from`, or removes it when `from` has none.
pub fn carry(from: &Value, to: &mut Value, field: &str) {
    let Some(to) = to.as_object_mut() else { return };
    match from.get(field) {
        Some(value) => drop(to.insert(field.to_owned(), value.clone())),
        None => drop(to.remove(field)),
    }
}

/// As [`carry`], for a field of `metadata`.
pub fn carry_meta(from: &Value, to: &mut Value, field: &str) {
    let value = from
        .get("metadata")
        .and_then(|metadata| metadata.get(field))
        .cloned();
    match value {
        Some(value) => set_meta(to, field, value),
        None => unset_meta(to, field),
    }
}

/// The finalizers.
pub fn finalizers(object: &Value) -> Vec<&str> {
    strings(object.pointer("/metadata/finalizers"))
}

/// Replaces the finalizers.
pub fn set_finalizers(object: &mut Value, finalizers: Vec<String>) {
    if finalizers.is_empty() {
        unset_meta(object, "finalizers")
    } else {
        set_meta(object, "finalizers", finalizers)
    }
}

/// The strings of an array.
pub fn strings(value: Option<&Value>) -> Vec<&str> {
    value
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// `now` as `metadata` writes times: RFC 3339 in UTC with whole seconds.
pub fn timestamp(now: OffsetDateTime) -> String {
    let (date, time) = (now.date(), now.time());
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

/// Five characters for a generated name: letters and digits that spell no words, as the real server picks them.
pub fn random_suffix() -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let random = uuid::Uuid::new_v4();
    let bytes = random.as_bytes().iter().take(5);
    bytes
        .filter_map(|&byte| ALPHABET.get(usize::from(byte) % ALPHABET.len()))
        .map(|&c| c as char)
        .collect()
}
