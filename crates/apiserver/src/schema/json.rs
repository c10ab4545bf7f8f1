//! JSON bodies, read so that repeated fields are noticed.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::FieldIssue;

/// Parses one JSON value; of repeated fields the last counts, as for the real server. Depth is bounded by the parser.
pub fn parse_json(body: &[u8]) -> Result<(Value, Vec<FieldIssue>), serde_json::Error> {
    let log = RefCell::new(Log::default());
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = Node { log: &log }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok((value, log.into_inner().issues))
}

#[derive(Default)]
struct Log {
    path: String,
    issues: Vec<FieldIssue>,
}

struct Node<'a> {
    log: &'a RefCell<Log>,
}

impl Node<'_> {
    /// Runs `read` with `segment` added to the path.
    fn below<T>(&self, segment: &str, dot: bool, read: impl FnOnce() -> T) -> T {
        let length = self.log.borrow().path.len();
        {
            let mut log = self.log.borrow_mut();
            if dot && length > 0 {
                log.path.push('.');
            }
            log.path.push_str(segment);
        }
        let result = read();
        self.log.borrow_mut().path.truncate(length);
        result
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E: Error>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }

    fn visit_i64<E: Error>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_u64<E: Error>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_f64<E: Error>(self, v: f64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_str<E: Error>(self, v: &str) -> Result<Value, E> {
        Ok(Value::String(v.to_owned()))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let segment = format!("[{}]", list.len());
            let next = self.below(&segment, false, || {
                seq.next_element_seed(Node { log: self.log })
            })?;
            match next {
                Some(value) => list.push(value),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            let value = self.below(&key, true, || {
                if map.contains_key(&key) {
                    let mut log = self.log.borrow_mut();
                    let path = log.path.clone();
                    log.issues.push(FieldIssue::Duplicate { path });
                }
                access.next_value_seed(Node { log: self.log })
            })?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_fields_are_reported_with_their_path_and_the_last_counts() {
        let body = br#"{"a":1,"l":[{"x":1,"x":2}],"a":[null,true,1.5,"s",-3]}"#;
        let (value, issues) = parse_json(body).unwrap();
        assert_eq!(
            value,
            serde_json::json!({"a": [null, true, 1.5, "s", -3], "l": [{"x": 2}]})
        );
        let texts: Vec<String> = issues.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            ["duplicate field \"l[0].x\"", "duplicate field \"a\""]
        );
        assert!(parse_json(b"{} x").is_err());
    }
}
