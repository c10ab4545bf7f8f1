//! Plumbing: logging, metrics, drain, TLS provider, backoff.
