//! Keys of tokens (JWKS, RFC 7517), fetched for RequestAuthentications, by way of OpenID configurations where only an
//! issuer is named.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::{ACCEPT, LOCATION, USER_AGENT};
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioExecutor;
use ipnet::IpNet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use serde_json::Value;

use crate::refresh::Schedule;

/// Istio's `PILOT_JWT_PUB_KEY_REFRESH_INTERVAL`.
const EVERY: Duration = Duration::from_secs(20 * 60);
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// For one document, redirects and OpenID configuration included.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The largest document read, in bytes.
const LIMIT: usize = 1024 * 1024;
const REDIRECTS: usize = 3;
const DISCOVERY: &str = "/.well-known/openid-configuration";

pub(crate) fn schedule() -> Schedule<String> {
    Schedule::new(EVERY, RETRY)
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The text is no address that keys can be fetched from.
    #[error("{0} is not an http or https URI")]
    Uri(String),
    /// From https to something else, or round in circles.
    #[error("redirected to {0}, which is not followed")]
    Redirect(String),
    /// Refused by `--blocked-cidrs-in-jwks-uris`.
    #[error("{0} is a blocked address")]
    Blocked(IpAddr),
    /// No connection, or no answer.
    #[error("{0}")]
    NoAnswer(String),
    /// The server answered with an error.
    #[error("{uri} answers {status}")]
    Status {
        /// What was asked for.
        uri: Uri,
        /// What it said.
        status: http::StatusCode,
    },
    /// The document is larger than we read.
    #[error("the document has more than {LIMIT} bytes")]
    TooLarge,
    /// The document is not what was asked for.
    #[error("{0}")]
    NotKeys(String),
    /// It took too long.
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    Timeout,
}

/// Fetches over HTTP and HTTPS; the system's roots say whom to trust.
#[derive(Clone)]
pub struct Fetcher {
    client: Client<HttpsConnector<HttpConnector<Resolver>>, Empty<Bytes>>,
    blocked: Arc<[IpNet]>,
    fetched: Counter,
    failed: Counter,
}

