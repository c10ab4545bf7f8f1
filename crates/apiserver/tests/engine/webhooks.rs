//! Which requests webhooks are asked about, and what becomes of every kind of answer.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::client::{Client, Cluster, MERGE, Reply, config_map};
use crate::hook::{Hook, SERVICE};

const REGISTRATION: &str = "/apis/admissionregistration.k8s.io/v1";
const MAPS: &str = "/api/v1/namespaces/court/configmaps";

/// Answers by the path that it is asked at.
fn judge(path: &str, review: &Value) -> Option<Value> {
    let uid = &review["request"]["uid"];
    let patch = |patch: Value| {
        let patch = STANDARD.encode(patch.to_string());
        json!({"uid": uid, "allowed": true, "patchType": "JSONPatch", "patch": patch})
    };
    match path {
        "/never" => None,
        "/deny" => Some(json!({"uid": uid, "allowed": false, "status": {"message": "not here"}})),
        "/other-uid" => Some(json!({"uid": "another", "allowed": true})),
        "/label" => Some(patch(
            json!([{"op": "add", "path": "/metadata/labels", "value": {"by": "hook"}}]),
        )),
        "/data" => Some(patch(
            json!([{"op": "add", "path": "/data/seen", "value": "yes"}]),
        )),
        "/nowhere" => Some(patch(
            json!([{"op": "replace", "path": "/spec/none", "value": 1}]),
        )),
        "/merge-patch" => {
            Some(json!({"uid": uid, "allowed": true, "patchType": "Merge", "patch": "e30="}))
        }
        _ => Some(json!({"uid": uid, "allowed": true})),
    }
}

/// A cluster with the namespace `court`, labelled `judged=yes`, and a webhook.
async fn court() -> (Cluster, Hook) {
    let cluster = Cluster::start().await;
    let court = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "court", "labels": {"judged": "yes"}},
    });
    let made = cluster.client.post("/api/v1/namespaces", &court).await;
    assert_eq!(made.code, 201, "{}", made.body);
    (cluster, Hook::serve(judge).await)
}

/// One webhook about writes of ConfigMaps and Deployments in judged namespaces; `changes` go over that.
fn webhook(name: &str, client_config: Value, changes: &Value) -> Value {
    let mut webhook = json!({
        "name": name, "clientConfig": client_config, "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "rules": [{
            "operations": ["CREATE", "UPDATE", "DELETE"], "apiGroups": ["", "apps"], "apiVersions": ["v1"],
            "resources": ["configmaps", "deployments"],
        }],
        "namespaceSelector": {"matchLabels": {"judged": "yes"}}, "timeoutSeconds": 5,
    });
    for (field, value) in changes.as_object().into_iter().flatten() {
        webhook[field] = value.clone();
    }
    webhook
}

async fn configure(client: &Client, kind: &str, webhooks: Value) {
    let plural = format!("{}s", kind.to_lowercase());
    client
        .delete(&format!("{REGISTRATION}/{plural}/judge"))
        .await;
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": "judge"}, "webhooks": webhooks,
    });
    let made = client
        .post(&format!("{REGISTRATION}/{plural}"), &configuration)
        .await;
    assert_eq!(made.code, 201, "{}", made.body);
}

const MUTATING: &str = "MutatingWebhookConfiguration";
const VALIDATING: &str = "ValidatingWebhookConfiguration";

