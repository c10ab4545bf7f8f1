//! docs/api-support.md is made from the types and from docs/api-support.exceptions, and is fresh.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, Result, ensure};
use hawser_api::Kind;
use hawser_testkit::place;

/// A line of the exceptions: which fields, what becomes of them, and why.
struct Exception {
    kind: String,
    path: String,
    effect: String,
    why: String,
    used: bool,
}

fn exceptions(text: &str) -> Result<Vec<Exception>> {
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with('#'));
    lines
        .map(|line| {
            let mut parts = line.splitn(3, '|').map(str::trim);
            let (field, effect, why) = (parts.next(), parts.next(), parts.next());
            let (kind, path) = field
                .and_then(|f| f.split_once(' '))
                .with_context(|| format!("no kind and path: {line}"))?;
            let effect = effect.context("no effect")?.to_owned();
            ensure!(
                ["no effect", "partly", "refused"].contains(&effect.as_str()),
                "unknown effect: {line}"
            );
            let why = why
                .filter(|w| !w.is_empty())
                .with_context(|| format!("no reason: {line}"))?
                .to_owned();
            Ok(Exception {
                kind: kind.to_owned(),
                path: path.to_owned(),
                effect,
                why,
                used: false,
            })
        })
        .collect()
}

/// `*` at the end stands for the field and all below it, `**` at the beginning for any place.
fn covers(exception: &Exception, kind: &str, path: &str) -> bool {
    let (pattern, below) = match exception.path.strip_suffix('*') {
        Some(pattern) => (pattern, true),
        None => (exception.path.as_str(), false),
    };
    let on_path = match (pattern.strip_prefix("**"), below) {
        (Some(inner), true) => path.contains(inner),
        (Some(inner), false) => path.ends_with(inner),
        (None, true) => path.starts_with(pattern),
        (None, false) => path == pattern,
    };
    on_path && exception.kind == kind
}

/// Titles of kinds, their names in the exceptions, and their fields.
type Kinds = Vec<(String, String, Vec<(String, String)>)>;

fn kinds() -> Kinds {
    let mut by_kind: BTreeMap<Kind, Vec<(String, String)>> = BTreeMap::new();
    for (kind, path, shape) in hawser_api::crd::fields() {
        by_kind.entry(kind).or_default().push((path, shape));
    }
    let of_kind = |(kind, fields): (Kind, _)| {
        // Two groups have a Gateway: exceptions call the kinds by their names in the code.
        let title = format!("{} ({})", kind.info().name, kind.info().group);
        (title, format!("{kind:?}"), fields)
    };
    let mut out: Kinds = by_kind.into_iter().map(of_kind).collect();
    let mut settings: BTreeMap<&str, Vec<(String, String)>> = BTreeMap::new();
    for (name, path, shape) in hawser_api::crd::mesh_fields() {
        settings.entry(name).or_default().push((path, shape));
    }
    out.extend(settings.into_iter().map(|(name, fields)| {
        let title = format!("{name} (ConfigMap istio, --mesh-config)");
        (title, name.to_owned(), fields)
    }));
    out
}

/// What lowering itself tells users has no effect.
fn told() -> impl Iterator<Item = Exception> {
    hawser_lower::WITHOUT_EFFECT.iter().map(|(path, why)| {
        let kind = match path.starts_with("mesh.") {
            true => "MeshConfig",
            false => "MeshNetworks",
        };
        Exception {
            kind: kind.to_owned(),
            path: format!("{path}*"),
            effect: "no effect".to_owned(),
            why: format!("a Problem says so; {why}"),
            used: false,
        }
    })
}

fn render(exceptions: &mut [Exception]) -> Result<String> {
    let mut out = String::from(
        "# What becomes of each field\n\nMade from the types by `make golden`; the exceptions stand in `api-support.exceptions`. Fields not \
         listed as exceptions are honoured. Fields that a kind does not have are refused by the API server, or named by \
         `hawser validate`.\n\n| kind | fields | honoured | partly | no effect | refused |\n|---|---|---|---|---|---|\n",
    );
    let mut details = String::new();
    for (title, kind, fields) in &kinds() {
        let mut counts = [0; 4];
        writeln!(details, "\n## {title}\n\n| field | type | |\n|---|---|---|")?;
        for (path, shape) in fields {
            let said = exceptions.iter_mut().find(|e| covers(e, kind, path));
            let effect = match said {
                None => {
                    counts[0] += 1;
                    "honoured".to_owned()
                }
                Some(exception) => {
                    exception.used = true;
                    counts[["honoured", "partly", "no effect", "refused"]
                        .iter()
                        .position(|e| *e == exception.effect)
                        .context("effect")?] += 1;
                    format!("**{}**: {}", exception.effect, exception.why)
                }
            };
            writeln!(
                details,
                "| `{path}` | {} | {effect} |",
                shape.replace('|', "\\|")
            )?;
        }
        let [honoured, partly, none, refused] = counts;
        writeln!(
            out,
            "| {title} | {} | {honoured} | {partly} | {none} | {refused} |",
            fields.len()
        )?;
    }
    Ok(out + &details)
}

#[test]
fn the_table_of_fields_is_fresh() -> Result<()> {
    let docs = place::root().join("docs");
    let mut exceptions = exceptions(&std::fs::read_to_string(
        docs.join("api-support.exceptions"),
    )?)?;
    exceptions.extend(told());
    let text = render(&mut exceptions)?;
    let unused: Vec<String> = exceptions
        .iter()
        .filter(|e| !e.used)
        .map(|e| format!("{} {}", e.kind, e.path))
        .collect();
    ensure!(
        unused.is_empty(),
        "docs/api-support.exceptions names no fields: {unused:?}"
    );
    let file = docs.join("api-support.md");
    if std::env::var("HAWSER_GOLDEN").is_ok_and(|v| v == "write") {
        std::fs::write(&file, &text)?;
    }
    ensure!(
        std::fs::read_to_string(&file)? == text,
        "docs/api-support.md is stale: run `make golden`"
    );
    Ok(())
}
