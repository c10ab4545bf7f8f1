//! Which schemas are structural: every value has a type, and only what decides nothing about types is nested in
//! `allOf`, `anyOf`, `oneOf` and `not`. Rules of `k8s.io/apiextensions-apiserver/pkg/apiserver/schema`.

use kube_cel::CompiledSchema;
use regex::Regex;
use serde_json::Value;

use super::{DEPTH, Node, Type, validate};
use crate::schema::Invalid;

const ROOT: &str = "spec.validation.openAPIV3Schema";

/// Fields of JSON schema that structural schemas cannot have.
const FORBIDDEN: &[&str] = &[
    "$ref",
    "$schema",
    "additionalItems",
    "definitions",
    "dependencies",
    "id",
    "patternProperties",
];

pub(super) fn check(schema: &Value) -> Vec<Invalid> {
    let mut checker = Checker {
        problems: Vec::new(),
    };
    checker.typed(schema, ROOT, "must not be empty at the root", 0);
    let root_type = schema
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if !root_type.is_empty() && root_type != "object" {
        checker.add(
            "FieldValueInvalid",
            &format!("{ROOT}.type"),
            format!("Invalid value: {root_type:?}: must be object at the root"),
        );
    }
    checker.problems
}

/// Defaults must be valid themselves.
pub(super) fn check_defaults(root: &Node) -> Vec<Invalid> {
    let mut problems = Vec::new();
    defaults(root, ROOT, &mut problems, 0);
    problems
}

fn defaults(node: &Node, path: &str, problems: &mut Vec<Invalid>, depth: usize) {
    if depth > DEPTH {
        return;
    }
    if let Some(default) = &node.default {
        let field = format!("{path}.default");
        problems.extend(
            validate::value(node, default, "")
                .into_iter()
                .map(|mut problem| {
                    problem.field = format!(
                        "{field}{}{}",
                        if problem.field.is_empty() { "" } else { "." },
                        problem.field
                    );
                    problem
                }),
        );
    }
    for (name, child) in &node.properties {
        defaults(
            child,
            &format!("{path}.properties[{name}]"),
            problems,
            depth + 1,
        );
    }
    if let Some(items) = &node.items {
        defaults(items, &format!("{path}.items"), problems, depth + 1);
    }
    if let Some(additional) = &node.additional {
        defaults(
            additional,
            &format!("{path}.additionalProperties"),
            problems,
            depth + 1,
        );
    }
}

/// Rules must compile.
pub(super) fn check_rules(rules: &CompiledSchema) -> Vec<Invalid> {
    let mut problems = Vec::new();
    rules_at(rules, ROOT, &mut problems, 0);
    problems
}

fn rules_at(rules: &CompiledSchema, path: &str, problems: &mut Vec<Invalid>, depth: usize) {
    if depth > DEPTH {
        return;
    }
    for (i, rule) in rules.validations.iter().enumerate() {
        if let Err(error) = rule {
            problems.push(Invalid {
                reason: "FieldValueInvalid",
                field: format!("{path}.x-kubernetes-validations[{i}].rule"),
                message: format!("Invalid value: compilation failed: {error}"),
            });
        }
    }
    let mut names: Vec<&String> = rules.properties.keys().collect();
    names.sort();
    for name in names {
        if let Some(child) = rules.properties.get(name) {
            rules_at(
                child,
                &format!("{path}.properties[{name}]"),
                problems,
                depth + 1,
            );
        }
    }
    if let Some(items) = &rules.items {
        rules_at(items, &format!("{path}.items"), problems, depth + 1);
    }
    if let Some(additional) = &rules.additional_properties {
        rules_at(
            additional,
            &format!("{path}.additionalProperties"),
            problems,
            depth + 1,
        );
    }
}

struct Checker {
    problems: Vec<Invalid>,
}

