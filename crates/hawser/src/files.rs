//! Files of Kubernetes objects that a command is given: a file, a folder, or `-` for standard input.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use hawser_api::manifest::MAX_BYTES;

/// The deepest folder that is looked into.
const MAX_FOLDERS: usize = 16;

/// The contents of a file, of standard input, or of all YAML and JSON files of a folder (with `deep`, of those below too),
/// each with the name that messages call it by, in order of the names.
pub fn read(input: &Path, deep: bool) -> Result<Vec<(String, Vec<u8>)>> {
    if input == Path::new("-") {
        return Ok(vec![(
            "<stdin>".to_owned(),
            read_all(std::io::stdin().lock(), "standard input")?,
        )]);
    }
    let mut files = Vec::new();
    if input.is_dir() {
        list(input, deep, 0, &mut files)?;
        files.sort();
    } else {
        files.push(input.to_owned());
    }
    files
        .into_iter()
        .map(|file| {
            let name = file.display().to_string();
            let reader = std::fs::File::open(&file).with_context(|| format!("opening {name}"))?;
            Ok((name.clone(), read_all(reader, &name)?))
        })
        .collect()
}

fn read_all(reader: impl Read, name: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than is allowed, so that the reader of manifests says what is wrong.
    let limit = u64::try_from(MAX_BYTES)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    reader
        .take(limit)
        .read_to_end(&mut bytes)
        .with_context(|| format!("reading {name}"))?;
    Ok(bytes)
}

fn list(dir: &Path, deep: bool, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    if depth > MAX_FOLDERS {
        bail!("{}: more than {MAX_FOLDERS} folders deep", dir.display());
    }
    for entry in std::fs::read_dir(dir).with_context(|| format!("listing {}", dir.display()))? {
        let entry = entry.with_context(|| format!("listing {}", dir.display()))?;
        let path = entry.path();
        let kind = entry
            .file_type()
            .with_context(|| format!("looking at {}", path.display()))?;
        let manifest = path
            .extension()
            .is_some_and(|e| e == "yaml" || e == "yml" || e == "json");
        if kind.is_dir() {
            if deep {
                list(&path, deep, depth + 1, files)?;
            }
        } else if manifest {
            files.push(path);
        }
    }
    Ok(())
}
