//! Reads files of Kubernetes objects (YAML or JSON, several documents), and says where in the file a field stands.
//!
//! Scalars mean what they mean to kubectl (YAML 1.1: `on`, `no`, `0777`). A document that cannot be read does not stop the
//! others. Positions are found by reading the document again when asked for, so that large inputs keep only their text.

use crate::scalar_yaml::{self, Resolved};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, StrInput};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
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

/// One object of an input.
#[derive(Clone, Debug)]
pub struct Doc {
    pub value: Value,
    /// Keys that stand twice in one mapping (the last one counts), by path.
    pub duplicates: Vec<String>,
    source: Source,
    /// The path of the object in its document (`items[3]` in a List), or empty.
    prefix: String,
}

#[derive(Clone, Debug)]
struct Source {
    file: Arc<str>,
    text: Arc<str>,
    range: Range<usize>,
    /// Lines before the document.
    line: usize,
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
        let mut steps = steps(&self.prefix);
        steps.extend(self::steps(path));
        let text = self
            .source
            .text
            .get(self.source.range.clone())
            .unwrap_or_default();
        let mut walk = Walk {
            parser: Parser::new_from_str(text),
        };
        let found = walk.find(&steps);
        self.source.position(&found.unwrap_or(Marker::new(0, 1, 0)))
    }
}

impl Source {
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
}

/// Reads an input. `file` is how messages call it.
pub fn read(file: &str, bytes: &[u8]) -> Manifest {
    let file: Arc<str> = file.into();
    let mut out = Manifest::default();
    if bytes.len() > MAX_BYTES {
        out.errors.push(ManifestError::TooLarge { file });
        return out;
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => Arc::<str>::from(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(error) => {
            let offset = error.valid_up_to();
            out.errors.push(ManifestError::NotUtf8 { file, offset });
            return out;
        }
    };
    for (range, line) in documents(&text) {
        let source = Source {
            file: file.clone(),
            text: text.clone(),
            range,
            line,
        };
        match build(&source) {
            Ok((value, duplicates)) => flatten(source, value, duplicates, &mut out),
            Err(error) => out.errors.push(error),
        }
    }
    out
}

/// Documents as kubectl parts them: at lines that begin with `---`. With the number of lines before each.
fn documents(text: &str) -> Vec<(Range<usize>, usize)> {
    let mut out = Vec::new();
    let (mut start, mut start_line, mut offset) = (0, 0, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if line.starts_with("---") && offset > start {
            out.push((start..offset, start_line));
            (start, start_line) = (offset, number);
        }
        offset += line.len();
    }
    if offset > start {
        out.push((start..offset, start_line));
    }
    out
}

/// A `List` becomes its items; an empty document nothing.
fn flatten(source: Source, value: Value, duplicates: Vec<String>, out: &mut Manifest) {
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
    let kind = text("kind");
    let item_kind = kind.strip_suffix("List").map(str::to_owned);
    let api_version = text("apiVersion").to_owned();
    match (value, item_kind) {
        (Value::Null, _) => {}
        (Value::Object(mut map), Some(item_kind))
            if map.get("items").is_some_and(Value::is_array) =>
        {
            let Some(Value::Array(items)) = map.remove("items") else {
                return;
            };
            for (i, mut item) in items.into_iter().enumerate() {
                let prefix = format!("items[{i}]");
                if let Value::Object(item) = &mut item
                    && !item_kind.is_empty()
                {
                    // Items of typed lists (`PodList`) do not repeat their kind.
                    item.entry("apiVersion")
                        .or_insert_with(|| Value::String(api_version.clone()));
                    item.entry("kind")
                        .or_insert_with(|| Value::String(item_kind.clone()));
                }
                let duplicates = duplicates
                    .iter()
                    .filter_map(|path| path.strip_prefix(&prefix))
                    .map(|path| path.trim_start_matches('.').to_owned())
                    .collect();
                out.docs.push(Doc {
                    value: item,
                    duplicates,
                    source: source.clone(),
                    prefix,
                });
            }
        }
        (value, _) => out.docs.push(Doc {
            value,
            duplicates,
            source,
            prefix: String::new(),
        }),
    }
}

type Events<'a> = Parser<'a, StrInput<'a>>;

struct Builder<'a> {
    source: &'a Source,
    parser: Events<'a>,
    anchors: BTreeMap<usize, (Value, usize)>,
    nodes: usize,
    path: Vec<String>,
    duplicates: Vec<String>,
}

