//! OpenAPI v3 documents: what kubectl and helm read to explain, check and patch objects.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::ir::{Field, Merge, Schemas, Ty, TypeId, text, texts};

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const GVK: &str = "x-kubernetes-group-version-kind";

/// One kind that a document describes.
struct Described<'a> {
    kind: &'a str,
    plural: &'a str,
    namespaced: bool,
}

impl Schemas {
    /// The OpenAPI v3 document of one group version; `crds` are the specs of the CRDs that serve it.
    pub fn openapi_v3(&self, group: &str, version: &str, crds: &[&Value]) -> Value {
        let mut schemas: BTreeMap<String, Value> = BTreeMap::new();
        let mut wanted: BTreeSet<TypeId> = BTreeSet::new();
        let mut paths = Map::new();
        for (name, kind) in self.kinds_of(group, version) {
            wanted.insert(kind.ty);
            let described = Described {
                kind: name,
                plural: &kind.plural,
                namespaced: kind.namespaced,
            };
            operations(&mut paths, group, version, &described);
        }
        for spec in crds {
            let kind = text(spec, &["names", "kind"]);
            let plural = text(spec, &["names", "plural"]);
            let described = Described {
                kind,
                plural,
                namespaced: text(spec, &["scope"]) != "Cluster",
            };
            operations(&mut paths, group, version, &described);
            schemas.insert(
                format!("{}.{version}.{kind}", reversed(group)),
                custom(spec, group, version, kind),
            );
            wanted.extend(self.named(OBJECT_META));
        }
        let mut open: Vec<TypeId> = wanted.iter().copied().collect();
        while let Some(id) = open.pop() {
            let Some(ty) = self.get(id) else { continue };
            for field in ty.fields.values() {
                open.extend(referred(&field.ty).filter(|id| wanted.insert(*id)));
            }
        }
        for id in wanted {
            if let Some(ty) = self.get(id) {
                schemas.insert(ty.name.clone(), self.definition(id, group, version));
            }
        }
        json!({
            "openapi": "3.0.0",
            "info": { "title": "Kubernetes", "version": "v1.35.4" },
            "paths": paths,
            "components": { "schemas": schemas },
        })
    }

    fn definition(&self, id: TypeId, group: &str, version: &str) -> Value {
        let Some(ty) = self.get(id) else {
            return json!({});
        };
        let described = texts().get(&ty.name);
        let about = |field: &str| {
            described
                .and_then(|d| d.get(field))
                .cloned()
                .unwrap_or_default()
        };
        let mut properties = Map::new();
        for (name, field) in &ty.fields {
            properties.insert(name.clone(), self.property(field, about(name)));
        }
        let required: Vec<&String> = ty
            .fields
            .iter()
            .filter(|(_, f)| f.required)
            .map(|(name, _)| name)
            .collect();
        let mut definition =
            json!({ "type": "object", "description": about(""), "properties": properties });
        let Some(map) = definition.as_object_mut() else {
            return definition;
        };
        if !required.is_empty() {
            map.insert("required".to_owned(), json!(required));
        }
        if ty.atomic {
            map.insert("x-kubernetes-map-type".to_owned(), "atomic".into());
        }
        if let Some((kind, _)) = self.kinds_of(group, version).find(|(_, k)| k.ty == id) {
            map.insert(GVK.to_owned(), json!([gvk(group, version, kind)]));
        }
        definition
    }

    fn property(&self, field: &Field, description: String) -> Value {
        let mut schema = self.schema(&field.ty);
        let Some(map) = schema.as_object_mut() else {
            return schema;
        };
        if let Some(reference) = map.remove("$ref") {
            // Nothing else may stand beside a reference.
            map.insert("allOf".to_owned(), json!([{ "$ref": reference }]));
        }
        if !description.is_empty() {
            map.insert("description".to_owned(), description.into());
        }
        let is_list = matches!(field.ty, Ty::List(_));
        let sharing = match &field.merge {
            Merge::Unmarked => None,
            Merge::Atomic => Some("atomic"),
            Merge::Granular => Some("granular"),
            Merge::Set => Some("set"),
            Merge::Keyed(keys) => {
                map.insert("x-kubernetes-list-map-keys".to_owned(), json!(keys));
                Some("map")
            }
        };
        if let Some(sharing) = sharing {
            let name = if is_list {
                "x-kubernetes-list-type"
            } else {
                "x-kubernetes-map-type"
            };
            map.insert(name.to_owned(), sharing.into());
        }
        if let Some(key) = &field.patch_key {
            map.insert(
                "x-kubernetes-patch-merge-key".to_owned(),
                key.as_str().into(),
            );
        }
        let strategy = match (field.patch_merge, field.retain_keys) {
            (true, true) => "merge,retainKeys",
            (true, false) => "merge",
            (false, true) => "retainKeys",
            (false, false) => return schema,
        };
        map.insert("x-kubernetes-patch-strategy".to_owned(), strategy.into());
        schema
    }

