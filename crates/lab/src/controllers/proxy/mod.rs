//! Service addresses inside a node's namespace: what kube-proxy does, with one ruleset for the whole node.

mod rules;

use std::time::Duration;

use futures::StreamExt;
use futures::stream::SelectAll;
use hawser_kube::{Client, Event, Selection, watch};
use tokio_util::sync::CancellationToken;

use super::world::{Kind, World};
use crate::net::{NodeNet, in_netns};

pub(super) use rules::render;

/// A burst of changes becomes one ruleset.
const DEBOUNCE: Duration = Duration::from_millis(20);
const RETRY: Duration = Duration::from_secs(1);

/// Keeps the node's rules equal to what Services and EndpointSlices say, until `shutdown`.
pub(super) async fn run(client: &Client, net: &NodeNet, shutdown: &CancellationToken) {
    if let Err(error) = in_node(net, "ip", &["-batch", "-"], routes(net)).await {
        tracing::error!(%error, "the node's routes to service addresses could not be set");
    }
    let mut events: SelectAll<_> = [Kind::Service, Kind::EndpointSlice]
        .into_iter()
        .map(|kind| {
            watch(client, kind.resource(), Selection::all()).map(move |event| (kind, event))
        })
        .collect();
    let mut world = World::default();
    let mut unseen = vec![Kind::Service, Kind::EndpointSlice];
    let mut applied = String::new();
    let mut due: Option<tokio::time::Instant> = None;
    loop {
        let wait = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            Some((kind, event)) = events.next() => {
                if !matches!(event, Event::Stale { .. }) {
                    unseen.retain(|waiting| *waiting != kind);
                }
                if matches!(event, Event::Bookmark { .. } | Event::Stale { .. }) {
                    continue;
                }
                world.fold(kind, event);
                // The first rules wait until both kinds are known: half of them would refuse connections.
                if unseen.is_empty() {
                    due.get_or_insert_with(|| tokio::time::Instant::now() + DEBOUNCE);
                }
            }
            () = wait => {
                due = None;
                let rules = render(&world, net);
                if rules == applied {
                    continue;
                }
                if let Err(error) = keep_bridge_out(net) {
                    tracing::warn!(%error, "pods may not reach each other through services");
                }
                match in_node(net, "nft", &["-f", "-"], rules.clone()).await {
                    Ok(()) => applied = rules,
                    Err(error) => {
                        tracing::error!(%error, "service rules were refused; those before stay");
                        due = Some(tokio::time::Instant::now() + RETRY);
                    }
                }
            }
        }
    }
}

/// Service addresses are no address of anybody: without a route the node could not even send to them. Load balancer
/// addresses are the node's own, so that it answers for them on the network between clusters.
fn routes(net: &NodeNet) -> String {
    format!(
        "route replace {} dev {} src {}\nroute replace local {} dev lo src {}\n",
        net.service_cidr,
        net.pod_bridge,
        net.pod_gateway(),
        net.lb_pool,
        net.node_ip,
    )
}

/// Where the module br_netfilter is loaded (container runtimes load it), the bridge translates addresses before the
/// node routes, and then hands packets from port to port: but its ports are isolated. Translation is to happen in the
/// node's forwarding only. The setting is per namespace and starts as 1 whenever the module is loaded.
fn keep_bridge_out(net: &NodeNet) -> std::io::Result<()> {
    let setting = std::path::Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables");
    in_netns(&net.netns, || {
        if setting.exists() {
            std::fs::write(setting, "0")
        } else {
            Ok(())
        }
    })
}

/// Runs a program inside the node's namespace with `input`.
async fn in_node(
    net: &NodeNet,
    program: &'static str,
    args: &'static [&'static str],
    input: String,
) -> std::io::Result<()> {
    let netns = net.netns.clone();
    let work = move || in_netns(&netns, || feed(program, args, &input));
    tokio::task::spawn_blocking(work)
        .await
        .map_err(std::io::Error::other)?
}

fn feed(program: &str, args: &[&str], input: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(std::io::Error::other(format!("{program}: {}", said.trim())))
}
