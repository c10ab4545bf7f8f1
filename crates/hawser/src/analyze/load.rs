//! Objects of files and of live clusters, with the places where those of files stand.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hawser_analyze::Cluster;
use hawser_api::manifest::{self, Doc, MAX_BYTES, ManifestError};
use hawser_api::mesh::MeshConfig;
use hawser_api::validate::check_document;
use hawser_api::{Kind, ObjectRef, ParseError};
use hawser_kube::{Client, Resource, Selection};
use serde_json::{Value, json};

use super::output::{Message, Place};
use crate::files;
use crate::validate::is_ours;

/// Where objects are from.
pub enum Source {
    Live {
        name: String,
        kubeconfig: PathBuf,
        context: Option<String>,
    },
    Files {
        name: String,
        input: PathBuf,
    },
}

impl Source {
    /// The cluster's name.
    pub fn name(&self) -> &String {
        match self {
            Source::Live { name, .. } | Source::Files { name, .. } => name,
        }
    }
}

/// The kinds that the analyzers look at in a live cluster.
const KINDS: &[Kind] = &[
    Kind::Namespace,
    Kind::Node,
    Kind::Service,
    Kind::Pod,
    Kind::Secret,
    Kind::ConfigMap,
    Kind::Deployment,
    Kind::StatefulSet,
    Kind::DaemonSet,
    Kind::MutatingWebhookConfiguration,
    Kind::ValidatingWebhookConfiguration,
    Kind::CustomResourceDefinition,
    Kind::VirtualService,
    Kind::DestinationRule,
    Kind::Gateway,
    Kind::ServiceEntry,
    Kind::WorkloadEntry,
    Kind::WorkloadGroup,
    Kind::Sidecar,
    Kind::EnvoyFilter,
    Kind::ProxyConfig,
    Kind::PeerAuthentication,
    Kind::RequestAuthentication,
    Kind::AuthorizationPolicy,
    Kind::Telemetry,
    Kind::WasmPlugin,
    Kind::TrafficExtension,
    Kind::K8sGateway,
    Kind::HttpRoute,
    Kind::GrpcRoute,
];

/// The documents that objects of files stand in.
#[derive(Default)]
pub struct Places(BTreeMap<(usize, ObjectRef), Doc>);

impl Places {
    pub fn get(&self, cluster: usize, object: &ObjectRef) -> Option<&Doc> {
        self.0.get(&(cluster, object.clone()))
    }
}

/// What has been read so far.
pub struct Inventory {
    namespace: String,
    deep: bool,
    clusters: Vec<Cluster>,
    /// Of each cluster, which objects a live one has: those of files stand in for them.
    live: Vec<BTreeSet<ObjectRef>>,
    places: Places,
    /// What is to be said besides the findings: of documents that are no objects, and of settings.
    pub unreadable: Vec<Message>,
    /// False if a cluster does not let its Secrets be read.
    pub secrets_known: bool,
}

impl Inventory {
    /// `namespace` is that of objects in files that name none; `deep` looks into folders below folders.
    pub fn new(namespace: &str, deep: bool) -> Inventory {
        Inventory {
            namespace: namespace.to_owned(),
            deep,
            clusters: Vec::new(),
            live: Vec::new(),
            places: Places::default(),
            unreadable: Vec::new(),
            secrets_known: true,
        }
    }

    pub fn finish(self) -> (Vec<Cluster>, Places, Vec<Message>) {
        (self.clusters, self.places, self.unreadable)
    }

    fn cluster(&mut self, name: &str) -> usize {
        let known = self.clusters.iter().position(|c| c.name == name);
        known.unwrap_or_else(|| {
            self.clusters.push(Cluster {
                name: name.to_owned(),
                ..Cluster::default()
            });
            self.live.push(BTreeSet::new());
            self.clusters.len() - 1
        })
    }

    /// Takes in an object; gives its name if it has one.
    fn add(
        &mut self,
        cluster: usize,
        value: Value,
        live: bool,
    ) -> Result<Option<ObjectRef>, ParseError> {
        let mut report = check_document(value, &self.namespace);
        if let Some(unknown) = report.unknown {
            return Err(unknown);
        }
        if let Some(object) = &report.object {
            report
                .findings
                .extend(hawser_control::envoy_patch::check(object));
        }
        let name = report.object.as_ref().map(hawser_api::Resource::object_ref);
        let name = name.or_else(|| report.findings.first().map(|f| f.object.clone()));
        let (Some(into), Some(of_live)) =
            (self.clusters.get_mut(cluster), self.live.get_mut(cluster))
        else {
            return Ok(name);
        };
        if !live
            && let Some(name) = &name
            && of_live.remove(name)
        {
            into.objects.retain(|o| o.object_ref() != *name);
            into.findings.retain(|f| f.object != *name);
        }
        if let Some(object) = report.object {
            if live {
                of_live.insert(object.object_ref());
            }
            into.objects.push(object);
        }
        into.findings.extend(report.findings);
        Ok(name)
    }

    /// Reads a file, a folder or standard input.
    pub fn add_files(&mut self, name: &str, input: &Path) -> Result<()> {
        let cluster = self.cluster(name);
        for (file, bytes) in files::read(input, self.deep)? {
            let manifest = manifest::read(&file, &bytes);
            for error in manifest.errors {
                self.unreadable.push(unreadable(&file, &error));
            }
            for doc in manifest.docs {
                self.add_doc(cluster, doc);
            }
        }
        Ok(())
    }

