//! `/ready`, `/metrics` and `/debug/…` on the monitoring port.
//!
//! `/debug` shows the configuration of the whole mesh, so it answers callers on loopback, and others only with a token of a
//! service account of the system namespace (what Istio's debug port gave away is CVE-2026-31838).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use axum::Router;
use axum::extract::{ConnectInfo, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hawser_model::endpoint::Address;
use hawser_model::{Endpoint, Proxy, Snapshot, Str};
use hawser_serve::auth::TokenReviewer;
use hawser_serve::board::StreamStatus;
use hawser_serve::stream::TypeStatus;
use hawser_serve::{Board, Kind, View};
use prometheus_client::registry::Registry;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use crate::writer::Published;

/// What the handlers read.
#[derive(Clone)]
pub struct Monitor {
    /// What is served.
    pub published: watch::Receiver<Option<Published>>,
    /// Who is connected.
    pub board: Board,
    /// Counters.
    pub registry: Arc<Registry>,
    /// Checks tokens of callers from elsewhere.
    pub reviewer: Arc<dyn TokenReviewer>,
    /// Whose service accounts may ask.
    pub system_namespace: Arc<str>,
}

/// All paths of the monitoring port.
pub fn router(monitor: Monitor) -> Router {
    let debug = Router::new()
        .route("/debug", get(list))
        .route("/debug/list", get(list))
        .route("/debug/syncz", get(syncz))
        .route("/debug/config_dump", get(config_dump))
        .route("/debug/endpointShardz", get(endpoint_shards))
        .route("/debug/problems", get(problems))
        .route("/debug/version", get(version))
        .route_layer(middleware::from_fn_with_state(monitor.clone(), guard));
    Router::new()
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .merge(debug)
        .with_state(monitor)
}

async fn guard(State(monitor): State<Monitor>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    if peer.is_some_and(|p| p.0.ip().is_loopback()) {
        return next.run(request).await;
    }
    let header = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|v| v.to_str().ok());
    let Some(token) = header.and_then(|h| h.strip_prefix("Bearer ")) else {
        let hint = "ask from the control plane's own machine, or with a token of its namespace for audience istio-ca\n";
        return (StatusCode::UNAUTHORIZED, hint).into_response();
    };
    match monitor.reviewer.review(token, None).await {
        Ok((namespace, _)) if *namespace == *monitor.system_namespace => next.run(request).await,
        Ok((namespace, name)) => {
            let text = format!(
                "service account {namespace}/{name} is not of {}\n",
                monitor.system_namespace
            );
            (StatusCode::FORBIDDEN, text).into_response()
        }
        Err(error) => (StatusCode::UNAUTHORIZED, format!("{error}\n")).into_response(),
    }
}

async fn list() -> impl IntoResponse {
    axum::Json(json!([
        "/debug/config_dump?proxyID=NAME.NAMESPACE",
        "/debug/endpointShardz",
        "/debug/problems",
        "/debug/syncz",
        "/debug/version"
    ]))
}

async fn ready(State(monitor): State<Monitor>) -> impl IntoResponse {
    match monitor.published.borrow().is_some() {
        true => (StatusCode::OK, "ready\n"),
        false => (
            StatusCode::SERVICE_UNAVAILABLE,
            "waiting for the first complete view of the cluster\n",
        ),
    }
}

async fn metrics(State(monitor): State<Monitor>) -> Response {
    let mut text = String::new();
    if let Err(error) = prometheus_client::encoding::text::encode(&mut text, &monitor.registry) {
        return (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response();
    }
    if let Some(published) = &*monitor.published.borrow() {
        let n = published.snapshot.problems.len();
        let line = format!(
            "# HELP hawser_problems Problems of the configuration.\n# TYPE hawser_problems gauge\nhawser_problems {n}\n"
        );
        text = text.replace("# EOF\n", &(line + "# EOF\n"));
    }
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}

/// Who has what: Istio's keys, and for each type the number of the snapshot sent and acknowledged.
async fn syncz(State(monitor): State<Monitor>) -> impl IntoResponse {
    let newest = monitor
        .published
        .borrow()
        .as_ref()
        .map_or(0, |p| p.view.sequence);
    let streams = monitor.board.streams().await;
    axum::Json(
        streams
            .iter()
            .map(|s| sync_status(s, newest))
            .collect::<Vec<_>>(),
    )
}

fn sync_status(stream: &StreamStatus, newest: u64) -> Value {
    let proxy = &stream.proxy;
    let kind = |k: Kind| stream.kinds.get(&k);
    let sent = |k: Kind| kind(k).map_or("", |s| s.nonce_sent.as_str());
    let acked = |k: Kind| kind(k).map_or("", |s| s.nonce_acked.as_str());
    let up_to_date = !stream.kinds.is_empty() && stream.kinds.values().all(|s| s.acked >= newest);
    json!({
        "cluster_id": proxy.cluster.as_str(),
        "proxy": format!("{}.{}", proxy.name, proxy.namespace),
        "proxy_type": match proxy.kind {
            hawser_model::ProxyKind::Sidecar => "sidecar",
            hawser_model::ProxyKind::Router => "router",
            hawser_model::ProxyKind::Waypoint => "waypoint",
        },
        "istio_version": &*proxy.version,
        "connected_since": stream.connected.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()),
        "cluster_sent": sent(Kind::Cluster), "cluster_acked": acked(Kind::Cluster),
        "listener_sent": sent(Kind::Listener), "listener_acked": acked(Kind::Listener),
        "route_sent": sent(Kind::Route), "route_acked": acked(Kind::Route),
        "endpoint_sent": sent(Kind::Endpoint), "endpoint_acked": acked(Kind::Endpoint),
        "up_to_date": up_to_date,
        "snapshot": newest,
        "types": stream.kinds.iter().map(|(k, s)| (k.short().to_owned(), type_status(s, newest))).collect::<Map<_, _>>(),
    })
}

