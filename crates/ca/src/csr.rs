//! Certificate requests of others: only the public key counts.

use rcgen::SubjectPublicKeyInfo;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

/// Larger requests are refused unread: an honest one has less than 2 KiB.
pub const MAX_CSR_BYTES: usize = 16 * 1024;

/// Why a request was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CsrError {
    /// Longer than [`MAX_CSR_BYTES`].
    #[error("the certificate request is longer than {MAX_CSR_BYTES} bytes")]
    TooLong,
    /// Not PEM, or not a PKCS#10 request.
    #[error("not a PEM-encoded PKCS#10 certificate request: {0}")]
    Malformed(String),
    /// Not signed by the key that it names.
    #[error("the certificate request is not signed by its own key")]
    BadSignature,
    /// A key of a kind that we do not sign.
    #[error("unsupported public key: {0}")]
    UnsupportedKey(String),
}

/// The public key of a request, once the request has proved possession of it. What the request says of names, lifetimes
/// and extensions is ignored: the caller's authenticated identity decides those.
pub fn public_key(pem: &str) -> Result<SubjectPublicKeyInfo, CsrError> {
    if pem.len() > MAX_CSR_BYTES {
        return Err(CsrError::TooLong);
    }
    let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes())
        .map_err(|e| CsrError::Malformed(e.to_string()))?;
    let (_, request) = X509CertificationRequest::from_der(&block.contents)
        .map_err(|e| CsrError::Malformed(e.to_string()))?;
    request
        .verify_signature()
        .map_err(|_| CsrError::BadSignature)?;
    let key = request.certification_request_info.subject_pki.raw;
    SubjectPublicKeyInfo::from_der(key).map_err(|e| CsrError::UnsupportedKey(e.to_string()))
}
