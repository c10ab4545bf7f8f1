//! Webhooks: a server of our own says yes, no, or something else.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair, SanType};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};

use crate::client::{Cluster, MAPS, config_map, eventually};

/// Answers reviews: refuses objects named `bad`, labels all others. Returns its `clientConfig`.
async fn webhook() -> Value {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
    let certificate = params.self_signed(&key).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .expect("a server's TLS");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let addr = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let service = service_fn(
                    |request: hyper::Request<hyper::body::Incoming>| async move {
                        let body = request
                            .into_body()
                            .collect()
                            .await
                            .expect("a review")
                            .to_bytes();
                        let review: Value = serde_json::from_slice(&body).expect("JSON");
                        Ok::<_, std::convert::Infallible>(hyper::Response::new(Full::new(
                            Bytes::from(judge(&review)),
                        )))
                    },
                );
                // The client may close as it likes.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    json!({"url": format!("https://{addr}/judge"), "caBundle": STANDARD.encode(certificate.pem())})
}

fn judge(review: &Value) -> String {
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
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
        .to_string()
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
    let made = c
        .post(CONFIGURATIONS, &configuration(&webhook().await, "Fail"))
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
