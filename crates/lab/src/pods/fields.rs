//! Pure: what a pod may learn of itself (the downward API).

use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// What only the node knows of a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Placed {
    /// The pod's address.
    pub(crate) pod_ip: String,
    /// The node's address.
    pub(crate) host_ip: String,
    /// Processors of the node.
    pub(crate) cpus: u64,
    /// Memory of the node, bytes.
    pub(crate) memory: u64,
}

/// The value of a `fieldRef`; the error is what Kubernetes puts in the container's state.
/// (<https://kubernetes.io/docs/concepts/workloads/pods/downward-api/>)
pub(crate) fn field(pod: &Pod, placed: &Placed, path: &str) -> Result<String, String> {
    let meta = &pod.metadata;
    let spec = pod.spec.as_ref();
    if let Some((map, key)) = path
        .strip_suffix("']")
        .and_then(|rest| rest.split_once("['"))
    {
        let values = match map {
            "metadata.labels" => &meta.labels,
            "metadata.annotations" => &meta.annotations,
            _ => return Err(unsupported(path)),
        };
        return Ok(values
            .as_ref()
            .and_then(|values| values.get(key))
            .cloned()
            .unwrap_or_default());
    }
    let or_empty = |value: Option<&String>| value.cloned().unwrap_or_default();
    Ok(match path {
        "metadata.name" => or_empty(meta.name.as_ref()),
        "metadata.namespace" => or_empty(meta.namespace.as_ref()),
        "metadata.uid" => or_empty(meta.uid.as_ref()),
        "metadata.labels" => lines(meta.labels.as_ref()),
        "metadata.annotations" => lines(meta.annotations.as_ref()),
        "spec.nodeName" => or_empty(spec.and_then(|spec| spec.node_name.as_ref())),
        "spec.serviceAccountName" => or_empty(spec.and_then(|spec| {
            spec.service_account_name
                .as_ref()
                .or(spec.service_account.as_ref())
        })),
        "status.hostIP" | "status.hostIPs" => placed.host_ip.clone(),
        "status.podIP" | "status.podIPs" => placed.pod_ip.clone(),
        _ => return Err(unsupported(path)),
    })
}

fn unsupported(path: &str) -> String {
    format!("fieldPath {path:?} is not a field that pods can learn")
}

/// Labels or annotations as a downward API file holds them: `key="escaped value"` by key.
fn lines(map: Option<&std::collections::BTreeMap<String, String>>) -> String {
    let lines = map
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", quote(value)));
    lines.collect::<Vec<_>>().join("\n")
}

