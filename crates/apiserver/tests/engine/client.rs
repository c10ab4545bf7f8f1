//! A server in a temporary folder and a client that speaks JSON to it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hawser_apiserver::{Config, Handle, Server, StaticToken, User};
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

/// A running cluster that goes with the test.
pub struct Cluster {
    pub handle: Handle,
    pub client: Client,
    _dir: Option<tempfile::TempDir>,
}

impl Cluster {
    pub async fn start() -> Cluster {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut cluster = Cluster::start_in(dir.path()).await;
        cluster._dir = Some(dir);
        cluster
    }

    pub async fn start_in(dir: &std::path::Path) -> Cluster {
        let mut config = Config::new("test", dir);
        let dev = User {
            username: "dev".into(),
            ..User::default()
        };
        config.tokens = vec![StaticToken {
            token: "dev-token".into(),
            user: dev,
        }];
        let handle = Server::start(config).await.expect("the server starts");
        let client = Client::new(&handle.url(), handle.ca_pem(), handle.token());
        Cluster {
            handle,
            client,
            _dir: None,
        }
    }
}

/// Asks one server as one user.
#[derive(Clone)]
pub struct Client {
    http: HyperClient<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: String,
    token: String,
}

/// What was answered.
#[derive(Debug)]
pub struct Reply {
    pub code: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

pub const MERGE: &str = "application/merge-patch+json";
pub const JSON_PATCH: &str = "application/json-patch+json";
pub const STRATEGIC: &str = "application/strategic-merge-patch+json";
pub const APPLY: &str = "application/apply-patch+yaml";

impl Client {
    pub fn new(base: &str, ca_pem: &str, token: &str) -> Client {
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).expect("the CA is PEM"))
            .expect("the CA is a root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("TLS versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_only()
            .enable_all_versions()
            .build();
        Client {
            http: HyperClient::builder(TokioExecutor::new()).build(connector),
            base: base.into(),
            token: token.into(),
        }
    }

    pub fn with_token(&self, token: &str) -> Client {
        Client {
            token: token.into(),
            ..self.clone()
        }
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        accept: &str,
        body: Bytes,
    ) -> http::Response<Incoming> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("accept", accept);
        if !self.token.is_empty() {
            request = request.header("authorization", format!("Bearer {}", self.token));
        }
        if !body.is_empty() {
            request = request.header("content-type", content_type);
        }
        let request = request.body(Full::new(body)).expect("a request");
        self.http.request(request).await.expect("an answer")
    }

    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        accept: &str,
        body: Bytes,
    ) -> Reply {
        let answer = self.send(method, path, content_type, accept, body).await;
        let (parts, body) = answer.into_parts();
        let bytes = body.collect().await.expect("a whole answer").to_bytes();
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        Reply {
            code: parts.status.as_u16(),
            headers: parts.headers,
            body,
        }
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.ask(Method::GET, path, "", "application/json", Bytes::new())
            .await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.ask(
            Method::POST,
            path,
            "application/json",
            "application/json",
            body.to_string().into(),
        )
        .await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Reply {
        self.ask(
            Method::PUT,
            path,
            "application/json",
            "application/json",
            body.to_string().into(),
        )
        .await
    }

    pub async fn patch(&self, path: &str, content_type: &str, body: &Value) -> Reply {
        self.ask(
            Method::PATCH,
            path,
            content_type,
            "application/json",
            body.to_string().into(),
        )
        .await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.ask(Method::DELETE, path, "", "application/json", Bytes::new())
            .await
    }

    pub async fn delete_with(&self, path: &str, options: Value) -> Reply {
        self.ask(
            Method::DELETE,
            path,
            "application/json",
            "application/json",
            options.to_string().into(),
        )
        .await
    }

    /// Opens a watch.
    pub async fn watch(&self, path: &str) -> Events {
        let answer = self
            .send(Method::GET, path, "", "application/json", Bytes::new())
            .await;
        assert_eq!(answer.status(), 200, "watch {path}");
        Events {
            body: answer.into_body(),
            rest: Vec::new(),
        }
    }
}

/// A stream of watch events.
pub struct Events {
    body: Incoming,
    rest: Vec<u8>,
}

impl Events {
    /// The next event; `None` when the server ended the watch.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).expect("an event is JSON"));
            }
            let frame = tokio::time::timeout(Duration::from_secs(20), self.body.frame())
                .await
                .expect("an event in time");
            let data = frame?
                .expect("an unbroken watch")
                .into_data()
                .unwrap_or_default();
            self.rest.extend_from_slice(&data);
        }
    }

    /// The next event as its type and the object's name.
    pub async fn next_name(&mut self) -> (String, String) {
        let event = self.next().await.expect("another event");
        let name = event["object"]["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        (event["type"].as_str().unwrap_or_default().to_owned(), name)
    }
}

/// Asks until the answer satisfies; fails after ten seconds with the last answer.
pub async fn eventually(
    client: &Client,
    path: &str,
    what: &str,
    satisfied: impl Fn(&Reply) -> bool,
) -> Reply {
    let start = std::time::Instant::now();
    loop {
        let reply = client.get(path).await;
        if satisfied(&reply) {
            return reply;
        }
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "{path} did not become {what}: {} {}",
            reply.code,
            reply.body
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub fn config_map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

pub fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

/// Where ConfigMaps of the default namespace are.
pub const MAPS: &str = "/api/v1/namespaces/default/configmaps";
