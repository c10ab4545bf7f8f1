//! What a user sees of the scenario, counted; and what the proxies and the gateway say of it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::net::TcpStream;

use super::replicated::{GATEWAY, GATEWAY_PORT};
use super::steps::{ready_pods, service_field, wait};
use super::tls_probe;
use crate::fetch::Connection;
use crate::lab::Cluster;
use crate::net::connect_in;

/// How often the product page is asked, for each kind of user.
const REQUESTS: usize = 100;
/// The JSON behind the page.
const REVIEWS: &str = "/api/v1/products/0/reviews";
/// Envoy's own port, inside its pod.
const ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 15000);
/// What the application in the first cluster calls the reviews of the second.
const GLOBAL_HOST: &str = "reviews.default.global";

/// How often each version answered; answers that were none under their status.
pub(super) type Counts = BTreeMap<String, usize>;

/// What was observed.
#[derive(Debug)]
pub struct Observed {
    jason: Counts,
    others: Counts,
    crossings: Vec<Crossing>,
    chain: Vec<String>,
}

/// Connections of one SNI through the other cluster's gateway.
#[derive(Debug, PartialEq, Eq)]
struct Crossing {
    sni: String,
    gateway: String,
    connections: u64,
    requests: u64,
}

/// Waits until the product page answers with reviews.
pub(super) async fn answers(cluster: &Cluster, patience: Duration) -> anyhow::Result<()> {
    wait("the product page", patience, || async {
        let mut page = browser(cluster).await.map_err(|error| error.to_string())?;
        let page_answer = page
            .get("/productpage", &[])
            .await
            .map_err(|error| error.to_string())?;
        if page_answer.status != 200 {
            return Err(format!("answers {}", page_answer.status));
        }
        match version(&mut page, None)
            .await
            .map_err(|error| error.to_string())?
            .as_str()
        {
            "v1" => Ok(()),
            other => Err(format!("shows reviews {other}")),
        }
    })
    .await
}

/// Waits until a request of jason's is served by a version that the first cluster does not have.
pub(super) async fn reaches_the_other_cluster(
    cluster: &Cluster,
    patience: Duration,
) -> anyhow::Result<()> {
    wait("jason's reviews", patience, || async {
        let mut page = browser(cluster).await.map_err(|error| error.to_string())?;
        let cookie = log_in(&mut page, "jason")
            .await
            .map_err(|error| error.to_string())?;
        match version(&mut page, Some(&cookie))
            .await
            .map_err(|error| error.to_string())?
            .as_str()
        {
            "v2" | "v3" => Ok(()),
            other => Err(format!("are {other}")),
        }
    })
    .await
}

/// Counts versions for jason and for nobody, and asks proxies what was crossed.
pub(super) async fn observe(first: &Cluster, second: &Cluster) -> anyhow::Result<Observed> {
    let before = connections(first).await?;
    let mut page = browser(first).await?;
    let cookie = log_in(&mut page, "jason").await?;
    let mut jason = Counts::new();
    let mut others = Counts::new();
    for _ in 0..REQUESTS {
        *jason
            .entry(version(&mut page, Some(&cookie)).await?)
            .or_default() += 1;
        *others.entry(version(&mut page, None).await?).or_default() += 1;
    }
    let after = connections(first).await?;
    let gateway = service_field(
        &second.client,
        GATEWAY,
        "/status/loadBalancer/ingress/0/ip",
        Duration::from_secs(5),
    );
    let gateway: Ipv4Addr = gateway.await?.parse().context("the gateway's address")?;
    let sni = sni("v2");
    let chain = tls_probe::chain(&first.net.netns, (gateway, GATEWAY_PORT).into(), &sni).await;
    let chain = chain.unwrap_or_else(|error| vec![format!("not seen: {error:#}")]);
    Ok(Observed {
        jason,
        others,
        crossings: crossings(&before, &after),
        chain,
    })
}

/// The name by which the first cluster's proxy asks the gateway for a subset.
fn sni(subset: &str) -> String {
    format!("outbound_.9080_.{subset}_.{GLOBAL_HOST}")
}

async fn browser(cluster: &Cluster) -> anyhow::Result<Connection> {
    let stream = TcpStream::connect(cluster.ingress).await?;
    Connection::new(stream, &cluster.ingress.to_string()).await
}

/// Logs in as a user would; the cookie.
async fn log_in(page: &mut Connection, user: &str) -> anyhow::Result<String> {
    let answer = page
        .post_form("/login", &format!("username={user}&passwd="))
        .await?;
    let cookie = answer
        .headers
        .get("set-cookie")
        .and_then(|value| value.to_str().ok());
    match cookie.and_then(|cookie| cookie.split(';').next()) {
        Some(cookie) => Ok(cookie.to_string()),
        None => bail!("logging in: answer {} without a cookie", answer.status),
    }
}

/// The version whose reviews the product page got.
async fn version(page: &mut Connection, cookie: Option<&str>) -> anyhow::Result<String> {
    let headers: Vec<_> = cookie
        .map(|cookie| ("cookie", cookie))
        .into_iter()
        .collect();
    let answer = page.get(REVIEWS, &headers).await?;
    if answer.status != 200 {
        return Ok(format!("status {}", answer.status));
    }
    let reviews: Value = serde_json::from_slice(&answer.body).context("the product page's JSON")?;
    Ok(version_of(&reviews).to_string())
}

