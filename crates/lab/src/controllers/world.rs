//! What the watches have said so far about the kinds that controllers need.

use std::collections::{BTreeMap, BTreeSet};

use hawser_kube::{Event, Resource};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Namespace (empty for cluster-wide kinds) and name.
pub(crate) type Key = (String, String);

/// A kind that some controller needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Deployment,
    ReplicaSet,
    Pod,
    Service,
    EndpointSlice,
    Endpoints,
    Node,
    ConfigMap,
}

impl Kind {
    /// Where the API server keeps it.
    pub(crate) const fn resource(self) -> Resource {
        match self {
            Kind::Deployment => Resource::namespaced("apps", "v1", "Deployment", "deployments"),
            Kind::ReplicaSet => Resource::namespaced("apps", "v1", "ReplicaSet", "replicasets"),
            Kind::Pod => Resource::namespaced("", "v1", "Pod", "pods"),
            Kind::Service => Resource::namespaced("", "v1", "Service", "services"),
            Kind::EndpointSlice => {
                Resource::namespaced("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices")
            }
            Kind::Endpoints => Resource::namespaced("", "v1", "Endpoints", "endpoints"),
            Kind::Node => Resource::cluster_wide("", "v1", "Node", "nodes"),
            Kind::ConfigMap => Resource::namespaced("", "v1", "ConfigMap", "configmaps"),
        }
    }
}

/// An object of any kind, for what all have in common.
pub(crate) trait Meta {
    fn meta(&self) -> &ObjectMeta;

    fn name(&self) -> &str {
        self.meta().name.as_deref().unwrap_or_default()
    }

    fn namespace(&self) -> &str {
        self.meta().namespace.as_deref().unwrap_or_default()
    }

    fn uid(&self) -> &str {
        self.meta().uid.as_deref().unwrap_or_default()
    }

    /// The owner that manages the object.
    fn controller(&self) -> Option<&OwnerReference> {
        self.meta()
            .owner_references
            .iter()
            .flatten()
            .find(|owner| owner.controller == Some(true))
    }

    fn labels(&self) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.meta().labels.as_ref().unwrap_or(&NONE)
    }

    fn is_going(&self) -> bool {
        self.meta().deletion_timestamp.is_some()
    }
}

macro_rules! meta {
    ($($kind:ty),*) => {$(
        impl Meta for $kind {
            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }
        }
    )*};
}
meta!(
    Deployment,
    ReplicaSet,
    Pod,
    Service,
    EndpointSlice,
    Endpoints,
    Node,
    ConfigMap
);

/// The objects of one kind.
#[derive(Debug)]
pub(crate) struct Objects<T>(BTreeMap<Key, T>);

impl<T> Default for Objects<T> {
    fn default() -> Self {
        Objects(BTreeMap::new())
    }
}

