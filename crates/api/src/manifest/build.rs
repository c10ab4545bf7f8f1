//! From a document's events to a JSON value, within bounds.

use super::{Document, MAX_DEPTH, MAX_NODES, ManifestError};
use crate::message::push_key;
use crate::scalar_yaml::{self, Resolved};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, StrInput};
use serde_json::Value;
use serde_json::map::{Entry, Map};
use std::collections::BTreeMap;

struct Builder<'a> {
    source: &'a Document,
    parser: Parser<'a, StrInput<'a>>,
    anchors: BTreeMap<usize, (Value, usize)>,
    nodes: usize,
    path: Vec<Step>,
    duplicates: Vec<String>,
}

/// Where the value being read stands in the one around it.
enum Step {
    Key(String),
    Index(usize),
}

/// The value of a document, and the keys that stand twice in it.
pub(super) fn build(source: &Document, text: &str) -> Result<(Value, Vec<String>), ManifestError> {
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
                    Resolved::Text => Value::String(text.into_owned()),
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
            self.path.push(Step::Index(items.len()));
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
            self.path.push(Step::Key(key));
            let value = self.node(event, &value_marker, depth + 1)?;
            let key = self.leave();
            match value {
                Value::Array(items) if merge => merged.extend(items),
                other if merge => merged.push(other),
                value => match map.entry(key) {
                    Entry::Vacant(entry) => {
                        entry.insert(value);
                    }
                    Entry::Occupied(mut entry) => {
                        if self.duplicates.len() < 100 {
                            self.duplicates.push(path_text(&self.path, entry.key()));
                        }
                        entry.insert(value);
                    }
                },
            }
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

    /// Leaves the value of a key.
    fn leave(&mut self) -> String {
        match self.path.pop() {
            Some(Step::Key(key)) => key,
            _ => String::new(),
        }
    }
}

fn path_text(path: &[Step], key: &str) -> String {
    let mut out = String::new();
    for step in path {
        match step {
            Step::Key(key) => push_key(&mut out, key),
            Step::Index(index) => out.push_str(&format!("[{index}]")),
        }
    }
    push_key(&mut out, key);
    out
}
