//! Services: cluster IPs and node ports.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use crate::kinds::Kind;
use crate::object::{meta, text};
use crate::schema::Invalid;
use crate::status::ApiError;
use crate::verbs::Request;

/// Node ports are given out from here, as by default in Kubernetes.
const NODE_PORTS: std::ops::RangeInclusive<u16> = 30000..=32767;
/// Attempts at an address or port that is free.
const ATTEMPTS: usize = 4096;

/// What makes the claims of a resource's objects, for the store.
pub fn claims_of(resource: &str) -> Option<fn(&Value) -> Vec<String>> {
    (resource == "services").then_some(claims as fn(&Value) -> Vec<String>)
}

/// The addresses and node ports that a Service holds in its cluster.
pub fn claims(service: &Value) -> Vec<String> {
    let mut claims: Vec<String> = cluster_ips(service).map(|ip| format!("ip {ip}")).collect();
    for port in service["spec"]["ports"].as_array().into_iter().flatten() {
        if let Some(node_port) = port["nodePort"].as_u64().filter(|&port| port > 0) {
            let claim = format!(
                "port {node_port}/{}",
                port["protocol"].as_str().unwrap_or("TCP")
            );
            // Two ports of one Service may share a node port when their protocols differ, and then their claims do too.
            if !claims.contains(&claim) {
                claims.push(claim);
            }
        }
    }
    if let Some(port) = service["spec"]["healthCheckNodePort"]
        .as_u64()
        .filter(|&port| port > 0)
    {
        claims.push(format!("port {port}/TCP"));
    }
    claims
}

fn cluster_ips(service: &Value) -> impl Iterator<Item = &str> {
    let listed = service["spec"]["clusterIPs"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    let single = text(service, "/spec/clusterIP");
    let mut ips: Vec<&str> = listed.collect();
    if ips.is_empty() {
        ips.push(single);
    }
    ips.into_iter().filter(|ip| !ip.is_empty() && *ip != "None")
}

/// An update that leaves out what was allocated keeps it; a Service that becomes an ExternalName loses it.
pub fn before_update(live: &Value, new: &mut Value) {
    let external = text(new, "/spec/type") == "ExternalName";
    let was_external = text(live, "/spec/type") == "ExternalName";
    let Some(spec) = new.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    if external {
        for field in [
            "clusterIP",
            "clusterIPs",
            "ipFamilies",
            "ipFamilyPolicy",
            "internalTrafficPolicy",
        ] {
            if live["spec"].get(field) == spec.get(field) {
                spec.remove(field);
            }
        }
        return;
    }
    if was_external {
        return;
    }
    for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        if !spec.contains_key(field)
            && let Some(value) = live["spec"].get(field)
        {
            spec.insert(field.into(), value.clone());
        }
    }
    let takes_ports = matches!(
        spec.get("type").and_then(Value::as_str),
        Some("NodePort" | "LoadBalancer")
    );
    let no_ports = Vec::new();
    let old_ports = live["spec"]["ports"].as_array().unwrap_or(&no_ports);
    for port in spec
        .get_mut("ports")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        let old = old_ports
            .iter()
            .find(|old| old["port"] == port["port"] && old["protocol"] == port["protocol"]);
        let Some(port) = port.as_object_mut() else {
            continue;
        };
        match old.and_then(|old| old.get("nodePort")) {
            Some(node_port) if takes_ports && !port.contains_key("nodePort") => {
                port.insert("nodePort".into(), node_port.clone());
            }
            Some(node_port) if !takes_ports && port.get("nodePort") == Some(node_port) => {
                port.remove("nodePort");
            }
            _ => {}
        }
    }
}

/// Gives a Service what it needs, and returns the claims that were its own wish rather than ours.
///
/// # Errors
/// 422 for an address outside the cluster's range, 500 when nothing is free.
pub fn allocate(
    request: &Request<'_>,
    object: &mut Value,
    old: Option<&Value>,
) -> Result<Vec<String>, ApiError> {
    if !request.kind.is("services") {
        return Ok(Vec::new());
    }
    let asked = claims(object);
    let mut taken: std::collections::BTreeSet<String> = std::collections::BTreeSet::new();
    let mut wants_address = false;
    let kind = text(object, "/spec/type").to_owned();
    if kind != "ExternalName" {
        let ip = text(object, "/spec/clusterIP").to_owned();
        if ip.is_empty() {
            wants_address = true;
        } else if ip != "None" && old.is_none_or(|old| text(old, "/spec/clusterIP") != ip) {
            check_range(request, object, &ip)?;
        }
    }
    let needs_port = |port: &Value| port["nodePort"].as_u64().unwrap_or(0) == 0;
    let ports = object["spec"]["ports"].as_array().into_iter().flatten();
    let wants_ports = matches!(kind.as_str(), "NodePort" | "LoadBalancer")
        && object["spec"]["allocateLoadBalancerNodePorts"] != false
        && ports.clone().any(needs_port);
    let local = kind == "LoadBalancer" && text(object, "/spec/externalTrafficPolicy") == "Local";
    let wants_health = local && object["spec"]["healthCheckNodePort"].as_u64().unwrap_or(0) == 0;
    if wants_address || wants_ports || wants_health {
        let (volume, _) = request.cluster.store.read(&request.kind.resource);
        taken.extend(
            volume
                .iter(None)
                .flat_map(|service| claims(&service.value())),
        );
        taken.extend(asked.iter().cloned());
    }
    if wants_address {
        let ip = free_address(request, &taken)?.to_string();
        object["spec"]["clusterIP"] = ip.as_str().into();
        object["spec"]["clusterIPs"] = json!([ip]);
    } else if kind != "ExternalName" && object["spec"].get("clusterIPs").is_none() {
        object["spec"]["clusterIPs"] = json!([text(object, "/spec/clusterIP")]);
    }
    if kind != "ExternalName" {
        let spec = &mut object["spec"];
        if let Some(spec) = spec.as_object_mut() {
            spec.entry("ipFamilies").or_insert_with(|| json!(["IPv4"]));
            spec.entry("ipFamilyPolicy")
                .or_insert_with(|| "SingleStack".into());
        }
    }
    if wants_ports {
        for port in object["spec"]["ports"].as_array_mut().into_iter().flatten() {
            if needs_port(port) {
                let protocol = port["protocol"].as_str().unwrap_or("TCP").to_owned();
                let free = free_port(&mut taken, &protocol)?;
                port["nodePort"] = free.into();
            }
        }
    }
    if wants_health {
        object["spec"]["healthCheckNodePort"] = free_port(&mut taken, "TCP")?.into();
    }
    Ok(asked)
}

