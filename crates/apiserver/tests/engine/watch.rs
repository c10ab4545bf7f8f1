//! Watches: what is told, from where, and when they end.

use serde_json::{Value, json};

use crate::client::{Cluster, MAPS, MERGE, config_map};

fn pair(kind: &str, name: &str) -> (String, String) {
    (kind.to_owned(), name.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_is_told_once_and_in_order() {
    let cluster = Cluster::start().await;
    let c = &cluster.client;
    c.post(MAPS, &config_map("before", json!({}))).await;
    let revision = c.get(MAPS).await.body["metadata"]["resourceVersion"]
        .as_str()
        .expect("a revision")
        .to_owned();
    let mut events = c
        .watch(&format!("{MAPS}?watch=1&resourceVersion={revision}"))
        .await;
    c.post(MAPS, &config_map("a", json!({}))).await;
    c.patch(&format!("{MAPS}/a"), MERGE, &json!({"data": {"x": "1"}}))
        .await;
    c.delete(&format!("{MAPS}/a")).await;
    for expected in [
        pair("ADDED", "a"),
        pair("MODIFIED", "a"),
        pair("DELETED", "a"),
    ] {
        assert_eq!(events.next_name().await, expected);
    }
    // From the same revision the same is told again.
    let mut again = c
        .watch(&format!("{MAPS}?watch=1&resourceVersion={revision}"))
        .await;
    let mut last = revision.parse::<u64>().expect("a number");
    for expected in ["ADDED", "MODIFIED", "DELETED"] {
        let event = again.next().await.expect("an event");
        assert_eq!(event["type"], expected);
        let told = event["object"]["metadata"]["resourceVersion"]
            .as_str()
            .and_then(|rv| rv.parse().ok());
        let told: u64 = told.expect("a revision");
        assert!(told > last, "{told} after {last}");
        last = told;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn selectors_turn_changes_into_comings_and_goings() {
    let cluster = Cluster::start().await;
    let c = &cluster.client;
    let mut map = config_map("a", json!({}));
    c.post(MAPS, &map).await;
    let mut events = c
        .watch(&format!("{MAPS}?watch=1&labelSelector=on%3Dyes"))
        .await;
    let label = |value: Value| json!({"metadata": {"labels": {"on": value}}});
    let one = format!("{MAPS}/a");
    c.patch(&one, MERGE, &label(json!("yes"))).await;
    c.patch(&one, MERGE, &json!({"data": {"x": "1"}})).await;
    c.patch(&one, MERGE, &label(json!("no"))).await;
    map["metadata"] = json!({"name": "b", "labels": {"on": "yes"}});
    c.post(MAPS, &map).await;
    for expected in [
        pair("ADDED", "a"),
        pair("MODIFIED", "a"),
        pair("DELETED", "a"),
        pair("ADDED", "b"),
    ] {
        assert_eq!(events.next_name().await, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streaming_lists_say_when_they_are_complete() {
    let cluster = Cluster::start().await;
    let c = &cluster.client;
    c.post(MAPS, &config_map("a", json!({}))).await;
    let options = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=1";
    let mut events = c
        .watch(&format!("{MAPS}?{options}&fieldSelector=metadata.name%3Da"))
        .await;
    assert_eq!(events.next_name().await, pair("ADDED", "a"));
    let bookmark = events.next().await.expect("a bookmark");
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(
        bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    assert_eq!(events.next().await, None, "the watch ends by its timeout");
    let refused = c
        .get(&format!("{MAPS}?watch=1&sendInitialEvents=true"))
        .await;
    assert_eq!(refused.code, 422, "{}", refused.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgotten_revisions_expire() {
    let cluster = Cluster::start().await;
    let mut events = cluster
        .client
        .watch(&format!("{MAPS}?watch=1&resourceVersion=1"))
        .await;
    let event = events.next().await.expect("an event");
    assert_eq!(
        (&event["type"], &event["object"]["code"]),
        (&json!("ERROR"), &json!(410))
    );
    assert_eq!(event["object"]["reason"], "Expired");
    assert_eq!(events.next().await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_ends_watches() {
    let cluster = Cluster::start().await;
    let mut events = cluster.client.watch(&format!("{MAPS}?watch=1")).await;
    assert_eq!(events.next_name().await, pair("ADDED", "kube-root-ca.crt"));
    cluster.handle.shutdown();
    assert_eq!(events.next().await, None);
}
