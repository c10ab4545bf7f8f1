//! `hawser proxy-status` and `hawser proxy-config`: what proxies were given, as the control plane knows it.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value, json};

use crate::ask::{AskArgs, Output, escape, print};

/// Show which proxies have the newest configuration, type by type.
#[derive(clap::Args, Debug)]
pub struct ProxyStatusArgs {
    #[command(flatten)]
    ask: AskArgs,
    /// The form of the output.
    #[arg(short, long, value_enum, default_value = "short")]
    output: Output,
    /// Print the answer to this path of the control plane.
    #[arg(long, hide = true, value_name = "PATH")]
    raw: Option<String>,
}

/// Show what a proxy was given.
#[derive(clap::Args, Debug)]
pub struct ProxyConfigArgs {
    /// What to show.
    #[arg(value_enum)]
    what: What,
    /// The proxy, NAME.NAMESPACE.
    #[arg(value_name = "NAME.NAMESPACE")]
    proxy: String,
    #[command(flatten)]
    ask: AskArgs,
    /// The form of the output.
    #[arg(short, long, value_enum, default_value = "short")]
    output: Output,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    #[value(alias = "clusters", alias = "c")]
    Cluster,
    #[value(alias = "listeners", alias = "l")]
    Listener,
    #[value(alias = "routes", alias = "r")]
    Route,
    #[value(alias = "endpoints", alias = "ep")]
    Endpoint,
    /// Everything.
    All,
}

const TYPES: [&str; 5] = ["cds", "lds", "eds", "rds", "ecds"];

/// Prints who has what; exit status 1 if a proxy refused something.
pub fn status(args: &ProxyStatusArgs) -> Result<ExitCode> {
    if let Some(path) = &args.raw {
        print!("{}", args.ask.get_text(path)?);
        return Ok(ExitCode::SUCCESS);
    }
    let all = args.ask.get("/debug/syncz")?;
    let proxies = list(&all);
    let rows = proxies.iter().map(status_row).collect();
    print(
        args.output,
        &all,
        &[
            "NAME", "CLUSTER", "CDS", "LDS", "EDS", "RDS", "ECDS", "VERSION",
        ],
        rows,
    )?;
    let refused = proxies.iter().any(|p| {
        p["types"]
            .as_object()
            .into_iter()
            .flatten()
            .any(|(_, t)| t["state"] == "NACK")
    });
    Ok(ExitCode::from(u8::from(refused)))
}

fn status_row(proxy: &Value) -> Vec<String> {
    let state = |kind: &&str| match proxy["types"][kind]["state"].as_str() {
        Some(state) => state.to_owned(),
        None => "IGNORED".to_owned(),
    };
    let states = TYPES.iter().map(state);
    [text(&proxy["proxy"]), text(&proxy["cluster_id"])]
        .into_iter()
        .chain(states)
        .chain([text(&proxy["istio_version"])])
        .collect()
}

/// Prints a proxy's configuration.
pub fn config(args: &ProxyConfigArgs) -> Result<ExitCode> {
    let dump = args.ask.get(&format!(
        "/debug/config_dump?proxyID={}",
        escape(&args.proxy)
    ))?;
    let (heading, rows): (&[&str], _) = match args.what {
        What::All if args.output == Output::Short => {
            for what in [What::Cluster, What::Listener, What::Route, What::Endpoint] {
                let (heading, rows) = shown(what, &dump);
                print(Output::Short, &Value::Null, heading, rows)?;
                println!();
            }
            return Ok(ExitCode::SUCCESS);
        }
        what => shown(what, &dump),
    };
    let value = match args.what {
        What::All => dump,
        what => Value::Array(resources(what, &dump).into_iter().cloned().collect()),
    };
    print(args.output, &value, heading, rows)?;
    Ok(ExitCode::SUCCESS)
}

/// The resources of a type in a dump in Envoy's form.
fn resources(what: What, dump: &Value) -> Vec<&Value> {
    let (lists, inner): (&str, &[&str]) = match what {
        What::Cluster => ("dynamic_active_clusters", &["cluster"]),
        What::Listener => ("dynamic_listeners", &["active_state", "listener"]),
        What::Route => ("dynamic_route_configs", &["route_config"]),
        What::Endpoint => ("dynamic_endpoint_configs", &["endpoint_config"]),
        What::All => return Vec::new(),
    };
    let wrapped = list(&dump["configs"]).iter().flat_map(|c| list(&c[lists]));
    wrapped
        .map(|w| inner.iter().fold(w, |value, key| &value[*key]))
        .collect()
}

fn shown(what: What, dump: &Value) -> (&'static [&'static str], Vec<Vec<String>>) {
    let all = resources(what, dump).into_iter();
    match what {
        What::Cluster => (
            &[
                "SERVICE FQDN",
                "PORT",
                "SUBSET",
                "DIRECTION",
                "TYPE",
                "DESTINATION RULE",
            ],
            all.map(cluster_row).collect(),
        ),
        What::Listener => (
            &["ADDRESSES", "PORT", "MATCH", "DESTINATION"],
            all.flat_map(listener_rows).collect(),
        ),
        What::Route => (
            &["NAME", "VHOST NAME", "DOMAINS", "MATCH", "VIRTUAL SERVICE"],
            all.flat_map(route_rows).collect(),
        ),
        What::Endpoint => (
            &["ENDPOINT", "STATUS", "CLUSTER"],
            all.flat_map(endpoint_rows).collect(),
        ),
        What::All => (&[], Vec::new()),
    }
}

