//! Istio's annotations: unknown, misplaced, deprecated or with values that mean nothing (Istio `annotations.K8sAnalyzer`).

use crate::codes::{
    DEPRECATED_ANNOTATION, INVALID_ANNOTATION, MISPLACED_ANNOTATION, UNKNOWN_ANNOTATION,
};
use crate::finding::{Finding, entry, on};
use crate::world::{INJECT, World, yaml};
use hawser_api::mesh::ProxyDefaults;
use hawser_api::message::{nearest, read};
use hawser_api::{Kind, Meta};
use std::net::IpAddr;

/// What a value must be.
#[derive(Clone, Copy)]
enum Shape {
    Any,
    Mode,
    Port,
    Number,
    Bool,
    Ranges,
    RangesOrAll,
    Ports,
    PortsOrAll,
    ProxyConfig,
}

/// A row: name, kinds it belongs to, whether it is deprecated, what its value must be.
type Row = (&'static str, &'static [&'static str], bool, Shape);

const POD: &[&str] = &["Pod"];
const SERVICE: &[&str] = &["Service"];
const GATEWAY: &[&str] = &["Gateway"];
const WORKLOAD_ENTRY: &[&str] = &["WorkloadEntry"];
/// Belongs to every kind.
const ANY: &[&str] = &[];

/// All of Istio's annotations (`istio.io/api/annotation`), by name.
const ANNOTATIONS: &[Row] = &[
    (
        "alpha.istio.io/canonical-serviceaccounts",
        SERVICE,
        true,
        Shape::Any,
    ),
    (
        "alpha.istio.io/kubernetes-serviceaccounts",
        SERVICE,
        true,
        Shape::Any,
    ),
    (
        "ambient.istio.io/bypass-inbound-capture",
        POD,
        false,
        Shape::Any,
    ),
    ("ambient.istio.io/dns-capture", POD, false, Shape::Any),
    ("ambient.istio.io/redirection", POD, false, Shape::Any),
    (
        "ambient.istio.io/waypoint-inbound-binding",
        &["GatewayClass", "Gateway"],
        false,
        Shape::Any,
    ),
    ("galley.istio.io/analyze-suppress", ANY, false, Shape::Any),
    (
        "gateway.istio.io/controller-version",
        ANY,
        false,
        Shape::Any,
    ),
    ("gateway.istio.io/name-override", GATEWAY, false, Shape::Any),
    (
        "gateway.istio.io/service-account",
        GATEWAY,
        false,
        Shape::Any,
    ),
    (
        "gateway.istio.io/tls-terminate-mode",
        GATEWAY,
        false,
        Shape::Any,
    ),
    ("inject.istio.io/templates", POD, false, Shape::Any),
    (
        "istio.io/autoRegistrationGroup",
        WORKLOAD_ENTRY,
        false,
        Shape::Any,
    ),
    ("istio.io/connectedAt", WORKLOAD_ENTRY, false, Shape::Any),
    ("istio.io/disconnectedAt", WORKLOAD_ENTRY, false, Shape::Any),
    (
        "istio.io/dry-run",
        &["AuthorizationPolicy"],
        false,
        Shape::Any,
    ),
    (
        "istio.io/reroute-virtual-interfaces",
        POD,
        false,
        Shape::Any,
    ),
    ("istio.io/rev", POD, false, Shape::Any),
    (
        "istio.io/workloadController",
        WORKLOAD_ENTRY,
        false,
        Shape::Any,
    ),
    (
        "kubernetes.io/ingress.class",
        &["Ingress"],
        false,
        Shape::Any,
    ),
    (
        "networking.istio.io/address-type",
        GATEWAY,
        false,
        Shape::Any,
    ),
    ("networking.istio.io/exportTo", SERVICE, false, Shape::Any),
    (
        "networking.istio.io/service-type",
        GATEWAY,
        false,
        Shape::Any,
    ),
    (
        "networking.istio.io/traffic-distribution",
        &["Service", "ServiceEntry", "Namespace"],
        false,
        Shape::Any,
    ),
    ("prometheus.istio.io/merge-metrics", POD, false, Shape::Bool),
    ("proxy.istio.io/config", POD, false, Shape::ProxyConfig),
    ("proxy.istio.io/overrides", POD, false, Shape::Any),
    (
        "readiness.status.sidecar.istio.io/applicationPorts",
        POD,
        false,
        Shape::Any,
    ),
    (
        "readiness.status.sidecar.istio.io/failureThreshold",
        POD,
        false,
        Shape::Number,
    ),
    (
        "readiness.status.sidecar.istio.io/initialDelaySeconds",
        POD,
        false,
        Shape::Number,
    ),
    (
        "readiness.status.sidecar.istio.io/periodSeconds",
        POD,
        false,
        Shape::Number,
    ),
    ("sidecar.istio.io/agentLogLevel", POD, false, Shape::Any),
    ("sidecar.istio.io/bootstrapOverride", POD, false, Shape::Any),
    ("sidecar.istio.io/componentLogLevel", POD, false, Shape::Any),
    ("sidecar.istio.io/discoveryAddress", POD, true, Shape::Any),
    ("sidecar.istio.io/enableCoreDump", POD, false, Shape::Any),
    ("sidecar.istio.io/extraStatTags", POD, true, Shape::Any),
    ("sidecar.istio.io/inject", POD, true, Shape::Any),
    ("sidecar.istio.io/interceptionMode", POD, false, Shape::Mode),
    ("sidecar.istio.io/logLevel", POD, false, Shape::Any),
    ("sidecar.istio.io/nativeSidecar", POD, false, Shape::Any),
    ("sidecar.istio.io/proxyCPU", POD, false, Shape::Any),
    ("sidecar.istio.io/proxyCPULimit", POD, false, Shape::Any),
    ("sidecar.istio.io/proxyImage", POD, false, Shape::Any),
    ("sidecar.istio.io/proxyImageType", POD, false, Shape::Any),
    ("sidecar.istio.io/proxyMemory", POD, false, Shape::Any),
    ("sidecar.istio.io/proxyMemoryLimit", POD, false, Shape::Any),
    (
        "sidecar.istio.io/rewriteAppHTTPProbers",
        POD,
        false,
        Shape::Any,
    ),
    ("sidecar.istio.io/statsCompression", POD, false, Shape::Any),
    (
        "sidecar.istio.io/statsEvictionInterval",
        POD,
        false,
        Shape::Any,
    ),
    (
        "sidecar.istio.io/statsFlushInterval",
        POD,
        false,
        Shape::Any,
    ),
    (
        "sidecar.istio.io/statsHistogramBuckets",
        POD,
        false,
        Shape::Any,
    ),
    (
        "sidecar.istio.io/statsInclusionPrefixes",
        POD,
        true,
        Shape::Any,
    ),
    (
        "sidecar.istio.io/statsInclusionRegexps",
        POD,
        true,
        Shape::Any,
    ),
    (
        "sidecar.istio.io/statsInclusionSuffixes",
        POD,
        true,
        Shape::Any,
    ),
    ("sidecar.istio.io/status", POD, false, Shape::Any),
    ("sidecar.istio.io/userVolume", POD, false, Shape::Any),
    ("sidecar.istio.io/userVolumeMount", POD, false, Shape::Any),
    ("status.sidecar.istio.io/port", POD, false, Shape::Port),
    (
        "topology.istio.io/controlPlaneClusters",
        &["Namespace"],
        false,
        Shape::Any,
    ),
    ("traffic.istio.io/nodeSelector", SERVICE, false, Shape::Any),
    (
        "traffic.sidecar.istio.io/excludeInboundPorts",
        POD,
        false,
        Shape::Ports,
    ),
    (
        "traffic.sidecar.istio.io/excludeInterfaces",
        POD,
        false,
        Shape::Any,
    ),
    (
        "traffic.sidecar.istio.io/excludeOutboundIPRanges",
        POD,
        false,
        Shape::Ranges,
    ),
    (
        "traffic.sidecar.istio.io/excludeOutboundPorts",
        POD,
        false,
        Shape::Ports,
    ),
    (
        "traffic.sidecar.istio.io/includeInboundPorts",
        POD,
        false,
        Shape::PortsOrAll,
    ),
    (
        "traffic.sidecar.istio.io/includeOutboundIPRanges",
        POD,
        false,
        Shape::RangesOrAll,
    ),
    (
        "traffic.sidecar.istio.io/includeOutboundPorts",
        POD,
        false,
        Shape::Any,
    ),
    (
        "traffic.sidecar.istio.io/kubevirtInterfaces",
        POD,
        true,
        Shape::Any,
    ),
];

pub fn annotations(world: &World) -> Vec<Finding> {
    let mut out = Vec::new();
    for namespace in world.namespaces.values() {
        check(Kind::Namespace, &namespace.meta, &mut out);
    }
    for service in world.own_services() {
        check(Kind::Service, &service.object.meta, &mut out);
    }
    for pod in world.own_pods() {
        check(Kind::Pod, &pod.object.meta, &mut out);
    }
    for deployment in &world.deployments {
        check(Kind::Deployment, &deployment.meta, &mut out);
    }
    out
}

fn is_istios(name: &str) -> bool {
    let group = name.split('/').next().unwrap_or_default();
    name == "kubernetes.io/ingress.class" || group.ends_with("istio.io")
}

fn check(kind: Kind, meta: &Meta, out: &mut Vec<Finding>) {
    for (name, value) in meta.annotations.iter().filter(|(name, _)| is_istios(name)) {
        let path = entry("metadata.annotations", name);
        let found =
            |code, message: String| Finding::new(code, on(kind, meta), path.clone(), message);
        let row = ANNOTATIONS.binary_search_by(|row| row.0.cmp(name.as_str()));
        let Some(&(_, kinds, deprecated, shape)) = row.ok().and_then(|i| ANNOTATIONS.get(i)) else {
            let names: Vec<&str> = ANNOTATIONS.iter().map(|row| row.0).collect();
            let help = match nearest(name, &names) {
                Some(near) => format!("did you mean {near}?"),
                None => "it has no effect; remove it".to_owned(),
            };
            let message = format!("annotation {name} is not one of Istio's");
            out.push(found(UNKNOWN_ANNOTATION, message).help(help));
            continue;
        };
        // Who has the label as well knows, and keeps the annotation for older versions.
        if deprecated && !(name == INJECT && meta.labels.contains_key(INJECT)) {
            let message = format!("annotation {name} is deprecated");
            let help = match name.as_str() {
                INJECT => "use the label of the same name",
                "traffic.sidecar.istio.io/kubevirtInterfaces" => {
                    "use istio.io/reroute-virtual-interfaces"
                }
                "sidecar.istio.io/discoveryAddress" => {
                    "use discoveryAddress in annotation proxy.istio.io/config"
                }
                _ => "use proxyStatsMatcher or extraStatTags in annotation proxy.istio.io/config",
            };
            out.push(found(DEPRECATED_ANNOTATION, message).help(help));
        }
        if !kinds.is_empty() && !kinds.contains(&kind.info().name) {
            let of = kinds.join(" or ");
            let message = format!("annotation {name} has an effect on a {of} only");
            let help = if kinds == POD && kind == Kind::Deployment {
                "move it to spec.template.metadata.annotations".to_owned()
            } else {
                format!("move it to the {of}")
            };
            out.push(found(MISPLACED_ANNOTATION, message).help(help));
        } else if let Some((why, help)) = wrong(shape, value) {
            let message = format!("annotation {name}: {why}");
            out.push(found(INVALID_ANNOTATION, message).help(help));
        }
    }
}

/// Why a value is not one, and what to write (Istio `inject.AnnotationValidation`).
fn wrong(shape: Shape, value: &str) -> Option<(String, &'static str)> {
    let all_or = |list: Option<(String, &'static str)>| if value == "*" { None } else { list };
    match shape {
        Shape::Any => None,
        Shape::Mode => (!["REDIRECT", "TPROXY", "NONE"].contains(&value)).then(|| {
            (
                format!("unknown mode {}", shown(value)),
                "use REDIRECT, TPROXY or NONE",
            )
        }),
        Shape::Port => bad_port(value).then(|| not_a_port(value)),
        Shape::Number => value.parse::<u32>().is_err().then(|| {
            (
                format!("{} is no number", shown(value)),
                "write a whole number",
            )
        }),
        Shape::Bool => {
            // What strconv.ParseBool takes.
            let known = [
                "1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False",
            ];
            (!known.contains(&value)).then(|| {
                (
                    format!("{} is neither true nor false", shown(value)),
                    "write true or false",
                )
            })
        }
        Shape::Ranges => bad_range(value),
        Shape::RangesOrAll => all_or(bad_range(value)),
        Shape::Ports => bad_ports(value),
        Shape::PortsOrAll => all_or(bad_ports(value)),
        Shape::ProxyConfig => bad_proxy_config(value),
    }
}

fn shown(value: &str) -> String {
    let short: String = value.chars().take(60).collect();
    format!("\"{short}\"")
}

fn bad_port(text: &str) -> bool {
    let text = text.trim();
    // Go's ParseUint takes no sign.
    text.starts_with('+') || text.parse::<u16>().is_err()
}

fn not_a_port(text: &str) -> (String, &'static str) {
    (
        format!("{} is no port", shown(text)),
        "write a number from 0 to 65535",
    )
}

fn bad_ports(list: &str) -> Option<(String, &'static str)> {
    let list = list.trim();
    let mut ports = list.split(',').filter(|_| !list.is_empty());
    ports.find(|port| bad_port(port)).map(not_a_port)
}

fn bad_range(list: &str) -> Option<(String, &'static str)> {
    let is_range = |text: &&str| {
        let Some((address, bits)) = text.split_once('/') else {
            return false;
        };
        let most = match address.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => 32,
            Ok(IpAddr::V6(_)) => 128,
            Err(_) => return false,
        };
        let plain = bits == "0" || !bits.starts_with(['0', '+']);
        plain && bits.parse::<u8>().is_ok_and(|bits| bits <= most)
    };
    let mut ranges = list.split(',').filter(|_| !list.is_empty());
    let bad = ranges.find(|text| !is_range(text))?;
    Some((
        format!("{} is no address range", shown(bad)),
        "write ranges such as 10.0.0.0/8, separated by commas and without spaces",
    ))
}

/// The largest annotation that is read, in bytes.
const LARGEST: usize = 256 << 10;

fn bad_proxy_config(text: &str) -> Option<(String, &'static str)> {
    let help = "write it as defaultConfig in MeshConfig, for example concurrency: 2";
    if text.len() > LARGEST {
        return Some((format!("longer than {LARGEST} bytes"), help));
    }
    if text.trim().is_empty() {
        return None;
    }
    let Some(value) = yaml(text) else {
        return Some(("not YAML".to_owned(), help));
    };
    let (config, faults) = read::<ProxyDefaults>(value);
    if let Some(fault) = faults.iter().find(|fault| !fault.harmless()) {
        return Some((fault.to_string(), help));
    }
    let port = |name: &str, number: i32| {
        (!(0..=65535).contains(&number)).then(|| {
            (
                format!("{name}: {number} is no port"),
                "write a number from 1 to 65535",
            )
        })
    };
    port("proxyAdminPort", config.proxy_admin_port)
        .or_else(|| port("statusPort", config.status_port))
        .or_else(|| {
            let drain = config.drain_duration?;
            (drain.nanos() <= 0).then(|| {
                (
                    "drainDuration must be more than nothing".to_owned(),
                    "write a duration such as 45s",
                )
            })
        })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_table_is_in_order() {
        assert!(super::ANNOTATIONS.is_sorted_by(|a, b| a.0 < b.0));
    }
}