impl<T: Meta + DeserializeOwned> Objects<T> {
    pub(crate) fn get(&self, key: &Key) -> Option<&T> {
        self.0.get(key)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &T> {
        self.0.values()
    }

    pub(crate) fn in_namespace<'a>(
        &'a self,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a T> + 'a {
        let from = (namespace.to_owned(), String::new());
        self.0
            .range(from..)
            .take_while(move |(key, _)| key.0 == namespace)
            .map(|(_, object)| object)
    }

    fn apply(&mut self, object: Value) {
        let name = object
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let object: T = match serde_json::from_value(object) {
            Ok(object) => object,
            Err(error) => {
                // The last readable state of the object stays; the others are not concerned.
                tracing::warn!(name, %error, "an object does not have its kind's shape");
                return;
            }
        };
        let key = (object.namespace().to_owned(), object.name().to_owned());
        // Answers to our own writes may come before older events of the watch.
        if self
            .0
            .get(&key)
            .is_none_or(|known| version(known) <= version(&object))
        {
            self.0.insert(key, object);
        }
    }

    fn fold(&mut self, event: Event) {
        match event {
            Event::Reset {
                objects,
                resource_version,
            } => {
                let as_of: u64 = resource_version.parse().unwrap_or(u64::MAX);
                let present: BTreeSet<Key> = objects.iter().map(key_of).collect();
                self.0
                    .retain(|key, object| present.contains(key) || version(object) > as_of);
                objects.into_iter().for_each(|object| self.apply(object));
            }
            Event::Apply { object, .. } => self.apply(object),
            Event::Delete {
                namespace,
                name,
                uid,
                ..
            } => {
                let key = (namespace, name);
                if self
                    .0
                    .get(&key)
                    .is_some_and(|object| uid.is_empty() || object.uid() == uid)
                {
                    self.0.remove(&key);
                }
            }
            Event::Absent => self.0.clear(),
            Event::Bookmark { .. } | Event::Stale { .. } => {}
        }
    }
}

fn version(object: &impl Meta) -> u64 {
    object
        .meta()
        .resource_version
        .as_deref()
        .and_then(|version| version.parse().ok())
        .unwrap_or_default()
}

fn key_of(object: &Value) -> Key {
    let text = |pointer| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    (text("/metadata/namespace"), text("/metadata/name"))
}

/// Everything the controllers know.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) deployments: Objects<Deployment>,
    pub(crate) replica_sets: Objects<ReplicaSet>,
    pub(crate) pods: Objects<Pod>,
    pub(crate) services: Objects<Service>,
    pub(crate) slices: Objects<EndpointSlice>,
    pub(crate) endpoints: Objects<Endpoints>,
    pub(crate) nodes: Objects<Node>,
    pub(crate) config_maps: Objects<ConfigMap>,
}

impl World {
    /// Takes in one event of a watch.
    pub(crate) fn fold(&mut self, kind: Kind, event: Event) {
        match kind {
            Kind::Deployment => self.deployments.fold(event),
            Kind::ReplicaSet => self.replica_sets.fold(event),
            Kind::Pod => self.pods.fold(event),
            Kind::Service => self.services.fold(event),
            Kind::EndpointSlice => self.slices.fold(event),
            Kind::Endpoints => self.endpoints.fold(event),
            Kind::Node => self.nodes.fold(event),
            Kind::ConfigMap => self.config_maps.fold(event),
        }
    }

    /// Takes in the answer to a write.
    pub(crate) fn written(&mut self, kind: Kind, object: Value) {
        let resource_version = String::new();
        self.fold(
            kind,
            Event::Apply {
                object,
                resource_version,
            },
        );
    }

    /// Names of all objects of a kind, in order.
    pub(crate) fn keys(&self, kind: Kind) -> Vec<Key> {
        match kind {
            Kind::Deployment => self.deployments.0.keys().cloned().collect(),
            Kind::ReplicaSet => self.replica_sets.0.keys().cloned().collect(),
            Kind::Pod => self.pods.0.keys().cloned().collect(),
            Kind::Service => self.services.0.keys().cloned().collect(),
            Kind::EndpointSlice => self.slices.0.keys().cloned().collect(),
            Kind::Endpoints => self.endpoints.0.keys().cloned().collect(),
            Kind::Node => self.nodes.0.keys().cloned().collect(),
            Kind::ConfigMap => self.config_maps.0.keys().cloned().collect(),
        }
    }

    /// The uid of an object, for references to it.
    pub(crate) fn uid(&self, kind: Kind, key: &Key) -> String {
        let uid = match kind {
            Kind::Deployment => self.deployments.get(key).map(Meta::uid),
            Kind::ReplicaSet => self.replica_sets.get(key).map(Meta::uid),
            Kind::Pod => self.pods.get(key).map(Meta::uid),
            Kind::Service => self.services.get(key).map(Meta::uid),
            Kind::EndpointSlice => self.slices.get(key).map(Meta::uid),
            Kind::Endpoints => self.endpoints.get(key).map(Meta::uid),
            Kind::Node => self.nodes.get(key).map(Meta::uid),
            Kind::ConfigMap => self.config_maps.get(key).map(Meta::uid),
        };
        uid.unwrap_or_default().to_owned()
    }
}
