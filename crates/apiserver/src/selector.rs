//! Label and field selectors.

use serde_json::Value;

use crate::kinds::Kind;
use crate::status::ApiError;
use crate::store::Stored;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Op {
    In,
    NotIn,
    Exists,
    Absent,
    Greater(i64),
    Less(i64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    op: Op,
    values: Vec<String>,
}

/// A label selector; an empty one matches everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelSelector(Vec<Requirement>);

impl Requirement {
    fn matches(&self, value: Option<&str>) -> bool {
        let listed = value.is_some_and(|value| self.values.iter().any(|wanted| wanted == value));
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match self.op {
            Op::In => listed,
            Op::NotIn => !listed,
            Op::Exists => value.is_some(),
            Op::Absent => value.is_none(),
            Op::Greater(limit) => number().is_some_and(|number| number > limit),
            Op::Less(limit) => number().is_some_and(|number| number < limit),
        }
    }
}

impl LabelSelector {
    /// Reads the form of a query parameter: `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1`.
    ///
    /// # Errors
    /// Says what cannot be read.
    pub fn parse(text: &str) -> Result<LabelSelector, String> {
        let mut requirements = Vec::new();
        for part in split_outside_parentheses(text) {
            let part = part.trim();
            if part.is_empty() {
                if text.trim().is_empty() {
                    break;
                }
                return Err("found ',', expected: identifier after ','".into());
            }
            requirements.push(parse_requirement(part)?);
        }
        Ok(LabelSelector(requirements))
    }

    /// Reads a `metav1.LabelSelector` (`matchLabels` and `matchExpressions`).
    pub fn from_object(selector: &Value) -> LabelSelector {
        let mut requirements = Vec::new();
        for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
            let values = vec![value.as_str().unwrap_or_default().to_owned()];
            requirements.push(Requirement {
                key: key.clone(),
                op: Op::In,
                values,
            });
        }
        for expression in selector["matchExpressions"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let op = match expression["operator"].as_str() {
                Some("In") => Op::In,
                Some("NotIn") => Op::NotIn,
                Some("Exists") => Op::Exists,
                Some("DoesNotExist") => Op::Absent,
                // Validation refuses any other; matching nothing is the safe reading.
                _ => Op::In,
            };
            requirements.push(Requirement {
                key: expression["key"].as_str().unwrap_or_default().to_owned(),
                op,
                values: crate::object::strings(expression.get("values"))
                    .into_iter()
                    .map(str::to_owned)
                    .collect(),
            });
        }
        LabelSelector(requirements)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn matches(&self, object: &Stored) -> bool {
        self.0
            .iter()
            .all(|requirement| requirement.matches(object.label(&requirement.key)))
    }

    /// As [`LabelSelector::matches`] for labels given as an object, or null.
    pub fn matches_labels(&self, labels: Option<&Value>) -> bool {
        let label = |key: &str| {
            labels
                .and_then(|labels| labels.get(key))
                .and_then(Value::as_str)
        };
        self.0
            .iter()
            .all(|requirement| requirement.matches(label(&requirement.key)))
    }
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0);
    for (at, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(text.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text.get(start..).unwrap_or_default());
    parts
}

fn parse_requirement(part: &str) -> Result<Requirement, String> {
    let requirement = |key: &str, op: Op, values: Vec<String>| {
        let key = key.trim();
        if key.is_empty() || key.contains(|c: char| c.is_whitespace() || "()=!<>".contains(c)) {
            return Err(format!(
                "unable to parse requirement: {part:?}: the label's name is not valid"
            ));
        }
        Ok(Requirement {
            key: key.to_owned(),
            op,
            values,
        })
    };
    if let Some(key) = part.strip_prefix('!') {
        return requirement(key, Op::Absent, Vec::new());
    }
    if let Some(open) = part.find('(') {
        let (head, list) = part.split_at(open);
        let list = list
            .strip_prefix('(')
            .and_then(|list| list.trim_end().strip_suffix(')'));
        let list =
            list.ok_or_else(|| format!("unable to parse requirement: {part:?}: ')' is missing"))?;
        let values: Vec<String> = list
            .split(',')
            .map(|value| value.trim().to_owned())
            .collect();
        return match head.split_whitespace().collect::<Vec<_>>().as_slice() {
            [key, "in"] => requirement(key, Op::In, values),
            [key, "notin"] => requirement(key, Op::NotIn, values),
            _ => Err(format!(
                "unable to parse requirement: {part:?}: expected 'in' or 'notin'"
            )),
        };
    }
    for (sign, op) in [("!=", Op::NotIn), ("==", Op::In), ("=", Op::In)] {
        if let Some((key, value)) = part.split_once(sign) {
            return requirement(key, op, vec![value.trim().to_owned()]);
        }
    }
    for (sign, greater) in [('>', true), ('<', false)] {
        if let Some((key, value)) = part.split_once(sign) {
            let limit = value.trim().parse().map_err(|_| {
                format!("unable to parse requirement: {part:?}: the value must be an integer")
            })?;
            return requirement(
                key,
                if greater {
                    Op::Greater(limit)
                } else {
                    Op::Less(limit)
                },
                Vec::new(),
            );
        }
    }
    requirement(part, Op::Exists, Vec::new())
}

/// A field selector; an empty one matches everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldSelector(Vec<FieldRequirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct FieldRequirement {
    field: String,
    value: String,
    equal: bool,
}

