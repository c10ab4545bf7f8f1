//! Webhooks: a server of our own says yes, no, or something else.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::client::{Cluster, MAPS, config_map, eventually};
use crate::hook::Hook;

/// Refuses objects named `bad`, labels all others.
fn judge(_: &str, review: &Value) -> Option<Value> {
    let request = &review["request"];
    let mut response = json!({"uid": request["uid"], "allowed": true, "warnings": ["looked at"]});
    if request["name"] == "bad" {
        response["allowed"] = json!(false);
        response["status"] = json!({"code": 400, "message": "bad is bad"});
    } else {
        let patch = json!([{"op": "add", "path": "/metadata/labels", "value": {"by": request["userInfo"]["username"]}}]);
        response["patchType"] = json!("JSONPatch");
        response["patch"] = json!(STANDARD.encode(patch.to_string()));
    }
    Some(response)
}

const CONFIGURATIONS: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";

fn configuration(client_config: &Value, policy: &str) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "judge"},
        "webhooks": [{
            "name": "judge.example.com", "clientConfig": client_config, "failurePolicy": policy,
            "sideEffects": "None", "admissionReviewVersions": ["v1"], "timeoutSeconds": 5,
            "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}],
            "namespaceSelector": {"matchLabels": {"judged": "yes"}},
        }],
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhooks_change_and_refuse() {
    let cluster = Cluster::start().await;
    let c = &cluster.client;
    let hook = Hook::serve(judge).await;
    let made = c
        .post(
            CONFIGURATIONS,
            &configuration(&hook.by_url("/judge"), "Fail"),
        )
        .await;
    assert_eq!(made.code, 201, "{}", made.body);
    let judged = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "court", "labels": {"judged": "yes"}},
    });
    c.post("/api/v1/namespaces", &judged).await;
    let maps = "/api/v1/namespaces/court/configmaps";
    let good = c.post(maps, &config_map("good", json!({}))).await;
    assert_eq!(good.code, 201, "{}", good.body);
    assert_eq!(good.body["metadata"]["labels"]["by"], "kubernetes-admin");
    assert_eq!(good.headers["warning"], r#"299 - "looked at""#);
    let bad = c.post(maps, &config_map("bad", json!({}))).await;
    assert_eq!(bad.code, 400, "{}", bad.body);
    assert_eq!(
        bad.body["message"],
        r#"admission webhook "judge.example.com" denied the request: bad is bad"#
    );
    let dry = c
        .post(&format!("{maps}?dryRun=All"), &config_map("bad", json!({})))
        .await;
    assert_eq!(dry.code, 400, "dry runs are judged as well");
    assert_eq!(
        c.post(MAPS, &config_map("bad", json!({}))).await.code,
        201,
        "this namespace is not judged"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhooks_that_are_not_there() {
    let cluster = Cluster::start().await;
    let c = &cluster.client;
    let judged = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "court", "labels": {"judged": "yes"}},
    });
    c.post("/api/v1/namespaces", &judged).await;
    eventually(
        c,
        "/api/v1/namespaces/court/configmaps/kube-root-ca.crt",
        "there",
        |reply| reply.code == 200,
    )
    .await;
    let maps = "/api/v1/namespaces/court/configmaps";
    // Nobody listens on the discard port.
    let nowhere = json!({"url": "https://127.0.0.1:9/judge"});
    c.post(CONFIGURATIONS, &configuration(&nowhere, "Fail"))
        .await;
    let failed = c.post(maps, &config_map("x", json!({}))).await;
    assert_eq!(failed.code, 500, "{}", failed.body);
    assert!(
        failed.body["message"]
            .as_str()
            .is_some_and(|m| m.contains(r#"failed calling webhook "judge.example.com""#))
    );
    c.delete(&format!("{CONFIGURATIONS}/judge")).await;
    c.post(CONFIGURATIONS, &configuration(&nowhere, "Ignore"))
        .await;
    assert_eq!(c.post(maps, &config_map("x", json!({}))).await.code, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_in_cel() {
    let cluster = Cluster::start().await;
    let c = &cluster.client;
    let base = "/apis/admissionregistration.k8s.io/v1";
    let rules = json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}]);
    let spec = json!({
        "matchConstraints": {"resourceRules": rules},
        "validations": [{"expression": "object.metadata.name != 'forbidden'"}],
    });
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "names"}, "spec": spec,
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "names"}, "spec": {"policyName": "names", "validationActions": ["Deny"]},
    });
    assert_eq!(
        c.post(&format!("{base}/validatingadmissionpolicies"), &policy)
            .await
            .code,
        201
    );
    assert_eq!(
        c.post(
            &format!("{base}/validatingadmissionpolicybindings"),
            &binding
        )
        .await
        .code,
        201
    );
    let denied = c.post(MAPS, &config_map("forbidden", json!({}))).await;
    assert_eq!(denied.code, 422, "{}", denied.body);
    assert_eq!(
        c.post(MAPS, &config_map("allowed", json!({}))).await.code,
        201
    );
}
