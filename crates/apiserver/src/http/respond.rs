//! Building answers.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use serde_json::Value;

use super::accept::{Accept, PROTOBUF, wants_protobuf_status};
use super::status_protobuf;
use crate::status::ApiError;

pub type Body = UnsyncBoxBody<Bytes, std::io::Error>;
pub type Answer = Response<Body>;

/// A body that is all there.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

fn answer(code: u16, content_type: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(full(body));
    *answer.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, private"),
    );
    answer
}

/// Bytes that are JSON already, or a YAML rendering of them.
pub fn json(code: u16, accept: Accept, body: impl Into<Bytes>) -> Answer {
    let body = body.into();
    if accept.yaml {
        let value: Value = serde_json::from_slice(&body).unwrap_or_default();
        return match serde_saphyr::to_string(&value) {
            Ok(yaml) => answer(code, "application/yaml", yaml.into()),
            Err(error) => status(&ApiError::internal(format!("rendering YAML: {error}"))),
        };
    }
    answer(code, "application/json", body)
}

pub fn text(code: u16, body: impl Into<Bytes>) -> Answer {
    answer(code, "text/plain; charset=utf-8", body.into())
}

/// An error as its `Status`, in the form that an `Accept` header takes.
pub fn refusal(error: &ApiError, accept: &str) -> Answer {
    if !wants_protobuf_status(accept) {
        return status(error);
    }
    let mut answer = status(error);
    *answer.body_mut() = full(status_protobuf::encode(&error.to_status()));
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(PROTOBUF));
    answer
}

/// An error as its `Status`.
pub fn status(error: &ApiError) -> Answer {
    let body = error.to_status().to_string();
    let mut answer = answer(error.code, "application/json", body.into());
    if let Some(seconds) = error.retry_after {
        answer
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}