fn type_status(s: &TypeStatus, newest: u64) -> Value {
    let state = match (&s.rejected, s.acked >= newest) {
        (Some(_), _) => "NACK",
        (None, true) => "SYNCED",
        (None, false) => "STALE",
    };
    json!({
        "state": state, "sent": s.sent, "acked": s.acked, "resources": s.n_resources,
        "nacks": s.n_rejected, "error": s.rejected,
    })
}

/// Which versions of its sources the newest snapshot contains.
async fn version(State(monitor): State<Monitor>) -> impl IntoResponse {
    let published = monitor.published.borrow();
    let Some(published) = &*published else {
        return axum::Json(Value::Null);
    };
    let version = &published.snapshot.version;
    let mut sources: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for ((cluster, kind), resource_version) in &version.sources {
        sources
            .entry(cluster.as_str())
            .or_default()
            .insert(kind.to_string(), json!(&**resource_version));
    }
    let stale: Vec<&str> = version
        .stale
        .iter()
        .map(hawser_model::ClusterId::as_str)
        .collect();
    axum::Json(json!({ "snapshot": published.view.sequence, "sources": sources, "stale": stale }))
}

async fn problems(State(monitor): State<Monitor>) -> impl IntoResponse {
    let published = monitor.published.borrow();
    let all = published
        .as_ref()
        .map(|p| Arc::clone(&p.snapshot.problems))
        .unwrap_or_default();
    let one = |p: &hawser_model::Problem| {
        json!({
            "code": p.code,
            "severity": format!("{:?}", p.severity),
            "object": { "kind": &*p.object.kind, "namespace": &*p.object.namespace, "name": &*p.object.name },
            "field": p.field, "message": p.message, "help": p.help,
        })
    };
    axum::Json(all.iter().map(one).collect::<Vec<_>>())
}

