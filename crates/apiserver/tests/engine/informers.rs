//! kube-rs as a client: its informers keep a true copy, however they list.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::watcher::{self, Event};
use serde_json::json;

use crate::client::Cluster;

async fn kube_client(cluster: &Cluster) -> kube::Client {
    let kubeconfig = Kubeconfig::from_yaml(&cluster.handle.kubeconfig()).expect("a kubeconfig");
    let config =
        kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    kube::Client::try_from(config.expect("a configuration")).expect("a client")
}

fn map(name: &str, value: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}, "data": {"v": value}}))
        .expect("a ConfigMap")
}

/// What an informer believes, folded from its events.
fn fold(copy: &mut BTreeMap<String, String>, event: Event<ConfigMap>) {
    let read = |map: &ConfigMap| {
        let value = map
            .data
            .as_ref()
            .and_then(|data| data.get("v"))
            .cloned()
            .unwrap_or_default();
        (map.metadata.name.clone().unwrap_or_default(), value)
    };
    match event {
        Event::Init => copy.clear(),
        Event::InitDone => {}
        Event::InitApply(map) | Event::Apply(map) => {
            let (name, value) = read(&map);
            copy.insert(name, value);
        }
        Event::Delete(map) => drop(copy.remove(&read(&map).0)),
    }
}

async fn follows(config: watcher::Config) {
    let cluster = Cluster::start().await;
    let maps: Api<ConfigMap> = Api::namespaced(kube_client(&cluster).await, "kube-public");
    for number in 0..7 {
        maps.create(&PostParams::default(), &map(&format!("m{number}"), "first"))
            .await
            .expect("created");
    }
    let mut events = watcher::watcher(maps.clone(), config).boxed();
    let mut copy = BTreeMap::new();
    let listed = async {
        while let Some(event) = events.try_next().await.expect("the watch goes on") {
            let done = matches!(event, Event::InitDone);
            fold(&mut copy, event);
            if done {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), listed)
        .await
        .expect("the list is complete in time");
    assert_eq!(
        copy.keys().filter(|name| name.starts_with('m')).count(),
        7,
        "{copy:?}"
    );

    let apply = PatchParams::apply("test").force();
    maps.patch("m1", &apply, &Patch::Apply(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m1"}, "data": {"v": "second"},
    })))
    .await
    .expect("applied");
    maps.patch(
        "m2",
        &PatchParams::default(),
        &Patch::Merge(json!({"data": {"v": "third"}})),
    )
    .await
    .expect("merged");
    maps.delete("m3", &DeleteParams::default())
        .await
        .expect("deleted");
    maps.create(&PostParams::default(), &map("last", "x"))
        .await
        .expect("created");
    let told = async {
        while !copy.contains_key("last") {
            let event = events
                .try_next()
                .await
                .expect("the watch goes on")
                .expect("another event");
            fold(&mut copy, event);
        }
    };
    tokio::time::timeout(Duration::from_secs(10), told)
        .await
        .expect("the changes are told in time");
    let truth = maps.list(&ListParams::default()).await.expect("a list");
    let truth: BTreeMap<String, String> = truth
        .iter()
        .map(|map| {
            let value = map
                .data
                .as_ref()
                .and_then(|data| data.get("v"))
                .cloned()
                .unwrap_or_default();
            (map.metadata.name.clone().unwrap_or_default(), value)
        })
        .collect();
    assert_eq!(copy, truth);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn list_in_pages_then_watch() {
    follows(watcher::Config::default().page_size(3)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_the_list() {
    follows(watcher::Config::default().streaming_lists()).await;
}
