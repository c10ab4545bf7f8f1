//! Tables of custom resources, from their CRD's `additionalPrinterColumns`.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::columns::{AGE, NAME};
use super::jsonpath::JsonPath;
use super::{Clock, assemble, definition, row};
use crate::schema::IncludeObject;
use crate::schema::ir::text;

/// The Table of a custom kind; `columns` is the version's `additionalPrinterColumns`, or null.
pub fn crd_table(
    columns: &Value,
    objects: &[&Value],
    now: SystemTime,
    include: IncludeObject,
) -> Value {
    let clock = Clock { now: now.into() };
    let age = json!([{ "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp" }]);
    let columns = match columns.as_array().filter(|c| !c.is_empty()) {
        Some(columns) => columns.as_slice(),
        None => age.as_array().map(Vec::as_slice).unwrap_or_default(),
    };
    let paths: Vec<Option<JsonPath>> = columns
        .iter()
        .map(|c| JsonPath::parse(text(c, &["jsonPath"])))
        .collect();
    let mut definitions = vec![NAME.definition()];
    definitions.extend(columns.iter().map(|column| {
        let path = text(column, &["jsonPath"]);
        let description = match text(column, &["description"]) {
            "" if path == ".metadata.creationTimestamp" => AGE
                .definition()
                .get("description")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            "" => format!("Custom resource definition column (in JSONPath format): {path}"),
            given => given.to_owned(),
        };
        let priority = column.get("priority").and_then(Value::as_i64).unwrap_or(0);
        let format = text(column, &["format"]);
        definition(
            text(column, &["name"]),
            text(column, &["type"]),
            format,
            &description,
            priority,
        )
    }));
    let rows = objects.iter().map(|object| {
        let mut cells: Vec<Value> = vec![text(object, &["metadata", "name"]).into()];
        cells.extend(columns.iter().zip(&paths).map(|(column, path)| {
            let found = path.as_ref().and_then(|p| p.find(object).first().copied());
            found.map_or(Value::Null, |value| {
                cell(text(column, &["type"]), value, &clock)
            })
        }));
        row(object, cells, include)
    });
    assemble(definitions, rows.collect())
}

fn cell(ty: &str, value: &Value, clock: &Clock) -> Value {
    match (ty, value) {
        ("string", Value::String(text)) => text.as_str().into(),
        ("string", Value::Null) => Value::Null,
        ("string", value) => value.to_string().into(),
        ("integer", Value::Number(n)) => match (n.as_i64(), n.as_f64()) {
            (Some(n), _) => n.into(),
            // As Go converts: towards zero.
            (None, Some(n)) => (n as i64).into(),
            _ => Value::Null,
        },
        ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => value.clone(),
        ("date", Value::String(time)) => match crate::schema::protobuf::parse_time(time) {
            Some(_) => clock.since(time).into(),
            None => "<invalid>".into(),
        },
        _ => Value::Null,
    }
}
