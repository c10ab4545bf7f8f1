//! What a controller wants done, and doing it.

use hawser_kube::{Client, Error, Resource};
use serde_json::{Value, json};

use super::world::{Key, Kind};

/// One request to the API server.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    /// Create an object; its namespace and name (or generateName) are in it.
    Create { kind: Kind, object: Value },
    /// Replace an object, provided that nobody changed it since the version it holds.
    Replace { kind: Kind, object: Value },
    /// Merge-patch an object, or its status where `status` says so.
    Patch {
        kind: Kind,
        key: Key,
        status: bool,
        patch: Value,
    },
    /// Delete an object, provided that it is still the one with this uid.
    Delete { kind: Kind, key: Key, uid: String },
    /// Put a pod on a node.
    Bind { pod: Key, uid: String, node: String },
    /// Tell the user about the object that is being looked after, through an Event.
    Tell {
        reason: &'static str,
        message: String,
    },
}

/// The kind written and the object as stored now, where the answer has it.
pub(super) type Written = Option<(Kind, Value)>;

/// The object that a controller looks after.
#[derive(Clone, Debug)]
pub(crate) struct About {
    pub(crate) kind: Kind,
    pub(crate) key: Key,
    pub(crate) uid: String,
}

/// Carries an action out. Users read of refused creations in the Events of what wanted them.
pub(super) async fn execute(
    client: &Client,
    action: &Action,
    about: &About,
) -> Result<Written, Error> {
    let result = request(client, action, about).await;
    if let (Action::Create { .. }, Err(error)) = (action, &result)
        && !matches!(
            error,
            Error::Unreachable(_) | Error::AlreadyExists(_) | Error::Conflict(_)
        )
    {
        let event = event(about, "FailedCreate", &error.to_string());
        if let Err(error) = client.create(&EVENTS, &event).await {
            tracing::debug!(%error, "an event was not stored");
        }
    }
    result
}

async fn request(client: &Client, action: &Action, about: &About) -> Result<Written, Error> {
    match action {
        Action::Create { kind, object } => client
            .create(&kind.resource(), object)
            .await
            .map(|stored| Some((*kind, stored))),
        Action::Replace { kind, object } => client
            .replace(&kind.resource(), object)
            .await
            .map(|stored| Some((*kind, stored))),
        Action::Patch {
            kind,
            key,
            status,
            patch,
        } => {
            let sub = if *status { "status" } else { "" };
            let stored = client
                .merge_patch(&kind.resource(), (Some(&key.0), &key.1), sub, patch)
                .await?;
            Ok(Some((*kind, stored)))
        }
        Action::Delete { kind, key, uid } => {
            let options = json!({"preconditions": {"uid": uid}, "propagationPolicy": "Background"});
            client
                .delete(&kind.resource(), (Some(&key.0), &key.1), &options)
                .await
                .map(|()| None)
        }
        Action::Bind { pod, uid, node } => {
            let binding = json!({
                "apiVersion": "v1", "kind": "Binding",
                "metadata": {"namespace": pod.0, "name": pod.1, "uid": uid},
                "target": {"apiVersion": "v1", "kind": "Node", "name": node},
            });
            let pods = Kind::Pod.resource();
            client
                .create_sub(&pods, (Some(&pod.0), &pod.1), "binding", &binding)
                .await
                .map(|_| None)
        }
        Action::Tell { reason, message } => client
            .create(&EVENTS, &event(about, reason, message))
            .await
            .map(|_| None),
    }
}

const EVENTS: Resource = Resource::namespaced("", "v1", "Event", "events");

/// The Event that tells about an object. Its name follows from what it says, so saying it twice is one Event.
pub(crate) fn event(about: &About, reason: &str, message: &str) -> Value {
    let resource = about.kind.resource();
    let (namespace, name) = (&about.key.0, &about.key.1);
    let suffix = super::hash::suffix(&json!([about.uid, reason, message]));
    let now = super::now().to_string();
    json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {
            "namespace": if namespace.is_empty() { "default" } else { namespace },
            "name": format!("{name}.{suffix}"),
        },
        "involvedObject": {
            "apiVersion": resource.api_version(), "kind": resource.kind,
            "namespace": namespace, "name": name, "uid": about.uid,
        },
        "type": "Warning", "reason": reason, "message": message, "count": 1,
        "firstTimestamp": now, "lastTimestamp": now,
        "source": {"component": "hawser-lab"},
        "reportingComponent": "hawser-lab", "reportingInstance": "",
    })
}
