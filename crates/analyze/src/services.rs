//! Names of Service ports (Istio `service.PortNameAnalyzer`).

use crate::codes::{EXTERNAL_NAME_PORT, PORT_NAME};
use crate::deployments::is_control_plane;
use crate::finding::{Finding, on};
use crate::injection::SYSTEM_NAMESPACES;
use crate::world::World;
use hawser_api::core::ServicePort;
use hawser_api::validate::names::Protocol;
use hawser_api::{IntOrString, Kind};

/// Gateways' Services that Istio makes itself have this label, with one of the values.
const MANAGED: &str = "gateway.istio.io/managed";
const MANAGERS: [&str; 3] = [
    "istio.io-gateway-controller",
    "istio.io-mesh-controller",
    "istio.io-eastwest-controller",
];

pub fn port_names(world: &World) -> Vec<Finding> {
    let mut out = Vec::new();
    for service in world.own_services() {
        let meta = &service.object.meta;
        let managed = service
            .object
            .label(MANAGED)
            .is_some_and(|by| MANAGERS.contains(&by));
        if managed || is_control_plane(meta) || SYSTEM_NAMESPACES.contains(&meta.namespace.as_str())
        {
            continue;
        }
        let external = service.object.spec.type_ == "ExternalName";
        for (i, port) in service.object.spec.ports.iter().enumerate() {
            if is_known(port) && !(external && port.name == "tcp") {
                continue;
            }
            let path = format!("spec.ports[{i}].name");
            let found = if external {
                let message = "the port's name makes it a TCP port, which an ExternalName Service cannot be routed by";
                Finding::new(EXTERNAL_NAME_PORT, on(Kind::Service, meta), path, message)
                    .help("name the port by its protocol: http, grpc, tls-…")
            } else {
                let target = match &port.target_port {
                    Some(IntOrString::String(name)) => name.clone(),
                    Some(IntOrString::Int(number)) if *number != 0 => number.to_string(),
                    _ => port.port.to_string(),
                };
                let message = format!(
                    "port name \"{}\" (port {}, target port {target}) does not say the protocol",
                    port.name, port.port
                );
                Finding::new(PORT_NAME, on(Kind::Service, meta), path, message).help("name it protocol or protocol-suffix (http-web, grpc, tcp-db), or set appProtocol; else the protocol is guessed")
            };
            out.push(found);
        }
    }
    out
}

/// Ports whose protocol is never guessed: SMTP, DNS, MySQL, MongoDB.
const WELL_KNOWN: [i32; 4] = [25, 53, 3306, 27017];

/// Whether the protocol is known, by `appProtocol` or the name (Istio `kube.ConvertProtocol`).
fn is_known(port: &ServicePort) -> bool {
    if port.protocol == "UDP" {
        return true;
    }
    let name = port.app_protocol.as_deref();
    if matches!(
        name,
        Some("kubernetes.io/h2c" | "kubernetes.io/ws" | "kubernetes.io/wss")
    ) {
        return true;
    }
    let name = name.unwrap_or(&port.name);
    let starts = |prefix: &str| {
        name.get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let prefix = name.split('-').next().unwrap_or_default();
    starts("grpc-web") || WELL_KNOWN.contains(&port.port) || Protocol::parse(prefix).is_some()
}
