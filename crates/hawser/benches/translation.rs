//! What translating costs: the first proxy, every further one, and all of them after a change.
//!
//!     scripts/bench            prints this table among others
//!
//! Pure computation over a mesh made up in memory; memory is the process's own, before and after.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hawser_api::{Change, Event, SourceId};
use hawser_lower::{Lowerer, Settings};
use hawser_model::{ClusterId, Proxy, Snapshot};
use hawser_proto::envoy::config::core::v3::Node;
use hawser_translate::{Given, Translator};
use serde_json::{Value, json};

const SERVICES: usize = 1000;
const PROXIES: usize = 1000;
const PODS_PER_SERVICE: usize = 3;

fn main() -> Result<()> {
    println!(
        "| services | proxies | namespaces | lowering, all (ms) | lowering, one VirtualService (ms) | first proxy (ms) | each further one (µs) | all after one VirtualService (ms) | all after one endpoint (ms) | kept per proxy (KB) |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for namespaces in [1, 20] {
        measure(namespaces)?;
    }
    Ok(())
}

fn measure(namespaces: usize) -> Result<()> {
    let mut mesh = Mesh::new(namespaces)?;
    let (snapshot, lowering) = timed(|| mesh.lowerer.snapshot());
    let proxies = (0..PROXIES)
        .map(|i| proxy(i, namespaces))
        .collect::<Result<Vec<_>>>()?;

    let translator = Translator::new(snapshot);
    let (first, cold) = timed(|| everything(&translator, &proxies[..1]));
    // One proxy of each namespace is as cold as the first.
    let mut kept = first;
    kept.extend(everything(&translator, &proxies[1..namespaces]));
    let before = resident_kb()?;
    let (more, warm) = timed(|| everything(&translator, &proxies[namespaces..]));
    let others = PROXIES - namespaces;
    let per_proxy = resident_kb()?.saturating_sub(before) / others as u64;
    kept.extend(more);

    mesh.apply(json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": { "name": "bench", "namespace": "ns-0" },
        "spec": { "hosts": ["service-0"], "http": [{ "name": "new", "route": [{ "destination": { "host": "service-0" } }] }] },
    }))?;
    let (snapshot, relowering) = timed(|| mesh.lowerer.snapshot());
    let (translator, route) = renewed(&translator, snapshot, &proxies, &mut kept);
    mesh.apply(slice(0, namespaces, &["10.99.0.1"]))?;
    let snapshot = mesh.lowerer.snapshot();
    let (_, endpoint) = renewed(&translator, snapshot, &proxies, &mut kept);

    println!(
        "| {SERVICES} | {PROXIES} | {namespaces} | {:.1} | {:.2} | {:.1} | {:.1} | {:.1} | {:.1} | {per_proxy} |",
        ms(lowering),
        ms(relowering),
        ms(cold),
        ms(warm) * 1000.0 / others as f64,
        ms(route),
        ms(endpoint),
    );
    Ok(())
}

/// A translator for the next snapshot, and how long until every proxy was asked about.
fn renewed(
    last: &Translator,
    snapshot: Arc<Snapshot>,
    proxies: &[Proxy],
    kept: &mut Vec<[Given; 5]>,
) -> (Translator, Duration) {
    timed(|| {
        let translator = Translator::next(last, snapshot);
        *kept = everything(&translator, proxies);
        translator
    })
}

/// What each proxy is given of every type.
fn everything(translator: &Translator, proxies: &[Proxy]) -> Vec<[Given; 5]> {
    let one = |p: &Proxy| {
        [
            translator.clusters(p),
            translator.endpoints(p, None),
            translator.listeners(p),
            translator.routes(p, None),
            translator.names(p),
        ]
    };
    proxies.iter().map(one).collect()
}

struct Mesh {
    lowerer: Lowerer,
}

impl Mesh {
    fn new(namespaces: usize) -> Result<Self> {
        let mut mesh = Self {
            lowerer: Lowerer::with_settings(Settings::new(ClusterId::new("bench"))),
        };
        for i in 0..SERVICES {
            mesh.apply(json!({
                "apiVersion": "v1", "kind": "Service", "metadata": { "name": format!("service-{i}"), "namespace": namespace(i, namespaces) },
                "spec": {
                    "clusterIP": format!("10.200.{}.{}", i / 250, i % 250 + 1),
                    "selector": { "app": format!("service-{i}") }, "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }],
                },
            }))?;
            mesh.apply(slice(i, namespaces, &[]))?;
        }
        Ok(mesh)
    }

    fn apply(&mut self, object: Value) -> Result<()> {
        let resource = hawser_api::parse(object)?.resource;
        self.lowerer.apply(Change {
            source: SourceId::new("bench"),
            version: None,
            event: Event::Apply(resource),
        });
        Ok(())
    }
}

fn namespace(i: usize, namespaces: usize) -> String {
    format!("ns-{}", i % namespaces)
}

/// The endpoints of a service, with further addresses.
fn slice(i: usize, namespaces: usize, more: &[&str]) -> Value {
    let own = (0..PODS_PER_SERVICE)
        .map(|p| i * PODS_PER_SERVICE + p)
        .map(|n| format!("10.1.{}.{}", n / 250, n % 250 + 1));
    let addresses = own.chain(more.iter().map(|a| (*a).to_owned()));
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": format!("service-{i}"), "namespace": namespace(i, namespaces),
            "labels": { "kubernetes.io/service-name": format!("service-{i}") },
        },
        "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
        "endpoints": addresses.map(|a| json!({ "addresses": [a], "conditions": { "ready": true } })).collect::<Vec<_>>(),
    })
}

fn proxy(i: usize, namespaces: usize) -> Result<Proxy> {
    let namespace = namespace(i, namespaces);
    let id = format!(
        "sidecar~10.1.{}.{}~proxy-{i}.{namespace}~{namespace}.svc.cluster.local",
        i / 250,
        i % 250 + 1
    );
    Ok(hawser_translate::node::proxy(&Node {
        id,
        ..Node::default()
    })?)
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let result = work();
    (result, began.elapsed())
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn resident_kb() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))
        .context("no VmRSS")?;
    Ok(line
        .split_whitespace()
        .next()
        .context("empty VmRSS")?
        .parse()?)
}
