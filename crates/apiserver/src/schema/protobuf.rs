//! Bodies in `application/vnd.kubernetes.protobuf`: the `k8s\0` envelope, and messages read as JSON.

use std::collections::BTreeMap;

use base64::Engine;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use super::ir::{Schemas, Slot, Ty, TypeId};
use super::{DecodeError, KindRef};

/// Nested messages beyond this are refused.
const DEPTH: usize = 64;

/// Go's encoder writes every plain field, zero or not, and pointers only when set. The definitions do not say which
/// is which, so a zero is kept where a pointer holds it and means something else than absence.
const POINTERS: &[&str] = &[
    "activeDeadlineSeconds",
    "allocateLoadBalancerNodePorts",
    "allowPrivilegeEscalation",
    "automountServiceAccountToken",
    "averageUtilization",
    "backoffLimit",
    "blockOwnerDeletion",
    "completions",
    "controller",
    "defaultMode",
    "enableServiceLinks",
    "failedJobsHistoryLimit",
    "fsGroup",
    "gracePeriodSeconds",
    "hostUsers",
    "immutable",
    "minReplicas",
    "mode",
    "optional",
    "orphanDependents",
    "parallelism",
    "partition",
    "port",
    "priority",
    "privileged",
    "progressDeadlineSeconds",
    "readOnlyRootFilesystem",
    "reinvocationPolicy",
    "replicas",
    "revisionHistoryLimit",
    "runAsGroup",
    "runAsNonRoot",
    "runAsUser",
    "setHostnameAsFQDN",
    "shareProcessNamespace",
    "stabilizationWindowSeconds",
    "startingDeadlineSeconds",
    "storageClassName",
    "successfulJobsHistoryLimit",
    "suspend",
    "terminationGracePeriodSeconds",
    "tolerationSeconds",
    "ttlSecondsAfterFinished",
];

/// One field of a message on the wire.
enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

struct Reader<'a> {
    rest: &'a [u8],
}

const TRUNCATED: DecodeError = DecodeError::Malformed("truncated");

impl<'a> Reader<'a> {
    fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or(TRUNCATED)?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::Malformed("varint too long"))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next field, `None` at the end.
    fn next(&mut self) -> Result<Option<(u32, Wire<'a>)>, DecodeError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let tag = u32::try_from(key >> 3).map_err(|_| DecodeError::Malformed("tag"))?;
        let wire = match key & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(
                self.take(8)?.try_into().map_err(|_| TRUNCATED)?,
            )),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| TRUNCATED)?;
                Wire::Bytes(self.take(length)?)
            }
            5 => Wire::Fixed32(u32::from_le_bytes(
                self.take(4)?.try_into().map_err(|_| TRUNCATED)?,
            )),
            _ => return Err(DecodeError::Malformed("wire type")),
        };
        Ok(Some((tag, wire)))
    }
}

fn bytes<'a>(wire: &Wire<'a>) -> Result<&'a [u8], DecodeError> {
    match wire {
        Wire::Bytes(b) => Ok(b),
        _ => Err(DecodeError::Malformed("a value of another wire type")),
    }
}

fn string(wire: &Wire<'_>) -> Result<String, DecodeError> {
    let text = std::str::from_utf8(bytes(wire)?)
        .map_err(|_| DecodeError::Malformed("a string is not UTF-8"))?;
    Ok(text.to_owned())
}

fn integer(wire: &Wire<'_>) -> Result<i64, DecodeError> {
    match wire {
        Wire::Varint(v) => Ok(v.cast_signed()),
        _ => Err(DecodeError::Malformed("a number of another wire type")),
    }
}

impl Schemas {
    /// A body in `application/vnd.kubernetes.protobuf` as JSON with `apiVersion` and `kind`.
    pub fn decode_protobuf(&self, body: &[u8]) -> Result<Value, DecodeError> {
        let envelope = body.strip_prefix(b"k8s\0").ok_or(DecodeError::Prefix)?;
        let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
        let mut reader = Reader { rest: envelope };
        while let Some((tag, wire)) = reader.next()? {
            match tag {
                1 => {
                    let mut meta = Reader {
                        rest: bytes(&wire)?,
                    };
                    while let Some((tag, wire)) = meta.next()? {
                        match tag {
                            1 => api_version = string(&wire)?,
                            2 => kind = string(&wire)?,
                            _ => {}
                        }
                    }
                }
                2 => raw = bytes(&wire)?,
                _ => {}
            }
        }
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        let id = self.kind(KindRef {
            group,
            version,
            kind: &kind,
        });
        let Some(id) = id else {
            return Err(DecodeError::UnknownKind { api_version, kind });
        };
        let mut object = self.message(id, raw, 0)?;
        object.insert("apiVersion".to_owned(), Value::String(api_version));
        object.insert("kind".to_owned(), Value::String(kind));
        Ok(Value::Object(object))
    }

