//! The part of kubectl's JSONPath that printer columns use: names, indices, wildcards and filters.

use serde_json::Value;

/// Longer paths are refused.
const LENGTH: usize = 1024;

#[derive(Debug, PartialEq)]
enum Step {
    Name(String),
    Index(i64),
    All,
    /// `?(@.path == literal)`; without a literal the path must exist.
    Filter {
        path: Vec<Step>,
        equal: bool,
        literal: Option<Value>,
    },
}

/// A parsed path.
#[derive(Debug, PartialEq)]
pub(crate) struct JsonPath(Vec<Step>);

impl JsonPath {
    /// Reads a path such as `.status.conditions[?(@.type=="Ready")].status`; `None` if it is none.
    pub(crate) fn parse(text: &str) -> Option<JsonPath> {
        let text = text.trim();
        let text = text
            .strip_prefix('{')
            .and_then(|t| t.strip_suffix('}'))
            .unwrap_or(text);
        let text = text.strip_prefix('$').unwrap_or(text);
        if text.len() > LENGTH {
            return None;
        }
        steps(text).map(JsonPath)
    }

    /// The values that the path leads to.
    pub(crate) fn find<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        find(&self.0, value)
    }
}

fn steps(mut text: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    while let Some(first) = text.chars().next() {
        if first == '[' {
            let end = closing(text)?;
            steps.push(bracket(text.get(1..end)?.trim())?);
            text = text.get(end + 1..)?;
            continue;
        }
        text = text.strip_prefix('.').unwrap_or(text);
        let mut name = String::new();
        let mut chars = text.char_indices();
        let mut end = text.len();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => name.extend(chars.next().map(|(_, c)| c)),
                '.' | '[' => {
                    end = at;
                    break;
                }
                c => name.push(c),
            }
        }
        text = text.get(end..)?;
        match name.as_str() {
            "" if steps.is_empty() && text.is_empty() => {}
            "" => return None,
            "*" => steps.push(Step::All),
            _ => steps.push(Step::Name(name)),
        }
    }
    Some(steps)
}

/// Where the bracket at the start closes, minding quotes.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

fn bracket(inner: &str) -> Option<Step> {
    if inner == "*" || inner == ":" {
        return Some(Step::All);
    }
    if let Some(filter) = inner.strip_prefix("?(").and_then(|f| f.strip_suffix(')')) {
        let (path, equal, literal) = match (filter.split_once("=="), filter.split_once("!=")) {
            (Some((path, literal)), _) => (path, true, Some(read_literal(literal)?)),
            (_, Some((path, literal))) => (path, false, Some(read_literal(literal)?)),
            _ => (filter, true, None),
        };
        let path = path.trim().strip_prefix('@')?;
        if path.contains("?(") {
            return None;
        }
        return Some(Step::Filter {
            path: steps(path)?,
            equal,
            literal,
        });
    }
    if let Some(name) = quoted(inner) {
        return Some(Step::Name(name.to_owned()));
    }
    inner.parse().ok().map(Step::Index)
}

fn quoted(text: &str) -> Option<&str> {
    let unquote = |q: char| text.strip_prefix(q).and_then(|t| t.strip_suffix(q));
    unquote('\'').or_else(|| unquote('"'))
}

fn read_literal(text: &str) -> Option<Value> {
    let text = text.trim();
    match quoted(text) {
        Some(text) => Some(Value::String(text.to_owned())),
        None => serde_json::from_str(text).ok(),
    }
}

fn find<'a>(steps: &[Step], value: &'a Value) -> Vec<&'a Value> {
    let mut found = vec![value];
    for step in steps {
        found = found
            .into_iter()
            .flat_map(|value| apply(step, value))
            .collect();
    }
    found
}

fn apply<'a>(step: &Step, value: &'a Value) -> Vec<&'a Value> {
    match (step, value) {
        (Step::Name(name), Value::Object(map)) => map.get(name).into_iter().collect(),
        (Step::Index(index), Value::Array(list)) => {
            let length = i64::try_from(list.len()).unwrap_or(i64::MAX);
            let index = if *index < 0 { index + length } else { *index };
            usize::try_from(index)
                .ok()
                .and_then(|i| list.get(i))
                .into_iter()
                .collect()
        }
        (Step::All, Value::Array(list)) => list.iter().collect(),
        (Step::All, Value::Object(map)) => map.values().collect(),
        (
            Step::Filter {
                path,
                equal,
                literal,
            },
            Value::Array(list),
        ) => {
            let keeps = |item: &&Value| {
                let found = find(path, item);
                match literal {
                    None => !found.is_empty(),
                    Some(literal) => found.first().is_some_and(|v| (*v == literal) == *equal),
                }
            };
            list.iter().filter(keeps).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::JsonPath;
    use serde_json::json;

    #[test]
    fn paths_find_what_kubectl_finds() {
        let object = json!({
            "spec": {"hosts": ["a", "b"], "size": 3},
            "metadata": {"labels": {"a.b/c": "x"}},
            "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]},
        });
        let cases = [
            (".spec.size", json!([3])),
            ("{.spec.size}", json!([3])),
            (".spec.hosts", json!([["a", "b"]])),
            (".spec.hosts[*]", json!(["a", "b"])),
            (".spec.hosts[-1]", json!(["b"])),
            (".metadata.labels.a\\.b/c", json!(["x"])),
            (".metadata.labels['a.b/c']", json!(["x"])),
            (
                ".status.conditions[?(@.type==\"Ready\")].status",
                json!(["True"]),
            ),
            (
                ".status.conditions[?(@.type!='Ready')].status",
                json!(["False"]),
            ),
            (".spec.none", json!([])),
        ];
        for (path, expected) in cases {
            let found = JsonPath::parse(path).expect(path);
            assert_eq!(json!(found.find(&object)), expected, "{path}");
        }
        assert_eq!(JsonPath::parse(".a[").map(|_| ()), None);
        assert_eq!(JsonPath::parse(".a..b").map(|_| ()), None);
    }
}
