//! A mesh from files alone: what commands look at that need no cluster.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result, bail};
use hawser_api::manifest::{self, Doc, Document};
use hawser_api::{Change, Event, Resource, SourceId};
use hawser_lower::{Lowerer, Settings};
use hawser_model::{ClusterId, Proxy, Snapshot};
use hawser_translate::{Resources, Translator};
use prost::Message;
use serde_json::{Map, Value, json};

use crate::blocks;

/// Clusters, settings and a proxy, as files.
#[derive(clap::Args, Debug)]
pub struct OfflineArgs {
    /// A cluster and the file of its Kubernetes objects (YAML or JSON, several documents); may be repeated.
    #[arg(long = "cluster", value_name = "ID=FILE", required = true, value_parser = pair)]
    clusters: Vec<(String, String)>,
    /// The first cluster's control plane also discovers the second (as a remote secret would have it); may be repeated.
    #[arg(long = "watch", value_name = "ID=ID2", value_parser = pair)]
    watches: Vec<(String, String)>,
    /// Whose control plane answers; the first cluster's unless given.
    #[arg(long, value_name = "ID")]
    control_plane: Option<String>,
    /// MeshConfig as YAML.
    #[arg(long, value_name = "FILE")]
    mesh_config: Option<PathBuf>,
    /// MeshNetworks as YAML.
    #[arg(long, value_name = "FILE")]
    mesh_networks: Option<PathBuf>,
    /// The proxy's xDS node as JSON (`id`, `cluster`, `metadata`, `locality`).
    #[arg(long, value_name = "FILE")]
    node: PathBuf,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((a, b)) if !a.is_empty() && !b.is_empty() => Ok((a.to_owned(), b.to_owned())),
        _ => Err("expected two names joined by '='".to_owned()),
    }
}

/// A proxy of such a mesh, and what it would be given.
pub struct Offline {
    pub snapshot: Arc<Snapshot>,
    pub proxy: Proxy,
    pub resources: Resources,
    /// Nothing was wrong with the files, the mesh, or what the proxy gets.
    pub clean: bool,
}

impl OfflineArgs {
    /// Reads the files; problems go to standard error.
    pub fn read(&self) -> Result<Offline> {
        let own = self
            .control_plane
            .clone()
            .unwrap_or_else(|| self.clusters[0].0.clone());
        let seen = |id: &str| id == own || self.watches.iter().any(|(a, b)| *a == own && b == id);
        if !self.clusters.iter().any(|(id, _)| *id == own) {
            bail!("--control-plane {own}: no --cluster of that name is given");
        }
        let mut errors = Vec::new();
        let mut lowerer = Lowerer::with_settings(Settings {
            mesh_config: settings(
                self.mesh_config.as_deref(),
                hawser_control::settings::mesh_config,
            )?,
            mesh_networks: settings(
                self.mesh_networks.as_deref(),
                hawser_control::settings::mesh_networks,
            )?,
            ..Settings::new(ClusterId::new(&own))
        });
        for (id, file) in self.clusters.iter().filter(|(id, _)| seen(id)) {
            read_cluster(id, Path::new(file), &mut lowerer, &mut errors)?;
        }
        let snapshot = thread::scope(|scope| {
            // What reads and prints protobuf needs them, and they take a while to load.
            scope.spawn(hawser_proto::json::pool);
            lowerer.snapshot()
        });
        let proxy = hawser_translate::node::proxy(&read_node(&self.node)?)?;
        let translator = Translator::new(Arc::clone(&snapshot));
        let resources = translator.all(&proxy);
        // The process ends with the command: giving thousands of objects back one by one would only take time.
        std::mem::forget((lowerer, translator));
        for error in &errors {
            eprintln!("{error}");
        }
        let problems = &resources.problems;
        for problem in snapshot.problems.iter().chain(problems) {
            eprintln!("{problem}");
        }
        let clean = errors.is_empty() && snapshot.problems.is_empty() && problems.is_empty();
        Ok(Offline {
            snapshot,
            proxy,
            resources,
            clean,
        })
    }
}

fn settings<T: Default>(
    path: Option<&Path>,
    read: impl Fn(&str, &str) -> Result<hawser_control::settings::Read<T>, String>,
) -> Result<T> {
    let Some(path) = path else {
        return Ok(T::default());
    };
    let text =
        std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let read = read(&path.display().to_string(), &text).map_err(anyhow::Error::msg)?;
    read.warnings.iter().for_each(|w| eprintln!("{w}"));
    Ok(read.settings)
}

/// Every object of the file that can be read; what cannot is told and left out, as an API server would refuse it.
fn read_cluster(
    id: &str,
    file: &Path,
    lowerer: &mut Lowerer,
    errors: &mut Vec<String>,
) -> Result<()> {
    let bytes = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    let documents = match manifest::documents(&file.display().to_string(), &bytes) {
        Ok(documents) => documents,
        Err(error) => {
            errors.push(error.to_string());
            Vec::new()
        }
    };
    let source = SourceId::new(id);
    blocks::map(&documents, DOCUMENTS, read_documents, |read| {
        for outcome in read {
            match outcome {
                Ok(resource) => lowerer.apply(Change {
                    source: source.clone(),
                    version: None,
                    event: Event::Apply(resource),
                }),
                Err(error) => errors.push(error),
            }
        }
        anyhow::Ok(())
    })?;
    let written = lowerer
        .objects(&ClusterId::new(id))
        .and_then(|o| o.services.get("default", "kubernetes"));
    if written.is_none()
        && let Ok(parsed) = hawser_api::parse(api_server_service())
    {
        lowerer.apply(Change {
            source,
            version: None,
            event: Event::Apply(parsed.resource),
        });
    }
    Ok(())
}

/// Documents that are read at a time.
const DOCUMENTS: usize = 128;

fn read_documents(documents: &[Document]) -> Vec<Result<Resource, String>> {
    let mut out = Vec::new();
    for document in documents {
        match document.read() {
            Ok(docs) => out.extend(docs.into_iter().filter_map(object)),
            Err(error) => out.push(Err(error.to_string())),
        }
    }
    out
}

fn object(mut doc: Doc) -> Option<Result<Resource, String>> {
    if doc.value.is_null() {
        return None;
    }
    match hawser_api::parse(doc.value.take()) {
        Ok(parsed) => Some(Ok(parsed.resource)),
        // Kinds that the mesh does not look at may stand in the file.
        Err(hawser_api::ParseError::UnknownKind { .. }) => None,
        Err(error) => Some(Err(format!("{}:{}: {error}", doc.file(), doc.position("")))),
    }
}

/// The Service of the API server itself, which every cluster has and hardly any file: with the address that it has unless
/// the cluster's service range is another.
fn api_server_service() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kubernetes", "namespace": "default"},
        "spec": {"clusterIP": "10.96.0.1", "ports": [{"name": "https", "port": 443, "targetPort": 6443}]},
    })
}

fn read_node(path: &Path) -> Result<hawser_proto::envoy::config::core::v3::Node> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let json: Value = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    let known = ["id", "cluster", "metadata", "locality"];
    let node: Map<String, Value> = json
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(k, _)| known.contains(&k.as_str()))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    let node = hawser_proto::json::parse("envoy.config.core.v3.Node", &Value::Object(node))
        .with_context(|| path.display().to_string())?;
    Ok(hawser_proto::envoy::config::core::v3::Node::decode(
        node.encode_to_vec().as_slice(),
    )?)
}