    fn schema(&self, ty: &Ty) -> Value {
        match ty {
            Ty::String => json!({ "type": "string" }),
            Ty::Bool => json!({ "type": "boolean" }),
            Ty::Int32 => json!({ "type": "integer", "format": "int32" }),
            Ty::Int64 => json!({ "type": "integer", "format": "int64" }),
            Ty::Double => json!({ "type": "number", "format": "double" }),
            Ty::Bytes => json!({ "type": "string", "format": "byte" }),
            Ty::Time | Ty::MicroTime => json!({ "type": "string", "format": "date-time" }),
            Ty::Quantity => json!({ "oneOf": [{ "type": "string" }, { "type": "number" }] }),
            Ty::IntOrString => {
                json!({ "format": "int-or-string", "oneOf": [{ "type": "integer" }, { "type": "string" }] })
            }
            Ty::Any => json!({ "type": "object" }),
            Ty::SchemaOrBool | Ty::SchemaOrArray | Ty::SchemaOrStrings => json!({}),
            Ty::Ref(id) => match self.get(*id) {
                Some(ty) => json!({ "$ref": format!("#/components/schemas/{}", ty.name) }),
                None => json!({ "type": "object" }),
            },
            Ty::List(item) => json!({ "type": "array", "items": self.schema(item) }),
            Ty::Map(item) => json!({ "type": "object", "additionalProperties": self.schema(item) }),
        }
    }
}

/// The type that values of this type hold, if they do.
fn referred(ty: &Ty) -> impl Iterator<Item = TypeId> {
    let mut ty = ty;
    while let Ty::List(item) | Ty::Map(item) = ty {
        ty = item;
    }
    match ty {
        Ty::Ref(id) => Some(*id),
        _ => None,
    }
    .into_iter()
}

fn gvk(group: &str, version: &str, kind: &str) -> Value {
    json!({ "group": group, "kind": kind, "version": version })
}

/// `io.istio.networking` for `networking.istio.io`, as definitions are named.
fn reversed(group: &str) -> String {
    group.rsplit('.').collect::<Vec<_>>().join(".")
}

/// A custom kind's schema, with what every object has.
fn custom(spec: &Value, group: &str, version: &str, kind: &str) -> Value {
    let versions = spec.get("versions").and_then(Value::as_array);
    let found = versions
        .into_iter()
        .flatten()
        .find(|v| text(v, &["name"]) == version);
    let schema = found
        .and_then(|v| v.pointer("/schema/openAPIV3Schema"))
        .cloned();
    let mut schema = schema
        .filter(Value::is_object)
        .unwrap_or_else(|| json!({ "type": "object" }));
    let Some(map) = schema.as_object_mut() else {
        return schema;
    };
    let meta = json!({ "allOf": [{ "$ref": format!("#/components/schemas/{OBJECT_META}") }] });
    let properties = map.entry("properties").or_insert_with(|| json!({}));
    if let Some(properties) = properties.as_object_mut() {
        properties.insert("metadata".to_owned(), meta);
        for name in ["apiVersion", "kind"] {
            properties.insert(name.to_owned(), json!({ "type": "string" }));
        }
    }
    map.insert(GVK.to_owned(), json!([gvk(group, version, kind)]));
    schema
}

/// The paths at which a kind can be read and written. Clients look here for a kind's plural and for the parameters
/// that the server understands.
fn operations(
    paths: &mut Map<String, Value>,
    group: &str,
    version: &str,
    described: &Described<'_>,
) {
    let root = if group.is_empty() {
        format!("/api/{version}")
    } else {
        format!("/apis/{group}/{version}")
    };
    let place = if described.namespaced {
        "/namespaces/{namespace}"
    } else {
        ""
    };
    let collection = format!("{root}{place}/{}", described.plural);
    let operation = |action: &str, parameters: &[&str]| {
        let parameters: Vec<Value> = parameters
            .iter()
            .map(|name| json!({ "name": name, "in": "query", "schema": { "type": "string", "uniqueItems": true } }))
            .collect();
        json!({
            "operationId": format!("{action}{}{}", pascal(version), described.kind),
            "parameters": parameters,
            "responses": { "200": { "description": "OK" } },
            "x-kubernetes-action": action,
            GVK: gvk(group, version, described.kind),
        })
    };
    let write = ["dryRun", "fieldManager", "fieldValidation"];
    paths.insert(
        collection.clone(),
        json!({
            "get": operation("list", &["continue", "fieldSelector", "labelSelector", "limit", "resourceVersion", "watch"]),
            "post": operation("post", &write),
        }),
    );
    paths.insert(
        format!("{collection}/{{name}}"),
        json!({
            "get": operation("get", &[]),
            "put": operation("put", &write),
            "patch": operation("patch", &["dryRun", "fieldManager", "fieldValidation", "force"]),
            "delete": operation("delete", &["dryRun", "gracePeriodSeconds", "propagationPolicy"]),
        }),
    );
}

fn pascal(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map(|c| c.to_ascii_uppercase().to_string() + chars.as_str())
        .unwrap_or_default()
}
