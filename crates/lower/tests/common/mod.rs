//! Reading YAML into a lowerer, and snapshots as text to compare with.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fmt::Write as _;
use std::sync::Arc;

use hawser_api::mesh::{MeshConfig, MeshNetworks};
use hawser_api::{Change, Event, Resource, SourceId};
use hawser_lower::{Lowerer, Settings};
use hawser_model::endpoint::{Address, Endpoint};
use hawser_model::route::{
    GatewayRef, HttpAction, HttpMatch, L4Match, PathMatch, VirtualService, Weighted,
};
use hawser_model::{ClusterId, Hostname, Identity, Service, Snapshot};

/// The objects of a text of several YAML documents.
pub fn objects(yaml: &str) -> Vec<Resource> {
    let manifest = hawser_api::manifest::read("test.yaml", yaml.as_bytes());
    assert!(manifest.errors.is_empty(), "{:?}", manifest.errors);
    manifest
        .docs
        .iter()
        .filter(|d| !d.value.is_null())
        .map(|d| match hawser_api::parse(d.value.clone()) {
            Ok(parsed) => parsed.resource,
            Err(error) => panic!("{error}\n{:#}", d.value),
        })
        .collect()
}

fn value(yaml: &str) -> serde_json::Value {
    hawser_api::manifest::read("settings.yaml", yaml.as_bytes())
        .docs
        .into_iter()
        .next()
        .map(|d| d.value)
        .unwrap_or_default()
}

/// Settings of cluster `c1` with these texts of MeshConfig and MeshNetworks.
pub fn settings(mesh: &str, networks: &str) -> Settings {
    let mut settings = Settings::new(ClusterId::new("c1"));
    settings.mesh_config = MeshConfig::from_value(value(mesh)).0;
    settings.mesh_networks = MeshNetworks::from_value(value(networks)).0;
    settings
}

/// A lowerer of several clusters' YAML, of which `c1` is the configuration cluster.
pub fn lowerer(settings: Settings, clusters: &[(&str, &str)]) -> Lowerer {
    Lowerer::from_objects(
        settings,
        clusters
            .iter()
            .flat_map(|(id, yaml)| objects(yaml).into_iter().map(|o| (ClusterId::new(id), o))),
    )
}

/// The snapshot of several clusters.
pub fn snapshot(clusters: &[(&str, &str)]) -> Arc<Snapshot> {
    lowerer(settings("{}", "{}"), clusters).snapshot()
}

/// An object that is now so.
pub fn applied(cluster: &str, resource: Resource) -> Change {
    Change {
        source: SourceId::new(cluster),
        version: None,
        event: Event::Apply(resource),
    }
}

/// Compares line by line, without regard to indentation.
pub fn check(name: &str, got: &str, expected: &str) {
    let lines = |t: &str| {
        t.lines()
            .map(|l| l.trim().to_owned())
            .filter(|l| !l.is_empty())
            .collect::<Vec<_>>()
            .join("\n")
    };
    let (got, expected) = (lines(got), lines(expected));
    assert!(
        got == expected,
        "{name}:\n--- expected\n{expected}\n--- got\n{got}"
    );
}

/// One line for each service.
pub fn services(snapshot: &Snapshot) -> String {
    snapshot
        .services
        .iter()
        .map(|s| service(s) + "\n")
        .collect()
}

