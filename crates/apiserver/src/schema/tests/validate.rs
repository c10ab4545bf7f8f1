use serde_json::{Value, json};

use super::kind;
use crate::schema::{Schemas, summary};

/// Defaults both, as the server does, then compares the complaint; `[]` is none.
fn check(api_version: &str, name: &str, new: Value, old: Option<Value>, expected: &str) {
    let schemas = Schemas::builtin();
    let kind = kind(api_version, name);
    let ready = |mut object: Value| {
        schemas.prune(kind, &mut object);
        schemas.default(kind, &mut object);
        object
    };
    let (new, old) = (ready(new), old.map(ready));
    assert_eq!(
        summary(&schemas.validate(kind, &new, old.as_ref())),
        expected,
        "{name}"
    );
}

fn deployment(selector: Value) -> Value {
    json!({"spec": {"selector": {"matchLabels": selector},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
}

fn pod(spec: Value) -> Value {
    let mut spec = spec;
    if spec.get("containers").is_none() {
        spec["containers"] = json!([{"name": "c", "image": "i"}]);
    }
    json!({"spec": spec})
}

#[test]
fn workloads() {
    let mismatch = "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`";
    check(
        "apps/v1",
        "Deployment",
        deployment(json!({"a": "b"})),
        None,
        "[]",
    );
    check(
        "apps/v1",
        "Deployment",
        deployment(json!({"no": "no"})),
        None,
        mismatch,
    );
    check(
        "apps/v1",
        "Deployment",
        deployment(json!({"a": "b", "q": "q"})),
        Some(deployment(json!({"a": "b"}))),
        &format!(
            "[{mismatch}, spec.selector: Invalid value: {{\"matchLabels\":{{\"a\":\"b\",\"q\":\"q\"}}}}: field is immutable]"
        ),
    );
    let mut never = deployment(json!({"a": "b"}));
    never["spec"]["template"]["spec"]["restartPolicy"] = "Never".into();
    never["spec"]["replicas"] = (-1).into();
    check(
        "apps/v1",
        "Deployment",
        never,
        None,
        "[spec.replicas: Invalid value: -1: must be greater than or equal to 0, spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"]",
    );
    check(
        "batch/v1",
        "Job",
        json!({"spec": {"template": pod(json!({}))}}),
        None,
        "spec.template.spec.restartPolicy: Unsupported value: \"Always\": supported values: \"OnFailure\", \"Never\"",
    );
}

#[test]
fn pods() {
    check("v1", "Pod", pod(json!({})), None, "[]");
    check(
        "v1",
        "Pod",
        json!({"spec": {}}),
        None,
        "spec.containers: Required value",
    );
    check(
        "v1",
        "Pod",
        pod(json!({"containers": [{"image": "i"}, {"name": "c"}]})),
        None,
        "[spec.containers[0].name: Required value, spec.containers[1].image: Required value]",
    );
    check(
        "v1",
        "Pod",
        pod(
            json!({"containers": [{"name": "c", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]}),
        ),
        None,
        "spec.containers[0].volumeMounts[0].name: Not found: \"v\"",
    );
    check(
        "v1",
        "Pod",
        pod(json!({"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 0}]}]})),
        None,
        "spec.containers[0].ports[0].containerPort: Invalid value: 0: must be between 1 and 65535, inclusive",
    );
    check(
        "v1",
        "Pod",
        pod(json!({"containers": [{"name": "c", "image": "j"}]})),
        Some(pod(json!({}))),
        "[]",
    );
    check(
        "v1",
        "Pod",
        pod(json!({"nodeName": "n"})),
        Some(pod(json!({}))),
        "[]",
    );
    let new = Schemas::builtin().validate(
        kind("v1", "Pod"),
        &pod(json!({"hostNetwork": true})),
        Some(&pod(json!({}))),
    );
    assert_eq!(
        (new[0].reason, new[0].field.as_str()),
        ("FieldValueForbidden", "spec")
    );
    assert!(new[0].message.starts_with(
        "Forbidden: pod updates may not change fields other than `spec.containers[*].image`"
    ));
}

#[test]
fn other_kinds() {
    let service = |spec: Value| json!({"spec": spec});
    check(
        "v1",
        "Service",
        service(json!({"ports": [{"port": 80}]})),
        None,
        "[]",
    );
    check(
        "v1",
        "Service",
        service(json!({})),
        None,
        "spec.ports: Required value",
    );
    check(
        "v1",
        "Service",
        service(json!({"clusterIP": "None"})),
        None,
        "[]",
    );
    check(
        "v1",
        "Service",
        service(json!({"ports": [{"port": 80}, {"name": "x", "port": 0}]})),
        None,
        "[spec.ports[0].name: Required value, spec.ports[1].port: Invalid value: 0: must be between 1 and 65535, inclusive, spec.ports[1].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive]",
    );
    check(
        "v1",
        "Service",
        service(
            json!({"ports": [{"port": 80}], "clusterIP": "10.0.0.2", "clusterIPs": ["10.0.0.2"]}),
        ),
        Some(service(
            json!({"ports": [{"port": 80}], "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"]}),
        )),
        "spec.clusterIPs[0]: Invalid value: [\"10.0.0.2\"]: may not change once set",
    );
    check(
        "v1",
        "Secret",
        json!({"type": "x/y"}),
        Some(json!({})),
        "type: Invalid value: \"x/y\": field is immutable",
    );
    check(
        "v1",
        "Secret",
        json!({"type": "kubernetes.io/tls", "data": {"tls.crt": ""}}),
        None,
        "data[tls.key]: Required value",
    );
    let binding = |name: &str| json!({"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}});
    check(
        "rbac.authorization.k8s.io/v1",
        "RoleBinding",
        binding("z"),
        Some(binding("r")),
        "roleRef: Invalid value: {\"APIGroup\":\"rbac.authorization.k8s.io\",\"Kind\":\"Role\",\"Name\":\"z\"}: cannot change roleRef",
    );
    check(
        "authentication.k8s.io/v1",
        "TokenRequest",
        json!({"spec": {"expirationSeconds": 60}}),
        None,
        "spec.expirationSeconds: Invalid value: 60: may not specify a duration less than 10 minutes",
    );
    check(
        "networking.k8s.io/v1",
        "Ingress",
        json!({"spec": {"rules": [{"http": {"paths": [{"path": "/", "backend": {"service": {"name": "s", "port": {"number": 80}}}}]}}]}}),
        None,
        "spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified",
    );
    check(
        "coordination.k8s.io/v1",
        "Lease",
        json!({"spec": {"leaseDurationSeconds": 0}}),
        None,
        "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
    );
}
