//! What other commands of the lab must know of a running pod, in a file.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A pod of a running lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its cluster.
    pub cluster: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its controller, as `ReplicaSet/reviews-v1-5d8c`.
    pub owner: Option<String>,
    /// Whether it is ready.
    pub ready: bool,
    /// Its address.
    pub ip: Ipv4Addr,
    /// A file that opens as its network namespace.
    pub netns: PathBuf,
    /// Its files below `/etc`.
    pub etc: BTreeMap<String, String>,
    /// Its containers, init containers first.
    pub containers: Vec<ContainerRecord>,
}

/// A container of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// Its name.
    pub name: String,
    /// The host's process id of its init process while it runs.
    pub pid: Option<u32>,
}

impl Record {
    /// Writes the record so that readers see the whole of it.
    pub(crate) fn write(&self, path: &Path) -> std::io::Result<()> {
        let next = path.with_extension("tmp");
        std::fs::write(&next, serde_json::to_vec(self)?)?;
        std::fs::rename(next, path)
    }

    /// The deployment that owns the pod, if one does: its ReplicaSet is named after it and a hash.
    pub fn deployment(&self) -> Option<&str> {
        let set = self.owner.as_deref()?.strip_prefix("ReplicaSet/")?;
        set.rsplit_once('-').map(|(name, _)| name)
    }
}

/// All pods recorded in a directory, by cluster, namespace and name.
pub fn read_all(dir: &Path) -> std::io::Result<Vec<Record>> {
    let mut records = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            // A pod may end while we read.
            if let Ok(record) =
                std::fs::read(&path).map(|bytes| serde_json::from_slice::<Record>(&bytes))
            {
                records.push(record?);
            }
        }
    }
    records.sort_by(|a, b| {
        (&a.cluster, &a.namespace, &a.name).cmp(&(&b.cluster, &b.namespace, &b.name))
    });
    Ok(records)
}

/// The network namespace of a pod recorded in a directory.
pub fn netns_of(
    dir: &Path,
    cluster: &str,
    namespace: &str,
    name: &str,
) -> std::io::Result<PathBuf> {
    let records = read_all(dir)?;
    let found = records
        .into_iter()
        .find(|pod| pod.cluster == cluster && pod.namespace == namespace && pod.name == name);
    found
        .map(|pod| pod.netns)
        .ok_or_else(|| std::io::Error::other(format!("{cluster} runs no pod {namespace}/{name}")))
}
