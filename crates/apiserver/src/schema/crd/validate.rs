//! What is wrong with a custom object, in the words of the real server.

use kube_cel::validate_compiled;
use serde_json::{Map, Number, Value};

use super::{CrdSchema, DEPTH, Node, Type};
use crate::schema::Invalid;
use crate::schema::ir::Merge;

/// Reasons after which CEL rules are not looked at: they could not rely on the types.
const BLOCKING: &[&str] = &[
    "FieldValueNotSupported",
    "FieldValueRequired",
    "FieldValueTooLong",
    "FieldValueTooMany",
    "FieldValueTypeInvalid",
];

pub(super) fn object(schema: &CrdSchema, object: &Value, old: Option<&Value>) -> Vec<Invalid> {
    let mut problems = value(&schema.root, object, "");
    lists(&schema.root, object, "", &mut problems, 0);
    let Some(rules) = &schema.rules else {
        return problems;
    };
    if problems.iter().any(|p| BLOCKING.contains(&p.reason)) {
        problems.push(Invalid {
            reason: "FieldValueInvalid",
            field: "<nil>".to_owned(),
            message: "Invalid value: null: some validation rules were not checked because the object was invalid; \
                      correct the existing errors to complete validation"
                .to_owned(),
        });
        return problems;
    }
    if let Err(errors) = validate_compiled(rules, object, old) {
        problems.extend(errors.into_iter().map(|error| {
            let (reason, prefix) = match error.reason.as_deref() {
                Some("FieldValueForbidden") => ("FieldValueForbidden", "Forbidden"),
                Some("FieldValueRequired") => ("FieldValueRequired", "Required value"),
                Some("FieldValueDuplicate") => ("FieldValueDuplicate", "Duplicate value"),
                _ => ("FieldValueInvalid", "Invalid value"),
            };
            let field = if error.field_path.is_empty() {
                "<nil>".to_owned()
            } else {
                error.field_path
            };
            Invalid {
                reason,
                field,
                message: format!("{prefix}: {}", error.message),
            }
        }));
    }
    problems
}

/// Checks a value at `path` against a schema, without CEL rules.
pub(super) fn value(node: &Node, value: &Value, path: &str) -> Vec<Invalid> {
    let mut found = Found {
        problems: Vec::new(),
    };
    found.check(node, value, path, 0);
    found.problems
}

struct Found {
    problems: Vec<Invalid>,
}

impl Found {
    fn add(&mut self, reason: &'static str, path: &str, message: String) {
        self.problems.push(Invalid {
            reason,
            field: path.to_owned(),
            message,
        });
    }

    fn invalid(&mut self, path: &str, shown: impl std::fmt::Display, what: String) {
        self.add(
            "FieldValueInvalid",
            path,
            format!("Invalid value: {shown}: {path} in body {what}"),
        );
    }

    fn check(&mut self, node: &Node, value: &Value, path: &str, depth: usize) {
        if depth > DEPTH
            || value.is_null() && (node.nullable || node.ty.is_none() && !node.int_or_string)
        {
            return;
        }
        // Every check applies that the value's own type allows, in the real server's order.
        self.type_fits(node, value, path);
        self.combined(node, value, path, depth);
        match value {
            Value::String(text) => self.string(node, text, path),
            Value::Number(number) => self.number(node, number, path),
            Value::Array(list) => self.list(node, list, path, depth),
            _ => {}
        }
        self.allowed(node, value, path);
        if let Value::Object(map) = value {
            self.map(node, map, path, depth);
        }
    }

    fn allowed(&mut self, node: &Node, value: &Value, path: &str) {
        let allowed = &node.limits.allowed;
        if allowed.is_empty() || allowed.iter().any(|a| same(a, value)) {
            return;
        }
        let known: Vec<String> = allowed.iter().map(Value::to_string).collect();
        let message = format!(
            "Unsupported value: {value}: supported values: {}",
            known.join(", ")
        );
        self.add("FieldValueNotSupported", path, message);
    }

    fn list(&mut self, node: &Node, list: &[Value], path: &str, depth: usize) {
        let limits = &node.limits;
        let count = list.len() as u64;
        if let Some(max) = limits.max_items.filter(|max| count > *max) {
            self.add(
                "FieldValueTooMany",
                path,
                format!("Too many: {count}: must have at most {max} items"),
            );
        }
        if let Some(min) = limits.min_items.filter(|min| count < *min) {
            self.invalid(path, count, format!("should have at least {min} items"));
        }
        if let Some(items) = &node.items {
            for (i, value) in list.iter().enumerate() {
                self.check(items, value, &format!("{path}[{i}]"), depth + 1);
            }
        }
    }

