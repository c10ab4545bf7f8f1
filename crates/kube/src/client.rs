//! Requests to one API server, with answers as JSON values and refusals as [`Error`]s.

use crate::{Error, Resource};
use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response, header};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::Value;
use std::time::Duration;

/// How long one request may take, watches excepted.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer taken into memory (one page of a list), in bytes.
const MAX_BODY: usize = 256 << 20;
/// Objects per page of a list, as client-go asks.
const PAGE: usize = 500;

/// A connection pool to one API server. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    http: kube::Client,
    server: String,
    insecure: bool,
}

/// Which objects of a kind are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only this namespace; all with `None`.
    pub namespace: Option<String>,
    /// Label selector, as `app=reviews,version in (v1, v2)`.
    pub labels: Option<String>,
    /// Field selector, as `metadata.name=istio-ca-root-cert`.
    pub fields: Option<String>,
    /// Ask for metadata only (`PartialObjectMetadata`): for kinds whose contents are large or secret.
    pub metadata_only: bool,
}

impl Selection {
    /// Everything of a kind.
    pub fn all() -> Selection {
        Selection::default()
    }

    /// The objects of one namespace.
    pub fn in_namespace(namespace: impl Into<String>) -> Selection {
        Selection {
            namespace: Some(namespace.into()),
            ..Selection::default()
        }
    }

    /// Narrows to a label selector.
    pub fn labels(self, labels: impl Into<String>) -> Selection {
        Selection {
            labels: Some(labels.into()),
            ..self
        }
    }

    /// Narrows to a field selector.
    pub fn fields(self, fields: impl Into<String>) -> Selection {
        Selection {
            fields: Some(fields.into()),
            ..self
        }
    }

    pub(crate) fn query(&self) -> Vec<(&'static str, String)> {
        let labels = self.labels.clone().map(|labels| ("labelSelector", labels));
        let fields = self.fields.clone().map(|fields| ("fieldSelector", fields));
        labels.into_iter().chain(fields).collect()
    }
}

/// The objects of a kind, complete as of one resourceVersion.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct List {
    /// Each with `apiVersion` and `kind` filled in and without `managedFields`.
    pub items: Vec<Value>,
    /// The version from which a watch goes on without a gap.
    pub resource_version: String,
}

/// Who writes in a server-side apply, and whether fields are taken from others.
#[derive(Clone, Copy, Debug)]
pub struct FieldManager<'a> {
    /// Name of the manager, as `hawser`.
    pub name: &'a str,
    /// Take over fields that another manager owns.
    pub force: bool,
}

impl Client {
    /// Wraps what [`crate::config`] has set up.
    pub(crate) fn new(http: kube::Client, server: String, insecure: bool) -> Client {
        Client {
            http,
            server,
            insecure,
        }
    }

    /// Address of the server, for messages.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// True when the kubeconfig says `insecure-skip-tls-verify`: honoured, and to be reported as a Problem.
    pub fn is_insecure(&self) -> bool {
        self.insecure
    }

