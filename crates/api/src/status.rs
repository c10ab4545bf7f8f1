//! `status` of Istio's kinds, and the conditions that several APIs share.

use crate::message::message;
use crate::scalar::{IntOrString, Timestamp};

message! {
    /// A condition (meta/v1, and Istio's, which has a last probe time besides).
    pub struct Condition (slim) {
        type_: String,
        status: String,
        reason: String,
        message: String,
        observed_generation: Option<IntOrString>,
        last_probe_time: Option<Timestamp>,
        last_transition_time: Option<Timestamp>,
    }

    /// `istio.meta.v1alpha1.IstioStatus`.
    pub struct IstioStatus (slim) {
        conditions: Vec<Condition>,
        validation_messages: Vec<serde_json::Value>,
        observed_generation: Option<IntOrString>,
    }

    pub struct ServiceEntryStatus (slim) {
        conditions: Vec<Condition>,
        validation_messages: Vec<serde_json::Value>,
        observed_generation: Option<IntOrString>,
        /// Addresses allocated to hosts that have none.
        addresses: Vec<ServiceEntryAddress>,
    }

    pub struct ServiceEntryAddress {
        value: String,
        host: String,
    }
}
