//! What a control plane owes its cluster, against the embedded API server: statuses, addresses, webhooks.

use std::time::{Duration, Instant};

use clap::Parser;
use hawser_apiserver::{Config, Server};
use hawser_control::ControlPlaneArgs;
use hawser_kube::{Client, Resource};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    control: ControlPlaneArgs,
}

/// A definition whose objects may hold anything.
fn definition(group: &str, (kind, plural): (&str, &str), scope: &str) -> Value {
    let version = json!({
        "name": "v1", "served": true, "storage": true, "subresources": { "status": {} },
        "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
    });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.{group}") },
        "spec": { "group": group, "scope": scope, "versions": [version],
            "names": { "kind": kind, "plural": plural, "singular": kind.to_lowercase(), "listKind": format!("{kind}List") } },
    })
}

const DEFINITIONS: Resource = Resource::cluster_wide(
    "apiextensions.k8s.io",
    "v1",
    "CustomResourceDefinition",
    "customresourcedefinitions",
);
const NAMESPACES: Resource = Resource::cluster_wide("", "v1", "Namespace", "namespaces");
const ENTRIES: Resource = Resource::namespaced(
    "networking.istio.io",
    "v1",
    "ServiceEntry",
    "serviceentries",
);
const CLASSES: Resource = Resource::cluster_wide(
    "gateway.networking.k8s.io",
    "v1",
    "GatewayClass",
    "gatewayclasses",
);
const VALIDATING: Resource = Resource::cluster_wide(
    "admissionregistration.k8s.io",
    "v1",
    "ValidatingWebhookConfiguration",
    "validatingwebhookconfigurations",
);

/// Waits until an object satisfies a condition, and returns it.
async fn until(
    client: &Client,
    what: &str,
    (resource, namespace, name): (&Resource, Option<&str>, &str),
    good: impl Fn(&Value) -> bool,
) -> Value {
    let begun = Instant::now();
    loop {
        let found = client.get(resource, namespace, name).await;
        match found {
            Ok(object) if good(&object) => return object,
            found => assert!(
                begun.elapsed() < PATIENCE,
                "waited in vain: {what}: {found:?}"
            ),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn create(client: &Client, resource: &Resource, object: Value) {
    let begun = Instant::now();
    while let Err(error) = client.create(resource, &object).await {
        assert!(begun.elapsed() < PATIENCE, "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statuses_addresses_and_webhooks_are_seen_to() {
    let directory = tempfile::tempdir().unwrap();
    let api = Server::start(Config::new("test", directory.path().join("api")))
        .await
        .unwrap();
    let kubeconfig = directory.path().join("kubeconfig");
    std::fs::write(&kubeconfig, api.kubeconfig()).unwrap();
    let client = Client::from_kubeconfig_file(&kubeconfig, None)
        .await
        .unwrap();

    create(
        &client,
        &NAMESPACES,
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "istio-system" } }),
    )
    .await;
    create(
        &client,
        &DEFINITIONS,
        definition(
            "networking.istio.io",
            ("ServiceEntry", "serviceentries"),
            "Namespaced",
        ),
    )
    .await;
    create(
        &client,
        &DEFINITIONS,
        definition(
            "gateway.networking.k8s.io",
            ("GatewayClass", "gatewayclasses"),
            "Cluster",
        ),
    )
    .await;
    let entry = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": { "name": "db", "namespace": "default" },
        "spec": { "hosts": ["db.example.com"], "resolution": "DNS", "ports": [{ "number": 5432, "name": "tcp", "protocol": "TCP" }] },
    });
    create(&client, &ENTRIES, entry).await;
    let class = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": { "name": "istio" },
        "spec": { "controllerName": "istio.io/gateway-controller" },
        "status": { "conditions": [{ "type": "Accepted", "status": "Unknown", "reason": "Waiting", "message": "", "lastTransitionTime": "1970-01-01T00:00:00Z" }] },
    });
    create(&client, &CLASSES, class).await;
    let webhook = json!({
        "name": "rev.validation.istio.io", "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Ignore",
        "clientConfig": { "service": { "name": "istiod", "namespace": "istio-system", "path": "/validate", "port": 443 } },
        "rules": [{ "apiGroups": ["networking.istio.io"], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["nothing"] }],
    });
    let validator = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": { "name": "istio-validator-istio-system" }, "webhooks": [webhook],
    });
    create(&client, &VALIDATING, validator).await;

    let control = Line::parse_from([
        "control-plane".to_owned(),
        format!("--kubeconfig={}", kubeconfig.display()),
        "--grpc-addr=127.0.0.1:0".to_owned(),
        "--secure-grpc-addr=127.0.0.1:0".to_owned(),
        "--webhook-addr=127.0.0.1:0".to_owned(),
        "--monitoring-addr=127.0.0.1:0".to_owned(),
    ]);
    let control = tokio::spawn(hawser_control::run(control.control));

    let with_addresses = |o: &Value| {
        o["status"]["addresses"]
            .as_array()
            .is_some_and(|a| a.len() == 2)
    };
    let entry = until(
        &client,
        "addresses",
        (&ENTRIES, Some("default"), "db"),
        with_addresses,
    )
    .await;
    let address = &entry["status"]["addresses"][0];
    assert_eq!(address["host"], "db.example.com");
    assert!(
        address["value"].as_str().unwrap().starts_with("240.240."),
        "{address}"
    );

    let accepted = |o: &Value| o["status"]["conditions"][0]["status"] == "True";
    let class = until(
        &client,
        "a class's status",
        (&CLASSES, None, "istio"),
        accepted,
    )
    .await;
    let condition = &class["status"]["conditions"][0];
    assert_eq!(
        (&condition["type"], &condition["reason"]),
        (&json!("Accepted"), &json!("Accepted"))
    );
    assert!(
        condition["lastTransitionTime"].as_str().unwrap() > "2020",
        "{condition}"
    );

    let complete = |o: &Value| {
        let webhook = &o["webhooks"][0];
        webhook["failurePolicy"] == "Fail"
            && webhook["clientConfig"]["caBundle"]
                .as_str()
                .is_some_and(|b| !b.is_empty())
    };
    until(
        &client,
        "a webhook that must be asked",
        (&VALIDATING, None, "istio-validator-istio-system"),
        complete,
    )
    .await;

    // Written once: what the watch brings back asks for nothing more.
    let version = |o: &Value| o["metadata"]["resourceVersion"].clone();
    let now = client.get(&ENTRIES, Some("default"), "db").await.unwrap();
    assert_eq!(version(&now), version(&entry));
    assert!(!control.is_finished());
    control.abort();
}