fn check_range(request: &Request<'_>, object: &Value, ip: &str) -> Result<(), ApiError> {
    let inside = ip
        .parse::<Ipv4Addr>()
        .is_ok_and(|ip| request.cluster.service_cidr.contains(&ip));
    if inside {
        return Ok(());
    }
    let message = format!(
        "Invalid value: [{ip:?}]: failed to allocate IP {ip}: the provided IP ({ip}) is not in the valid range. The \
         range of valid IPs is {}",
        request.cluster.service_cidr
    );
    let problem = Invalid {
        reason: "FieldValueInvalid",
        field: "spec.clusterIPs".into(),
        message,
    };
    Err(ApiError::invalid(
        &request.kind,
        meta(object, "name"),
        &[problem],
    ))
}

fn random() -> u32 {
    let id = uuid::Uuid::new_v4();
    let (high, _) = id.as_u64_pair();
    // The upper half of a version 4 UUID's first word is all random.
    (high >> 32) as u32
}

/// An address that is not taken, from the upper part of the range: the lower part is for those who name addresses.
fn free_address(
    request: &Request<'_>,
    taken: &std::collections::BTreeSet<String>,
) -> Result<Ipv4Addr, ApiError> {
    let range = request.cluster.service_cidr;
    let first = u32::from(range.network());
    let size = 1_u32
        .checked_shl(32 - u32::from(range.prefix_len()))
        .unwrap_or(u32::MAX);
    // As Kubernetes computes its static band.
    let band = (size / 16).clamp(16.min(size / 2), 256);
    let usable = size.saturating_sub(band + 1).max(1);
    let start = random() % usable;
    for step in 0..usable.min(1 << 16) {
        let ip = Ipv4Addr::from(first + band + (start + step) % usable);
        if !taken.contains(&format!("ip {ip}")) {
            return Ok(ip);
        }
    }
    Err(ApiError::internal(format!(
        "failed to allocate a serviceIP: range is full ({range})"
    )))
}

fn free_port(
    taken: &mut std::collections::BTreeSet<String>,
    protocol: &str,
) -> Result<u16, ApiError> {
    let count = NODE_PORTS.end() - NODE_PORTS.start() + 1;
    let start = u16::try_from(random() % u32::from(count)).unwrap_or(0);
    for step in 0..count {
        let port = NODE_PORTS.start() + (start + step) % count;
        let claim = format!("port {port}/{protocol}");
        if taken.insert(claim) {
            return Ok(port);
        }
    }
    Err(ApiError::internal(
        "failed to allocate a nodePort: range is full",
    ))
}

/// What it means that a claim is held by another: an error if the caller had wished for it, another try otherwise.
///
/// # Errors
/// 422 naming the field.
pub fn claimed(
    kind: &Kind,
    name: &str,
    claim: &str,
    asked: &[String],
    attempt: usize,
) -> Result<(), ApiError> {
    if !asked.iter().any(|own| own == claim) && attempt < ATTEMPTS {
        return Ok(());
    }
    let (field, message) = match claim.split_once(' ') {
        Some(("ip", ip)) => (
            "spec.clusterIPs",
            format!(
                "Invalid value: [{ip:?}]: failed to allocate IP {ip}: provided IP is already allocated"
            ),
        ),
        _ => {
            let port = claim
                .trim_start_matches("port ")
                .split('/')
                .next()
                .unwrap_or_default();
            (
                "spec.ports[0].nodePort",
                format!("Invalid value: {port}: provided port is already allocated"),
            )
        }
    };
    let problem = Invalid {
        reason: "FieldValueInvalid",
        field: field.into(),
        message,
    };
    Err(ApiError::invalid(kind, name, &[problem]))
}