impl Fetcher {
    /// `blocked` addresses are never connected to.
    ///
    /// # Errors
    /// When rustls does not take the provider.
    pub fn new(blocked: Vec<IpNet>, registry: &mut Registry) -> Result<Self, rustls::Error> {
        let mut roots = rustls::RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::debug!(%error, "a system root cannot be used");
        }
        roots.add_parsable_certificates(found.certs);
        let tls = rustls::ClientConfig::builder_with_provider(hawser_base::tls::provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let blocked: Arc<[IpNet]> = blocked.into();
        let mut connector = HttpConnector::new_with_resolver(Resolver {
            blocked: Arc::clone(&blocked),
        });
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(TIMEOUT));
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build(connector);
        let (fetched, failed) = (Counter::default(), Counter::default());
        // Istio's names.
        registry.register(
            "pilot_jwks_resolver_network_fetch_success",
            "Key documents fetched",
            fetched.clone(),
        );
        registry.register(
            "pilot_jwks_resolver_network_fetch_fail",
            "Key documents not to be had",
            failed.clone(),
        );
        Ok(Self {
            client,
            blocked,
            fetched,
            failed,
        })
    }

    /// The key document at a URI; where that is an OpenID configuration, the one that it names.
    ///
    /// # Errors
    /// When there is none, or it is not to be trusted with what was asked.
    pub async fn fetch(&self, uri: &str) -> Result<String, FetchError> {
        let found = tokio::time::timeout(TIMEOUT, self.keys(uri))
            .await
            .unwrap_or(Err(FetchError::Timeout));
        match &found {
            Ok(_) => self.fetched.inc(),
            Err(_) => self.failed.inc(),
        };
        found
    }

    async fn keys(&self, text: &str) -> Result<String, FetchError> {
        let uri = parse(text)?;
        let document = match uri.path().ends_with(DISCOVERY) {
            false => self.get(uri).await?,
            true => {
                let configuration = self.get(uri.clone()).await?;
                let configuration: Value = serde_json::from_str(&configuration).map_err(|e| {
                    FetchError::NotKeys(format!("the OpenID configuration is not JSON: {e}"))
                })?;
                let named = configuration["jwks_uri"].as_str();
                let named = named.ok_or_else(|| {
                    FetchError::NotKeys("the OpenID configuration has no jwks_uri".to_owned())
                })?;
                self.get(towards(&uri, named)?).await?
            }
        };
        let keys: Value = serde_json::from_str(&document)
            .map_err(|e| FetchError::NotKeys(format!("not JSON: {e}")))?;
        match keys["keys"].is_array() {
            true => Ok(document),
            false => Err(FetchError::NotKeys(
                "the document has no list of keys".to_owned(),
            )),
        }
    }

    async fn get(&self, mut uri: Uri) -> Result<String, FetchError> {
        for _ in 0..=REDIRECTS {
            self.check(&uri)?;
            let request = Request::get(&uri)
                .header(ACCEPT, "application/json")
                .header(USER_AGENT, concat!("hawser/", env!("CARGO_PKG_VERSION")))
                .body(Empty::new())
                .map_err(|_| FetchError::Uri(uri.to_string()))?;
            let response = self
                .client
                .request(request)
                .await
                .map_err(|e| FetchError::NoAnswer(causes(&e)))?;
            let status = response.status();
            let location = response
                .headers()
                .get(LOCATION)
                .and_then(|v| v.to_str().ok());
            match location {
                Some(location) if status.is_redirection() => uri = towards(&uri, location)?,
                _ if status.is_success() => {
                    let body = Limited::new(response.into_body(), LIMIT).collect().await;
                    let body = body.map_err(|e| match e.is::<LengthLimitError>() {
                        true => FetchError::TooLarge,
                        false => FetchError::NoAnswer(e.to_string()),
                    })?;
                    return String::from_utf8(body.to_bytes().into())
                        .map_err(|_| FetchError::NotKeys("the document is not UTF-8".to_owned()));
                }
                _ => return Err(FetchError::Status { uri, status }),
            }
        }
        Err(FetchError::Redirect(uri.to_string()))
    }

    /// Addresses written out do not pass the resolver.
    fn check(&self, uri: &Uri) -> Result<(), FetchError> {
        let host = uri
            .host()
            .unwrap_or_default()
            .trim_start_matches('[')
            .trim_end_matches(']');
        match host.parse::<IpAddr>() {
            Ok(ip) if is_blocked(&self.blocked, ip) => Err(FetchError::Blocked(ip)),
            _ => Ok(()),
        }
    }
}

fn parse(text: &str) -> Result<Uri, FetchError> {
    let uri: Uri = text.parse().map_err(|_| FetchError::Uri(text.to_owned()))?;
    match uri.scheme_str() {
        Some("http" | "https") if uri.host().is_some_and(|h| !h.is_empty()) => Ok(uri),
        _ => Err(FetchError::Uri(text.to_owned())),
    }
}

/// Where a document or a redirect points to. Never to another scheme but from http to https.
fn towards(from: &Uri, to: &str) -> Result<Uri, FetchError> {
    let uri = match to.strip_prefix('/') {
        // A path on the same server (`//…` would be another one).
        Some(rest) if !rest.starts_with('/') => {
            let scheme = from.scheme_str().unwrap_or_default();
            let authority = from
                .authority()
                .map(ToString::to_string)
                .unwrap_or_default();
            parse(&format!("{scheme}://{authority}{to}"))?
        }
        _ => parse(to)?,
    };
    match (from.scheme_str(), uri.scheme_str()) {
        (a, b) if a == b => Ok(uri),
        (Some("http"), Some("https")) => Ok(uri),
        _ => Err(FetchError::Redirect(to.to_owned())),
    }
}

fn is_blocked(blocked: &[IpNet], ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    blocked.iter().any(|net| net.contains(&ip))
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// The system's resolver, without the addresses that are blocked.
#[derive(Clone)]
struct Resolver {
    blocked: Arc<[IpNet]>,
}

impl tower::Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = std::io::Error;
    type Future = BoxFuture<'static, std::io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let blocked = Arc::clone(&self.blocked);
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if let Some(address) = found.iter().find(|a| is_blocked(&blocked, a.ip())) {
                return Err(std::io::Error::other(FetchError::Blocked(address.ip())));
            }
            Ok(found.into_iter())
        })
    }
}

#[cfg(test)]
#[path = "jwks_tests.rs"]
mod tests;
