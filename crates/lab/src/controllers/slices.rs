//! EndpointSlices of Services with a selector (`discovery.k8s.io/v1`).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

use super::action::Action;
use super::engine::Surroundings;
use super::select::service_picks;
use super::world::{Key, Kind, Meta, World};
use super::{hash, pod};

pub(super) const SERVICE_NAME: &str = "kubernetes.io/service-name";
pub(super) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
const HEADLESS: &str = "service.kubernetes.io/headless";
/// Endpoints per slice, Kubernetes' default.
const PER_SLICE: usize = 100;

/// Makes the slices of a Service what its pods say.
pub(super) fn reconcile(world: &World, key: &Key, _around: &Surroundings<'_>) -> Vec<Action> {
    let Some(service) = world.services.get(key) else {
        return Vec::new();
    };
    if !has_selector(service) || service.is_going() {
        return Vec::new();
    }
    let mut wanted: BTreeMap<String, Value> = BTreeMap::new();
    for slice in slices(world, service) {
        let name = slice
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        wanted.insert(name, slice);
    }
    let mut actions = Vec::new();
    for known in world.slices.in_namespace(&key.0) {
        let labels = known.labels();
        let ours = labels.get(MANAGED_BY).map(String::as_str) == Some(MANAGER)
            && labels.get(SERVICE_NAME).map(String::as_str) == Some(service.name());
        if !ours {
            continue;
        }
        match wanted.remove(known.name()) {
            Some(slice) if same(known, &slice) => {}
            Some(mut slice) => {
                slice["metadata"]["resourceVersion"] = json!(known.meta().resource_version);
                actions.push(Action::Replace {
                    kind: Kind::EndpointSlice,
                    object: slice,
                });
            }
            None => {
                let key = (known.namespace().to_owned(), known.name().to_owned());
                let uid = known.uid().to_owned();
                actions.push(Action::Delete {
                    kind: Kind::EndpointSlice,
                    key,
                    uid,
                });
            }
        }
    }
    // New slices come before old ones go, so that no endpoint is missing in between.
    let mut all: Vec<Action> = wanted
        .into_values()
        .map(|object| Action::Create {
            kind: Kind::EndpointSlice,
            object,
        })
        .collect();
    all.append(&mut actions);
    all
}

/// Whether endpoints follow from pods.
pub(super) fn has_selector(service: &Service) -> bool {
    service.spec.as_ref().is_some_and(|spec| {
        spec.selector
            .as_ref()
            .is_some_and(|selector| !selector.is_empty())
            && spec.type_.as_deref() != Some("ExternalName")
    })
}

/// The pods that a Service picks and that have an address, by name.
pub(super) fn picked<'a>(
    world: &'a World,
    service: &'a Service,
) -> impl Iterator<Item = (&'a Pod, &'a str)> {
    let selector = service
        .spec
        .as_ref()
        .and_then(|spec| spec.selector.as_ref());
    world
        .pods
        .in_namespace(service.namespace())
        .filter(move |pod| service_picks(selector, pod.labels()) && !pod::is_finished(pod))
        .filter_map(|pod| pod::ip(pod).map(|ip| (pod, ip)))
}

pub(super) fn publishes_unready(service: &Service) -> bool {
    service
        .spec
        .as_ref()
        .and_then(|spec| spec.publish_not_ready_addresses)
        == Some(true)
}

/// The ports of a Service on one pod: those whose target it does not name are left out.
pub(super) fn ports(service: &Service, pod: &Pod) -> Vec<Value> {
    let ports = service
        .spec
        .iter()
        .flat_map(|spec| spec.ports.iter().flatten());
    ports
        .filter_map(|port| {
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            let number = pod::target_port(pod, port.target_port.as_ref(), port.port, protocol)?;
            let mut value = json!({
                "name": port.name.as_deref().unwrap_or_default(), "port": number, "protocol": protocol,
            });
            if let Some(application) = &port.app_protocol {
                value["appProtocol"] = application.as_str().into();
            }
            Some(value)
        })
        .collect()
}

