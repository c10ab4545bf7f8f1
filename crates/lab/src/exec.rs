//! Running a command as if in a pod: its network and names, the host's files.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};

use crate::pods::Record;
use crate::sandbox::LAB_ID_VARIABLE;

/// The pod that `NAMESPACE/NAME` means in a cluster: of that name, or a deployment's, ready ones first.
pub fn find<'a>(records: &'a [Record], cluster: &str, target: &str) -> anyhow::Result<&'a Record> {
    let (namespace, name) = target.split_once('/').unwrap_or(("default", target));
    let here: Vec<&Record> = records
        .iter()
        .filter(|record| record.cluster == cluster)
        .collect();
    let mut fitting: Vec<&&Record> = here
        .iter()
        .filter(|record| record.namespace == namespace)
        .filter(|record| record.name == name || record.deployment() == Some(name))
        .collect();
    fitting.sort_by_key(|record| !record.ready);
    if let Some(record) = fitting.first() {
        return Ok(record);
    }
    let known: Vec<String> = here
        .iter()
        .map(|record| format!("{}/{}", record.namespace, record.name))
        .collect();
    if known.is_empty() {
        bail!("{cluster} has no pods");
    }
    bail!(
        "no pod or deployment {namespace}/{name} in {cluster}; there are: {}",
        known.join(", ")
    )
}

/// Becomes `argv` in the network namespace, seeing `etc` below `/etc`. Returns only when that fails.
///
/// `scratch` is an empty directory. The caller's user and files stay as they are.
pub fn become_command(
    netns: &Path,
    etc: &BTreeMap<String, String>,
    scratch: &Path,
    lab_id: &str,
    argv: &[String],
) -> anyhow::Error {
    match enter(netns, etc, scratch) {
        Ok(()) => {}
        Err(error) => return error,
    }
    let [program, args @ ..] = argv else {
        return anyhow::anyhow!("no command given");
    };
    let error = Command::new(program)
        .args(args)
        .env(LAB_ID_VARIABLE, lab_id)
        .exec();
    anyhow::Error::new(error).context(format!("running {program}"))
}

fn enter(netns: &Path, etc: &BTreeMap<String, String>, scratch: &Path) -> anyhow::Result<()> {
    let none: Option<&str> = None;
    let file = File::open(netns).context("the pod's network is gone: has the lab ended?")?;
    setns(file.as_fd(), CloneFlags::CLONE_NEWNET)
        .context("entering the pod's network (root is needed)")?;
    if etc.is_empty() {
        return Ok(());
    }
    unshare(CloneFlags::CLONE_NEWNS).context("a mount namespace")?;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)
        .context("separating mounts")?;
    mount(
        Some("hawser"),
        scratch,
        Some("tmpfs"),
        MsFlags::empty(),
        Some("mode=0755"),
    )
    .context("mounting memory")?;
    let [upper, work] = ["upper", "work"].map(|name| scratch.join(name));
    for dir in [&upper, &work] {
        fs::create_dir(dir)?;
    }
    for (name, content) in etc {
        fs::write(upper.join(name), content)?;
    }
    let options = format!(
        "lowerdir=/etc,upperdir={},workdir={}",
        upper.display(),
        work.display()
    );
    mount(
        Some("hawser"),
        "/etc",
        Some("overlay"),
        MsFlags::empty(),
        Some(options.as_str()),
    )
    .context("laying the pod's files over /etc")?;
    // A name service cache of the host would answer with the host's names.
    let cache = PathBuf::from("/run/nscd");
    if cache.is_dir() {
        mount(
            Some("hawser"),
            &cache,
            Some("tmpfs"),
            MsFlags::empty(),
            none,
        )
        .context("hiding the name cache")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(cluster: &str, name: &str, owner: Option<&str>, ready: bool) -> Record {
        Record {
            cluster: cluster.into(),
            namespace: "default".into(),
            name: name.into(),
            owner: owner.map(str::to_string),
            ready,
            ip: std::net::Ipv4Addr::LOCALHOST,
            netns: PathBuf::new(),
            etc: BTreeMap::new(),
            containers: Vec::new(),
        }
    }

    #[test]
    fn pods_are_found_by_name_or_deployment() {
        let records = [
            record(
                "cluster1",
                "reviews-v1-abc-1",
                Some("ReplicaSet/reviews-v1-abc"),
                false,
            ),
            record(
                "cluster1",
                "reviews-v1-abc-2",
                Some("ReplicaSet/reviews-v1-abc"),
                true,
            ),
            record("cluster2", "sleep", None, true),
        ];
        let cases = [
            ("cluster1", "default/reviews-v1", Ok("reviews-v1-abc-2")),
            ("cluster1", "reviews-v1-abc-1", Ok("reviews-v1-abc-1")),
            ("cluster2", "default/sleep", Ok("sleep")),
            (
                "cluster1",
                "default/reviews",
                Err("there are: default/reviews-v1-abc-1"),
            ),
            (
                "cluster2",
                "kube-system/sleep",
                Err("no pod or deployment kube-system/sleep in cluster2"),
            ),
            ("cluster3", "default/sleep", Err("cluster3 has no pods")),
        ];
        for (cluster, target, expected) in cases {
            match (find(&records, cluster, target), expected) {
                (Ok(record), Ok(name)) => assert_eq!(record.name, name, "{cluster} {target}"),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
                (given, expected) => panic!("{cluster} {target}: {given:?}, expected {expected:?}"),
            }
        }
    }
}
