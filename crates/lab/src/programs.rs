//! The programs that containers run, gathered in one directory of the lab.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::preflight::{find_program, is_executable};

/// Where the set-up keeps Envoy, below the working folder.
const CACHED_ENVOY: &str = ".cache/envoy/envoy";

/// Finds Envoy: as given, on PATH, or where the set-up put it.
pub fn find_envoy(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(path) = given {
        if is_executable(path) {
            return Ok(path.to_path_buf());
        }
        bail!("--envoy {}: no program there", path.display());
    }
    if let Some(path) = find_program("envoy") {
        return Ok(path);
    }
    let exe = std::env::current_exe().context("finding this program")?;
    let beside = exe.ancestors().skip(1).take(4);
    let folders = std::env::current_dir()
        .into_iter()
        .chain(beside.map(Path::to_path_buf));
    folders
        .map(|folder| folder.join(CACHED_ENVOY))
        .find(|file| is_executable(file))
        .context("no Envoy: run scripts/fetch-envoy, put `envoy` on PATH, or give --envoy PATH")
}

/// Puts this program, its companions and Envoy into `bin`. Hard links, where the file system allows:
/// rebuilding replaces a file and leaves what the lab runs alone.
pub fn gather(bin: &Path, companions: &[&str], envoy: Option<&Path>) -> anyhow::Result<PathBuf> {
    let exe = std::env::current_exe().context("finding this program")?;
    let folder = exe.parent().context("this program is in no folder")?;
    let own = bin.join("hawser");
    place(&exe, &own)?;
    for name in companions {
        let source = folder.join(name);
        if !is_executable(&source) {
            bail!(
                "{} is missing: build it with `cargo build -p {name}`",
                source.display()
            );
        }
        place(&source, &bin.join(name))?;
    }
    if let Some(envoy) = envoy {
        place(envoy, &bin.join("envoy"))?;
    }
    Ok(own)
}

fn place(source: &Path, target: &Path) -> anyhow::Result<()> {
    let source = fs::canonicalize(source).with_context(|| source.display().to_string())?;
    let usable = source
        .metadata()
        .is_ok_and(|meta| meta.permissions().mode() & 0o005 == 0o005);
    let linked = if usable {
        fs::hard_link(&source, target)
    } else {
        Err(io::Error::other("unreadable"))
    };
    if linked.is_err() {
        fs::copy(&source, target)
            .and_then(|_| fs::set_permissions(target, fs::Permissions::from_mode(0o755)))
            .with_context(|| format!("copying {} to {}", source.display(), target.display()))?;
    }
    Ok(())
}