fn build(source: &Source) -> Result<(Value, Vec<String>), ManifestError> {
    let text = source.text.get(source.range.clone()).unwrap_or_default();
    let mut builder = Builder {
        source,
        parser: Parser::new_from_str(text),
        anchors: BTreeMap::new(),
        nodes: 0,
        path: Vec::new(),
        duplicates: Vec::new(),
    };
    let value = builder.document()?;
    Ok((value, builder.duplicates))
}

impl<'a> Builder<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Marker), ManifestError> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, span.start)),
            Some(Err(error)) => Err(self.syntax(&error)),
            None => Ok((Event::StreamEnd, Marker::new(0, 1, 0))),
        }
    }

    fn syntax(&self, error: &ScanError) -> ManifestError {
        self.source.error(error.marker(), error.info())
    }

    fn document(&mut self) -> Result<Value, ManifestError> {
        let mut value = Value::Null;
        let mut seen = false;
        loop {
            let (event, marker) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
                Event::StreamEnd => return Ok(value),
                Event::DocumentStart(_) if seen => {
                    return Err(self
                        .source
                        .error(&marker, "a second document must begin with ---"));
                }
                Event::DocumentStart(_) => seen = true,
                event => value = self.node(event, &marker, 0)?,
            }
        }
    }

    fn count(&mut self, nodes: usize, marker: &Marker) -> Result<(), ManifestError> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            return Err(self.source.error(
                marker,
                format!("more than {MAX_NODES} values, aliases expanded"),
            ));
        }
        Ok(())
    }

    fn node(
        &mut self,
        event: Event<'a>,
        marker: &Marker,
        depth: usize,
    ) -> Result<Value, ManifestError> {
        if depth > MAX_DEPTH {
            return Err(self
                .source
                .error(marker, format!("nested deeper than {MAX_DEPTH}")));
        }
        let before = self.nodes;
        self.count(1, marker)?;
        let (value, anchor) = match event {
            Event::Alias(id) => {
                let Some((value, nodes)) = self.anchors.get(&id).cloned() else {
                    return Err(self
                        .source
                        .error(marker, "alias of an anchor that is not complete"));
                };
                self.count(nodes, marker)?;
                (value, 0)
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = matches!(style, ScalarStyle::Plain);
                let tag = tag.as_ref().map(|t| (t.handle.as_str(), t.suffix.as_str()));
                let value = match scalar_yaml::resolve(&text, plain, tag) {
                    Resolved::Value(value) => value,
                    Resolved::NotJson => {
                        return Err(self
                            .source
                            .error(marker, format!("{text} cannot be written in JSON")));
                    }
                };
                (value, anchor)
            }
            Event::SequenceStart(anchor, _) => (self.sequence(depth)?, anchor),
            Event::MappingStart(anchor, _) => (self.mapping(depth)?, anchor),
            _ => return Err(self.source.error(marker, "unexpected end of the document")),
        };
        if anchor > 0 {
            self.anchors
                .insert(anchor, (value.clone(), self.nodes - before));
        }
        Ok(value)
    }

    fn sequence(&mut self, depth: usize) -> Result<Value, ManifestError> {
        let mut items = Vec::new();
        loop {
            let (event, marker) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Value::Array(items));
            }
            self.path.push(format!("[{}]", items.len()));
            items.push(self.node(event, &marker, depth + 1)?);
            self.path.pop();
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, ManifestError> {
        let mut map = Map::new();
        let mut merged: Vec<Value> = Vec::new();
        loop {
            let (event, marker) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let merge =
                matches!(&event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<");
            let key = match self.node(event, &marker, depth + 1)? {
                Value::String(key) => key,
                Value::Number(n) => n.to_string(),
                Value::Bool(b) => b.to_string(),
                Value::Null => "null".to_owned(),
                Value::Array(_) | Value::Object(_) => {
                    return Err(self.source.error(&marker, "a key must be a scalar"));
                }
            };
            let (event, value_marker) = self.next()?;
            self.path.push(key.clone());
            let value = self.node(event, &value_marker, depth + 1)?;
            if merge {
                match value {
                    Value::Array(items) => merged.extend(items),
                    other => merged.push(other),
                }
            } else if map.insert(key, value).is_some() && self.duplicates.len() < 100 {
                let path = self.path_text();
                self.duplicates.push(path);
            }
            self.path.pop();
        }
        for value in merged {
            let Value::Object(value) = value else {
                continue;
            };
            for (key, value) in value {
                map.entry(key).or_insert(value);
            }
        }
        Ok(Value::Object(map))
    }

    fn path_text(&self) -> String {
        let mut out = String::new();
        for step in &self.path {
            if step.starts_with('[') {
                out.push_str(step);
            } else {
                crate::message::push_key(&mut out, step);
            }
        }
        out
    }
}

