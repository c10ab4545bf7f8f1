//! Parts of MeshConfig and MeshNetworks that have no effect here: one table, by which users are told and the
//! documentation is made.

use hawser_api::mesh::{MeshConfig, MeshNetworks};
use hawser_api::message::Field;
use serde_json::Value;

use crate::notes::{Notes, UNSUPPORTED};

/// The fields and why; `[]` stands for each item of a list, `{}` for each value of a map. What is below them counts too.
pub const WITHOUT_EFFECT: &[(&str, &str)] = &[
    (
        "mesh.proxyHttpPort",
        "sidecars open no port for an HTTP proxy",
    ),
    (
        "mesh.enableTracing",
        "traces need a provider: name one of extensionProviders in defaultProviders.tracing or a Telemetry",
    ),
    (
        "mesh.enableEnvoyAccessLogService",
        "name a provider of kind envoyHttpAls in defaultProviders.accessLogging",
    ),
    (
        "mesh.disableEnvoyListenerLog",
        "listeners log connections that no chain takes wherever access logs are on",
    ),
    (
        "mesh.configSources",
        "configuration comes from the cluster's API server",
    ),
    (
        "mesh.caCertificates",
        "the roots of the mesh are those of the secret cacerts",
    ),
    (
        "mesh.ca",
        "certificates are signed by the control plane itself",
    ),
    (
        "mesh.inboundClusterStatName",
        "statistics have the names of the clusters",
    ),
    (
        "mesh.outboundClusterStatName",
        "statistics have the names of the clusters",
    ),
    ("mesh.serviceScopeConfigs", "ambient mode is not served"),
    (
        "mesh.serviceEntryVisibility",
        "exportTo of a ServiceEntry says who sees it",
    ),
    (
        "mesh.defaultTrafficPolicy.loadBalancer",
        "connectionPool and outlierDetection alone have defaults for the mesh",
    ),
    (
        "mesh.defaultTrafficPolicy.tls",
        "connectionPool and outlierDetection alone have defaults for the mesh",
    ),
    (
        "mesh.defaultTrafficPolicy.portLevelSettings",
        "connectionPool and outlierDetection alone have defaults for the mesh",
    ),
    (
        "mesh.defaultTrafficPolicy.tunnel",
        "connectionPool and outlierDetection alone have defaults for the mesh",
    ),
    (
        "mesh.defaultTrafficPolicy.proxyProtocol",
        "connectionPool and outlierDetection alone have defaults for the mesh",
    ),
    (
        "mesh.defaultTrafficPolicy.retryBudget",
        "connectionPool and outlierDetection alone have defaults for the mesh",
    ),
    (
        "mesh.defaultTrafficPolicy.outlierDetection.consecutiveErrors",
        "removed from Istio; use consecutive5xxErrors",
    ),
    (
        "mesh.meshMTLS.ecdhCurves",
        "curves within the mesh are Envoy's own",
    ),
    (
        "mesh.verifyCertificateAtClient",
        "a DestinationRule says by which roots a server is checked",
    ),
    ("mesh.thriftConfig", "removed from Istio"),
    ("mesh.certificates", "removed from Istio"),
    ("mesh.hboneIdleTimeout", "ambient mode is not served"),
    ("mesh.extensionProviders[].lightstep", "use opentelemetry"),
    (
        "mesh.extensionProviders[].stackdriver",
        "only Istio's own proxy has it",
    ),
    (
        "mesh.extensionProviders[].opencensus",
        "Envoy dropped it; use opentelemetry",
    ),
    (
        "mesh.extensionProviders[].sds",
        "gateways' certificates come from Secrets",
    ),
    (
        "mesh.extensionProviders[].opentelemetry.serviceAttributeEnrichment",
        "spans carry the attributes of Envoy alone",
    ),
    (
        "mesh.extensionProviders[].zipkin.headers[].envName",
        "write the header's value",
    ),
    (
        "mesh.extensionProviders[].opentelemetry.dynatraceSampler.httpService.http.headers[].envName",
        "write the header's value",
    ),
    (
        "mesh.extensionProviders[].opentelemetry.http.headers[].envName",
        "write the header's value",
    ),
    (
        "mesh.extensionProviders[].opentelemetry.grpc.initialMetadata[].envName",
        "write the header's value",
    ),
    (
        "mesh.defaultConfig.configPath",
        "the agent chooses its own paths",
    ),
    (
        "mesh.defaultConfig.binaryPath",
        "the agent is told by --envoy or ENVOY_PATH",
    ),
    (
        "mesh.defaultConfig.serviceCluster",
        "the cluster of the node is the workload and its namespace",
    ),
    (
        "mesh.defaultConfig.tracingServiceName",
        "spans have the canonical name and namespace",
    ),
    (
        "mesh.defaultConfig.drainDuration",
        "terminationDrainDuration says how long connections may take to end",
    ),
    (
        "mesh.defaultConfig.statsdUdpAddress",
        "an EnvoyFilter with applyTo: BOOTSTRAP can add a stats sink",
    ),
    (
        "mesh.defaultConfig.controlPlaneAuthPolicy",
        "the control plane is always spoken to by mutual TLS",
    ),
    (
        "mesh.defaultConfig.customConfigFile",
        "sidecar.istio.io/bootstrapOverride names a file of one's own",
    ),
    ("mesh.defaultConfig.statNameLength", "removed from Envoy"),
    (
        "mesh.defaultConfig.proxyBootstrapTemplatePath",
        "sidecar.istio.io/bootstrapOverride names a file of one's own",
    ),
    (
        "mesh.defaultConfig.interceptionMode",
        "the annotation sidecar.istio.io/interceptionMode says it of a pod",
    ),
    (
        "mesh.defaultConfig.tracing.zipkin",
        "traces need a provider in extensionProviders",
    ),
    (
        "mesh.defaultConfig.tracing.lightstep",
        "traces need a provider in extensionProviders",
    ),
    (
        "mesh.defaultConfig.tracing.datadog",
        "traces need a provider in extensionProviders",
    ),
    (
        "mesh.defaultConfig.tracing.stackdriver",
        "traces need a provider in extensionProviders",
    ),
    (
        "mesh.defaultConfig.tracing.openCensusAgent",
        "traces need a provider in extensionProviders",
    ),
    (
        "mesh.defaultConfig.tracing.tlsSettings",
        "a DestinationRule says how the collector is spoken to",
    ),
    (
        "mesh.defaultConfig.tracing.enableIstioTags",
        "a Telemetry says it: tracing[].enableIstioTags",
    ),
    (
        "mesh.defaultConfig.envoyAccessLogService",
        "name a provider of kind envoyHttpAls",
    ),
    (
        "mesh.defaultConfig.envoyMetricsService",
        "an EnvoyFilter with applyTo: BOOTSTRAP can add a stats sink",
    ),
    (
        "mesh.defaultConfig.extraStatTags",
        "tags are those of the bootstrap",
    ),
    (
        "mesh.defaultConfig.readinessProbe",
        "the kubelet asks the agent at 15021",
    ),
    (
        "mesh.defaultConfig.proxyStatsMatcher",
        "the annotations sidecar.istio.io/statsInclusion… say it of a pod",
    ),
    (
        "mesh.defaultConfig.holdApplicationUntilProxyStarts",
        "sidecar.istio.io/nativeSidecar: \"true\" starts the proxy first",
    ),
    (
        "mesh.defaultConfig.caCertificatesPem",
        "the roots of the mesh are those of the secret cacerts",
    ),
    (
        "mesh.defaultConfig.privateKeyProvider",
        "only Envoy's own handshakes are there",
    ),
    (
        "mesh.defaultConfig.proxyHeaders",
        "an EnvoyFilter can change the headers that proxies add",
    ),
    (
        "mesh.defaultConfig.fileFlushInterval",
        "logs are flushed every second",
    ),
    (
        "mesh.defaultConfig.fileFlushMinSizeKb",
        "logs are flushed every second",
    ),
    (
        "mesh.defaultConfig.statsCompression",
        "statistics are served as asked for",
    ),
    (
        "mesh.defaultConfig.statsEvictionInterval",
        "statistics are kept",
    ),
    (
        "mesh.defaultConfig.connectionSettings",
        "an EnvoyFilter can change the limits of connections",
    ),
    ("mesh.defaultConfig.sds", "removed from Istio"),
    ("mesh.defaultConfig.zipkinAddress", "removed from Istio"),
    (
        "mesh.defaultConfig.availabilityZone",
        "the locality is that of the node",
    ),
    (
        "mesh.defaultConfig.parentShutdownDuration",
        "there is no hot restart",
    ),
    (
        "mesh.defaultConfig.connectTimeout",
        "connectTimeout of the mesh holds",
    ),
    (
        "meshNetworks.networks{}.gateways[].locality",
        "not used by Istio either",
    ),
];

/// Tells of each such field that is set.
pub fn tell(config: &MeshConfig, networks: &MeshNetworks, notes: &mut Notes<'_>) {
    let (config, networks) = (config.write(), networks.write());
    for (path, why) in WITHOUT_EFFECT {
        let mut words = path.splitn(2, '.');
        let root = match words.next() {
            Some("mesh") => &config,
            _ => &networks,
        };
        // Of providers without effect each is named where it is lowered.
        let named = path.matches('.').count() == 2 && path.contains("extensionProviders[]");
        if !named && words.next().is_some_and(|rest| is_set(root, rest)) {
            notes.warn(UNSUPPORTED, *path, "has no effect", *why);
        }
    }
}

fn is_set(value: &Value, path: &str) -> bool {
    let (word, rest) = path.split_once('.').unwrap_or((path, ""));
    let name = word.trim_end_matches("[]").trim_end_matches("{}");
    let Some(inner) = value.get(name) else {
        return false;
    };
    let below = |v: &Value| rest.is_empty() || is_set(v, rest);
    match inner {
        Value::Array(items) if word.ends_with("[]") => items.iter().any(below),
        Value::Object(values) if word.ends_with("{}") => values.values().any(below),
        inner => below(inner),
    }
}
