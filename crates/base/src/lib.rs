//! Plumbing: logging, metrics, drain, TLS provider, backoff.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod backoff;
pub mod drain;
pub mod logging;
pub mod tls;
