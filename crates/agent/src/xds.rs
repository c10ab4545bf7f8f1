//! Between Envoy and the control plane: passes discovery on unchanged, and asks for the name table itself.
//!
//! One stream of Envoy is one stream to the control plane, so there is no state to get out of step: when
//! either ends, so does the other, and Envoy comes back with what it has.

use std::pin::Pin;
use std::sync::Arc;

use hawser_proto::envoy::config::core::v3::Node;
use hawser_proto::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use hawser_proto::envoy::service::discovery::v3::aggregated_discovery_service_server::AggregatedDiscoveryService;
use hawser_proto::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use hawser_proto::google::protobuf::Any;
use hawser_proto::google::rpc;
use hawser_proto::istio::nds::NameTable;
use hawser_proto::type_url::NAME_TABLE;
use prost::Message;
use tokio::sync::{mpsc, watch};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::certificate::SecretsReceiver;
use crate::control::ControlPlane;
use crate::dns::{Table, Viewpoint};
use crate::status::Counters;

/// The largest message of a control plane, in bytes: the state of the world of a very large mesh.
const MESSAGE_LIMIT: usize = 256 * 1024 * 1024;
/// Requests and answers that may wait on one stream.
const QUEUE: usize = 64;

/// What every stream needs.
#[derive(Clone)]
pub struct Relay {
    pub control: ControlPlane,
    pub secrets: SecretsReceiver,
    /// Where name tables go; `None` when there is no DNS proxy.
    pub names: Option<NameSink>,
    pub counters: Arc<Counters>,
}

/// The way of a name table to the DNS proxy.
#[derive(Clone)]
pub struct NameSink {
    pub viewpoint: Viewpoint,
    pub table: watch::Sender<Arc<Table>>,
}

impl NameSink {
    fn take(&self, resource: &Any) {
        match NameTable::decode(resource.value.as_slice()) {
            Ok(names) => {
                let table = Arc::new(Table::from_name_table(&names, &self.viewpoint));
                tracing::debug!(names = table.len(), "name table received");
                self.table.send_if_modified(|known| {
                    let changed = **known != *table;
                    *known = table;
                    changed
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the control plane sent a name table that cannot be read")
            }
        }
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AggregatedDiscoveryService for Relay {
    type StreamAggregatedResourcesStream = Answers<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Answers<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Ok(Response::new(self.start(request.into_inner())))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        Ok(Response::new(self.start(request.into_inner())))
    }
}

impl Relay {
    fn start<Q: Ask>(&self, requests: Streaming<Q>) -> Answers<Q::Answer> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let relay = self.clone();
        tokio::spawn(async move {
            if let Err(status) = relay.converse(requests, &sender).await {
                tracing::info!(
                    reason = status.message(),
                    "stream to the control plane ended"
                );
                // The receiver is gone when it was Envoy that left.
                let _ = sender.send(Err(status)).await;
            }
        });
        Box::pin(ReceiverStream::new(receiver))
    }

    /// Passes on until one side ends: `Ok` when it was Envoy.
    async fn converse<Q: Ask>(
        &self,
        mut requests: Streaming<Q>,
        answers: &mpsc::Sender<Result<Q::Answer, Status>>,
    ) -> Result<(), Status> {
        let Some(first) = requests.message().await? else {
            return Ok(());
        };
        let (to_control, from_us) = mpsc::channel(QUEUE);
        let node = first.node();
        let gone = |_| Status::unavailable("the control plane closed the stream");
        to_control.send(first).await.map_err(gone)?;
        if self.names.is_some() {
            to_control.send(Q::for_names(node)).await.map_err(gone)?;
        }
        let mut from_control = self.open(from_us).await?;
        self.counters.connected();
        loop {
            tokio::select! {
                request = requests.message() => match request? {
                    None => return Ok(()),
                    Some(request) => {
                        if let Some(error) = request.error() {
                            tracing::warn!(kind = request.kind(), error = error.message, "Envoy refused configuration");
                            self.counters.refused(request.kind());
                        }
                        to_control.send(request).await.map_err(gone)?;
                    }
                },
                answer = from_control.message() => {
                    let Some(answer) = answer? else {
                        return Err(Status::unavailable("the control plane ended the stream"));
                    };
                    if Q::kind_of(&answer) != NAME_TABLE {
                        if answers.send(Ok(answer)).await.is_err() {
                            return Ok(());
                        }
                    } else if let Some(names) = &self.names {
                        let (resource, acknowledgement) = Q::unpack(answer);
                        if let Some(resource) = resource {
                            names.take(&resource);
                        }
                        to_control.send(acknowledgement).await.map_err(gone)?;
                    }
                },
            }
        }
    }

    async fn open<Q: Ask>(
        &self,
        requests: mpsc::Receiver<Q>,
    ) -> Result<Streaming<Q::Answer>, Status> {
        let own = self.secrets.borrow().clone();
        let unavailable = |error: crate::ConnectError| Status::unavailable(error.to_string());
        let channel = self
            .control
            .connect(own.as_deref())
            .await
            .map_err(unavailable)?;
        let mut request = Request::new(ReceiverStream::new(requests));
        // Our certificate says who we are; until there is one, the token does.
        *request.metadata_mut() = self.control.headers(own.is_none()).map_err(unavailable)?;
        let client =
            AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(MESSAGE_LIMIT);
        Q::call(client, request).await
    }
}

/// The two kinds of requests (state of the world, changes only), as far as passing them on differs.
#[tonic::async_trait]
trait Ask: Sized + Send + 'static {
    type Answer: Send + 'static;

    fn node(&self) -> Option<Node>;
    fn kind(&self) -> &str;
    fn error(&self) -> Option<&rpc::Status>;
    /// The first request for the name table.
    fn for_names(node: Option<Node>) -> Self;
    fn kind_of(answer: &Self::Answer) -> &str;
    /// The last resource of an answer about names, and what acknowledges it.
    fn unpack(answer: Self::Answer) -> (Option<Any>, Self);
    async fn call(
        client: AggregatedDiscoveryServiceClient<tonic::transport::Channel>,
        requests: Request<ReceiverStream<Self>>,
    ) -> Result<Streaming<Self::Answer>, Status>;
}

#[tonic::async_trait]
impl Ask for DiscoveryRequest {
    type Answer = DiscoveryResponse;

