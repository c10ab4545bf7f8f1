//! A small control plane: one proxy's resources and secrets by ADS and SDS, and what Envoy said to them.

use std::collections::BTreeMap;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use hawser_proto::envoy::service::discovery::v3 as discovery;
use hawser_proto::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use hawser_proto::envoy::service::secret::v3::secret_discovery_service_server::{
    SecretDiscoveryService, SecretDiscoveryServiceServer,
};
use hawser_proto::google::protobuf::Any;
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Status, Streaming};

/// Type URL and name of each resource, and its bytes.
pub type Resources = BTreeMap<(String, String), Vec<u8>>;

/// What Envoy said.
#[derive(Default)]
pub struct Said {
    /// Type and message of what it refused.
    pub refused: Vec<String>,
}

/// Serves one Envoy.
#[derive(Clone)]
pub struct ControlPlane {
    resources: Arc<Resources>,
    said: Arc<Mutex<Said>>,
}

impl ControlPlane {
    pub fn new(resources: Resources) -> Self {
        Self {
            resources: Arc::new(resources),
            said: Arc::default(),
        }
    }

    /// What was refused up to now.
    pub fn refused(&self) -> Vec<String> {
        self.said
            .lock()
            .map(|s| s.refused.clone())
            .unwrap_or_default()
    }

    /// Listens on a Unix socket; the task ends with its handle.
    pub fn serve(&self, socket: &Path) -> Result<tokio::task::JoinHandle<()>> {
        let listener = UnixListener::bind(socket)?;
        std::fs::set_permissions(socket, std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
        let server = tonic::transport::Server::builder()
            .add_service(AggregatedDiscoveryServiceServer::new(self.clone()))
            .add_service(SecretDiscoveryServiceServer::new(self.clone()));
        Ok(tokio::spawn(async move {
            drop(
                server
                    .serve_with_incoming(UnixListenerStream::new(listener))
                    .await,
            )
        }))
    }

    /// Without names, clusters and listeners are all wanted; of other kinds none.
    fn select(&self, type_url: &str, names: &[String]) -> Vec<(String, Vec<u8>)> {
        let all = names.is_empty();
        let of_type = self.resources.iter().filter(|((t, _), _)| t == type_url);
        of_type
            .filter(|((_, name), _)| all || names.contains(name))
            .map(|((_, name), bytes)| (name.clone(), bytes.clone()))
            .collect()
    }

    fn note(&self, type_url: &str, error: Option<&str>) {
        if let (Some(error), Ok(mut said)) = (error, self.said.lock()) {
            said.refused.push(format!("{type_url}: {error}"));
        }
    }

    /// Answers whatever is asked on a stream, resources and secrets alike.
    fn converse(
        &self,
        mut requests: Streaming<discovery::DiscoveryRequest>,
    ) -> Response<Answers<discovery::DiscoveryResponse>> {
        let (send, receive) = mpsc::channel(8);
        let own = self.clone();
        tokio::spawn(async move {
            let mut asked = Asked::default();
            while let Ok(Some(request)) = requests.message().await {
                own.note(
                    &request.type_url,
                    request.error_detail.as_ref().map(|e| e.message.as_str()),
                );
                let Some(nonce) = asked.answers(
                    &request.type_url,
                    request.resource_names.clone(),
                    &request.response_nonce,
                ) else {
                    continue;
                };
                let any = |(_, value): (String, Vec<u8>)| Any {
                    type_url: request.type_url.clone(),
                    value,
                };
                let answer = discovery::DiscoveryResponse {
                    version_info: "1".to_owned(),
                    resources: own
                        .select(&request.type_url, &request.resource_names)
                        .into_iter()
                        .map(any)
                        .collect(),
                    type_url: request.type_url.clone(),
                    nonce: nonce.to_string(),
                    ..Default::default()
                };
                if send.send(Ok(answer)).await.is_err() {
                    return;
                }
            }
        });
        Response::new(Box::pin(ReceiverStream::new(receive)))
    }
}

/// Names asked for, by type: a repetition of the same is an acknowledgement.
#[derive(Default)]
struct Asked(BTreeMap<String, (Vec<String>, u64)>);

impl Asked {
    /// Whether to answer, and with which nonce.
    fn answers(&mut self, type_url: &str, mut names: Vec<String>, nonce: &str) -> Option<u64> {
        names.sort();
        let entry = self.0.entry(type_url.to_owned()).or_default();
        if !nonce.is_empty() && (entry.0 == names || nonce != entry.1.to_string()) {
            return None;
        }
        *entry = (names, entry.1 + 1);
        Some(entry.1)
    }
}

type Answers<T> = Pin<Box<dyn tokio_stream::Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AggregatedDiscoveryService for ControlPlane {
    type StreamAggregatedResourcesStream = Answers<discovery::DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Answers<discovery::DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<discovery::DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Ok(self.converse(request.into_inner()))
    }

    async fn delta_aggregated_resources(
        &self,
        _: Request<Streaming<discovery::DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented("state of the world only"))
    }
}

#[tonic::async_trait]
impl SecretDiscoveryService for ControlPlane {
    type StreamSecretsStream = Answers<discovery::DiscoveryResponse>;
    type DeltaSecretsStream = Answers<discovery::DeltaDiscoveryResponse>;

    async fn stream_secrets(
        &self,
        request: Request<Streaming<discovery::DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamSecretsStream>, Status> {
        Ok(self.converse(request.into_inner()))
    }

    async fn delta_secrets(
        &self,
        _: Request<Streaming<discovery::DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaSecretsStream>, Status> {
        Err(Status::unimplemented("state of the world only"))
    }

    async fn fetch_secrets(
        &self,
        _: Request<discovery::DiscoveryRequest>,
    ) -> Result<Response<discovery::DiscoveryResponse>, Status> {
        Err(Status::unimplemented("streams only"))
    }
}
