//! `hawser validate`: whether objects are what Istio and a cluster with its CRDs would accept, and if not, where and why.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use hawser_api::ParseError;
use hawser_api::manifest::{self, Doc, MAX_BYTES, Position};
use hawser_api::validate::{Finding, Severity, check_document};
use serde_json::{Value, json};

use crate::files;

/// Check Istio's objects in files, without a cluster: exit status 0 valid, 1 not, 2 wrong use.
#[derive(clap::Args, Debug)]
pub struct ValidateArgs {
    /// Files or folders of YAML or JSON; - is standard input.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// As FILE; may be repeated.
    #[arg(short, long = "filename", value_name = "FILE")]
    filenames: Vec<PathBuf>,
    /// The namespace of objects that name none.
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// The form of the output.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    /// A line for each finding, `file:line:column: …`, and the way out below it.
    Text,
    /// A JSON list in the shape of `istioctl analyze`, with file, line, column and field added.
    Json,
}

/// The exit status for a command that cannot be carried out as given.
const WRONG_USE: u8 = 2;

/// A finding and where it stands; without an object if the document itself cannot be used.
struct Located {
    file: String,
    position: Option<Position>,
    severity: Severity,
    code: &'static str,
    object: Option<String>,
    field: String,
    message: String,
    help: String,
}

/// Our code for what is no object, or of a kind that Istio does not have.
const NOT_AN_OBJECT: &str = hawser_analyze::UNREADABLE.id;

/// Prints what is wrong; the exit status says whether anything is.
pub fn run(args: &ValidateArgs) -> Result<ExitCode> {
    let inputs: Vec<&PathBuf> = args.files.iter().chain(&args.filenames).collect();
    if inputs.is_empty() {
        eprintln!("hawser: no file given; name files or folders, or - for standard input");
        return Ok(ExitCode::from(WRONG_USE));
    }
    let mut found = Vec::new();
    let mut checked: BTreeMap<String, usize> = BTreeMap::new();
    for input in inputs {
        let contents = match files::read(input, true) {
            Ok(contents) => contents,
            Err(error) => {
                eprintln!("hawser: {error:#}");
                return Ok(ExitCode::from(WRONG_USE));
            }
        };
        for (name, bytes) in contents {
            let count = check(&name, &bytes, &args.namespace, &mut found);
            *checked.entry(name).or_default() += count;
        }
    }
    match args.output {
        Output::Text => print_text(&found, &checked),
        Output::Json => {
            let list: Vec<Value> = found.iter().map(to_json).collect();
            println!("{:#}", Value::Array(list));
        }
    }
    let refused = found.iter().any(|f| f.severity == Severity::Error);
    Ok(ExitCode::from(u8::from(refused)))
}

/// Checks one file; gives the number of Istio's objects in it.
fn check(file: &str, bytes: &[u8], namespace: &str, found: &mut Vec<Located>) -> usize {
    let manifest = manifest::read(file, bytes);
    for error in manifest.errors {
        let (position, message) = match &error {
            manifest::ManifestError::Syntax {
                position, message, ..
            } => (Some(*position), message.clone()),
            manifest::ManifestError::TooLarge { .. } => {
                (None, format!("larger than {MAX_BYTES} bytes"))
            }
            manifest::ManifestError::NotUtf8 { offset, .. } => {
                (None, format!("not UTF-8 (at byte {offset})"))
            }
        };
        found.push(plain(file, position, message));
    }
    let mut count = 0;
    for doc in manifest.docs {
        count += usize::from(check_doc(&doc, namespace, found));
    }
    count
}

