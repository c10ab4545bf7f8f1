//! Reading files: values, positions, errors.

use hawser_api::manifest::{Position, read};
use serde_json::{Value, json};

fn values(text: &str) -> Vec<Value> {
    let manifest = read("f.yaml", text.as_bytes());
    assert_eq!(manifest.errors, vec![], "{text}");
    manifest.docs.into_iter().map(|d| d.value).collect()
}

fn check(name: &str, text: &str, expected: Value) {
    assert_eq!(Value::Array(values(text)), expected, "{name}");
}

#[test]
fn documents() {
    check("one", "a: 1\n", json!([{"a": 1}]));
    check(
        "several, some empty",
        "---\n# c\n---\na: 1\n---\n\n--- # x\nb: 2\n---\n",
        json!([{"a": 1}, {"b": 2}]),
    );
    check(
        "crlf and bom",
        "\u{feff}a: 1\r\n---\r\nb: two\r\n",
        json!([{"a": 1}, {"b": "two"}]),
    );
    check(
        "json",
        "{\"a\": {\"b\": [1, 2.5, \"x\", null, true]}}",
        json!([{"a": {"b": [1, 2.5, "x", null, true]}}]),
    );
    check(
        "json with tabs",
        "{\n\t\"a\": 1,\n\t\"b\": [\n\t\t2\n\t]\n}",
        json!([{"a": 1, "b": [2]}]),
    );
    check(
        "list",
        "apiVersion: v1\nkind: List\nitems:\n- {kind: Pod}\n- {kind: Node}\n",
        json!([{"kind": "Pod"}, {"kind": "Node"}]),
    );
    check(
        "typed list",
        "apiVersion: v1\nkind: PodList\nitems: [{metadata: {name: a}}]\n",
        json!([{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}]),
    );
    check(
        "anchors",
        "a: &x {k: 1}\nb: *x\nc: {<<: *x, l: 2}\n",
        json!([{"a": {"k": 1}, "b": {"k": 1}, "c": {"k": 1, "l": 2}}]),
    );
    check(
        "block scalar",
        "a: |\n  x\n  --- y\nb: >-\n  p\n  q\n",
        json!([{"a": "x\n--- y\n", "b": "p q"}]),
    );
}

#[test]
fn scalars_mean_what_they_mean_to_kubectl() {
    check(
        "booleans",
        "[yes, no, On, off, true, 'yes', \"no\"]",
        json!([[true, false, true, false, true, "yes", "no"]]),
    );
    check(
        "numbers",
        "[0x10, 0777, 0o17, 1_000, -5, 1.5, 1e3, .5, +7, 0]",
        json!([[16, 511, 15, 1000, -5, 1.5, 1000.0, 0.5, 7, 0]]),
    );
    check(
        "texts",
        "[1.2.3, 5s, 10.0.0.0/8, 09a, 2001-12-14, 1:30, inf]",
        json!([[
            "1.2.3",
            "5s",
            "10.0.0.0/8",
            "09a",
            "2001-12-14",
            "1:30",
            "inf"
        ]]),
    );
    check(
        "nulls",
        "{a: , b: ~, c: null}",
        json!([{"a": null, "b": null, "c": null}]),
    );
    check("tags", "[!!str 5, !!int \"5\"]", json!([["5", 5]]));
    check(
        "keys",
        "{8080: a, true: b}",
        json!([{"8080": "a", "true": "b"}]),
    );
}

const FILE: &str = "apiVersion: v1\nkind: A\nspec:\n  http:\n  - name: x\n    route:\n    - weight: 5\n      labels: {a.b/c: d}\n---\napiVersion: v1\nkind: List\nitems:\n- kind: B\n  spec: {k: v}\n";

#[test]
fn positions() {
    let manifest = read("f.yaml", FILE.as_bytes());
    for (doc, path, line, column) in [
        (0, "kind", 2, 1),
        (0, "spec.http[0].route[0].weight", 7, 7),
        (0, "spec.http[0].route[0]", 7, 7),
        (0, "spec.http[0].route[0].labels[a.b/c]", 8, 16),
        (0, "spec.http[0].timeout", 5, 5),
        (0, "spec.http[7]", 4, 3),
        (0, "", 1, 1),
        (1, "spec.k", 14, 10),
        (1, "", 13, 3),
    ] {
        assert_eq!(
            manifest.docs[doc].position(path),
            Position { line, column },
            "{path}"
        );
    }
}

#[test]
fn errors_name_the_place_and_leave_other_documents() {
    for (text, expected) in [
        ("a: [1\n---\nb: 1\n", "f.yaml:"),
        ("a: 1\n---\nb: {c: *nope}\n", "f.yaml:3:"),
        (
            "a: 1\n---\nb: .nan\n",
            "f.yaml:3:4: .nan cannot be written in JSON",
        ),
        (
            "a: 1\n---\n? [x]\n: 1\n",
            "f.yaml:3:3: a key must be a scalar",
        ),
    ] {
        let manifest = read("f.yaml", text.as_bytes());
        assert_eq!(manifest.docs.len(), 1, "{text}");
        assert_eq!(manifest.errors.len(), 1, "{text}");
        let message = manifest.errors[0].to_string();
        assert!(message.starts_with(expected), "{message}");
    }
    let deep = "[".repeat(200);
    assert!(
        read("f.yaml", deep.as_bytes()).errors[0]
            .to_string()
            .contains("nested deeper")
    );
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for i in 1..9 {
        let item = format!("*a{}", i - 1);
        bomb.push_str(&format!(
            "a{i}: &a{i} [{}]\n",
            [item.as_str(); 10].join(",")
        ));
    }
    assert!(
        read("f.yaml", bomb.as_bytes()).errors[0]
            .to_string()
            .contains("aliases expanded")
    );
    assert!(
        read("f.yaml", &[b'a', 0xff]).errors[0]
            .to_string()
            .contains("not UTF-8")
    );
}

#[test]
fn duplicate_keys_are_named_and_the_last_counts() {
    let manifest = read("f.yaml", b"spec:\n  a: 1\n  a: 2\n");
    assert_eq!(manifest.docs[0].duplicates, vec!["spec.a"]);
    assert_eq!(manifest.docs[0].value, json!({"spec": {"a": 2}}));
}
