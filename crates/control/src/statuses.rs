//! Statuses of the cluster's objects: what became of Gateways and routes, and addresses given to ServiceEntries. One
//! replica writes them, whichever leads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hawser_api::{Kind, ObjectRef};
use hawser_kube::{Client, Error};
use hawser_lower::statuses::merged;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::kinds;
use crate::wants::Wants;

/// The lease that says which replica writes (Istio's name).
pub const LEASE: &str = "istio-gateway-status-leader";
/// What was not written is tried again after this.
const RETRY: Duration = Duration::from_secs(5);

/// Writes what is wanted for as long as `leading`, until told to stop.
pub async fn write(
    client: Client,
    mut wants: watch::Receiver<Arc<Wants>>,
    mut leading: watch::Receiver<bool>,
    drain: CancellationToken,
) {
    // What was written and is not yet known to be: the watch that will say so is on its way.
    let mut written: BTreeMap<ObjectRef, Value> = BTreeMap::new();
    loop {
        let wanted = Arc::clone(&wants.borrow_and_update());
        let mut failed = false;
        if *leading.borrow_and_update() {
            let wanted = all(&wanted);
            written.retain(|object, _| wanted.contains_key(object));
            for (object, status) in wanted {
                let timeless = without_times(&status);
                if written.get(&object) == Some(&timeless) {
                    continue;
                }
                match put(&client, &object, &status).await {
                    Ok(()) => drop(written.insert(object, timeless)),
                    // Deleted meanwhile: it will not be wanted any more.
                    Err(Error::NotFound(_)) => {}
                    Err(error) => {
                        tracing::debug!(%object, %error, "status not written yet");
                        failed = true;
                    }
                }
            }
        } else {
            written.clear();
        }
        tokio::select! {
            () = drain.cancelled() => return,
            changed = wants.changed() => if changed.is_err() { return },
            changed = leading.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(RETRY), if failed => {}
        }
    }
}

/// By object, so that each is written once.
fn all(wants: &Wants) -> BTreeMap<ObjectRef, Value> {
    let addresses = wants.allocations.iter().map(|allocation| {
        let object = ObjectRef {
            kind: Kind::ServiceEntry,
            namespace: allocation.namespace.clone(),
            name: allocation.name.clone(),
        };
        let one = |(host, ip): &(String, std::net::IpAddr)| json!({ "host": host, "value": ip.to_string() });
        (object, json!({ "addresses": allocation.addresses.iter().map(one).collect::<Vec<_>>() }))
    });
    wants
        .statuses
        .iter()
        .map(|u| (u.object.clone(), u.status.clone()))
        .chain(addresses)
        .collect()
}

/// Reads the object and replaces its status, unless somebody changes it in between ([`Error::Conflict`]).
async fn put(client: &Client, object: &ObjectRef, status: &Value) -> Result<(), Error> {
    let resource = kinds::resource(object.kind);
    let namespace = resource.namespaced.then_some(object.namespace.as_str());
    let mut live = client.get(&resource, namespace, &object.name).await?;
    let merged = merged(object, &live["status"], status);
    if live["status"] == merged {
        return Ok(());
    }
    live["status"] = merged;
    client.replace_status(&resource, &live).await.map(drop)
}

/// The status without the times at which it came about.
fn without_times(status: &Value) -> Value {
    match status {
        Value::Object(fields) => fields
            .iter()
            .filter(|(k, _)| *k != "lastTransitionTime")
            .map(|(k, v)| (k.clone(), without_times(v)))
            .collect(),
        Value::Array(items) => items.iter().map(without_times).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_time_is_no_other_status() {
        let status = |time: &str| json!({ "conditions": [{ "type": "Accepted", "lastTransitionTime": time }] });
        assert_eq!(
            without_times(&status("2026-01-01T00:00:00Z")),
            without_times(&status("2026-01-01T00:01:00Z"))
        );
    }
}
