//! Cluster DNS: the names of the cluster, and for others whom its Corefile says to ask.
//!
//! The server is a task of the lab with its sockets inside the node's namespace, on the node's address in the pod
//! network; the Service `kube-system/kube-dns` leads there like to any other endpoint. It is driven by a Corefile in
//! ConfigMap `kube-system/kube-dns` or, where that has none, `kube-system/coredns`.

mod cache;
mod corefile;
mod listen;
mod names;
mod objects;
mod plan;
mod server;
mod upstream;
mod wire;

use futures::StreamExt;
use futures::stream::SelectAll;
use hawser_kube::{Client, Event, Selection, watch};
use tokio_util::sync::CancellationToken;

use crate::controllers::world::Kind;
use crate::net::NodeNet;
use server::Server;

/// What the DNS server of one cluster works with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The cluster's API server.
    pub client: Client,
    /// The node's network.
    pub net: NodeNet,
}

/// Serves until `shutdown`. Fails only when port 53 cannot be had inside the node's namespace.
pub async fn run(settings: Settings, shutdown: CancellationToken) -> std::io::Result<()> {
    let Settings { client, net } = settings;
    let listeners = listen::bind(&net)?;
    let (udp, mut queries) = listen::serve(listeners, shutdown.clone())?;
    let announce = objects::announce(client.clone(), net.clone());
    tokio::pin!(announce);
    let mut announced = false;

    let kinds = [
        (Kind::Service, Selection::all()),
        (Kind::EndpointSlice, Selection::all()),
        (Kind::Pod, Selection::all()),
        (Kind::ConfigMap, Selection::in_namespace("kube-system")),
    ];
    let mut events: SelectAll<_> = kinds
        .into_iter()
        .map(|(kind, selection)| {
            watch(&client, kind.resource(), selection).map(move |event| (kind, event))
        })
        .collect();
    let mut server = Server::new(net.netns.clone());
    let mut buffer = [0; 4096];
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = &mut announce, if !announced => announced = true,
            Some((kind, event)) = events.next() => {
                let concerns_corefile = kind == Kind::ConfigMap
                    && !matches!(event, Event::Stale { .. } | Event::Bookmark { .. });
                server.hear(kind, event);
                if concerns_corefile {
                    for (key, reason, message) in server.read_corefile() {
                        objects::tell(&client, &server, key, reason, message);
                    }
                }
            }
            received = udp.recv_from(&mut buffer) => {
                // Errors here are earlier answers that could not be delivered.
                if let Ok((length, from)) = received {
                    let to = server::Asker::Udp(from);
                    server.ask(buffer.get(..length).unwrap_or_default(), to, &udp).await;
                }
            }
            Some(query) = queries.recv() => server.ask(&query.bytes, server::Asker::Tcp(query.reply), &udp).await,
            done = server.answered() => server.pass_on(done, &udp).await,
        }
    }
}
