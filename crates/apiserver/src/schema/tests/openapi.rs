use serde_json::{Value, json};

use crate::schema::{Schemas, openapi_v2};

#[test]
fn documents_describe_kinds_their_merging_and_their_paths() {
    let document = Schemas::builtin().openapi_v3("apps", "v1", &[]);
    let at = |path: &str| document.pointer(path).cloned().unwrap_or(Value::Null);
    let schemas = "/components/schemas";
    assert_eq!(
        at(&format!(
            "{schemas}/io.k8s.api.apps.v1.Deployment/x-kubernetes-group-version-kind"
        )),
        json!([{"group": "apps", "kind": "Deployment", "version": "v1"}])
    );
    let containers = format!("{schemas}/io.k8s.api.core.v1.PodSpec/properties/containers");
    assert_eq!(
        at(&format!("{containers}/x-kubernetes-patch-merge-key")),
        "name"
    );
    assert_eq!(
        at(&format!("{containers}/x-kubernetes-patch-strategy")),
        "merge"
    );
    assert_eq!(at(&format!("{containers}/x-kubernetes-list-type")), "map");
    let volumes = format!("{schemas}/io.k8s.api.core.v1.PodSpec/properties/volumes");
    assert_eq!(
        at(&format!("{volumes}/x-kubernetes-patch-strategy")),
        "merge,retainKeys"
    );
    let patch = "/paths/~1apis~1apps~1v1~1namespaces~1{namespace}~1deployments~1{name}/patch";
    assert_eq!(at(&format!("{patch}/parameters/2/name")), "fieldValidation");
}

#[test]
fn every_reference_leads_somewhere() {
    for (group, version) in [
        ("", "v1"),
        ("apps", "v1"),
        ("apiextensions.k8s.io", "v1"),
        ("networking.k8s.io", "v1"),
    ] {
        let document = Schemas::builtin().openapi_v3(group, version, &[]);
        let mut open = vec![&document];
        let mut references = 0;
        while let Some(value) = open.pop() {
            if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
                references += 1;
                let target = reference
                    .strip_prefix('#')
                    .and_then(|path| document.pointer(path));
                assert!(target.is_some_and(Value::is_object), "{reference}");
            }
            match value {
                Value::Array(list) => open.extend(list),
                Value::Object(map) => open.extend(map.values()),
                _ => {}
            }
        }
        assert!(references > 10, "{group}");
    }
}

#[test]
fn custom_kinds_bring_their_schema() {
    let spec = json!({
        "group": "o.example", "scope": "Namespaced", "names": {"kind": "W", "plural": "ws"},
        "versions": [{"name": "v1", "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object"}}}}}],
    });
    let document = Schemas::builtin().openapi_v3("o.example", "v1", &[&spec]);
    let schema = &document["components"]["schemas"]["example.o.v1.W"];
    assert_eq!(schema["properties"]["spec"], json!({"type": "object"}));
    assert_eq!(schema["x-kubernetes-group-version-kind"][0]["kind"], "W");
    assert!(
        document["paths"]
            .get("/apis/o.example/v1/namespaces/{namespace}/ws/{name}")
            .is_some()
    );
}

#[test]
fn the_older_form_says_the_same() {
    let documents: Vec<Value> = [("", "v1"), ("apps", "v1")]
        .map(|(group, version)| Schemas::builtin().openapi_v3(group, version, &[]))
        .into();
    let document = openapi_v2::from_v3(&documents);
    let at = |path: &str| document.pointer(path).cloned().unwrap_or(Value::Null);
    let cases = [
        ("/swagger", json!("2.0")),
        (
            "/definitions/io.k8s.api.apps.v1.Deployment/properties/spec/$ref",
            json!("#/definitions/io.k8s.api.apps.v1.DeploymentSpec"),
        ),
        (
            "/definitions/io.k8s.api.core.v1.ServicePort/properties/targetPort/type",
            json!("string"),
        ),
        (
            "/definitions/io.k8s.api.core.v1.PodSpec/properties/containers/x-kubernetes-patch-merge-key",
            json!("name"),
        ),
        // Pods are in the document of apps as well, as a part of deployments; their kind is theirs nevertheless.
        (
            "/definitions/io.k8s.api.core.v1.Pod/x-kubernetes-group-version-kind/0/kind",
            json!("Pod"),
        ),
        (
            "/paths/~1api~1v1~1namespaces~1{namespace}~1pods~1{name}/patch/parameters/2/type",
            json!("string"),
        ),
    ];
    for (path, expected) in cases {
        assert_eq!(at(path), expected, "{path}");
    }
    let encoded = openapi_v2::protobuf(&document);
    assert!(
        encoded.starts_with(b"\x0a\x032.0"),
        "the version comes first"
    );
}
