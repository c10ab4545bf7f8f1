//! Admission webhooks over HTTPS, and the `caBundle` that lets the API server trust them.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, Uri};
use axum::response::IntoResponse;
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use hawser_ca::Authority;
use hawser_inject::proxy_config::ProxyConfig;
use hawser_inject::settings::{Settings, settings_for_path};
use hawser_kube::{Client, Error, Event, Resource, Selection};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::writer::Published;

const MUTATING: Resource = Resource::cluster_wide(
    "admissionregistration.k8s.io",
    "v1",
    "MutatingWebhookConfiguration",
    "mutatingwebhookconfigurations",
);
const VALIDATING: Resource = Resource::cluster_wide(
    "admissionregistration.k8s.io",
    "v1",
    "ValidatingWebhookConfiguration",
    "validatingwebhookconfigurations",
);
/// A connection that takes longer for its handshake or its requests is cut.
const CONNECTION: Duration = Duration::from_secs(60);

/// What the injector goes by.
#[derive(Clone)]
pub struct Injector {
    /// What the control plane was told.
    pub settings: watch::Receiver<Arc<Settings>>,
    /// What the cluster says of its proxies.
    pub published: watch::Receiver<Option<Published>>,
}

impl Injector {
    fn settings(&self, path: &str) -> Settings {
        let mut settings = settings_for_path(&self.settings.borrow(), path);
        if let Some(published) = &*self.published.borrow() {
            let configs = published.snapshot.proxy_configs.iter();
            settings.proxy_configs = configs.map(|c| proxy_config(c)).collect();
        }
        settings
    }
}

fn proxy_config(config: &hawser_model::proxy_config::ProxyConfig) -> ProxyConfig {
    ProxyConfig {
        namespace: config.meta.namespace.to_string(),
        labels: config
            .labels
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect(),
        concurrency: config.concurrency,
        environment: config
            .environment
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect(),
        image_type: config.image_type.to_string(),
    }
}

/// The paths `/inject…` and `/validate…`.
pub fn router(injector: Injector) -> Router {
    let limit = DefaultBodyLimit::max(hawser_inject::review::REVIEW_LIMIT);
    Router::new()
        .route("/inject", post(inject))
        .route("/inject/{*rest}", post(inject))
        .route("/validate", post(validate))
        .layer(limit)
        .with_state(injector)
}

async fn inject(State(injector): State<Injector>, uri: Uri, body: Bytes) -> impl IntoResponse {
    let settings = injector.settings(uri.path());
    match hawser_inject::review::review_bytes(&body, &settings) {
        Ok(answer) => (
            StatusCode::OK,
            [("content-type", "application/json")],
            answer,
        ),
        Err(error) => {
            tracing::warn!(%error, "no answer to a review");
            (
                StatusCode::BAD_REQUEST,
                [("content-type", "text/plain")],
                error.to_string().into_bytes(),
            )
        }
    }
}

async fn validate(body: Bytes) -> impl IntoResponse {
    match serde_json::from_slice::<Value>(&body) {
        Ok(question) => (
            StatusCode::OK,
            axum::Json(crate::admission::review(&question)),
        ),
        Err(error) => (
            StatusCode::BAD_REQUEST,
            axum::Json(json!({ "error": error.to_string() })),
        ),
    }
}

/// Serves until told to stop, with whatever certificate is current.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    tls: watch::Receiver<Arc<ServerConfig>>,
    drain: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            () = drain.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((socket, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let acceptor = TlsAcceptor::from(Arc::clone(&tls.borrow()));
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let connection = async {
                let stream = acceptor.accept(socket).await?;
                let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                builder
                    .serve_connection(TokioIo::new(stream), service)
                    .await
            };
            if let Ok(Err(error)) = tokio::time::timeout(CONNECTION, connection).await {
                tracing::debug!(%error, "webhook connection");
            }
        });
    }
}

