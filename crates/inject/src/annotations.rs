//! The annotations that the injector honours: one table, so that what is unknown or wrong can be named.

use serde_json::{Map, Value};

use crate::names::annotation;
use crate::settings::Settings;

/// The longest value of an annotation that is parsed as JSON or YAML, in bytes.
const PARSED_LIMIT: usize = 64 * 1024;

/// Prefixes of annotations that are addressed to the injector or the agent.
const OURS: [&str; 6] = [
    "sidecar.istio.io/",
    "traffic.sidecar.istio.io/",
    "status.sidecar.istio.io/",
    "readiness.status.sidecar.istio.io/",
    "inject.istio.io/",
    "proxy.istio.io/",
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Text,
    Boolean,
    Number,
    Port,
    Ports,
    PortsOrAll,
    Ranges,
    RangesOrAll,
    Quantity,
    JsonObject,
    YamlObject,
    OneOf(&'static [&'static str]),
}

/// Every annotation that has an effect here, and what its value must be.
const KNOWN: &[(&str, Shape)] = &[
    (
        "inject.istio.io/templates",
        Shape::OneOf(&["sidecar", "gateway"]),
    ),
    ("istio.io/reroute-virtual-interfaces", Shape::Text),
    ("prometheus.istio.io/merge-metrics", Shape::Boolean),
    ("proxy.istio.io/config", Shape::YamlObject),
    (
        "readiness.status.sidecar.istio.io/failureThreshold",
        Shape::Number,
    ),
    (
        "readiness.status.sidecar.istio.io/initialDelaySeconds",
        Shape::Number,
    ),
    (
        "readiness.status.sidecar.istio.io/periodSeconds",
        Shape::Number,
    ),
    ("sidecar.istio.io/agentLogLevel", Shape::Text),
    ("sidecar.istio.io/bootstrapOverride", Shape::Text),
    ("sidecar.istio.io/componentLogLevel", Shape::Text),
    ("sidecar.istio.io/discoveryAddress", Shape::Text),
    ("sidecar.istio.io/extraStatTags", Shape::Text),
    ("sidecar.istio.io/inject", Shape::Text),
    (
        "sidecar.istio.io/interceptionMode",
        Shape::OneOf(&["REDIRECT", "NONE"]),
    ),
    ("sidecar.istio.io/logLevel", Shape::Text),
    ("sidecar.istio.io/nativeSidecar", Shape::Boolean),
    ("sidecar.istio.io/proxyCPU", Shape::Quantity),
    ("sidecar.istio.io/proxyCPULimit", Shape::Quantity),
    ("sidecar.istio.io/proxyImage", Shape::Text),
    ("sidecar.istio.io/proxyImageType", Shape::Text),
    ("sidecar.istio.io/proxyMemory", Shape::Quantity),
    ("sidecar.istio.io/proxyMemoryLimit", Shape::Quantity),
    ("sidecar.istio.io/statsInclusionPrefixes", Shape::Text),
    ("sidecar.istio.io/statsInclusionRegexps", Shape::Text),
    ("sidecar.istio.io/statsInclusionSuffixes", Shape::Text),
    ("sidecar.istio.io/status", Shape::Text),
    ("sidecar.istio.io/userVolume", Shape::JsonObject),
    ("sidecar.istio.io/userVolumeMount", Shape::JsonObject),
    ("status.sidecar.istio.io/port", Shape::Port),
    ("traffic.sidecar.istio.io/excludeInboundPorts", Shape::Ports),
    ("traffic.sidecar.istio.io/excludeInterfaces", Shape::Text),
    (
        "traffic.sidecar.istio.io/excludeOutboundIPRanges",
        Shape::Ranges,
    ),
    (
        "traffic.sidecar.istio.io/excludeOutboundPorts",
        Shape::Ports,
    ),
    (
        "traffic.sidecar.istio.io/includeInboundPorts",
        Shape::PortsOrAll,
    ),
    (
        "traffic.sidecar.istio.io/includeOutboundIPRanges",
        Shape::RangesOrAll,
    ),
    (
        "traffic.sidecar.istio.io/includeOutboundPorts",
        Shape::Ports,
    ),
    ("traffic.sidecar.istio.io/kubevirtInterfaces", Shape::Text),
];

/// The pod's annotations that are valid, and a warning for each that has no effect.
pub struct Annotations<'a> {
    pod: &'a Value,
    refused: Vec<&'a str>,
    /// One line per annotation that has no effect, naming it and the way out.
    pub warnings: Vec<String>,
}

