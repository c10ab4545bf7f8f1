//! Reading what pods refer to, through the API like any client.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use hawser_kube::{Client, Error, Resource};
use k8s_openapi::api::core::v1::{Container, Pod};
use serde_json::{Value, json};

use super::env::{self, Sources};

const CONFIG_MAPS: Resource = Resource::namespaced("", "v1", "ConfigMap", "configmaps");
const SECRETS: Resource = Resource::namespaced("", "v1", "Secret", "secrets");
const SERVICE_ACCOUNTS: Resource =
    Resource::namespaced("", "v1", "ServiceAccount", "serviceaccounts");

/// Reads the objects of one namespace. Errors are sentences for a pod's status.
#[derive(Clone)]
pub(crate) struct Reader {
    client: Client,
    namespace: String,
}

impl Reader {
    pub(crate) fn new(client: Client, namespace: &str) -> Reader {
        Reader {
            client,
            namespace: namespace.to_string(),
        }
    }

    async fn get(&self, resource: &Resource, name: &str) -> Result<Option<Value>, String> {
        match self.client.get(resource, Some(&self.namespace), name).await {
            Ok(object) => Ok(Some(object)),
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(format!("reading {resource} {name:?}: {error}")),
        }
    }

    /// A ConfigMap's data; `None` when there is no such ConfigMap.
    pub(crate) async fn config_map(
        &self,
        name: &str,
    ) -> Result<Option<BTreeMap<String, Vec<u8>>>, String> {
        let Some(object) = self.get(&CONFIG_MAPS, name).await? else {
            return Ok(None);
        };
        let mut data: BTreeMap<String, Vec<u8>> = strings(&object["data"])
            .map(|(key, text)| (key.to_string(), text.as_bytes().to_vec()))
            .collect();
        data.append(&mut decoded(&object["binaryData"], name)?);
        Ok(Some(data))
    }

    /// A Secret's data, decoded; `None` when there is no such Secret.
    pub(crate) async fn secret(
        &self,
        name: &str,
    ) -> Result<Option<BTreeMap<String, Vec<u8>>>, String> {
        match self.get(&SECRETS, name).await? {
            Some(object) => decoded(&object["data"], name).map(Some),
            None => Ok(None),
        }
    }

    /// What a container's environment refers to.
    pub(crate) async fn sources(&self, container: &Container) -> Result<Sources, String> {
        let (maps, secrets) = env::references(container);
        let mut sources = Sources::default();
        for name in maps {
            if let Some(data) = self.config_map(&name).await? {
                let texts = data
                    .into_iter()
                    .filter_map(|(key, value)| Some((key, String::from_utf8(value).ok()?)));
                sources.config_maps.insert(name, texts.collect());
            }
        }
        for name in secrets {
            if let Some(data) = self.secret(&name).await? {
                sources.secrets.insert(name, data);
            }
        }
        Ok(sources)
    }

    /// A token for the pod's service account, bound to the pod, and how long it is good for.
    pub(crate) async fn token(
        &self,
        pod: &Pod,
        audience: Option<&str>,
        seconds: i64,
    ) -> Result<(String, Duration), String> {
        let account = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.service_account_name.as_deref())
            .unwrap_or("default");
        let mut spec = json!({
            "expirationSeconds": seconds,
            "boundObjectRef": {
                "apiVersion": "v1", "kind": "Pod",
                "name": pod.metadata.name, "uid": pod.metadata.uid,
            },
        });
        if let Some(audience) = audience.filter(|audience| !audience.is_empty()) {
            spec["audiences"] = json!([audience]);
        }
        let request =
            json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
        let at = (Some(self.namespace.as_str()), account);
        let answer = self
            .client
            .create_sub(&SERVICE_ACCOUNTS, at, "token", &request)
            .await
            .map_err(|error| format!("token of service account {account:?}: {error}"))?;
        let token = answer["status"]["token"]
            .as_str()
            .ok_or("the server's answer holds no token")?;
        let lifetime = answer["spec"]["expirationSeconds"]
            .as_u64()
            .unwrap_or(seconds.unsigned_abs());
        Ok((token.to_string(), Duration::from_secs(lifetime)))
    }
}

fn strings(map: &Value) -> impl Iterator<Item = (&str, &str)> {
    map.as_object()
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
}

fn decoded(map: &Value, name: &str) -> Result<BTreeMap<String, Vec<u8>>, String> {
    strings(map)
        .map(|(key, text)| {
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(text)
                .map_err(|_| format!("key {key:?} of {name:?} is not base64"))?;
            Ok((key.to_string(), bytes))
        })
        .collect()
}