/// TLS for the webhooks: our certificate, no client certificates (the API server has none by default).
pub fn tls_config(
    chain_pem: &str,
    key_pem: &str,
) -> Result<ServerConfig, hawser_serve::server::TlsError> {
    let mut config = ServerConfig::builder_with_provider(hawser_base::tls::provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            hawser_base::tls::certificates(chain_pem.as_bytes())?,
            hawser_base::tls::private_key(key_pem.as_bytes())?,
        )?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Keeps this revision's webhook configurations as they should be, until told to stop: their `caBundle` equal to the roots,
/// and, once something is published, validation a must. Until then objects are let through unchecked, so that a mesh can be
/// installed by what it would itself have to check (Istio's controller patches `failurePolicy` in the same way).
pub async fn keep_bundles(
    client: Client,
    namespace: String,
    mut authority: watch::Receiver<Arc<Authority>>,
    mut published: watch::Receiver<Option<Published>>,
    drain: CancellationToken,
) {
    let mut ready = false;
    let mut mutating = hawser_kube::watch(&client, MUTATING, Selection::all());
    let mut validating = hawser_kube::watch(&client, VALIDATING, Selection::all());
    let mut known: std::collections::BTreeMap<(bool, String), Value> =
        std::collections::BTreeMap::new();
    loop {
        let (event, is_mutating) = tokio::select! {
            () = drain.cancelled() => return,
            changed = authority.changed() => match changed {
                Ok(()) => (None, true),
                Err(_) => return,
            },
            now = published.wait_for(Option::is_some), if !ready => match now {
                Ok(_) => {
                    ready = true;
                    (None, true)
                }
                Err(_) => return,
            },
            event = mutating.next() => (event, true),
            event = validating.next() => (event, false),
        };
        let name = |o: &Value| {
            o["metadata"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        match event {
            Some(Event::Reset { objects, .. }) => {
                known.retain(|(m, _), _| *m != is_mutating);
                known.extend(objects.into_iter().map(|o| ((is_mutating, name(&o)), o)));
            }
            Some(Event::Apply { object, .. }) => {
                drop(known.insert((is_mutating, name(&object)), object))
            }
            Some(Event::Delete { name, .. }) => drop(known.remove(&(is_mutating, name))),
            _ => {}
        }
        let bundle = STANDARD.encode(authority.borrow_and_update().roots());
        for ((is_mutating, name), object) in &known {
            let Some(patched) = complete(object, &namespace, &bundle, ready && !is_mutating) else {
                continue;
            };
            let resource = if *is_mutating { MUTATING } else { VALIDATING };
            match client.replace(&resource, &patched).await {
                // The new object comes back by the watch.
                Ok(_) | Err(Error::Conflict(_) | Error::NotFound(_)) => {}
                Err(error) => {
                    tracing::warn!(name, %error, "caBundle not written; the next change tries again")
                }
            }
        }
    }
}

/// The configuration with our bundle, if it is one of ours (its webhooks call a service of our namespace) and is not so
/// already; with `must`, nothing passes that its webhooks cannot be asked about.
fn complete(object: &Value, namespace: &str, bundle: &str, must: bool) -> Option<Value> {
    let mut patched = object.clone();
    for webhook in patched["webhooks"].as_array_mut()? {
        let config = &webhook["clientConfig"];
        let service = config["service"]["name"].as_str().unwrap_or_default();
        if config["service"]["namespace"] == namespace && service.starts_with("istiod") {
            webhook["clientConfig"]["caBundle"] = json!(bundle);
            if must {
                webhook["failurePolicy"] = json!("Fail");
            }
        }
    }
    (patched != *object).then_some(patched)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(namespace: &str, bundle: &str, policy: &str) -> Value {
        let service = json!({ "name": "istiod", "namespace": namespace });
        json!({ "webhooks": [{ "clientConfig": { "service": service, "caBundle": bundle }, "failurePolicy": policy }] })
    }

    fn check(
        name: &str,
        (namespace, bundle, policy): (&str, &str, &str),
        must: bool,
        expected: Option<(&str, &str)>,
    ) {
        let got = complete(
            &configuration(namespace, bundle, policy),
            "istio-system",
            "B",
            must,
        );
        let expected = expected.map(|(bundle, policy)| configuration(namespace, bundle, policy));
        assert_eq!(got, expected, "{name}");
    }

    #[test]
    fn only_our_own_webhooks_are_changed() {
        check(
            "a new one",
            ("istio-system", "", "Ignore"),
            false,
            Some(("B", "Ignore")),
        );
        check(
            "as it should be",
            ("istio-system", "B", "Ignore"),
            false,
            None,
        );
        check(
            "once ready",
            ("istio-system", "B", "Ignore"),
            true,
            Some(("B", "Fail")),
        );
        check(
            "as it should be, ready",
            ("istio-system", "B", "Fail"),
            true,
            None,
        );
        check("someone else's", ("other", "", "Ignore"), true, None);
    }
}
