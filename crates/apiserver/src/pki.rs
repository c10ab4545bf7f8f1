//! A cluster's keys and certificates, kept in its data folder, and the kubeconfig that goes with them.

use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use time::{Duration, OffsetDateTime};

const CA_LIFETIME: Duration = Duration::days(3650);
/// The server's certificate is made anew at every start.
const SERVER_LIFETIME: Duration = Duration::days(365);

/// The certificate authority of a cluster.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
    der: CertificateDer<'static>,
}

impl Authority {
    /// Loads the CA from `dir`, making it on the first start.
    ///
    /// # Errors
    /// When the files cannot be read, written or understood.
    pub fn open(dir: &Path, cluster: &str) -> anyhow::Result<Authority> {
        let (certificate, key) = (dir.join("ca.crt"), dir.join("ca.key"));
        if !certificate.exists() {
            let pair = KeyPair::generate().context("generating the CA's key")?;
            let mut params = CertificateParams::default();
            params
                .distinguished_name
                .push(DnType::CommonName, format!("kubernetes-{cluster}"));
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![
                KeyUsagePurpose::KeyCertSign,
                KeyUsagePurpose::CrlSign,
                KeyUsagePurpose::DigitalSignature,
            ];
            set_lifetime(&mut params, CA_LIFETIME);
            let made = params
                .self_signed(&pair)
                .context("signing the CA's certificate")?;
            write_private(&key, pair.serialize_pem().as_bytes())?;
            write_private(&certificate, made.pem().as_bytes())?;
        }
        let pem = fs::read_to_string(&certificate)
            .with_context(|| format!("reading {}", certificate.display()))?;
        let key_pem =
            fs::read_to_string(&key).with_context(|| format!("reading {}", key.display()))?;
        let pair = KeyPair::from_pem(&key_pem)
            .with_context(|| format!("{} is not a key", key.display()))?;
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| {
            anyhow::anyhow!("{} is not a certificate: {error}", certificate.display())
        })?;
        let issuer = Issuer::from_ca_cert_der(&der, pair)
            .context("the CA's certificate and key do not fit")?;
        Ok(Authority { issuer, pem, der })
    }

    /// TLS for the server: a fresh certificate for the names that clients use, client certificates of this CA accepted
    /// but not required, HTTP/2 and HTTP/1.1.
    ///
    /// # Errors
    /// When certificates cannot be made.
    pub fn server_config(&self, ips: &[IpAddr]) -> anyhow::Result<Arc<ServerConfig>> {
        let mut params = CertificateParams::new(
            [
                "localhost",
                "kubernetes",
                "kubernetes.default",
                "kubernetes.default.svc",
                "kubernetes.default.svc.cluster.local",
            ]
            .map(str::to_owned),
        )?;
        params
            .distinguished_name
            .push(DnType::CommonName, "kube-apiserver");
        params
            .subject_alt_names
            .extend(ips.iter().map(|&ip| SanType::IpAddress(ip)));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        set_lifetime(&mut params, SERVER_LIFETIME);
        let pair = KeyPair::generate().context("generating the server's key")?;
        let certificate = params
            .signed_by(&pair, &self.issuer)
            .context("signing the server's certificate")?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots
            .add(self.der.clone())
            .context("the CA's certificate")?;
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .allow_unauthenticated()
                .build()
                .context("the verifier of client certificates")?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate.der().clone(), self.der.clone()], key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// A client certificate and key, PEM: the user is the common name, each group an organization.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn client_certificate(
        &self,
        user: &str,
        groups: &[&str],
    ) -> anyhow::Result<(String, String)> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, user);
        for group in groups {
            params
                .distinguished_name
                .push(DnType::OrganizationName, *group);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        set_lifetime(&mut params, SERVER_LIFETIME);
        let pair = KeyPair::generate()?;
        let certificate = params.signed_by(&pair, &self.issuer)?;
        Ok((certificate.pem(), pair.serialize_pem()))
    }
}

fn set_lifetime(params: &mut CertificateParams, lifetime: Duration) {
    let now = OffsetDateTime::now_utc();
    // Clocks of machines that share a cluster differ a little.
    params.not_before = now - Duration::hours(1);
    params.not_after = now + lifetime;
}

/// The administrator's bearer token, made on the first start.
///
/// # Errors
/// When the file cannot be read or written.
pub fn admin_token(dir: &Path) -> anyhow::Result<String> {
    let path = dir.join("admin.token");
    if !path.exists() {
        let mut random = [0; 32];
        aws_lc_rs::rand::fill(&mut random)
            .map_err(|_| anyhow::anyhow!("the random number generator failed"))?;
        write_private(&path, URL_SAFE_NO_PAD.encode(random).as_bytes())?;
    }
    let token = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let token = token.trim().to_owned();
    anyhow::ensure!(
        !token.is_empty(),
        "{} is empty; remove it and start again",
        path.display()
    );
    Ok(token)
}

/// The file of the service account key.
pub fn service_account_key(dir: &Path) -> PathBuf {
    dir.join("sa.key")
}

/// Writes a file that only its owner may read, all or nothing.
///
/// # Errors
/// When it cannot be written.
pub fn write_private(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
    }
    let temporary = path.with_extension(format!("tmp{}", std::process::id()));
    let write = || -> std::io::Result<()> {
        // A left-over of a killed process must not hand its permissions on.
        let _ = fs::remove_file(&temporary);
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().with_context(|| format!("writing {}", path.display()))
}

/// A kubeconfig with everything inline.
pub fn kubeconfig(cluster: &str, server: &str, ca_pem: &str, token: &str) -> String {
    let ca = STANDARD.encode(ca_pem);
    format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: {cluster}\n  cluster:\n    server: {server}\n    \
         certificate-authority-data: {ca}\ncontexts:\n- name: {cluster}\n  context:\n    cluster: {cluster}\n    \
         user: {cluster}\ncurrent-context: {cluster}\nusers:\n- name: {cluster}\n  user:\n    token: {token}\n"
    )
}
