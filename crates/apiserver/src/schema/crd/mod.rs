//! A custom kind's structural schema: what its objects may hold, what they default to, what is wrong with them.

mod structural;
mod validate;

use std::collections::BTreeMap;

use kube_cel::{CompiledSchema, compile_schema};
use regex::Regex;
use serde_json::{Map, Value};

use super::ir::{Merge, Schemas};
use super::{FieldIssue, Invalid};

/// Deeper schemas are refused, deeper values left alone.
const DEPTH: usize = 64;

/// One version's `openAPIV3Schema`, checked to be structural.
pub struct CrdSchema {
    root: Node,
    /// Compiled `x-kubernetes-validations`, when there are any.
    rules: Option<CompiledSchema>,
}

/// The JSON types that a schema can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

impl Type {
    fn parse(text: &str) -> Option<Type> {
        Some(match text {
            "object" => Type::Object,
            "array" => Type::Array,
            "string" => Type::String,
            "integer" => Type::Integer,
            "number" => Type::Number,
            "boolean" => Type::Boolean,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Type::Object => "object",
            Type::Array => "array",
            Type::String => "string",
            Type::Integer => "integer",
            Type::Number => "number",
            Type::Boolean => "boolean",
        }
    }
}

/// What a schema says about one value.
#[derive(Debug, Default)]
pub(crate) struct Node {
    ty: Option<Type>,
    nullable: bool,
    int_or_string: bool,
    /// `x-kubernetes-preserve-unknown-fields`.
    preserve: bool,
    /// `x-kubernetes-embedded-resource`.
    embedded: bool,
    pub(crate) properties: BTreeMap<String, Node>,
    pub(crate) additional: Option<Box<Node>>,
    /// `additionalProperties: true`.
    any_additional: bool,
    pub(crate) items: Option<Box<Node>>,
    default: Option<Value>,
    pub(crate) merge: Merge,
    limits: Limits,
    all_of: Vec<Node>,
    any_of: Vec<Node>,
    one_of: Vec<Node>,
    not: Option<Box<Node>>,
}

#[derive(Debug, Default)]
struct Limits {
    required: Vec<String>,
    allowed: Vec<Value>,
    pattern: Option<Regex>,
    format: String,
    minimum: Option<f64>,
    maximum: Option<f64>,
    exclusive_minimum: bool,
    exclusive_maximum: bool,
    multiple_of: Option<f64>,
    min_length: Option<u64>,
    max_length: Option<u64>,
    min_items: Option<u64>,
    max_items: Option<u64>,
    min_properties: Option<u64>,
    max_properties: Option<u64>,
}

impl CrdSchema {
    /// Reads `openAPIV3Schema`; the problems' fields start with `spec.validation.openAPIV3Schema`.
    pub fn parse(openapi: &Value) -> Result<CrdSchema, Vec<Invalid>> {
        let problems = structural::check(openapi);
        if !problems.is_empty() {
            return Err(problems);
        }
        let root = Node::read(openapi, 0);
        let problems = structural::check_defaults(&root);
        if !problems.is_empty() {
            return Err(problems);
        }
        let rules = has_rules(openapi, 0).then(|| compile_schema(openapi));
        if let Some(rules) = &rules {
            let problems = structural::check_rules(rules);
            if !problems.is_empty() {
                return Err(problems);
            }
        }
        Ok(CrdSchema { root, rules })
    }

    /// Drops what the schema does not specify and reports it.
    pub fn prune(&self, object: &mut Value) -> Vec<FieldIssue> {
        let mut issues = Vec::new();
        Schemas::builtin().prune_metadata(object, &mut issues);
        if let Value::Object(map) = object {
            let kept: Vec<(String, Value)> = ["apiVersion", "kind", "metadata"]
                .iter()
                .filter_map(|k| map.remove_entry(*k))
                .collect();
            self.root
                .prune_object(map, &mut String::new(), &mut issues, 0);
            map.extend(kept);
        }
        issues
    }

    /// Fills in the schema's defaults, and drops nulls where a default or nothing stands for them.
    pub fn default(&self, object: &mut Value) {
        self.root.fill(object, 0);
    }

    /// What is wrong with an object, or with changing `old` into it.
    pub fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<Invalid> {
        validate::object(self, object, old)
    }

