//! What appears and disappears by itself: namespaces' contents, dependents, finalizers, pods.

use serde_json::{Value, json};

use crate::client::{Cluster, MAPS, MERGE, config_map, eventually, namespace};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespaces_come_and_go_with_their_contents() {
    let cluster = Cluster::start().await;
    let c = &cluster.client;
    let made = c.post("/api/v1/namespaces", &namespace("shop")).await;
    assert_eq!(
        made.body["metadata"]["labels"]["kubernetes.io/metadata.name"],
        "shop"
    );
    eventually(
        c,
        "/api/v1/namespaces/shop/serviceaccounts/default",
        "there",
        |reply| reply.code == 200,
    )
    .await;
    eventually(
        c,
        "/api/v1/namespaces/shop/configmaps/kube-root-ca.crt",
        "there",
        |reply| reply.body["data"]["ca.crt"] == cluster.handle.ca_pem(),
    )
    .await;
    let maps = "/api/v1/namespaces/shop/configmaps";
    let mut held = config_map("held", json!({}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    c.post(maps, &held).await;
    let deleted = c.delete("/api/v1/namespaces/shop").await;
    assert_eq!(deleted.body["status"]["phase"], "Terminating");
    let late = c.post(maps, &config_map("late", json!({}))).await;
    assert_eq!(
        (late.code, &late.body["details"]["causes"][0]["reason"]),
        (403, &json!("NamespaceTerminating"))
    );
    let waiting = |reply: &crate::client::Reply| {
        reply.body["status"]["conditions"]
            .as_array()
            .is_some_and(|conditions| {
                conditions
                    .iter()
                    .any(|c| c["type"] == "NamespaceFinalizersRemaining" && c["status"] == "True")
            })
    };
    eventually(
        c,
        "/api/v1/namespaces/shop",
        "waiting for the finalizer",
        waiting,
    )
    .await;
    c.patch(
        &format!("{maps}/held"),
        MERGE,
        &json!({"metadata": {"finalizers": null}}),
    )
    .await;
    eventually(c, "/api/v1/namespaces/shop", "gone", |reply| {
        reply.code == 404
    })
    .await;
}

async fn child_of(cluster: &Cluster, parent: &str, name: &str) {
    let c = &cluster.client;
    let owner = c.post(MAPS, &config_map(parent, json!({}))).await.body;
    let mut child = config_map(name, json!({}));
    child["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "v1", "kind": "ConfigMap", "name": parent, "uid": owner["metadata"]["uid"],
        "blockOwnerDeletion": true,
    }]);
    assert_eq!(c.post(MAPS, &child).await.code, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dependents_follow_their_owners() {
    let cluster = Cluster::start().await;
    let c = &cluster.client;
    for policy in ["Background", "Foreground"] {
        let (parent, child) = (
            format!("{}-p", policy.to_lowercase()),
            format!("{}-c", policy.to_lowercase()),
        );
        child_of(&cluster, &parent, &child).await;
        c.delete_with(
            &format!("{MAPS}/{parent}"),
            json!({"propagationPolicy": policy}),
        )
        .await;
        eventually(c, &format!("{MAPS}/{child}"), "gone", |reply| {
            reply.code == 404
        })
        .await;
        eventually(c, &format!("{MAPS}/{parent}"), "gone", |reply| {
            reply.code == 404
        })
        .await;
    }
    child_of(&cluster, "o-p", "o-c").await;
    c.delete_with(
        &format!("{MAPS}/o-p"),
        json!({"propagationPolicy": "Orphan"}),
    )
    .await;
    eventually(c, &format!("{MAPS}/o-p"), "gone", |reply| reply.code == 404).await;
    let orphan = c.get(&format!("{MAPS}/o-c")).await;
    assert_eq!(
        (
            orphan.code,
            orphan.body.pointer("/metadata/ownerReferences")
        ),
        (200, None)
    );
    let mut stray = config_map("stray", json!({}));
    stray["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "never", "uid": "no-such-uid"}]);
    c.post(MAPS, &stray).await;
    eventually(c, &format!("{MAPS}/stray"), "collected", |reply| {
        reply.code == 404
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finalizers_hold_objects() {
    let cluster = Cluster::start().await;
    let c = &cluster.client;
    let one = &format!("{MAPS}/a");
    let mut map = config_map("a", json!({}));
    map["metadata"]["finalizers"] = json!(["x.io/f"]);
    c.post(MAPS, &map).await;
    let marked = c.delete(one).await;
    assert_eq!(
        (
            marked.code,
            marked.body["metadata"]["deletionGracePeriodSeconds"].as_i64()
        ),
        (200, Some(0))
    );
    let more = c
        .patch(
            one,
            MERGE,
            &json!({"metadata": {"finalizers": ["x.io/f", "y.io/g"]}}),
        )
        .await;
    assert_eq!(more.code, 422, "{}", more.body);
    assert_eq!(
        c.patch(one, MERGE, &json!({"metadata": {"finalizers": null}}))
            .await
            .code,
        200
    );
    assert_eq!(c.get(one).await.code, 404);
}

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_wait_for_their_node() {
    let cluster = Cluster::start().await;
    let c = &cluster.client;
    let pods = "/api/v1/namespaces/default/pods";
    eventually(
        c,
        "/api/v1/namespaces/default/serviceaccounts/default",
        "there",
        |reply| reply.code == 200,
    )
    .await;
    let made = c.post(pods, &pod("p")).await;
    assert_eq!(made.code, 201, "{}", made.body);
    assert_eq!(made.body["status"]["phase"], "Pending");
    assert_eq!(made.body["spec"]["serviceAccountName"], "default");
    assert_eq!(
        made.body["spec"]["volumes"][0]["projected"]["sources"][1]["configMap"]["name"],
        "kube-root-ca.crt"
    );
    let target =
        json!({"apiVersion": "v1", "kind": "Binding", "target": {"kind": "Node", "name": "n1"}});
    assert_eq!(
        c.post(&format!("{pods}/p/binding"), &target).await.code,
        201
    );
    assert_eq!(
        c.post(&format!("{pods}/p/binding"), &target).await.code,
        409,
        "bound already"
    );
    let bound = c
        .get(&format!("{pods}?fieldSelector=spec.nodeName%3Dn1"))
        .await;
    assert_eq!(bound.body["items"][0]["metadata"]["name"], "p");
    let going = c.delete(&format!("{pods}/p")).await;
    assert_eq!(going.body["metadata"]["deletionGracePeriodSeconds"], 30);
    assert_eq!(
        c.get(&format!("{pods}/p")).await.code,
        200,
        "it stays until its node lets it go"
    );
    c.delete_with(&format!("{pods}/p"), json!({"gracePeriodSeconds": 0}))
        .await;
    assert_eq!(c.get(&format!("{pods}/p")).await.code, 404);
    c.post(pods, &pod("q")).await;
    c.delete(&format!("{pods}/q")).await;
    assert_eq!(
        c.get(&format!("{pods}/q")).await.code,
        404,
        "an unbound pod goes at once"
    );
}
