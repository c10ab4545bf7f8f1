//! Talking to Envoy's administration, and to other HTTP servers on loopback.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

const PATIENCE: Duration = Duration::from_secs(5);
/// The largest answer read, in bytes: the statistics of a very large Envoy.
const ANSWER_LIMIT: usize = 128 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error("{url}: {reason}")]
    Failed { url: String, reason: String },
    #[error("{url}: status {status}")]
    Status { url: String, status: u16 },
}

/// A server on loopback.
#[derive(Clone)]
pub struct Admin {
    client: Client<HttpConnector, Empty<Bytes>>,
    port: u16,
}

impl Admin {
    /// The server on a port.
    pub fn new(port: u16) -> Admin {
        Admin {
            client: Client::builder(TokioExecutor::new()).build_http(),
            port,
        }
    }

    pub async fn get(&self, path: &str) -> Result<Bytes, AdminError> {
        self.call(Method::GET, path).await
    }

    pub async fn post(&self, path: &str) -> Result<Bytes, AdminError> {
        self.call(Method::POST, path).await
    }

    /// The counters and gauges whose names a regular expression covers (written for a URL).
    pub async fn statistics(&self, filter: &str) -> Result<BTreeMap<String, u64>, AdminError> {
        let text = self.get(&format!("/stats?filter={filter}")).await?;
        let text = String::from_utf8_lossy(&text);
        let pairs = text.lines().filter_map(|line| line.split_once(": "));
        Ok(pairs
            .filter_map(|(name, value)| Some((name.to_owned(), value.trim().parse().ok()?)))
            .collect())
    }

    async fn call(&self, method: Method, path: &str) -> Result<Bytes, AdminError> {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let failed = |reason: String| AdminError::Failed {
            url: url.clone(),
            reason,
        };
        let request = Request::builder()
            .method(method)
            .uri(&url)
            .body(Empty::new());
        let request = request.map_err(|error| failed(error.to_string()))?;
        let work = async {
            let answer = self
                .client
                .request(request)
                .await
                .map_err(|error| failed(crate::control::causes(&error)))?;
            if !answer.status().is_success() {
                return Err(AdminError::Status {
                    url: url.clone(),
                    status: answer.status().as_u16(),
                });
            }
            let body = Limited::new(answer.into_body(), ANSWER_LIMIT)
                .collect()
                .await;
            Ok(body.map_err(|error| failed(error.to_string()))?.to_bytes())
        };
        tokio::time::timeout(PATIENCE, work)
            .await
            .map_err(|_| failed("no answer in time".to_owned()))?
    }
}
