//! `hawser lab exec`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::ExecArgs;
use super::status::running;
use crate::dir::LabDir;
use crate::exec::{become_command, find};
use crate::pods::read_all;

pub(super) async fn run(args: ExecArgs) -> anyhow::Result<ExitCode> {
    let dir = LabDir::new(&args.dir.dir)?;
    let Some(state) = running(&dir)? else {
        bail!("no lab is up in {}", dir.root().display())
    };
    let Some(cluster) = state
        .clusters
        .iter()
        .find(|cluster| cluster.name == args.cluster)
    else {
        let names: Vec<_> = state
            .clusters
            .iter()
            .map(|cluster| cluster.name.as_str())
            .collect();
        bail!(
            "no cluster {}; there are: {}",
            args.cluster,
            names.join(", ")
        );
    };
    let (netns, etc) = if args.target == "node" {
        (cluster.node_netns.clone(), BTreeMap::new())
    } else {
        let records = read_all(&dir.records()).context("reading the lab's pods")?;
        let pod = find(&records, &args.cluster, &args.target)?;
        (pod.netns.clone(), pod.etc.clone())
    };
    // Namespaces belong to a thread; the command takes this one's along and the others end.
    let scratch = dir.scratch();
    Err(tokio::task::spawn_blocking(move || {
        become_command(&netns, &etc, &scratch, &state.id, &args.command)
    })
    .await?)
}
