//! The rules of CRDs that types alone do not say: CEL expressions with their meaning in Rust, and patterns.

use crate::scalar::Duration;
use crate::shape::Cel;
use serde_json::Value;

/// An API group, or nothing.
pub const GROUP: &str = r"^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
pub const KIND: &str = r"^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$";

fn keys(value: &Value) -> impl Iterator<Item = &str> {
    value
        .as_object()
        .into_iter()
        .flat_map(|m| m.keys().map(String::as_str))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn has(value: &Value, key: &str) -> bool {
    value.get(key).is_some_and(|v| !v.is_null())
}

pub static NO_WILDCARD_VALUE: Cel = Cel {
    rule: "!self.contains(\"*\")",
    message: "wildcard not allowed in label value match",
    holds: |v| !text(v).contains('*'),
};

pub static NO_WILDCARD_KEY: Cel = Cel {
    rule: "self.all(key, !key.contains(\"*\"))",
    message: "wildcard not allowed in label key match",
    holds: |v| keys(v).all(|k| !k.contains('*')),
};

pub static KEY_NOT_EMPTY: Cel = Cel {
    rule: "self.all(key, key.size() != 0)",
    message: "key must not be empty",
    holds: |v| keys(v).all(|k| !k.is_empty()),
};

pub static NO_CROSS_NAMESPACE: Cel = Cel {
    rule: "self.size() == 0",
    message: "cross namespace referencing is not currently supported",
    holds: |v| text(v).is_empty(),
};

pub static SELECTOR_OR_TARGET_REFS: Cel = Cel {
    rule: "(has(self.selector) ? 1 : 0) + (has(self.targetRef) ? 1 : 0) + (has(self.targetRefs) ? 1 : 0) <= 1",
    message: "only one of targetRefs or selector can be set",
    holds: |v| {
        ["selector", "targetRef", "targetRefs"]
            .iter()
            .filter(|k| has(v, k))
            .count()
            <= 1
    },
};

pub static MILLISECOND: Cel = Cel {
    rule: "duration(self) >= duration('1ms')",
    message: "must be a valid duration greater than 1ms",
    holds: |v| Duration::parse(text(v)).is_ok_and(|d| d.nanos() >= 1_000_000),
};

pub static WORKLOAD_SELECTOR_OR_TARGET_REFS: Cel = Cel {
    rule: "(has(self.workloadSelector) ? 1 : 0) + (has(self.targetRefs) ? 1 : 0) <= 1",
    message: "only one of targetRefs or workloadSelector can be set",
    holds: |v| !(has(v, "workloadSelector") && has(v, "targetRefs")),
};

pub static TAG_VALUE_FOR_UPSERT: Cel = Cel {
    rule: "((has(self.operation) ? self.operation : \"\") == \"UPSERT\") ? (self.value != \"\") : true",
    message: "value must be set when operation is UPSERT",
    holds: |v| {
        v.get("operation").map(text) != Some("UPSERT")
            || v.get("value").is_some_and(|v| !text(v).is_empty())
    },
};

pub static NO_TAG_VALUE_FOR_REMOVE: Cel = Cel {
    rule: "((has(self.operation) ? self.operation : \"\") == \"REMOVE\") ? !has(self.value) : true",
    message: "value must not be set when operation is REMOVE",
    holds: |v| v.get("operation").map(text) != Some("REMOVE") || !has(v, "value"),
};

pub static ENV_VALUE_INLINE: Cel = Cel {
    rule: "(has(self.valueFrom) ? self.valueFrom : \"\") != \"HOST\" || !has(self.value)",
    message: "value may only be set when valueFrom is INLINE",
    holds: |v| v.get("valueFrom").map(text) != Some("HOST") || !has(v, "value"),
};

pub static WASM_OR_LUA: Cel = Cel {
    rule: "has(self.wasm) != has(self.lua)",
    message: "exactly one of wasm or lua must be set",
    holds: |v| has(v, "wasm") != has(v, "lua"),
};

pub static WASM_URL: Cel = Cel {
    rule: "isURL(self) ? (url(self).getScheme() in [\"\", \"http\", \"https\", \"oci\", \"file\"]) : (isURL(\"http://\" + self) && \
           url(\"http://\" + self).getScheme() in [\"\", \"http\", \"https\", \"oci\", \"file\"])",
    message: "url must have schema one of [http, https, file, oci]",
    holds: |v| match text(v).split_once("://") {
        Some((scheme, rest)) => {
            ["http", "https", "oci", "file"].contains(&scheme) && !rest.is_empty()
        }
        None => !text(v).contains([' ', '\\']),
    },
};
