//! The secret discovery service: gives Envoy its certificate and the roots, and each new one at once.

use std::collections::BTreeSet;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use hawser_proto::envoy::config::core::v3::{DataSource, WatchedDirectory, data_source};
use hawser_proto::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, Secret, TlsCertificate, secret,
};
use hawser_proto::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};
use hawser_proto::envoy::service::secret::v3::secret_discovery_service_server::SecretDiscoveryService;
use hawser_proto::google::protobuf::Any;
use hawser_proto::google::rpc;
use hawser_proto::{any, type_url};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::certificate::{Secrets, SecretsReceiver};

/// The resource with the proxy's own certificate.
const OWN: &str = "default";
/// The resource with the roots that others' certificates are checked by.
const ROOTS: &str = "ROOTCA";
/// Where Linux distributions keep the roots that they trust (the places where Go looks, and with it Istio).
const SYSTEM_ROOTS: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// Answers that may wait for Envoy on one stream.
const QUEUE: usize = 8;

/// The service; each stream is a task of its own.
pub struct SecretService {
    secrets: SecretsReceiver,
}

impl SecretService {
    pub fn new(secrets: SecretsReceiver) -> SecretService {
        SecretService { secrets }
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl SecretDiscoveryService for SecretService {
    type StreamSecretsStream = Answers<DiscoveryResponse>;
    type DeltaSecretsStream = Answers<DeltaDiscoveryResponse>;

    async fn stream_secrets(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamSecretsStream>, Status> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(state_of_the_world(
            request.into_inner(),
            self.secrets.clone(),
            sender,
        ));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn delta_secrets(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaSecretsStream>, Status> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(changes(request.into_inner(), self.secrets.clone(), sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn fetch_secrets(
        &self,
        request: Request<DiscoveryRequest>,
    ) -> Result<Response<DiscoveryResponse>, Status> {
        let newest = self.secrets.borrow().clone();
        let newest = newest.ok_or_else(|| Status::unavailable("no certificate yet"))?;
        Ok(Response::new(answer(
            &request.into_inner().resource_names,
            &newest,
            1,
        )))
    }
}

async fn state_of_the_world(
    mut requests: Streaming<DiscoveryRequest>,
    mut secrets: SecretsReceiver,
    answers: mpsc::Sender<Result<DiscoveryResponse, Status>>,
) {
    let mut names: Vec<String> = Vec::new();
    let mut sent = 0_u64;
    loop {
        tokio::select! {
            request = requests.message() => {
                let Ok(Some(request)) = request else { return };
                refused(request.error_detail.as_ref());
                // An answer to what is no longer the last answer says nothing about it.
                let current = sent.to_string();
                if !request.response_nonce.is_empty() && request.response_nonce != current {
                    continue;
                }
                if !request.response_nonce.is_empty() && request.resource_names == names {
                    continue;
                }
                names = request.resource_names;
            }
            changed = secrets.changed() => if changed.is_err() { return },
        }
        let newest = secrets.borrow_and_update().clone();
        let (Some(newest), false) = (newest, names.is_empty()) else {
            continue;
        };
        sent += 1;
        if answers
            .send(Ok(answer(&names, &newest, sent)))
            .await
            .is_err()
        {
            return;
        }
    }
}

async fn changes(
    mut requests: Streaming<DeltaDiscoveryRequest>,
    mut secrets: SecretsReceiver,
    answers: mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>,
) {
    let mut names: BTreeSet<String> = BTreeSet::new();
    let mut sent = 0_u64;
    loop {
        let wanted: Vec<String> = tokio::select! {
            request = requests.message() => {
                let Ok(Some(request)) = request else { return };
                refused(request.error_detail.as_ref());
                for name in &request.resource_names_unsubscribe {
                    names.remove(name);
                }
                names.extend(request.resource_names_subscribe.iter().cloned());
                request.resource_names_subscribe
            }
            changed = secrets.changed() => {
                if changed.is_err() {
                    return;
                }
                names.iter().cloned().collect()
            }
        };
        let newest = secrets.borrow().clone();
        let (Some(newest), false) = (newest, wanted.is_empty()) else {
            continue;
        };
        sent += 1;
        let version = newest.serial.clone();
        let resources = resources(&wanted, &newest)
            .into_iter()
            .map(|(name, resource)| Resource {
                name: name.to_owned(),
                version: version.clone(),
                resource: Some(resource),
                ..Resource::default()
            });
        let answer = DeltaDiscoveryResponse {
            system_version_info: version.clone(),
            resources: resources.collect(),
            type_url: type_url::SECRET.to_owned(),
            nonce: sent.to_string(),
            ..DeltaDiscoveryResponse::default()
        };
        if answers.send(Ok(answer)).await.is_err() {
            return;
        }
    }
}

fn refused(error: Option<&rpc::Status>) {
    if let Some(error) = error {
        tracing::warn!(error = error.message, "Envoy refused a certificate");
    }
}

fn answer(names: &[String], secrets: &Arc<Secrets>, nonce: u64) -> DiscoveryResponse {
    DiscoveryResponse {
        version_info: secrets.serial.clone(),
        resources: resources(names, secrets)
            .into_iter()
            .map(|(_, resource)| resource)
            .collect(),
        type_url: type_url::SECRET.to_owned(),
        nonce: nonce.to_string(),
        ..DiscoveryResponse::default()
    }
}

/// The resources of those names that are ours to give.
fn resources<'a>(names: &'a [String], secrets: &Secrets) -> Vec<(&'a str, Any)> {
    let known = names.iter().filter_map(|name| {
        let kind = match name.as_str() {
            OWN => secret::Type::TlsCertificate(TlsCertificate {
                certificate_chain: inline(&secrets.chain),
                private_key: inline(secrets.key()),
                ..TlsCertificate::default()
            }),
            ROOTS => secret::Type::ValidationContext(CertificateValidationContext {
                trusted_ca: inline(&secrets.roots),
                ..CertificateValidationContext::default()
            }),
            other => match of_files(other) {
                Some(kind) => kind,
                None => {
                    tracing::warn!(
                        name,
                        "Envoy asks for a secret that only the control plane can have"
                    );
                    return None;
                }
            },
        };
        Some((
            name.as_str(),
            any(&Secret {
                name: name.clone(),
                r#type: Some(kind),
            }),
        ))
    });
    known.collect()
}

/// Secrets that are files beside the proxy, by the names that Istio gives them: `file-root:FILE`, `file-root:system` and
/// `file-cert:CERTIFICATE~KEY`. Envoy reads the files itself, and again when their folder changes.
fn of_files(name: &str) -> Option<secret::Type> {
    if let Some(file) = name.strip_prefix("file-root:") {
        let file = match file {
            "system" => SYSTEM_ROOTS.iter().find(|f| Path::new(f).is_file())?,
            named => named,
        };
        return Some(secret::Type::ValidationContext(
            CertificateValidationContext {
                trusted_ca: in_file(file),
                watched_directory: folder(file),
                ..CertificateValidationContext::default()
            },
        ));
    }
    let (certificate, key) = name.strip_prefix("file-cert:")?.split_once('~')?;
    Some(secret::Type::TlsCertificate(TlsCertificate {
        certificate_chain: in_file(certificate),
        private_key: in_file(key),
        watched_directory: folder(certificate),
        ..TlsCertificate::default()
    }))
}

fn in_file(file: &str) -> Option<DataSource> {
    Some(DataSource {
        specifier: Some(data_source::Specifier::Filename(file.to_owned())),
        ..DataSource::default()
    })
}

fn folder(file: &str) -> Option<WatchedDirectory> {
    Some(WatchedDirectory {
        path: Path::new(file).parent()?.to_str()?.to_owned(),
        ..WatchedDirectory::default()
    })
}

fn inline(text: &str) -> Option<DataSource> {
    let specifier = data_source::Specifier::InlineBytes(text.as_bytes().to_vec());
    Some(DataSource {
        specifier: Some(specifier),
        ..DataSource::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_names_in_istio() {
        let roots = |name: &str| match of_files(name) {
            Some(secret::Type::ValidationContext(c)) => c.trusted_ca.and_then(|d| d.specifier),
            _ => None,
        };
        let file = |name: &str| Some(data_source::Specifier::Filename(name.to_owned()));
        assert_eq!(roots("file-root:/etc/x/ca.pem"), file("/etc/x/ca.pem"));
        assert!(matches!(
            of_files("file-cert:/etc/x/tls.crt~/etc/x/tls.key"),
            Some(secret::Type::TlsCertificate(c))
                if c.private_key.clone().and_then(|d| d.specifier) == file("/etc/x/tls.key")
        ));
        for unknown in ["kubernetes://a", "file-cert:/only", "default"] {
            assert!(of_files(unknown).is_none(), "{unknown}");
        }
    }
}
