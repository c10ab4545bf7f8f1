//! What a cluster with Istio's CRDs would say of an object beyond its types: required fields, bounds, patterns, CEL rules.
//!
//! Reading ([`crate::parse`]) has reported types, enums, oneofs and unknown fields already; they are not repeated here.

use crate::message::{Fault, FaultKind, push_key};
use crate::rules;
use crate::shape::{MessageShape, Rule, Shape, names};
use regex::Regex;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Checks a value against a shape and the rules of the field that has it; `path` is where the value stands in its object.
pub fn check(shape: &Shape, rules: &[Rule], value: &Value, path: &str) -> Vec<Fault> {
    let mut checker = Checker {
        path: path.to_owned(),
        faults: Vec::new(),
        patterns: BTreeMap::new(),
    };
    checker.shape(shape, rules, value);
    checker.faults
}

struct Checker {
    path: String,
    faults: Vec<Fault>,
    patterns: BTreeMap<&'static str, Option<Regex>>,
}

impl Checker {
    fn fault(&mut self, kind: FaultKind, message: impl Into<String>, help: impl Into<String>) {
        self.faults.push(Fault {
            path: self.path.clone(),
            kind,
            message: message.into(),
            help: help.into(),
        });
    }

    fn broken(&mut self, message: impl Into<String>) {
        self.fault(FaultKind::Rule, message, "");
    }

    fn within(&mut self, key: &str, f: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        push_key(&mut self.path, key);
        f(self);
        self.path.truncate(length);
    }

    fn within_item(&mut self, index: usize, f: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push_str(&format!("[{index}]"));
        f(self);
        self.path.truncate(length);
    }

    fn shape(&mut self, shape: &Shape, rules: &[Rule], value: &Value) {
        let each: &[Rule] = rules
            .iter()
            .find_map(|rule| match rule {
                Rule::Each(each) => Some(*each),
                _ => None,
            })
            .unwrap_or_default();
        match (shape, value) {
            (Shape::Message(message), Value::Object(map)) => {
                self.fields(message, map);
                self.rules(&message.rules, value);
            }
            (Shape::List(inner), Value::Array(items)) => {
                let nullable = matches!(**inner, Shape::Nullable(_) | Shape::Any);
                for (i, item) in items.iter().enumerate() {
                    self.within_item(i, |c| {
                        // An API server takes fields that are null away, but not items.
                        if item.is_null() && !nullable {
                            c.fault(FaultKind::Type, "must not be null", "remove the empty item");
                        } else {
                            c.shape(inner, each, item);
                        }
                    });
                }
            }
            (Shape::Map(inner), Value::Object(map)) => {
                for (key, value) in map.iter().filter(|(_, v)| !v.is_null()) {
                    self.within(key, |c| c.shape(inner, each, value));
                }
            }
            (Shape::Nullable(inner), value) if !value.is_null() => self.shape(inner, &[], value),
            (Shape::Int { .. }, Value::String(_)) => {
                self.fault(
                    FaultKind::Type,
                    "must be a number, not a string",
                    "remove the quotes",
                );
            }
            (Shape::Duration, Value::String(_))
                if !rules.iter().any(|r| matches!(r, Rule::AnyDuration))
                    && !(rules::MILLISECOND.holds)(value) =>
            {
                self.fault(
                    FaultKind::Rule,
                    rules::MILLISECOND.message,
                    "write 1ms or more, or leave the field out for its default",
                );
            }
            _ => {}
        }
        self.rules(rules, value);
    }

    fn fields(&mut self, message: &MessageShape, map: &serde_json::Map<String, Value>) {
        for field in &message.fields {
            let alias = field.rules.iter().find_map(|rule| match rule {
                Rule::Alias(alias) => Some(*alias),
                _ => None,
            });
            let value = map
                .get(&field.name)
                .or_else(|| map.get(alias?))
                .filter(|v| !v.is_null());
            match value {
                Some(value) => {
                    self.within(&field.name, |c| c.shape(&field.shape, &field.rules, value))
                }
                None if field.rules.iter().any(|r| matches!(r, Rule::Required)) => {
                    self.within(&field.name, |c| c.broken("is required"));
                }
                None => {}
            }
            if let Some(key) = map.keys().find(|k| {
                **k != field.name && Some(k.as_str()) != alias && in_snake_case(k, &field.name)
            }) {
                let (message, help) = (
                    format!("unknown field \"{key}\""),
                    format!("write {}", field.name),
                );
                self.within(key, |c| c.fault(FaultKind::UnknownField, message, help));
            }
        }
    }

    fn rules(&mut self, rules: &[Rule], value: &Value) {
        for rule in rules {
            self.rule(rule, value);
        }
    }

    fn rule(&mut self, rule: &Rule, value: &Value) {
        let chars = value.as_str().map(|s| s.chars().count());
        let items = value.as_array().map(Vec::len);
        // What is null is taken away before anything is counted.
        let properties = value
            .as_object()
            .map(|map| map.values().filter(|v| !v.is_null()).count());
        match *rule {
            Rule::MinLength(n) if chars.is_some_and(|c| c < n) => {
                self.broken(if n == 1 {
                    "must not be empty".to_owned()
                } else {
                    format!("must have at least {n} characters")
                });
            }
            Rule::MaxLength(n) if chars.is_some_and(|c| c > n) => {
                self.broken(format!("must have at most {n} characters"))
            }
            Rule::Min(n) if value.as_f64().is_some_and(|v| v < n as f64) => {
                self.broken(format!("must be at least {n}"))
            }
            Rule::Max(n) if value.as_f64().is_some_and(|v| v > n as f64) => {
                self.broken(format!("must be at most {n}"))
            }
            Rule::MinItems(n) if items.is_some_and(|i| i < n) => {
                self.broken(format!("must have at least {n} items"))
            }
            Rule::MaxItems(n) if items.is_some_and(|i| i > n) => {
                self.broken(format!("must have at most {n} items"))
            }
            Rule::MinProperties(n) if properties.is_some_and(|p| p < n) => {
                self.broken(format!("must have at least {n} entries"))
            }
            Rule::MaxProperties(n) if properties.is_some_and(|p| p > n) => {
                self.broken(format!("must have at most {n} entries"))
            }
            Rule::Pattern(pattern) => {
                let Some(text) = value.as_str() else { return };
                let compiled = self
                    .patterns
                    .entry(pattern)
                    .or_insert_with(|| Regex::new(pattern).ok());
                if compiled.as_ref().is_some_and(|p| !p.is_match(text)) {
                    self.broken(format!("must match {pattern}"));
                }
            }
            Rule::MapKeys(keys) => {
                let mut seen = BTreeSet::new();
                for (i, item) in value.as_array().into_iter().flatten().enumerate() {
                    let id: Vec<String> = keys
                        .iter()
                        .map(|k| item.get(*k).map(Value::to_string).unwrap_or_default())
                        .collect();
                    if !seen.insert(id) {
                        self.within_item(i, |c| {
                            c.fault(
                                FaultKind::Rule,
                                format!("another item has the same {}", keys.join(", ")),
                                "rename or remove one",
                            );
                        });
                    }
                }
            }
            Rule::Cel(cel) if !(cel.holds)(value) => self.broken(cel.message),
            _ => {}
        }
    }
}

/// Whether `key` is the field's name as proto writes it, with underscores.
fn in_snake_case(key: &str, json_name: &str) -> bool {
    key.contains('_') && names(json_name, key)
}
