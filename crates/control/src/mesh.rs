//! MeshConfig and MeshNetworks: from files, or from ConfigMap `istio`, followed as it changes.

use std::path::Path;

use anyhow::{Context, Result};
use futures::StreamExt;
use hawser_api::mesh::{MeshConfig, MeshNetworks};
use hawser_kube::{Client, Event, Resource, Selection};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::settings::{self, Read};

const CONFIG_MAPS: Resource = Resource::namespaced("", "v1", "ConfigMap", "configmaps");

/// The mesh's settings.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Mesh {
    pub(crate) config: MeshConfig,
    pub(crate) networks: MeshNetworks,
}

pub(crate) fn read_file<T>(
    path: Option<&Path>,
    read: impl Fn(&str, &str) -> Result<Read<T>, String>,
) -> Result<Option<T>> {
    let Some(path) = path else { return Ok(None) };
    let text =
        std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let read = read(&path.display().to_string(), &text).map_err(anyhow::Error::msg)?;
    read.warnings.iter().for_each(|w| tracing::warn!("{w}"));
    Ok(Some(read.settings))
}

pub(crate) async fn of_cluster(client: &Client, namespace: &str) -> Result<Mesh> {
    match client.get(&CONFIG_MAPS, Some(namespace), "istio").await {
        Ok(map) => mesh_of(&map)
            .map_err(|e| anyhow::anyhow!("configmap {namespace}/istio is refused: {e}")),
        Err(hawser_kube::Error::NotFound(_)) => Ok(Default::default()),
        Err(error) => Err(error).with_context(|| format!("reading configmap {namespace}/istio")),
    }
}

fn mesh_of(map: &Value) -> Result<Mesh, String> {
    let text = |key: &str| map["data"][key].as_str().unwrap_or_default();
    let config = settings::mesh_config("mesh", text("mesh"))?;
    let networks = settings::mesh_networks("meshNetworks", text("meshNetworks"))?;
    config
        .warnings
        .iter()
        .chain(&networks.warnings)
        .for_each(|w| tracing::warn!("configmap istio: {w}"));
    Ok(Mesh {
        config: config.settings,
        networks: networks.settings,
    })
}

/// Follows ConfigMap `istio`; what cannot be read is reported, and the settings before it stay.
pub(crate) async fn follow(
    client: Client,
    namespace: String,
    meshes: watch::Sender<Mesh>,
    drain: CancellationToken,
) {
    let selection = Selection::in_namespace(namespace.as_str()).fields("metadata.name=istio");
    let mut events = hawser_kube::watch(&client, CONFIG_MAPS, selection);
    loop {
        let event = tokio::select! {
            () = drain.cancelled() => return,
            event = events.next() => event,
        };
        let map = match event {
            None => return,
            Some(Event::Reset { objects, .. }) => objects.into_iter().next(),
            Some(Event::Apply { object, .. }) => Some(object),
            Some(_) => None,
        };
        match map.as_ref().map(mesh_of) {
            None => {}
            Some(Ok(mesh)) => drop(meshes.send_if_modified(|known| {
                let changed = *known != mesh;
                *known = mesh;
                changed
            })),
            Some(Err(error)) => tracing::error!(
                "configmap {namespace}/istio is refused, the settings before it stay: {error}"
            ),
        }
    }
}