/// As Go's `%q` does for what occurs in annotations.
fn quote(value: &str) -> String {
    let mut out = String::from('"');
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The value of a `resourceFieldRef` in units of its divisor, rounded up. A limit that is not set is
/// what the node has; a request that is not set is 0.
pub(crate) fn resource(
    containers: &[Container],
    own: Option<&Container>,
    placed: &Placed,
    selector: &ResourceFieldSelector,
) -> Result<String, String> {
    let container = match selector.container_name.as_deref() {
        Some(name) if !name.is_empty() => containers
            .iter()
            .find(|container| container.name == name)
            .ok_or_else(|| format!("resourceFieldRef: no container named {name:?}"))?,
        _ => own.ok_or("resourceFieldRef: containerName is required in a volume")?,
    };
    let (kind, name) = selector.resource.split_once('.').unwrap_or(("", ""));
    let resources = container.resources.as_ref();
    let set = match kind {
        "limits" => resources.and_then(|r| r.limits.as_ref()),
        "requests" => resources.and_then(|r| r.requests.as_ref()),
        _ => {
            return Err(format!(
                "resourceFieldRef: resource {:?} is not known",
                selector.resource
            ));
        }
    };
    let value = match set.and_then(|set| set.get(name)) {
        Some(quantity) => milli(quantity)?,
        None => match (kind, name) {
            ("limits", "cpu") => i128::from(placed.cpus) * 1000,
            ("limits", "memory") => i128::from(placed.memory) * 1000,
            _ => 0,
        },
    };
    let divisor = match &selector.divisor {
        Some(quantity) if !matches!(quantity.0.as_str(), "" | "0") => milli(quantity)?,
        _ => 1000,
    };
    if divisor <= 0 {
        return Err("resourceFieldRef: divisor must be above 0".to_string());
    }
    Ok(((value + divisor - 1) / divisor).to_string())
}

/// A quantity in thousandths.
fn milli(quantity: &Quantity) -> Result<i128, String> {
    let text = quantity.0.trim();
    let bad = || format!("quantity {text:?} cannot be read");
    let split = text
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-')))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(split);
    let factor: i128 = match suffix {
        "m" => 1,
        "" => 1000,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "T" => 1_000_000_000_000_000,
        "Ki" => 1000 << 10,
        "Mi" => 1000 << 20,
        "Gi" => 1000 << 30,
        "Ti" => 1000 << 40,
        _ => return Err(bad()),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.len() > 9 {
        return Err(bad());
    }
    let digits: i128 = format!("{whole}{fraction}")
        .parse::<i64>()
        .map_err(|_| bad())?
        .into();
    Ok(digits * factor / 10i128.pow(u32::try_from(fraction.len()).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json};

    fn pod() -> Pod {
        from_value(json!({
            "metadata": {"name": "p", "namespace": "n", "labels": {"b": "2", "a": "x\"y\n"}},
            "spec": {"nodeName": "node", "containers": [
                {"name": "c", "resources": {"limits": {"cpu": "1500m"}, "requests": {"memory": "64Mi"}}},
                {"name": "d"}
            ]}
        }))
        .expect("a pod")
    }

    #[test]
    fn fields() {
        let placed = Placed {
            pod_ip: "10.1.0.2".into(),
            host_ip: "172.30.0.11".into(),
            cpus: 2,
            memory: 1 << 30,
        };
        let cases = [
            ("metadata.name", Ok("p")),
            ("metadata.labels", Ok("a=\"x\\\"y\\n\"\nb=\"2\"")),
            ("metadata.labels['b']", Ok("2")),
            ("metadata.annotations['none']", Ok("")),
            ("spec.nodeName", Ok("node")),
            ("status.podIP", Ok("10.1.0.2")),
            ("status.hostIP", Ok("172.30.0.11")),
            (
                "status.phase",
                Err("fieldPath \"status.phase\" is not a field that pods can learn"),
            ),
        ];
        for (path, expected) in cases {
            assert_eq!(
                field(&pod(), &placed, path),
                expected.map(String::from).map_err(String::from),
                "{path}"
            );
        }
    }

    #[test]
    fn resources() {
        let placed = Placed {
            cpus: 2,
            memory: 1 << 30,
            ..Placed::default()
        };
        let containers = pod().spec.expect("spec").containers;
        let cases = [
            ("c", "limits.cpu", "", "2"),
            ("c", "limits.cpu", "1m", "1500"),
            ("c", "requests.memory", "1Mi", "64"),
            ("d", "limits.cpu", "", "2"),
            ("d", "limits.memory", "1Mi", "1024"),
            ("d", "requests.cpu", "", "0"),
        ];
        for (container, resource_name, divisor, expected) in cases {
            let selector = ResourceFieldSelector {
                container_name: Some(container.into()),
                resource: resource_name.into(),
                divisor: (!divisor.is_empty()).then(|| Quantity(divisor.into())),
            };
            let value = resource(&containers, None, &placed, &selector);
            assert_eq!(
                value.as_deref(),
                Ok(expected),
                "{container} {resource_name} {divisor}"
            );
        }
        for bad in ["x", "1X", "1.0000000001", "99999999999999999999"] {
            assert!(milli(&Quantity(bad.into())).is_err(), "{bad}");
        }
    }
}
