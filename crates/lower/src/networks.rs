//! Gateways into networks, from Istio's four sources: addresses and services of MeshNetworks, labelled Services, and
//! labelled Gateways of the Gateway API.

use std::collections::BTreeSet;
use std::net::IpAddr;

use hawser_api::{Kind, gateway_api as gw};
use hawser_model::network::{GatewayAddress, NetworkGateway, NetworkGateways};
use hawser_model::{ClusterId, NetworkId, Problem};

use crate::names::{port, service_host};
use crate::notes::{NO_GATEWAY, Notes};
use crate::services::{external_addresses, node_selector};
use crate::world::{Addresses, KubeService, NETWORK_LABEL, View, World};

/// The port for mutual TLS by SNI, unless a gateway's label says another.
const SNI_PORT: u16 = 15443;
/// The port for HBONE.
const HBONE_PORT: u16 = 15008;
/// The label with which a Service says another port than 15443.
const PORT_LABEL: &str = "networking.istio.io/gatewayPort";

/// All gateways.
pub fn gateways(
    world: &World<'_>,
    addresses: &Addresses,
    problems: &mut Vec<Problem>,
) -> NetworkGateways {
    let mut out = NetworkGateways::default();
    for (id, network) in &world.networks.networks {
        let id = NetworkId::new(id);
        for gateway in &network.gateways {
            if let (Some(address), Some(port)) = (&gateway.address, port(gateway.port)) {
                add(&mut out, &id, None, address, (port, 0), addresses);
            }
        }
    }
    for view in &world.views {
        for service in view.objects.services.iter() {
            if view.shows(&service.meta.namespace) {
                of_service(service, view, world, addresses, &mut out, problems);
            }
        }
        for gateway in view.objects.k8s_gateways.iter() {
            of_gateway(gateway, view, world, addresses, &mut out);
        }
    }
    let reachable: BTreeSet<&NetworkId> = out
        .all
        .iter()
        .filter(|g| matches!(g.address, GatewayAddress::Ip(_)))
        .map(|g| &g.network)
        .collect();
    let known: BTreeSet<NetworkId> = reachable.into_iter().cloned().collect();
    out.unresolved.retain(|n| !known.contains(n));
    out
}

/// Host names that gateways have for addresses: what the control plane must resolve.
pub fn names_wanted(world: &World<'_>) -> BTreeSet<String> {
    gateways(world, &Addresses::new(), &mut Vec::new())
        .all
        .into_iter()
        .filter_map(|g| match g.address {
            GatewayAddress::Host(host) => Some(host.to_string()),
            GatewayAddress::Ip(_) => None,
        })
        .collect()
}

fn add(
    out: &mut NetworkGateways,
    network: &NetworkId,
    cluster: Option<&ClusterId>,
    address: &str,
    (port, hbone_port): (u16, u16),
    addresses: &Addresses,
) {
    let mut insert = |address| {
        out.all.insert(NetworkGateway {
            network: network.clone(),
            cluster: cluster.cloned(),
            address,
            port,
            hbone_port,
        });
    };
    if let Ok(ip) = address.parse::<IpAddr>() {
        // 0.0.0.0 in MeshNetworks stands for "fill me in"; nothing can be sent there.
        if !ip.is_unspecified() {
            insert(GatewayAddress::Ip(ip));
        }
        return;
    }
    match addresses.get(address) {
        Some(ips) if !ips.is_empty() => {
            for ip in ips {
                insert(GatewayAddress::Ip(*ip));
            }
        }
        _ => {
            insert(GatewayAddress::Host(address.into()));
            out.unresolved.insert(network.clone());
        }
    }
}

/// The networks whose gateway a Service is, with its ports for SNI and HBONE (0 where it has none), as it numbers them.
fn claims(service: &KubeService, view: &View<'_>, world: &World<'_>) -> Vec<(NetworkId, u16, u16)> {
    let has = |number: u16| {
        service
            .spec
            .ports
            .iter()
            .any(|p| p.port == i32::from(number))
    };
    if let Some(network) = service.label(NETWORK_LABEL).filter(|n| !n.is_empty()) {
        let sni = service
            .label(PORT_LABEL)
            .and_then(|t| t.parse().ok())
            .unwrap_or(SNI_PORT);
        let sni = if has(sni) { sni } else { 0 };
        let hbone = if has(HBONE_PORT) { HBONE_PORT } else { 0 };
        if sni == 0 && hbone == 0 {
            return Vec::new();
        }
        return vec![(NetworkId::new(network), sni, hbone)];
    }
    if world.networks.networks.is_empty() {
        return Vec::new();
    }
    let host = service_host(
        &service.meta.name,
        &service.meta.namespace,
        &world.mesh.dns_domain,
    );
    let mut out = Vec::new();
    for (id, network) in &world.networks.networks {
        let claimed = network
            .endpoints
            .iter()
            .any(|e| e.from_registry.as_deref() == Some(view.id.as_str()));
        for gateway in &network.gateways {
            let named = gateway.registry_service_name.as_deref()
                == host.as_ref().map(hawser_model::Hostname::as_str);
            if let (true, true, Some(port)) = (claimed, named, port(gateway.port)) {
                out.push((NetworkId::new(id), port, 0));
            }
        }
    }
    out
}

