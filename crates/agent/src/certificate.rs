//! The proxy's certificate: made, signed by the control plane, renewed in time.

use std::sync::Arc;
use std::time::Duration;

use hawser_base::backoff::Backoff;
use hawser_proto::istio::ca::IstioCertificateRequest;
use hawser_proto::istio::ca::service::istio_certificate_service_client::IstioCertificateServiceClient;
use rcgen::{
    CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType,
};
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::chance::chance;
use crate::control::{ConnectError, ControlPlane};
use crate::pem;

/// The share of its lifetime after which a certificate is renewed, and how far chance may move that.
const RENEW_AFTER: f64 = 0.5;
const RENEW_JITTER: f64 = 0.01;
/// A certificate that is due already is not asked for again more often than this.
const LEAST_DELAY: Duration = Duration::from_secs(1);
/// How long the CA may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// A certificate with its key, and the roots to check others by. The key is shown to nobody but Envoy.
#[derive(Clone)]
pub struct Secrets {
    /// Leaf and intermediates, PEM.
    pub chain: String,
    key: String,
    /// Roots, PEM.
    pub roots: String,
    pub not_before: OffsetDateTime,
    pub not_after: OffsetDateTime,
    /// The leaf's serial number, hexadecimal.
    pub serial: String,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Secrets")
            .field("serial", &self.serial)
            .field("not_after", &self.not_after)
            .finish()
    }
}

impl Secrets {
    /// The private key, PEM.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }
}

/// Why there is no new certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("cannot make a key and a request: {0}")]
    Request(#[from] rcgen::Error),
    #[error("the CA refused: {} ({:?})", .0.message(), .0.code())]
    Refused(Box<tonic::Status>),
    #[error("the CA did not answer in time")]
    Silent,
    #[error("the CA's answer makes no sense: {0}")]
    Answer(&'static str),
}

/// Where newest secrets are published; nothing until there are some.
pub type SecretsReceiver = watch::Receiver<Option<Arc<Secrets>>>;

/// Gets a certificate and renews it in time until stopped. On failure the last one stays in use.
pub async fn keep_fresh(
    control: ControlPlane,
    identity: String,
    lifetime: Duration,
    publish: watch::Sender<Option<Arc<Secrets>>>,
    stop: CancellationToken,
) {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    loop {
        let last = publish.borrow().clone();
        let delay = match request(&control, &identity, lifetime, last.as_deref()).await {
            Ok(secrets) => {
                backoff.succeeded();
                let jitter = chance() * 2.0 - 1.0;
                let delay = rotation_delay(
                    OffsetDateTime::now_utc(),
                    secrets.not_before,
                    secrets.not_after,
                    jitter,
                );
                tracing::info!(serial = secrets.serial, not_after = %secrets.not_after, renew_in = ?delay, "certificate received");
                publish.send_replace(Some(Arc::new(secrets)));
                delay
            }
            Err(error) => {
                let delay = backoff.after_failure(chance());
                let expires = last.map(|last| last.not_after.to_string());
                tracing::warn!(%error, retry_in = ?delay, last_expires = expires, "no new certificate");
                delay
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(delay) => {}
        }
    }
}

/// How long to wait before renewing: until half of the lifetime is over, give or take `jitter` (-1 to 1)
/// hundredths of it, as Istio's agent does.
pub fn rotation_delay(
    now: OffsetDateTime,
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
    jitter: f64,
) -> Duration {
    let lifetime = (not_after - not_before).as_seconds_f64().max(0.0);
    let share = RENEW_AFTER + RENEW_JITTER * jitter.clamp(-1.0, 1.0);
    let due = not_before + time::Duration::seconds_f64(lifetime * share);
    Duration::try_from(due - now)
        .unwrap_or_default()
        .max(LEAST_DELAY)
}

async fn request(
    control: &ControlPlane,
    identity: &str,
    lifetime: Duration,
    last: Option<&Secrets>,
) -> Result<Secrets, CertificateError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let csr = signing_request(&key, identity)?;
    // Without a token (on a machine outside Kubernetes), the last certificate says who we are.
    let (headers, own) = match control.headers(true) {
        Ok(headers) => (headers, None),
        Err(error) => match last {
            Some(last) => (control.headers(false)?, Some(last)),
            None => return Err(error.into()),
        },
    };
    let channel = control.connect(own).await?;
    let validity_duration = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
    let mut call = tonic::Request::new(IstioCertificateRequest {
        csr,
        validity_duration,
        metadata: None,
    });
    *call.metadata_mut() = headers;
    let mut client = IstioCertificateServiceClient::new(channel);
    let answer = tokio::time::timeout(CALL_TIMEOUT, client.create_certificate(call)).await;
    let answer = answer.map_err(|_| CertificateError::Silent)?;
    let answer = answer.map_err(|status| CertificateError::Refused(Box::new(status)))?;
    accept(answer.into_inner().cert_chain, &key, &control.roots()?)
}

/// A PKCS#10 request for an identity, PEM. Istio's CA looks at nothing but the key.
fn signing_request(key: &KeyPair, identity: &str) -> Result<String, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(identity.try_into()?)];
    params.serialize_request(key)?.pem()
}

