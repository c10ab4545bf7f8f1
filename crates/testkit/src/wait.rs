//! Waiting for a condition, with a bound.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Tries until it succeeds, at most for `limit`; then fails with what the last try said.
pub fn until<T>(what: &str, limit: Duration, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let began = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(error) if began.elapsed() >= limit => {
                return Err(error)
                    .with_context(|| format!("{what}: not within {} s", limit.as_secs()));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}
