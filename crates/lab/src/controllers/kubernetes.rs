//! The Service `default/kubernetes`, by which pods reach the API server: its endpoints are not pods.

use serde_json::{Value, json};

use super::action::Action;
use super::engine::Surroundings;
use super::slices::SERVICE_NAME;
use super::world::{Key, Kind, Meta, World};

/// Writes where the API server is reached from inside the cluster's network.
pub(super) fn reconcile(world: &World, key: &Key, around: &Surroundings<'_>) -> Vec<Action> {
    if key.0 != "default" || key.1 != "kubernetes" || world.services.get(key).is_none() {
        return Vec::new();
    }
    let (ip, port) = (
        around.facts.apiserver.ip().to_string(),
        around.facts.apiserver.port(),
    );
    let ports = json!([{"name": "https", "port": port, "protocol": "TCP"}]);
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"namespace": key.0, "name": key.1, "labels": {SERVICE_NAME: key.1}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [ip], "conditions": {"ready": true}}],
        "ports": ports,
    });
    let endpoints = json!({
        "apiVersion": "v1", "kind": "Endpoints",
        // The slice is written here; nobody is to mirror it from the Endpoints.
        "metadata": {"namespace": key.0, "name": key.1, "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{"addresses": [{"ip": ip}], "ports": ports}],
    });
    let mut actions = Vec::new();
    let known = world
        .slices
        .get(key)
        .map(|known| (serde_json::to_value(known), known.meta()));
    actions.extend(write(
        Kind::EndpointSlice,
        slice,
        known,
        &["/endpoints/0/addresses/0", "/ports/0/port"],
    ));
    let known = world
        .endpoints
        .get(key)
        .map(|known| (serde_json::to_value(known), known.meta()));
    let decisive = ["/subsets/0/addresses/0/ip", "/subsets/0/ports/0/port"];
    actions.extend(write(Kind::Endpoints, endpoints, known, &decisive));
    actions
}

type Known<'a> = (
    serde_json::Result<Value>,
    &'a k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
);

/// Creates the object, or replaces it where one of the decisive fields differs.
fn write(
    kind: Kind,
    mut object: Value,
    known: Option<Known<'_>>,
    decisive: &[&str],
) -> Option<Action> {
    let Some((known, meta)) = known else {
        return Some(Action::Create { kind, object });
    };
    let known = known.unwrap_or_default();
    if decisive
        .iter()
        .all(|field| known.pointer(field) == object.pointer(field))
    {
        return None;
    }
    object["metadata"]["resourceVersion"] = json!(meta.resource_version);
    Some(Action::Replace { kind, object })
}
