use serde_json::{Value, json};

use super::kind;
use crate::schema::Schemas;

fn check(api_version: &str, name: &str, given: Value, expected: Value) {
    let mut object = given;
    Schemas::builtin().prune(kind(api_version, name), &mut object);
    Schemas::builtin().default(kind(api_version, name), &mut object);
    assert_eq!(object, expected, "{name}");
}

#[test]
fn objects_get_what_the_real_server_gives() {
    let container = json!({
        "name": "c", "image": "i", "imagePullPolicy": "Always", "resources": {},
        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
    });
    let pod_spec = json!({
        "containers": [container], "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler", "securityContext": {},
    });
    check(
        "apps/v1",
        "Deployment",
        json!({"spec": {"selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}}),
        json!({
            "spec": {
                "replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600, "selector": {"matchLabels": {"a": "b"}},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
                "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod_spec},
            },
            "status": {},
        }),
    );
    check(
        "v1",
        "Service",
        json!({"spec": {"ports": [{"port": 80}], "selector": {"a": "b"}}}),
        json!({
            "spec": {"ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}], "selector": {"a": "b"}, "type": "ClusterIP",
                "sessionAffinity": "None", "internalTrafficPolicy": "Cluster"},
            "status": {"loadBalancer": {}},
        }),
    );
    check(
        "v1",
        "Secret",
        json!({"stringData": {"a": "b"}}),
        json!({"data": {"a": "Yg=="}, "type": "Opaque"}),
    );
    check(
        "v1",
        "Event",
        json!({"involvedObject": {"kind": "Pod"}, "reason": "R"}),
        json!({"involvedObject": {"kind": "Pod"}, "reason": "R", "source": {}, "firstTimestamp": null, "lastTimestamp": null,
            "eventTime": null, "reportingComponent": "", "reportingInstance": ""}),
    );
    check(
        "admissionregistration.k8s.io/v1",
        "ValidatingAdmissionPolicy",
        json!({"spec": {"matchConstraints": {"resourceRules": [{"apiGroups": [""], "resources": ["configmaps"]}]}}}),
        json!({"spec": {"failurePolicy": "Fail", "matchConstraints": {"matchPolicy": "Equivalent", "namespaceSelector": {},
            "objectSelector": {}, "resourceRules": [{"apiGroups": [""], "resources": ["configmaps"], "scope": "*"}]}}}),
    );
    check(
        "v1",
        "Namespace",
        json!({"metadata": {"name": "n"}}),
        json!({"metadata": {"name": "n", "labels": {"kubernetes.io/metadata.name": "n"}}, "spec": {}, "status": {}}),
    );
}

#[test]
fn quantities_become_canonical() {
    let mut pod = json!({"spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": 0.5, "memory": "1024Ki"}}}]}});
    Schemas::builtin().prune(kind("v1", "Pod"), &mut pod);
    assert_eq!(
        pod["spec"]["containers"][0]["resources"]["limits"],
        json!({"cpu": "500m", "memory": "1Mi"})
    );
}