/// Checks the CA's answer (leaf, intermediates, root last) and puts the secrets together.
fn accept(
    mut chain: Vec<String>,
    key: &KeyPair,
    known_roots: &str,
) -> Result<Secrets, CertificateError> {
    let root = chain.pop().filter(|_| !chain.is_empty());
    let root = root.ok_or(CertificateError::Answer(
        "it has fewer than two certificates",
    ))?;
    let leaf = chain.first().and_then(|leaf| pem::leaf(leaf));
    let leaf = leaf.ok_or(CertificateError::Answer(
        "its first certificate cannot be read",
    ))?;
    if leaf.public_key != key.subject_public_key_info() {
        return Err(CertificateError::Answer(
            "its first certificate is for another key",
        ));
    }
    Ok(Secrets {
        chain: joined(chain.iter().map(String::as_str)),
        key: key.serialize_pem(),
        roots: union(&root, known_roots),
        not_before: leaf.not_before,
        not_after: leaf.not_after,
        serial: leaf.serial,
    })
}

/// The certificates of both texts, none twice: while roots are being exchanged both are good.
fn union(first: &str, second: &str) -> String {
    const END: &str = "-----END CERTIFICATE-----";
    let mut all: Vec<&str> = Vec::new();
    for block in first
        .split_inclusive(END)
        .chain(second.split_inclusive(END))
    {
        let block = block.trim();
        if block.ends_with(END) && !all.contains(&block) {
            all.push(block);
        }
    }
    joined(all.into_iter())
}

fn joined<'a>(blocks: impl Iterator<Item = &'a str>) -> String {
    blocks.map(|block| format!("{}\n", block.trim())).collect()
}

#[cfg(test)]
mod tests {
    use super::{accept, rotation_delay, signing_request, union};
    use rcgen::{
        CertificateParams, CertificateSigningRequestParams, Issuer, KeyPair,
        PKCS_ECDSA_P256_SHA256, SanType,
    };
    use std::time::Duration;
    use time::OffsetDateTime;

    #[test]
    fn renewal_is_due_at_half_the_lifetime() {
        let at = |seconds: i64| OffsetDateTime::from_unix_timestamp(1_000_000 + seconds).unwrap();
        for (now, end, jitter, expected) in [
            (0, 86_400, 0.0, 43_200),
            (0, 86_400, 1.0, 44_064),
            (0, 86_400, -1.0, 42_336),
            (40_000, 86_400, 0.0, 3200),
            (90_000, 86_400, 0.0, 1),
            (0, -5, 0.0, 1),
        ] {
            assert_eq!(
                rotation_delay(at(now), at(0), at(end), jitter),
                Duration::from_secs(expected),
                "{now} {end} {jitter}"
            );
        }
    }

    #[test]
    fn answers_of_the_ca_are_checked() {
        let ca_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let ca_params = CertificateParams::new(Vec::new()).unwrap();
        let ca = ca_params.self_signed(&ca_key).unwrap().pem();
        let issuer = Issuer::new(ca_params, ca_key);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let csr = signing_request(&key, "spiffe://cluster.local/ns/default/sa/reviews").unwrap();
        let csr = CertificateSigningRequestParams::from_pem(&csr).unwrap();
        let names = &csr.params.subject_alt_names;
        assert!(
            matches!(&names[..], [SanType::URI(uri)] if uri.as_str() == "spiffe://cluster.local/ns/default/sa/reviews")
        );
        let leaf = csr.signed_by(&issuer).unwrap().pem();

        let secrets = accept(vec![leaf.clone(), ca.clone()], &key, &ca).unwrap();
        assert_eq!(secrets.roots.matches("BEGIN").count(), 1);
        assert!(!format!("{secrets:?}").contains("PRIVATE"));
        let other = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        for (chain, key, expected) in [
            (vec![], &key, "fewer than two"),
            (vec![ca.clone()], &key, "fewer than two"),
            (
                vec!["nonsense".to_owned(), ca.clone()],
                &key,
                "cannot be read",
            ),
            (vec![leaf, ca.clone()], &other, "another key"),
        ] {
            let error = accept(chain, key, "").unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert_eq!(union(&ca, "rubbish"), union(&ca, &ca));
    }
}