impl Checker {
    fn add(&mut self, reason: &'static str, field: &str, message: impl Into<String>) {
        self.problems.push(Invalid {
            reason,
            field: field.to_owned(),
            message: message.into(),
        });
    }

    /// A schema outside `allOf` and its kin.
    fn typed(&mut self, schema: &Value, path: &str, missing_type: &str, depth: usize) {
        let Some(map) = schema.as_object() else {
            return self.add(
                "FieldValueTypeInvalid",
                path,
                "Invalid value: must be a schema",
            );
        };
        if depth > DEPTH {
            return self.add(
                "FieldValueForbidden",
                path,
                format!("Forbidden: nested deeper than {DEPTH} levels"),
            );
        }
        self.common(schema, path);
        let flag = |name: &str| map.get(name) == Some(&Value::Bool(true));
        let ty = map.get("type").and_then(Value::as_str).unwrap_or_default();
        let free =
            flag("x-kubernetes-int-or-string") || flag("x-kubernetes-preserve-unknown-fields");
        if ty.is_empty() && !free {
            self.add(
                "FieldValueRequired",
                &format!("{path}.type"),
                format!("Required value: {missing_type}"),
            );
        } else if !ty.is_empty() && flag("x-kubernetes-int-or-string") {
            let message = "Invalid value: must be empty if x-kubernetes-int-or-string is true";
            self.add("FieldValueInvalid", &format!("{path}.type"), message);
        } else if !ty.is_empty() && Type::parse(ty).is_none() {
            let known = "supported values: \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\"";
            self.add(
                "FieldValueNotSupported",
                &format!("{path}.type"),
                format!("Unsupported value: {ty:?}: {known}"),
            );
        }
        if ty == "array" && !map.contains_key("items") {
            self.add(
                "FieldValueRequired",
                &format!("{path}.items"),
                "Required value: must be specified",
            );
        }
        let properties = map.get("properties").and_then(Value::as_object);
        let additional = map
            .get("additionalProperties")
            .filter(|a| **a != Value::Bool(false));
        if properties.is_some_and(|p| !p.is_empty()) && additional.is_some() {
            let field = format!("{path}.additionalProperties");
            self.add(
                "FieldValueForbidden",
                &field,
                "Forbidden: additionalProperties and properties are mutual exclusive",
            );
        }
        if map.get("additionalProperties") == Some(&Value::Bool(false)) {
            let field = format!("{path}.additionalProperties");
            self.add(
                "FieldValueForbidden",
                &field,
                "Forbidden: must not be false",
            );
        }
        let members = "must not be empty for specified object fields";
        for (name, child) in properties.into_iter().flatten() {
            // The server's own schema of metadata applies.
            if depth == 0 && name == "metadata" {
                continue;
            }
            self.typed(
                child,
                &format!("{path}.properties[{name}]"),
                members,
                depth + 1,
            );
        }
        if let Some(child) = additional.filter(|a| a.is_object()) {
            self.typed(
                child,
                &format!("{path}.additionalProperties"),
                members,
                depth + 1,
            );
        }
        match map.get("items") {
            Some(Value::Array(_)) => {
                self.add(
                    "FieldValueForbidden",
                    &format!("{path}.items"),
                    "Forbidden: items must be a schema object and not an array",
                );
            }
            Some(items) => self.typed(
                items,
                &format!("{path}.items"),
                "must not be empty for specified array items",
                depth + 1,
            ),
            None => {}
        }
        if map.get("x-kubernetes-list-type").and_then(Value::as_str) == Some("map") {
            self.list_map_keys(schema, path);
        }
        for combiner in ["allOf", "anyOf", "oneOf"] {
            for (i, child) in map
                .get(combiner)
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .enumerate()
            {
                self.nested(
                    child,
                    &format!("{path}.{combiner}[{i}]"),
                    flag("x-kubernetes-int-or-string"),
                    depth + 1,
                );
            }
        }
        if let Some(child) = map.get("not") {
            self.nested(child, &format!("{path}.not"), false, depth + 1);
        }
    }

