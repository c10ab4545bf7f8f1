//! Where things are in the checkout.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// The checkout's top folder.
pub fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own).to_owned()
}

/// The Envoy that tests run: `HAWSER_ENVOY`, what `scripts/fetch-envoy` fetched, or one on PATH.
///
/// # Errors
///
/// Says what to do where there is none: a test that needs Envoy must fail loudly, not pass silently.
pub fn envoy() -> Result<PathBuf> {
    let given = std::env::var_os("HAWSER_ENVOY").map(PathBuf::from);
    let fetched = root().join(".cache/envoy/envoy");
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&on_path).map(|d| d.join("envoy"));
    match given
        .into_iter()
        .chain([fetched])
        .chain(on_path)
        .find(|p| p.is_file())
    {
        Some(path) => Ok(path),
        None => bail!("no Envoy found: run scripts/fetch-envoy, or set HAWSER_ENVOY"),
    }
}