    fn message(
        &self,
        id: TypeId,
        raw: &[u8],
        depth: usize,
    ) -> Result<Map<String, Value>, DecodeError> {
        if depth > DEPTH {
            return Err(DecodeError::Malformed("nested too deeply"));
        }
        let mut map = Map::new();
        if let Some(ty) = self.get(id) {
            self.fields(id, &ty.slots, raw, &mut map, depth)?;
        }
        Ok(map)
    }

    fn fields(
        &self,
        id: TypeId,
        slots: &BTreeMap<u32, Slot>,
        raw: &[u8],
        map: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<(), DecodeError> {
        let mut reader = Reader { rest: raw };
        while let Some((tag, wire)) = reader.next()? {
            match slots.get(&tag) {
                None => {}
                Some(Slot::Inline(inner)) => self.fields(id, inner, bytes(&wire)?, map, depth)?,
                Some(Slot::Field(name)) => {
                    let Some(field) = self.get(id).and_then(|t| t.fields.get(name)) else {
                        continue;
                    };
                    match &field.ty {
                        Ty::List(item) => {
                            let list = map
                                .entry(name.clone())
                                .or_insert_with(|| Value::Array(Vec::new()));
                            if let Value::Array(list) = list {
                                self.list_item(item, &wire, list, depth)?;
                            }
                        }
                        Ty::Map(item) => {
                            let (key, value) = self.map_entry(item, bytes(&wire)?, depth)?;
                            let entries = map
                                .entry(name.clone())
                                .or_insert_with(|| Value::Object(Map::new()));
                            if let Value::Object(entries) = entries {
                                entries.insert(key, value);
                            }
                        }
                        ty => {
                            let value = self.single(ty, &wire, depth)?;
                            let kept = field.required || POINTERS.contains(&name.as_str());
                            if kept && !value.is_null() || !is_zero(&value) {
                                map.insert(name.clone(), value);
                            }
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn list_item(
        &self,
        item: &Ty,
        wire: &Wire<'_>,
        list: &mut Vec<Value>,
        depth: usize,
    ) -> Result<(), DecodeError> {
        // Numbers may be packed.
        if let (Ty::Int32 | Ty::Int64, Wire::Bytes(packed)) = (item, wire) {
            let mut reader = Reader { rest: packed };
            while !reader.rest.is_empty() {
                list.push(reader.varint()?.cast_signed().into());
            }
            return Ok(());
        }
        list.push(self.single(item, wire, depth)?);
        Ok(())
    }

    fn map_entry(
        &self,
        item: &Ty,
        raw: &[u8],
        depth: usize,
    ) -> Result<(String, Value), DecodeError> {
        let (mut key, mut value) = (String::new(), None);
        let mut reader = Reader { rest: raw };
        while let Some((tag, wire)) = reader.next()? {
            match (tag, item) {
                (1, _) => key = string(&wire)?,
                // A list as a map's value is a message of its own (`ExtraValue`).
                (2, Ty::List(inner)) => {
                    let mut list = Vec::new();
                    let mut items = Reader {
                        rest: bytes(&wire)?,
                    };
                    while let Some((_, wire)) = items.next()? {
                        self.list_item(inner, &wire, &mut list, depth)?;
                    }
                    value = Some(Value::Array(list));
                }
                (2, item) => value = Some(self.single(item, &wire, depth)?),
                _ => {}
            }
        }
        let value = value.unwrap_or_else(|| match item {
            Ty::String | Ty::Bytes => Value::String(String::new()),
            _ => Value::Null,
        });
        Ok((key, value))
    }

    fn single(&self, ty: &Ty, wire: &Wire<'_>, depth: usize) -> Result<Value, DecodeError> {
        Ok(match ty {
            Ty::String => Value::String(string(wire)?),
            Ty::Bool => Value::Bool(integer(wire)? != 0),
            Ty::Int32 | Ty::Int64 => integer(wire)?.into(),
            Ty::Double => match wire {
                Wire::Fixed64(bits) => f64::from_bits(*bits).into(),
                Wire::Fixed32(bits) => f64::from(f32::from_bits(*bits)).into(),
                _ => return Err(DecodeError::Malformed("a number of another wire type")),
            },
            Ty::Bytes => {
                Value::String(base64::engine::general_purpose::STANDARD.encode(bytes(wire)?))
            }
            Ty::Time | Ty::MicroTime => self.time(bytes(wire)?, *ty == Ty::MicroTime)?,
            Ty::Quantity => last(bytes(wire)?, 1)?
                .as_ref()
                .map(string)
                .transpose()?
                .map_or(Value::Null, Value::String),
            Ty::IntOrString => {
                let raw = bytes(wire)?;
                match last(raw, 1)?
                    .as_ref()
                    .map(integer)
                    .transpose()?
                    .unwrap_or(0)
                {
                    0 => last(raw, 2)?
                        .as_ref()
                        .map(integer)
                        .transpose()?
                        .unwrap_or(0)
                        .into(),
                    _ => Value::String(
                        last(raw, 3)?
                            .as_ref()
                            .map(string)
                            .transpose()?
                            .unwrap_or_default(),
                    ),
                }
            }
            Ty::Any => match last(bytes(wire)?, 1)? {
                Some(raw) if !bytes(&raw)?.is_empty() => serde_json::from_slice(bytes(&raw)?)
                    .map_err(|_| DecodeError::Malformed("an embedded object is not JSON"))?,
                _ => Value::Null,
            },
            Ty::SchemaOrBool | Ty::SchemaOrArray | Ty::SchemaOrStrings => {
                self.schema_or(ty, bytes(wire)?, depth)?
            }
            Ty::Ref(id) => Value::Object(self.message(*id, bytes(wire)?, depth + 1)?),
            Ty::List(_) | Ty::Map(_) => return Err(DecodeError::Malformed("a list in a list")),
        })
    }

    fn time(&self, raw: &[u8], micros: bool) -> Result<Value, DecodeError> {
        let seconds = last(raw, 1)?.as_ref().map(integer).transpose()?;
        let nanos = last(raw, 2)?
            .as_ref()
            .map(integer)
            .transpose()?
            .unwrap_or(0);
        let Some(seconds) = seconds else {
            return Ok(Value::Null);
        };
        let nanos = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        let at = OffsetDateTime::from_unix_timestamp_nanos(nanos)
            .map_err(|_| DecodeError::Malformed("time"))?;
        let plain = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
        let fine = format_description!(
            "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z"
        );
        let text = if micros {
            at.format(&fine)
        } else {
            at.format(&plain)
        };
        text.map(Value::String)
            .map_err(|_| DecodeError::Malformed("time"))
    }

    /// `JSONSchemaPropsOrBool` {allows, schema}, `…OrArray` {schema, schemas}, `…OrStringArray` {schema, strings}.
    fn schema_or(&self, ty: &Ty, raw: &[u8], depth: usize) -> Result<Value, DecodeError> {
        let id =
            self.named("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps");
        let schema_tag = if *ty == Ty::SchemaOrBool { 2 } else { 1 };
        if let (Some(id), Some(schema)) = (id, last(raw, schema_tag)?) {
            return Ok(Value::Object(self.message(
                id,
                bytes(&schema)?,
                depth + 1,
            )?));
        }
        if *ty == Ty::SchemaOrBool {
            return Ok(Value::Bool(
                last(raw, 1)?
                    .as_ref()
                    .map(integer)
                    .transpose()?
                    .unwrap_or(0)
                    != 0,
            ));
        }
        let mut list = Vec::new();
        let mut reader = Reader { rest: raw };
        while let Some((tag, wire)) = reader.next()? {
            match (tag, ty, id) {
                (2, Ty::SchemaOrStrings, _) => list.push(Value::String(string(&wire)?)),
                (2, _, Some(id)) => {
                    list.push(Value::Object(self.message(id, bytes(&wire)?, depth + 1)?))
                }
                _ => {}
            }
        }
        Ok(Value::Array(list))
    }
}

/// The last field with this tag.
fn last(raw: &[u8], wanted: u32) -> Result<Option<Wire<'_>>, DecodeError> {
    let mut found = None;
    let mut reader = Reader { rest: raw };
    while let Some((tag, wire)) = reader.next()? {
        if tag == wanted {
            found = Some(wire);
        }
    }
    Ok(found)
}

/// Zero values say nothing; an empty message does (it is a pointer that is set, or a struct that JSON shows).
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(n) => n.as_f64() == Some(0.0),
        Value::String(s) => s.is_empty(),
        _ => false,
    }
}

/// A time in RFC 3339, `None` if it is none.
pub(crate) fn parse_time(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}
