//! A small HTTP client: one GET, bounded in time and size.

use std::time::Duration;

use axum::body::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// The largest answer read, in bytes.
const ANSWER_LIMIT: usize = 256 * 1024;

/// A client that keeps its connections.
#[derive(Clone)]
pub struct Client {
    pool: Pool<HttpConnector, Empty<Bytes>>,
}

/// What a peer answered.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Bytes,
}

impl Client {
    pub fn new() -> Client {
        Client {
            pool: Pool::builder(TokioExecutor::new()).build_http(),
        }
    }

    /// Fetches `url` with `headers`, giving up after `within`. `None` when there was no answer.
    pub async fn get(&self, url: &str, headers: &HeaderMap, within: Duration) -> Option<Answer> {
        let answer = tokio::time::timeout(within, self.fetch(url, headers)).await;
        match answer {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(error)) => {
                eprintln!("GET {url}: {error:#}");
                None
            }
            Err(_) => {
                eprintln!("GET {url}: no answer within {within:?}");
                None
            }
        }
    }

    async fn fetch(&self, url: &str, headers: &HeaderMap) -> anyhow::Result<Answer> {
        let mut request = Request::get(url).body(Empty::new())?;
        request.headers_mut().extend(headers.clone());
        let (head, body) = self.pool.request(request).await?.into_parts();
        let body = Limited::new(body, ANSWER_LIMIT).collect().await;
        let body = body
            .map_err(|error| anyhow::anyhow!("reading the answer: {error}"))?
            .to_bytes();
        Ok(Answer {
            status: head.status,
            body,
        })
    }
}