/// The name by which a pod of a headless Service is found, as `db-0` in `db-0.db.default.svc`.
pub(super) fn hostname<'a>(pod: &'a Pod, service: &Service) -> Option<&'a str> {
    let spec = pod.spec.as_ref()?;
    let ours = spec.subdomain.as_deref() == Some(service.name());
    spec.hostname
        .as_deref()
        .filter(|hostname| ours && !hostname.is_empty())
}

/// Endpoints that have the same ports.
#[derive(Default)]
struct Group {
    ports: Vec<Value>,
    endpoints: Vec<Value>,
}

fn slices(world: &World, service: &Service) -> Vec<Value> {
    // A named target port may differ from pod to pod, and a slice has one set of ports for all its endpoints.
    let mut groups: BTreeMap<(&str, String), Group> = BTreeMap::new();
    for (pod, ip) in picked(world, service) {
        let ports = ports(service, pod);
        let family = if ip.contains(':') { "IPv6" } else { "IPv4" };
        let group = groups
            .entry((family, json!(ports).to_string()))
            .or_default();
        group.ports = ports;
        group.endpoints.push(endpoint(world, service, pod, ip));
    }
    if groups.is_empty() {
        // As Kubernetes does: a slice without endpoints tells that somebody has looked.
        return vec![slice(service, "IPv4", &json!(null), 0, &[])];
    }
    let mut slices = Vec::new();
    for ((family, _), Group { ports, endpoints }) in groups {
        for (index, chunk) in endpoints.chunks(PER_SLICE).enumerate() {
            slices.push(slice(service, family, &json!(ports), index, chunk));
        }
    }
    slices
}

fn endpoint(world: &World, service: &Service, pod: &Pod, ip: &str) -> Value {
    let serving = pod::is_ready(pod);
    let terminating = pod.is_going();
    let mut endpoint = json!({
        "addresses": [ip],
        "conditions": {
            "ready": publishes_unready(service) || (serving && !terminating),
            "serving": serving,
            "terminating": terminating,
        },
        "targetRef": {"kind": "Pod", "namespace": pod.namespace(), "name": pod.name(), "uid": pod.uid()},
    });
    if let Some(hostname) = hostname(pod, service) {
        endpoint["hostname"] = hostname.into();
    }
    if let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()) {
        endpoint["nodeName"] = node.as_str().into();
        let node = world.nodes.get(&(String::new(), node.clone()));
        if let Some(zone) = node.and_then(|node| node.labels().get("topology.kubernetes.io/zone")) {
            endpoint["zone"] = zone.as_str().into();
        }
    }
    endpoint
}

fn slice(
    service: &Service,
    family: &str,
    ports: &Value,
    index: usize,
    endpoints: &[Value],
) -> Value {
    let suffix = hash::suffix(&json!([family, ports, index]));
    let mut labels = service.labels().clone();
    labels.insert(SERVICE_NAME.to_owned(), service.name().to_owned());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    if service
        .spec
        .as_ref()
        .and_then(|spec| spec.cluster_ip.as_deref())
        == Some("None")
    {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "namespace": service.namespace(),
            "name": format!("{}-{suffix}", service.name()),
            "labels": labels,
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "Service", "name": service.name(), "uid": service.uid(),
                "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "addressType": family,
        "endpoints": endpoints,
        "ports": ports,
    })
}

fn same(known: &EndpointSlice, wanted: &Value) -> bool {
    let Ok(wanted) = serde_json::from_value::<EndpointSlice>(wanted.clone()) else {
        return false;
    };
    let labels = |slice: &EndpointSlice| slice.labels().clone();
    // Empty and absent are the same to Kubernetes' clients and stores.
    let ports = |slice: &EndpointSlice| slice.ports.clone().unwrap_or_default();
    labels(known) == labels(&wanted)
        && known.address_type == wanted.address_type
        && known.endpoints == wanted.endpoints
        && ports(known) == ports(&wanted)
}

/// All slices, by namespace and Service.
pub(crate) fn by_service(world: &World) -> BTreeMap<(&str, &str), Vec<&EndpointSlice>> {
    let mut slices: BTreeMap<(&str, &str), Vec<&EndpointSlice>> = BTreeMap::new();
    for slice in world.slices.all() {
        if let Some(service) = slice.labels().get(SERVICE_NAME) {
            slices
                .entry((slice.namespace(), service))
                .or_default()
                .push(slice);
        }
    }
    slices
}
