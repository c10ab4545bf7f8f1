//! OpenAPI v2, made from the v3 documents: what clients read that are older than v3 or do not find a kind in it.

use serde_json::{Map, Value, json};

use crate::protobuf::Message;

/// Keywords of a v3 schema that mean the same in v2. Conditions on values are left out, as the real server does:
/// clients that check them by v2 know less of them than the server, which checks them all.
const KEPT: &[&str] = &["description", "format", "required", "title", "type"];

/// One v2 document of all that v3 documents describe.
pub fn from_v3(documents: &[Value]) -> Value {
    let (mut paths, mut definitions) = (Map::new(), Map::new());
    for document in documents {
        for (path, item) in object(&document["paths"]) {
            let operations = object(item).map(|(verb, of)| (verb.clone(), operation(of)));
            paths.insert(path.clone(), Value::Object(operations.collect()));
        }
        for (name, of) in object(&document["components"]["schemas"]) {
            // A type that several documents share has its kind's name in one of them alone.
            if !definitions.contains_key(name) || of.get(GVK).is_some() {
                definitions.insert(name.clone(), schema(of));
            }
        }
    }
    json!({
        "swagger": "2.0", "info": {"title": "Kubernetes", "version": "v1.35.4"},
        "paths": paths, "definitions": definitions,
    })
}

const GVK: &str = "x-kubernetes-group-version-kind";

fn object(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn operation(of: &Value) -> Value {
    let mut operation = of.clone();
    for parameter in operation["parameters"].as_array_mut().into_iter().flatten() {
        let Some(fields) = parameter.as_object_mut() else {
            continue;
        };
        if let Some(Value::Object(schema)) = fields.remove("schema") {
            fields.extend(schema);
        }
    }
    operation
}

fn schema(of: &Value) -> Value {
    let mut out = Map::new();
    for (name, value) in object(of) {
        match name.as_str() {
            "$ref" => {
                out.insert(name.clone(), reference(value));
            }
            // v3 wraps a reference that has something beside it.
            "allOf" => {
                if let Some(target) = value.pointer("/0/$ref") {
                    out.insert("$ref".to_owned(), reference(target));
                }
            }
            "oneOf" => {
                // Quantities, and numbers that may be names.
                out.insert("type".to_owned(), "string".into());
            }
            "properties" => {
                let properties = object(value).map(|(name, of)| (name.clone(), schema(of)));
                out.insert(name.clone(), Value::Object(properties.collect()));
            }
            "items" | "additionalProperties" if value.is_object() => {
                out.insert(name.clone(), schema(value));
            }
            _ if KEPT.contains(&name.as_str()) || name.starts_with("x-") => {
                out.insert(name.clone(), value.clone());
            }
            _ => {}
        }
    }
    Value::Object(out)
}

fn reference(value: &Value) -> Value {
    let name = value.as_str().unwrap_or_default();
    name.replace("#/components/schemas/", "#/definitions/")
        .into()
}

/// A v2 document in the protobuf of gnostic (`openapi.v2.Document`), the only form that kubectl asks for.
pub fn protobuf(document: &Value) -> Vec<u8> {
    let mut out = Message::default();
    texts(&mut out, document, &[(1, "swagger")]);
    let mut info = Message::default();
    texts(
        &mut info,
        &document["info"],
        &[(1, "title"), (2, "version")],
    );
    out.nested(2, &info);
    let mut paths = Message::default();
    for (path, item) in object(&document["paths"]) {
        let mut one = Message::default();
        for (tag, verb) in [
            (2, "get"),
            (3, "put"),
            (4, "post"),
            (5, "delete"),
            (8, "patch"),
        ] {
            if let Some(of) = item.get(verb) {
                one.nested(tag, &operation_message(of));
            }
        }
        paths.nested(2, &named(path, &one));
    }
    out.nested(8, &paths);
    out.nested(9, &schemas_message(&document["definitions"]));
    out.into_bytes()
}

fn texts(out: &mut Message, of: &Value, fields: &[(u64, &str)]) {
    for (tag, field) in fields {
        if let Some(text) = of.get(field).and_then(Value::as_str) {
            out.text(*tag, text);
        }
    }
}

fn named(name: &str, value: &Message) -> Message {
    let mut pair = Message::default();
    pair.text(1, name);
    pair.nested(2, value);
    pair
}

/// Fields of other vocabularies, as text in YAML, which JSON is.
fn extensions(out: &mut Message, tag: u64, of: &Value) {
    for (name, value) in object(of).filter(|(name, _)| name.starts_with("x-")) {
        let mut any = Message::default();
        any.text(2, &value.to_string());
        out.nested(tag, &named(name, &any));
    }
}

fn operation_message(of: &Value) -> Message {
    let mut out = Message::default();
    texts(&mut out, of, &[(5, "operationId")]);
    for parameter in of["parameters"].as_array().into_iter().flatten() {
        let mut query = Message::default();
        texts(
            &mut query,
            parameter,
            &[(2, "in"), (4, "name"), (6, "type")],
        );
        // ParametersItem, Parameter and NonBodyParameter are alternatives, each a message around its choice.
        let mut non_body = Message::default();
        non_body.nested(3, &query);
        let mut choice = Message::default();
        choice.nested(2, &non_body);
        let mut item = Message::default();
        item.nested(1, &choice);
        out.nested(8, &item);
    }
    let mut responses = Message::default();
    for (code, response) in object(&of["responses"]) {
        let mut described = Message::default();
        texts(&mut described, response, &[(1, "description")]);
        let mut value = Message::default();
        value.nested(1, &described);
        responses.nested(1, &named(code, &value));
    }
    out.nested(9, &responses);
    extensions(&mut out, 13, of);
    out
}

/// `Definitions` and `Properties` have the same form.
fn schemas_message(of: &Value) -> Message {
    let mut out = Message::default();
    for (name, of) in object(of) {
        out.nested(1, &named(name, &schema_message(of)));
    }
    out
}

fn schema_message(of: &Value) -> Message {
    let mut out = Message::default();
    texts(
        &mut out,
        of,
        &[(1, "$ref"), (2, "format"), (3, "title"), (4, "description")],
    );
    for name in of["required"].as_array().into_iter().flatten() {
        out.text(19, name.as_str().unwrap_or_default());
    }
    if let Some(additional) = of.get("additionalProperties") {
        let mut item = Message::default();
        match additional {
            Value::Bool(allowed) => item.number(2, u64::from(*allowed)),
            schema => item.nested(1, &schema_message(schema)),
        }
        out.nested(21, &item);
    }
    if let Some(ty) = of.get("type").and_then(Value::as_str) {
        let mut item = Message::default();
        item.text(1, ty);
        out.nested(22, &item);
    }
    if let Some(items) = of.get("items") {
        let mut item = Message::default();
        item.nested(1, &schema_message(items));
        out.nested(23, &item);
    }
    if let Some(properties) = of.get("properties") {
        out.nested(25, &schemas_message(properties));
    }
    extensions(&mut out, 31, of);
    out
}