impl<'a> Annotations<'a> {
    pub fn of(pod: &'a Value) -> Annotations<'a> {
        let mut read = Annotations {
            pod,
            refused: Vec::new(),
            warnings: Vec::new(),
        };
        let all = pod
            .pointer("/metadata/annotations")
            .and_then(Value::as_object);
        for (name, value) in all.into_iter().flatten() {
            let value = value.as_str().unwrap_or("");
            match KNOWN.binary_search_by(|(known, _)| (*known).cmp(name.as_str())) {
                Ok(index) => {
                    if let Some((_, shape)) = KNOWN.get(index)
                        && let Some(expected) = wrong(*shape, value)
                    {
                        read.refused.push(name);
                        let shown: String = value.chars().take(60).collect();
                        read.warnings.push(format!(
                            "annotation {name}: {shown:?} is not {expected}; it has no effect"
                        ));
                    }
                }
                Err(_) if OURS.iter().any(|prefix| name.starts_with(prefix)) => {
                    read.warnings.push(format!(
                        "annotation {name} is not known here and has no effect"
                    ));
                }
                Err(_) => {}
            }
        }
        read
    }

    /// The value of an annotation of the table, unless it is absent or wrong.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        annotation(self.pod, name).filter(|_| !self.refused.contains(&name))
    }

    pub fn get_or<'b>(&self, name: &str, default: &'b str) -> &'b str
    where
        'a: 'b,
    {
        self.get(name).unwrap_or(default)
    }

    pub fn is_true(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }

    /// Whether the application's metrics are served beside the proxy's.
    pub fn merges_metrics(&self, settings: &Settings) -> bool {
        match self.get("prometheus.istio.io/merge-metrics") {
            Some(said) => said != "false",
            None => settings.prometheus_merge,
        }
    }

    pub fn number(&self, name: &str, default: u32) -> u32 {
        self.get(name)
            .and_then(|value| value.parse().ok())
            .unwrap_or(default)
    }

    /// An annotation whose value is a JSON or YAML object.
    pub fn object(&self, name: &str) -> Map<String, Value> {
        self.get(name).and_then(yaml_object).unwrap_or_default()
    }
}

/// What a value should have been, if it is wrong.
fn wrong(shape: Shape, value: &str) -> Option<&'static str> {
    let items = || {
        value
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
    };
    let port = |item: &str| item.parse::<u16>().is_ok_and(|port| port != 0);
    let range = |item: &str| {
        let (address, length) = item.split_once('/').unwrap_or((item, "0"));
        let most = match address.parse::<std::net::IpAddr>() {
            Ok(std::net::IpAddr::V4(_)) => 32,
            Ok(std::net::IpAddr::V6(_)) => 128,
            Err(_) => return false,
        };
        length.parse::<u8>().is_ok_and(|length| length <= most)
    };
    let (right, expected) = match shape {
        Shape::Text => (true, ""),
        Shape::Boolean => (matches!(value, "true" | "false"), "true or false"),
        Shape::Number => (value.parse::<u32>().is_ok(), "a whole number"),
        Shape::Port => (value.parse::<u16>().is_ok(), "a port"),
        Shape::Ports => (items().all(port), "a list of ports separated by commas"),
        Shape::PortsOrAll => (
            value == "*" || items().all(port),
            "\"*\" or a list of ports separated by commas",
        ),
        Shape::Ranges => (
            items().all(range),
            "a list of CIDR ranges separated by commas",
        ),
        Shape::RangesOrAll => (
            value == "*" || items().all(range),
            "\"*\" or a list of CIDR ranges separated by commas",
        ),
        Shape::Quantity => (quantity(value), "a quantity such as 100m or 128Mi"),
        Shape::JsonObject => (
            serde_json::from_str::<Map<String, Value>>(value).is_ok(),
            "a JSON object",
        ),
        Shape::YamlObject => (yaml_object(value).is_some(), "a YAML or JSON object"),
        Shape::OneOf(choices) => (choices.contains(&value), choices_text(choices)),
    };
    (!right).then_some(expected)
}

fn choices_text(choices: &[&str]) -> &'static str {
    match choices {
        ["REDIRECT", "NONE"] => "REDIRECT or NONE",
        _ => "sidecar or gateway",
    }
}

/// A Kubernetes quantity: digits, perhaps a fraction, perhaps a unit.
fn quantity(value: &str) -> bool {
    let unit =
        value.trim_start_matches(|character: char| character.is_ascii_digit() || character == '.');
    let number = value.strip_suffix(unit).unwrap_or("");
    let units = ["", "m", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti"];
    number.parse::<f64>().is_ok() && units.contains(&unit)
}

fn yaml_object(value: &str) -> Option<Map<String, Value>> {
    if value.len() > PARSED_LIMIT {
        return None;
    }
    match serde_saphyr::from_str::<Value>(value).ok()? {
        Value::Object(object) => Some(object),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_table_is_sorted() {
        assert!(super::KNOWN.is_sorted_by(|a, b| a.0 < b.0));
    }
}
