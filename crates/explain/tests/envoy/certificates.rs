//! The mesh's authority, and certificates of whoever takes part.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use hawser_base::tls;
use hawser_ca::issue;
use hawser_ca::rotation::Validity;
use hawser_model::Identity;
use rcgen::{Issuer, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};
use time::OffsetDateTime;

/// Certificate and key, as PEM.
#[derive(Clone, Debug)]
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

/// The authority.
#[derive(Debug)]
pub struct Authority {
    key: KeyPair,
    pub root: String,
    validity: Validity,
}

impl Authority {
    pub fn new() -> Result<Self> {
        let now = OffsetDateTime::now_utc();
        let validity = Validity {
            from: now - Duration::from_secs(60),
            until: now + Duration::from_secs(86_400),
        };
        let key = KeyPair::generate()?;
        let root = issue::root(&key, "cluster.local", "Root CA", validity, 1)?.pem;
        Ok(Self {
            key,
            root,
            validity,
        })
    }

    /// For an account, `namespace/name`, perhaps with its trust domain before (`domain/namespace/name`).
    pub fn workload(&self, account: &str) -> Result<Pair> {
        let mut parts: Vec<&str> = account.split('/').collect();
        if parts.len() == 2 {
            parts.insert(0, "cluster.local");
        }
        let [domain, namespace, name] = parts[..] else {
            anyhow::bail!("{account:?} is no account")
        };
        let identity = Identity {
            trust_domain: domain.into(),
            namespace: namespace.into(),
            service_account: name.into(),
        };
        let key = KeyPair::generate()?;
        let issued = issue::leaf(
            &key,
            &identity,
            &Issuer::from_ca_cert_pem(&self.root, &self.key)?,
            self.validity,
            7,
        )?;
        Ok(Pair {
            certificate: issued.pem,
            key: key.serialize_pem(),
        })
    }

    /// For DNS names.
    pub fn server(&self, names: &[&str]) -> Result<Pair> {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let key = KeyPair::generate()?;
        let issued = issue::server(
            &key,
            &names,
            &Issuer::from_ca_cert_pem(&self.root, &self.key)?,
            self.validity,
            8,
        )?;
        Ok(Pair {
            certificate: issued.pem,
            key: key.serialize_pem(),
        })
    }

    /// A client with that account's certificate, or without one. It takes any server: it is the proxy that is tested.
    pub fn client(&self, account: Option<&str>, alpn: &[String]) -> Result<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer));
        let mut config = match account {
            Some(account) => {
                let pair = self.workload(account)?;
                let chain = tls::certificates(pair.certificate.as_bytes())?;
                builder.with_client_auth_cert(chain, tls::private_key(pair.key.as_bytes())?)?
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn.iter().map(|a| a.clone().into_bytes()).collect();
        Ok(config)
    }
}

/// The servers' side of TLS: the certificate is that of the service which the SNI names, as its sidecar's would be.
pub fn servers(authority: Arc<Authority>) -> Result<ServerConfig> {
    let roots = {
        let mut store = rustls::RootCertStore::empty();
        store.add_parsable_certificates(tls::certificates(authority.root.as_bytes())?);
        Arc::new(store)
    };
    let clients =
        rustls::server::WebPkiClientVerifier::builder_with_provider(roots, tls::provider())
            .allow_unauthenticated()
            .build()?;
    let by_name = ByName {
        authority,
        known: Mutex::default(),
    };
    Ok(ServerConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(Arc::new(by_name)))
}

#[derive(Debug)]
struct ByName {
    authority: Arc<Authority>,
    known: Mutex<BTreeMap<String, Arc<CertifiedKey>>>,
}

impl ByName {
    fn make(&self, name: &str) -> Result<Arc<CertifiedKey>> {
        // outbound_.PORT_.SUBSET_.SERVICE.NAMESPACE.svc.cluster.local
        let pair = match name
            .strip_prefix("outbound_.")
            .and_then(|rest| rest.split("_.").nth(2))
        {
            Some(host) => {
                let mut labels = host.split('.');
                let (service, namespace) = (
                    labels.next().unwrap_or_default(),
                    labels.next().unwrap_or_default(),
                );
                self.authority.workload(&format!("{namespace}/{service}"))?
            }
            None => self.authority.server(&[name])?,
        };
        let key = tls::private_key(pair.key.as_bytes())?;
        let key = tls::provider().key_provider.load_private_key(key)?;
        Ok(Arc::new(CertifiedKey::new(
            tls::certificates(pair.certificate.as_bytes())?,
            key,
        )))
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().unwrap_or("nameless.example").to_owned();
        let mut known = self.known.lock().ok()?;
        if let Some(key) = known.get(&name) {
            return Some(Arc::clone(key));
        }
        let key = self.make(&name).context("a certificate").ok()?;
        known.insert(name, Arc::clone(&key));
        Some(key)
    }
}

#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        tls::provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