fn of_service(
    service: &KubeService,
    view: &View<'_>,
    world: &World<'_>,
    resolved: &Addresses,
    out: &mut NetworkGateways,
    problems: &mut Vec<Problem>,
) {
    let claims = claims(service, view, world);
    if claims.is_empty() {
        return;
    }
    let by_node = node_selector(service).is_some();
    let outer = |number: u16| {
        let node_port = service
            .spec
            .ports
            .iter()
            .find(|p| p.port == i32::from(number))
            .and_then(|p| port(p.node_port));
        node_port.filter(|_| by_node).unwrap_or(number)
    };
    let addresses = external_addresses(service, view);
    for (network, sni, hbone) in claims {
        if addresses.is_empty() {
            out.unresolved.insert(network.clone());
            Notes::new(problems, view.id, Kind::Service, &service.meta).warn(
                NO_GATEWAY,
                "status.loadBalancer",
                format!(
                    "the gateway of network {} has no address yet; other networks cannot reach it",
                    network.as_str()
                ),
                "wait for its load balancer, set spec.externalIPs, or for a NodePort service the annotation traffic.istio.io/nodeSelector",
            );
        }
        for address in &addresses {
            let (sni, hbone) = (
                if sni == 0 { 0 } else { outer(sni) },
                if hbone == 0 { 0 } else { outer(hbone) },
            );
            add(
                out,
                &network,
                Some(view.id),
                address,
                (sni, hbone),
                resolved,
            );
        }
    }
}

/// A labelled Gateway of the Gateway API. Those of class `istio-remote` stand for a gateway that nobody here deploys,
/// and count only in the configuration cluster.
fn of_gateway(
    gateway: &hawser_api::Object<gw::GatewaySpec, gw::GatewayStatus>,
    view: &View<'_>,
    world: &World<'_>,
    resolved: &Addresses,
    out: &mut NetworkGateways,
) {
    let Some(network) = gateway.label(NETWORK_LABEL).filter(|n| !n.is_empty()) else {
        return;
    };
    let remote = gateway.spec.gateway_class_name == "istio-remote";
    if remote && view.id != world.config_cluster {
        return;
    }
    let network = NetworkId::new(network);
    let sni_port = gateway
        .label(PORT_LABEL)
        .and_then(|t| t.parse::<i32>().ok())
        .unwrap_or(i32::from(SNI_PORT));
    for address in &gateway.spec.addresses {
        let kind = address.type_.as_deref().unwrap_or("IPAddress");
        if kind != "IPAddress" && kind != "Hostname" {
            continue;
        }
        for listener in &gateway.spec.listeners {
            let Some(number) = port(listener.port) else {
                continue;
            };
            if is_auto_passthrough(listener, sni_port) {
                add(
                    out,
                    &network,
                    Some(view.id),
                    &address.value,
                    (number, 0),
                    resolved,
                );
            } else if listener.protocol == "HBONE" {
                add(
                    out,
                    &network,
                    Some(view.id),
                    &address.value,
                    (0, number),
                    resolved,
                );
            }
        }
    }
}

/// Whether a listener of a labelled Gateway passes TLS on by SNI: it says so, or it is on the port for it and does not say
/// that it ends TLS (as the bridges of ambient meshes do, which know nothing of SNIs).
pub fn is_auto_passthrough(listener: &gw::Listener, sni_port: i32) -> bool {
    let Some(tls) = listener.tls.as_ref().filter(|_| listener.protocol == "TLS") else {
        return false;
    };
    let option = tls.options.get("gateway.istio.io/listener-protocol");
    option.is_some_and(|o| o == "auto-passthrough")
        || (listener.port == sni_port && tls.mode.as_deref() != Some("Terminate"))
}
