//! Where in a document a field stands.

use saphyr_parser::{Event, Marker, Parser, StrInput};

/// The place of a path in a well-formed document, or of the innermost value on the way to it.
pub(super) fn find(text: &str, prefix: &str, path: &str) -> Option<Marker> {
    let mut steps = steps(prefix);
    steps.extend(self::steps(path));
    let mut walk = Walk {
        parser: Parser::new_from_str(text),
    };
    walk.find(&steps)
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
    parser: Parser<'a, StrInput<'a>>,
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