async fn config_dump(
    State(monitor): State<Monitor>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let Some(wanted) = query.get("proxyID") else {
        return (
            StatusCode::BAD_REQUEST,
            "proxyID=NAME.NAMESPACE is needed; /debug/syncz lists who is connected\n",
        )
            .into_response();
    };
    let streams = monitor.board.streams().await;
    let is_wanted =
        |p: &Proxy| format!("{}.{}", p.name, p.namespace) == *wanted || *p.id == **wanted;
    let Some(stream) = streams.iter().find(|s| is_wanted(&s.proxy)) else {
        return (
            StatusCode::NOT_FOUND,
            format!("no proxy {wanted} is connected; /debug/syncz lists who is\n"),
        )
            .into_response();
    };
    let view = monitor.published.borrow().as_ref().map(|p| p.view.clone());
    let Some(view) = view else {
        return (StatusCode::SERVICE_UNAVAILABLE, "nothing is served yet\n").into_response();
    };
    let proxy = Arc::clone(&stream.proxy);
    match tokio::task::spawn_blocking(move || dump(&view, &proxy)).await {
        Ok(dump) => axum::Json(dump).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// In the form of Envoy's own `/config_dump`, so that tools that read the one can read the other.
fn dump(view: &View, proxy: &Proxy) -> Value {
    let all = |kind: Kind| -> Vec<Value> {
        let resources = view.source.resources(proxy, kind, None).all();
        let print = |r: &Arc<hawser_serve::Resource>| match hawser_proto::json::print_any(&r.any) {
            Ok(mut value) => {
                value["@type"] = json!(kind.url());
                (r.name.clone(), value)
            }
            Err(error) => (
                r.name.clone(),
                json!({ "name": &*r.name, "error": error.to_string() }),
            ),
        };
        resources
            .values()
            .map(print)
            .map(|(_, value): (Str, Value)| value)
            .collect()
    };
    let wrap = |key: &str, values: Vec<Value>| -> Vec<Value> {
        let version = view.sequence.to_string();
        values
            .into_iter()
            .map(|v| json!({ "version_info": version, key: v }))
            .collect()
    };
    let listener = |v: Value| json!({ "name": v["name"], "active_state": { "version_info": view.sequence.to_string(), "listener": v } });
    json!({ "configs": [
        { "@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump", "version_info": view.sequence.to_string(),
          "dynamic_active_clusters": wrap("cluster", all(Kind::Cluster)) },
        { "@type": "type.googleapis.com/envoy.admin.v3.EndpointsConfigDump",
          "dynamic_endpoint_configs": wrap("endpoint_config", all(Kind::Endpoint)) },
        { "@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump", "version_info": view.sequence.to_string(),
          "dynamic_listeners": all(Kind::Listener).into_iter().map(listener).collect::<Vec<_>>() },
        { "@type": "type.googleapis.com/envoy.admin.v3.RoutesConfigDump",
          "dynamic_route_configs": wrap("route_config", all(Kind::Route)) },
    ] })
}

async fn endpoint_shards(State(monitor): State<Monitor>) -> impl IntoResponse {
    let snapshot = monitor
        .published
        .borrow()
        .as_ref()
        .map(|p| Arc::clone(&p.snapshot));
    axum::Json(snapshot.map_or(Value::Null, |s| shards(&s)))
}

/// Host, namespace, `Shards`, cluster, endpoints: Istio's shape and keys.
pub fn shards(snapshot: &Snapshot) -> Value {
    let mut hosts: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for (key, set) in snapshot.endpoints.iter() {
        let mut accounts = std::collections::BTreeSet::new();
        let mut by_cluster = Map::new();
        for (cluster, shard) in &set.shards {
            accounts.extend(
                shard
                    .endpoints
                    .iter()
                    .filter_map(|e| e.identity.as_ref())
                    .map(ToString::to_string),
            );
            let endpoints: Vec<Value> = shard.endpoints.iter().map(|e| endpoint(e)).collect();
            let name = format!("Kubernetes/{cluster}");
            by_cluster.insert(name.clone(), json!(endpoints));
            if let Some(age) = shard.stale_for {
                by_cluster.insert(
                    format!("{name} (stale)"),
                    json!({ "age_seconds": age.as_secs() }),
                );
            }
        }
        let entry = json!({ "Shards": by_cluster, "ServiceAccounts": accounts });
        hosts
            .entry(key.host.to_string())
            .or_default()
            .insert(key.namespace.to_string(), entry);
    }
    json!(hosts)
}

fn endpoint(e: &Endpoint) -> Value {
    let address = match &e.address {
        Address::Ip(ip) => ip.to_string(),
        Address::Host(host) => host.to_string(),
        Address::Unix(path) => format!("unix://{path}"),
        Address::Unknown => String::new(),
    };
    let tls_mode = if e.mutual_tls { "istio" } else { "disabled" };
    let locality = format!(
        "{}/{}/{}",
        e.locality.region, e.locality.zone, e.locality.sub_zone
    );
    let labels: BTreeMap<&str, &str> = e.labels.iter().collect();
    json!({
        "Labels": labels,
        "Address": address,
        "ServicePortName": &*e.service_port,
        "EnvoyEndpoint": {
            "endpoint": { "address": { "socket_address": { "address": address, "port_value": e.port } } },
            "metadata": { "filter_metadata": {
                "envoy.transport_socket_match": { "tlsMode": tls_mode },
                "istio": { "workload": format!("{};{};;;{}", e.workload, e.namespace, e.cluster) },
            } },
            "load_balancing_weight": e.weight,
        },
        "ServiceAccount": e.identity.as_ref().map(ToString::to_string).unwrap_or_default(),
        "Network": e.network.as_str(),
        "Locality": { "Label": locality.trim_end_matches('/'), "ClusterID": e.cluster.as_str() },
        "EndpointPort": e.port,
        "LbWeight": e.weight,
        "TLSMode": tls_mode,
        "Namespace": &*e.namespace,
        "WorkloadName": &*e.workload,
        "HealthStatus": match e.health {
            hawser_model::Health::Healthy => "Healthy",
            hawser_model::Health::Unhealthy => "UnHealthy",
            hawser_model::Health::Draining => "Draining",
        },
    })
}
