//! Clusters and their endpoints, with shares.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use hawser_proto::envoy::config::cluster::v3::Cluster;
use hawser_proto::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType};
use hawser_proto::envoy::config::core::v3::HealthStatus;
use hawser_proto::envoy::config::core::v3::address::Address as Kind;
use hawser_proto::envoy::config::core::v3::socket_address::PortSpecifier;
use hawser_proto::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use hawser_proto::envoy::config::endpoint::v3::{ClusterLoadAssignment, LbEndpoint};

use crate::Verdict;
use crate::config::Config;

/// A cluster, its share of the calls in percent, and its endpoints with their shares within it.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    /// The cluster's name.
    pub cluster: String,
    /// Percent of the calls.
    pub percent: f64,
    /// Percent of the cluster's calls by address; empty if it has no endpoint.
    pub endpoints: BTreeMap<String, f64>,
}

/// A cluster with the weight that a route gives it.
pub(crate) struct Target {
    pub cluster: String,
    pub weight: u32,
}

/// Forwards by weight. Where there is HTTP, a cluster that does not exist is answered with the status given, and one
/// without healthy endpoint with 503.
pub(crate) fn forward(
    config: &Config,
    targets: &[Target],
    destination: SocketAddr,
    not_found: Option<u32>,
) -> Verdict {
    let unavailable = not_found.map(|_| 503);
    let total: u64 = targets.iter().map(|t| u64::from(t.weight)).sum();
    let mut shares = Vec::new();
    for target in targets.iter().filter(|t| t.weight > 0) {
        // Weights are below 2^32: exact in a double.
        let percent = 100.0 * f64::from(target.weight) / total as f64;
        let endpoints = config
            .clusters
            .get(&target.cluster)
            .map(|c| endpoints(config, c, destination))
            .unwrap_or_default();
        shares.push(Share {
            cluster: target.cluster.clone(),
            percent,
            endpoints,
        });
    }
    match shares.as_slice() {
        [] => refuse(unavailable, "no cluster".to_owned()),
        [one] if !config.clusters.contains_key(&one.cluster) => {
            refuse(not_found, format!("cluster {} does not exist", one.cluster))
        }
        [one] if one.endpoints.is_empty() => refuse(
            unavailable,
            format!("cluster {} has no healthy endpoint", one.cluster),
        ),
        _ => Verdict::Forwarded(shares),
    }
}

fn refuse(answer: Option<u32>, why: String) -> Verdict {
    match answer {
        Some(status) => Verdict::Refused { status, why },
        None => Verdict::Closed { why },
    }
}

fn endpoints(config: &Config, cluster: &Cluster, destination: SocketAddr) -> BTreeMap<String, f64> {
    let kind = match cluster.cluster_discovery_type {
        Some(ClusterDiscoveryType::Type(kind)) => {
            DiscoveryType::try_from(kind).unwrap_or(DiscoveryType::Static)
        }
        // By DNS at the time of the call.
        Some(ClusterDiscoveryType::ClusterType(_)) => {
            return [("whatever the name called stands for".to_owned(), 100.0)].into();
        }
        None => DiscoveryType::Static,
    };
    let assignment = match kind {
        DiscoveryType::OriginalDst => return [(destination.to_string(), 100.0)].into(),
        DiscoveryType::Eds => {
            let service = cluster
                .eds_cluster_config
                .as_ref()
                .map(|c| c.service_name.as_str())
                .filter(|n| !n.is_empty());
            config.endpoints.get(service.unwrap_or(&cluster.name))
        }
        _ => cluster.load_assignment.as_ref(),
    };
    assignment
        .map(|a| shares(a, is_locality_weighted(cluster)))
        .unwrap_or_default()
}

fn is_locality_weighted(cluster: &Cluster) -> bool {
    use hawser_proto::envoy::config::cluster::v3::cluster::common_lb_config::LocalityConfigSpecifier as Spec;
    let common = cluster.common_lb_config.as_ref();
    matches!(
        common.and_then(|c| c.locality_config_specifier.as_ref()),
        Some(Spec::LocalityWeightedLbConfig(_))
    )
}

/// The first priority with a healthy endpoint takes all; localities share by their own weights where the cluster says so,
/// else endpoints share by theirs alone.
fn shares(assignment: &ClusterLoadAssignment, locality_weighted: bool) -> BTreeMap<String, f64> {
    let healthy = |e: &&LbEndpoint| {
        matches!(
            HealthStatus::try_from(e.health_status),
            Ok(HealthStatus::Unknown | HealthStatus::Healthy | HealthStatus::Degraded)
        )
    };
    let weight =
        |e: &LbEndpoint| f64::from(e.load_balancing_weight.as_ref().map_or(1, |w| w.value));
    let live = assignment
        .endpoints
        .iter()
        .filter(|l| l.lb_endpoints.iter().any(|e| healthy(&e)));
    let Some(priority) = live.clone().map(|l| l.priority).min() else {
        return BTreeMap::new();
    };
    let localities: Vec<_> = live.filter(|l| l.priority == priority).collect();
    let locality_weight = |l: &hawser_proto::envoy::config::endpoint::v3::LocalityLbEndpoints,
                           sum: f64| match locality_weighted {
        true => f64::from(l.load_balancing_weight.as_ref().map_or(0, |w| w.value)),
        false => sum,
    };
    let mut out: BTreeMap<String, f64> = BTreeMap::new();
    let mut total = 0.0;
    for locality in localities {
        let sum: f64 = locality
            .lb_endpoints
            .iter()
            .filter(healthy)
            .map(weight)
            .sum();
        let share = locality_weight(locality, sum);
        total += share;
        for endpoint in locality.lb_endpoints.iter().filter(healthy) {
            *out.entry(address(endpoint)).or_default() += share * weight(endpoint) / sum;
        }
    }
    out.values_mut().for_each(|v| *v *= 100.0 / total);
    out
}

fn address(endpoint: &LbEndpoint) -> String {
    let Some(HostIdentifier::Endpoint(endpoint)) = &endpoint.host_identifier else {
        return String::new();
    };
    match endpoint.address.as_ref().and_then(|a| a.address.as_ref()) {
        Some(Kind::SocketAddress(s)) => match &s.port_specifier {
            Some(PortSpecifier::PortValue(port)) => format!("{}:{port}", s.address),
            _ => s.address.clone(),
        },
        Some(Kind::Pipe(pipe)) => format!("unix://{}", pipe.path),
        Some(Kind::EnvoyInternalAddress(_)) | None => String::new(),
    }
}
