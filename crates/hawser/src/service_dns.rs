//! `hawser service-dns`: answers the hosts of ServiceEntries, for cluster DNS to forward `.global` to.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use hawser_agent::dns::{Server, ServerConfig, Table};
use hawser_kube::{Client, Event, Resource, Selection};
use serde_json::Value;
use tokio::sync::watch;

const SERVICE_ENTRIES: Resource = Resource::namespaced(
    "networking.istio.io",
    "v1",
    "ServiceEntry",
    "serviceentries",
);

/// Answer the hosts of a cluster's ServiceEntries over DNS.
#[derive(clap::Args, Debug, Clone)]
pub struct ServiceDnsArgs {
    /// Kubeconfig of the cluster; without it, the one of the pod that this runs in.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Where to listen, UDP and TCP.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:15053")]
    listen: SocketAddr,
}

/// Runs until SIGTERM or SIGINT. Other names than those of ServiceEntries do not exist here.
pub async fn run(args: ServiceDnsArgs) -> Result<()> {
    let drain = hawser_base::drain::on_signal().context("signal handlers")?;
    let client = match &args.kubeconfig {
        Some(path) => Client::from_kubeconfig_file(path, None).await?,
        None => Client::in_cluster()?,
    };
    let mut events = hawser_kube::watch(&client, SERVICE_ENTRIES, Selection::all());
    let mut known = Known::default();
    // Until the entries are known, nobody is told that a name does not exist.
    while !known.complete {
        tokio::select! {
            () = drain.cancelled() => return Ok(()),
            event = events.next() => match event {
                Some(event) => known.learn(event),
                None => bail!("the watch of ServiceEntries ended"),
            },
        }
    }
    let (table, tables) = watch::channel(Arc::new(known.table()));
    let server = Server::bind(
        ServerConfig {
            listen: args.listen,
            upstreams: Vec::new(),
        },
        tables,
    )
    .await?;
    tracing::info!(address = %server.address(), hosts = table.borrow().len(), "answering the hosts of ServiceEntries");
    let serving = tokio::spawn(server.run(drain.clone()));
    loop {
        tokio::select! {
            () = drain.cancelled() => break,
            event = events.next() => match event {
                Some(event) => {
                    known.learn(event);
                    table.send_replace(Arc::new(known.table()));
                }
                None => bail!("the watch of ServiceEntries ended"),
            },
        }
    }
    serving.await.context("the DNS server")
}

/// The ServiceEntries by namespace and name.
#[derive(Default)]
struct Known {
    entries: BTreeMap<(String, String), Value>,
    complete: bool,
}

impl Known {
    fn learn(&mut self, event: Event) {
        match event {
            Event::Reset { objects, .. } => {
                self.entries = objects
                    .into_iter()
                    .map(|object| (key(&object), object))
                    .collect();
                self.complete = true;
            }
            Event::Apply { object, .. } => {
                self.entries.insert(key(&object), object);
            }
            Event::Delete {
                namespace, name, ..
            } => {
                self.entries.remove(&(namespace, name));
            }
            Event::Absent => {
                self.entries.clear();
                self.complete = true;
            }
            // How fresh this is, not what there is: without an answer the last one stays good.
            Event::Bookmark { .. } | Event::Stale { .. } => {}
        }
    }

    /// Every host that has addresses, its own or those that the control plane gave it.
    fn table(&self) -> Table {
        let mut hosts: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
        for entry in self.entries.values() {
            let own = addresses(entry.pointer("/spec/addresses"), |item| item.as_str());
            let given = addresses(entry.pointer("/status/addresses"), |item| {
                item.get("value")?.as_str()
            });
            let all = if own.is_empty() { given } else { own };
            for host in entry
                .pointer("/spec/hosts")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                let Some(host) = host.as_str().filter(|_| !all.is_empty()) else {
                    continue;
                };
                let known = hosts.entry(host.to_ascii_lowercase()).or_default();
                known.extend(
                    all.iter()
                        .filter(|address| !known.contains(address))
                        .copied()
                        .collect::<Vec<_>>(),
                );
            }
        }
        Table::new(hosts)
    }
}

fn key(object: &Value) -> (String, String) {
    let text = |name: &str| {
        object["metadata"][name]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    (text("namespace"), text("name"))
}

/// The items that are addresses; ranges cannot be answered.
fn addresses(list: Option<&Value>, text: impl Fn(&Value) -> Option<&str>) -> Vec<IpAddr> {
    let items = list.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(|item| text(item)?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::{Event, Known};
    use serde_json::{Value, json};

    fn entry(name: &str, hosts: Value, addresses: Value, status: Value) -> Value {
        json!({
            "metadata": {"namespace": "default", "name": name},
            "spec": {"hosts": hosts, "addresses": addresses},
            "status": {"addresses": status},
        })
    }

    #[test]
    fn hosts_of_service_entries() {
        let mut known = Known::default();
        let version = || "1".to_owned();
        known.learn(Event::Reset {
            objects: vec![
                entry(
                    "a",
                    json!(["reviews.default.global"]),
                    json!(["240.0.0.3", "10.0.0.0/8"]),
                    json!([]),
                ),
                entry(
                    "b",
                    json!(["given.global", 5]),
                    json!([]),
                    json!([{"value": "240.240.0.1"}]),
                ),
                entry("c", json!(["none.global"]), Value::Null, Value::Null),
            ],
            resource_version: version(),
        });
        let more = entry(
            "d",
            json!(["Reviews.default.global"]),
            json!(["240.0.0.4", "240.0.0.3"]),
            json!([]),
        );
        known.learn(Event::Apply {
            object: more,
            resource_version: version(),
        });
        let found = |known: &Known, name: &str| {
            let table = known.table();
            let found = table.find(name).map(|found| {
                found
                    .addresses
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
            });
            found.map(|all| all.join(" "))
        };
        assert_eq!(
            found(&known, "given.global").as_deref(),
            Some("240.240.0.1")
        );
        assert_eq!(found(&known, "none.global"), None);
        assert_eq!(
            found(&known, "reviews.default.global").as_deref(),
            Some("240.0.0.3 240.0.0.4")
        );
        known.learn(Event::Delete {
            namespace: "default".into(),
            name: "d".into(),
            uid: String::new(),
            resource_version: version(),
        });
        assert_eq!(
            found(&known, "reviews.default.global").as_deref(),
            Some("240.0.0.3")
        );
    }
}
