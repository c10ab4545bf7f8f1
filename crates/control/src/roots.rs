//! The mesh's roots in every namespace: ConfigMap `istio-ca-root-cert`, which proxies mount to know their control plane.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::StreamExt;
use hawser_ca::Authority;
use hawser_kube::{Client, Error, Event, FieldManager, Resource, Selection};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const NAMESPACES: Resource = Resource::cluster_wide("", "v1", "Namespace", "namespaces");
const CONFIG_MAPS: Resource = Resource::namespaced("", "v1", "ConfigMap", "configmaps");
/// The ConfigMap's name.
pub const NAME: &str = "istio-ca-root-cert";
/// Namespaces without workloads of a mesh (Istio leaves them out as well).
const WITHOUT: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];

/// Writes the ConfigMap wherever it is missing or not ours, until told to stop.
pub async fn distribute(
    client: Client,
    authority: watch::Receiver<Arc<Authority>>,
    drain: CancellationToken,
) {
    let mut authority = authority;
    let mut namespaces = hawser_kube::watch(&client, NAMESPACES, Selection::all());
    let only_ours = Selection::all().fields(format!("metadata.name={NAME}"));
    let mut existing = hawser_kube::watch(&client, CONFIG_MAPS, only_ours);
    let mut known: BTreeSet<String> = BTreeSet::new();
    loop {
        let write: BTreeSet<String> = tokio::select! {
            () = drain.cancelled() => return,
            changed = authority.changed() => match changed {
                Ok(()) => known.clone(),
                Err(_) => return,
            },
            event = namespaces.next() => match event {
                Some(event) => new_namespaces(&mut known, event),
                None => return,
            },
            event = existing.next() => match event {
                Some(event) => spoiled(&known, event, authority.borrow().roots()),
                None => return,
            },
        };
        let roots = authority.borrow_and_update().roots().to_owned();
        for namespace in write {
            match put(&client, &namespace, &roots).await {
                Ok(()) => {}
                // Terminating or gone: the next event says so.
                Err(Error::NotFound(_) | Error::Forbidden(_)) => drop(known.remove(&namespace)),
                Err(error) => {
                    tracing::warn!(namespace, %error, "writing the roots failed; the next change tries again");
                    known.remove(&namespace);
                }
            }
        }
    }
}

/// Namespaces that were not known before.
fn new_namespaces(known: &mut BTreeSet<String>, event: Event) -> BTreeSet<String> {
    let name = |o: &Value| o["metadata"]["name"].as_str().map(str::to_owned);
    let live = |o: &Value| o["status"]["phase"] != "Terminating";
    let objects = match event {
        Event::Reset { objects, .. } => {
            let all: BTreeSet<String> = objects.iter().filter_map(name).collect();
            known.retain(|n| all.contains(n));
            objects
        }
        Event::Apply { object, .. } => vec![object],
        Event::Delete { name, .. } => {
            known.remove(&name);
            Vec::new()
        }
        _ => Vec::new(),
    };
    let mut new: BTreeSet<String> = objects
        .iter()
        .filter(|o| live(o))
        .filter_map(name)
        .collect();
    new.retain(|n| !WITHOUT.contains(&n.as_str()) && known.insert(n.clone()));
    new
}

/// Namespaces where someone deleted or changed what we wrote.
fn spoiled(known: &BTreeSet<String>, event: Event, roots: &str) -> BTreeSet<String> {
    let place = |o: &Value| o["metadata"]["namespace"].as_str().map(str::to_owned);
    let differs = |o: &&Value| o["data"]["root-cert.pem"] != roots;
    let mut out: BTreeSet<String> = match event {
        Event::Apply { object, .. } => Some(&object)
            .filter(differs)
            .and_then(place)
            .into_iter()
            .collect(),
        Event::Reset { objects, .. } => {
            let good: BTreeSet<String> = objects
                .iter()
                .filter(|o| !differs(o))
                .filter_map(place)
                .collect();
            known.difference(&good).cloned().collect()
        }
        Event::Delete { namespace, .. } => [namespace].into(),
        _ => BTreeSet::new(),
    };
    out.retain(|n| known.contains(n));
    out
}

async fn put(client: &Client, namespace: &str, roots: &str) -> Result<(), Error> {
    let object = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": NAME, "namespace": namespace, "labels": { "istio.io/config": "true" } },
        "data": { "root-cert.pem": roots },
    });
    client
        .apply(
            &CONFIG_MAPS,
            &object,
            FieldManager {
                name: "hawser-control-plane",
                force: true,
            },
        )
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(name: &str, phase: &str) -> Value {
        json!({ "metadata": { "name": name }, "status": { "phase": phase } })
    }

    fn apply(object: Value) -> Event {
        Event::Apply {
            object,
            resource_version: "1".to_owned(),
        }
    }

    #[test]
    fn each_namespace_is_written_once_and_again_when_spoiled() {
        let mut known = BTreeSet::new();
        let objects = vec![
            namespace("a", "Active"),
            namespace("kube-system", "Active"),
            namespace("b", "Terminating"),
        ];
        let all = Event::Reset {
            objects,
            resource_version: "1".to_owned(),
        };
        assert_eq!(new_namespaces(&mut known, all), ["a".to_owned()].into());
        assert_eq!(
            new_namespaces(&mut known, apply(namespace("a", "Active"))),
            BTreeSet::new()
        );
        let mine = |data: &str| json!({ "metadata": { "namespace": "a" }, "data": { "root-cert.pem": data } });
        assert_eq!(spoiled(&known, apply(mine("R")), "R"), BTreeSet::new());
        assert_eq!(
            spoiled(&known, apply(mine("X")), "R"),
            ["a".to_owned()].into()
        );
    }
}