#[derive(Debug, PartialEq)]
enum Step {
    Key(String),
    Index(usize),
}

/// Parses a path: `a.b[0].c[x/y.z]`, where brackets hold an index or a key that has dots or the like.
fn steps(path: &str) -> Vec<Step> {
    let mut out = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('[') {
            let end = after.find(']').unwrap_or(after.len());
            let (inside, after) = after.split_at(end);
            out.push(
                inside
                    .parse()
                    .map_or_else(|_| Step::Key(inside.to_owned()), Step::Index),
            );
            rest = after.strip_prefix(']').unwrap_or(after);
        } else {
            rest = rest.strip_prefix('.').unwrap_or(rest);
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            let (key, after) = rest.split_at(end);
            if !key.is_empty() {
                out.push(Step::Key(key.to_owned()));
            }
            rest = after;
        }
    }
    out
}

/// Walks the events of a document that is known to be well formed.
struct Walk<'a> {
    parser: Events<'a>,
}

impl<'a> Walk<'a> {
    fn next(&mut self) -> Option<(Event<'a>, Marker)> {
        self.parser
            .next_event()?
            .ok()
            .map(|(event, span)| (event, span.start))
    }

    /// The marker of the path, or of the innermost value on the way to it.
    fn find(&mut self, steps: &[Step]) -> Option<Marker> {
        let (mut event, mut found) = loop {
            let (event, marker) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
                other => break (other, marker),
            }
        };
        for step in steps {
            let entered = match (step, &event) {
                (Step::Index(index), Event::SequenceStart(..)) => self.enter_item(*index),
                (Step::Key(key), Event::MappingStart(..)) => self.enter_key(key),
                // `[8080]` may be a key that looks like a number.
                (Step::Index(index), Event::MappingStart(..)) => self.enter_key(&index.to_string()),
                _ => None,
            };
            let Some((inner, marker)) = entered else {
                break;
            };
            (event, found) = (inner, marker);
        }
        Some(found)
    }

    fn enter_item(&mut self, index: usize) -> Option<(Event<'a>, Marker)> {
        for i in 0.. {
            let (event, marker) = self.next()?;
            if event == Event::SequenceEnd {
                return None;
            }
            if i == index {
                return Some((event, marker));
            }
            self.skip(&event)?;
        }
        None
    }

    /// The value's event, with the marker of its key.
    fn enter_key(&mut self, key: &str) -> Option<(Event<'a>, Marker)> {
        loop {
            let (event, marker) = self.next()?;
            if event == Event::MappingEnd {
                return None;
            }
            let same = matches!(&event, Event::Scalar(text, ..) if text == key);
            self.skip(&event)?;
            let (value, _) = self.next()?;
            if same {
                return Some((value, marker));
            }
            self.skip(&value)?;
        }
    }

    fn skip(&mut self, event: &Event<'a>) -> Option<()> {
        let mut open = usize::from(matches!(
            event,
            Event::SequenceStart(..) | Event::MappingStart(..)
        ));
        while open > 0 {
            match self.next()?.0 {
                Event::SequenceStart(..) | Event::MappingStart(..) => open += 1,
                Event::SequenceEnd | Event::MappingEnd => open -= 1,
                _ => {}
            }
        }
        Some(())
    }
}
