//! From a service's endpoints to those of a cluster.

use std::collections::BTreeMap;

use hawser_model::authn::MtlsMode;
use hawser_model::endpoint::Address;
use hawser_model::traffic::{ClientTlsMode, LocalityPreference, OutlierDetection, TrafficPolicy};
use hawser_model::{Endpoint, Health, Labels, Locality, Service, Shared};
use hawser_proto::envoy::config::core::v3 as core;
use hawser_proto::envoy::config::endpoint::v3 as eds;

use super::{EndpointInput, locality, network};
use crate::destination;
use crate::wire;

/// Endpoints of one locality and priority.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub locality: Locality,
    pub endpoints: Vec<Target>,
    pub weight: u32,
    pub priority: u32,
}

/// Where a share of the traffic goes.
#[derive(Clone, Debug)]
pub(crate) enum At {
    /// An endpoint itself.
    Endpoint(Shared<Endpoint>),
    /// The gateway of its network.
    Gateway {
        address: String,
        port: u16,
        labels: Labels,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub at: At,
    pub weight: u32,
    pub mutual_tls: bool,
}

impl Target {
    /// A label of the endpoint, its place included.
    pub(crate) fn label(&self, key: &str) -> &str {
        match &self.at {
            At::Gateway { labels, .. } => labels.get(key).unwrap_or_default(),
            At::Endpoint(e) => e.labels.get(key).unwrap_or(match key {
                "topology.istio.io/network" => e.network.as_str(),
                "topology.istio.io/cluster" => e.cluster.as_str(),
                "topology.kubernetes.io/region" => &e.locality.region,
                "topology.kubernetes.io/zone" => &e.locality.zone,
                "topology.istio.io/subzone" => &e.locality.sub_zone,
                "kubernetes.io/hostname" => &e.node,
                _ => "",
            }),
        }
    }
}

/// A label of pods that are to have no more traffic.
const DRAINING: &str = "istio.io/draining";

/// True if a service prefers near endpoints: what is not ready there then decides how much is sent further away.
fn prefers_near(service: &Service) -> bool {
    matches!(
        service.traffic_distribution,
        Some(LocalityPreference::SameZone | LocalityPreference::SameNode)
    )
}

/// The least share of endpoints, in percent, that must be well before Envoy goes by health at all. Where near endpoints are
/// preferred it is nothing, whatever a rule says: those that are not ready are told there, and must never be called
/// (Istio's `SupportsUnhealthyEndpoints`).
pub(crate) fn least_health(service: &Service, outlier: Option<&OutlierDetection>) -> u32 {
    match outlier.and_then(|o| o.min_health_percent) {
        Some(percent) if !prefers_near(service) => percent,
        _ => 0,
    }
}

pub(super) fn localities(input: &EndpointInput) -> Vec<eds::LocalityLbEndpoints> {
    let rule = input.rule.as_deref();
    let subset = rule.and_then(|r| destination::subset(r, &input.subset));
    let policy = destination::policy_in(&input.mesh, rule, subset, input.port);
    let tls = TlsOf::new(input, &policy);
    let mut groups = by_locality(input, &policy, &tls);
    groups = network::through_gateways(input, groups, &tls);
    if input.sni_dnat {
        for group in &mut groups {
            group.endpoints.retain(|t| t.mutual_tls);
            group.weight = sum(&group.endpoints);
        }
    }
    if let Some(near) = &input.near {
        locality::Setting::of(&input.mesh, &input.service, &policy).apply(
            &mut groups,
            near,
            input.dns,
        );
    }
    groups.into_iter().map(|g| encode(g, input)).collect()
}

pub(super) fn sum(endpoints: &[Target]) -> u32 {
    endpoints
        .iter()
        .fold(0, |sum: u32, t| sum.saturating_add(t.weight))
}

fn by_locality(input: &EndpointInput, policy: &TrafficPolicy, tls: &TlsOf) -> Vec<Group> {
    let Some(port) = input.service.port(input.port) else {
        return Vec::new();
    };
    let labels = input
        .rule
        .as_deref()
        .and_then(|r| destination::subset(r, &input.subset))
        .map(|s| &s.labels);
    if labels.is_none() && !input.subset.is_empty() {
        return Vec::new();
    }
    // Those that are not ready are told too, so that the balancer knows how large the whole is; but not where it may call
    // them for want of better.
    let unready = least_health(&input.service, policy.outlier.as_ref()) == 0;
    let mut groups: BTreeMap<Locality, Group> = BTreeMap::new();
    for endpoint in input.endpoints.iter().flat_map(|set| set.iter()) {
        let wanted = endpoint.service_port == port.name
            && labels.is_none_or(|l| l.selects(&endpoint.labels))
            && (!input.service.cluster_local || endpoint.cluster == input.view.cluster)
            && (input.view.visible.is_empty()
                || endpoint.network.is_unset()
                || input.view.visible.contains(&endpoint.network))
            && match endpoint.health {
                Health::Healthy => true,
                Health::Unhealthy => unready,
                Health::Draining => false,
            }
            && endpoint.labels.get(DRAINING).is_none_or(str::is_empty)
            // Without an address it can be reached through a gateway alone.
            && (endpoint.address != Address::Unknown || !input.gateways.all.is_empty())
            && input
                .node
                .as_ref()
                .is_none_or(|node| *node == endpoint.node)
            && (input.dns || !matches!(endpoint.address, Address::Host(_)));
        if !wanted {
            continue;
        }
        let group = groups
            .entry(endpoint.locality.clone())
            .or_insert_with(|| Group {
                locality: endpoint.locality.clone(),
                endpoints: Vec::new(),
                weight: 0,
                priority: 0,
            });
        group.weight = group.weight.saturating_add(endpoint.weight);
        group.endpoints.push(Target {
            weight: endpoint.weight,
            mutual_tls: endpoint.mutual_tls && tls.enabled(endpoint),
            at: At::Endpoint(endpoint.clone()),
        });
    }
    groups.into_values().collect()
}

/// Whether traffic to an endpoint has mutual TLS (Istio's `checkMtlsEnabled`).
pub(super) struct TlsOf {
    /// What a DestinationRule says, which outranks all.
    rule: Option<bool>,
    policies: Shared<crate::authn::NamespaceMtls>,
}

impl TlsOf {
    fn new(input: &EndpointInput, policy: &TrafficPolicy) -> Self {
        let said = policy.tls.as_ref();
        Self {
            rule: said.map(|tls| tls.mode == ClientTlsMode::IstioMutual),
            policies: input.mtls.clone(),
        }
    }