impl FieldSelector {
    /// Reads `field=value,field!=value`.
    ///
    /// # Errors
    /// 400 for a form that cannot be read and for a field that the kind does not know.
    pub fn parse(text: &str, kind: &Kind) -> Result<FieldSelector, ApiError> {
        let mut requirements = Vec::new();
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            let (field, value, equal) = if let Some((field, value)) = part.split_once("!=") {
                (field, value, false)
            } else if let Some((field, value)) =
                part.split_once("==").or_else(|| part.split_once('='))
            {
                (field, value, true)
            } else {
                return Err(ApiError::bad_request(format!(
                    "invalid selector: '{text}'; can't understand '{part}'"
                )));
            };
            let field = field.trim();
            let known = matches!(field, "metadata.name" | "metadata.namespace")
                || kind.selectable.iter().any(|known| **known == *field);
            if !known {
                return Err(ApiError::bad_request(unknown_field(field, kind)));
            }
            requirements.push(FieldRequirement {
                field: field.to_owned(),
                value: value.trim().to_owned(),
                equal,
            });
        }
        Ok(FieldSelector(requirements))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The name that the selector pins, if it does.
    pub fn pinned_name(&self) -> Option<&str> {
        self.0
            .iter()
            .find(|r| r.equal && r.field == "metadata.name")
            .map(|r| r.value.as_str())
    }

    pub fn matches(&self, object: &Stored) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let mut parsed = None;
        self.0.iter().all(|requirement| {
            let value = match requirement.field.as_str() {
                "metadata.name" => object.key.name.to_string(),
                "metadata.namespace" => object.key.namespace.to_string(),
                field => field_text(parsed.get_or_insert_with(|| object.value()), field),
            };
            (value == requirement.value) == requirement.equal
        })
    }
}

fn unknown_field(field: &str, kind: &Kind) -> String {
    // Kinds with no fields of their own name the two that all have; the others only say what is wrong.
    if kind.selectable.is_empty() {
        format!(
            "{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        )
    } else {
        format!("field label not supported: {field}")
    }
}

fn field_text(object: &Value, field: &str) -> String {
    if field == "source" {
        let component = crate::object::text(object, "/source/component");
        let reporting = crate::object::text(object, "/reportingComponent");
        return if component.is_empty() {
            reporting
        } else {
            component
        }
        .to_owned();
    }
    let pointer = format!("/{}", field.replace('.', "/"));
    match object.pointer(&pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => match field {
            "spec.unschedulable" | "spec.hostNetwork" => "false".into(),
            _ => String::new(),
        },
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(selector: &str, labels: Value, expected: bool) {
        let parsed = LabelSelector::parse(selector).expect("it can be read");
        assert_eq!(
            parsed.matches_labels(Some(&labels)),
            expected,
            "{selector} on {labels}"
        );
    }

    #[test]
    fn label_selectors() {
        let labels = json!({"a": "b", "empty": "", "n": "5"});
        for (selector, expected) in [
            ("", true),
            ("a=b", true),
            ("a==b", true),
            ("a!=b", false),
            ("other!=b", true),
            ("a in (b, c)", true),
            ("a in (c,d),x", false),
            ("a notin (c)", true),
            ("a", true),
            ("!a", false),
            ("!x", true),
            ("empty=", true),
            ("a=", false),
            ("n>4,n<6", true),
            ("n>5", false),
        ] {
            check(selector, labels.clone(), expected);
        }
        for wrong in ["a in b", "a in (b", "=b", "a=b,,c", "n>x", "a b"] {
            assert!(LabelSelector::parse(wrong).is_err(), "{wrong}");
        }
    }
}