fn service(s: &Service) -> String {
    let mut out = format!("{} in {}: {:?}", s.host, s.meta.namespace, s.resolution);
    for p in &s.ports {
        let target = p.target_port.map(|t| format!("->{t}")).unwrap_or_default();
        let _ = write!(out, " {}:{}/{:?}{target}", p.name, p.number, p.protocol);
    }
    for (cluster, nets) in &s.addresses {
        let nets: Vec<_> = nets.iter().map(ToString::to_string).collect();
        let _ = write!(out, " vip[{cluster}]={}", nets.join(","));
    }
    for ip in &s.auto_addresses {
        let _ = write!(out, " auto={ip}");
    }
    for (flag, set) in [
        ("external", s.mesh_external),
        ("headless", s.headless),
        ("node-local", s.node_local),
        ("cluster-local", s.cluster_local),
    ] {
        if set {
            let _ = write!(out, " {flag}");
        }
    }
    if let Some(to) = &s.external_name {
        let _ = write!(out, " alias={to}");
    }
    if let Some(d) = s.traffic_distribution {
        let _ = write!(out, " prefers={d:?}");
    }
    if s.visibility != hawser_model::Visibility::Public {
        let _ = write!(out, " visible={:?}", s.visibility);
    }
    for (cluster, outside) in &s.external_addresses {
        let _ = write!(out, " outside[{cluster}]={}", outside.join(","));
    }
    for id in &s.identities {
        let _ = write!(out, " id={}", account(id));
    }
    for san in &s.subject_alt_names {
        let _ = write!(out, " san={san}");
    }
    out
}

fn account(id: &Identity) -> String {
    format!("{}/{}", id.namespace, id.service_account)
}

/// One line for each endpoint.
pub fn endpoints(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    for (key, set) in &*snapshot.endpoints {
        for (cluster, shard) in &set.shards {
            let stale = shard
                .stale_for
                .map(|d| format!(" stale {}s", d.as_secs()))
                .unwrap_or_default();
            for e in &shard.endpoints {
                let _ = writeln!(out, "{} {cluster} {}{stale}", key.host, endpoint(e));
            }
            if shard.endpoints.is_empty() {
                let _ = writeln!(out, "{} {cluster} nobody{stale}", key.host);
            }
        }
    }
    out
}

fn endpoint(e: &Endpoint) -> String {
    let address = match &e.address {
        Address::Ip(ip) => ip.to_string(),
        Address::Host(host) => host.to_string(),
        Address::Unix(path) => format!("unix:{path}"),
        Address::Unknown => "?".to_owned(),
    };
    let mut out = format!("{address}:{} {}", e.port, e.service_port);
    if !e.network.is_unset() {
        let _ = write!(out, " net={}", e.network.as_str());
    }
    if !e.locality.region.is_empty() {
        let l = &e.locality;
        let _ = write!(out, " at={}/{}/{}", l.region, l.zone, l.sub_zone);
    }
    if e.weight != 1 {
        let _ = write!(out, " weight={}", e.weight);
    }
    if e.mutual_tls {
        out.push_str(" mtls");
    }
    if e.health != hawser_model::Health::Healthy {
        let _ = write!(out, " {:?}", e.health);
    }
    if let Some(id) = &e.identity {
        let _ = write!(out, " id={}", account(id));
    }
    if !e.hostname.is_empty() {
        let _ = write!(out, " host={}", e.hostname);
    }
    if !e.additional_addresses.is_empty() {
        let _ = write!(out, " also={:?}", e.additional_addresses);
    }
    out
}

/// One line for each workload: what it serves.
pub fn workloads(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    for w in snapshot.workloads.by_name.values() {
        let serves: Vec<_> = w
            .serves
            .iter()
            .map(|(key, port, target)| format!("{}:{port}->{target}", key.host))
            .collect();
        let _ = writeln!(
            out,
            "{} {}/{} {:?} {}",
            w.cluster,
            w.namespace,
            w.name,
            w.addresses,
            serves.join(" ")
        );
    }
    out
}

/// One line for each VirtualService and each of its rules.
pub fn routes(snapshot: &Snapshot) -> String {
    snapshot.routes.iter().map(|r| route(r)).collect()
}

fn hosts(hosts: &[Hostname]) -> String {
    let texts: Vec<_> = hosts.iter().map(Hostname::as_str).collect();
    texts.join(",")
}

fn gateways<'a>(gateways: impl IntoIterator<Item = &'a GatewayRef>) -> String {
    let texts: Vec<_> = gateways
        .into_iter()
        .map(|g| match g {
            GatewayRef::Mesh => "mesh".to_owned(),
            GatewayRef::Named { namespace, name } => format!("{namespace}/{name}"),
        })
        .collect();
    texts.join(",")
}