fn cluster_row(cluster: &Value) -> Vec<String> {
    let name = text(&cluster["name"]);
    let parts: Vec<&str> = name.split('|').collect();
    let (direction, port, subset, host) = match parts[..] {
        [direction, port, subset, host] if !host.is_empty() => (direction, port, subset, host),
        [direction, port, ..] if parts.len() == 4 => (direction, port, "", "-"),
        _ => ("-", "-", "-", name.as_str()),
    };
    let subset = if subset.is_empty() { "-" } else { subset };
    let kind = cluster["type"]
        .as_str()
        .or_else(|| cluster["cluster_type"]["name"].as_str())
        .unwrap_or("STATIC");
    let rule = origin(&cluster["metadata"]);
    vec![
        host.to_owned(),
        port.to_owned(),
        subset.to_owned(),
        direction.to_owned(),
        kind.to_owned(),
        rule,
    ]
}

fn listener_rows(listener: &Value) -> Vec<Vec<String>> {
    let address = &listener["address"]["socket_address"];
    let (ip, port) = (text(&address["address"]), number(&address["port_value"]));
    let last = Some(&listener["default_filter_chain"]).filter(|c| c.is_object());
    let chains = list(&listener["filter_chains"]).iter().chain(last);
    chains
        .map(|chain| {
            vec![
                ip.clone(),
                port.clone(),
                condition(&chain["filter_chain_match"]),
                destination(chain),
            ]
        })
        .collect()
}

fn condition(matches: &Value) -> String {
    let mut out = Vec::new();
    let strings = |value: &Value| list(value).iter().map(text).collect::<Vec<_>>().join(",");
    if !matches["transport_protocol"].is_null() {
        out.push(format!("Trans: {}", text(&matches["transport_protocol"])));
    }
    if !list(&matches["application_protocols"]).is_empty() {
        out.push(format!(
            "App: {}",
            strings(&matches["application_protocols"])
        ));
    }
    if !list(&matches["server_names"]).is_empty() {
        out.push(format!("SNI: {}", strings(&matches["server_names"])));
    }
    if !list(&matches["prefix_ranges"]).is_empty() {
        let range = |r: &Value| {
            format!(
                "{}/{}",
                text(&r["address_prefix"]),
                number(&r["prefix_len"])
            )
        };
        out.push(format!(
            "Addr: {}",
            list(&matches["prefix_ranges"])
                .iter()
                .map(range)
                .collect::<Vec<_>>()
                .join(",")
        ));
    }
    if !matches["destination_port"].is_null() {
        out.push(format!("Port: {}", number(&matches["destination_port"])));
    }
    if out.is_empty() {
        "ALL".to_owned()
    } else {
        out.join("; ")
    }
}

/// Where a chain's last filter sends what comes in.
fn destination(chain: &Value) -> String {
    let config = |f: &Value| f["typed_config"].clone();
    let last = list(&chain["filters"])
        .iter()
        .map(config)
        .rfind(|c| c["stat_prefix"].is_string());
    let Some(config) = last else {
        return "-".to_owned();
    };
    if let Some(name) = config["rds"]["route_config_name"].as_str() {
        return format!("Route: {name}");
    }
    if !config["route_config"].is_null() {
        return format!("Inline Route: {}", text(&config["route_config"]["name"]));
    }
    match (&config["cluster"], &config["weighted_clusters"]) {
        (Value::String(name), _) => format!("Cluster: {name}"),
        (_, Value::Object(_)) => "Cluster: several, by weight".to_owned(),
        _ => "Non-HTTP/Non-TCP".to_owned(),
    }
}

fn route_rows(configuration: &Value) -> Vec<Vec<String>> {
    let name = text(&configuration["name"]);
    let mut rows = Vec::new();
    for host in list(&configuration["virtual_hosts"]) {
        let domains: Vec<String> = list(&host["domains"]).iter().map(text).collect();
        let shown = match domains.len() {
            0..=3 => domains.join(", "),
            n => format!(
                "{} + {} more...",
                domains
                    .iter()
                    .take(2)
                    .cloned()
                    .collect::<Vec<_>>()
                    .join(", "),
                n - 2
            ),
        };
        for route in list(&host["routes"]) {
            let path = ["prefix", "path", "path_separated_prefix"]
                .iter()
                .find_map(|k| {
                    route["match"][*k].as_str().map(|v| match *k {
                        "path" => v.to_owned(),
                        _ => format!("{}*", v),
                    })
                });
            let regex = || {
                route["match"]["safe_regex"]["regex"]
                    .as_str()
                    .map(|r| format!("regex {r}"))
            };
            let matched = path.or_else(regex).unwrap_or_else(|| "-".to_owned());
            rows.push(vec![
                name.clone(),
                text(&host["name"]),
                shown.clone(),
                matched,
                origin(&route["metadata"]),
            ]);
        }
    }
    rows
}

