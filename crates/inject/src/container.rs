//! The two containers: the one that redirects the pod's traffic, and the agent with its proxy.

use serde_json::{Map, Value, json};

use crate::annotations::Annotations;
use crate::names::{self, PROXY, containers, label, text};
use crate::proxy_config;
use crate::settings::Settings;
use crate::volumes;

/// The user and group of the proxy, whose own traffic is not captured.
const PROXY_USER: u32 = 1337;
/// The ports that are never captured: Envoy's statistics and readiness, and the agent's status.
const NEVER_CAPTURED: [&str; 3] = ["15090", "15021", "15020"];

/// What a pod is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Template {
    /// A sidecar beside an application, with its traffic captured.
    Sidecar,
    /// A gateway: the proxy is the application.
    Gateway,
}

/// The container that redirects the pod's traffic; its arguments are those of `istio-iptables`.
pub fn init(annotations: &Annotations, settings: &Settings) -> Value {
    let traffic = |name: &str, default: &str| {
        annotations
            .get_or(&format!("traffic.sidecar.istio.io/{name}"), default)
            .to_owned()
    };
    let mut excluded: Vec<String> = NEVER_CAPTURED.map(str::to_owned).to_vec();
    let status_port = annotations.get_or("status.sidecar.istio.io/port", "15020");
    let more = traffic("excludeInboundPorts", "");
    for port in std::iter::once(status_port)
        .chain(more.split(','))
        .map(str::trim)
    {
        if !port.is_empty() && port != "0" && !excluded.iter().any(|known| known == port) {
            excluded.push(port.to_owned());
        }
    }
    let mut args: Vec<String> = Vec::new();
    let mut flag = |name: &str, value: String| args.extend([name.to_owned(), value]);
    flag("-p", "15001".to_owned());
    flag("-z", "15006".to_owned());
    flag("-u", PROXY_USER.to_string());
    flag("-m", "REDIRECT".to_owned());
    flag("-i", traffic("includeOutboundIPRanges", "*"));
    flag("-x", traffic("excludeOutboundIPRanges", ""));
    flag("-b", traffic("includeInboundPorts", "*"));
    flag("-d", excluded.join(","));
    let virtual_interfaces = annotations
        .get("istio.io/reroute-virtual-interfaces")
        .or_else(|| annotations.get("traffic.sidecar.istio.io/kubevirtInterfaces"));
    for (name, value) in [
        ("-q", traffic("includeOutboundPorts", "")),
        ("-o", traffic("excludeOutboundPorts", "")),
        ("-c", traffic("excludeInterfaces", "")),
        ("-k", virtual_interfaces.unwrap_or("").to_owned()),
    ] {
        if !value.is_empty() {
            flag(name, value);
        }
    }
    json!({
        "name": "istio-init",
        "image": settings.init_image,
        "imagePullPolicy": settings.image_pull_policy,
        "args": args,
        "env": [env("ISTIO_META_DNS_CAPTURE", &settings.dns_capture.to_string())],
        "resources": resources(annotations),
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "privileged": false,
            "capabilities": {"add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"]},
            "readOnlyRootFilesystem": false,
            "runAsGroup": 0,
            "runAsNonRoot": false,
            "runAsUser": 0,
        },
    })
}

/// The agent's container.
pub fn proxy(
    pod: &Value,
    namespace: &str,
    template: Template,
    annotations: &Annotations,
    settings: &Settings,
) -> Value {
    let role = match template {
        Template::Sidecar => "sidecar",
        Template::Gateway => "router",
    };
    let config = proxy_config::effective(pod, namespace, annotations, settings);
    let kind = annotations.get("sidecar.istio.io/proxyImageType");
    let image = match annotations.get("sidecar.istio.io/proxyImage") {
        Some(image) => image.to_owned(),
        None => proxy_config::image(&settings.proxy_image, &config, kind),
    };
    let domain = format!("$(POD_NAMESPACE).svc.{}", settings.cluster_domain);
    let log_level = annotations.get_or("sidecar.istio.io/logLevel", "warning");
    let components = annotations.get_or("sidecar.istio.io/componentLogLevel", "misc:error");
    let agent_level = annotations.get_or("sidecar.istio.io/agentLogLevel", "default:info");
    let mut container = json!({
        "name": PROXY,
        "image": image,
        "imagePullPolicy": settings.image_pull_policy,
        "args": [
            "proxy", role, "--domain", domain,
            format!("--proxyLogLevel={log_level}"),
            format!("--proxyComponentLogLevel={components}"),
            format!("--log_output_level={agent_level}"),
        ],
        "ports": [{"containerPort": 15090, "protocol": "TCP", "name": "http-envoy-prom"}],
        "env": environment(pod, namespace, template, annotations, settings, config),
        "resources": resources(annotations),
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "privileged": false,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": true,
            "runAsGroup": PROXY_USER,
            "runAsNonRoot": true,
            "runAsUser": PROXY_USER,
        },
        "volumeMounts": volumes::mounts(annotations),
    });
    if annotations.get("status.sidecar.istio.io/port") != Some("0") {
        let readiness = |name: &str, default| {
            annotations.number(
                &format!("readiness.status.sidecar.istio.io/{name}"),
                default,
            )
        };
        container["readinessProbe"] = json!({
            "httpGet": {"path": "/healthz/ready", "port": 15021},
            "initialDelaySeconds": readiness("initialDelaySeconds", 1),
            "periodSeconds": readiness("periodSeconds", 15),
            "failureThreshold": readiness("failureThreshold", 4),
            "timeoutSeconds": 3,
        });
        container["startupProbe"] = json!({
            "httpGet": {"path": "/healthz/ready", "port": 15021},
            "periodSeconds": 1,
            "failureThreshold": 600,
            "timeoutSeconds": 3,
        });
    }
    container
}

