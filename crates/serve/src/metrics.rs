//! What a control plane counts, under Istio's names.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::kind::Kind;

/// The label `type`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct TypeLabel {
    /// `cds` and so on.
    pub r#type: &'static str,
}

/// The label `reason`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct OutcomeLabel {
    /// What came of it.
    pub outcome: &'static str,
}

/// Counters of the serving side; clones count together.
#[derive(Clone)]
pub struct Metrics {
    /// `pilot_xds`: proxies connected.
    pub connected: Gauge,
    /// `pilot_xds_pushes`.
    pub pushes: Family<TypeLabel, Counter>,
    /// `pilot_total_xds_rejects`.
    pub rejects: Family<TypeLabel, Counter>,
    /// `hawser_xds_sent_bytes`.
    pub sent_bytes: Family<TypeLabel, Counter>,
    /// `hawser_xds_ack_seconds`: from a response being sent to its being accepted.
    pub ack_seconds: Histogram,
    /// `citadel_server_csr_count` by outcome.
    pub csrs: Family<OutcomeLabel, Counter>,
}

impl Metrics {
    /// Makes and registers them.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            connected: Gauge::default(),
            pushes: Family::default(),
            rejects: Family::default(),
            sent_bytes: Family::default(),
            ack_seconds: Histogram::new([0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0]),
            csrs: Family::default(),
        };
        registry.register("pilot_xds", "Proxies connected", metrics.connected.clone());
        registry.register("pilot_xds_pushes", "Responses sent", metrics.pushes.clone());
        registry.register(
            "pilot_total_xds_rejects",
            "Responses that a proxy refused",
            metrics.rejects.clone(),
        );
        registry.register(
            "hawser_xds_sent_bytes",
            "Bytes of resources sent",
            metrics.sent_bytes.clone(),
        );
        registry.register(
            "hawser_xds_ack_seconds",
            "From response to acceptance",
            metrics.ack_seconds.clone(),
        );
        registry.register(
            "citadel_server_csr_count",
            "Certificate requests",
            metrics.csrs.clone(),
        );
        metrics
    }

    /// The label of a type.
    pub fn of(kind: Kind) -> TypeLabel {
        TypeLabel {
            r#type: kind.short(),
        }
    }
}
