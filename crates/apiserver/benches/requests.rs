//! How fast the API server starts and answers, over TLS and one connection, and what a cluster costs in memory.
//!
//!     cargo bench -p hawser-apiserver                     with the disk of the temporary folder, which every write waits for
//!     TMPDIR=/dev/shm cargo bench -p hawser-apiserver     without

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use hawser_apiserver::{Config, Handle, Server};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const ROUNDS: usize = 2000;
const LISTED: usize = 1000;
const STARTS: usize = 5;
/// Empty clusters of one process beside the first.
const FURTHER: usize = 10;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let folder = std::env::temp_dir().join(format!("hawser-bench-requests-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let result = measure(&folder).await;
    // Tasks that end with their servers may still close files in it.
    tokio::time::sleep(Duration::from_secs(1)).await;
    std::fs::remove_dir_all(&folder)?;
    result
}

async fn measure(folder: &Path) -> Result<()> {
    println!("| embedded API server | p50 (ms) | p99 (ms) |\n|---|---|---|");
    starts(folder).await?;
    let server = Server::start(Config::new("bench", folder.join("bench"))).await?;
    let asking = Asking::new(&server)?;
    row("create a ConfigMap", creates(&asking).await?);
    row("get", gets(&asking).await?);
    row("apply on the server (SSA)", applies(&asking).await?);
    row("create, until a watch has it", deliveries(&asking).await?);
    row(&format!("list {LISTED}"), lists(&asking).await?);
    let first = resident_kb()?;
    let mut clusters = Vec::new();
    for n in 0..FURTHER {
        let config = Config::new(format!("further-{n}"), folder.join(format!("further-{n}")));
        clusters.push(Server::start(config).await?);
    }
    let grown = resident_kb()?.saturating_sub(first);
    println!(
        "\nMemory after that: {} MB, the client in it; {} KB for each of {FURTHER} further empty clusters.",
        first >> 10,
        grown / FURTHER as u64
    );
    Ok(())
}

/// From nothing running to the first answer of /readyz: with an empty folder, and with one that was used before.
async fn starts(folder: &Path) -> Result<()> {
    let (mut first, mut again) = (Vec::new(), Vec::new());
    for n in 0..STARTS {
        let data = folder.join(format!("start-{n}"));
        for times in [&mut first, &mut again] {
            let server = start(&data, times).await?;
            server.shutdown();
        }
    }
    row("start to ready, empty folder", first);
    row("start to ready, used folder", again);
    Ok(())
}

/// Starts a server and notes how long it took; a database that the one before still closes is waited for.
async fn start(data: &Path, times: &mut Vec<Duration>) -> Result<Handle> {
    let patience = Instant::now() + Duration::from_secs(10);
    loop {
        let began = Instant::now();
        match Server::start(Config::new("bench", data)).await {
            Ok(server) => {
                let asking = Asking::new(&server)?;
                asking
                    .bytes(Method::GET, "/readyz", "", Bytes::new())
                    .await?;
                times.push(began.elapsed());
                return Ok(server);
            }
            Err(error) if Instant::now() > patience => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn creates(asking: &Asking) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    for n in 0..ROUNDS {
        let began = Instant::now();
        asking.create(&format!("created-{n}")).await?;
        times.push(began.elapsed());
    }
    Ok(times)
}

async fn gets(asking: &Asking) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    for n in 0..ROUNDS {
        let path = format!("{MAPS}/created-{n}");
        let began = Instant::now();
        asking.bytes(Method::GET, &path, "", Bytes::new()).await?;
        times.push(began.elapsed());
    }
    Ok(times)
}

async fn applies(asking: &Asking) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    for n in 0..ROUNDS {
        let path = format!("{MAPS}/created-{n}?fieldManager=bench&force=true");
        let body = object(&format!("created-{n}"), n);
        let began = Instant::now();
        asking
            .bytes(Method::PATCH, &path, "application/apply-patch+yaml", body)
            .await?;
        times.push(began.elapsed());
    }
    Ok(times)
}

async fn deliveries(asking: &Asking) -> Result<Vec<Duration>> {
    let watch = asking
        .send(
            Method::GET,
            &format!("{MAPS}?watch=1&labelSelector=watched"),
            "",
            Bytes::new(),
        )
        .await?;
    let mut events = watch.into_body();
    let mut times = Vec::new();
    for n in 0..LISTED {
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": format!("watched-{n}"), "labels": {"watched": "yes"}}});
        let began = Instant::now();
        let created = asking.bytes(
            Method::POST,
            MAPS,
            "application/json",
            body.to_string().into(),
        );
        let (created, event) = tokio::join!(created, events.frame());
        created?;
        event.context("the watch ended")??;
        times.push(began.elapsed());
    }
    Ok(times)
}

async fn lists(asking: &Asking) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    for _ in 0..50 {
        let began = Instant::now();
        asking
            .bytes(
                Method::GET,
                &format!("{MAPS}?limit={LISTED}"),
                "",
                Bytes::new(),
            )
            .await?;
        times.push(began.elapsed());
    }
    Ok(times)
}

fn object(name: &str, n: usize) -> Bytes {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"n": n.to_string()}})
        .to_string()
        .into()
}

fn row(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |hundredths: usize| {
        let index = (times.len() * hundredths / 100).min(times.len().saturating_sub(1));
        times
            .get(index)
            .map_or(0.0, |time| time.as_secs_f64() * 1000.0)
    };
    println!("| {what} | {:.2} | {:.2} |", at(50), at(99));
}

fn resident_kb() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let text = line.context("no VmRSS")?.trim().trim_end_matches(" kB");
    Ok(text.trim().parse()?)
}

/// A client of one server with its administrator's token.
struct Asking {
    http: HyperClient<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: String,
    authorization: String,
}

impl Asking {
    fn new(server: &Handle) -> Result<Asking> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(server.ca_pem().as_bytes())?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        // Otherwise a body waits for the acknowledgement of its head, which the kernel puts off by 40 ms.
        tcp.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_only()
            .enable_all_versions()
            .wrap_connector(tcp);
        Ok(Asking {
            http: HyperClient::builder(TokioExecutor::new()).build(connector),
            base: server.url(),
            authorization: format!("Bearer {}", server.token()),
        })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Bytes,
    ) -> Result<http::Response<Incoming>> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("authorization", &self.authorization)
            .header("accept", "application/json");
        if !content_type.is_empty() {
            request = request.header("content-type", content_type);
        }
        let answer = self.http.request(request.body(Full::new(body))?).await?;
        ensure!(answer.status().is_success(), "{path}: {}", answer.status());
        Ok(answer)
    }

    async fn bytes(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Bytes,
    ) -> Result<Bytes> {
        let answer = self.send(method, path, content_type, body).await?;
        Ok(answer.into_body().collect().await?.to_bytes())
    }

    async fn create(&self, name: &str) -> Result<Bytes> {
        self.bytes(Method::POST, MAPS, "application/json", object(name, 0))
            .await
    }
}