    fn list_map_keys(&mut self, schema: &Value, path: &str) {
        let keys = schema
            .get("x-kubernetes-list-map-keys")
            .and_then(Value::as_array);
        let keys: Vec<&str> = keys
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        if keys.is_empty() {
            let field = format!("{path}.x-kubernetes-list-map-keys");
            return self.add(
                "FieldValueRequired",
                &field,
                "Required value: must not be empty if x-kubernetes-list-type is map",
            );
        }
        for (i, key) in keys.into_iter().enumerate() {
            if schema
                .pointer("/items/properties")
                .and_then(|p| p.get(key))
                .is_none()
            {
                let field = format!("{path}.x-kubernetes-list-map-keys[{i}]");
                self.add(
                    "FieldValueInvalid",
                    &field,
                    format!("Invalid value: {key:?}: entries must all be names of item properties"),
                );
            }
        }
    }

    /// A schema inside `allOf` and its kin: it restricts values and says nothing of their structure.
    fn nested(&mut self, schema: &Value, path: &str, int_or_string: bool, depth: usize) {
        let Some(map) = schema.as_object() else {
            return self.add(
                "FieldValueTypeInvalid",
                path,
                "Invalid value: must be a schema",
            );
        };
        if depth > DEPTH {
            return self.add(
                "FieldValueForbidden",
                path,
                format!("Forbidden: nested deeper than {DEPTH} levels"),
            );
        }
        self.common(schema, path);
        for name in [
            "type",
            "default",
            "title",
            "description",
            "nullable",
            "additionalProperties",
            "x-kubernetes-preserve-unknown-fields",
            "x-kubernetes-embedded-resource",
            "x-kubernetes-int-or-string",
            "x-kubernetes-list-type",
        ] {
            let allowed = name == "type" && int_or_string;
            if map.contains_key(name) && !allowed && map.get(name) != Some(&Value::Bool(false)) {
                self.add(
                    "FieldValueForbidden",
                    &format!("{path}.{name}"),
                    "Forbidden: must be empty to be structural",
                );
            }
        }
        for (name, child) in map
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            self.nested(
                child,
                &format!("{path}.properties[{name}]"),
                false,
                depth + 1,
            );
        }
        if let Some(items) = map.get("items") {
            self.nested(items, &format!("{path}.items"), false, depth + 1);
        }
        for combiner in ["allOf", "anyOf", "oneOf"] {
            for (i, child) in map
                .get(combiner)
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .enumerate()
            {
                self.nested(
                    child,
                    &format!("{path}.{combiner}[{i}]"),
                    int_or_string,
                    depth + 1,
                );
            }
        }
        if let Some(child) = map.get("not") {
            self.nested(child, &format!("{path}.not"), false, depth + 1);
        }
    }

    fn common(&mut self, schema: &Value, path: &str) {
        for name in FORBIDDEN {
            if schema.get(name).is_some_and(|v| !v.is_null()) {
                self.add(
                    "FieldValueForbidden",
                    &format!("{path}.{name}"),
                    format!("Forbidden: {name} is not supported"),
                );
            }
        }
        if schema.get("uniqueItems") == Some(&Value::Bool(true)) {
            let message = "Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
            self.add(
                "FieldValueForbidden",
                &format!("{path}.uniqueItems"),
                message,
            );
        }
        if let Some(pattern) = schema.get("pattern").and_then(Value::as_str)
            && let Err(error) = Regex::new(pattern)
        {
            let reason = error
                .to_string()
                .lines()
                .last()
                .unwrap_or_default()
                .to_owned();
            let message = format!(
                "Invalid value: {pattern:?}: must be a valid regular expression, but isn't: {reason}"
            );
            self.add("FieldValueInvalid", &format!("{path}.pattern"), message);
        }
    }
}
