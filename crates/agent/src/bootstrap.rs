//! Pure: the configuration becomes Envoy's bootstrap, with the names that Istio's has.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::config::Config;

const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
/// Connections and requests that the control plane's cluster allows: enough never to matter.
const PLENTY: u32 = 100_000;

/// Statistics that are kept, by the start of their names. Readiness, draining and operators need them;
/// everything else would cost memory for each of the mesh's clusters.
const KEPT_PREFIXES: &[&str] = &[
    "cluster_manager",
    "listener_manager",
    "server",
    "cluster.xds-grpc",
    "cluster.sds-grpc",
    "sds.",
    "component",
    "istio",
];
/// Statistics that are kept, by the end of their names.
const KEPT_SUFFIXES: &[&str] = &[
    "rbac.allowed",
    "rbac.denied",
    "shadow_allowed",
    "shadow_denied",
    "downstream_cx_active",
    "downstream_cx_total",
    "downstream_rq_total",
    "upstream_cx_total",
    "upstream_cx_connect_fail",
    "upstream_rq_total",
    "upstream_rq_5xx",
    "ssl.handshake",
    "ssl.connection_error",
    "ssl.fail_verify_san",
    "ssl.fail_verify_error",
    "ssl.fail_verify_no_cert",
    "ssl_context_update_by_sds",
];

/// The bootstrap of one Envoy.
pub fn bootstrap(config: &Config) -> Value {
    json!({
        "node": node(config),
        "layered_runtime": {"layers": [
            {"name": "global config", "static_layer": runtime(config)},
            {"name": "admin", "admin_layer": {}},
        ]},
        "stats_config": {
            "use_all_default_tags": false,
            "stats_tags": stats_tags(),
            "stats_matcher": {"inclusion_list": {"patterns": kept(config)}},
        },
        // Without a limit Envoy warns; the pod's own limits are the ones that count.
        "overload_manager": {"resource_monitors": [{
            "name": "envoy.resource_monitors.global_downstream_max_connections",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                "max_active_downstream_connections": i32::MAX,
            },
        }]},
        "admin": {
            "address": socket("127.0.0.1", config.ports.admin),
        },
        "dynamic_resources": {
            "lds_config": ads_source(),
            "cds_config": ads_source(),
            "ads_config": {
                "api_type": if config.delta { "DELTA_GRPC" } else { "GRPC" },
                "set_node_on_first_message_only": true,
                "transport_api_version": "V3",
                // Envoy's own limit of 30 s would keep a proxy waiting long after the control plane is back.
                "grpc_services": [{"envoy_grpc": {
                    "cluster_name": "xds-grpc",
                    "retry_policy": {"retry_back_off": {"base_interval": "0.250s", "max_interval": "5s"}},
                }}],
            },
        },
        "static_resources": {
            "clusters": [
                local_http("prometheus_stats", config.ports.admin),
                local_http("agent", config.ports.status),
                pipe("sds-grpc", &config.sds_socket()),
                pipe("xds-grpc", &config.xds_socket()),
            ],
            "listeners": [
                listener("stats", config.ports.statistics, "/stats/prometheus", "prometheus_stats"),
                listener("agent", config.ports.readiness, "/healthz/ready", "agent"),
            ],
        },
    })
}

fn node(config: &Config) -> Value {
    let mut node = json!({
        "id": config.node_id(),
        "cluster": config.service_cluster,
        "metadata": config.metadata,
    });
    let parts = ["region", "zone", "sub_zone"]
        .into_iter()
        .zip(&config.locality);
    let locality: Map<String, Value> = parts
        .filter(|(_, part)| !part.is_empty())
        .map(|(name, part)| (name.to_owned(), json!(part)))
        .collect();
    if !locality.is_empty() {
        node["locality"] = Value::Object(locality);
    }
    node
}

fn runtime(config: &Config) -> Value {
    let mut values = Map::new();
    values.insert("re2.max_program_size.error_level".to_owned(), json!(32768));
    // A path with a fragment is passed on without it, as Istio does, rather than refused.
    values.insert(
        "envoy.reloadable_features.http_reject_path_with_fragment".to_owned(),
        json!(false),
    );
    for (name, value) in &config.runtime {
        match value.as_str() {
            // The empty text unsets a default.
            Some("") => {
                values.remove(name);
            }
            _ => {
                values.insert(name.clone(), value.clone());
            }
        }
    }
    Value::Object(values)
}

