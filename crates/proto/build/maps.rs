//! A table of the message types in whose encoding a map can occur: what it takes to put entries of maps in order, without
//! the descriptors, which take milliseconds to load and megabytes to keep.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::{Context, Result};
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FileDescriptorProto};

/// Anything can be packed in it, so maps too.
const ANY: &str = "google.protobuf.Any";

/// A message type: its fields that are messages, by number, each with its type; and whether it is an entry of a map.
#[derive(Default)]
struct Message {
    fields: BTreeMap<u32, String>,
    is_entry: bool,
}

/// The table as Rust source, in order of the types' names.
pub fn table<'a>(files: impl Iterator<Item = &'a FileDescriptorProto>) -> Result<String> {
    let mut all = BTreeMap::new();
    for file in files {
        for message in &file.message_type {
            collect(message, file.package(), &mut all)?;
        }
    }
    let with_maps = with_maps(&all);
    let places: BTreeMap<&str, usize> = with_maps.iter().copied().zip(0..).collect();
    let mut out = format!("pub static TYPES: [Type; {}] = [\n", places.len());
    for name in places.keys() {
        let message = all.get(*name).context("a type that was found")?;
        write!(out, "    Type {{ name: {name:?}, fields: &[")?;
        for (number, of) in &message.fields {
            let is_map = all.get(of).is_some_and(|m| m.is_entry);
            let place = places.get(of.as_str());
            if is_map || place.is_some() {
                write!(
                    out,
                    "Field {{ number: {number}, is_map: {is_map}, place: {place:?} }}, "
                )?;
            }
        }
        out.push_str("] },\n");
    }
    out.push_str("];\n");
    Ok(out)
}

fn collect(
    message: &DescriptorProto,
    scope: &str,
    out: &mut BTreeMap<String, Message>,
) -> Result<()> {
    let name = format!("{scope}.{}", message.name());
    let mut fields = BTreeMap::new();
    for field in message.field.iter().filter(|f| f.r#type() == Type::Message) {
        let number = u32::try_from(field.number()).context("a field's number")?;
        let of = field.type_name().trim_start_matches('.');
        fields.insert(number, of.to_owned());
    }
    for nested in &message.nested_type {
        collect(nested, &name, out)?;
    }
    let is_entry = message.options.as_ref().is_some_and(|o| o.map_entry());
    out.insert(name, Message { fields, is_entry });
    Ok(())
}

/// Types that have a map, or lead to one.
fn with_maps(all: &BTreeMap<String, Message>) -> BTreeSet<&str> {
    let mut found: BTreeSet<&str> = BTreeSet::from([ANY]);
    loop {
        let leads =
            |of: &String| found.contains(of.as_str()) || all.get(of).is_some_and(|m| m.is_entry);
        let more: Vec<&str> = all
            .iter()
            .filter(|(name, _)| !found.contains(name.as_str()))
            .filter(|(_, message)| message.fields.values().any(leads))
            .map(|(name, _)| name.as_str())
            .collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}