fn route(v: &VirtualService) -> String {
    let mut out = format!(
        "{}/{} {} via {}\n",
        v.meta.namespace,
        v.meta.name,
        hosts(&v.hosts),
        gateways(&v.gateways)
    );
    for r in &v.http {
        let matches: Vec<_> = r.matches.iter().map(http_match).collect();
        let action = match &r.action {
            HttpAction::Route(to) => to.iter().map(weighted).collect::<Vec<_>>().join(" "),
            HttpAction::Redirect(redirect) => format!("{redirect:?}"),
            HttpAction::Direct { status, .. } => format!("direct {status}"),
        };
        let _ = write!(out, "http {}[{}] => {action}", r.name, matches.join(" | "));
        if let Some(t) = r.timeout {
            let _ = write!(out, " timeout={t:?}");
        }
        if let Some(rewrite) = &r.rewrite {
            let _ = write!(out, " {rewrite:?}");
        }
        if let Some(retries) = &r.retries {
            let _ = write!(out, " retries={}", retries.attempts);
        }
        if let Some(fault) = &r.fault {
            let _ = write!(out, " {fault:?}");
        }
        for m in &r.mirrors {
            let _ = write!(out, " mirror {} {:?}", m.destination.host, m.share);
        }
        if !r.request_headers.is_empty() {
            let _ = write!(out, " request {:?}", r.request_headers);
        }
        out.push('\n');
    }
    for (kind, matches, to) in v
        .tls
        .iter()
        .map(|r| ("tls", &r.matches, &r.route))
        .chain(v.tcp.iter().map(|r| ("tcp", &r.matches, &r.route)))
    {
        let matches: Vec<_> = matches.iter().map(l4_match).collect();
        let to: Vec<_> = to.iter().map(weighted).collect();
        let _ = writeln!(out, "{kind} [{}] => {}", matches.join(" | "), to.join(" "));
    }
    out
}

fn weighted(w: &Weighted) -> String {
    let d = &w.destination;
    let port = d.port.map(|p| format!(":{p}")).unwrap_or_default();
    let subset = if d.subset.is_empty() {
        String::new()
    } else {
        format!("/{}", d.subset)
    };
    let weight = if w.weight == 0 {
        String::new()
    } else {
        format!("*{}", w.weight)
    };
    format!("{}{port}{subset}{weight}", d.host)
}

fn http_match(m: &HttpMatch) -> String {
    let mut parts = Vec::new();
    match &m.path {
        Some(PathMatch::Exact(p)) => parts.push(format!("={p}")),
        Some(PathMatch::Prefix(p)) => parts.push(format!("{p}*")),
        Some(PathMatch::SegmentPrefix(p)) => parts.push(format!("{p}/**")),
        Some(PathMatch::Regex(p)) => parts.push(format!("~{p}")),
        None => {}
    }
    if let Some(method) = &m.method {
        parts.push(format!("{method:?}"));
    }
    for (name, value) in &m.headers {
        parts.push(format!("{name}:{value:?}"));
    }
    for (name, value) in &m.without_headers {
        parts.push(format!("!{name}:{value:?}"));
    }
    for (name, value) in &m.query {
        parts.push(format!("?{name}:{value:?}"));
    }
    if let Some(port) = m.port {
        parts.push(format!("port={port}"));
    }
    if !m.source_labels.is_empty() {
        parts.push(format!(
            "from={:?}",
            m.source_labels.iter().collect::<Vec<_>>()
        ));
    }
    if let Some(ns) = &m.source_namespace {
        parts.push(format!("ns={ns}"));
    }
    if !m.gateways.is_empty() {
        parts.push(format!("gw={}", gateways(&m.gateways)));
    }
    parts.join(" ")
}

