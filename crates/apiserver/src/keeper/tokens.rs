//! Secrets of type `kubernetes.io/service-account-token`: filled in, and gone with their account.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Task, change, delete};
use crate::auth::ObjectName;
use crate::cluster::Cluster;
use crate::object::{set_meta, text};
use crate::status::ApiError;
use crate::store::{Key, ResourceId};
use crate::verbs::{DeleteOptions, Part};

const TYPE: &str = "kubernetes.io/service-account-token";
const ACCOUNT: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";

fn annotation<'a>(object: &'a Value, name: &str) -> &'a str {
    let annotations = object.pointer("/metadata/annotations");
    annotations
        .and_then(|annotations| annotations.get(name))
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The token Secrets that name an account, to be looked at when it changes.
pub fn secrets_of(cluster: &Cluster, account: &Key) -> Vec<Task> {
    let (volume, _) = cluster.store.read(&ResourceId::new("secrets", ""));
    let secrets = volume.iter(Some(&account.namespace)).filter(|secret| {
        let secret = secret.value();
        secret["type"] == TYPE && annotation(&secret, ACCOUNT) == &*account.name
    });
    secrets
        .map(|secret| Task::FillTokenSecret(secret.key.clone()))
        .collect()
}

/// Fills a token Secret, or deletes it when its account is gone.
///
/// # Errors
/// When the store fails.
pub async fn fill(cluster: &Arc<Cluster>, key: &Key) -> Result<Option<Duration>, ApiError> {
    let secrets = ResourceId::new("secrets", "");
    let Some(stored) = cluster
        .store
        .get(&secrets, key)
        .filter(|secret| !secret.deleting)
    else {
        return Ok(None);
    };
    let secret = stored.value();
    if secret["type"] != TYPE {
        return Ok(None);
    }
    let name = annotation(&secret, ACCOUNT);
    let uid = annotation(&secret, ACCOUNT_UID);
    let account = cluster.store.get(
        &ResourceId::new("serviceaccounts", ""),
        &Key::new(&key.namespace, name),
    );
    let account = account.filter(|account| uid.is_empty() || *account.uid == *uid);
    let Some(account) = account else {
        // One that was never filled may be waiting for an account that comes later; as in the real controller.
        if !uid.is_empty() {
            delete(cluster, &secrets, key, &DeleteOptions::default()).await?;
        }
        return Ok(None);
    };
    let complete = ["token", "ca.crt", "namespace"]
        .iter()
        .all(|field| !text(&secret, &format!("/data/{field}")).is_empty());
    if complete && !uid.is_empty() {
        return Ok(None);
    }
    if !cluster.issuer.ready() {
        return Ok(Some(Duration::from_millis(50)));
    }
    let account = ObjectName {
        name: name.to_owned(),
        uid: account.uid.to_string(),
    };
    let token = cluster
        .issuer
        .sign_legacy(&key.namespace, &key.name, &account)
        .map_err(|error| ApiError::internal(error.to_string()))?;
    let fields = [
        ("token", token.as_str()),
        ("ca.crt", &cluster.ca_pem),
        ("namespace", &key.namespace),
    ];
    change(cluster, &secrets, key, Part::Main, |secret| {
        let mut data = secret["data"].as_object().cloned().unwrap_or_default();
        for (field, text) in fields {
            data.entry(field)
                .or_insert_with(|| STANDARD.encode(text).into());
        }
        secret["data"] = Value::Object(data);
        let mut annotations = secret
            .pointer("/metadata/annotations")
            .cloned()
            .unwrap_or_else(|| json!({}));
        annotations[ACCOUNT_UID] = account.uid.as_str().into();
        set_meta(secret, "annotations", annotations);
    })
    .await?;
    Ok(None)
}
