//! The one crypto provider (aws-lc-rs), and TLS identities read from PEM.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Why PEM text could not be used for TLS.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// A certificate could not be read.
    #[error("certificate {index}: {source}")]
    Certificate {
        /// Counted from 0.
        index: usize,
        /// What the parser said.
        source: rustls::pki_types::pem::Error,
    },
    /// There was none.
    #[error("no certificate found")]
    NoCertificate,
    /// The key could not be read.
    #[error("private key: {0}")]
    Key(rustls::pki_types::pem::Error),
}

/// The crypto provider; pass it explicitly wherever rustls asks.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Makes [`provider`] the process's default, for libraries that do not take one. Call it first in `main`.
pub fn install() {
    // An error says that there is one already, which is what we want.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
}

/// All certificates of a PEM text, at least one.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let all: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .enumerate()
        .map(|(index, c)| c.map_err(|source| PemError::Certificate { index, source }))
        .collect::<Result<_, _>>()?;
    if all.is_empty() {
        Err(PemError::NoCertificate)
    } else {
        Ok(all)
    }
}

/// The private key of a PEM text.
pub fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, PemError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(PemError::Key)
}
