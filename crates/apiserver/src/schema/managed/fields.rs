//! Sets of fields, as `managedFields` writes them (`FieldsV1`).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// A set of paths. A path's steps are written as in `FieldsV1`: `f:name`, `k:{"name":"x"}`, `v:"x"`, `i:0`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields {
    /// Whether the path to here is in the set.
    pub member: bool,
    pub below: BTreeMap<String, Fields>,
}

/// The step to a field of a struct or map.
pub(super) fn field(name: &str) -> String {
    format!("f:{name}")
}

impl Fields {
    pub(super) fn is_empty(&self) -> bool {
        !self.member && self.below.values().all(Fields::is_empty)
    }

    pub(super) fn has_members_below(&self) -> bool {
        self.below.values().any(|f| !f.is_empty())
    }

    pub(super) fn insert(&mut self, path: &[String]) {
        let mut at = self;
        for step in path {
            at = at.below.entry(step.clone()).or_default();
        }
        at.member = true;
    }

    pub(super) fn remove(&mut self, path: &[&str]) {
        match path {
            [] => self.member = false,
            [step, rest @ ..] => {
                if let Some(below) = self.below.get_mut(*step) {
                    below.remove(rest);
                }
            }
        }
    }

    pub(super) fn union(&mut self, other: &Fields) {
        self.member |= other.member;
        for (step, below) in &other.below {
            self.below.entry(step.clone()).or_default().union(below);
        }
    }

    /// Takes out the paths of `other`.
    pub(super) fn subtract(&mut self, other: &Fields) {
        self.member &= !other.member;
        for (step, below) in &other.below {
            if let Some(mine) = self.below.get_mut(step) {
                mine.subtract(below);
            }
        }
        self.below.retain(|_, f| !f.is_empty());
    }

    /// The paths that are in both.
    pub(super) fn intersection(&self, other: &Fields) -> Fields {
        let shared = self.below.iter().filter_map(|(step, mine)| {
            let both = mine.intersection(other.below.get(step)?);
            (!both.is_empty()).then(|| (step.clone(), both))
        });
        Fields {
            member: self.member && other.member,
            below: shared.collect(),
        }
    }

    /// Reads `fieldsV1`; what is no path in it is left out.
    pub(super) fn read(value: &Value) -> Fields {
        let mut fields = Fields::default();
        for (step, below) in value.as_object().into_iter().flatten() {
            if step == "." {
                fields.member = true;
                continue;
            }
            let mut read = Fields::read(below);
            // A path with nothing below is a member without saying so.
            read.member |= read.below.is_empty();
            fields.below.insert(step.clone(), read);
        }
        fields
    }

    /// Writes `fieldsV1`.
    pub(super) fn write(&self) -> Value {
        let mut map = Map::new();
        if self.member && self.has_members_below() {
            map.insert(".".to_owned(), Value::Object(Map::new()));
        }
        for (step, below) in self.below.iter().filter(|(_, f)| !f.is_empty()) {
            map.insert(step.clone(), below.write());
        }
        Value::Object(map)
    }

    /// The members as text: `.spec.containers[name="c"].image`.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect(&mut String::new(), &mut paths);
        paths
    }

    fn collect(&self, path: &mut String, paths: &mut Vec<String>) {
        if self.member {
            paths.push(path.clone());
        }
        for (step, below) in &self.below {
            let length = path.len();
            path.push_str(&readable(step));
            below.collect(path, paths);
            path.truncate(length);
        }
    }
}

fn readable(step: &str) -> String {
    match step.split_once(':') {
        Some(("f", name)) => format!(".{name}"),
        Some(("k", keys)) => {
            let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            let pairs: Vec<String> = keys.iter().map(|(k, v)| format!("{k}={v}")).collect();
            format!("[{}]", pairs.join(","))
        }
        Some(("v", value)) => format!("[={value}]"),
        Some(("i", index)) => format!("[{index}]"),
        _ => format!(".{step}"),
    }
}

#[cfg(test)]
mod tests {
    use super::Fields;
    use serde_json::json;

    #[test]
    fn sets_are_read_as_they_are_written() {
        let cases = [
            json!({}),
            json!({"f:data": {}}),
            json!({"f:data": {".": {}, "f:x": {}}}),
            json!({"f:spec": {"f:ports": {"k:{\"port\":80}": {".": {}, "f:port": {}}}}}),
            json!({"f:metadata": {"f:finalizers": {"v:\"x\"": {}}}}),
        ];
        for case in cases {
            assert_eq!(Fields::read(&case).write(), case);
        }
    }
}
