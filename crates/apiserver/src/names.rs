//! Rules for names, labels and finalizers in `metadata`, with the sentences that the real server gives.

use serde_json::Value;

use crate::kinds::Kind;
use crate::object::{finalizers, meta};
use crate::schema::Invalid;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_1123: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

fn is_label(text: &str, first: fn(&u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    bytes.first().is_some_and(first)
        && bytes.last().is_some_and(alphanumeric)
        && bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
}

fn starts_1123(byte: &u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// What is wrong with an object's name, or nothing.
fn name_problem(kind: &Kind, name: &str) -> Option<String> {
    let longest = |limit: usize| {
        (name.len() > limit).then(|| format!("must be no more than {limit} characters"))
    };
    match (&*kind.group, &*kind.plural) {
        // Names of roles and bindings only have to fit into a path.
        ("rbac.authorization.k8s.io", _) => match name {
            "." | ".." => Some(format!("may not be '{name}'")),
            _ if name.contains('/') => Some("may not contain '/'".into()),
            _ if name.contains('%') => Some("may not contain '%'".into()),
            _ => None,
        },
        ("", "namespaces") => {
            if is_label(name, starts_1123) {
                longest(63)
            } else {
                Some(LABEL_1123.into())
            }
        }
        ("", "services") => {
            if is_label(name, u8::is_ascii_lowercase) {
                longest(63)
            } else {
                Some(LABEL_1035.into())
            }
        }
        _ => {
            let good = !name.is_empty() && name.split('.').all(|part| is_label(part, starts_1123));
            if good {
                longest(253)
            } else {
                Some(SUBDOMAIN.into())
            }
        }
    }
}

fn is_qualified(name: &str) -> bool {
    let (prefix, name) = name
        .split_once('/')
        .map_or((None, name), |(prefix, name)| (Some(prefix), name));
    let good_prefix = prefix.is_none_or(|prefix| {
        prefix.len() <= 253 && prefix.split('.').all(|part| is_label(part, starts_1123))
    });
    good_prefix && is_value(name) && !name.is_empty()
}

fn is_value(text: &str) -> bool {
    let bytes = text.as_bytes();
    let edge = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    text.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

fn invalid(field: &str, value: &str, why: &str) -> Invalid {
    Invalid {
        reason: "FieldValueInvalid",
        field: field.to_owned(),
        message: format!("Invalid value: {}: {why}", Value::from(value)),
    }
}

/// What is wrong with an object's metadata.
pub fn validate_meta(kind: &Kind, object: &Value) -> Vec<Invalid> {
    let mut problems = Vec::new();
    let name = meta(object, "name");
    if name.is_empty() {
        problems.push(Invalid {
            reason: "FieldValueRequired",
            field: "metadata.name".into(),
            message: "Required value: name or generateName is required".into(),
        });
    } else if let Some(why) = name_problem(kind, name) {
        problems.push(invalid("metadata.name", name, &why));
    }
    let metadata = object.get("metadata");
    let map = |field: &str| {
        metadata
            .and_then(|m| m.get(field))
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
    };
    for (key, value) in map("labels") {
        if !is_qualified(key) {
            problems.push(invalid("metadata.labels", key, QUALIFIED));
        }
        let value = value.as_str().unwrap_or_default();
        if value.len() > 63 {
            let why = "must be no more than 63 bytes";
            problems.push(invalid("metadata.labels", value, why));
        } else if !is_value(value) {
            problems.push(invalid("metadata.labels", value, LABEL_VALUE));
        }
    }
    for (key, _) in map("annotations") {
        if !is_qualified(&key.to_lowercase()) {
            problems.push(invalid("metadata.annotations", key, QUALIFIED));
        }
    }
    let size: usize = map("annotations")
        .map(|(key, value)| key.len() + value.as_str().map_or(0, str::len))
        .sum();
    if size > ANNOTATIONS_LIMIT {
        problems.push(Invalid {
            reason: "FieldValueTooLong",
            field: "metadata.annotations".into(),
            message: format!("Too long: may not be more than {ANNOTATIONS_LIMIT} bytes"),
        });
    }
    for (at, finalizer) in finalizers(object).iter().enumerate() {
        if !is_qualified(finalizer) {
            problems.push(invalid(
                &format!("metadata.finalizers[{at}]"),
                finalizer,
                QUALIFIED,
            ));
        }
    }
    let owners = metadata
        .and_then(|m| m.get("ownerReferences"))
        .and_then(Value::as_array);
    for (at, owner) in owners.into_iter().flatten().enumerate() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner[field].as_str().unwrap_or_default().is_empty() {
                problems.push(invalid(
                    &format!("metadata.ownerReferences[{at}].{field}"),
                    "",
                    "must not be empty",
                ));
            }
        }
    }
    problems
}

/// All annotations of an object together, in bytes.
const ANNOTATIONS_LIMIT: usize = 256 << 10;

/// What is wrong with changing the metadata of `old` into that of `new`.
pub fn validate_meta_update(new: &Value, old: &Value) -> Vec<Invalid> {
    if old.pointer("/metadata/deletionTimestamp").is_none() {
        return Vec::new();
    }
    let before = finalizers(old);
    let added: Vec<String> = finalizers(new)
        .into_iter()
        .filter(|f| !before.contains(f))
        .map(|f| format!("{f:?}"))
        .collect();
    if added.is_empty() {
        return Vec::new();
    }
    let message = format!(
        "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
        added.join(", ")
    );
    let problem = Invalid {
        reason: "FieldValueForbidden",
        field: "metadata.finalizers".into(),
        message,
    };
    // The real server checks twice and tells it twice; clients compare the causes.
    vec![problem.clone(), problem]
}
