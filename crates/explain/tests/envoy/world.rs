//! The mesh that every case starts from, and a proxy's resources in it.

use std::net::IpAddr;

use anyhow::{Result, bail, ensure};
use hawser_api::mesh::MeshConfig;
use hawser_api::validate::{Severity, validate};
use hawser_api::{Change, Event, Resource, SourceId};
use hawser_lower::{Lowerer, Settings};
use hawser_model::{ClusterId, Snapshot};
use hawser_proto::envoy::config::core::v3::{DataSource, Node, data_source};
use hawser_proto::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, Secret, TlsCertificate, secret,
};
use hawser_proto::type_url;
use hawser_translate::Resources;
use prost::Message;
use serde_json::json;

use crate::ads;
use crate::certificates::{Authority, Pair};
use crate::net::POD;

/// Which proxy is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The sidecar of `web`, calling others.
    Client,
    /// The same, called by others.
    Server,
    /// A gateway.
    Gateway,
}

/// Services: name, namespace, address, ports (`name:port`), and pods: address, version, whether it has a sidecar.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static [(&'static str, &'static str, bool)],
);

const SERVICES: &[Row] = &[
    (
        "reviews",
        "default",
        "10.96.0.9",
        &["http:9080"],
        &[
            ("10.1.0.11", "v1", true),
            ("10.1.0.12", "v2", true),
            ("10.1.0.13", "v3", false),
        ],
    ),
    (
        "ratings",
        "default",
        "10.96.0.10",
        &["http:9080", "http-admin:9090"],
        &[("10.1.0.21", "v1", false), ("10.1.0.22", "v2", false)],
    ),
    (
        "db",
        "default",
        "10.96.0.20",
        &["tcp-db:3306"],
        &[("10.1.0.31", "v1", true), ("10.1.0.32", "v2", false)],
    ),
    (
        "sniffed",
        "default",
        "10.96.0.25",
        &["anything:7000"],
        &[("10.1.0.35", "v1", false)],
    ),
    (
        "rpc",
        "default",
        "10.96.0.30",
        &["grpc:9000"],
        &[("10.1.0.36", "v1", true)],
    ),
    (
        "tls",
        "default",
        "10.96.0.31",
        &["https:443"],
        &[("10.1.0.37", "v1", false)],
    ),
    (
        "vault",
        "other",
        "10.96.0.40",
        &["http:9080", "tcp:3306"],
        &[("10.1.0.41", "v1", true)],
    ),
    (
        "plain",
        "other",
        "10.96.0.41",
        &["http:9080"],
        &[("10.1.0.42", "v1", false)],
    ),
    (
        "authz",
        "default",
        "10.96.0.60",
        &["http:8000"],
        &[("10.1.0.61", "v1", false)],
    ),
    ("empty", "default", "10.96.0.70", &["http:9080"], &[]),
];
const WEB: Row = (
    "web",
    "default",
    "10.96.0.2",
    &["http:9080", "tcp-bytes:9000", "anything:9091"],
    &[(POD, "v1", true)],
);
const GATEWAY: Row = (
    "gateway",
    "istio-system",
    "10.96.0.3",
    &["http2:80", "https:443", "tls:15443", "tcp:31400"],
    &[(POD, "v1", false)],
);

/// The address of a service by a name that its clients may use.
pub fn address(host: &str) -> Option<IpAddr> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let named = |(name, namespace, ..): &&Row| {
        let full = format!("{name}.{namespace}.svc.cluster.local");
        host == *name
            || host == format!("{name}.{namespace}")
            || host == format!("{name}.{namespace}.svc")
            || host == full
    };
    SERVICES.iter().chain([&WEB]).find(named)?.2.parse().ok()
}

fn objects(row: &Row) -> Vec<serde_json::Value> {
    let (name, namespace, ip, ports, pods) = row;
    let gateway = *name == "gateway";
    let labels = |version: &str| {
        if gateway {
            json!({"istio": "ingressgateway"})
        } else {
            json!({"app": name, "version": version})
        }
    };
    let port = |text: &&str| {
        let (name, port) = text.split_once(':').unwrap_or((text, "0"));
        let port: u16 = port.parse().unwrap_or(0);
        let target = match port {
            80 if gateway => 8080,
            443 if gateway => 8443,
            other => other,
        };
        // The name "anything" leaves the protocol open.
        let name = if name == "anything" { "any" } else { name };
        (
            json!({"name": name, "port": port, "targetPort": target}),
            json!({"name": name, "port": target, "protocol": "TCP"}),
        )
    };
    let (service_ports, slice_ports): (Vec<_>, Vec<_>) = ports.iter().map(port).unzip();
    let selector = if gateway {
        json!({"istio": "ingressgateway"})
    } else {
        json!({"app": name})
    };
    let mut out = vec![
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
               "spec": {"clusterIP": ip, "clusterIPs": [ip], "selector": selector, "ports": service_ports}}),
    ];
    let mut endpoints = Vec::new();
    for (ip, version, sidecar) in *pods {
        let pod = format!("{name}-{version}");
        let mut labels = labels(version);
        if *sidecar {
            labels["security.istio.io/tlsMode"] = json!("istio");
        }
        out.push(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod, "namespace": namespace, "labels": labels},
            "spec": {"serviceAccountName": name, "containers": [{"name": "app", "image": "app"}]},
            "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": [{"type": "Ready", "status": "True"}]}}));
        endpoints.push(json!({"addresses": [ip], "conditions": {"ready": true}, "targetRef": {"kind": "Pod", "name": pod, "namespace": namespace}}));
    }
    out.push(json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "ports": slice_ports, "endpoints": endpoints,
        "metadata": {"name": format!("{name}-1"), "namespace": namespace, "labels": {"kubernetes.io/service-name": name}}}));
    out
}

