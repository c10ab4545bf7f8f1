//! Printing: encoded bytes are walked by their types and given to a serializer, without a message in between.
//!
//! Fields and keys come in the order of their names, so that the same bytes print the same everywhere.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::display::Base64Display;
use base64::prelude::BASE64_STANDARD;
use prost::Message as _;
use prost_reflect::{DynamicMessage, SerializeOptions};
use serde::ser::{Error, Serialize, SerializeMap, SerializeSeq, Serializer};
use smallvec::SmallVec;

use super::types::{self, Field, Form, NumberOf, Shape, Type};
use crate::google::protobuf::Any;
use crate::istio::nds::NameTable;
use crate::type_url;
use crate::wire::{self, Malformed, Wire};

/// Depth at which printing gives up; real resources have less than 40 levels.
const MAX_DEPTH: usize = 100;

/// A packed resource as protobuf JSON with the proto's own field names, for any serializer. An `Any` within is expanded;
/// one of an unknown type is an error, as JSON cannot say it.
#[derive(Clone, Copy, Debug)]
pub struct Printed<'a>(pub &'a Any);

impl Serialize for Printed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.type_url == type_url::NAME_TABLE {
            return name_table(&self.0.value, serializer);
        }
        let ty = packed::<S::Error>(&self.0.type_url)?;
        Message {
            ty: &ty,
            bytes: &self.0.value,
            depth: 0,
        }
        .serialize(serializer)
    }
}

#[derive(serde::Serialize)]
struct Names<'a> {
    table: BTreeMap<&'a str, Host<'a>>,
}

#[derive(serde::Serialize)]
struct Host<'a> {
    ips: &'a [String],
}

fn name_table<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    let known = NameTable::decode(bytes).map_err(S::Error::custom)?.table;
    let table = known
        .iter()
        .map(|(name, info)| (name.as_str(), Host { ips: &info.ips }))
        .collect();
    Names { table }.serialize(serializer)
}

fn packed<E: Error>(type_url: &str) -> Result<std::sync::Arc<Type>, E> {
    let name = type_url.rsplit('/').next().unwrap_or_default();
    types::named(name).ok_or_else(|| E::custom(format!("message '{name}' not found")))
}

fn malformed<E: Error>(_: Malformed) -> E {
    E::custom(Malformed)
}

/// An encoded message.
struct Message<'a> {
    ty: &'a Type,
    bytes: &'a [u8],
    depth: usize,
}

/// Values of known fields, by the fields' places, in order of the places. Most messages have few.
type Found<'a> = SmallVec<[(usize, Wire<'a>); 8]>;

impl<'a> Message<'a> {
    fn found(&self) -> Result<Found<'a>, Malformed> {
        let mut found = Found::new();
        for field in wire::fields(self.bytes) {
            let field = field?;
            if let Some(place) = self.ty.place(field.number) {
                found.push((place, field.value));
            }
        }
        // Stable: of values of one field the last counts.
        found.sort_by_key(|f| f.0);
        Ok(found)
    }

    fn entries<S: SerializeMap>(&self, map: &mut S) -> Result<(), S::Error> {
        let found = self.found().map_err(malformed)?;
        for values in found.chunk_by(|a, b| a.0 == b.0) {
            if let Some(field) = self.ty.fields.get(values[0].0)
                && field.says(values)
            {
                let depth = self.depth;
                let values = Values {
                    field,
                    values,
                    depth,
                };
                map.serialize_entry(&field.name, &values)?;
            }
        }
        Ok(())
    }

    /// The last field that is set, and its values.
    fn last<S: Serializer>(
        &self,
        serializer: S,
        unset: impl FnOnce(S) -> Result<S::Ok, S::Error>,
    ) -> Result<S::Ok, S::Error> {
        let found = self.found().map_err(malformed)?;
        let values = found.chunk_by(|a, b| a.0 == b.0).next_back();
        match values.and_then(|v| Some((self.ty.fields.get(v[0].0)?, v))) {
            Some((field, values)) => Values {
                field,
                values,
                depth: self.depth,
            }
            .serialize(serializer),
            None => unset(serializer),
        }
    }

    fn any<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (mut type_url, mut bytes): (&[u8], &[u8]) = (&[], &[]);
        for field in wire::fields(self.bytes) {
            match field.map_err(malformed)? {
                wire::Field {
                    number: 1,
                    value: Wire::Bytes(text),
                    ..
                } => type_url = text,
                wire::Field {
                    number: 2,
                    value: Wire::Bytes(value),
                    ..
                } => bytes = value,
                _ => {}
            }
        }
        let type_url = std::str::from_utf8(type_url).map_err(|_| malformed(Malformed))?;
        let ty = packed::<S::Error>(type_url)?;
        let inner = Message {
            ty: &ty,
            bytes,
            depth: self.depth + 1,
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("@type", type_url)?;
        if ty.well_known {
            map.serialize_entry("value", &inner)?;
        } else {
            inner.entries(&mut map)?;
        }
        map.end()
    }
}

