//! Generated objects of Istio's kinds: Envoy takes what is made of them, and their order changes nothing.

use anyhow::{Result, ensure};
use hawser_explain::Config;
use serde_json::{Value, json};

use crate::Bench;
use crate::generate::Chance;
use crate::proxy::Envoy;
use crate::world::{self, Side};

/// Worlds to try; `HAWSER_WORLDS` says how many.
pub fn seeds(only: &[String]) -> std::ops::Range<usize> {
    let wanted = only.is_empty() || only.iter().any(|o| o.contains("generated"));
    let n = std::env::var("HAWSER_WORLDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(6);
    0..if wanted { n } else { 0 }
}

/// One world: its number of objects.
pub fn run(bench: &Bench, seed: usize) -> Result<usize> {
    let mut chance = Chance::new(&format!("world {seed}"));
    let side = *chance.of(&[Side::Client, Side::Server, Side::Gateway]);
    let mut own = Vec::new();
    while own.len() < 40 {
        let value = object(&mut chance, own.len());
        let resource = hawser_api::parse(value)?.resource;
        // What an API server would refuse is of no interest here.
        if world::valid(std::slice::from_ref(&resource)).is_ok() {
            own.push(resource);
        }
    }
    let base = world::base(side)?;
    let forward = base.iter().chain(&own).cloned().collect();
    let mut backward: Vec<_> = base.iter().chain(&own).cloned().collect();
    backward.reverse();
    let made = world::resources(side, &*world::snapshot(forward, "")?, "")?;
    let again = world::resources(side, &*world::snapshot(backward, "")?, "")?;
    let served = world::served(side, &made, &bench.authority)?;
    let same = |a: &hawser_translate::Resources, b: &hawser_translate::Resources| {
        a.listeners == b.listeners
            && a.routes == b.routes
            && a.clusters == b.clusters
            && a.endpoints == b.endpoints
    };
    ensure!(
        same(&made, &again),
        "the order of the objects changes what the proxy is given"
    );
    crate::judge::complete(&Config::of(&made)?)?;
    bench.net.capture(side != Side::Gateway)?;
    let envoy = Envoy::start(bench.runtime.handle(), &bench.net, served, "1")?;
    let refused = envoy.refused();
    ensure!(refused.is_empty(), "Envoy refused: {}", refused.join("; "));
    Ok(own.len())
}

const HOSTS: &[&str] = &[
    "reviews",
    "ratings.default.svc.cluster.local",
    "db",
    "rpc",
    "vault.other.svc.cluster.local",
    "*.shop.example",
    "shop.example",
    "sniffed",
];
const PATHS: &[&str] = &["/", "/a", "/a/b", "/api/v1", "/x.y"];
const WORDS: &[&str] = &["a", "jason", "x-user", "end-user", "v1", "dev"];

fn text_match(chance: &mut Chance) -> Value {
    match chance.below(3) {
        0 => json!({"exact": chance.of(PATHS)}),
        1 => json!({"prefix": chance.of(PATHS)}),
        _ => json!({"regex": format!("{}.*", chance.of(PATHS))}),
    }
}

fn destination(chance: &mut Chance) -> Value {
    let mut out = json!({"host": chance.of(&HOSTS[..5])});
    if chance.below(2) == 0 {
        out["subset"] = json!(chance.of(&["v1", "v2"]));
    }
    if chance.below(3) == 0 {
        out["port"] = json!({"number": chance.of(&[9080, 9090, 3306])});
    }
    out
}

fn http_route(chance: &mut Chance) -> Value {
    let mut out = json!({});
    if chance.below(3) > 0 {
        let mut m = json!({"uri": text_match(chance)});
        match chance.below(6) {
            0 => m["headers"] = json!({*chance.of(WORDS): text_match(chance)}),
            1 => m["method"] = json!({"exact": chance.of(&["GET", "POST"])}),
            2 => m["queryParams"] = json!({*chance.of(WORDS): {"exact": chance.of(WORDS)}}),
            3 => m["ignoreUriCase"] = json!(true),
            4 => m["withoutHeaders"] = json!({*chance.of(WORDS): {}}),
            _ => m["authority"] = json!({"prefix": chance.of(WORDS)}),
        }
        out["match"] = json!([m]);
    }
    match chance.below(6) {
        0 => {
            out["redirect"] =
                json!({"uri": chance.of(PATHS), "redirectCode": chance.of(&[301, 302, 307])})
        }
        1 => out["directResponse"] = json!({"status": chance.of(&[200, 404, 503])}),
        2 => {
            out["route"] = json!([{"destination": destination(chance), "weight": 30}, {"destination": destination(chance), "weight": 70}]);
        }
        _ => out["route"] = json!([{"destination": destination(chance)}]),
    }
    if out.get("route").is_some() {
        match chance.below(10) {
            0 => out["rewrite"] = json!({"uri": chance.of(PATHS)}),
            1 => out["timeout"] = json!("3s"),
            2 => {
                out["retries"] =
                    json!({"attempts": 3, "perTryTimeout": "1s", "retryOn": "5xx,reset"})
            }
            3 => {
                out["fault"] = json!({"abort": {"httpStatus": 503, "percentage": {"value": 12.5}}, "delay": {"fixedDelay": "1s", "percentage": {"value": 1}}})
            }
            4 => out["mirror"] = destination(chance),
            5 => {
                out["corsPolicy"] = json!({"allowOrigins": [text_match(chance)], "allowMethods": ["GET"], "maxAge": "24h", "allowCredentials": true})
            }
            6 => {
                out["headers"] = json!({"request": {"set": {"x-a": "%REQ(x-b)% 100"}, "remove": ["x-c"]}, "response": {"add": {"x-d": "e"}}})
            }
            _ => {}
        }
    }
    out
}

fn traffic_policy(chance: &mut Chance) -> Value {
    let balancer = match chance.below(5) {
        0 => {
            json!({"simple": chance.of(&["ROUND_ROBIN", "LEAST_REQUEST", "RANDOM", "PASSTHROUGH"])})
        }
        1 => json!({"consistentHash": {"httpHeaderName": "x-user"}}),
        2 => json!({"consistentHash": {"httpCookie": {"name": "c", "ttl": "1s"}, "maglev": {}}}),
        3 => {
            json!({"simple": "LEAST_REQUEST", "warmup": {"duration": "10s", "minimumPercent": 20}})
        }
        _ => json!({"simple": "ROUND_ROBIN", "localityLbSetting": {"enabled": true}}),
    };
    let mut out = json!({"loadBalancer": balancer});
    match chance.below(5) {
        0 => {
            out["outlierDetection"] = json!({"consecutive5xxErrors": 3, "interval": "1s", "baseEjectionTime": "10s", "maxEjectionPercent": 50})
        }
        1 => {
            out["connectionPool"] = json!({"tcp": {"maxConnections": 10, "connectTimeout": "2s", "tcpKeepalive": {"time": "60s"}}, "http": {"http2MaxRequests": 5, "h2UpgradePolicy": "UPGRADE", "idleTimeout": "5s"}})
        }
        2 => out["tls"] = json!({"mode": chance.of(&["DISABLE", "ISTIO_MUTUAL", "SIMPLE"])}),
        3 => out["proxyProtocol"] = json!({"version": "V2"}),
        _ => {}
    }
    out
}

fn source(chance: &mut Chance) -> Value {
    match chance.below(6) {
        0 => {
            json!({"principals": [chance.of(&["cluster.local/ns/default/sa/web", "*/sa/web", "*", "cluster.local/ns/*"])]})
        }
        1 => json!({"namespaces": [chance.of(&["default", "o*r", "other"])]}),
        2 => json!({"ipBlocks": ["10.0.0.0/8"], "notIpBlocks": ["10.1.0.0/24"]}),
        3 => json!({"remoteIpBlocks": ["203.0.113.7"]}),
        4 => json!({"requestPrincipals": [chance.of(&["*", "https://a.example/*", "*/alice"])]}),
        _ => json!({"serviceAccounts": [chance.of(&["web", "other/a.b"])]}),
    }
}

fn operation(chance: &mut Chance) -> Value {
    match chance.below(5) {
        0 => json!({"paths": [chance.of(&["/a", "/a/*", "*.html", "/a/{*}/b", "/a/{**}"])]}),
        1 => json!({"notPaths": ["/admin*"], "methods": ["GET"]}),
        2 => json!({"hosts": [chance.of(&["reviews", "*.example", "web:*"])]}),
        3 => json!({"ports": ["9080"], "notMethods": ["PO*"]}),
        _ => json!({"notHosts": ["x"]}),
    }
}

fn object(chance: &mut Chance, i: usize) -> Value {
    let namespace = *chance.of(&["default", "default", "other", "istio-system"]);
    let meta = json!({"name": format!("o{i}"), "namespace": namespace});
    let (version, kind, spec) = match chance.below(12) {
        0..=3 => {
            let mut spec = json!({"hosts": [chance.of(HOSTS)], "http": (0..=chance.below(4)).map(|_| http_route(chance)).collect::<Vec<_>>()});
            if chance.below(2) == 0 {
                spec["gateways"] = json!(["istio-system/o1", "mesh"]);
            }
            if chance.below(6) == 0 {
                spec["tcp"] = json!([{"match": [{"port": 3306}], "route": [{"destination": destination(chance)}]}]);
            }
            ("networking.istio.io/v1", "VirtualService", spec)
        }
        4 | 5 => {
            let subset = |chance: &mut Chance, v: &str| json!({"name": v, "labels": {"version": v}, "trafficPolicy": traffic_policy(chance)});
            let subsets = [subset(chance, "v1"), subset(chance, "v2")];
            (
                "networking.istio.io/v1",
                "DestinationRule",
                json!({"host": chance.of(&HOSTS[..5]), "trafficPolicy": traffic_policy(chance), "subsets": subsets}),
            )
        }
        6 | 7 => {
            let action = *chance.of(&["ALLOW", "DENY", "AUDIT"]);
            let rule = |chance: &mut Chance| {
                json!({"from": [{"source": source(chance)}], "to": [{"operation": operation(chance)}],
                "when": [{"key": chance.of(&["request.headers[x-user]", "source.ip", "destination.port", "request.auth.claims[groups]", "connection.sni"]), "values": [chance.of(&["10.0.0.0/8", "9080", "a"])]}]})
            };
            let rules: Vec<Value> = (0..=chance.below(3)).map(|_| rule(chance)).collect();
            (
                "security.istio.io/v1",
                "AuthorizationPolicy",
                json!({"action": action, "rules": rules}),
            )
        }
        8 => (
            "security.istio.io/v1",
            "PeerAuthentication",
            json!({"mtls": {"mode": chance.of(&["STRICT", "PERMISSIVE", "DISABLE"])}}),
        ),
        9 => {
            let port = u16::try_from(8000 + chance.below(3) * 40).unwrap_or(8000);
            let server = json!({"port": {"number": port, "name": "http", "protocol": chance.of(&["HTTP", "HTTP2"])}, "hosts": [chance.of(&["*", "*.shop.example", "reviews.default.svc.cluster.local"])]});
            (
                "networking.istio.io/v1",
                "Gateway",
                json!({"selector": {"istio": "ingressgateway"}, "servers": [server]}),
            )
        }
        10 => {
            let number = 20 + chance.below(200);
            (
                "networking.istio.io/v1",
                "ServiceEntry",
                json!({"hosts": [format!("e{i}.example")], "location": chance.of(&["MESH_EXTERNAL", "MESH_INTERNAL"]),
                "addresses": [format!("198.51.100.{number}")], "ports": [{"number": chance.of(&[80, 9080, 3306]), "name": "p", "protocol": chance.of(&["HTTP", "TCP", "GRPC"])}],
                "resolution": "STATIC", "endpoints": [{"address": "10.1.0.90"}, {"address": "10.1.0.91", "weight": 3}]}),
            )
        }
        _ => (
            "networking.istio.io/v1",
            "Sidecar",
            json!({"workloadSelector": {"labels": {"app": chance.of(&["web", "none"])}}, "egress": [{"hosts": [chance.of(&["./*", "*/*", "other/*"])]}]}),
        ),
    };
    json!({"apiVersion": version, "kind": kind, "metadata": meta, "spec": spec})
}