/// The world's objects.
pub fn base(side: Side) -> Result<Vec<Resource>> {
    let own = if side == Side::Gateway {
        &GATEWAY
    } else {
        &WEB
    };
    let all = SERVICES.iter().chain([own]).flat_map(objects);
    all.map(|o| Ok(hawser_api::parse(o)?.resource)).collect()
}

/// Objects of YAML, each of which must be valid.
pub fn read(yaml: &str) -> Result<Vec<Resource>> {
    let manifest = hawser_api::manifest::read("case", yaml.as_bytes());
    ensure!(manifest.errors.is_empty(), "{:?}", manifest.errors);
    manifest
        .docs
        .into_iter()
        .filter(|d| !d.value.is_null())
        .map(|d| Ok(hawser_api::parse(d.value)?.resource))
        .collect()
}

/// The mesh of these objects.
pub fn snapshot(objects: Vec<Resource>, mesh_config: &str) -> Result<std::sync::Arc<Snapshot>> {
    let doc = hawser_api::manifest::read("mesh", mesh_config.as_bytes())
        .docs
        .into_iter()
        .find(|d| !d.value.is_null());
    let (mesh_config, faults) = doc
        .map(|d| MeshConfig::from_value(d.value))
        .unwrap_or_default();
    ensure!(faults.is_empty(), "{faults:?}");
    let mut lowerer = Lowerer::with_settings(Settings {
        mesh_config,
        ..Settings::new(ClusterId::new("c1"))
    });
    for resource in objects {
        lowerer.apply(Change {
            source: SourceId::new("c1"),
            version: None,
            event: Event::Apply(resource),
        });
    }
    Ok(lowerer.snapshot())
}

/// What the proxy of that side is given.
pub fn resources(side: Side, snapshot: &Snapshot, metadata: &str) -> Result<Resources> {
    let (id, labels, namespace, account) = match side {
        Side::Gateway => (
            format!("router~{POD}~gateway-v1.istio-system~istio-system.svc.cluster.local"),
            json!({"istio": "ingressgateway"}),
            "istio-system",
            "gateway",
        ),
        _ => (
            format!("sidecar~{POD}~web-v1.default~default.svc.cluster.local"),
            json!({"app": "web", "version": "v1"}),
            "default",
            "web",
        ),
    };
    let mut meta = json!({"CLUSTER_ID": "c1", "NAMESPACE": namespace, "SERVICE_ACCOUNT": account, "LABELS": labels});
    if !metadata.is_empty() {
        let more: serde_json::Map<String, serde_json::Value> = serde_json::from_str(metadata)?;
        more.into_iter().for_each(|(k, v)| meta[k] = v);
    }
    let node = hawser_proto::json::parse(
        "envoy.config.core.v3.Node",
        &json!({"id": id, "metadata": meta}),
    )?;
    let proxy = hawser_translate::node::proxy(&Node::decode(node.encode_to_vec().as_slice())?)?;
    Ok(hawser_translate::translate(snapshot, &proxy).0)
}

/// The same as Envoy is served it, with the secrets that it asks for.
pub fn served(side: Side, resources: &Resources, authority: &Authority) -> Result<ads::Resources> {
    let all = [
        &resources.clusters,
        &resources.endpoints,
        &resources.listeners,
        &resources.routes,
        &resources.extensions,
    ];
    let entry = |r: &std::sync::Arc<hawser_translate::Resource>| {
        (
            (r.any.type_url.clone(), r.name.to_string()),
            r.any.value.clone(),
        )
    };
    let mut out: ads::Resources = all
        .into_iter()
        .flat_map(|kind| kind.values().map(entry))
        .collect();
    let own = authority.workload(if side == Side::Gateway {
        "istio-system/gateway"
    } else {
        "default/web"
    })?;
    let mut add = |name: &str, kind: secret::Type| {
        let secret = Secret {
            name: name.to_owned(),
            r#type: Some(kind),
        };
        out.insert(
            (type_url::SECRET.to_owned(), name.to_owned()),
            secret.encode_to_vec(),
        );
    };
    add("default", certificate(&own));
    add("ROOTCA", roots(authority));
    // The system's roots, which the agent serves.
    add("file-root:system", roots(authority));
    // One Secret, as Gateways of Istio and of the Gateway API ask for it.
    for scheme in ["kubernetes://", "kubernetes-gateway://istio-system/"] {
        let names = ["shop.example", "*.shop.example"];
        let pair = authority.server(&names)?;
        add(&format!("{scheme}shop"), certificate(&pair));
        add(&format!("{scheme}shop-cacert"), roots(authority));
    }
    Ok(out)
}

fn text(text: &str) -> Option<DataSource> {
    Some(DataSource {
        specifier: Some(data_source::Specifier::InlineString(text.to_owned())),
        ..Default::default()
    })
}

fn certificate(pair: &Pair) -> secret::Type {
    secret::Type::TlsCertificate(TlsCertificate {
        certificate_chain: text(&pair.certificate),
        private_key: text(&pair.key),
        ..Default::default()
    })
}

fn roots(authority: &Authority) -> secret::Type {
    secret::Type::ValidationContext(CertificateValidationContext {
        trusted_ca: text(&authority.root),
        ..Default::default()
    })
}

/// A case's objects must be such as an API server would let in.
pub fn valid(resources: &[Resource]) -> Result<()> {
    for resource in resources {
        let errors: Vec<String> = validate(resource)
            .iter()
            .filter(|f| f.severity == Severity::Error)
            .map(|f| format!("{}: {}", f.path, f.message))
            .collect();
        if !errors.is_empty() {
            bail!("{}", errors.join("; "));
        }
    }
    Ok(())
}
