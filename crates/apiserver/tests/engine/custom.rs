//! Custom resources: from a definition to objects and back to nothing.

use serde_json::{Value, json};

use crate::client::{Cluster, MERGE, STRATEGIC, eventually};

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const ALL: &str = "/apis/example.com/v1/namespaces/default/widgets";

fn definition() -> Value {
    let spec = json!({
        "type": "object", "required": ["color"],
        "properties": {"color": {"type": "string", "enum": ["red", "green"]}, "size": {"type": "integer", "default": 3}},
        "x-kubernetes-validations": [{"rule": "self.size <= 10", "message": "too big"}],
    });
    let schema = json!({"type": "object", "properties": {
        "spec": spec, "status": {"type": "object", "properties": {"ok": {"type": "boolean"}}},
    }});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": schema},
                "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
            }],
        },
    })
}

fn widget(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn definitions_are_served_and_cleaned_up() {
    let cluster = Cluster::start().await;
    let c = &cluster.client;
    assert_eq!(c.get(ALL).await.code, 404, "not yet defined");
    let made = c.post(CRDS, &definition()).await;
    assert_eq!(made.code, 201, "{}", made.body);
    let established = |reply: &crate::client::Reply| {
        reply.body["status"]["conditions"]
            .as_array()
            .is_some_and(|conditions| {
                conditions.iter().any(|condition| {
                    condition["type"] == "Established" && condition["status"] == "True"
                })
            })
    };
    eventually(
        c,
        &format!("{CRDS}/widgets.example.com"),
        "established",
        established,
    )
    .await;

    let mut first = widget("w", json!({"color": "red", "junk": 1}));
    first["status"] = json!({"ok": true});
    let made = c.post(ALL, &first).await;
    assert_eq!(made.code, 201, "{}", made.body);
    assert_eq!(
        made.body["spec"],
        json!({"color": "red", "size": 3}),
        "defaulted and pruned"
    );
    assert_eq!(
        made.body.get("status"),
        None,
        "the status is written elsewhere"
    );
    for (what, spec) in [
        ("a value not listed", json!({"color": "blue"})),
        ("a required field missing", json!({})),
        ("a wrong type", json!({"color": 1})),
        ("a rule broken", json!({"color": "red", "size": 11})),
    ] {
        let refused = c.post(ALL, &widget("bad", spec)).await;
        assert_eq!(refused.code, 422, "{what}: {}", refused.body);
    }
    let status = c
        .patch(
            &format!("{ALL}/w/status"),
            MERGE,
            &json!({"status": {"ok": false}, "spec": {"size": 9}}),
        )
        .await;
    assert_eq!(
        (&status.body["status"]["ok"], &status.body["spec"]["size"]),
        (&json!(false), &json!(3))
    );
    assert_eq!(
        c.patch(&format!("{ALL}/w"), STRATEGIC, &json!({}))
            .await
            .code,
        415
    );
    assert_eq!(
        c.put(&format!("{ALL}/w"), &widget("w", json!({"color": "red"})))
            .await
            .code,
        422,
        "no revision"
    );

    let going = c.delete(&format!("{CRDS}/widgets.example.com")).await;
    assert_eq!(going.code, 200, "{}", going.body);
    eventually(c, &format!("{CRDS}/widgets.example.com"), "gone", |reply| {
        reply.code == 404
    })
    .await;
    assert_eq!(c.get(ALL).await.code, 404);
    c.post(CRDS, &definition()).await;
    eventually(c, ALL, "served again, and empty", |reply| {
        reply.code == 200 && reply.body["items"].as_array().is_some_and(Vec::is_empty)
    })
    .await;
}
