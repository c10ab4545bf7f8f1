//! Clusters (CDS).

mod http;
mod inbound;
mod lb;
mod outbound;
mod special;
pub(crate) mod tls;

use std::sync::Arc;
use std::time::Duration;

use hawser_model::mesh::Mesh;
use hawser_model::traffic::{ConnectionPool, RetryBudget, TcpKeepalive};
use hawser_proto::envoy::config::cluster::v3 as cds;
use hawser_proto::envoy::config::core::v3 as core;

pub(crate) use inbound::{InboundCluster, name as inbound_name};
pub(crate) use outbound::{OutboundCluster, effective_discovery};
pub(crate) use special::{SpecialCluster, Which};

use crate::resource::Resource;
use crate::wire;

/// Where everything goes that must go nowhere.
pub(crate) const BLACK_HOLE: &str = "BlackHoleCluster";
/// Where the caller wanted to go.
pub(crate) const PASSTHROUGH: &str = "PassthroughCluster";
/// Inwards, to the port that the caller called.
pub(crate) const INBOUND_PASSTHROUGH: &str = "InboundPassthroughCluster";

/// `outbound|9080|v1|reviews.default.svc.cluster.local`.
pub(crate) fn outbound_name(port: u16, subset: &str, host: &str) -> String {
    format!("outbound|{port}|{subset}|{host}")
}

/// `outbound_.9080_.v1_.reviews.default.svc.cluster.local`, which is also the SNI.
pub(crate) fn sni_name(port: u16, subset: &str, host: &str) -> String {
    format!("outbound_.{port}_.{subset}_.{host}")
}

/// All that a cluster depends on.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum ClusterInput {
    Outbound(OutboundCluster),
    Inbound(InboundCluster),
    Special(SpecialCluster),
}

impl ClusterInput {
    /// The host of the service behind an inbound cluster.
    pub(crate) fn host(&self) -> Option<&str> {
        match self {
            Self::Inbound(i) => i.service.as_ref().map(|s| s.host.as_str()),
            Self::Outbound(_) | Self::Special(_) => None,
        }
    }
}

/// Renders a cluster; `None` where Envoy would refuse it (a DNS cluster without endpoints).
pub(crate) fn render(input: &ClusterInput) -> Option<Arc<Resource>> {
    let cluster = match input {
        ClusterInput::Outbound(o) => outbound::render(o)?,
        ClusterInput::Inbound(i) => inbound::render(i),
        ClusterInput::Special(s) => special::render(s),
    };
    Some(wire::resource(&cluster.name.clone(), &cluster))
}

/// A cluster with its HTTP options, which are packed at the end.
pub(crate) struct Builder {
    pub cluster: cds::Cluster,
    pub http: http::HttpOptions,
}

impl Builder {
    pub(crate) fn new(name: String, mesh: &Mesh) -> Self {
        Self {
            cluster: cds::Cluster {
                alt_stat_name: format!("{name};"),
                name,
                connect_timeout: Some(wire::duration(mesh.connect_timeout)),
                ..Default::default()
            },
            http: http::HttpOptions::default(),
        }
    }

    pub(crate) fn discovery(&mut self, kind: cds::cluster::DiscoveryType) {
        self.cluster.cluster_discovery_type =
            Some(cds::cluster::ClusterDiscoveryType::Type(kind as i32));
    }

    pub(crate) fn is(&self, kind: cds::cluster::DiscoveryType) -> bool {
        matches!(&self.cluster.cluster_discovery_type,
            Some(cds::cluster::ClusterDiscoveryType::Type(t)) if *t == kind as i32)
    }