impl Serialize for Message<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.depth > MAX_DEPTH {
            return Err(S::Error::custom(format!("nested deeper than {MAX_DEPTH}")));
        }
        match &self.ty.form {
            Form::Object => {
                let mut map = serializer.serialize_map(None)?;
                self.entries(&mut map)?;
                map.end()
            }
            Form::Any => self.any(serializer),
            Form::OnlyField => self.last(serializer, |serializer| {
                let Some(field) = self.ty.fields.first() else {
                    return serializer.serialize_none();
                };
                let (values, depth) = (&[], self.depth);
                let none = Values {
                    field,
                    values,
                    depth,
                };
                none.serialize(serializer)
            }),
            Form::SetField => self.last(serializer, S::serialize_none),
            Form::Text(descriptor) => DynamicMessage::decode(descriptor.clone(), self.bytes)
                .map_err(S::Error::custom)?
                .serialize_with_options(serializer, &SerializeOptions::new()),
        }
    }
}

impl Field {
    /// Whether the values are more than what not writing them would mean.
    fn says(&self, values: &[(usize, Wire<'_>)]) -> bool {
        self.presence
            || values.iter().any(|(_, value)| match self.number_of {
                NumberOf::One => *value != self.shape.zero(),
                NumberOf::List => !self.is_packed(value) || *value != Wire::Bytes(&[]),
                NumberOf::Map(_) => true,
            })
    }

    /// Whether one encoded value of a list is several.
    fn is_packed(&self, value: &Wire<'_>) -> bool {
        matches!(value, Wire::Bytes(_)) && !matches!(self.shape.zero(), Wire::Bytes(_))
    }
}

/// All that is written of one field.
struct Values<'a> {
    field: &'a Field,
    values: &'a [(usize, Wire<'a>)],
    depth: usize,
}

impl<'a> Values<'a> {
    fn one(&self, value: Wire<'a>) -> One<'a> {
        One {
            shape: &self.field.shape,
            value,
            depth: self.depth,
        }
    }

    fn map<S: Serializer>(&self, key: &'a Shape, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entries: Vec<(Cow<'a, str>, Wire<'a>)> = Vec::with_capacity(self.values.len());
        for (_, value) in self.values {
            let Wire::Bytes(entry) = *value else {
                return Err(malformed(Malformed));
            };
            let (mut name, mut value) = (key.zero(), self.field.shape.zero());
            for part in wire::fields(entry) {
                let part = part.map_err(malformed)?;
                match part.number {
                    1 => name = part.value,
                    2 => value = part.value,
                    _ => {}
                }
            }
            let name = key.scalar(name).and_then(Scalar::text);
            entries.push((name.ok_or_else(|| malformed(Malformed))?, value));
        }
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        let mut map = serializer.serialize_map(None)?;
        for same in entries.chunk_by(|a, b| a.0 == b.0) {
            if let Some((name, value)) = same.last() {
                map.serialize_entry(name, &self.one(*value))?;
            }
        }
        map.end()
    }

    fn list<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for (_, value) in self.values {
            match *value {
                Wire::Bytes(mut packed) if self.field.is_packed(value) => {
                    while !packed.is_empty() {
                        let value = match self.field.shape.zero() {
                            Wire::Fixed64(_) => wire::fixed64(&mut packed).map(Wire::Fixed64),
                            Wire::Fixed32(_) => wire::fixed32(&mut packed).map(Wire::Fixed32),
                            _ => wire::varint(&mut packed).map(Wire::Varint),
                        };
                        let value = value.ok_or_else(|| malformed(Malformed))?;
                        list.serialize_element(&self.one(value))?;
                    }
                }
                value => list.serialize_element(&self.one(value))?,
            }
        }
        list.end()
    }
}

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (&self.field.number_of, self.values) {
            (NumberOf::Map(key), _) => self.map(key, serializer),
            (NumberOf::List, _) => self.list(serializer),
            // A message that is written in parts means what they mean together.
            (NumberOf::One, [_, _, ..]) if matches!(self.field.shape, Shape::Message(_)) => {
                let mut all = Vec::new();
                for (_, part) in self.values {
                    if let Wire::Bytes(part) = part {
                        all.extend_from_slice(part);
                    }
                }
                self.one(Wire::Bytes(&all)).serialize(serializer)
            }
            (NumberOf::One, values) => {
                let value = values.last().map_or(self.field.shape.zero(), |v| v.1);
                self.one(value).serialize(serializer)
            }
        }
    }
}

/// One value.
struct One<'a> {
    shape: &'a Shape,
    value: Wire<'a>,
    depth: usize,
}

