//! What of DNS is seen through the API: the Service by which pods reach it, its configuration, and its complaints.

use std::time::Duration;

use hawser_kube::{Client, Error, Resource};
use serde_json::{Value, json};

use super::server::Server;
use crate::controllers::action::{About, event};
use crate::controllers::world::{Key, Kind};
use crate::net::NodeNet;

/// What applies until somebody writes another.
pub(super) const DEFAULT_COREFILE: &str = "\
.:53 {
    errors
    health
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 5
    }
    prometheus :9153
    forward . /etc/resolv.conf
    cache 30
    loop
    reload
    loadbalance
}
";

const EVENTS: Resource = Resource::namespaced("", "v1", "Event", "events");

/// Writes Service, endpoints and default configuration, trying until the API server takes them.
pub(super) async fn announce(client: Client, net: NodeNet) {
    for (kind, object, keep) in objects(&net) {
        let mut delay = Duration::from_millis(50);
        while let Err(error) = ensure(&client, kind, &object, keep).await {
            tracing::debug!(?kind, %error, "the DNS service is not announced yet");
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(Duration::from_secs(2));
        }
    }
}

/// Creates the object; one that exists is left alone with `keep`, else made equal.
async fn ensure(client: &Client, kind: Kind, object: &Value, keep: bool) -> Result<(), Error> {
    match client.create(&kind.resource(), object).await {
        Ok(_) => Ok(()),
        Err(Error::AlreadyExists(_)) if keep => Ok(()),
        Err(Error::AlreadyExists(_)) => {
            let text = |pointer| {
                object
                    .pointer(pointer)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
            };
            let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
            client
                .merge_patch(&kind.resource(), (Some(namespace), name), "", object)
                .await
                .map(drop)
        }
        Err(error) => Err(error),
    }
}

fn objects(net: &NodeNet) -> Vec<(Kind, Value, bool)> {
    let address = net.pod_gateway().to_string();
    let vip = net.service_cidr.hosts().nth(9).map(|ip| ip.to_string());
    let metadata = |name: &str| {
        json!({"namespace": "kube-system", "name": name,
            "labels": {"k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS"}})
    };
    let ports = json!([
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
    ]);
    let mut slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": metadata("kube-dns"),
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": true, "serving": true, "terminating": false}}],
        "ports": ports,
    });
    slice["metadata"]["labels"]["kubernetes.io/service-name"] = "kube-dns".into();
    let mut endpoints = json!({
        "apiVersion": "v1", "kind": "Endpoints", "metadata": metadata("kube-dns"),
        "subsets": [{"addresses": [{"ip": address}], "ports": ports}],
    });
    endpoints["metadata"]["labels"]["endpointslice.kubernetes.io/skip-mirror"] = "true".into();
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata("kube-dns"),
        "spec": {"clusterIP": vip, "ports": ports},
    });
    let config = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"namespace": "kube-system", "name": "coredns"},
        "data": {"Corefile": DEFAULT_COREFILE},
    });
    vec![
        (Kind::Service, service, true),
        (Kind::EndpointSlice, slice, false),
        (Kind::Endpoints, endpoints, false),
        (Kind::ConfigMap, config, true),
    ]
}

/// Tells about a ConfigMap, in the log and as an Event that `kubectl describe` shows.
pub(super) fn tell(
    client: &Client,
    server: &Server,
    key: Key,
    reason: &'static str,
    message: String,
) {
    tracing::warn!(config_map = %format!("{}/{}", key.0, key.1), message, "Corefile");
    let uid = server.config_map_uid(&key);
    let event = event(
        &About {
            kind: Kind::ConfigMap,
            key,
            uid,
        },
        reason,
        &message,
    );
    let client = client.clone();
    tokio::spawn(async move {
        match client.create(&EVENTS, &event).await {
            Ok(_) | Err(Error::AlreadyExists(_)) => {}
            Err(error) => tracing::debug!(%error, "an event was not stored"),
        }
    });
}
