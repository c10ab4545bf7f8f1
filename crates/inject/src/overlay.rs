//! Laying what a user wrote over what the injector would add.

use serde_json::Value;

/// Lists that are merged by a key, as Kubernetes' strategic merge does for containers.
const KEYED: [(&str, &str); 3] = [
    ("env", "name"),
    ("ports", "containerPort"),
    ("volumeMounts", "mountPath"),
];

/// `over` laid upon `base`: objects are merged, keyed lists too, everything else of `over` replaces.
pub fn overlay(base: &mut Value, over: &Value) {
    let (Some(fields), Some(over)) = (base.as_object_mut(), over.as_object()) else {
        *base = over.clone();
        return;
    };
    for (name, value) in over {
        let key = KEYED
            .iter()
            .find(|(list, _)| list == name)
            .map(|(_, key)| *key);
        match (fields.get_mut(name), key, value) {
            (Some(Value::Array(items)), Some(key), Value::Array(more)) => {
                merge_by(items, more, key)
            }
            (Some(field @ Value::Object(_)), _, Value::Object(_)) => overlay(field, value),
            _ => {
                fields.insert(name.clone(), value.clone());
            }
        }
    }
}

/// Replaces the items of `items` that have the key of one of `more`, and appends the others.
pub fn merge_by(items: &mut Vec<Value>, more: &[Value], key: &str) {
    for item in more {
        let same = items
            .iter_mut()
            .find(|existing| existing.get(key).is_some() && existing.get(key) == item.get(key));
        match same {
            Some(existing) => *existing = item.clone(),
            None => items.push(item.clone()),
        }
    }
}