fn l4_match(m: &L4Match) -> String {
    let mut parts = Vec::new();
    if !m.sni.is_empty() {
        parts.push(format!("sni={}", hosts(&m.sni)));
    }
    if !m.destination_subnets.is_empty() {
        parts.push(format!("to={:?}", m.destination_subnets));
    }
    if let Some(port) = m.port {
        parts.push(format!("port={port}"));
    }
    if !m.gateways.is_empty() {
        parts.push(format!("gw={}", gateways(&m.gateways)));
    }
    parts.join(" ")
}

/// One line for each problem.
pub fn problems(snapshot: &Snapshot) -> String {
    snapshot.problems.iter().map(|p| format!("{p}\n")).collect()
}

/// One line for each network gateway.
pub fn network_gateways(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    for g in &snapshot.network_gateways.all {
        let cluster = g.cluster.as_ref().map_or("-", ClusterId::as_str);
        let _ = writeln!(
            out,
            "{} {cluster} {:?} {} {}",
            g.network.as_str(),
            g.address,
            g.port,
            g.hbone_port
        );
    }
    for n in &snapshot.network_gateways.unresolved {
        let _ = writeln!(out, "{} unresolved", n.as_str());
    }
    out
}

/// One line for each Gateway's server.
pub fn servers(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    for g in &*snapshot.gateways {
        for s in &g.servers {
            let hosts: Vec<_> = s
                .hosts
                .iter()
                .map(|h| format!("{:?}/{}", h.namespace, h.host))
                .collect();
            let tls = s
                .tls
                .as_ref()
                .map(|t| format!(" {:?} {:?}", t.mode, t.credential_names));
            let _ = writeln!(
                out,
                "{}/{} {} {}:{:?} {}{}",
                g.meta.namespace,
                g.meta.name,
                s.port_name,
                s.port,
                s.protocol,
                hosts.join(","),
                tls.unwrap_or_default()
            );
        }
    }
    out
}

/// One line for each status to be written, and one for each of its parts: conditions, addresses, counts.
pub fn statuses(lowerer: &mut Lowerer) -> String {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let conditions = |value: &serde_json::Value| {
        let list = value["conditions"].as_array().cloned().unwrap_or_default();
        let one = |c: &serde_json::Value| {
            let reason = match text(&c["reason"]) {
                reason if reason == text(&c["type"]) => String::new(),
                reason => format!(":{reason}"),
            };
            let sign = if c["status"] == "True" { "+" } else { "-" };
            format!(" {sign}{}{reason}", text(&c["type"]))
        };
        list.iter().map(one).collect::<String>()
    };
    lowerer.snapshot();
    let mut out = String::new();
    for update in lowerer.statuses() {
        let status = &update.status;
        let _ = write!(out, "{}{}", update.object, conditions(status));
        for address in status["addresses"].as_array().into_iter().flatten() {
            let _ = write!(
                out,
                " {}={}",
                text(&address["type"]),
                text(&address["value"])
            );
        }
        for address in status["loadBalancer"]["ingress"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let _ = write!(
                out,
                " {}{}",
                text(&address["ip"]),
                text(&address["hostname"])
            );
        }
        out.push('\n');
        for part in status["listeners"].as_array().into_iter().flatten() {
            let kinds = part["supportedKinds"].as_array().into_iter().flatten();
            let kinds: Vec<String> = kinds.map(|k| text(&k["kind"])).collect();
            let attached = part["attachedRoutes"].as_i64().unwrap_or(0);
            let (name, kinds) = (text(&part["name"]), kinds.join(","));
            let _ = writeln!(out, "{name} {kinds} x{attached}{}", conditions(part));
        }
        for (list, of, controller) in [
            ("parents", "parentRef", false),
            ("ancestors", "ancestorRef", true),
        ] {
            for part in status[list].as_array().into_iter().flatten() {
                let (name, section) = (text(&part[of]["name"]), text(&part[of]["sectionName"]));
                let _ = write!(out, "{} {name}/{section}", text(&part[of]["kind"]));
                if controller {
                    let _ = write!(out, " {}", text(&part["controllerName"]));
                }
                let _ = writeln!(out, "{}", conditions(part));
            }
        }
    }
    out
}