fn stats_tags() -> Value {
    let tags = [
        (
            "cluster_name",
            "^cluster\\.((.+?(\\..+?\\.svc\\.cluster\\.local)?)\\.)",
        ),
        ("tcp_prefix", "^tcp\\.((.*?)\\.)\\w+?$"),
        ("response_code", "_rq(_(\\d{3}))$"),
        ("response_code_class", "_rq(_(\\dxx))$"),
        (
            "http_conn_manager_prefix",
            "^http\\.(((?:[_.[:digit:]]*|[_\\[\\]aAbBcCdDeEfF[:digit:]]*))\\.)",
        ),
        (
            "listener_address",
            "^listener\\.(((?:[_.[:digit:]]*|[_\\[\\]aAbBcCdDeEfF[:digit:]]*))\\.)",
        ),
        ("authz_enforce_result", "rbac(\\.(allowed|denied))"),
        ("authz_dry_run_action", "(\\.istio_dry_run_(allow|deny)_)"),
        ("authz_dry_run_result", "(\\.shadow_(allowed|denied))"),
    ];
    tags.into_iter()
        .map(|(name, regex)| json!({"tag_name": name, "regex": regex}))
        .collect()
}

/// The statistics to keep: ours, and those the pod's annotations add.
fn kept(config: &Config) -> Vec<Value> {
    let annotations = config.metadata.get("ANNOTATIONS");
    let added = |name: &str| {
        let list =
            annotations.and_then(|all| all.get(format!("sidecar.istio.io/{name}"))?.as_str());
        let items = list
            .unwrap_or_default()
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty());
        items.map(str::to_owned).collect::<Vec<_>>()
    };
    let ours = |list: &[&str]| {
        list.iter()
            .map(|item| (*item).to_owned())
            .collect::<Vec<_>>()
    };
    let mut patterns = Vec::new();
    for prefix in [ours(KEPT_PREFIXES), added("statsInclusionPrefixes")].concat() {
        patterns.push(json!({"prefix": prefix}));
    }
    for suffix in [ours(KEPT_SUFFIXES), added("statsInclusionSuffixes")].concat() {
        patterns.push(json!({"suffix": suffix}));
    }
    let mut regexes = added("statsInclusionRegexps");
    // Statistics of virtual services that name a statPrefix.
    regexes.push("vhost\\..*\\.route\\..*".to_owned());
    for regex in regexes {
        patterns.push(json!({"safe_regex": {"regex": regex}}));
    }
    patterns
}

fn ads_source() -> Value {
    json!({"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"})
}

fn socket(address: &str, port: u16) -> Value {
    json!({"socket_address": {"protocol": "TCP", "address": address, "port_value": port}})
}

fn cluster(name: &str, address: Value) -> Value {
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "lb_policy": "ROUND_ROBIN",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    })
}

fn local_http(name: &str, port: u16) -> Value {
    cluster(name, socket("127.0.0.1", port))
}

/// A cluster that speaks HTTP/2 over a Unix socket.
fn pipe(name: &str, path: &Path) -> Value {
    let mut out = cluster(name, json!({"pipe": {"path": path.to_string_lossy()}}));
    out["typed_extension_protocol_options"] = json!({HTTP_OPTIONS: {
        "@type": format!("type.googleapis.com/{HTTP_OPTIONS}"),
        "explicit_http_config": {"http2_protocol_options": {}},
    }});
    let limits = |priority: &str| json!({"priority": priority, "max_connections": PLENTY, "max_pending_requests": PLENTY, "max_requests": PLENTY});
    out["circuit_breakers"] = json!({"thresholds": [limits("DEFAULT"), limits("HIGH")]});
    out
}

/// A listener that passes one path on and knows no other.
fn listener(name: &str, port: u16, path: &str, to: &str) -> Value {
    json!({
        "name": name,
        "address": socket("0.0.0.0", port),
        "filter_chains": [{"filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "codec_type": "AUTO",
                "stat_prefix": name,
                "route_config": {"virtual_hosts": [{
                    "name": "backend",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": path}, "route": {"cluster": to}}],
                }]},
                "http_filters": [{
                    "name": "envoy.filters.http.router",
                    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
                }],
            },
        }]}],
    })
}