/// v1 shows no stars, v2 black ones, v3 red ones.
fn version_of(reviews: &Value) -> &'static str {
    match &reviews["reviews"][0] {
        Value::Null => "no reviews",
        review => match (&review["rating"], review["rating"]["color"].as_str()) {
            (Value::Null, _) => "v1",
            (_, Some("black")) => "v2",
            (_, Some("red")) => "v3",
            _ => "no ratings",
        },
    }
}

/// What the product page's proxy says of its connections to the other cluster: by cluster and endpoint.
type Connections = BTreeMap<(String, String), (u64, u64)>;

async fn connections(cluster: &Cluster) -> anyhow::Result<Connections> {
    let pods = ready_pods(&cluster.client, "default", "app=productpage").await?;
    let (name, _) = pods.first().context("there is no product page")?;
    let netns = crate::pods::netns_of(&cluster.records, &cluster.name, "default", name)?;
    let stream = connect_in(&netns, ADMIN, Duration::from_secs(2))
        .await
        .context("Envoy's admin port")?;
    let mut admin = Connection::new(stream, "envoy").await?;
    let answer = admin.get("/clusters?format=json", &[]).await?;
    let statuses: Value = serde_json::from_slice(&answer.body).context("Envoy's clusters")?;
    Ok(parse_clusters(&statuses))
}

fn parse_clusters(statuses: &Value) -> Connections {
    let mut found = Connections::new();
    let clusters = statuses["cluster_statuses"]
        .as_array()
        .into_iter()
        .flatten();
    for cluster in clusters.filter(|c| {
        c["name"]
            .as_str()
            .is_some_and(|name| name.ends_with(GLOBAL_HOST))
    }) {
        for host in cluster["host_statuses"].as_array().into_iter().flatten() {
            let socket = &host["address"]["socket_address"];
            let address = format!(
                "{}:{}",
                socket["address"].as_str().unwrap_or("?"),
                socket["port_value"]
            );
            let stat = |name: &str| {
                let stats = host["stats"].as_array().into_iter().flatten();
                let stat = stats.into_iter().find(|stat| stat["name"] == name);
                // Envoy writes 64-bit numbers as text, and leaves zeros out.
                stat.and_then(|stat| stat["value"].as_str()?.parse().ok())
                    .unwrap_or(0)
            };
            let name = cluster["name"].as_str().unwrap_or_default().to_string();
            found.insert((name, address), (stat("cx_total"), stat("rq_total")));
        }
    }
    found
}

fn crossings(before: &Connections, after: &Connections) -> Vec<Crossing> {
    after
        .iter()
        .filter_map(|((name, gateway), (connections, requests))| {
            let earlier = before
                .get(&(name.clone(), gateway.clone()))
                .map_or(0, |(_, requests)| *requests);
            let subset = name.split('|').nth(2).filter(|subset| !subset.is_empty())?;
            let requests = requests.saturating_sub(earlier);
            (requests > 0).then(|| Crossing {
                sni: sni(subset),
                gateway: gateway.clone(),
                connections: *connections,
                requests,
            })
        })
        .collect()
}

impl fmt::Display for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = |counts: &Counts| {
            let parts: Vec<String> = counts
                .iter()
                .map(|(version, count)| format!("{version} {count}"))
                .collect();
            parts.join(", ")
        };
        writeln!(f, "observed")?;
        writeln!(
            f,
            "  {:<28} {}",
            format!("{REQUESTS} requests as jason"),
            counts(&self.jason)
        )?;
        writeln!(
            f,
            "  {:<28} {}",
            format!("{REQUESTS} requests as others"),
            counts(&self.others)
        )?;
        for crossing in &self.crossings {
            writeln!(
                f,
                "  {:<28} {} with SNI {}: {} requests, {} connections",
                "gateway crossed",
                crossing.gateway,
                crossing.sni,
                crossing.requests,
                crossing.connections
            )?;
        }
        for (index, line) in self.chain.iter().enumerate() {
            writeln!(
                f,
                "  {:<28} {line}",
                if index == 0 {
                    "certificate chain seen"
                } else {
                    ""
                }
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn versions() {
        let cases = [
            (json!({"reviews": [{"text": "x"}]}), "v1"),
            (
                json!({"reviews": [{"rating": {"stars": 5, "color": "black"}}]}),
                "v2",
            ),
            (
                json!({"reviews": [{"rating": {"stars": 5, "color": "red"}}]}),
                "v3",
            ),
            (
                json!({"reviews": [{"rating": {"error": "x"}}]}),
                "no ratings",
            ),
            (json!({"error": "x"}), "no reviews"),
        ];
        for (reviews, expected) in cases {
            assert_eq!(version_of(&reviews), expected, "{reviews}");
        }
    }

    #[test]
    fn crossings_are_differences() {
        let statuses = |requests: &str| {
            parse_clusters(&json!({"cluster_statuses": [
                {"name": "outbound|9080|v2|reviews.default.global", "host_statuses": [{
                    "address": {"socket_address": {"address": "172.30.2.1", "port_value": 15443}},
                    "stats": [{"name": "cx_total", "value": "2"}, {"name": "rq_total", "value": requests}]
                }]},
                {"name": "outbound|9080|v1|reviews.default.svc.cluster.local", "host_statuses": [{"stats": []}]}
            ]}))
        };
        let expected = Crossing {
            sni: "outbound_.9080_.v2_.reviews.default.global".into(),
            gateway: "172.30.2.1:15443".into(),
            connections: 2,
            requests: 40,
        };
        assert_eq!(crossings(&statuses("10"), &statuses("50")), [expected]);
        assert_eq!(crossings(&statuses("50"), &statuses("50")), []);
    }
}
