//! One proxy's resources, decoded.

use std::collections::BTreeMap;
use std::sync::Arc;

use hawser_proto::envoy::config::cluster::v3::Cluster;
use hawser_proto::envoy::config::core::v3::TypedExtensionConfig;
use hawser_proto::envoy::config::endpoint::v3::ClusterLoadAssignment;
use hawser_proto::envoy::config::listener::v3::Listener;
use hawser_proto::envoy::config::route::v3::RouteConfiguration;
use hawser_proto::google::protobuf::Any;
use hawser_translate::{Resource, Resources};
use prost::{Message, Name};

/// A resource that is not what its type says.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {source}")]
pub struct ConfigError {
    name: String,
    source: prost::DecodeError,
}

/// What a proxy was given, by name.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Listeners.
    pub listeners: BTreeMap<String, Listener>,
    /// Routes.
    pub routes: BTreeMap<String, RouteConfiguration>,
    /// Clusters.
    pub clusters: BTreeMap<String, Cluster>,
    /// Endpoints.
    pub endpoints: BTreeMap<String, ClusterLoadAssignment>,
    /// Configurations of HTTP filters that come by themselves.
    pub extensions: BTreeMap<String, TypedExtensionConfig>,
}

impl Config {
    /// Decodes what translation made.
    ///
    /// # Errors
    ///
    /// Fails on bytes that are not of their type, which translation does not make.
    pub fn of(resources: &Resources) -> Result<Self, ConfigError> {
        Ok(Self {
            listeners: decode(&resources.listeners)?,
            routes: decode(&resources.routes)?,
            clusters: decode(&resources.clusters)?,
            endpoints: decode(&resources.endpoints)?,
            extensions: decode(&resources.extensions)?,
        })
    }
}

fn decode<M: Message + Default>(
    resources: &BTreeMap<Arc<str>, Arc<Resource>>,
) -> Result<BTreeMap<String, M>, ConfigError> {
    resources
        .iter()
        .map(|(name, r)| {
            let message = M::decode(r.any.value.as_slice());
            let message = message.map_err(|source| ConfigError {
                name: name.to_string(),
                source,
            })?;
            Ok((name.to_string(), message))
        })
        .collect()
}

/// A packed message, if it is of that type.
pub(crate) fn unpack<M: Message + Name + Default>(any: &Any) -> Option<M> {
    any.type_url
        .ends_with(&format!("/{}", M::full_name()))
        .then(|| M::decode(any.value.as_slice()).ok())?
}
