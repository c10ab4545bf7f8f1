//! Reading certificates in PEM.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

/// What matters of a leaf certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    pub not_before: OffsetDateTime,
    pub not_after: OffsetDateTime,
    /// The public key (SubjectPublicKeyInfo, DER).
    pub public_key: Vec<u8>,
    /// The serial number in hexadecimal.
    pub serial: String,
}

/// Reads the first certificate of a PEM text.
pub fn leaf(text: &str) -> Option<Leaf> {
    let der = CertificateDer::from_pem_slice(text.as_bytes()).ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    Some(Leaf {
        not_before: certificate.validity().not_before.to_datetime(),
        not_after: certificate.validity().not_after.to_datetime(),
        public_key: certificate.public_key().raw.to_vec(),
        serial: certificate.raw_serial_as_string(),
    })
}