    fn node(&self) -> Option<Node> {
        self.node.clone()
    }

    fn kind(&self) -> &str {
        &self.type_url
    }

    fn error(&self) -> Option<&rpc::Status> {
        self.error_detail.as_ref()
    }

    fn for_names(node: Option<Node>) -> Self {
        DiscoveryRequest {
            node,
            type_url: NAME_TABLE.to_owned(),
            ..DiscoveryRequest::default()
        }
    }

    fn kind_of(answer: &DiscoveryResponse) -> &str {
        &answer.type_url
    }

    fn unpack(mut answer: DiscoveryResponse) -> (Option<Any>, Self) {
        let acknowledgement = DiscoveryRequest {
            type_url: NAME_TABLE.to_owned(),
            version_info: answer.version_info,
            response_nonce: answer.nonce,
            ..DiscoveryRequest::default()
        };
        (answer.resources.pop(), acknowledgement)
    }

    async fn call(
        mut client: AggregatedDiscoveryServiceClient<tonic::transport::Channel>,
        requests: Request<ReceiverStream<Self>>,
    ) -> Result<Streaming<DiscoveryResponse>, Status> {
        Ok(client
            .stream_aggregated_resources(requests)
            .await?
            .into_inner())
    }
}

#[tonic::async_trait]
impl Ask for DeltaDiscoveryRequest {
    type Answer = DeltaDiscoveryResponse;

    fn node(&self) -> Option<Node> {
        self.node.clone()
    }

    fn kind(&self) -> &str {
        &self.type_url
    }

    fn error(&self) -> Option<&rpc::Status> {
        self.error_detail.as_ref()
    }

    fn for_names(node: Option<Node>) -> Self {
        DeltaDiscoveryRequest {
            node,
            type_url: NAME_TABLE.to_owned(),
            ..DeltaDiscoveryRequest::default()
        }
    }

    fn kind_of(answer: &DeltaDiscoveryResponse) -> &str {
        &answer.type_url
    }

    fn unpack(mut answer: DeltaDiscoveryResponse) -> (Option<Any>, Self) {
        let acknowledgement = DeltaDiscoveryRequest {
            type_url: NAME_TABLE.to_owned(),
            response_nonce: answer.nonce,
            ..DeltaDiscoveryRequest::default()
        };
        (
            answer
                .resources
                .pop()
                .and_then(|resource| resource.resource),
            acknowledgement,
        )
    }

    async fn call(
        mut client: AggregatedDiscoveryServiceClient<tonic::transport::Channel>,
        requests: Request<ReceiverStream<Self>>,
    ) -> Result<Streaming<DeltaDiscoveryResponse>, Status> {
        Ok(client
            .delta_aggregated_resources(requests)
            .await?
            .into_inner())
    }
}