    fn map(&mut self, node: &Node, map: &Map<String, Value>, path: &str, depth: usize) {
        let limits = &node.limits;
        let count = map.len() as u64;
        if let Some(max) = limits.max_properties.filter(|max| count > *max) {
            self.add(
                "FieldValueTooMany",
                path,
                format!("Too many: {count}: must have at most {max} items"),
            );
        }
        if let Some(min) = limits.min_properties.filter(|min| count < *min) {
            self.invalid(
                path,
                count,
                format!("should have at least {min} properties"),
            );
        }
        for name in limits
            .required
            .iter()
            .filter(|name| !map.contains_key(*name))
        {
            self.add(
                "FieldValueRequired",
                &join(path, name),
                "Required value".to_owned(),
            );
        }
        for (name, value) in map {
            // Its own validation applies.
            if depth == 0 && path.is_empty() && name == "metadata" {
                continue;
            }
            if let Some(child) = node.child(name) {
                self.check(child, value, &join(path, name), depth + 1);
            }
        }
    }

    fn type_fits(&mut self, node: &Node, value: &Value, path: &str) {
        if node.int_or_string {
            if !value.is_string() && !is_integer(value) {
                let given = type_name(value);
                let message = format!(
                    "Invalid value: \"{given}\": {path} in body must be of type integer,string: \"{given}\""
                );
                self.add("FieldValueTypeInvalid", path, message);
            }
            return;
        }
        let fits = match node.ty {
            None => true,
            Some(Type::Object) => value.is_object(),
            Some(Type::Array) => value.is_array(),
            Some(Type::String) => value.is_string(),
            Some(Type::Boolean) => value.is_boolean(),
            Some(Type::Number) => value.is_number(),
            Some(Type::Integer) => is_integer(value),
        };
        if let (false, Some(ty)) = (fits, node.ty) {
            let given = type_name(value);
            let message = format!(
                "Invalid value: \"{given}\": {path} in body must be of type {}: \"{given}\"",
                ty.name()
            );
            self.add("FieldValueTypeInvalid", path, message);
        }
    }

    fn string(&mut self, node: &Node, text: &str, path: &str) {
        let limits = &node.limits;
        let length = text.chars().count() as u64;
        // The first of these that fails is the one told.
        if let Some(max) = limits.max_length.filter(|max| length > *max) {
            self.add(
                "FieldValueTooLong",
                path,
                format!("Too long: may not be more than {max} bytes"),
            );
        } else if let Some(min) = limits.min_length.filter(|min| length < *min) {
            self.invalid(
                path,
                Value::from(text),
                format!("should be at least {min} chars long"),
            );
        } else if let Some(pattern) = limits.pattern.as_ref().filter(|p| !p.is_match(text)) {
            self.invalid(
                path,
                Value::from(text),
                format!("should match '{}'", pattern.as_str()),
            );
        }
        if !format_fits(&limits.format, text) {
            self.invalid(
                path,
                Value::from(text),
                format!("must be of type {}: {text:?}", limits.format),
            );
        }
    }

    fn number(&mut self, node: &Node, number: &Number, path: &str) {
        let limits = &node.limits;
        let Some(n) = number.as_f64() else { return };
        if let Some(step) = limits
            .multiple_of
            .filter(|step| *step != 0.0 && (n / step).fract() != 0.0)
        {
            self.invalid(path, number, format!("should be a multiple of {step}"));
        }
        if let Some(min) = limits.minimum {
            if limits.exclusive_minimum && n <= min {
                self.invalid(path, number, format!("should be greater than {min}"));
            } else if n < min {
                self.invalid(
                    path,
                    number,
                    format!("should be greater than or equal to {min}"),
                );
            }
        }
        if let Some(max) = limits.maximum {
            if limits.exclusive_maximum && n >= max {
                self.invalid(path, number, format!("should be less than {max}"));
            } else if n > max {
                self.invalid(
                    path,
                    number,
                    format!("should be less than or equal to {max}"),
                );
            }
        }
    }

