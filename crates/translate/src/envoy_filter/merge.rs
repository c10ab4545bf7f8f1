//! Merging a patch's value into a message, field by field.

use hawser_proto::DynamicMessage;
use hawser_proto::json;
use prost::{Message, Name};
use prost_reflect::{ReflectMessage, Value};

/// A value as a message of a named type.
pub(super) fn read_message(name: &str, text: &str) -> Result<DynamicMessage, String> {
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|e| format!("is not valid JSON: {e}"))?;
    json::parse(name, &value).map_err(|e| e.to_string())
}

/// A value as a typed message.
pub(super) fn read<M: Message + Name + Default>(text: &str) -> Result<M, String> {
    let dynamic = read_message(&M::full_name(), text)?;
    M::decode(dynamic.encode_to_vec().as_slice()).map_err(|e| e.to_string())
}

/// A message with a value merged in.
pub(super) fn merged<M: Message + Name + Default>(
    message: &M,
    text: &str,
    replace_lists: bool,
) -> Result<M, String> {
    let patch = read_message(&M::full_name(), text)?;
    let mut out =
        json::decode(&M::full_name(), &message.encode_to_vec()).map_err(|e| e.to_string())?;
    merge(&mut out, patch, replace_lists, 0);
    M::decode(out.encode_to_vec().as_slice()).map_err(|e| e.to_string())
}

/// Depth at which merging stops; Envoy's messages have less.
const MAX_DEPTH: usize = 64;

/// Merges `from` into `into`: scalars are replaced, messages merged, lists joined (or replaced), entries of maps merged
/// by key. Durations and wrapped scalars count as scalars: `false` in a patch means `false`.
fn merge(into: &mut DynamicMessage, mut from: DynamicMessage, replace_lists: bool, depth: usize) {
    let fields: Vec<_> = from.take_fields().collect();
    for (field, value) in fields {
        if depth >= MAX_DEPTH || !into.has_field(&field) {
            into.set_field(&field, value);
            continue;
        }
        let own = into.get_field_mut(&field);
        match (own, value) {
            (Value::Map(own), Value::Map(more)) => {
                for (key, value) in more {
                    match (own.get_mut(&key), value) {
                        (Some(Value::Message(own)), Value::Message(value)) => {
                            merge_message(own, value, replace_lists, depth + 1);
                        }
                        (_, value) => {
                            own.insert(key, value);
                        }
                    }
                }
            }
            (Value::List(own), Value::List(more)) if !replace_lists => own.extend(more),
            (Value::Message(own), Value::Message(value)) => {
                merge_message(own, value, replace_lists, depth + 1);
            }
            (own, value) => *own = value,
        }
    }
}

fn merge_message(
    into: &mut DynamicMessage,
    from: DynamicMessage,
    replace_lists: bool,
    depth: usize,
) {
    let name = from.descriptor().full_name().to_owned();
    let scalar = name == "google.protobuf.Duration"
        || (name.starts_with("google.protobuf.")
            && name.ends_with("Value")
            && name != "google.protobuf.Value");
    if scalar {
        *into = from;
    } else if name == "google.protobuf.Any" {
        if !merge_any(into, &from, replace_lists, depth) {
            *into = from;
        }
    } else {
        merge(into, from, replace_lists, depth);
    }
}

/// Merges what two packed messages of one type hold; false if they are of different or unknown types.
fn merge_any(
    into: &mut DynamicMessage,
    from: &DynamicMessage,
    replace_lists: bool,
    depth: usize,
) -> bool {
    let text = |m: &DynamicMessage| m.get_field_by_name("type_url")?.as_str().map(str::to_owned);
    let bytes = |m: &DynamicMessage| m.get_field_by_name("value")?.as_bytes().cloned();
    let (Some(own_type), Some(type_url)) = (text(into), text(from)) else {
        return false;
    };
    if own_type != type_url {
        return false;
    }
    let decode = |m: &DynamicMessage| json::decode(&type_url, &bytes(m)?).ok();
    let (Some(mut inner), Some(patch)) = (decode(into), decode(from)) else {
        return false;
    };
    merge(&mut inner, patch, replace_lists, depth);
    into.set_field_by_name("value", Value::Bytes(inner.encode_to_vec().into()));
    true
}
