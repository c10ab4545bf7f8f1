//! Resources as short text: what matters for where a call goes, and nothing else.

use std::fmt::Write as _;

use hawser_translate::{Resource, Resources};
use serde_json::Value;

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub enum View {
    /// Names of all clusters, of listeners, of routes.
    Clusters,
    Listeners,
    Cluster(&'static str),
    Endpoints(&'static str),
    Listener(&'static str),
    Routes(&'static str),
    /// The routes of one host of a configuration.
    Host(&'static str, &'static str),
    Names,
    /// A part of a listener as it is, by JSON pointer.
    ListenerPart(&'static str, &'static str),
    ClusterPart(&'static str, &'static str),
    RoutePart(&'static str, &'static str),
    Problems,
}

pub fn text(resources: &Resources, view: View) -> String {
    let show = |found: Option<&std::sync::Arc<Resource>>, as_text: fn(&Value) -> String| match found
    {
        Some(resource) => as_text(&json(resource)),
        None => "none".to_owned(),
    };
    let part = |found: Option<&std::sync::Arc<Resource>>, pointer: &str| {
        found.map_or("none".to_owned(), |r| match json(r).pointer(pointer) {
            Some(part) => part.to_string().replace('"', ""),
            None => format!("nothing at {pointer}"),
        })
    };
    match view {
        View::Clusters => resources
            .clusters
            .keys()
            .map(|k| format!("{k}\n"))
            .collect(),
        View::Listeners => resources
            .listeners
            .keys()
            .map(|k| format!("{k}\n"))
            .collect(),
        View::Cluster(name) => show(resources.clusters.get(name), cluster),
        View::Endpoints(name) => show(resources.endpoints.get(name), endpoints),
        View::Listener(name) => show(resources.listeners.get(name), listener),
        View::Routes(name) => show(resources.routes.get(name), routes),
        View::Host(name, host) => resources.routes.get(name).map_or("none".to_owned(), |r| {
            let mut config = json(r);
            if let Some(hosts) = config["virtual_hosts"].as_array_mut() {
                hosts.retain(|h| list(h, "domains").iter().any(|d| d == host));
            }
            let text = routes(&config);
            text.lines().skip(1).map(|l| format!("{l}\n")).collect()
        }),
        View::Names => show(resources.names.as_ref(), names),
        View::ListenerPart(name, at) => part(resources.listeners.get(name), at),
        View::ClusterPart(name, at) => part(resources.clusters.get(name), at),
        View::RoutePart(name, at) => part(resources.routes.get(name), at),
        View::Problems => resources
            .problems
            .iter()
            .map(|p| format!("{p}\n"))
            .collect(),
    }
}

pub fn json(resource: &Resource) -> Value {
    hawser_proto::json::print_any(&resource.any).unwrap()
}

fn str_of<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// A value without quotes and braces around it.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(all) => format!("[{}]", all.iter().map(plain).collect::<Vec<_>>().join(",")),
        Value::Object(all) => {
            let parts: Vec<_> = all
                .iter()
                .filter(|(k, _)| *k != "@type")
                .map(|(k, v)| format!("{k}={}", plain(v)))
                .collect();
            format!("{{{}}}", parts.join(" "))
        }
        other => other.to_string(),
    }
}

fn socket(value: &Value) -> String {
    let socket = &value["socket_address"];
    match socket.is_null() {
        true => plain(value),
        false => format!(
            "{}:{}",
            str_of(socket, "address"),
            socket["port_value"].as_u64().unwrap_or(0)
        ),
    }
}

fn tls(socket: &Value) -> String {
    let config = &socket["typed_config"];
    if !str_of(config, "@type").ends_with("TlsContext") {
        return "plaintext".to_owned();
    }
    let common = &config["common_tls_context"];
    let mut out = "tls".to_owned();
    if let Some(sni) = config["sni"].as_str() {
        let _ = write!(out, " sni={sni}");
    }
    for secret in list(common, "tls_certificate_sds_secret_configs") {
        let _ = write!(out, " cert={}", str_of(secret, "name"));
    }
    let combined = &common["combined_validation_context"];
    let own = match combined.is_null() {
        true => &common["validation_context"],
        false => &combined["default_validation_context"],
    };
    let by_secret = [
        &combined["validation_context_sds_secret_config"],
        &common["validation_context_sds_secret_config"],
    ];
    for secret in by_secret.iter().filter(|s| !s.is_null()) {
        let _ = write!(out, " ca={}", str_of(secret, "name"));
    }
    if let Some(file) = own["trusted_ca"]["filename"].as_str() {
        let _ = write!(out, " ca={file}");
    }
    for san in list(own, "match_typed_subject_alt_names") {
        let _ = write!(
            out,
            " {}={}",
            str_of(san, "san_type"),
            plain(&san["matcher"])
        );
    }
    if config["require_client_certificate"] == true {
        out += " client-cert";
    }
    let alpn = list(common, "alpn_protocols");
    if !alpn.is_empty() {
        let _ = write!(out, " alpn={}", plain(&Value::Array(alpn.to_vec())));
    }
    out
}

fn cluster(c: &Value) -> String {
    let kind = match c["cluster_type"]["name"].as_str() {
        Some(name) => name,
        None => c["type"].as_str().unwrap_or("STATIC"),
    };
    let mut out = format!(
        "{kind} {}",
        c["lb_policy"].as_str().unwrap_or("ROUND_ROBIN")
    );
    if c["common_lb_config"]["locality_weighted_lb_config"].is_object() {
        out += " locality-weighted";
    }
    out.push('\n');
    let options = &c["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"];
    for (key, value) in options.as_object().into_iter().flatten() {
        if let ("explicit_http_config", Some(inner)) = (key.as_str(), value.as_object()) {
            let _ = writeln!(
                out,
                "explicit {}",
                inner.keys().next().map_or("", String::as_str)
            );
        } else if key != "@type" {
            let _ = writeln!(out, "{key} {}", plain(value));
        }
    }
    for key in [
        "connect_timeout",
        "outlier_detection",
        "ring_hash_lb_config",
        "maglev_lb_config",
        "least_request_lb_config",
    ] {
        let value = &c[key];
        let usual = key == "connect_timeout" && value == "10s";
        if !value.is_null() && !usual {
            let _ = writeln!(out, "{key} {}", plain(value));
        }
    }
    for threshold in list(&c["circuit_breakers"], "thresholds") {
        let own: Vec<_> = threshold
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(k, v)| k.starts_with("max_") && v.as_u64() != Some(u64::from(u32::MAX)))
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        if !own.is_empty() {
            let _ = writeln!(out, "limits {}", own.join(" "));
        }
    }
    for way in list(c, "transport_socket_matches") {
        let _ = writeln!(
            out,
            "{}: {}",
            str_of(way, "name"),
            tls(&way["transport_socket"])
        );
    }
    if !c["transport_socket"].is_null() {
        let _ = writeln!(out, "{}", tls(&c["transport_socket"]));
    }
    if !c["load_assignment"].is_null() {
        out += &endpoints(&c["load_assignment"]);
    }
    out
}

fn endpoints(assignment: &Value) -> String {
    let mut out = String::new();
    for locality in list(assignment, "endpoints") {
        let place: Vec<&str> = ["region", "zone", "sub_zone"]
            .iter()
            .filter_map(|k| locality["locality"][k].as_str())
            .collect();
        let place = if place.is_empty() {
            "-".to_owned()
        } else {
            place.join("/")
        };
        let _ = write!(out, "{place}");
        if let Some(priority) = locality["priority"].as_u64().filter(|p| *p > 0) {
            let _ = write!(out, " p{priority}");
        }
        if let Some(weight) = locality["load_balancing_weight"].as_u64() {
            let _ = write!(out, " w{weight}");
        }
        out.push(':');
        for endpoint in list(locality, "lb_endpoints") {
            let metadata = &endpoint["metadata"]["filter_metadata"];
            let tls = metadata["envoy.transport_socket_match"]["tlsMode"] == "istio";
            let _ = write!(out, " {}", socket(&endpoint["endpoint"]["address"]));
            if let Some(weight) = endpoint["load_balancing_weight"]
                .as_u64()
                .filter(|w| *w != 1)
            {
                let _ = write!(out, "*{weight}");
            }
            out += if tls { "/mtls" } else { "" };
            if let Some(health) = endpoint["health_status"]
                .as_str()
                .filter(|h| *h != "HEALTHY")
            {
                let _ = write!(out, "/{health}");
            }
        }
        out.push('\n');
    }
    out
}

fn listener(l: &Value) -> String {
    let mut out = socket(&l["address"]);
    if l["bind_to_port"] == false {
        out += " not bound";
    }
    for filter in list(l, "listener_filters") {
        let name = str_of(filter, "name").trim_start_matches("envoy.filters.listener.");
        let _ = write!(out, " {name}");
    }
    let limit = l["listener_filters_timeout"].as_str();
    if let Some(limit) = limit.filter(|l| *l != "0s") {
        let then = if l["continue_on_listener_filters_timeout"] == true {
            "goes on"
        } else {
            "ends"
        };
        let _ = write!(out, " {then} after {limit}");
    }
    out.push('\n');
    for chain in list(l, "filter_chains") {
        let matched = plain(&chain["filter_chain_match"]);
        let matched = if matched == "null" {
            "{}".to_owned()
        } else {
            matched
        };
        out += &chain_text(&matched, chain);
    }
    if !l["default_filter_chain"].is_null() {
        out += &chain_text("default", &l["default_filter_chain"]);
    }
    out
}

fn chain_text(matched: &str, chain: &Value) -> String {
    let mut out = format!("{matched} {}", tls(&chain["transport_socket"]));
    for filter in list(chain, "filters") {
        let config = &filter["typed_config"];
        let kind = str_of(config, "@type");
        if kind.ends_with("HttpConnectionManager") {
            out += " | http";
            match config["rds"]["route_config_name"].as_str() {
                Some(name) => {
                    let _ = write!(out, " rds={name}");
                }
                None => {
                    let _ = write!(
                        out,
                        " {}",
                        routes(&config["route_config"]).trim().replace('\n', "; ")
                    );
                }
            }
            let known = ["router", "fault", "cors", "grpc_stats"];
            for filter in list(config, "http_filters") {
                let name = str_of(filter, "name").trim_start_matches("envoy.filters.http.");
                if !known.contains(&name) {
                    let _ = write!(out, " +{name}");
                }
            }
        } else if kind.ends_with("TcpProxy") {
            let to = match config["cluster"].as_str() {
                Some(cluster) => cluster.to_owned(),
                None => list(&config["weighted_clusters"], "clusters")
                    .iter()
                    .map(|c| format!("{}*{}", str_of(c, "name"), c["weight"]))
                    .collect::<Vec<_>>()
                    .join(" "),
            };
            let _ = write!(out, " | tcp -> {to}");
        } else {
            let name = str_of(filter, "name").trim_start_matches("envoy.filters.network.");
            let _ = write!(out, " | {name}");
        }
    }
    out + "\n"
}

fn routes(config: &Value) -> String {
    let mut out = String::new();
    for host in list(config, "virtual_hosts") {
        let _ = write!(out, "{}", plain(&host["domains"]));
        if let Some(tls) = host["require_tls"].as_str() {
            let _ = write!(out, " require_tls={tls}");
        }
        out.push('\n');
        for route in list(host, "routes") {
            let _ = writeln!(out, "  {} {}", plain(&route["match"]), action(route));
        }
    }
    out
}

/// Where a route leads; retries and time-outs only where they are not the usual ones.
fn action(route: &Value) -> String {
    let mut out = String::new();
    for key in ["redirect", "direct_response"] {
        if !route[key].is_null() {
            let _ = write!(out, "{key} {}", plain(&route[key]));
        }
    }
    let to = &route["route"];
    if let Some(cluster) = to["cluster"].as_str() {
        let _ = write!(out, "-> {cluster}");
    }
    for cluster in list(&to["weighted_clusters"], "clusters") {
        let _ = write!(out, "-> {}*{} ", str_of(cluster, "name"), cluster["weight"]);
    }
    for (key, value) in to.as_object().into_iter().flatten() {
        let usual = match key.as_str() {
            "cluster" | "weighted_clusters" | "max_grpc_timeout" | "max_stream_duration" => true,
            "timeout" => value == "0s",
            "retry_policy" => {
                value["num_retries"] == 2
                    && str_of(value, "retry_on").starts_with("connect-failure,")
            }
            _ => false,
        };
        if !usual {
            let _ = write!(out, " {key}={}", plain(value));
        }
    }
    for key in [
        "request_headers_to_add",
        "request_headers_to_remove",
        "response_headers_to_add",
        "response_headers_to_remove",
    ] {
        if !route[key].is_null() {
            let _ = write!(out, " {key}={}", plain(&route[key]));
        }
    }
    for (name, config) in route["typed_per_filter_config"]
        .as_object()
        .into_iter()
        .flatten()
    {
        let name = name.trim_start_matches("envoy.filters.http.");
        let _ = write!(out, " {name}={}", plain(config));
    }
    out.trim_end().to_owned()
}

fn names(table: &Value) -> String {
    let mut out = String::new();
    for (name, entry) in table["table"].as_object().into_iter().flatten() {
        let _ = writeln!(out, "{name} {}", plain(&entry["ips"]));
    }
    out
}
