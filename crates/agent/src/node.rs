//! What the proxy tells control planes about itself: the metadata of its node.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

/// The version of Istio whose behaviour we follow, which tools compare.
const ISTIO_VERSION: &str = "1.31.0";
const TEXT_PREFIX: &str = "ISTIO_META_";
const JSON_PREFIX: &str = "ISTIO_METAJSON_";
/// The largest downward-API file read, in bytes.
const LIMIT: usize = 1024 * 1024;

/// The pod's labels and annotations, from the downward API's files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodInfo {
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

/// Why a downward-API file could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}: {reason}")]
pub struct PodInfoError {
    path: PathBuf,
    reason: String,
}

impl PodInfo {
    /// Reads `labels` and `annotations` in a directory; a file that is not there is empty, as on a machine
    /// outside Kubernetes.
    pub fn read(directory: &Path) -> Result<PodInfo, PodInfoError> {
        let read = |name: &str| {
            let path = directory.join(name);
            match std::fs::read(&path) {
                Ok(text) if text.len() <= LIMIT => Ok(downward(&String::from_utf8_lossy(&text))),
                Ok(text) => Err(PodInfoError {
                    path,
                    reason: format!("it has {} bytes", text.len()),
                }),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
                Err(error) => Err(PodInfoError {
                    path,
                    reason: error.to_string(),
                }),
            }
        };
        Ok(PodInfo {
            labels: read("labels")?,
            annotations: read("annotations")?,
        })
    }
}

/// Parses `key="value"` lines, the value quoted as Go does (which for these is as JSON does).
fn downward(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| {
        let (key, quoted) = line.split_once('=')?;
        let value =
            serde_json::from_str(quoted).unwrap_or_else(|_| quoted.trim_matches('"').to_owned());
        Some((key.to_owned(), value))
    });
    pairs.collect()
}

/// The node's metadata: `ISTIO_META_X` becomes `X`, `ISTIO_METAJSON_X` its parsed value, and what the
/// pod says about itself comes under the names that Istio uses.
pub fn metadata(
    environment: &BTreeMap<String, String>,
    proxy_config: &Map<String, Value>,
    pod: &PodInfo,
    address: IpAddr,
) -> Map<String, Value> {
    let mut out = Map::new();
    for (name, value) in environment {
        if let Some(key) = name.strip_prefix(TEXT_PREFIX) {
            out.insert(key.to_owned(), json!(value));
        } else if let Some(key) = name.strip_prefix(JSON_PREFIX)
            && let Ok(value) = serde_json::from_str::<Value>(value)
        {
            out.insert(key.to_owned(), value);
        }
    }
    for (key, variable) in [
        ("NAME", "POD_NAME"),
        ("NAMESPACE", "POD_NAMESPACE"),
        ("SERVICE_ACCOUNT", "SERVICE_ACCOUNT"),
    ] {
        if let Some(value) = environment.get(variable) {
            out.insert(key.to_owned(), json!(value));
        }
    }
    out.insert("INSTANCE_IPS".to_owned(), json!(address.to_string()));
    out.insert("ISTIO_VERSION".to_owned(), json!(ISTIO_VERSION));
    out.insert("LABELS".to_owned(), json!(pod.labels));
    let mut annotations = pod.annotations.clone();
    // Kept out of every discovery request: nobody reads it, and it may be the whole manifest.
    annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    out.insert("ANNOTATIONS".to_owned(), json!(annotations));
    if !proxy_config.is_empty() {
        out.insert(
            "PROXY_CONFIG".to_owned(),
            Value::Object(proxy_config.clone()),
        );
    }
    // A sidecar of a pod that uses several networks says which one it is in by the pod's label.
    if let Some(network) = pod.labels.get("topology.istio.io/network") {
        out.insert("NETWORK".to_owned(), json!(network));
    }
    out
}

/// The service's name in logs and traces: `APP.NAMESPACE`, or the workload's name instead of the label's.
pub fn service_cluster(pod: &PodInfo, workload: Option<&str>, namespace: &str) -> String {
    let name = pod
        .labels
        .get("app")
        .map(String::as_str)
        .or(workload)
        .unwrap_or("istio-proxy");
    format!("{name}.{namespace}")
}

/// Region, zone and subzone from the label `topology.istio.io/locality`, else `istio-locality` (dots or slashes between
/// them).
pub fn locality(pod: &PodInfo) -> [String; 3] {
    let label = ["topology.istio.io/locality", "istio-locality"]
        .into_iter()
        .find_map(|key| pod.labels.get(key))
        .map(String::as_str)
        .unwrap_or_default();
    let separator = if label.contains('/') { '/' } else { '.' };
    let mut parts = label.splitn(3, separator).map(str::to_owned);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::{PodInfo, downward, locality, metadata};
    use serde_json::{Map, json};
    use std::collections::BTreeMap;

    #[test]
    fn downward_files() {
        let parsed =
            downward("app=\"reviews\"\nnote=\"a \\\"b\\\"\\nc\"\nodd=\"\\x07\"\nnothing\n");
        let expected = [("app", "reviews"), ("note", "a \"b\"\nc"), ("odd", "\\x07")];
        assert_eq!(
            parsed,
            expected
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into()
        );
    }

    #[test]
    fn metadata_and_locality() {
        let mut pod = PodInfo {
            labels: [
                ("istio-locality", "r/z.1/s"),
                ("topology.istio.io/network", "n2"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
            annotations: BTreeMap::new(),
        };
        let environment = [
            ("POD_NAME", "p"),
            ("ISTIO_META_CLUSTER_ID", "c1"),
            ("ISTIO_META_NETWORK", "n1"),
            ("ISTIO_METAJSON_X", "{\"a\":1}"),
            ("ISTIO_METAJSON_BAD", "{"),
            ("PATH", "/bin"),
        ];
        let environment = environment
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        let metadata = metadata(&environment, &Map::new(), &pod, [10, 1, 0, 5].into());
        assert_eq!(
            json!(metadata),
            json!({
                "NAME": "p", "CLUSTER_ID": "c1", "NETWORK": "n2", "X": {"a": 1}, "INSTANCE_IPS": "10.1.0.5",
                "ISTIO_VERSION": "1.31.0", "ANNOTATIONS": {},
                "LABELS": {"istio-locality": "r/z.1/s", "topology.istio.io/network": "n2"},
            })
        );
        assert_eq!(locality(&pod), ["r", "z.1", "s"]);
        pod.labels
            .insert("topology.istio.io/locality".to_owned(), "r2.z2".to_owned());
        assert_eq!(locality(&pod), ["r2", "z2", ""]);
    }
}
