//! Endpoints of other networks are reached through the gateways of those networks (Istio's `ep_filters.go`).

use std::collections::BTreeMap;

use hawser_model::endpoint::Address;
use hawser_model::network::{GatewayAddress, NetworkGateway};
use hawser_model::{ClusterId, Labels, NetworkId};

use super::EndpointInput;
use super::build::{At, Group, Target, TlsOf, sum};

/// Replaces endpoints of other networks by their gateways. A locality of which nothing can be reached stays, since it has
/// its place in the order of priorities.
pub(super) fn through_gateways(
    input: &EndpointInput,
    groups: Vec<Group>,
    tls: &TlsOf,
) -> Vec<Group> {
    if input.gateways.all.is_empty() && input.gateways.unresolved.is_empty() {
        return groups;
    }
    let factor = common_multiple(input);
    groups
        .into_iter()
        .map(|group| through(input, group, tls, factor))
        .collect()
}

fn through(input: &EndpointInput, group: Group, tls: &TlsOf, factor: u32) -> Group {
    let mut direct = Vec::new();
    let mut remote: BTreeMap<&NetworkGateway, u32> = BTreeMap::new();
    for target in group.endpoints {
        let At::Endpoint(endpoint) = &target.at else {
            direct.push(target);
            continue;
        };
        let weight = target.weight.saturating_mul(factor);
        let candidates = candidates(input, &endpoint.network, &endpoint.cluster);
        let here = &input.view.network;
        let far = if here.is_unset() {
            !endpoint.network.is_unset() && !candidates.is_empty()
        } else {
            !endpoint.network.is_unset() && *here != endpoint.network
        };
        let has_gateway = !candidates.is_empty();
        // A network whose gateways have no address yet is not reachable: sending there directly could reach a stranger
        // with the same address.
        let unresolved =
            far && !has_gateway && input.gateways.unresolved.contains(&endpoint.network);
        if !(far && has_gateway) {
            if !unresolved && endpoint.address != Address::Unknown {
                direct.push(Target { weight, ..target });
            }
            continue;
        }
        let usable: Vec<_> = candidates
            .into_iter()
            .filter(|g| usable(input, g))
            .collect();
        // Without mutual TLS there is no SNI that the gateway could go by.
        if usable.is_empty() || !tls.enabled(endpoint) {
            continue;
        }
        let share = weight / u32::try_from(usable.len()).unwrap_or(u32::MAX);
        for gateway in usable {
            let sum = remote.entry(gateway).or_default();
            *sum = sum.saturating_add(share);
        }
    }
    for (gateway, weight) in remote {
        let cluster = gateway
            .cluster
            .clone()
            .unwrap_or_else(|| ClusterId::new(""));
        direct.push(Target {
            at: At::Gateway {
                address: match &gateway.address {
                    GatewayAddress::Ip(ip) => ip.to_string(),
                    GatewayAddress::Host(host) => host.to_string(),
                },
                port: gateway.port,
                labels: [
                    ("topology.istio.io/network", gateway.network.as_str()),
                    ("topology.istio.io/cluster", cluster.as_str()),
                ]
                .into_iter()
                .collect::<Labels>(),
            },
            weight,
            mutual_tls: true,
        });
    }
    Group {
        weight: sum(&direct),
        endpoints: direct,
        ..group
    }
}

fn candidates<'a>(
    input: &'a EndpointInput,
    network: &NetworkId,
    cluster: &ClusterId,
) -> Vec<&'a NetworkGateway> {
    input
        .gateways
        .towards(network, cluster)
        .into_iter()
        .filter(|g| g.port != 0)
        .collect()
}

fn usable(input: &EndpointInput, gateway: &NetworkGateway) -> bool {
    match &gateway.address {
        GatewayAddress::Ip(ip) => input.view.supports(*ip),
        GatewayAddress::Host(_) => input.dns,
    }
}

/// Least common multiple of the numbers of gateways per network, and per network and cluster: weights times this can be
/// divided among gateways without a rest.
fn common_multiple(input: &EndpointInput) -> u32 {
    let mut counts: BTreeMap<(&NetworkId, Option<&ClusterId>), u32> = BTreeMap::new();
    for gateway in &input.gateways.all {
        *counts.entry((&gateway.network, None)).or_default() += 1;
        if let Some(cluster) = &gateway.cluster {
            *counts.entry((&gateway.network, Some(cluster))).or_default() += 1;
        }
    }
    counts.values().fold(1u32, |so_far, n| {
        let common = greatest_common_divisor(so_far, *n);
        so_far.saturating_mul(n / common.max(1))
    })
}

fn greatest_common_divisor(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
