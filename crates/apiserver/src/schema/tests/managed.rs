use serde_json::{Value, json};

use super::kind;
use crate::schema::managed::{ApplyError, Writer, apply, conflict_summary, update};
use crate::schema::{CrdSchema, SchemaRef, Schemas};

const NOW: &str = "2026-01-01T00:00:00Z";

fn writer(manager: &str) -> Writer<'_> {
    Writer {
        manager,
        subresource: "",
        now: NOW,
    }
}

fn builtin(api_version: &str, name: &str) -> SchemaRef<'static> {
    Schemas::builtin()
        .type_schema(kind(api_version, name))
        .unwrap()
}

fn config_map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "s"}, "data": data})
}

/// Managers with operation and fields, as the object says.
fn owners(object: &Value) -> Value {
    let entries = object
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array);
    let entry = |e: &Value| json!([e["manager"], e["operation"], e["fieldsV1"]]);
    entries.into_iter().flatten().map(entry).collect()
}

#[test]
fn applying_creates_conflicts_forces_and_removes() {
    let schema = builtin("v1", "ConfigMap");
    let first = apply(
        schema,
        None,
        &config_map(json!({"k": "1"})),
        writer("m1"),
        false,
    )
    .unwrap();
    assert_eq!(
        owners(&first),
        json!([["m1", "Apply", {"f:data": {"f:k": {}}}]])
    );

    let Err(ApplyError::Conflicts(conflicts)) = apply(
        schema,
        Some(&first),
        &config_map(json!({"k": "2"})),
        writer("m2"),
        false,
    ) else {
        panic!("no conflict");
    };
    assert_eq!(
        conflict_summary(&conflicts),
        "Apply failed with 1 conflict: conflict with \"m1\": .data.k"
    );

    let forced = apply(
        schema,
        Some(&first),
        &config_map(json!({"k": "2"})),
        writer("m2"),
        true,
    )
    .unwrap();
    assert_eq!(forced["data"], json!({"k": "2"}));
    assert_eq!(
        owners(&forced),
        json!([["m2", "Apply", {"f:data": {"f:k": {}}}]])
    );

    let removed = apply(
        schema,
        Some(&forced),
        &config_map(json!({})),
        writer("m2"),
        false,
    )
    .unwrap();
    assert_eq!(removed.get("data"), None);
    assert_eq!(owners(&removed), json!([["m2", "Apply", {"f:data": {}}]]));
}

#[test]
fn what_another_manager_owns_too_stays() {
    let schema = builtin("v1", "ConfigMap");
    let one = apply(
        schema,
        None,
        &config_map(json!({"a": "1", "b": "1"})),
        writer("m1"),
        false,
    )
    .unwrap();
    let both = apply(
        schema,
        Some(&one),
        &config_map(json!({"a": "1"})),
        writer("m2"),
        false,
    )
    .unwrap();
    let left = apply(
        schema,
        Some(&both),
        &config_map(json!({})),
        writer("m1"),
        false,
    )
    .unwrap();
    assert_eq!(left["data"], json!({"a": "1"}));
}

#[test]
fn updates_own_what_they_change() {
    let schema = builtin("v1", "ConfigMap");
    let mut created = config_map(json!({"x": "1"}));
    update(schema, None, &mut created, writer("t"));
    assert_eq!(
        owners(&created),
        json!([["t", "Update", {"f:data": {".": {}, "f:x": {}}}]])
    );

    let mut changed = config_map(json!({"x": "2"}));
    update(schema, Some(&created), &mut changed, writer("unknown"));
    assert_eq!(
        owners(&changed),
        json!([["t", "Update", {"f:data": {}}], ["unknown", "Update", {"f:data": {"f:x": {}}}]])
    );

    let mut same = changed.clone();
    update(
        schema,
        Some(&changed),
        &mut same,
        Writer {
            now: "2027-01-01T00:00:00Z",
            ..writer("other")
        },
    );
    assert_eq!(same, changed);

    let mut empty = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "e"}});
    update(schema, None, &mut empty, writer("t"));
    assert_eq!(owners(&empty), json!([]));
}

#[test]
fn the_entries_of_a_request_count_and_an_empty_one_resets_them() {
    let schema = builtin("v1", "ConfigMap");
    let mut created = config_map(json!({"x": "1"}));
    update(schema, None, &mut created, writer("t"));
    let mut reset = created.clone();
    reset["metadata"]["managedFields"] = json!([{}]);
    update(schema, Some(&created), &mut reset, writer("u"));
    assert_eq!(owners(&reset), json!([]));
}

