//! What EnvoyFilters merge into the bootstrap: asked of the control plane once, before Envoy is started.

use std::time::Duration;

use hawser_base::backoff::Backoff;
use hawser_proto::envoy::config::bootstrap::v3::Bootstrap;
use hawser_proto::envoy::config::core::v3::Node;
use hawser_proto::envoy::service::discovery::v3::DiscoveryRequest;
use hawser_proto::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use hawser_proto::google::protobuf::Any;
use hawser_proto::json::{self, JsonError};
use hawser_proto::type_url::BOOTSTRAP;
use hawser_proto::{DynamicMessage, merge};
use prost::{Message, Name};
use serde_json::Value;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Request;

use crate::certificate::SecretsReceiver;
use crate::chance::chance;
use crate::control::{ConnectError, ControlPlane};

/// How long Envoy waits for it: without a control plane it could do nothing but wait anyway, and what runs already must
/// not be kept from starting again for longer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest answer, in bytes.
const LIMIT: usize = 4 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum PatchError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the control plane refused: {} ({:?})", .0.message(), .0.code())]
    Refused(Box<tonic::Status>),
    #[error("the control plane ended the stream")]
    Ended,
    #[error(transparent)]
    Message(#[from] JsonError),
}

impl From<tonic::Status> for PatchError {
    fn from(status: tonic::Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

/// The bootstrap with what the control plane has to merge into it; as it is if the control plane cannot be asked in time.
pub async fn patched(bootstrap: Value, control: &ControlPlane, secrets: &SecretsReceiver) -> Value {
    let asking = async {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        loop {
            match ask(&bootstrap, control, secrets).await {
                Ok(patch) => return patch,
                Err(error) => tracing::info!(%error, "the bootstrap's patches cannot be had yet"),
            }
            tokio::time::sleep(backoff.after_failure(chance())).await;
        }
    };
    let Ok(patch) = tokio::time::timeout(PATIENCE, asking).await else {
        tracing::warn!(
            "Envoy starts without the EnvoyFilters for its bootstrap: the control plane does not answer"
        );
        return bootstrap;
    };
    let Some(patch) = patch else {
        return bootstrap;
    };
    merged(&bootstrap, patch).unwrap_or_else(|error| {
        tracing::warn!(%error, "Envoy starts without the EnvoyFilters for its bootstrap");
        bootstrap
    })
}

async fn ask(
    bootstrap: &Value,
    control: &ControlPlane,
    secrets: &SecretsReceiver,
) -> Result<Option<DynamicMessage>, PatchError> {
    let node: Node = merge::typed(&json::parse(&Node::full_name(), &bootstrap["node"])?)?;
    let own = secrets.borrow().clone();
    let channel = control.connect(own.as_deref()).await?;
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let question = DiscoveryRequest {
        node: Some(node),
        type_url: BOOTSTRAP.to_owned(),
        ..DiscoveryRequest::default()
    };
    let mut request = Request::new(ReceiverStream::new(receiver));
    *request.metadata_mut() = control.headers(own.is_none())?;
    // There is room for one, and the receiver is at hand.
    let _ = sender.send(question).await;
    let mut client =
        AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(LIMIT);
    let mut answers = client
        .stream_aggregated_resources(request)
        .await?
        .into_inner();
    let answer = answers.message().await?.ok_or(PatchError::Ended)?;
    match answer.resources.first() {
        Some(any) => Ok(Some(json::decode(&Bootstrap::full_name(), &any.value)?)),
        None => Ok(None),
    }
}

fn merged(bootstrap: &Value, patch: DynamicMessage) -> Result<Value, JsonError> {
    let mut whole = json::parse(&Bootstrap::full_name(), bootstrap)?;
    merge::merge_into(&mut whole, patch);
    json::print_any(&Any {
        type_url: BOOTSTRAP.to_owned(),
        value: whole.encode_to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::merged;

    #[test]
    fn merging() {
        let own = json!({
            "node": {"id": "x"},
            "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 15000}}},
            "static_resources": {"clusters": [{"name": "xds-grpc"}]},
        });
        let patch = json!({
            "stats_flush_interval": "60s",
            "static_resources": {"clusters": [{"name": "mine"}]},
        });
        let patch =
            hawser_proto::json::parse("envoy.config.bootstrap.v3.Bootstrap", &patch).unwrap();
        assert_eq!(
            merged(&own, patch).unwrap(),
            json!({
                "node": {"id": "x"},
                "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 15000}}},
                "stats_flush_interval": "60s",
                "static_resources": {"clusters": [{"name": "xds-grpc"}, {"name": "mine"}]},
            })
        );
    }
}