    fn add_doc(&mut self, cluster: usize, mut doc: Doc) {
        let value = std::mem::take(&mut doc.value);
        let api_version = value["apiVersion"].as_str().unwrap_or_default().to_owned();
        match self.add(cluster, value, false) {
            Ok(Some(name)) => {
                for path in &doc.duplicates {
                    self.unreadable.push(twice(&doc, &name, path));
                }
                self.places.0.insert((cluster, name), doc);
            }
            Ok(None) => {}
            // Other kinds are none of the mesh's business.
            Err(ParseError::UnknownKind { .. }) if !is_ours(&api_version) => {}
            Err(unknown) => {
                let place = Place::of(&doc, "kind");
                let mut message = Message::unreadable(place, unknown.to_string());
                message.help = unknown.help();
                self.unreadable.push(message);
            }
        }
    }

    /// Lists the objects of the cluster of a kubeconfig; gives the way to it.
    pub async fn add_live(
        &mut self,
        name: &str,
        kubeconfig: &Path,
        context: Option<&str>,
    ) -> Result<Client> {
        let client = Client::from_kubeconfig_file(kubeconfig, context).await?;
        self.add_cluster(name, &client).await?;
        Ok(client)
    }

    /// Lists the objects of a cluster. Kinds that it does not have are left out.
    pub async fn add_cluster(&mut self, name: &str, client: &Client) -> Result<()> {
        let cluster = self.cluster(name);
        for kind in KINDS.iter().copied() {
            let values = match client.list(&resource(kind), &selection(kind)).await {
                Ok(list) => list.items,
                Err(hawser_kube::Error::NotFound(_)) => continue,
                Err(hawser_kube::Error::Forbidden(why)) if kind == Kind::Secret => {
                    eprintln!(
                        "hawser: cluster {name}: secrets of gateways are not looked at: {why}"
                    );
                    self.secrets_known = false;
                    continue;
                }
                Err(error) => {
                    return Err(error).with_context(|| {
                        format!("cluster {name}: listing {kind}s at {}", client.server())
                    });
                }
            };
            for value in values {
                // What is not understood is not there: the control plane does not read it either.
                let _ = self.add(cluster, value, true);
            }
        }
        Ok(())
    }
}

/// The clusters of the remote secrets that a control plane in this namespace reads, by their names.
pub async fn remote_clusters(client: &Client, namespace: &str) -> Result<Vec<(String, Client)>> {
    let selection = Selection::in_namespace(namespace).labels("istio/multiCluster=true");
    let secrets = client
        .list(&resource(Kind::Secret), &selection)
        .await
        .context("listing remote secrets")?;
    let mut out = Vec::new();
    for secret in secrets.items {
        let name = secret["metadata"]["name"].as_str().unwrap_or_default();
        for (cluster, text) in secret["data"].as_object().into_iter().flatten() {
            let bad = || format!("secret {namespace}/{name}: cluster {cluster}");
            let text = text.as_str().unwrap_or_default();
            let bytes = STANDARD.decode(text).with_context(bad)?;
            let text = String::from_utf8(bytes).with_context(bad)?;
            let client = Client::from_foreign_kubeconfig(&text)
                .await
                .with_context(bad)?;
            out.push((cluster.clone(), client));
        }
    }
    Ok(out)
}

/// The mesh's settings in a file, and what is wrong with them.
pub fn mesh_config(file: &Path) -> Result<(MeshConfig, Vec<Message>)> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {name}"))?;
    // Checked as what it stands in for.
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "istio"}, "data": {"mesh": text},
    });
    let found = check_document(map, "istio-system").findings;
    let messages = found.into_iter().map(|f| Message {
        severity: f.severity,
        code: f.code,
        field: f
            .path
            .trim_start_matches("data.mesh")
            .trim_start_matches('.')
            .to_owned(),
        message: f.message,
        help: f.help,
        place: Some(Place {
            file: name.clone(),
            position: None,
        }),
        ..Message::default()
    });
    let value = manifest::read(&name, text.as_bytes())
        .docs
        .into_iter()
        .next()
        .map_or(Value::Null, |doc| doc.value);
    Ok((MeshConfig::from_value(value).0, messages.collect()))
}

fn unreadable(file: &str, error: &ManifestError) -> Message {
    let (position, message) = match error {
        ManifestError::Syntax {
            position, message, ..
        } => (Some(*position), message.clone()),
        ManifestError::TooLarge { .. } => (None, format!("larger than {MAX_BYTES} bytes")),
        ManifestError::NotUtf8 { offset, .. } => (None, format!("not UTF-8 (at byte {offset})")),
    };
    Message::unreadable(
        Place {
            file: file.to_owned(),
            position,
        },
        message,
    )
}

fn twice(doc: &Doc, name: &ObjectRef, path: &str) -> Message {
    let code = hawser_analyze::DUPLICATE_KEY;
    Message {
        severity: code.severity,
        code: code.id,
        origin: name.to_string(),
        field: path.to_owned(),
        message: "the key stands twice in its mapping; the last one counts".to_owned(),
        help: "remove one of them".to_owned(),
        place: Some(Place::of(doc, path)),
        ..Message::default()
    }
}

fn resource(kind: Kind) -> Resource {
    let info = kind.info();
    Resource {
        group: Cow::Borrowed(info.group),
        version: Cow::Borrowed(info.version()),
        kind: Cow::Borrowed(info.name),
        plural: Cow::Borrowed(info.plural),
        namespaced: info.namespaced,
    }
}

/// Of Secrets not those of Helm and of service accounts: large, many, and never a gateway's.
fn selection(kind: Kind) -> Selection {
    match kind {
        Kind::Secret => Selection::all()
            .fields("type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token"),
        _ => Selection::all(),
    }
}
