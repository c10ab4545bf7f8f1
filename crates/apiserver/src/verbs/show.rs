//! How objects are shown: whole, as metadata only, or as a table.

use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Map, Value, json};

use super::list::Page;
use crate::http::{Accept, Query, Shape};
use crate::kinds::Kind;
use crate::schema::{IncludeObject, Schemas, crd_table};
use crate::store::Stored;

/// An answer's JSON.
pub type Shown = Vec<u8>;

fn include(query: &Query) -> IncludeObject {
    match query.get("includeObject") {
        "None" => IncludeObject::None,
        "Object" => IncludeObject::Object,
        _ => IncludeObject::Metadata,
    }
}

/// A stored object in the version that was asked for.
pub fn served(kind: &Kind, object: &Stored) -> Value {
    let mut value = object.value();
    kind.to_served(&mut value);
    value
}

/// Metadata only.
pub fn partial(object: &Value, version: &str) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": object.get("metadata").cloned().unwrap_or_else(|| json!({})),
    })
}

/// A table of objects in the version that was asked for.
pub fn table(kind: &Kind, objects: &[&Value], version: &str, include: IncludeObject) -> Value {
    let now = SystemTime::now();
    let mut table = match &kind.custom {
        Some(custom) => crd_table(&custom.columns, objects, now, include),
        None => {
            let mut stored: Vec<Value> = Vec::new();
            if kind.served_as_stored() {
                Schemas::builtin().table(kind.gvk(), objects, now, include)
            } else {
                // Tables are made from the stored version, whose columns the schema knows.
                for object in objects {
                    let mut object = (*object).clone();
                    kind.to_work(&mut object);
                    stored.push(object);
                }
                let refs: Vec<&Value> = stored.iter().collect();
                Schemas::builtin().table(kind.storage_gvk(), &refs, now, include)
            }
        }
    };
    if let Some(fields) = table.as_object_mut() {
        fields.insert("apiVersion".into(), format!("meta.k8s.io/{version}").into());
        fields.insert("kind".into(), "Table".into());
    }
    table
}

/// One object, given in the version that was asked for.
pub fn show_one(kind: &Kind, object: &Value, accept: Accept, query: &Query) -> Shown {
    let shown = match accept.shape {
        Shape::Whole => return serde_json::to_vec(object).unwrap_or_default(),
        Shape::Partial(version) => partial(object, version),
        Shape::Table(version) => {
            let mut table = table(kind, &[object], version, include(query));
            table["metadata"] =
                json!({"resourceVersion": crate::object::meta(object, "resourceVersion")});
            table
        }
    };
    serde_json::to_vec(&shown).unwrap_or_default()
}

/// A page of a list.
pub fn show_list(kind: &Kind, page: &Page, accept: Accept, query: &Query) -> Shown {
    let mut metadata = Map::new();
    metadata.insert("resourceVersion".into(), page.revision.to_string().into());
    if !page.next.is_empty() {
        metadata.insert("continue".into(), page.next.clone().into());
    }
    if let Some(remaining) = page.remaining {
        metadata.insert("remainingItemCount".into(), remaining.into());
    }
    let metadata = Value::Object(metadata);
    match accept.shape {
        Shape::Whole => whole_list(kind, &page.objects, &metadata),
        Shape::Partial(version) => {
            let items: Vec<Value> = page
                .objects
                .iter()
                .map(|object| partial(&object.value(), version))
                .collect();
            let list = json!({
                "kind": "PartialObjectMetadataList", "apiVersion": format!("meta.k8s.io/{version}"),
                "metadata": metadata, "items": items,
            });
            serde_json::to_vec(&list).unwrap_or_default()
        }
        Shape::Table(version) => {
            let objects: Vec<Value> = page
                .objects
                .iter()
                .map(|object| served(kind, object))
                .collect();
            let refs: Vec<&Value> = objects.iter().collect();
            let mut table = table(kind, &refs, version, include(query));
            table["metadata"] = metadata;
            serde_json::to_vec(&table).unwrap_or_default()
        }
    }
}

/// Stored JSON is copied as it is, which is most of what makes lists fast.
fn whole_list(kind: &Kind, objects: &[Arc<Stored>], metadata: &Value) -> Shown {
    let size: usize = objects.iter().map(|object| object.json.len() + 1).sum();
    let mut out = Vec::with_capacity(size + 256);
    let head = format!(
        r#"{{"kind":"{}","apiVersion":"{}","metadata":{metadata},"items":["#,
        kind.list_kind,
        kind.api_version()
    );
    out.extend_from_slice(head.as_bytes());
    for (at, object) in objects.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        if kind.served_as_stored() {
            out.extend_from_slice(&object.json);
        } else {
            out.extend_from_slice(served(kind, object).to_string().as_bytes());
        }
    }
    out.extend_from_slice(b"]}");
    out
}
