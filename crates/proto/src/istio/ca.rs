//! `istio.v1.auth`: the certificate service on port 15012.

use crate::google::protobuf::Struct;

/// A request for a certificate. Of the CSR only the public key counts: the identity is the caller's.
#[derive(Clone, PartialEq, prost::Message)]
pub struct IstioCertificateRequest {
    /// PEM-encoded PKCS#10 request.
    #[prost(string, tag = "1")]
    pub csr: String,
    /// Wanted lifetime in seconds; 0 leaves it to the CA.
    #[prost(int64, tag = "3")]
    pub validity_duration: i64,
    /// Optional keys such as `CertSigner`.
    #[prost(message, optional, tag = "4")]
    pub metadata: Option<Struct>,
}

/// The chain: leaf first, then one intermediate a string, the root bundle last.
#[derive(Clone, PartialEq, prost::Message)]
pub struct IstioCertificateResponse {
    /// PEM certificates in that order.
    #[prost(string, repeated, tag = "1")]
    pub cert_chain: Vec<String>,
}

/// Client and server stubs of `istio.v1.auth.IstioCertificateService`.
#[cfg(feature = "grpc")]
pub mod service {
    #![allow(clippy::all, missing_docs)]
    include!(concat!(
        env!("OUT_DIR"),
        "/istio.v1.auth.IstioCertificateService.rs"
    ));
}
