//! `hawser lab logs`.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};

use super::LogsArgs;
use crate::dir::LabDir;
use crate::exec::find;
use crate::pods::{log_path, read_all};

const POLL: Duration = Duration::from_millis(200);

pub(super) async fn run(args: LogsArgs) -> anyhow::Result<ExitCode> {
    let dir = LabDir::new(&args.dir.dir)?;
    let files = match (&args.cluster, &args.target) {
        (Some(cluster), Some(target)) => {
            let records = read_all(&dir.records())
                .context("no lab is up: its logs are below `logs` in its folder")?;
            let pod = find(&records, cluster, target)?;
            let names = pod
                .containers
                .iter()
                .map(|container| container.name.as_str());
            let chosen: Vec<&str> = names
                .clone()
                .filter(|name| args.container.as_deref().is_none_or(|only| only == *name))
                .collect();
            if chosen.is_empty() {
                bail!(
                    "pod {} has no such container; it has: {}",
                    pod.name,
                    names.collect::<Vec<_>>().join(", ")
                );
            }
            let path =
                |name: &&str| log_path(&dir.logs(), cluster, &pod.namespace, &pod.name, name);
            chosen
                .iter()
                .map(|name| (name.to_string(), path(name)))
                .collect()
        }
        (Some(_), None) => bail!("name a pod or deployment, as NAMESPACE/NAME"),
        (None, _) => vec![
            ("lab".to_string(), dir.up_log()),
            ("apiserver".to_string(), dir.logs().join("apiserver.log")),
        ],
    };
    print(files, args.follow).await?;
    Ok(ExitCode::SUCCESS)
}

/// Prints files, each line after its name when there are several.
async fn print(files: Vec<(String, PathBuf)>, follow: bool) -> anyhow::Result<()> {
    let prefixed = files.len() > 1;
    let mut at = vec![0u64; files.len()];
    loop {
        for ((name, path), at) in files.iter().zip(&mut at) {
            let Ok(mut file) = std::fs::File::open(path) else {
                continue;
            };
            // A shorter file is a new one: the old was set aside.
            if file.metadata()?.len() < *at {
                *at = 0;
            }
            file.seek(SeekFrom::Start(*at))?;
            let mut bytes = Vec::new();
            *at += file.read_to_end(&mut bytes)? as u64;
            let mut out = std::io::stdout().lock();
            if prefixed {
                for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                    write!(out, "[{name}] ")?;
                    out.write_all(line)?;
                }
            } else {
                out.write_all(&bytes)?;
            }
            out.flush()?;
        }
        if !follow {
            return Ok(());
        }
        tokio::time::sleep(POLL).await;
    }
}