fn endpoint_rows(assignment: &Value) -> Vec<Vec<String>> {
    let cluster = text(&assignment["cluster_name"]);
    let endpoints = list(&assignment["endpoints"])
        .iter()
        .flat_map(|l| list(&l["lb_endpoints"]));
    let row = |e: &Value| {
        let address = &e["endpoint"]["address"];
        let socket = &address["socket_address"];
        let shown = match address["pipe"]["path"].as_str() {
            Some(path) => format!("unix://{path}"),
            None => format!(
                "{}:{}",
                text(&socket["address"]),
                number(&socket["port_value"])
            ),
        };
        let status = e["health_status"].as_str().unwrap_or("HEALTHY").to_owned();
        vec![shown, status, cluster.clone()]
    };
    endpoints.map(row).collect()
}

/// The object that something was made from (`metadata.filter_metadata.istio.config`): NAME.NAMESPACE.
fn origin(metadata: &Value) -> String {
    let config = metadata["filter_metadata"]["istio"]["config"]
        .as_str()
        .unwrap_or_default();
    let parts: Vec<&str> = config.split('/').collect();
    match parts[..] {
        [.., "namespaces", namespace, _, name] => format!("{name}.{namespace}"),
        _ => String::new(),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value) -> String {
    value
        .as_u64()
        .or_else(|| json!(value).as_str()?.parse().ok())
        .map(|n| n.to_string())
        .unwrap_or_else(|| "0".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(what: What, resource: Value, expected: &[&[&str]]) {
        let (kind, wrapped) = match what {
            What::Cluster => ("dynamic_active_clusters", json!({ "cluster": resource })),
            What::Listener => (
                "dynamic_listeners",
                json!({ "active_state": { "listener": resource } }),
            ),
            What::Route => ("dynamic_route_configs", json!({ "route_config": resource })),
            _ => (
                "dynamic_endpoint_configs",
                json!({ "endpoint_config": resource }),
            ),
        };
        let (_, rows) = shown(what, &json!({ "configs": [{ kind: [wrapped] }] }));
        assert_eq!(rows, expected, "{what:?}");
    }

    #[test]
    fn each_type_has_its_rows() {
        let origin = |kind: &str| json!({ "filter_metadata": { "istio": { "config": format!("/apis/networking.istio.io/v1/namespaces/ns/{kind}/o") } } });
        check(
            What::Cluster,
            json!({ "name": "outbound|9080|v1|reviews.default.svc.cluster.local", "type": "EDS", "metadata": origin("destination-rule") }),
            &[&[
                "reviews.default.svc.cluster.local",
                "9080",
                "v1",
                "outbound",
                "EDS",
                "o.ns",
            ]],
        );
        check(
            What::Cluster,
            json!({ "name": "inbound|9080||", "type": "STATIC" }),
            &[&["-", "9080", "-", "inbound", "STATIC", ""]],
        );
        check(
            What::Cluster,
            json!({ "name": "BlackHoleCluster", "type": "STATIC" }),
            &[&["BlackHoleCluster", "-", "-", "-", "STATIC", ""]],
        );
        check(
            What::Listener,
            json!({ "address": { "socket_address": { "address": "0.0.0.0", "port_value": 443 } }, "filter_chains": [
                { "filter_chain_match": { "server_names": ["a", "b"] }, "filters": [{ "typed_config": { "stat_prefix": "x", "cluster": "c" } }] },
                { "filters": [{ "typed_config": { "stat_prefix": "x", "rds": { "route_config_name": "r" } } }] } ] }),
            &[
                &["0.0.0.0", "443", "SNI: a,b", "Cluster: c"],
                &["0.0.0.0", "443", "ALL", "Route: r"],
            ],
        );
        check(
            What::Route,
            json!({ "name": "80", "virtual_hosts": [{ "name": "v", "domains": ["a", "b", "c", "d"],
                "routes": [{ "match": { "prefix": "/" }, "metadata": origin("virtual-service") }] }] }),
            &[&["80", "v", "a, b + 2 more...", "/*", "o.ns"]],
        );
        let endpoint =
            json!({ "address": { "socket_address": { "address": "10.0.0.1", "port_value": 80 } } });
        check(
            What::Endpoint,
            json!({ "cluster_name": "c", "endpoints": [{ "lb_endpoints": [{ "endpoint": endpoint, "health_status": "UNHEALTHY" }] }] }),
            &[&["10.0.0.1:80", "UNHEALTHY", "c"]],
        );
    }

    #[test]
    fn a_proxy_is_a_row() {
        let proxy = json!({ "proxy": "a.b", "cluster_id": "c", "istio_version": "1", "types": { "cds": { "state": "SYNCED" }, "lds": { "state": "NACK" } } });
        assert_eq!(
            status_row(&proxy),
            [
                "a.b", "c", "SYNCED", "NACK", "IGNORED", "IGNORED", "IGNORED", "1"
            ]
        );
    }
}