    /// Reads one object.
    pub async fn get(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Value, Error> {
        self.call(
            Method::GET,
            &resource.object(namespace, name, "")?,
            &[],
            None,
        )
        .await
    }

    /// Reads all selected objects, in pages, as of one resourceVersion. A continue token that expires midway starts
    /// over once.
    pub async fn list(&self, resource: &Resource, selection: &Selection) -> Result<List, Error> {
        match self.list_once(resource, selection).await {
            Err(Error::Expired(_)) => self.list_once(resource, selection).await,
            other => other,
        }
    }

    async fn list_once(&self, resource: &Resource, selection: &Selection) -> Result<List, Error> {
        let path = resource.collection(selection.namespace.as_deref())?;
        let accept = if selection.metadata_only {
            ACCEPT_METADATA_LIST
        } else {
            ACCEPT_JSON
        };
        let mut list = List::default();
        let mut token = String::new();
        loop {
            let mut query = selection.query();
            query.push(("limit", PAGE.to_string()));
            if !token.is_empty() {
                query.push(("continue", token));
            }
            let mut page = self.send(Method::GET, &path, &query, None, accept).await?;
            list.resource_version = text(&page, "/metadata/resourceVersion");
            token = text(&page, "/metadata/continue");
            match page.get_mut("items").map(Value::take) {
                Some(Value::Array(items)) => {
                    list.items
                        .extend(items.into_iter().map(|item| tidy(item, resource)));
                }
                Some(Value::Null) | None => {}
                Some(_) => {
                    return Err(Error::Unreadable(format!(
                        "list of {resource}: items is no array"
                    )));
                }
            }
            if token.is_empty() {
                return Ok(list);
            }
        }
    }

    /// Creates an object; its namespace and name are those in its metadata. Returns it as stored.
    pub async fn create(&self, resource: &Resource, object: &Value) -> Result<Value, Error> {
        let path = resource.collection(namespace_of(object))?;
        self.call(Method::POST, &path, &[], Some((JSON, object)))
            .await
    }

    /// Posts to a subresource (`binding`, `token`, `eviction`).
    pub async fn create_sub(
        &self,
        resource: &Resource,
        (namespace, name): (Option<&str>, &str),
        sub: &str,
        body: &Value,
    ) -> Result<Value, Error> {
        let path = resource.object(namespace, name, sub)?;
        self.call(Method::POST, &path, &[], Some((JSON, body)))
            .await
    }

    /// Replaces an object; with a `resourceVersion` in it, only if nobody changed it since ([`Error::Conflict`]).
    pub async fn replace(&self, resource: &Resource, object: &Value) -> Result<Value, Error> {
        let path = resource.object(namespace_of(object), name_of(object)?, "")?;
        self.call(Method::PUT, &path, &[], Some((JSON, object)))
            .await
    }

    /// Replaces an object's status, with the same check.
    pub async fn replace_status(
        &self,
        resource: &Resource,
        object: &Value,
    ) -> Result<Value, Error> {
        let path = resource.object(namespace_of(object), name_of(object)?, "status")?;
        self.call(Method::PUT, &path, &[], Some((JSON, object)))
            .await
    }

    /// Server-side apply: creates or merges, owning the fields given. `apiVersion` and `kind` are filled in.
    pub async fn apply(
        &self,
        resource: &Resource,
        object: &Value,
        manager: FieldManager<'_>,
    ) -> Result<Value, Error> {
        self.apply_at(resource, object, "", manager).await
    }

    /// Server-side apply of the status.
    pub async fn apply_status(
        &self,
        resource: &Resource,
        object: &Value,
        manager: FieldManager<'_>,
    ) -> Result<Value, Error> {
        self.apply_at(resource, object, "status", manager).await
    }

    async fn apply_at(
        &self,
        resource: &Resource,
        object: &Value,
        sub: &str,
        manager: FieldManager<'_>,
    ) -> Result<Value, Error> {
        let path = resource.object(namespace_of(object), name_of(object)?, sub)?;
        let query = [
            ("fieldManager", manager.name.to_owned()),
            ("force", manager.force.to_string()),
        ];
        let object = tidy(object.clone(), resource);
        self.call(Method::PATCH, &path, &query, Some((APPLY, &object)))
            .await
    }

    /// JSON merge patch (RFC 7396) of an object, or of a subresource such as `status` where `sub` is not empty.
    pub async fn merge_patch(
        &self,
        resource: &Resource,
        (namespace, name): (Option<&str>, &str),
        sub: &str,
        patch: &Value,
    ) -> Result<Value, Error> {
        let path = resource.object(namespace, name, sub)?;
        self.call(Method::PATCH, &path, &[], Some((MERGE_PATCH, patch)))
            .await
    }

    /// Deletes an object; `options` is a `DeleteOptions` body (preconditions, grace period) or `Value::Null`.
    pub async fn delete(
        &self,
        resource: &Resource,
        (namespace, name): (Option<&str>, &str),
        options: &Value,
    ) -> Result<(), Error> {
        let path = resource.object(namespace, name, "")?;
        let body = (!options.is_null()).then_some((JSON, options));
        self.call(Method::DELETE, &path, &[], body).await.map(drop)
    }

    /// Any other request: `path` as `/version`, the answer as JSON.
    pub async fn raw(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Error> {
        self.call(method, path, &[], body.map(|body| (JSON, body)))
            .await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        query: &[(&'static str, String)],
        body: Option<(&'static str, &Value)>,
    ) -> Result<Value, Error> {
        self.send(method, path, query, body, ACCEPT_JSON).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&'static str, String)],
        body: Option<(&'static str, &Value)>,
        accept: &'static str,
    ) -> Result<Value, Error> {
        let exchange = async {
            let response = self.open(method, path, query, body, accept).await?;
            let bytes = collect(response.into_body(), MAX_BODY).await?;
            serde_json::from_slice(&bytes)
                .map_err(|error| Error::Unreadable(format!("{path}: {error}")))
        };
        match tokio::time::timeout(REQUEST_TIMEOUT, exchange).await {
            Ok(result) => result,
            Err(_) => Err(Error::Unreachable(format!(
                "no answer within {} s",
                REQUEST_TIMEOUT.as_secs()
            ))),
        }
    }

    /// Sends a request and returns the response once its status says success; the body is still to be read.
    pub(crate) async fn open(
        &self,
        method: Method,
        path: &str,
        query: &[(&'static str, String)],
        body: Option<(&'static str, &Value)>,
        accept: &'static str,
    ) -> Result<Response<Body>, Error> {
        let mut request = Request::builder()
            .method(method)
            .uri(with_query(path, query))
            .header(header::ACCEPT, accept);
        let mut bytes = Vec::new();
        if let Some((content_type, value)) = body {
            request = request.header(header::CONTENT_TYPE, content_type);
            bytes = serde_json::to_vec(value).map_err(|error| Error::Request(error.to_string()))?;
        }
        let request = request
            .body(Body::from(bytes))
            .map_err(|error| Error::Request(error.to_string()))?;
        let response = self
            .http
            .send(request)
            .await
            .map_err(|error| Error::from_exchange(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        const MAX_ERROR: usize = 1 << 20;
        let body = collect(response.into_body(), MAX_ERROR)
            .await
            .unwrap_or_default();
        Err(Error::from_status(status, &body))
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("server", &self.server)
            .field("insecure", &self.insecure)
            .finish()
    }
}

pub(crate) const ACCEPT_JSON: &str = "application/json";
const ACCEPT_METADATA_LIST: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
pub(crate) const ACCEPT_METADATA: &str =
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";
// JSON is YAML; the media type is what makes the PATCH a server-side apply.
const APPLY: &str = "application/apply-patch+yaml";

/// The bytes of a body, refused above `limit`.
async fn collect(mut body: Body, limit: usize) -> Result<Bytes, Error> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Error::from_exchange(&error))?;
        if let Ok(data) = frame.into_data() {
            if bytes.len() + data.len() > limit {
                return Err(Error::Unreadable(format!(
                    "answer larger than {limit} bytes"
                )));
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes.freeze())
}

/// Gives an object the type that list items of built-in kinds lack, and drops `managedFields`, which nobody here reads.
pub(crate) fn tidy(mut object: Value, resource: &Resource) -> Value {
    if let Value::Object(fields) = &mut object {
        let partial = fields.get("kind").and_then(Value::as_str) == Some("PartialObjectMetadata");
        if partial || !fields.contains_key("kind") {
            fields.insert("apiVersion".into(), resource.api_version().into());
            fields.insert("kind".into(), resource.kind.as_ref().into());
        } else if !fields.contains_key("apiVersion") {
            fields.insert("apiVersion".into(), resource.api_version().into());
        }
        if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
            metadata.remove("managedFields");
        }
    }
    object
}

/// The string at a JSON pointer, or an empty one.
pub(crate) fn text(value: &Value, pointer: &str) -> String {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn namespace_of(object: &Value) -> Option<&str> {
    object
        .pointer("/metadata/namespace")
        .and_then(Value::as_str)
}

fn name_of(object: &Value) -> Result<&str, Error> {
    let name = object.pointer("/metadata/name").and_then(Value::as_str);
    name.ok_or_else(|| Error::Request("object without metadata.name".to_owned()))
}

fn with_query(path: &str, query: &[(&'static str, String)]) -> String {
    let mut uri = path.to_owned();
    for (index, (key, value)) in query.iter().enumerate() {
        uri.push(if index == 0 && !path.contains('?') {
            '?'
        } else {
            '&'
        });
        uri.push_str(key);
        uri.push('=');
        for byte in value.bytes() {
            // RFC 3986: unreserved characters stand for themselves.
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
                uri.push(char::from(byte));
            } else {
                uri.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const PODS: Resource = Resource::namespaced("", "v1", "Pod", "pods");

    #[test]
    fn queries_are_escaped() {
        let query = [
            ("labelSelector", "a in (b, c),!d".to_owned()),
            ("limit", "500".to_owned()),
        ];
        let expected = "/api/v1/pods?labelSelector=a%20in%20%28b%2C%20c%29%2C%21d&limit=500";
        assert_eq!(with_query("/api/v1/pods", &query), expected);
    }

    #[test]
    fn list_items_get_their_type_and_lose_managed_fields() {
        let item = json!({"metadata": {"name": "p", "managedFields": [{}]}});
        let expected = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}});
        assert_eq!(tidy(item, &PODS), expected);
        let partial = json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {}});
        assert_eq!(tidy(partial, &PODS)["kind"], "Pod");
    }
}
