//! Endpoints of Services with a selector: the older shape of slices, which `kubectl get endpoints` and old clients read.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use serde_json::{Value, json};

use super::action::Action;
use super::engine::Surroundings;
use super::pod;
use super::slices::{has_selector, hostname, picked, ports, publishes_unready};
use super::world::{Key, Kind, Meta, World};

const HEADLESS: &str = "service.kubernetes.io/headless";
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";

/// Makes the Endpoints of a Service what its pods say.
pub(super) fn reconcile(world: &World, key: &Key, _around: &Surroundings<'_>) -> Vec<Action> {
    let Some(service) = world.services.get(key) else {
        return Vec::new();
    };
    if !has_selector(service) || service.is_going() {
        return Vec::new();
    }
    let mut object = endpoints(world, service);
    match world.endpoints.get(key) {
        None => vec![Action::Create {
            kind: Kind::Endpoints,
            object,
        }],
        Some(known) if same(known, &object) => Vec::new(),
        Some(known) => {
            object["metadata"]["resourceVersion"] = json!(known.meta().resource_version);
            vec![Action::Replace {
                kind: Kind::Endpoints,
                object,
            }]
        }
    }
}

/// Addresses that have the same ports.
#[derive(Default)]
struct Subset {
    ports: Vec<Value>,
    ready: Vec<Value>,
    unready: Vec<Value>,
}

fn endpoints(world: &World, service: &Service) -> Value {
    let mut subsets: BTreeMap<String, Subset> = BTreeMap::new();
    for (pod, ip) in picked(world, service) {
        let anyway = publishes_unready(service);
        if pod.is_going() && !anyway {
            continue;
        }
        let ports = ports(service, pod);
        let subset = subsets.entry(json!(ports).to_string()).or_default();
        subset.ports = ports;
        let list = if anyway || pod::is_ready(pod) {
            &mut subset.ready
        } else {
            &mut subset.unready
        };
        list.push(address(service, pod, ip));
    }
    let subsets = subsets.into_values().map(
        |Subset {
             ports,
             ready,
             unready,
         }| {
            let mut subset = json!({});
            for (field, list) in [
                ("addresses", ready),
                ("notReadyAddresses", unready),
                ("ports", ports),
            ] {
                if !list.is_empty() {
                    subset[field] = list.into();
                }
            }
            subset
        },
    );
    let mut labels = service.labels().clone();
    labels.insert(MANAGED_BY.to_owned(), "endpoint-controller".to_owned());
    if service
        .spec
        .as_ref()
        .and_then(|spec| spec.cluster_ip.as_deref())
        == Some("None")
    {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {"namespace": service.namespace(), "name": service.name(), "labels": labels},
        "subsets": subsets.collect::<Vec<Value>>(),
    })
}

fn address(service: &Service, pod: &Pod, ip: &str) -> Value {
    let mut address = json!({
        "ip": ip,
        "targetRef": {"kind": "Pod", "namespace": pod.namespace(), "name": pod.name(), "uid": pod.uid()},
    });
    if let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()) {
        address["nodeName"] = node.as_str().into();
    }
    if let Some(hostname) = hostname(pod, service) {
        address["hostname"] = hostname.into();
    }
    address
}

fn same(known: &Endpoints, wanted: &Value) -> bool {
    let Ok(wanted) = serde_json::from_value::<Endpoints>(wanted.clone()) else {
        return false;
    };
    let subsets = |endpoints: &Endpoints| endpoints.subsets.clone().unwrap_or_default();
    known.labels() == wanted.labels() && subsets(known) == subsets(&wanted)
}