impl Serialize for One<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let (Shape::Message(link), Wire::Bytes(bytes)) = (self.shape, self.value) {
            let message = Message {
                ty: link.get(),
                bytes,
                depth: self.depth + 1,
            };
            return message.serialize(serializer);
        }
        match self.shape.scalar(self.value) {
            Some(Scalar::Null) => serializer.serialize_none(),
            Some(Scalar::Bool(value)) => serializer.serialize_bool(value),
            Some(Scalar::Signed(value)) => serializer.serialize_i32(value),
            Some(Scalar::Unsigned(value)) => serializer.serialize_u32(value),
            Some(Scalar::Long(value)) => serializer.collect_str(&value),
            Some(Scalar::UnsignedLong(value)) => serializer.collect_str(&value),
            Some(Scalar::Double(value)) => double(value, serializer),
            Some(Scalar::Text(text)) => serializer.serialize_str(text),
            Some(Scalar::Bytes(bytes)) => {
                serializer.collect_str(&Base64Display::new(bytes, &BASE64_STANDARD))
            }
            None => Err(malformed(Malformed)),
        }
    }
}

/// Doubles without a fraction print as other protobuf libraries print them: `20`, not `20.0`.
fn double<S: Serializer>(value: f64, serializer: S) -> Result<S::Ok, S::Error> {
    if value.is_nan() {
        serializer.serialize_str("NaN")
    } else if value.is_infinite() {
        serializer.serialize_str(if value > 0.0 { "Infinity" } else { "-Infinity" })
    } else if value.fract() == 0.0 && value.abs() < 1e15 {
        // Exact: below 2^53 and without a fraction.
        serializer.serialize_i64(value as i64)
    } else {
        serializer.serialize_f64(value)
    }
}

/// A value that is no message.
enum Scalar<'a> {
    Null,
    Bool(bool),
    Signed(i32),
    Unsigned(u32),
    Long(i64),
    UnsignedLong(u64),
    Double(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
}

impl<'a> Scalar<'a> {
    /// As the key of a JSON object; `None` for what is no key of a protobuf map.
    fn text(self) -> Option<Cow<'a, str>> {
        Some(match self {
            Scalar::Text(text) => Cow::Borrowed(text),
            Scalar::Bool(value) => Cow::Owned(value.to_string()),
            Scalar::Signed(value) => Cow::Owned(value.to_string()),
            Scalar::Unsigned(value) => Cow::Owned(value.to_string()),
            Scalar::Long(value) => Cow::Owned(value.to_string()),
            Scalar::UnsignedLong(value) => Cow::Owned(value.to_string()),
            Scalar::Null | Scalar::Double(_) | Scalar::Bytes(_) => return None,
        })
    }
}

impl Shape {
    /// Reads a value of the shape; `None` if it is not encoded as one.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "protobuf keeps the low bits of a varint, and reads them as signed"
    )]
    fn scalar<'a>(&'a self, value: Wire<'a>) -> Option<Scalar<'a>> {
        Some(match (self, value) {
            (Shape::Null, Wire::Varint(_)) => Scalar::Null,
            (Shape::Bool, Wire::Varint(v)) => Scalar::Bool(v != 0),
            (Shape::Int32, Wire::Varint(v)) => Scalar::Signed(v as i32),
            (Shape::Int64, Wire::Varint(v)) => Scalar::Long(v as i64),
            (Shape::Uint32, Wire::Varint(v)) => Scalar::Unsigned(v as u32),
            (Shape::Uint64, Wire::Varint(v)) => Scalar::UnsignedLong(v),
            (Shape::Sint32, Wire::Varint(v)) => Scalar::Signed(zigzag(u64::from(v as u32)) as i32),
            (Shape::Sint64, Wire::Varint(v)) => Scalar::Long(zigzag(v)),
            (Shape::Enum(names), Wire::Varint(v)) => match names.get(&(v as i32)) {
                Some(name) => Scalar::Text(name),
                None => Scalar::Signed(v as i32),
            },
            (Shape::Fixed32, Wire::Fixed32(v)) => Scalar::Unsigned(v),
            (Shape::Sfixed32, Wire::Fixed32(v)) => Scalar::Signed(v as i32),
            (Shape::Float, Wire::Fixed32(v)) => Scalar::Double(f64::from(f32::from_bits(v))),
            (Shape::Fixed64, Wire::Fixed64(v)) => Scalar::UnsignedLong(v),
            (Shape::Sfixed64, Wire::Fixed64(v)) => Scalar::Long(v as i64),
            (Shape::Double, Wire::Fixed64(v)) => Scalar::Double(f64::from_bits(v)),
            (Shape::String, Wire::Bytes(v)) => Scalar::Text(std::str::from_utf8(v).ok()?),
            (Shape::Bytes, Wire::Bytes(v)) => Scalar::Bytes(v),
            _ => return None,
        })
    }
}

/// Signed numbers of which small ones are short, whatever the sign.
fn zigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}
