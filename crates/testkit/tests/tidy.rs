//! The shape of the workspace: who depends on whom, under which licences, and that nothing heavy is there twice.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};
use hawser_testkit::place;

/// Licences that an Apache-2.0 program may be linked with.
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "MIT",
    "MIT-0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "OpenSSL",
    "Zlib",
    "CC0-1.0",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "Unlicense",
    "0BSD",
    "BSL-1.0",
    "CDLA-Permissive-2.0",
    "MPL-2.0",
    "MPL-2.0+",
];

/// Crates that cost minutes to build or megabytes to carry: one version each.
const ONCE: &[&str] = &[
    "aws-lc-sys",
    "axum",
    "clap",
    "envoy-types",
    "h2",
    "hyper",
    "k8s-openapi",
    "kube-client",
    "prost",
    "prost-reflect",
    "redb",
    "regex-automata",
    "rustls",
    "tokio",
    "tonic",
    "tracing-subscriber",
];

/// Crates that must not come in at all: other crypto providers, and YAML parsers with known unsoundness.
const NEVER: &[&str] = &[
    "ring",
    "openssl",
    "openssl-sys",
    "native-tls",
    "serde_yml",
    "serde_yaml",
];

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(place::root().join("Cargo.toml"))
        .exec()
        .expect("cargo metadata")
}

/// The table of ARCHITECTURE.md: crate, and which of ours it may use.
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let text =
        std::fs::read_to_string(place::root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let rows = text
        .lines()
        .skip_while(|l| !l.starts_with("| crate |"))
        .skip(2)
        .take_while(|l| l.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 3, "three columns: {row}");
        let uses = cells[2]
            .split(',')
            .map(str::trim)
            .filter(|c| !c.is_empty() && *c != "–")
            .map(str::to_owned);
        (cells[0].to_owned(), uses.collect())
    })
    .collect()
}

fn short(name: &str) -> &str {
    name.strip_prefix("hawser-").unwrap_or(name)
}

#[test]
fn the_crate_graph_is_the_table_of_architecture_md() {
    let metadata = metadata();
    let actual: BTreeMap<String, BTreeSet<String>> = metadata
        .workspace_packages()
        .iter()
        .map(|p| {
            let ours = p
                .dependencies
                .iter()
                .filter(|d| d.kind != DependencyKind::Development);
            let ours = ours
                .filter(|d| d.name.starts_with("hawser"))
                .map(|d| short(&d.name).to_owned());
            (short(&p.name).to_owned(), ours.collect())
        })
        .collect();
    let table = table();
    let names = |m: &BTreeMap<String, BTreeSet<String>>| m.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(
        names(&table),
        names(&actual),
        "crates in ARCHITECTURE.md and in the workspace"
    );
    for (name, uses) in &actual {
        assert_eq!(
            &table[name], uses,
            "{name}: what ARCHITECTURE.md says it uses, and what its Cargo.toml says"
        );
    }
}

#[test]
fn every_dependency_has_a_licence_that_fits() {
    let metadata = metadata();
    let mut bad = Vec::new();
    for package in &metadata.packages {
        let licence = package
            .license
            .clone()
            .unwrap_or_default()
            .replace('/', " OR ");
        let fits = |alternative: &str| {
            let parts = alternative.trim_matches(['(', ')', ' ']).split(" AND ");
            parts
                .map(|p| p.trim_matches(['(', ')', ' ']))
                .all(|p| LICENCES.contains(&p) || p.split(" OR ").any(|q| LICENCES.contains(&q)))
        };
        if !licence.split(" OR ").any(fits) && !fits(&licence) {
            bad.push(format!("{} {}: {licence:?}", package.name, package.version));
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

#[test]
fn nothing_heavy_is_built_twice_and_nothing_forbidden_at_all() {
    // What is built with the features in use; the lock file also names what no feature asks for.
    let tree = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--workspace",
            "--edges",
            "normal,build",
            "--prefix",
            "none",
        ])
        .current_dir(place::root())
        .output()
        .expect("cargo tree");
    assert!(
        tree.status.success(),
        "{}",
        String::from_utf8_lossy(&tree.stderr)
    );
    let text = String::from_utf8_lossy(&tree.stdout);
    let built: BTreeSet<(&str, &str)> = text
        .lines()
        .filter_map(|l| Some((l.split(' ').next()?, l.split(' ').nth(1)?)))
        .collect();
    let mut versions: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, _) in built {
        *versions.entry(name).or_default() += 1;
    }
    for name in ONCE {
        assert!(
            versions.get(name).copied().unwrap_or(0) <= 1,
            "{name} is there in {} versions",
            versions[name]
        );
    }
    for name in NEVER {
        assert!(
            !versions.contains_key(name),
            "{name} must not be a dependency"
        );
    }
}

#[test]
fn sources_keep_a_size_that_one_can_hold_in_mind() {
    let mut long = Vec::new();
    let mut folders = vec![place::root().join("crates")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)
            .expect("a folder of the checkout")
            .flatten()
        {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let lines = std::fs::read_to_string(&path)
                    .expect("a source file")
                    .lines()
                    .count();
                if lines > 900 {
                    long.push(format!("{}: {lines} lines", path.display()));
                }
            }
        }
    }
    assert!(long.is_empty(), "{long:#?}");
}