fn message(reply: &Reply) -> &str {
    reply.body["message"].as_str().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_lead_to_their_endpoints() {
    let (cluster, hook) = court().await;
    let c = &cluster.client;
    configure(
        c,
        VALIDATING,
        json!([webhook(
            "a.example.com",
            hook.by_service("/deny"),
            &Value::Null
        )]),
    )
    .await;
    let lacking = c.post(MAPS, &config_map("m", json!({}))).await;
    assert_eq!(lacking.code, 500);
    assert!(
        message(&lacking).contains("service \"hook\" not found"),
        "{}",
        lacking.body
    );

    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": SERVICE},
        "spec": {"ports": [{"name": "https", "port": 443}]},
    });
    c.post("/api/v1/namespaces/court/services", &service).await;
    let empty = c.post(MAPS, &config_map("m", json!({}))).await;
    assert_eq!(empty.code, 500);
    assert!(
        message(&empty).contains("no endpoints available for service \"hook\""),
        "{}",
        empty.body
    );

    // Only the ready endpoint is there.
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": SERVICE, "labels": {"kubernetes.io/service-name": SERVICE}},
        "ports": [{"name": "https", "port": hook.addr.port(), "protocol": "TCP"}],
        "endpoints": [
            {"addresses": ["192.0.2.1"], "conditions": {"ready": false}},
            {"addresses": [hook.addr.ip().to_string()], "conditions": {"ready": true}},
        ],
    });
    let made = c
        .post(
            "/apis/discovery.k8s.io/v1/namespaces/court/endpointslices",
            &slice,
        )
        .await;
    assert_eq!(made.code, 201, "{}", made.body);
    let denied = c.post(MAPS, &config_map("m", json!({}))).await;
    assert_eq!(denied.code, 403, "{}", denied.body);
    assert_eq!(
        message(&denied),
        r#"admission webhook "a.example.com" denied the request: not here"#
    );
    let asked = hook.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].0, "/deny?timeout=5s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_selectors_and_conditions_say_what_is_asked() {
    let (cluster, hook) = court().await;
    let c = &cluster.client;
    let rule = |operations: &str, group: &str, resource: &str, scope: &str| {
        json!({"rules": [{
            "operations": [operations], "apiGroups": [group], "apiVersions": ["v1"], "resources": [resource], "scope": scope,
        }]})
    };
    let condition = |expression: &str, policy: &str| {
        json!({"failurePolicy": policy, "matchConditions": [
            {"name": "first", "expression": "true"}, {"name": "second", "expression": expression},
        ]})
    };
    let red = json!({"objectSelector": {"matchLabels": {"color": "red"}}});
    // What the webhook says beside what all say, whether it is asked about a create, an update that makes a red object
    // blue, and a deletion; and the code of the create.
    let cases = [
        (json!({}), [true, true, true], 201),
        (
            rule("CREATE", "", "configmaps", "*"),
            [true, false, false],
            201,
        ),
        (rule("*", "*", "*", "*"), [true, true, true], 201),
        (
            rule("*", "", "configmaps", "Cluster"),
            [false, false, false],
            201,
        ),
        (
            rule("*", "", "configmaps/status", "*"),
            [false, false, false],
            201,
        ),
        (
            rule("*", "apps", "configmaps", "*"),
            [false, false, false],
            201,
        ),
        (
            json!({"namespaceSelector": {"matchLabels": {"judged": "no"}}}),
            [false, false, false],
            201,
        ),
        // The object before the change counts as well.
        (red, [true, true, false], 201),
        (
            condition("request.operation == 'DELETE'", "Fail"),
            [false, false, true],
            201,
        ),
        (
            condition("object.data.none == 'x'", "Fail"),
            [false, false, false],
            403,
        ),
        (
            condition("object.data.none == 'x'", "Ignore"),
            [false, false, false],
            201,
        ),
    ];
    for (changes, expected, code) in cases {
        configure(
            c,
            VALIDATING,
            json!([webhook("a.example.com", hook.by_url("/allow"), &changes)]),
        )
        .await;
        hook.asked();
        let mut object = config_map("m", json!({"a": "b"}));
        object["metadata"]["labels"] = json!({"color": "red"});
        let created = c.post(MAPS, &object).await;
        assert_eq!(created.code, code, "{changes}: {}", created.body);
        let mut asked = [!hook.asked().is_empty(), false, false];
        if code == 201 {
            let blue = json!({"metadata": {"labels": {"color": "blue"}}});
            c.patch(&format!("{MAPS}/m"), MERGE, &blue).await;
            asked[1] = !hook.asked().is_empty();
            c.delete(&format!("{MAPS}/m")).await;
            asked[2] = !hook.asked().is_empty();
        }
        assert_eq!(asked, expected, "{changes}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_are_about_all_versions_of_a_resource_unless_exact() {
    let (cluster, hook) = court().await;
    let c = &cluster.client;
    let old = json!({
        "apiVersion": "extensions/v1beta1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}},
    });
    for (policy, times) in [("Equivalent", 1), ("Exact", 0)] {
        let changes = json!({"matchPolicy": policy});
        configure(
            c,
            VALIDATING,
            json!([webhook("a.example.com", hook.by_url("/allow"), &changes)]),
        )
        .await;
        let path = "/apis/extensions/v1beta1/namespaces/court/deployments?dryRun=All";
        let made = c.post(path, &old).await;
        assert_eq!(made.code, 201, "{}", made.body);
        let asked = hook.asked();
        assert_eq!(asked.len(), times, "{policy}");
        for (_, request) in asked {
            assert_eq!(
                request["kind"],
                json!({"group": "apps", "version": "v1", "kind": "Deployment"})
            );
            assert_eq!(request["requestKind"]["group"], "extensions");
            assert_eq!(request["dryRun"], true);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_has_its_outcome() {
    let (cluster, hook) = court().await;
    let c = &cluster.client;
    let refused = hook
        .by_url("/allow")
        .to_string()
        .replace(&hook.addr.port().to_string(), "9");
    let refused: Value = serde_json::from_str(&refused).expect("a client configuration");
    // Where the webhook is, the code when it must not fail and when it may, and a part of the message of the former.
    let cases = [
        (hook.by_url("/allow"), 201, 201, ""),
        (
            hook.by_url("/deny"),
            403,
            403,
            "denied the request: not here",
        ),
        (
            hook.by_url("/other-uid"),
            500,
            201,
            "expected response.uid=",
        ),
        (
            hook.by_url("/merge-patch"),
            500,
            201,
            "unsupported patch type",
        ),
        // It was there and it answered: that its patch does not fit is no failure to call it.
        (hook.by_url("/nowhere"), 500, 500, "cannot be applied"),
        (hook.by_url("/never"), 500, 201, "context deadline exceeded"),
        (
            refused,
            500,
            201,
            "failed calling webhook \"a.example.com\": failed to call webhook: Post ",
        ),
    ];
    for (client_config, fail, ignore, expected) in cases {
        for (policy, code) in [("Fail", fail), ("Ignore", ignore)] {
            let changes = json!({"failurePolicy": policy, "timeoutSeconds": 1});
            configure(
                c,
                MUTATING,
                json!([webhook("a.example.com", client_config.clone(), &changes)]),
            )
            .await;
            let made = c
                .post(&format!("{MAPS}?dryRun=All"), &config_map("m", json!({})))
                .await;
            assert_eq!(made.code, code, "{client_config} {policy}: {}", made.body);
            assert!(
                code < 400 || message(&made).contains(expected),
                "{expected}: {}",
                made.body
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dry_runs_are_asked_about_and_change_nothing() {
    let (cluster, hook) = court().await;
    let c = &cluster.client;
    for effects in ["None", "NoneOnDryRun"] {
        let changes = json!({"sideEffects": effects});
        configure(
            c,
            MUTATING,
            json!([webhook("a.example.com", hook.by_url("/label"), &changes)]),
        )
        .await;
        let made = c
            .post(&format!("{MAPS}?dryRun=All"), &config_map("m", json!({})))
            .await;
        assert_eq!(made.code, 201, "{effects}: {}", made.body);
        assert_eq!(made.body["metadata"]["labels"]["by"], "hook");
        let asked = hook.asked();
        assert_eq!(asked.len(), 1, "{effects}");
        assert_eq!(asked[0].1["dryRun"], true);
        let absent = c.get(&format!("{MAPS}/m")).await;
        assert_eq!(absent.code, 404, "nothing was stored");
    }
    let changes = json!({"sideEffects": "Some"});
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": MUTATING, "metadata": {"name": "effects"},
        "webhooks": [webhook("a.example.com", hook.by_url("/label"), &changes)],
    });
    let refused = c
        .post(
            &format!("{REGISTRATION}/mutatingwebhookconfigurations"),
            &configuration,
        )
        .await;
    assert_eq!(
        refused.code, 422,
        "v1 knows no webhooks with side effects: {}",
        refused.body
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhooks_are_asked_again_when_others_change_the_object() {
    let (cluster, hook) = court().await;
    let c = &cluster.client;
    // The first webhook's policy, the second one's path, and how often the first is asked.
    for (policy, second, times) in [
        ("Never", "/label", 1),
        ("IfNeeded", "/label", 2),
        ("IfNeeded", "/allow", 1),
    ] {
        let first = webhook(
            "a.example.com",
            hook.by_url("/data"),
            &json!({"reinvocationPolicy": policy}),
        );
        let second = webhook("b.example.com", hook.by_url(second), &Value::Null);
        configure(c, MUTATING, json!([first, second])).await;
        let made = c
            .post(
                &format!("{MAPS}?dryRun=All"),
                &config_map("m", json!({"a": "b"})),
            )
            .await;
        assert_eq!(made.code, 201, "{}", made.body);
        assert_eq!(made.body["data"], json!({"a": "b", "seen": "yes"}));
        let asked = hook.asked();
        let first: Vec<_> = asked
            .iter()
            .filter(|(path, _)| path.starts_with("/data"))
            .collect();
        assert_eq!(first.len(), times, "{policy} {asked:?}");
        if let [_, again] = first.as_slice() {
            assert_eq!(
                again.1["object"]["metadata"]["labels"]["by"], "hook",
                "it sees the change"
            );
        }
    }
}
