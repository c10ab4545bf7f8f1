//! Looking at the certificates that a server of the mesh shows, as a client that has none itself.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, bail};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio_rustls::TlsConnector;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::net::connect_in;

const TIMEOUT: Duration = Duration::from_secs(5);

/// The certificates shown for `sni` at `to`, dialled from inside `netns`; a line for each, the server's first.
///
/// The handshake need not succeed: a server of the mesh ends it for want of a client certificate,
/// after it has shown its own.
pub(super) async fn chain(netns: &Path, to: SocketAddr, sni: &str) -> anyhow::Result<Vec<String>> {
    let provider = hawser_base::tls::provider();
    let seen = Arc::new(Onlooker {
        provider: provider.clone(),
        seen: Mutex::new(Vec::new()),
    });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("TLS")?
        .dangerous()
        .with_custom_certificate_verifier(seen.clone())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"istio".to_vec()];
    let name = ServerName::try_from(sni.to_string()).with_context(|| format!("SNI {sni}"))?;
    let stream = connect_in(netns, to, TIMEOUT)
        .await
        .with_context(|| to.to_string())?;
    let handshake = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let outcome = tokio::time::timeout(TIMEOUT, handshake)
        .await
        .context("the handshake took too long")?;
    let certificates = std::mem::take(
        &mut *seen
            .seen
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner),
    );
    if certificates.is_empty() {
        let why = outcome
            .err()
            .map_or_else(String::new, |error| format!(": {error}"));
        bail!("{to} showed no certificate for {sni}{why}");
    }
    certificates.iter().map(|der| describe(der)).collect()
}

fn describe(der: &[u8]) -> anyhow::Result<String> {
    let (_, certificate) =
        X509Certificate::from_der(der).context("a certificate that cannot be read")?;
    let mut uris = Vec::new();
    for extension in certificate.extensions() {
        if let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() {
            uris.extend(names.general_names.iter().filter_map(|name| match name {
                GeneralName::URI(uri) => Some((*uri).to_string()),
                _ => None,
            }));
        }
    }
    let subject = if uris.is_empty() {
        certificate.subject().to_string()
    } else {
        uris.join(" ")
    };
    Ok(format!("{subject}, by {}", certificate.issuer()))
}

/// Looks at certificates and believes all of them: nothing is sent to whoever shows them.
#[derive(Debug)]
struct Onlooker {
    provider: Arc<CryptoProvider>,
    seen: Mutex<Vec<Vec<u8>>>,
}

impl ServerCertVerifier for Onlooker {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut seen = self
            .seen
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *seen = std::iter::once(end_entity)
            .chain(intermediates)
            .map(|der| der.to_vec())
            .collect();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
