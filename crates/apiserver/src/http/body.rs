//! Request bodies: JSON, YAML and Kubernetes' protobuf, all to one JSON value.

use std::fmt;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::schema::{FieldIssue, Schemas};
use crate::status::ApiError;

/// The largest body taken, in bytes; the real server's limit.
pub const BODY_LIMIT: usize = 3 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Json,
    Yaml,
    Protobuf,
}

/// A decoded body and the fields that it gave twice.
#[derive(Debug)]
pub struct Decoded {
    pub value: Value,
    pub duplicates: Vec<FieldIssue>,
}

/// Reads a whole body.
///
/// # Errors
/// 413 when it is too large, 400 when the connection broke.
pub async fn read_body(body: Incoming) -> Result<bytes::Bytes, ApiError> {
    match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(ApiError::too_large(BODY_LIMIT))
        }
        Err(error) => Err(ApiError::bad_request(format!("reading the body: {error}"))),
    }
}

impl Format {
    /// # Errors
    /// 415 for a media type that is not taken.
    pub fn of(content_type: &str) -> Result<Format, ApiError> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "" | "application/json" => Ok(Format::Json),
            "application/yaml" => Ok(Format::Yaml),
            "application/vnd.kubernetes.protobuf" => Ok(Format::Protobuf),
            _ => Err(ApiError::unsupported_media_type(
                "the body of the request was in an unknown format - accepted media types include: \
                 application/json, application/yaml, application/vnd.kubernetes.protobuf",
            )),
        }
    }
}

/// Decodes a body.
///
/// # Errors
/// A message without position or wrapping; the caller says what was expected.
pub fn decode(format: Format, body: &[u8]) -> Result<Decoded, String> {
    let mut duplicates = Vec::new();
    let value = match format {
        Format::Json => {
            let mut deserializer = serde_json::Deserializer::from_slice(body);
            let value = Tracked {
                path: String::new(),
                duplicates: &mut duplicates,
            }
            .deserialize(&mut deserializer)
            .and_then(|value| deserializer.end().map(|()| value));
            value.map_err(|error| json_error(body, &error))?
        }
        Format::Yaml => {
            let text = std::str::from_utf8(body).map_err(|error| format!("yaml: {error}"))?;
            serde_saphyr::from_str(text)
                .map_err(|error| format!("error converting YAML to JSON: {error}"))?
        }
        Format::Protobuf => Schemas::builtin()
            .decode_protobuf(body)
            .map_err(|error| error.to_string())?,
    };
    Ok(Decoded { value, duplicates })
}

/// Go's words for the commonest mistakes, which tools and people search for.
fn json_error(body: &[u8], error: &serde_json::Error) -> String {
    let at = offset(body, error.line(), error.column());
    let text = String::from_utf8_lossy(body);
    let message = error.to_string();
    if error.is_eof() {
        return format!("json parse error: unexpected end of JSON input ({text})");
    }
    let character = body.get(at).map_or(' ', |&byte| byte as char);
    let place = if message.starts_with("key must be a string") {
        "looking for beginning of object key string"
    } else if message.starts_with("expected value") || message.starts_with("expected ident") {
        "looking for beginning of value"
    } else if message.starts_with("trailing characters") {
        "after top-level value"
    } else if message.starts_with("expected `,` or `}`") {
        "after object key:value pair"
    } else if message.starts_with("expected `,` or `]`") {
        "after array element"
    } else {
        return format!("json parse error: {message} ({text})");
    };
    format!("json parse error: invalid character '{character}' {place} ({text})")
}

fn offset(body: &[u8], line: usize, column: usize) -> usize {
    let before: usize = body
        .split(|&byte| byte == b'\n')
        .take(line.saturating_sub(1))
        .map(|l| l.len() + 1)
        .sum();
    before + column.saturating_sub(1)
}

/// Builds a value and notes the object keys that come twice; the last one counts.
struct Tracked<'a> {
    path: String,
    duplicates: &'a mut Vec<FieldIssue>,
}

impl<'de> DeserializeSeed<'de> for Tracked<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tracked<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        loop {
            let seed = Tracked {
                path: format!("{}[{}]", self.path, items.len()),
                duplicates: self.duplicates,
            };
            match seq.next_element_seed(seed)? {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let path = if self.path.is_empty() {
                key.clone()
            } else {
                format!("{}.{key}", self.path)
            };
            if object.contains_key(&key) {
                self.duplicates
                    .push(FieldIssue::Duplicate { path: path.clone() });
            }
            let value = map.next_value_seed(Tracked {
                path,
                duplicates: self.duplicates,
            })?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}
