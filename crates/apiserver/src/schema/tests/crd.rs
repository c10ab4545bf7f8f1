use serde_json::{Value, json};

use crate::schema::{CrdSchema, summary};

fn widget() -> Value {
    json!({"type": "object", "properties": {
        "spec": {
            "type": "object", "required": ["color"],
            "x-kubernetes-validations": [{"rule": "self.size <= 10", "message": "too big"}],
            "properties": {"size": {"type": "integer", "default": 3}, "color": {"type": "string", "enum": ["red", "green"]}},
        },
        "status": {"type": "object", "properties": {"ok": {"type": "boolean"}}},
    }})
}

#[test]
fn objects_are_pruned_and_defaulted() {
    let schema = CrdSchema::parse(&widget()).unwrap();
    let mut object = json!({"apiVersion": "o/v1", "kind": "W", "metadata": {"name": "w", "x": 1}, "spec": {"color": "red", "junk": 1}});
    let issues: Vec<String> = schema
        .prune(&mut object)
        .iter()
        .map(ToString::to_string)
        .collect();
    schema.default(&mut object);
    assert_eq!(
        issues,
        [
            "unknown field \"metadata.x\"",
            "unknown field \"spec.junk\""
        ]
    );
    assert_eq!(
        object,
        json!({"apiVersion": "o/v1", "kind": "W", "metadata": {"name": "w"}, "spec": {"color": "red", "size": 3}})
    );
}

#[test]
fn objects_are_refused_in_the_real_servers_words() {
    let unchecked = "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
    let cases = [
        (json!({"color": "red", "size": 3}), "[]".to_owned()),
        (
            json!({"color": "red", "size": 11}),
            "spec: Invalid value: too big".to_owned(),
        ),
        (
            json!({"size": 3}),
            format!("[spec.color: Required value, {unchecked}]"),
        ),
        (
            json!({"color": "blue", "size": 3}),
            format!(
                "[spec.color: Unsupported value: \"blue\": supported values: \"red\", \"green\", {unchecked}]"
            ),
        ),
        (
            json!({"color": 1, "size": 3}),
            format!(
                "[spec.color: Invalid value: \"integer\": spec.color in body must be of type string: \"integer\", spec.color: Unsupported value: 1: supported values: \"red\", \"green\", {unchecked}]"
            ),
        ),
    ];
    let schema = CrdSchema::parse(&widget()).unwrap();
    for (spec, expected) in cases {
        let object =
            json!({"apiVersion": "o/v1", "kind": "W", "metadata": {"name": "w"}, "spec": spec});
        assert_eq!(summary(&schema.validate(&object, None)), expected);
    }
}

#[test]
fn values_are_checked_against_every_keyword() {
    let cases = [
        (
            json!({"type": "string", "pattern": "^a$"}),
            json!("b"),
            "spec: Invalid value: \"b\": spec in body should match '^a$'",
        ),
        (
            json!({"type": "string", "maxLength": 1}),
            json!("bb"),
            "spec: Too long: may not be more than 1 bytes",
        ),
        (
            json!({"type": "integer", "minimum": 1}),
            json!(0),
            "spec: Invalid value: 0: spec in body should be greater than or equal to 1",
        ),
        (
            json!({"type": "integer", "maximum": 1, "exclusiveMaximum": true}),
            json!(1),
            "spec: Invalid value: 1: spec in body should be less than 1",
        ),
        (
            json!({"type": "array", "items": {"type": "string"}, "maxItems": 1}),
            json!(["a", "b"]),
            "spec: Too many: 2: must have at most 1 items",
        ),
        (
            json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"}),
            json!(["a", "a"]),
            "spec[1]: Duplicate value: \"a\"",
        ),
        (
            json!({"x-kubernetes-int-or-string": true}),
            json!("1"),
            "[]",
        ),
        (
            json!({"type": "string", "nullable": true}),
            Value::Null,
            "[]",
        ),
        (
            json!({"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}], "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}),
            json!({"a": "", "b": ""}),
            "spec: Invalid value: \"\": \"spec\" must validate one and only one schema (oneOf). Found 2 valid alternatives",
        ),
        (
            json!({"type": "string", "format": "date-time"}),
            json!("x"),
            "spec: Invalid value: \"x\": spec in body must be of type date-time: \"x\"",
        ),
    ];
    for (schema, value, expected) in cases {
        let parsed =
            CrdSchema::parse(&json!({"type": "object", "properties": {"spec": schema}})).unwrap();
        assert_eq!(
            summary(&parsed.validate(&json!({"spec": value}), None)),
            expected
        );
    }
}

#[test]
fn schemas_that_are_not_structural_are_refused() {
    let root = "spec.validation.openAPIV3Schema";
    let cases = [
        (
            json!({"type": "object", "properties": {"a": {}}}),
            format!(
                "{root}.properties[a].type: Required value: must not be empty for specified object fields"
            ),
        ),
        (
            json!({"properties": {}}),
            format!("{root}.type: Required value: must not be empty at the root"),
        ),
        (
            json!({"type": "object", "properties": {"size": {"type": "integer", "default": "x"}}}),
            format!(
                "{root}.properties[size].default: Invalid value: \"string\":  in body must be of type integer: \"string\""
            ),
        ),
        (
            json!({"type": "object", "anyOf": [{"type": "object"}]}),
            format!("{root}.anyOf[0].type: Forbidden: must be empty to be structural"),
        ),
    ];
    for (schema, expected) in cases {
        assert_eq!(summary(&CrdSchema::parse(&schema).unwrap_err()), expected);
    }
}

#[test]
fn rules_see_the_old_object() {
    let schema = CrdSchema::parse(
        &json!({"type": "object", "properties": {"spec": {"type": "string",
        "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "immutable"}]}}}),
    )
    .unwrap();
    let (a, b) = (json!({"spec": "a"}), json!({"spec": "b"}));
    assert_eq!(
        summary(&schema.validate(&b, Some(&a))),
        "spec: Invalid value: immutable"
    );
    assert_eq!(schema.validate(&a, Some(&a)), []);
    assert_eq!(schema.validate(&a, None), []);
}

#[test]
fn the_meshs_own_kinds_are_structural() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../api/crds");
    let mut checked = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let crd: Value = serde_saphyr::from_str(&text).unwrap();
        for version in crd["spec"]["versions"].as_array().unwrap() {
            let parsed = CrdSchema::parse(&version["schema"]["openAPIV3Schema"]);
            assert_eq!(
                parsed.map(|_| ()).map_err(|p| summary(&p)),
                Ok(()),
                "{}",
                crd["metadata"]["name"]
            );
            checked += 1;
        }
    }
    assert!(checked > 10);
}
