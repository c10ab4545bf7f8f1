//! Runs the analyzers, and puts what they found in order.

use crate::analyzers::{ALL, Run};
use crate::codes::DUPLICATE_OBJECT;
use crate::finding::Finding;
use crate::world::{World, worlds};
use hawser_api::mesh::MeshConfig;
use hawser_api::{ObjectRef, Resource, validate};
use std::collections::BTreeMap;

/// The annotation by which an object says what is not to be reported of it: codes with commas between, or `*`.
const SUPPRESS: &str = "galley.istio.io/analyze-suppress";

/// What is known of one cluster.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// How findings call it.
    pub name: String,
    /// Of objects with the same name the last one counts.
    pub objects: Vec<Resource>,
    /// What validation said of its objects.
    pub findings: Vec<validate::Finding>,
}

/// What does not follow from the objects.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where the control plane is; `istio-system` by default.
    pub istio_namespace: String,
    /// Seconds since 1970, by which certificates are judged.
    pub now: i64,
    /// Whether Secrets were to be had; if not, nothing is said of them.
    pub secrets_known: bool,
    /// The revision whose settings hold (ConfigMap `istio-REVISION`); `default` is ConfigMap `istio`.
    pub revision: String,
    /// The mesh's settings, if not those of the cluster's ConfigMap.
    pub mesh: Option<MeshConfig>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            istio_namespace: "istio-system".to_owned(),
            now: 0,
            secrets_known: true,
            revision: "default".to_owned(),
            mesh: None,
        }
    }
}

/// Everything that is to be said of the clusters, errors first, then by code and object. The order of objects (of
/// different names) changes nothing.
pub fn analyze(clusters: Vec<Cluster>, settings: &Settings) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut suppressed: BTreeMap<(usize, ObjectRef), String> = BTreeMap::new();
    let mut inventory = Vec::new();
    for (i, cluster) in clusters.into_iter().enumerate() {
        let mut objects = BTreeMap::new();
        for resource in cluster.objects {
            let name = resource.object_ref();
            if let Some(codes) = resource.meta().annotations.get(SUPPRESS) {
                suppressed.insert((i, name.clone()), codes.clone());
            } else {
                suppressed.remove(&(i, name.clone()));
            }
            if objects.insert(name.clone(), resource).is_some() {
                let mut twice = Finding::new(
                    DUPLICATE_OBJECT,
                    name,
                    "metadata.name",
                    "the object is defined more than once; the last one counts",
                );
                twice.cluster = i;
                found.push(twice.help("remove all but one"));
            }
        }
        found.extend(cluster.findings.into_iter().map(|f| of_validation(f, i)));
        inventory.push((cluster.name, objects));
    }
    let worlds = worlds(inventory, settings);
    for analyzer in ALL {
        match analyzer.run {
            Run::Each(run) => {
                found.extend(worlds.iter().flat_map(|world| of_world(run(world), world)))
            }
            Run::All(run) => found.extend(run(&worlds)),
            Run::Validation => {}
        }
    }
    found.retain(|f| {
        let codes = suppressed.get(&(f.cluster, f.object.clone()));
        !codes.is_some_and(|codes| {
            codes
                .split(',')
                .map(str::trim)
                .any(|c| c == "*" || c == f.code)
        })
    });
    merge(found)
}

fn of_world(mut found: Vec<Finding>, world: &World) -> Vec<Finding> {
    for finding in &mut found {
        finding.cluster = world.cluster;
    }
    found
}

fn of_validation(found: validate::Finding, cluster: usize) -> Finding {
    Finding {
        severity: found.severity,
        code: found.code,
        origin: found.object.to_string(),
        message: found.message,
        cluster,
        object: found.object,
        path: found.path,
        help: found.help,
        also: Vec::new(),
    }
}

/// In order, and what is said several times of one object once, with all the fields.
fn merge(mut found: Vec<Finding>) -> Vec<Finding> {
    found.sort_by_cached_key(|f| {
        (
            f.severity,
            f.code,
            f.origin.clone(),
            f.message.clone(),
            f.cluster,
            f.object.clone(),
            natural(&f.path),
        )
    });
    let mut out: Vec<Finding> = Vec::new();
    for finding in found {
        match out.last_mut() {
            Some(last) if same(last, &finding) => {
                if last.path != finding.path && !last.also.contains(&finding.path) {
                    last.also.push(finding.path);
                }
            }
            _ => out.push(finding),
        }
    }
    out
}

fn same(a: &Finding, b: &Finding) -> bool {
    (a.code, a.cluster, &a.object, &a.origin, &a.message)
        == (b.code, b.cluster, &b.object, &b.origin, &b.message)
}

/// A path so that `http[10]` comes after `http[9]`.
fn natural(path: &str) -> Vec<(String, usize)> {
    let part = |part: &str| {
        let digits = part
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(part.len());
        let (text, number) = part.split_at(digits);
        let number = number.trim_end_matches(']').parse().unwrap_or(0);
        (text.to_owned(), number)
    };
    path.split_inclusive([']', '.']).map(part).collect()
}
