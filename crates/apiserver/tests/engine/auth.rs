//! Tokens, permissions and who may grant them.

use serde_json::{Value, json};

use crate::client::{Client, Cluster, eventually};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
const ACCOUNT: &str = "/api/v1/namespaces/default/serviceaccounts/default";

fn role(name: &str, resource: &str, verbs: Value) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": name},
        "rules": [{"apiGroups": [""], "resources": [resource], "verbs": verbs}],
    })
}

fn binding(role: &str, subject: Value) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": role},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role}, "subjects": [subject],
    })
}

async fn token(c: &Client, audiences: Value) -> String {
    eventually(c, ACCOUNT, "there", |reply| reply.code == 200).await;
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {"audiences": audiences, "expirationSeconds": 600},
    });
    let made = c.post(&format!("{ACCOUNT}/token"), &request).await;
    assert_eq!(made.code, 201, "{}", made.body);
    made.body["status"]["token"]
        .as_str()
        .expect("a token")
        .to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_do_what() {
    let cluster = Cluster::start().await;
    let c = &cluster.client;
    let secrets = "/api/v1/namespaces/default/secrets";
    assert_eq!(c.with_token("wrong").get(secrets).await.code, 401);
    let anonymous = c.with_token("");
    assert_eq!(anonymous.get("/readyz").await.code, 200);
    assert_eq!(anonymous.get(secrets).await.body["reason"], "Forbidden");
    let dev = c.with_token("dev-token");
    assert_eq!(dev.get(secrets).await.code, 403);
    c.post(
        &format!("{RBAC}/roles"),
        &role("reader", "secrets", json!(["list"])),
    )
    .await;
    let user = json!({"kind": "User", "name": "dev", "apiGroup": "rbac.authorization.k8s.io"});
    c.post(
        &format!("{RBAC}/rolebindings"),
        &binding("reader", user.clone()),
    )
    .await;
    assert_eq!(dev.get(secrets).await.code, 200, "granted at once");
    assert_eq!(
        dev.get(&format!("{secrets}/x")).await.code,
        403,
        "listing is not getting"
    );

    // With the permission to write roles, but not more than one holds.
    c.post(&format!("{RBAC}/roles"), &json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "granter"},
        "rules": [{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"], "verbs": ["create"]}],
    }))
    .await;
    c.post(&format!("{RBAC}/rolebindings"), &binding("granter", user))
        .await;
    let more = dev
        .post(
            &format!("{RBAC}/roles"),
            &role("more", "secrets", json!(["delete"])),
        )
        .await;
    assert_eq!(more.code, 403, "{}", more.body);
    let same = dev
        .post(
            &format!("{RBAC}/roles"),
            &role("same", "secrets", json!(["list"])),
        )
        .await;
    assert_eq!(same.code, 201, "{}", same.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_account_tokens() {
    let cluster = Cluster::start().await;
    let c = &cluster.client;
    let review = async |token: &str, audiences: Value| {
        let spec = json!({"token": token, "audiences": audiences});
        let review =
            json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec});
        c.post("/apis/authentication.k8s.io/v1/tokenreviews", &review)
            .await
            .body["status"]
            .clone()
    };
    let mesh = token(c, json!(["istio-ca"])).await;
    let status = review(&mesh, json!(["istio-ca"])).await;
    assert_eq!(
        status["user"]["username"],
        "system:serviceaccount:default:default"
    );
    assert_eq!(status["audiences"], json!(["istio-ca"]));
    assert_ne!(review(&mesh, json!(["other"])).await["authenticated"], true);
    assert_eq!(
        c.with_token(&mesh).get("/api").await.code,
        401,
        "it is not for this server"
    );
    let own = token(c, json!([])).await;
    assert_eq!(c.with_token(&own).get("/api").await.code, 200);
    let mut forged: Vec<String> = own.split('.').map(str::to_owned).collect();
    forged[2] = "AAAA".into();
    assert_eq!(c.with_token(&forged.join(".")).get("/api").await.code, 401);
    c.delete(ACCOUNT).await;
    eventually(c, ACCOUNT, "made again", |reply| reply.code == 200).await;
    assert_eq!(
        c.with_token(&own).get("/api").await.code,
        401,
        "its account is another one now"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_secrets_are_filled_in() {
    let cluster = Cluster::start().await;
    let c = &cluster.client;
    eventually(c, ACCOUNT, "there", |reply| reply.code == 200).await;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": {"name": "t", "annotations": {"kubernetes.io/service-account.name": "default"}},
    });
    c.post("/api/v1/namespaces/default/secrets", &secret).await;
    let path = "/api/v1/namespaces/default/secrets/t";
    let filled = eventually(c, path, "filled", |reply| {
        reply.body["data"]["token"].is_string()
    })
    .await;
    use base64::Engine;
    let token = filled.body["data"]["token"].as_str().expect("a token");
    let token = base64::engine::general_purpose::STANDARD
        .decode(token)
        .expect("base64");
    let token = String::from_utf8(token).expect("text");
    assert_eq!(c.with_token(&token).get("/api").await.code, 200);
    c.delete(path).await;
    assert_eq!(
        c.with_token(&token).get("/api").await.code,
        401,
        "the token goes with its Secret"
    );
}