    /// `allOf`, `anyOf`, `oneOf` and `not`.
    fn combined(&mut self, node: &Node, value: &Value, path: &str, depth: usize) {
        let tries = |nodes: &[Node]| -> Vec<Vec<Invalid>> {
            nodes
                .iter()
                .map(|n| Found::tried(n, value, path, depth))
                .collect()
        };
        let whole = |found: &mut Found, what: &str| {
            found.add(
                "FieldValueInvalid",
                path,
                format!("Invalid value: \"\": {path:?} must {what}"),
            );
        };
        for problems in tries(&node.all_of).into_iter().filter(|p| !p.is_empty()) {
            whole(self, "validate all the schemas (allOf)");
            self.problems.extend(problems);
        }
        if !node.any_of.is_empty() {
            let outcomes = tries(&node.any_of);
            if outcomes.iter().all(|o| !o.is_empty()) {
                whole(self, "validate at least one schema (anyOf)");
                self.problems.extend(
                    outcomes
                        .into_iter()
                        .min_by_key(Vec::len)
                        .into_iter()
                        .flatten(),
                );
            }
        }
        if !node.one_of.is_empty() {
            let outcomes = tries(&node.one_of);
            match outcomes.iter().filter(|o| o.is_empty()).count() {
                1 => {}
                0 => {
                    whole(
                        self,
                        "validate one and only one schema (oneOf). Found none valid",
                    );
                    self.problems.extend(
                        outcomes
                            .into_iter()
                            .min_by_key(Vec::len)
                            .into_iter()
                            .flatten(),
                    );
                }
                many => whole(
                    self,
                    &format!(
                        "validate one and only one schema (oneOf). Found {many} valid alternatives"
                    ),
                ),
            }
        }
        if node
            .not
            .as_ref()
            .is_some_and(|not| Found::tried(not, value, path, depth).is_empty())
        {
            whole(self, "not validate the schema (not)");
        }
    }

    fn tried(node: &Node, value: &Value, path: &str, depth: usize) -> Vec<Invalid> {
        let mut found = Found {
            problems: Vec::new(),
        };
        found.check(node, value, path, depth + 1);
        found.problems
    }
}

/// Items of sets and keyed lists must differ.
fn lists(node: &Node, value: &Value, path: &str, problems: &mut Vec<Invalid>, depth: usize) {
    if depth > DEPTH {
        return;
    }
    match value {
        Value::Array(list) => {
            let mut seen: Vec<Value> = Vec::new();
            for (i, item) in list.iter().enumerate() {
                let here = format!("{path}[{i}]");
                let identity = match &node.merge {
                    Merge::Set => Some(item.clone()),
                    Merge::Keyed(keys) => {
                        let key = |k: &String| Some((k.clone(), item.get(k)?.clone()));
                        Some(Value::Object(keys.iter().filter_map(key).collect()))
                    }
                    _ => None,
                };
                if let Some(identity) = identity {
                    if seen.contains(&identity) {
                        let message = format!("Duplicate value: {identity}");
                        problems.push(Invalid {
                            reason: "FieldValueDuplicate",
                            field: here.clone(),
                            message,
                        });
                    } else {
                        seen.push(identity);
                    }
                }
                if let Some(items) = &node.items {
                    lists(items, item, &here, problems, depth + 1);
                }
            }
        }
        Value::Object(map) => {
            for (name, value) in map {
                if let Some(child) = node.child(name) {
                    lists(child, value, &join(path, name), problems, depth + 1);
                }
            }
        }
        _ => {}
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|n| n.fract() == 0.0)
}

/// Equal as JSON values, whatever way a number is written.
fn same(a: &Value, b: &Value) -> bool {
    a == b || matches!((a.as_f64(), b.as_f64()), (Some(a), Some(b)) if a == b)
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Whether a string has a format; formats that the real server does not know pass.
fn format_fits(format: &str, text: &str) -> bool {
    match format {
        "date-time" | "datetime" => crate::schema::protobuf::parse_time(text).is_some(),
        "date" => crate::schema::protobuf::parse_time(&format!("{text}T00:00:00Z")).is_some(),
        "ipv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<std::net::Ipv6Addr>().is_ok(),
        "cidr" => text.contains('/') && text.parse::<ipnet::IpNet>().is_ok(),
        "uuid" => uuid::Uuid::try_parse(text).is_ok(),
        "byte" => {
            use base64::Engine;
            base64::engine::general_purpose::STANDARD
                .decode(text)
                .is_ok()
        }
        _ => true,
    }
}