    pub(crate) fn root(&self) -> &Node {
        &self.root
    }
}

impl std::fmt::Debug for CrdSchema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CrdSchema")
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

fn has_rules(schema: &Value, depth: usize) -> bool {
    depth <= DEPTH
        && match schema {
            Value::Object(map) => {
                map.get("x-kubernetes-validations")
                    .and_then(Value::as_array)
                    .is_some_and(|r| !r.is_empty())
                    || map.values().any(|v| has_rules(v, depth + 1))
            }
            Value::Array(list) => list.iter().any(|v| has_rules(v, depth + 1)),
            _ => false,
        }
}

impl Node {
    /// Reads a schema that [`structural::check`] found no fault with.
    fn read(schema: &Value, depth: usize) -> Node {
        let Some(map) = schema.as_object().filter(|_| depth <= DEPTH) else {
            return Node::default();
        };
        let flag = |name: &str| map.get(name).and_then(Value::as_bool).unwrap_or_default();
        let text = |name: &str| map.get(name).and_then(Value::as_str).unwrap_or_default();
        let count = |name: &str| map.get(name).and_then(Value::as_u64);
        let number = |name: &str| map.get(name).and_then(Value::as_f64);
        let node = |name: &str| {
            map.get(name)
                .filter(|v| v.is_object())
                .map(|v| Box::new(Node::read(v, depth + 1)))
        };
        let nodes = |name: &str| -> Vec<Node> {
            let list = map
                .get(name)
                .and_then(Value::as_array)
                .into_iter()
                .flatten();
            list.map(|v| Node::read(v, depth + 1)).collect()
        };
        let properties = map
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten();
        let strings = |name: &str| -> Vec<String> {
            let list = map
                .get(name)
                .and_then(Value::as_array)
                .into_iter()
                .flatten();
            list.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let merge = match (
            text("x-kubernetes-list-type"),
            text("x-kubernetes-map-type"),
        ) {
            ("map", _) => Merge::Keyed(strings("x-kubernetes-list-map-keys")),
            ("set", _) => Merge::Set,
            ("atomic", _) | (_, "atomic") => Merge::Atomic,
            (_, "granular") => Merge::Granular,
            _ => Merge::Unmarked,
        };
        Node {
            ty: Type::parse(text("type")),
            nullable: flag("nullable"),
            int_or_string: flag("x-kubernetes-int-or-string"),
            preserve: flag("x-kubernetes-preserve-unknown-fields"),
            embedded: flag("x-kubernetes-embedded-resource"),
            properties: properties
                .map(|(k, v)| (k.clone(), Node::read(v, depth + 1)))
                .collect(),
            additional: node("additionalProperties"),
            any_additional: flag("additionalProperties"),
            items: node("items"),
            default: map.get("default").filter(|d| !d.is_null()).cloned(),
            merge,
            limits: Limits {
                required: strings("required"),
                allowed: map
                    .get("enum")
                    .and_then(Value::as_array)
                    .cloned()
                    .unwrap_or_default(),
                pattern: map
                    .get("pattern")
                    .and_then(Value::as_str)
                    .and_then(|p| Regex::new(p).ok()),
                format: text("format").to_owned(),
                minimum: number("minimum"),
                maximum: number("maximum"),
                exclusive_minimum: flag("exclusiveMinimum"),
                exclusive_maximum: flag("exclusiveMaximum"),
                multiple_of: number("multipleOf"),
                min_length: count("minLength"),
                max_length: count("maxLength"),
                min_items: count("minItems"),
                max_items: count("maxItems"),
                min_properties: count("minProperties"),
                max_properties: count("maxProperties"),
            },
            all_of: nodes("allOf"),
            any_of: nodes("anyOf"),
            one_of: nodes("oneOf"),
            not: node("not"),
        }
    }

    /// The schema of the member `name` of a map of this schema.
    pub(crate) fn child(&self, name: &str) -> Option<&Node> {
        self.properties.get(name).or(self.additional.as_deref())
    }

    pub(crate) fn default_value(&self) -> Option<&Value> {
        self.default.as_ref()
    }

    /// Whether nothing is known of what a map of this schema holds.
    pub(crate) fn is_open(&self) -> bool {
        self.preserve && self.properties.is_empty() && self.additional.is_none()
    }

    pub(crate) fn is_array(&self) -> bool {
        self.ty == Some(Type::Array)
    }

    fn prune(
        &self,
        value: &mut Value,
        path: &mut String,
        issues: &mut Vec<FieldIssue>,
        depth: usize,
    ) {
        match value {
            Value::Object(map) if depth <= DEPTH => {
                let kept: Vec<(String, Value)> = if self.embedded {
                    ["apiVersion", "kind", "metadata"]
                        .iter()
                        .filter_map(|k| map.remove_entry(*k))
                        .collect()
                } else {
                    Vec::new()
                };
                self.prune_object(map, path, issues, depth);
                map.extend(kept);
            }
            Value::Array(list) if depth <= DEPTH => {
                let Some(items) = &self.items else { return };
                for (i, value) in list.iter_mut().enumerate() {
                    let length = path.len();
                    path.push_str(&format!("[{i}]"));
                    items.prune(value, path, issues, depth + 1);
                    path.truncate(length);
                }
            }
            _ => {}
        }
    }

    fn prune_object(
        &self,
        map: &mut Map<String, Value>,
        path: &mut String,
        issues: &mut Vec<FieldIssue>,
        depth: usize,
    ) {
        let taken = std::mem::take(map);
        for (name, mut value) in taken {
            let length = path.len();
            if length > 0 {
                path.push('.');
            }
            path.push_str(&name);
            match self.child(&name) {
                Some(child) => {
                    child.prune(&mut value, path, issues, depth + 1);
                    map.insert(name, value);
                }
                None if self.preserve || self.any_additional => {
                    map.insert(name, value);
                }
                None => issues.push(FieldIssue::Unknown { path: path.clone() }),
            }
            path.truncate(length);
        }
    }

    fn fill(&self, value: &mut Value, depth: usize) {
        if depth > DEPTH {
            return;
        }
        match value {
            Value::Object(map) => {
                for (name, child) in &self.properties {
                    // A null that is not allowed counts as absent where there is a default.
                    let replaceable = map
                        .get(name)
                        .is_none_or(|v| v.is_null() && !child.nullable && child.default.is_some());
                    if let (true, Some(default)) = (replaceable, &child.default) {
                        map.insert(name.clone(), default.clone());
                    }
                }
                for (name, value) in map {
                    if let Some(child) = self.child(name) {
                        child.fill(value, depth + 1);
                    }
                }
            }
            Value::Array(list) => {
                for value in list {
                    if let Some(items) = &self.items {
                        items.fill(value, depth + 1);
                    }
                }
            }
            _ => {}
        }
    }
}
