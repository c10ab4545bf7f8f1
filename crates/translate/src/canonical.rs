//! The same bytes for the same message: protobuf maps are encoded in the order of a hash table that differs from run to
//! run, so encoded resources are rewritten with the entries of every map in order.

use hawser_proto::DescriptorPool;
use hawser_proto::json::pool;
use prost::{Message, Name};
use prost_reflect::{Kind, MessageDescriptor};

/// Depth at which rewriting stops; real resources have less than 40 levels.
const MAX_DEPTH: usize = 100;

/// Encodes a message, entries of maps in order.
pub(crate) fn encode<M: Message + Name>(message: &M) -> Vec<u8> {
    let bytes = message.encode_to_vec();
    rewrite_as(&M::full_name(), &bytes).unwrap_or(bytes)
}

/// Rewrites the encoding of a message of a named type; `None` if the type is unknown or the bytes are not of it.
pub(crate) fn rewrite_as(name: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    let pool: &DescriptorPool = pool();
    let descriptor = pool.get_message_by_name(name)?;
    rewrite(&descriptor, bytes, 0)
}

fn rewrite(descriptor: &MessageDescriptor, bytes: &[u8], depth: usize) -> Option<Vec<u8>> {
    if depth > MAX_DEPTH {
        return None;
    }
    if descriptor.full_name() == "google.protobuf.Any" {
        return rewrite_any(bytes, depth);
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    // Entries of the map that is being read: its field number, and the encoded entries.
    let mut open: Option<(u32, Vec<Vec<u8>>)> = None;
    while !rest.is_empty() {
        let field = read_field(&mut rest)?;
        let known = descriptor.get_field(field.number);
        if open.as_ref().is_some_and(|(n, _)| *n != field.number)
            && let Some(map) = open.take()
        {
            close(&mut out, map);
        }
        let (Some(known), Some(payload)) = (known, field.payload) else {
            out.extend_from_slice(field.raw);
            continue;
        };
        let Kind::Message(inner) = known.kind() else {
            out.extend_from_slice(field.raw);
            continue;
        };
        let payload = rewrite(&inner, payload, depth + 1)?;
        if known.is_map() {
            open.get_or_insert((field.number, Vec::new()))
                .1
                .push(payload);
        } else {
            write_field(&mut out, field.number, &payload);
        }
    }
    if let Some(map) = open {
        close(&mut out, map);
    }
    Some(out)
}

fn rewrite_any(bytes: &[u8], depth: usize) -> Option<Vec<u8>> {
    let any = hawser_proto::google::protobuf::Any::decode(bytes).ok()?;
    let name = any.type_url.rsplit('/').next().unwrap_or_default();
    let value = match pool().get_message_by_name(name) {
        Some(inner) => rewrite(&inner, &any.value, depth + 1)?,
        None => any.value.clone(),
    };
    Some(
        hawser_proto::google::protobuf::Any {
            type_url: any.type_url,
            value,
        }
        .encode_to_vec(),
    )
}

fn close(out: &mut Vec<u8>, (number, mut entries): (u32, Vec<Vec<u8>>)) {
    // The key comes first in an entry's encoding, so this is the order of keys (of equal length).
    entries.sort();
    for entry in entries {
        write_field(out, number, &entry);
    }
}

struct Field<'a> {
    number: u32,
    /// Of length-delimited fields.
    payload: Option<&'a [u8]>,
    raw: &'a [u8],
}

fn read_field<'a>(rest: &mut &'a [u8]) -> Option<Field<'a>> {
    let start = *rest;
    let tag = read_varint(rest)?;
    let number = u32::try_from(tag >> 3).ok()?;
    let mut payload = None;
    match tag & 7 {
        0 => {
            read_varint(rest)?;
        }
        1 => *rest = rest.get(8..)?,
        2 => {
            let len = usize::try_from(read_varint(rest)?).ok()?;
            payload = Some(rest.get(..len)?);
            *rest = rest.get(len..)?;
        }
        5 => *rest = rest.get(4..)?,
        _ => return None,
    }
    let raw = start.get(..start.len() - rest.len())?;
    Some(Field {
        number,
        payload,
        raw,
    })
}

fn read_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 127) << shift;
        if *byte < 128 {
            return Some(value);
        }
    }
    None
}

fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 128 {
        out.push((value as u8 & 127) | 128);
        value >>= 7;
    }
    out.push(value as u8);
}

fn write_field(out: &mut Vec<u8>, number: u32, payload: &[u8]) {
    write_varint(out, u64::from(number) << 3 | 2);
    write_varint(out, payload.len() as u64);
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;
    use hawser_proto::envoy::config::core::v3::Metadata;

    #[test]
    fn maps_come_in_order_and_mean_the_same() {
        let entry = |k: &str| {
            (
                k.to_owned(),
                crate::wire::structure([
                    ("x", crate::wire::text_value(k)),
                    ("y", crate::wire::text_value("1")),
                ]),
            )
        };
        let build = |keys: &[&str]| Metadata {
            filter_metadata: keys.iter().map(|k| entry(k)).collect(),
            ..Default::default()
        };
        let all = ["a", "b", "c", "d", "e", "f", "g"];
        let expected = encode(&build(&all));
        for _ in 0..20 {
            assert_eq!(encode(&build(&all)), expected);
        }
        assert_eq!(Metadata::decode(expected.as_slice()).unwrap(), build(&all));
    }
}
