//! Reads files of Kubernetes objects (YAML or JSON, several documents), and says where in the file a field stands.
//!
//! Scalars mean what they mean to kubectl (YAML 1.1: `on`, `no`, `0777`). A document that cannot be read does not stop the
//! others, and [`documents`] can be read apart from each other: those of a large input on several processors, or one after
//! the other without keeping what they said. Positions are found by reading the document again when asked for, so that
//! large inputs keep only their text.

mod build;
mod position;

use saphyr_parser::Marker;
use serde_json::Value;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// The largest input, in bytes.
pub const MAX_BYTES: usize = 256 << 20;
/// The deepest nesting.
pub const MAX_DEPTH: usize = 100;
/// The most values in one document, aliases expanded.
pub const MAX_NODES: usize = 1_000_000;

/// A place in a file; both numbers start at 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub line: usize,
    pub column: usize,
}

/// Why an input, or one document of it, could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    #[error("{file}: larger than {MAX_BYTES} bytes")]
    TooLarge { file: Arc<str> },
    #[error("{file}: not UTF-8 (at byte {offset})")]
    NotUtf8 { file: Arc<str>, offset: usize },
    #[error("{file}:{position}: {message}")]
    Syntax {
        file: Arc<str>,
        position: Position,
        message: String,
    },
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// One document of an input, not read yet.
#[derive(Clone, Debug)]
pub struct Document {
    file: Arc<str>,
    text: Arc<str>,
    range: Range<usize>,
    /// Lines before the document.
    line: usize,
}

/// One object of an input.
#[derive(Clone, Debug)]
pub struct Doc {
    pub value: Value,
    /// Keys that stand twice in one mapping (the last one counts), by path.
    pub duplicates: Vec<String>,
    source: Document,
    /// The path of the object in its document (`items[3]` in a List), or empty.
    prefix: String,
}

/// What an input holds.
#[derive(Clone, Debug, Default)]
pub struct Manifest {
    pub docs: Vec<Doc>,
    pub errors: Vec<ManifestError>,
}

impl Doc {
    /// The file's name, as it was given.
    pub fn file(&self) -> &str {
        &self.source.file
    }

    /// Where the field with this path stands, or if it is absent, the innermost value around it.
    pub fn position(&self, path: &str) -> Position {
        let found = position::find(self.source.text(), &self.prefix, path);
        self.source.position(&found.unwrap_or(Marker::new(0, 1, 0)))
    }
}

impl Document {
    fn text(&self) -> &str {
        self.text.get(self.range.clone()).unwrap_or_default()
    }

    fn position(&self, marker: &Marker) -> Position {
        Position {
            line: self.line + marker.line(),
            column: marker.col() + 1,
        }
    }

    fn error(&self, marker: &Marker, message: impl Into<String>) -> ManifestError {
        ManifestError::Syntax {
            file: self.file.clone(),
            position: self.position(marker),
            message: message.into(),
        }
    }

    /// The document's objects: the items of a `List`, else one; none if it is empty.
    pub fn read(&self) -> Result<Vec<Doc>, ManifestError> {
        let (value, duplicates) = build::build(self, self.text())?;
        Ok(objects(self, value, duplicates))
    }
}

/// Reads an input. `file` is how messages call it.
pub fn read(file: &str, bytes: &[u8]) -> Manifest {
    let mut out = Manifest::default();
    match documents(file, bytes) {
        Ok(documents) => {
            for document in documents {
                match document.read() {
                    Ok(docs) => out.docs.extend(docs),
                    Err(error) => out.errors.push(error),
                }
            }
        }
        Err(error) => out.errors.push(error),
    }
    out
}

/// Parts an input into documents as kubectl does: at lines that begin with `---`.
pub fn documents(file: &str, bytes: &[u8]) -> Result<Vec<Document>, ManifestError> {
    let file: Arc<str> = file.into();
    if bytes.len() > MAX_BYTES {
        return Err(ManifestError::TooLarge { file });
    }
    // To the scanner a NUL would be the end.
    if let Some(offset) = bytes.iter().position(|b| *b == 0) {
        let before = bytes.get(..offset).unwrap_or_default();
        let mut lines = before.rsplit(|b| *b == b'\n');
        let position = Position {
            column: lines.next().map_or(0, <[u8]>::len) + 1,
            line: lines.count() + 1,
        };
        let message = "a NUL character: this is no text".to_owned();
        return Err(ManifestError::Syntax {
            file,
            position,
            message,
        });
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => Arc::<str>::from(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(error) => {
            let offset = error.valid_up_to();
            return Err(ManifestError::NotUtf8 { file, offset });
        }
    };
    let mut out = Vec::new();
    let mut add = |range: Range<usize>, line| {
        if !range.is_empty() {
            out.push(Document {
                file: file.clone(),
                text: text.clone(),
                range,
                line,
            });
        }
    };
    let (mut start, mut start_line, mut offset) = (0, 0, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if line.starts_with("---") && offset > start {
            add(start..offset, start_line);
            (start, start_line) = (offset, number);
        }
        offset += line.len();
    }
    add(start..offset, start_line);
    Ok(out)
}

fn objects(source: &Document, value: Value, duplicates: Vec<String>) -> Vec<Doc> {
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
    let item_kind = text("kind").strip_suffix("List").map(str::to_owned);
    let api_version = item_kind.is_some().then(|| text("apiVersion").to_owned());
    let one = |value, duplicates, prefix| Doc {
        value,
        duplicates,
        source: source.clone(),
        prefix,
    };
    match (value, item_kind) {
        (Value::Null, _) => Vec::new(),
        (Value::Object(mut map), Some(item_kind))
            if map.get("items").is_some_and(Value::is_array) =>
        {
            let Some(Value::Array(items)) = map.remove("items") else {
                return Vec::new();
            };
            let item = |(i, mut item): (usize, Value)| {
                let prefix = format!("items[{i}]");
                if let Value::Object(item) = &mut item
                    && !item_kind.is_empty()
                {
                    // Items of typed lists (`PodList`) do not repeat their kind.
                    item.entry("apiVersion")
                        .or_insert_with(|| Value::String(api_version.clone().unwrap_or_default()));
                    item.entry("kind")
                        .or_insert_with(|| Value::String(item_kind.clone()));
                }
                let duplicates = duplicates
                    .iter()
                    .filter_map(|path| path.strip_prefix(&prefix))
                    .map(|path| path.trim_start_matches('.').to_owned())
                    .collect();
                one(item, duplicates, prefix)
            };
            items.into_iter().enumerate().map(item).collect()
        }
        (value, _) => vec![one(value, duplicates, String::new())],
    }
}
