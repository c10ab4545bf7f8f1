//! MeshNetworks that name clusters nobody knows (Istio `meshnetworks.MeshNetworksAnalyzer`).

use crate::codes::UNKNOWN_REGISTRY;
use crate::finding::Finding;
use crate::world::World;
use std::collections::BTreeSet;

/// The label of secrets with access to other clusters.
pub const REMOTE_SECRET: &str = "istio/multiCluster";

pub fn registries(world: &World) -> Vec<Finding> {
    let Some((networks, object)) = world.mesh_networks.as_ref().filter(|_| world.secrets_known)
    else {
        return Vec::new();
    };
    let remotes = world
        .secrets
        .iter()
        .filter(|s| s.label(REMOTE_SECRET) == Some("true"));
    let remotes = remotes.flat_map(|s| s.spec.data.keys().chain(s.spec.string_data.keys()));
    let mut known: BTreeSet<&str> = remotes.map(String::as_str).collect();
    known.extend(["Mock", "Kubernetes", "External"]);
    let mut out = Vec::new();
    for (name, network) in &networks.networks {
        for endpoints in &network.endpoints {
            let Some(registry) = endpoints
                .from_registry
                .as_deref()
                .filter(|r| !known.contains(r))
            else {
                continue;
            };
            let message = format!(
                "network {name} has the endpoints of cluster {registry}, which is not known"
            );
            let mut found = Finding::new(
                UNKNOWN_REGISTRY,
                object.clone(),
                "data.meshNetworks",
                message,
            );
            // Where istioctl says it is from.
            found.origin = format!("MeshNetworks {}/meshnetworks", world.istio_namespace);
            out.push(found.help(format!(
                "create the remote secret of cluster {registry}, or correct fromRegistry"
            )));
        }
    }
    out
}
