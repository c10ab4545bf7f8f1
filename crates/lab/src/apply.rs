//! Applying manifests through the API, as `kubectl apply -f` would.

use std::collections::BTreeMap;
use std::time::Duration;

use hawser_api::manifest;
use hawser_kube::{Client, Error, Resource};
use http::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// A kind or a webhook may take this long to be there after what defines it was applied.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a manifest was not applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The text is no manifest.
    #[error("{file}: {message}")]
    Manifest {
        /// The manifest's name.
        file: String,
        /// What is wrong.
        message: String,
    },
    /// The server refused an object.
    #[error("{object}: {source}")]
    Refused {
        /// Kind and name.
        object: String,
        /// The server's answer.
        source: Error,
    },
}

/// Applies manifests to one cluster.
#[derive(Debug)]
pub struct Applier {
    client: Client,
    known: BTreeMap<(String, String), Resource>,
}

impl Applier {
    /// For one cluster.
    pub fn new(client: Client) -> Applier {
        Applier {
            client,
            known: BTreeMap::new(),
        }
    }

    /// Applies every object of a manifest, in order; how many. `${NAME}` in the text is replaced
    /// from `values`, as a shell would.
    pub async fn apply(
        &mut self,
        file: &str,
        text: &str,
        values: &BTreeMap<&str, String>,
    ) -> Result<usize, ApplyError> {
        let text = substitute(text, values).map_err(|message| ApplyError::Manifest {
            file: file.into(),
            message,
        })?;
        let manifest = manifest::read(file, text.as_bytes());
        if let Some(error) = manifest.errors.first() {
            return Err(ApplyError::Manifest {
                file: file.into(),
                message: error.to_string(),
            });
        }
        let count = manifest.docs.len();
        for doc in manifest.docs {
            self.apply_object(doc.value).await?;
        }
        Ok(count)
    }

    /// Creates the object, or merges it into the one that is there.
    pub async fn apply_object(&mut self, mut object: Value) -> Result<(), ApplyError> {
        let name = object["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_string();
        let label = format!("{} {name}", object["kind"].as_str().unwrap_or("object"));
        let refused = |source| ApplyError::Refused {
            object: label.clone(),
            source,
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let error = match self.try_apply(&mut object, &name).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            // A kind whose definition was applied a moment ago, or a webhook whose pod is starting.
            let may_come = error.is_transient() || matches!(error, Error::NotFound(_));
            if !may_come || Instant::now() > deadline {
                return Err(refused(error));
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn try_apply(&mut self, object: &mut Value, name: &str) -> Result<(), Error> {
        let resource = self.resource(object).await?;
        if resource.namespaced && object["metadata"]["namespace"].is_null() {
            object["metadata"]["namespace"] = json!("default");
        }
        match self.client.create(&resource, object).await {
            Err(Error::AlreadyExists(_)) => {
                let namespace = object["metadata"]["namespace"].as_str().map(str::to_string);
                self.client
                    .merge_patch(&resource, (namespace.as_deref(), name), "", object)
                    .await
                    .map(drop)
            }
            other => other.map(drop),
        }
    }

    /// Where the server keeps objects of this kind, by its own word.
    async fn resource(&mut self, object: &Value) -> Result<Resource, Error> {
        let text = |field: &str| object[field].as_str().unwrap_or_default().to_string();
        let key = (text("apiVersion"), text("kind"));
        if let Some(resource) = self.known.get(&key) {
            return Ok(resource.clone());
        }
        let (group, version) = key.0.rsplit_once('/').unwrap_or(("", &key.0));
        let path = if group.is_empty() {
            format!("/api/{version}")
        } else {
            format!("/apis/{group}/{version}")
        };
        let list = self.client.raw(Method::GET, &path, None).await?;
        let entries = list["resources"].as_array().into_iter().flatten();
        let entry = entries
            .filter(|entry| entry["kind"] == key.1.as_str())
            .find(|entry| {
                entry["name"]
                    .as_str()
                    .is_some_and(|name| !name.contains('/'))
            })
            .ok_or_else(|| {
                Error::NotFound(format!("the server has no kind {} in {}", key.1, key.0))
            })?;
        let resource = Resource {
            group: group.to_string().into(),
            version: version.to_string().into(),
            kind: key.1.clone().into(),
            plural: entry["name"]
                .as_str()
                .unwrap_or_default()
                .to_string()
                .into(),
            namespaced: entry["namespaced"] == true,
        };
        self.known.insert(key, resource.clone());
        Ok(resource)
    }
}

/// Replaces `${NAME}`; a name without a value is an error, for an empty one would be applied silently.
/// Comment lines are left alone.
fn substitute(text: &str, values: &BTreeMap<&str, String>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with('#') {
            out.push_str(line);
            continue;
        }
        let mut rest = line;
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, after)) = after.split_once('}') else {
                break;
            };
            let value = values
                .get(name)
                .ok_or_else(|| format!("${{{name}}} has no value"))?;
            out.push_str(before);
            out.push_str(value);
            rest = after;
        }
        out.push_str(rest);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn substitution() {
        let values = BTreeMap::from([("A", "1".to_string())]);
        let cases = [
            ("a: ${A}\n", Ok("a: 1\n")),
            ("# ${B}\na: ${A}${A}", Ok("# ${B}\na: 11")),
            ("a: ${B}\n", Err("${B} has no value")),
            ("a: ${\n", Ok("a: ${\n")),
        ];
        for (text, expected) in cases {
            assert_eq!(
                substitute(text, &values),
                expected.map(String::from).map_err(String::from),
                "{text}"
            );
        }
    }
}
