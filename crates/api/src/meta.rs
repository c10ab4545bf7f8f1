//! What every Kubernetes object has: metadata, and the envelope around spec and status.

use crate::message::message;
use crate::scalar::Timestamp;
use std::collections::BTreeMap;

/// String labels or annotations.
pub type Labels = BTreeMap<String, String>;

message! {
    /// `metadata` of an object, as far as it is read.
    pub struct Meta (slim) {
        name: String,
        generate_name: String,
        namespace: String,
        uid: String,
        resource_version: String,
        generation: i64,
        creation_timestamp: Option<Timestamp>,
        deletion_timestamp: Option<Timestamp>,
        labels: Labels,
        annotations: Labels,
        owner_references: Vec<OwnerReference>,
        finalizers: Vec<String>,
    }

    pub struct OwnerReference (slim) {
        api_version: String,
        kind: String,
        name: String,
        uid: String,
        controller: Option<bool>,
        block_owner_deletion: Option<bool>,
    }
}

/// An object: metadata, what was asked for, and what was found. Kinds without a `spec` (a Secret, an EndpointSlice)
/// have their own fields in `spec` here.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object<S, T = ()> {
    pub meta: Meta,
    pub spec: S,
    pub status: T,
}

impl<S, T> Object<S, T> {
    /// The value of a label, if set.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.meta.labels.get(key).map(String::as_str)
    }

    /// The value of an annotation, if set.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.meta.annotations.get(key).map(String::as_str)
    }
}