fn environment(
    pod: &Value,
    namespace: &str,
    template: Template,
    annotations: &Annotations,
    settings: &Settings,
    mut proxy_config: Map<String, Value>,
) -> Vec<Value> {
    let workload = names::workload(pod);
    let discovery = annotations
        .get("sidecar.istio.io/discoveryAddress")
        .map(str::to_owned);
    let discovery = discovery
        .or_else(|| {
            proxy_config
                .get("discoveryAddress")
                .and_then(Value::as_str)
                .map(str::to_owned)
        })
        .unwrap_or_else(|| settings.discovery_address.clone());
    proxy_config.insert(
        "discoveryAddress".to_owned(),
        Value::String(discovery.clone()),
    );
    let metadata = match proxy_config.get("proxyMetadata") {
        Some(Value::Object(metadata)) => metadata.clone(),
        _ => Map::new(),
    };
    let network = label(pod, "topology.istio.io/network").unwrap_or(&settings.network);
    let mesh = if settings.mesh_id.is_empty() {
        &settings.trust_domain
    } else {
        &settings.mesh_id
    };

    let mut out = vec![
        env("PILOT_CERT_PROVIDER", "istiod"),
        env("CA_ADDR", &discovery),
        field("POD_NAME", "metadata.name"),
        field("POD_NAMESPACE", "metadata.namespace"),
        field("INSTANCE_IP", "status.podIP"),
        field("SERVICE_ACCOUNT", "spec.serviceAccountName"),
        field("HOST_IP", "status.hostIP"),
        env("PROXY_CONFIG", &Value::Object(proxy_config).to_string()),
        env("TRUST_DOMAIN", &settings.trust_domain),
        env(
            "ISTIO_META_POD_PORTS",
            &Value::Array(pod_ports(pod)).to_string(),
        ),
        env(
            "ISTIO_META_APP_CONTAINERS",
            &application_containers(pod).join(","),
        ),
        env("ISTIO_META_CLUSTER_ID", &settings.cluster_id),
        field("ISTIO_META_NODE_NAME", "spec.nodeName"),
        env("ISTIO_META_DNS_CAPTURE", &settings.dns_capture.to_string()),
        env("ISTIO_META_WORKLOAD_NAME", &workload.name),
        env("ISTIO_META_OWNER", &workload.owner(namespace)),
        env("ISTIO_META_MESH_ID", mesh),
    ];
    match template {
        Template::Sidecar => {
            let mode = annotations.get_or("sidecar.istio.io/interceptionMode", "REDIRECT");
            out.push(env("ISTIO_META_INTERCEPTION_MODE", mode));
        }
        Template::Gateway => out.push(env("ISTIO_META_UNPRIVILEGED_POD", "true")),
    }
    if !network.is_empty() {
        out.push(env("ISTIO_META_NETWORK", network));
    }
    if annotations
        .get("sidecar.istio.io/bootstrapOverride")
        .is_some()
    {
        out.push(env(
            "ISTIO_BOOTSTRAP_OVERRIDE",
            "/etc/istio/custom-bootstrap/custom_bootstrap.json",
        ));
    }
    if let Some(scrape) = prometheus_of_application(pod, annotations, settings) {
        out.push(env("ISTIO_PROMETHEUS_ANNOTATIONS", &scrape.to_string()));
    }
    for (name, value) in metadata {
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        out.retain(|known| text(known, "/name") != name);
        out.push(env(&name, &value));
    }
    out
}

/// Where the application's own metrics are, for the agent to merge with Envoy's.
fn prometheus_of_application(
    pod: &Value,
    annotations: &Annotations,
    settings: &Settings,
) -> Option<Value> {
    if !annotations.merges_metrics(settings) {
        return None;
    }
    let value = |name: &str| names::annotation(pod, &format!("prometheus.io/{name}"));
    (value("scrape") == Some("true")).then(|| {
        json!({
            "scrape": "true",
            "path": value("path").unwrap_or("/metrics"),
            "port": value("port").unwrap_or("80"),
        })
    })
}

fn application_containers(pod: &Value) -> Vec<&str> {
    containers(pod)
        .iter()
        .map(|container| text(container, "/name"))
        .filter(|name| *name != PROXY)
        .collect()
}

fn pod_ports(pod: &Value) -> Vec<Value> {
    let ports = containers(pod)
        .iter()
        .filter_map(|container| container.get("ports")?.as_array());
    ports.flatten().cloned().collect()
}

fn resources(annotations: &Annotations) -> Value {
    let amount = |name: &str| annotations.get(&format!("sidecar.istio.io/proxy{name}"));
    // As Kubernetes does, a limit alone also is the request, so no default request stands beside one.
    let default = |limit: &str, value| Some(value).filter(|_| amount(limit).is_none());
    let given = |pairs: [(&str, Option<&str>); 2]| -> Map<String, Value> {
        let given = pairs
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), json!(value?))));
        given.collect()
    };
    let requests = given([
        ("cpu", amount("CPU").or(default("CPULimit", "10m"))),
        (
            "memory",
            amount("Memory").or(default("MemoryLimit", "40Mi")),
        ),
    ]);
    let limits = given([
        ("cpu", amount("CPULimit")),
        ("memory", amount("MemoryLimit")),
    ]);
    let mut out = Map::new();
    for (name, list) in [("requests", requests), ("limits", limits)] {
        if !list.is_empty() {
            out.insert(name.to_owned(), Value::Object(list));
        }
    }
    Value::Object(out)
}

fn env(name: &str, value: &str) -> Value {
    json!({"name": name, "value": value})
}

fn field(name: &str, path: &str) -> Value {
    json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}})
}
