use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::kind;
use crate::schema::{IncludeObject, Schemas, crd_table};

/// Five minutes after what the cases say.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600 + 300)
}

fn check(api_version: &str, name: &str, object: Value, expected: Value) {
    let mut object = object;
    object["metadata"]["name"] = "x".into();
    object["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
    let table = Schemas::builtin().table(
        kind(api_version, name),
        &[&object],
        now(),
        IncludeObject::None,
    );
    assert_eq!(table["rows"][0]["cells"], expected, "{name}");
    assert_eq!(
        table["columnDefinitions"].as_array().unwrap().len(),
        expected.as_array().unwrap().len(),
        "{name}"
    );
}

#[test]
fn rows_show_what_kubectl_shows() {
    check(
        "v1",
        "ConfigMap",
        json!({"data": {"a": "1", "b": "2"}}),
        json!(["x", 2, "5m"]),
    );
    check(
        "v1",
        "Namespace",
        json!({"status": {"phase": "Active"}}),
        json!(["x", "Active", "5m"]),
    );
    check(
        "v1",
        "Secret",
        json!({"type": "Opaque", "data": {"a": ""}}),
        json!(["x", "Opaque", 1, "5m"]),
    );
    check(
        "v1",
        "Service",
        json!({"spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.1", "selector": {"a": "b"},
            "ports": [{"port": 80, "nodePort": 30001}, {"port": 53, "protocol": "UDP"}]}}),
        json!([
            "x",
            "LoadBalancer",
            "10.0.0.1",
            "<pending>",
            "80:30001/TCP,53/UDP",
            "5m",
            "a=b"
        ]),
    );
    check(
        "apps/v1",
        "Deployment",
        json!({"spec": {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}},
            "status": {"readyReplicas": 1, "updatedReplicas": 2, "availableReplicas": 1}}),
        json!(["x", "1/2", 2, 1, "5m", "c", "i", "a=b"]),
    );
    check(
        "v1",
        "Pod",
        json!({"spec": {"containers": [{"name": "c"}], "initContainers": [{"name": "p", "restartPolicy": "Always"}], "nodeName": "n"},
            "status": {"phase": "Running", "podIP": "10.1.0.1",
                "initContainerStatuses": [{"name": "p", "ready": true, "started": true, "state": {"running": {}}}],
                "containerStatuses": [{"name": "c", "ready": true, "restartCount": 1, "state": {"running": {}},
                    "lastState": {"terminated": {"finishedAt": "2026-01-01T00:03:00Z"}}}]}}),
        json!([
            "x",
            "2/2",
            "Running",
            "1 (2m ago)",
            "5m",
            "10.1.0.1",
            "n",
            "<none>",
            "<none>"
        ]),
    );
    check(
        "v1",
        "Pod",
        json!({"spec": {"containers": [{"name": "c"}]}, "status": {"phase": "Pending",
            "containerStatuses": [{"name": "c", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}}),
        json!([
            "x",
            "0/1",
            "CrashLoopBackOff",
            "0",
            "5m",
            "<none>",
            "<none>",
            "<none>",
            "<none>"
        ]),
    );
    check(
        "rbac.authorization.k8s.io/v1",
        "RoleBinding",
        json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "ServiceAccount", "namespace": "n", "name": "s"}]}),
        json!(["x", "Role/r", "5m", "", "", "n/s"]),
    );
    check(
        "rbac.authorization.k8s.io/v1",
        "Role",
        json!({}),
        json!(["x", "2026-01-01T00:00:00Z"]),
    );
    check(
        "v1",
        "Event",
        json!({"type": "Normal", "reason": "R", "message": "m\n", "count": 2, "lastTimestamp": "2026-01-01T00:04:00Z",
            "firstTimestamp": "2026-01-01T00:00:00Z", "involvedObject": {"kind": "Pod", "name": "p"}, "source": {"component": "c"}}),
        json!(["60s", "Normal", "R", "pod/p", "", "c", "m", "5m", 2, "x"]),
    );
}

#[test]
fn every_built_in_kind_has_as_many_cells_as_columns() {
    for (api_version, name) in [
        ("v1", "Endpoints"),
        ("v1", "Node"),
        ("v1", "ServiceAccount"),
        ("v1", "PersistentVolumeClaim"),
        ("v1", "ResourceQuota"),
        ("apps/v1", "ReplicaSet"),
        ("apps/v1", "StatefulSet"),
        ("apps/v1", "DaemonSet"),
        ("apps/v1", "ControllerRevision"),
        ("batch/v1", "Job"),
        ("batch/v1", "CronJob"),
        ("networking.k8s.io/v1", "Ingress"),
        ("networking.k8s.io/v1", "IngressClass"),
        ("networking.k8s.io/v1", "NetworkPolicy"),
        ("discovery.k8s.io/v1", "EndpointSlice"),
        ("events.k8s.io/v1", "Event"),
        ("coordination.k8s.io/v1", "Lease"),
        ("policy/v1", "PodDisruptionBudget"),
        ("autoscaling/v2", "HorizontalPodAutoscaler"),
        (
            "admissionregistration.k8s.io/v1",
            "MutatingWebhookConfiguration",
        ),
        ("scheduling.k8s.io/v1", "PriorityClass"),
        (
            "admissionregistration.k8s.io/v1",
            "ValidatingAdmissionPolicy",
        ),
        ("storage.k8s.io/v1", "StorageClass"),
        (
            "admissionregistration.k8s.io/v1",
            "ValidatingAdmissionPolicyBinding",
        ),
        ("apiregistration.k8s.io/v1", "APIService"),
        ("certificates.k8s.io/v1", "CertificateSigningRequest"),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    ] {
        assert!(Schemas::builtin().knows(kind(api_version, name)), "{name}");
        let table = Schemas::builtin().table(
            kind(api_version, name),
            &[&json!({})],
            now(),
            IncludeObject::Metadata,
        );
        let columns = table["columnDefinitions"].as_array().unwrap();
        assert_eq!(
            table["rows"][0]["cells"].as_array().unwrap().len(),
            columns.len(),
            "{name}"
        );
        assert!(
            columns
                .iter()
                .all(|c| !c["description"].as_str().unwrap().is_empty()),
            "{name}: {columns:?}"
        );
    }
}

#[test]
fn custom_columns_are_read_by_path() {
    let object = json!({"metadata": {"name": "w", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"size": 3, "hosts": ["a"]}});
    let columns = json!([
        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
        {"name": "Hosts", "type": "string", "jsonPath": ".spec.hosts"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        {"name": "None", "type": "string", "jsonPath": ".spec.none", "priority": 1},
    ]);
    let table = crd_table(&columns, &[&object], now(), IncludeObject::None);
    assert_eq!(
        table["rows"],
        json!([{"cells": ["w", 3, "[\"a\"]", "5m", null]}])
    );
    assert_eq!(
        table["columnDefinitions"][1]["description"],
        "Custom resource definition column (in JSONPath format): .spec.size"
    );
    let table = crd_table(&Value::Null, &[&object], now(), IncludeObject::Metadata);
    assert_eq!(table["rows"][0]["cells"], json!(["w", "5m"]));
}