#[test]
fn structs_lists_and_maps_are_owned_as_the_real_server_says() {
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "svc"},
        "spec": {
            "internalTrafficPolicy": "Cluster", "sessionAffinity": "None", "type": "ClusterIP", "selector": {"a": "b"},
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
        },
    });
    let ports = json!({".": {}, "k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}, "f:protocol": {}, "f:targetPort": {}}});
    let expected = json!({"f:spec": {
        "f:internalTrafficPolicy": {}, "f:sessionAffinity": {}, "f:type": {}, "f:selector": {}, "f:ports": ports,
    }});
    let mut created = service.clone();
    update(builtin("v1", "Service"), None, &mut created, writer("t"));
    assert_eq!(owners(&created), json!([["t", "Update", expected]]));

    let mut finalizer = config_map(json!({}));
    finalizer["metadata"]["finalizers"] = json!(["x.io/f"]);
    update(
        builtin("v1", "ConfigMap"),
        Some(&config_map(json!({}))),
        &mut finalizer,
        writer("t"),
    );
    let expected = json!({"f:metadata": {"f:finalizers": {".": {}, "v:\"x.io/f\"": {}}}});
    assert_eq!(owners(&finalizer), json!([["t", "Update", expected]]));
}

#[test]
fn items_of_keyed_lists_have_their_own_owners() {
    let schema = builtin("apps/v1", "Deployment");
    let deployment = |containers: Value| {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
            "spec": {"template": {"spec": {"containers": containers}}}})
    };
    let one = apply(
        schema,
        None,
        &deployment(json!([{"name": "a", "image": "1"}])),
        writer("m1"),
        false,
    )
    .unwrap();
    let two = apply(
        schema,
        Some(&one),
        &deployment(json!([{"name": "b", "image": "1"}])),
        writer("m2"),
        false,
    )
    .unwrap();
    let names = |o: &Value| -> Vec<String> {
        let list = o["spec"]["template"]["spec"]["containers"]
            .as_array()
            .unwrap();
        list.iter()
            .map(|c| c["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&two), ["a", "b"]);
    let gone = apply(
        schema,
        Some(&two),
        &deployment(json!([])),
        writer("m1"),
        false,
    )
    .unwrap();
    assert_eq!(names(&gone), ["b"]);
    let Err(ApplyError::Conflicts(conflicts)) = apply(
        schema,
        Some(&two),
        &deployment(json!([{"name": "a", "image": "2"}])),
        writer("m3"),
        false,
    ) else {
        panic!("no conflict");
    };
    assert_eq!(
        conflicts[0].field,
        ".spec.template.spec.containers[name=\"a\"].image"
    );
    let twice = deployment(json!([{"name": "a"}, {"name": "a"}]));
    assert!(matches!(
        apply(schema, None, &twice, writer("m"), false),
        Err(ApplyError::Malformed(_))
    ));
}

#[test]
fn custom_objects_are_tracked_by_their_schema() {
    let schema = CrdSchema::parse(&json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {"size": {"type": "integer"}, "color": {"type": "string"}}},
    }}))
    .unwrap();
    let mut created = json!({"apiVersion": "o.example/v1", "kind": "W", "metadata": {"name": "w"}, "spec": {"color": "red", "size": 3}});
    update(SchemaRef::Crd(&schema), None, &mut created, writer("t"));
    assert_eq!(
        owners(&created),
        json!([["t", "Update", {"f:spec": {".": {}, "f:color": {}, "f:size": {}}}]])
    );
}

#[test]
fn updaters_are_bounded() {
    let schema = builtin("v1", "ConfigMap");
    let mut live = config_map(json!({}));
    for i in 0..30 {
        let mut next = live.clone();
        next["data"][format!("k{i}")] = "v".into();
        let manager = format!("m{i}");
        let now = format!("2026-01-01T00:00:{i:02}Z");
        update(
            schema,
            Some(&live),
            &mut next,
            Writer {
                manager: &manager,
                subresource: "",
                now: &now,
            },
        );
        live = next;
    }
    assert!(live["metadata"]["managedFields"].as_array().unwrap().len() <= 11);
}

#[test]
fn equal_quantities_are_no_conflict() {
    let schema = builtin("v1", "Pod");
    let pod = |cpu: Value| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
            "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": cpu}}}]}})
    };
    let first = apply(schema, None, &pod(json!("500m")), writer("m1"), false).unwrap();
    let second = apply(schema, Some(&first), &pod(json!(0.5)), writer("m2"), false).unwrap();
    assert_eq!(second["spec"], first["spec"]);
}

#[test]
fn kubectl_takes_over_what_it_applied_from_the_clients_side() {
    let schema = builtin("v1", "ConfigMap");
    let mut live = config_map(json!({"k": "1"}));
    let last = config_map(json!({"k": "1"})).to_string();
    live["metadata"]["annotations"] =
        json!({"kubectl.kubernetes.io/last-applied-configuration": last});
    update(schema, None, &mut live, writer("kubectl-client-side-apply"));
    let next = config_map(json!({"k": "2"}));
    let taken = apply(schema, Some(&live), &next, writer("kubectl"), false).unwrap();
    assert_eq!(taken["data"], json!({"k": "2"}));
    assert!(apply(schema, Some(&live), &next, writer("other"), false).is_err());

    // What somebody else changed since is theirs.
    let mut edited = live.clone();
    edited["data"]["k"] = "9".into();
    update(schema, Some(&live), &mut edited, writer("editor"));
    assert!(apply(schema, Some(&edited), &next, writer("kubectl"), false).is_err());
}
