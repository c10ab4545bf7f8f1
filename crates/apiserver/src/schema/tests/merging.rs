use serde_json::{Value, json};

use super::kind;
use crate::schema::Schemas;

fn check(name: &str, live: Value, patch: Value, expected: Value) {
    let merged = Schemas::builtin()
        .strategic_merge(kind("v1", "Pod"), &live, &patch)
        .expect(name);
    assert_eq!(merged, expected, "{name}");
}

#[test]
fn strategic_merge_follows_keys_and_directives() {
    let pod = |containers: Value| json!({"spec": {"containers": containers}});
    check(
        "empty patch",
        pod(json!([{"name": "a"}])),
        json!({}),
        pod(json!([{"name": "a"}])),
    );
    check(
        "items merge by key and new ones come first",
        pod(json!([{"name": "a", "image": "1"}])),
        pod(json!([{"name": "b"}, {"name": "a", "tty": true}])),
        pod(json!([{"name": "b"}, {"name": "a", "image": "1", "tty": true}])),
    );
    check(
        "delete an item",
        pod(json!([{"name": "a"}, {"name": "b"}])),
        pod(json!([{"name": "c"}, {"$patch": "delete", "name": "a"}])),
        pod(json!([{"name": "c"}, {"name": "b"}])),
    );
    check(
        "replace a list",
        pod(json!([{"name": "a"}, {"name": "b"}])),
        pod(json!([{"$patch": "replace"}, {"name": "c"}])),
        pod(json!([{"name": "c"}])),
    );
    check(
        "element order",
        pod(json!([{"name": "a"}, {"name": "b"}])),
        json!({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}], "containers": [{"name": "b", "tty": true}]}}),
        pod(json!([{"name": "b", "tty": true}, {"name": "a"}])),
    );
    check(
        "primitive lists",
        json!({"metadata": {"finalizers": ["a", "b"]}}),
        json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"]}}),
        json!({"metadata": {"finalizers": ["c", "b"]}}),
    );
    check(
        "atomic lists are replaced",
        pod(json!([{"name": "a", "args": ["1", "2"]}])),
        pod(json!([{"name": "a", "args": ["3"]}])),
        pod(json!([{"name": "a", "args": ["3"]}])),
    );
    check(
        "nulls delete",
        json!({"metadata": {"labels": {"a": "1", "b": "2"}}}),
        json!({"metadata": {"labels": {"a": null}}}),
        json!({"metadata": {"labels": {"b": "2"}}}),
    );
    check(
        "retain keys",
        json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}),
        json!({"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]}}),
        json!({"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}}),
    );
    check(
        "replace and delete maps",
        json!({"metadata": {"labels": {"a": "1"}, "annotations": {"b": "2"}}}),
        json!({"metadata": {"labels": {"$patch": "replace", "c": "3"}, "annotations": {"$patch": "delete"}}}),
        json!({"metadata": {"labels": {"c": "3"}, "annotations": {}}}),
    );
    let bad = pod(json!([{"image": "x"}]));
    let error = Schemas::builtin()
        .strategic_merge(kind("v1", "Pod"), &pod(json!([{"name": "a"}])), &bad)
        .unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("does not contain declared merge key: name"),
        "{error}"
    );
}

#[test]
fn unknown_fields_are_dropped_and_named() {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "bogus": 1, "metadata": {"name": "p", "labels": {}, "creationTimestamp": null},
        "spec": {"containers": [{"name": "c", "junk": {}, "args": []}], "nodeSelector": {"any": "x"}},
    });
    let issues = Schemas::builtin().prune(kind("v1", "Pod"), &mut pod);
    let texts: Vec<String> = issues.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "unknown field \"bogus\"",
            "unknown field \"spec.containers[0].junk\""
        ]
    );
    let expected = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c"}], "nodeSelector": {"any": "x"}},
    });
    assert_eq!(pod, expected);
}

#[test]
fn values_of_the_wrong_type_are_named_as_go_does() {
    let cases = [
        (
            json!({"spec": {"replicas": "x"}}),
            Some(
                "json: cannot unmarshal string into Go struct field Deployment.spec.replicas of type int32",
            ),
        ),
        (json!({"spec": {"replicas": 3}}), None),
        (
            json!({"metadata": {"labels": {"a": 1}}}),
            Some(
                "json: cannot unmarshal number into Go struct field Deployment.metadata.labels of type string",
            ),
        ),
        (json!({"metadata": {"creationTimestamp": null}}), None),
    ];
    for (object, expected) in cases {
        let error = Schemas::builtin().type_error(kind("apps/v1", "Deployment"), &object);
        assert_eq!(error.as_deref(), expected);
    }
}
