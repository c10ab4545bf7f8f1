//! What can come back from an API server instead of an answer.

use http::StatusCode;
use serde_json::Value;

/// Why a request to an API server gave no result. Variants are what callers branch on; the message is for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The object, or the kind itself, does not exist (404).
    #[error("not found: {0}")]
    NotFound(String),
    /// An object of that name exists already (409, reason AlreadyExists).
    #[error("already exists: {0}")]
    AlreadyExists(String),
    /// Somebody else changed the object in between, or owns the field (409).
    #[error("conflict: {0}")]
    Conflict(String),
    /// The server understood the object and refused it (400 or 422).
    #[error("invalid: {0}")]
    Invalid(String),
    /// The resourceVersion or continue token is older than what the server keeps (410).
    #[error("expired: {0}")]
    Expired(String),
    /// No or wrong credentials (401).
    #[error("unauthorized: {0}")]
    Unauthorized(String),
    /// The credentials do not allow this (403).
    #[error("forbidden: {0}")]
    Forbidden(String),
    /// The server asks to come back later (429, 503).
    #[error("server busy: {0}")]
    Busy(String),
    /// No answer: name resolution, connection, TLS or timeout.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// Any other refusal.
    #[error("server answered {code}: {message}")]
    Server {
        /// HTTP status.
        code: u16,
        /// The server's words.
        message: String,
    },
    /// The answer is not what the Kubernetes API promises, or is larger than we accept.
    #[error("unreadable answer: {0}")]
    Unreadable(String),
    /// The request could not be built: a name or an object that no URL or body can hold.
    #[error("bad request: {0}")]
    Request(String),
}

impl Error {
    /// True where trying the same again later may work without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::Unreachable(_) | Error::Busy(_) | Error::Unreadable(_) => true,
            Error::Server { code, .. } => *code >= 500,
            _ => false,
        }
    }

    /// The error that a `metav1.Status` (or whatever else came with an HTTP error) stands for.
    pub(crate) fn from_status(code: StatusCode, body: &[u8]) -> Error {
        let status: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let reason = status["reason"].as_str().unwrap_or_default();
        let message = match status["message"].as_str() {
            Some(text) if !text.is_empty() => bounded(text),
            _ => bounded(String::from_utf8_lossy(body).trim()),
        };
        match (code.as_u16(), reason) {
            (404, _) => Error::NotFound(message),
            (409, "AlreadyExists") => Error::AlreadyExists(message),
            (409, _) => Error::Conflict(message),
            (400 | 422, _) => Error::Invalid(message),
            (410, _) => Error::Expired(message),
            (401, _) => Error::Unauthorized(message),
            (403, _) => Error::Forbidden(message),
            (429 | 503, _) => Error::Busy(message),
            (code, _) => Error::Server { code, message },
        }
    }

    /// The error of a failed exchange, with its causes in one line (`connect error: connection refused`).
    pub(crate) fn from_exchange(error: &(dyn std::error::Error + 'static)) -> Error {
        // kube wraps what its layers return in a name that tells nobody anything.
        let error = match error.downcast_ref::<kube::Error>() {
            Some(kube::Error::Service(inner)) => inner.as_ref(),
            _ => error,
        };
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            let inner_text = inner.to_string();
            if !text.contains(&inner_text) {
                text.push_str(": ");
                text.push_str(&inner_text);
            }
            cause = inner.source();
        }
        Error::Unreachable(bounded(&text))
    }
}

/// Messages come from foreign servers and end up in logs and statuses: one kilobyte is plenty.
fn bounded(text: &str) -> String {
    const LIMIT: usize = 1024;
    if text.len() <= LIMIT {
        return text.to_owned();
    }
    let end = (0..=LIMIT)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0);
    format!("{}…", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, code: u16, body: &str, expected: Error) {
        let code = StatusCode::from_u16(code).expect("valid code");
        assert_eq!(
            Error::from_status(code, body.as_bytes()),
            expected,
            "{name}"
        );
    }

    #[test]
    fn statuses_become_what_callers_branch_on() {
        let status =
            |reason: &str| format!(r#"{{"kind":"Status","reason":"{reason}","message":"m"}}"#);
        let m = || "m".to_owned();
        check("not found", 404, &status("NotFound"), Error::NotFound(m()));
        check(
            "unknown group answers text",
            404,
            "404 page not found\n",
            Error::NotFound("404 page not found".into()),
        );
        check(
            "create twice",
            409,
            &status("AlreadyExists"),
            Error::AlreadyExists(m()),
        );
        check("stale put", 409, &status("Conflict"), Error::Conflict(m()));
        check("validation", 422, &status("Invalid"), Error::Invalid(m()));
        check("too old", 410, &status("Expired"), Error::Expired(m()));
        check(
            "webhook down",
            500,
            &status("InternalError"),
            Error::Server {
                code: 500,
                message: m(),
            },
        );
        check("throttled", 429, "", Error::Busy(String::new()));
    }
}
