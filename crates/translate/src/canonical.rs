//! The same bytes for the same message: protobuf maps are encoded in the order of a hash table that differs from run to
//! run, so encoded resources are rewritten with the entries of every map in order.

use hawser_proto::maps::{self, Type};
use hawser_proto::wire::{self, Wire};
use prost::{Message, Name};

/// Depth at which rewriting stops; real resources have less than 40 levels.
const MAX_DEPTH: usize = 100;

/// Encodes a message, entries of maps in order.
pub(crate) fn encode<M: Message + Name>(message: &M) -> Vec<u8> {
    let bytes = message.encode_to_vec();
    let rewritten = maps::named(&M::full_name()).and_then(|of| rewrite(of, &bytes, 0));
    rewritten.unwrap_or(bytes)
}

/// The same message with its maps in order; `None` if the bytes are not of that type.
fn rewrite(of: &Type, bytes: &[u8], depth: usize) -> Option<Vec<u8>> {
    if depth > MAX_DEPTH {
        return None;
    }
    if of.is_any() {
        return rewrite_any(bytes, depth);
    }
    let mut out = Vec::with_capacity(bytes.len());
    // Entries of the map that is being read: its field number, and the encoded entries.
    let mut open: Option<(u32, Vec<Vec<u8>>)> = None;
    for field in wire::fields(bytes) {
        let field = field.ok()?;
        if open.as_ref().is_some_and(|(n, _)| *n != field.number)
            && let Some(map) = open.take()
        {
            close(&mut out, map);
        }
        let (Some(found), Wire::Bytes(payload)) = (of.field(field.number), field.value) else {
            out.extend_from_slice(field.raw);
            continue;
        };
        let payload = match found.of {
            Some(inner) => rewrite(inner, payload, depth + 1)?,
            None => payload.to_vec(),
        };
        if found.is_map {
            open.get_or_insert((field.number, Vec::new()))
                .1
                .push(payload);
        } else {
            wire::write_bytes(&mut out, field.number, &payload);
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
    let value = match maps::named(name) {
        Some(inner) => rewrite(inner, &any.value, depth + 1)?,
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
        wire::write_bytes(out, number, &entry);
    }
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