/// Whether the document is an object of a kind that is looked at (others are let pass).
fn check_doc(doc: &Doc, namespace: &str, found: &mut Vec<Located>) -> bool {
    for path in &doc.duplicates {
        let mut twice = plain(
            doc.file(),
            Some(doc.position(path)),
            format!("{path} stands twice in its mapping"),
        );
        twice.code = hawser_analyze::DUPLICATE_KEY.id;
        twice.help = "remove one of them; strict readers refuse the document".to_owned();
        found.push(twice);
    }
    let mut report = check_document(doc.value.clone(), namespace);
    match &report.unknown {
        Some(ParseError::UnknownKind { api_version, .. }) if !is_ours(api_version) => return false,
        Some(unknown) => {
            let at = Some(doc.position("kind"));
            let mut wrong = plain(doc.file(), at, unknown.to_string());
            wrong.help = unknown.help();
            found.push(wrong);
            return true;
        }
        None => {}
    }
    if let Some(object) = &report.object {
        report
            .findings
            .extend(hawser_control::envoy_patch::check(object));
    }
    found.extend(
        report
            .findings
            .into_iter()
            .map(|finding| locate(doc, finding)),
    );
    true
}

/// Whether an `apiVersion` is one that must be known here.
pub(crate) fn is_ours(api_version: &str) -> bool {
    api_version
        .split_once('/')
        .is_some_and(|(group, _)| group.ends_with(".istio.io"))
}

fn plain(file: &str, position: Option<Position>, message: String) -> Located {
    Located {
        file: file.to_owned(),
        position,
        severity: Severity::Error,
        code: NOT_AN_OBJECT,
        object: None,
        field: String::new(),
        message,
        help: String::new(),
    }
}

fn locate(doc: &Doc, finding: Finding) -> Located {
    Located {
        file: doc.file().to_owned(),
        position: Some(doc.position(&finding.path)),
        severity: finding.severity,
        code: finding.code,
        object: Some(finding.object.to_string()),
        field: finding.path,
        message: finding.message,
        help: finding.help,
    }
}

fn print_text(found: &[Located], checked: &BTreeMap<String, usize>) {
    for f in found {
        let position = f.position.map(|p| format!(":{p}")).unwrap_or_default();
        let object = f
            .object
            .as_ref()
            .map(|o| format!(" {o}:"))
            .unwrap_or_default();
        let field = if f.field.is_empty() {
            String::new()
        } else {
            format!(" {}:", f.field)
        };
        println!(
            "{}{position}: {} {}:{object}{field} {}",
            f.file, f.severity, f.code, f.message
        );
        if !f.help.is_empty() {
            println!("  help: {}", f.help);
        }
    }
    for (file, objects) in checked {
        let of = |severity| {
            found
                .iter()
                .filter(|f| f.file == *file && f.severity == severity)
                .count()
        };
        let verdict = match (of(Severity::Error), of(Severity::Warning)) {
            (0, 0) => "valid".to_owned(),
            (0, warnings) => format!("valid, with {}", plural(warnings, "warning")),
            (errors, _) => plural(errors, "error"),
        };
        println!("{file}: {}: {verdict}", plural(*objects, "object"));
    }
}

fn plural(n: usize, what: &str) -> String {
    if n == 1 {
        format!("1 {what}")
    } else {
        format!("{n} {what}s")
    }
}

fn to_json(f: &Located) -> Value {
    let level = match f.severity {
        Severity::Error => "Error",
        Severity::Warning => "Warning",
        Severity::Info => "Info",
    };
    let mut out = json!({
        "code": f.code,
        "level": level,
        "message": f.message,
        "file": f.file,
    });
    if let Some(object) = &f.object {
        out["origin"] = json!(object);
    }
    if let Some(position) = f.position {
        out["line"] = json!(position.line);
        out["column"] = json!(position.column);
        out["reference"] = json!(format!("{}:{}", f.file, position.line));
    }
    if !f.field.is_empty() {
        out["field"] = json!(f.field);
    }
    if !f.help.is_empty() {
        out["help"] = json!(f.help);
    }
    if f.code.starts_with("IST") {
        let code = f.code.to_ascii_lowercase();
        out["documentationUrl"] = json!(format!(
            "https://istio.io/latest/docs/reference/config/analysis/{code}/"
        ));
    }
    out
}