    /// Limits, timeouts and keep-alive.
    pub(crate) fn pool(
        &mut self,
        mesh: &Mesh,
        pool: Option<&ConnectionPool>,
        budget: Option<&RetryBudget>,
    ) {
        let none = ConnectionPool::default();
        let pool = pool.unwrap_or(&none);
        let most =
            |given: Option<u32>| Some(wire::u32v(given.filter(|n| *n > 0).unwrap_or(u32::MAX)));
        let retry_budget = budget.map(|b| cds::circuit_breakers::thresholds::RetryBudget {
            budget_percent: Some(hawser_proto::envoy::r#type::v3::Percent {
                value: b.percent.map_or(20.0, |p| f64::from(p.0) / 10_000.0),
            }),
            min_retry_concurrency: Some(wire::u32v(b.min_concurrency)),
            ..Default::default()
        });
        self.cluster.circuit_breakers = Some(cds::CircuitBreakers {
            thresholds: vec![cds::circuit_breakers::Thresholds {
                max_connections: most(pool.max_connections),
                max_pending_requests: most(pool.http1_max_pending),
                max_requests: most(pool.http2_max_requests),
                max_retries: most(pool.max_retries),
                retry_budget,
                ..Default::default()
            }],
            per_host_thresholds: Vec::new(),
        });
        if let Some(timeout) = pool.connect_timeout {
            self.cluster.connect_timeout = Some(wire::duration(timeout));
        }
        self.keepalive(mesh.tcp_keepalive.as_ref(), pool.tcp_keepalive.as_ref());
        self.http.idle_timeout = pool
            .http_idle_timeout
            .or(pool.tcp_idle_timeout)
            .or(self.http.idle_timeout);
        self.http.max_requests_per_connection = pool.max_requests_per_connection.filter(|n| *n > 0);
        self.http.max_connection_duration = pool.max_connection_duration;
        self.http.max_concurrent_streams = pool.max_concurrent_streams.filter(|n| *n > 0);
        self.http.keepalive.clone_from(&pool.http2_keepalive);
        if pool.use_client_protocol {
            self.http.protocol = http::Upstream::Downstream;
        }
    }

    fn keepalive(&mut self, mesh: Option<&TcpKeepalive>, own: Option<&TcpKeepalive>) {
        let seconds = |d: Option<Duration>| {
            d.map(|d| wire::u32v(u32::try_from(d.as_secs()).unwrap_or(u32::MAX)))
        };
        let part = |get: fn(&TcpKeepalive) -> Option<u32>| {
            own.and_then(get).or(mesh.and_then(get)).map(wire::u32v)
        };
        if own.is_none() && mesh.is_none() {
            return;
        }
        let time = |get: fn(&TcpKeepalive) -> Option<Duration>| {
            seconds(own.and_then(get).or(mesh.and_then(get)))
        };
        self.cluster.upstream_connection_options = Some(cds::UpstreamConnectionOptions {
            tcp_keepalive: Some(core::TcpKeepalive {
                keepalive_probes: part(|k| k.probes),
                keepalive_time: time(|k| k.time),
                keepalive_interval: time(|k| k.interval),
            }),
            ..Default::default()
        });
    }

    /// Packs the HTTP options.
    pub(crate) fn finish(mut self) -> cds::Cluster {
        if let Some(options) = self.http.packed() {
            self.cluster
                .typed_extension_protocol_options
                .insert(http::NAME.to_owned(), options);
        }
        self.cluster
    }
}

/// `filter_metadata.istio` of a cluster, which `istioctl proxy-config` and Kiali read.
pub(crate) fn metadata(
    service: &hawser_model::Service,
    subset: &str,
    rule: Option<&hawser_model::Meta>,
) -> core::Metadata {
    use hawser_proto::google::protobuf::{self as pb, value::Kind};
    let services = pb::Value {
        kind: Some(Kind::ListValue(pb::ListValue {
            values: vec![pb::Value {
                kind: Some(Kind::StructValue(wire::structure([
                    ("host", wire::text_value(service.host.as_str())),
                    ("name", wire::text_value(&service.meta.name)),
                    ("namespace", wire::text_value(&service.meta.namespace)),
                ]))),
            }],
        })),
    };
    let mut fields = vec![("services", services)];
    if let Some(rule) = rule {
        fields.push((
            "config",
            wire::text_value(&format!(
                "/apis/networking.istio.io/v1/namespaces/{}/destination-rule/{}",
                rule.namespace, rule.name
            )),
        ));
    }
    if !subset.is_empty() {
        fields.push(("subset", wire::text_value(subset)));
    }
    core::Metadata {
        filter_metadata: [("istio".to_owned(), wire::structure(fields))].into(),
        ..Default::default()
    }
}