    pub(super) fn enabled(&self, endpoint: &Endpoint) -> bool {
        match self.rule {
            Some(said) => said,
            None => {
                endpoint.mutual_tls
                    && self
                        .policies
                        .mode(&endpoint.labels, &endpoint.namespace, endpoint.port)
                        != MtlsMode::Disable
            }
        }
    }
}

fn encode(group: Group, input: &EndpointInput) -> eds::LocalityLbEndpoints {
    let locality = &group.locality;
    eds::LocalityLbEndpoints {
        locality: Some(core::Locality {
            region: locality.region.to_string(),
            zone: locality.zone.to_string(),
            sub_zone: locality.sub_zone.to_string(),
        }),
        lb_endpoints: group.endpoints.iter().map(|t| target(t, input)).collect(),
        load_balancing_weight: (group.weight > 0).then(|| wire::u32v(group.weight)),
        priority: group.priority,
        ..Default::default()
    }
}

fn target(target: &Target, input: &EndpointInput) -> eds::LbEndpoint {
    let (address, additional) = match &target.at {
        At::Gateway { address, port, .. } => (wire::address(address, u32::from(*port)), Vec::new()),
        At::Endpoint(e) => {
            let port = u32::from(e.port);
            let address = match &e.address {
                Address::Ip(ip) => wire::address(&ip.to_string(), port),
                Address::Host(host) => wire::address(host, port),
                Address::Unix(path) => wire::address(&format!("unix://{path}"), 0),
                Address::Unknown => wire::address("", port),
            };
            let both = input.view.ipv4 && input.view.ipv6;
            let additional = e
                .additional_addresses
                .iter()
                .filter(|_| both)
                .map(|ip| eds::endpoint::AdditionalAddress {
                    address: Some(wire::address(&ip.to_string(), port)),
                })
                .collect();
            (address, additional)
        }
    };
    let health = match &target.at {
        At::Endpoint(e) => match e.health {
            Health::Healthy => core::HealthStatus::Healthy,
            Health::Unhealthy => core::HealthStatus::Unhealthy,
            Health::Draining => core::HealthStatus::Draining,
        },
        At::Gateway { .. } => core::HealthStatus::Healthy,
    };
    let metadata = target.mutual_tls.then(|| core::Metadata {
        filter_metadata: [(
            "envoy.transport_socket_match".to_owned(),
            wire::structure([("tlsMode", wire::text_value("istio"))]),
        )]
        .into(),
        ..Default::default()
    });
    eds::LbEndpoint {
        host_identifier: Some(eds::lb_endpoint::HostIdentifier::Endpoint(eds::Endpoint {
            address: Some(address),
            additional_addresses: additional,
            ..Default::default()
        })),
        health_status: health as i32,
        metadata,
        load_balancing_weight: Some(wire::u32v(target.weight.max(1))),
    }
}
