//! The request pipeline: authenticate, authorize, find the kind, do the verb, answer.

mod authorize;
mod discovery;
mod logs;
mod objects;
mod openapi;
mod reviews;
mod subresource;
mod tokens;

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, Request as HttpRequest, header};
use hyper::body::Incoming;

use crate::auth::User;
use crate::cluster::Cluster;
use crate::http::{Answer, Query, ResourcePath, RoutePath, refusal, split, text};
use crate::status::ApiError;

/// A request with its path taken apart and its caller known.
pub struct Call<B = Incoming> {
    pub method: Method,
    pub path: String,
    pub query: Query,
    pub user: User,
    pub accept: String,
    pub content_type: String,
    /// `User-Agent` up to the slash.
    pub agent: String,
    pub if_none_match: String,
    /// The host that the client asked for.
    pub host: String,
    pub body: B,
}

impl Call {
    /// Takes the body away, to be read.
    fn split_body(self) -> (Call<()>, Incoming) {
        let call = Call {
            method: self.method,
            path: self.path,
            query: self.query,
            user: self.user,
            accept: self.accept,
            content_type: self.content_type,
            agent: self.agent,
            if_none_match: self.if_none_match,
            host: self.host,
            body: (),
        };
        (call, self.body)
    }
}

/// Answers one request. `certificate` is the verified client certificate, if the client showed one.
pub async fn handle(
    cluster: &Arc<Cluster>,
    certificate: Option<&[u8]>,
    request: HttpRequest<Incoming>,
) -> Answer {
    let accept = header_text(request.headers(), &header::ACCEPT);
    let mut answer = match serve(cluster, certificate, request).await {
        Ok(answer) => answer,
        Err(error) => refusal(&error, &accept),
    };
    if let Ok(id) = HeaderValue::from_str(&uuid::Uuid::new_v4().to_string()) {
        answer.headers_mut().insert("audit-id", id);
    }
    answer
}

/// A header as text; empty when absent or not ASCII.
fn header_text(headers: &HeaderMap, name: &header::HeaderName) -> String {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned()
}

async fn serve(
    cluster: &Arc<Cluster>,
    certificate: Option<&[u8]>,
    request: HttpRequest<Incoming>,
) -> Result<Answer, ApiError> {
    let (parts, body) = request.into_parts();
    let text_of = |name: &header::HeaderName| header_text(&parts.headers, name);
    let agent = text_of(&header::USER_AGENT);
    let agent = match agent.split('/').next() {
        None | Some("") => "unknown".to_owned(),
        Some(name) => name.to_owned(),
    };
    let user = authorize::authenticate(cluster, certificate, &parts.headers)?;
    let user = authorize::impersonate(cluster, user, &parts.headers)?;
    let call = Call {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: Query::parse(parts.uri.query().unwrap_or_default()),
        user,
        accept: text_of(&header::ACCEPT),
        content_type: text_of(&header::CONTENT_TYPE),
        agent,
        if_none_match: text_of(&header::IF_NONE_MATCH),
        host: parts
            .uri
            .authority()
            .map_or_else(|| text_of(&header::HOST), ToString::to_string),
        body,
    };
    match split(&call.path) {
        RoutePath::Resource(path) => {
            authorize::resource(cluster, &call, &path)?;
            resource(cluster, call, path).await
        }
        RoutePath::Version { group, version } => {
            authorize::path(cluster, &call)?;
            if !cluster.catalog.load().serves(&group, &version) {
                return Ok(text(404, "404 page not found\n"));
            }
            only_get(&call)?;
            Ok(discovery::version(cluster, &call, &group, &version))
        }
        RoutePath::Other(path) => {
            authorize::path(cluster, &call)?;
            other(cluster, &call, &path)
        }
    }
}

fn only_get(call: &Call) -> Result<(), ApiError> {
    if matches!(call.method, Method::GET | Method::HEAD) {
        Ok(())
    } else {
        Err(ApiError::method_not_allowed())
    }
}

fn other(cluster: &Arc<Cluster>, call: &Call, path: &str) -> Result<Answer, ApiError> {
    if let Some(document) = path.strip_prefix("/openapi/v3/") {
        return openapi::document(cluster, call, document);
    }
    match path {
        "/healthz" | "/livez" | "/readyz" => Ok(health(call, path)),
        "/healthz/ping" | "/livez/ping" | "/readyz/ping" => Ok(text(200, "ok")),
        "/version" => Ok(discovery::server_version()),
        "/api" => Ok(discovery::api(cluster, call)),
        "/apis" => Ok(discovery::apis(cluster, call)),
        "/" => Ok(discovery::root(cluster)),
        "/openapi/v3" => openapi::root(cluster, call),
        "/openapi/v2" => openapi::v2(cluster, call),
        "/.well-known/openid-configuration" => tokens::openid_configuration(cluster, call),
        "/openid/v1/jwks" => tokens::jwks(cluster, call),
        _ => match path.strip_prefix("/apis/") {
            Some(group) if !group.contains('/') => Ok(discovery::group(cluster, group)),
            _ => Ok(text(404, "404 page not found\n")),
        },
    }
}

/// The server answers only when it has read its database, so that it answers is its health.
fn health(call: &Call, path: &str) -> Answer {
    if !call.query.has("verbose") {
        return text(200, "ok");
    }
    let name = path.trim_start_matches('/');
    text(200, format!("[+]ping ok\n{name} check passed\n"))
}

async fn resource(
    cluster: &Arc<Cluster>,
    call: Call,
    path: ResourcePath,
) -> Result<Answer, ApiError> {
    let catalog = cluster.catalog.load_full();
    if !catalog.serves(&path.group, &path.version) {
        return Ok(text(404, "404 page not found\n"));
    }
    let kind = catalog
        .find(&path.group, &path.version, &path.plural)
        .cloned();
    let kind = kind.ok_or_else(ApiError::no_such_resource)?;
    // A namespace's own path carries its name where others carry their namespace.
    let own_namespace = kind.is("namespaces");
    if !kind.namespaced() && !path.namespace.is_empty() && !own_namespace {
        return Err(ApiError::no_such_resource());
    }
    if kind.virtual_only {
        return reviews::serve(cluster, call, &kind, &path).await;
    }
    let request = crate::verbs::Request {
        cluster,
        namespace: if kind.namespaced() {
            path.namespace.clone()
        } else {
            String::new()
        },
        name: path.name.clone(),
        user: call.user.clone(),
        agent: call.agent.clone(),
        kind,
    };
    if path.subresource.is_empty() {
        objects::serve(request, call, &path).await
    } else {
        subresource::serve(request, call, &path).await
    }
}
