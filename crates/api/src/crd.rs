//! CustomResourceDefinitions from the types: structural schemas with Istio's rules, for the clusters that get them.

use crate::kinds::{Kind, KindInfo, Origin};
use crate::message::Field;
use crate::rules;
use crate::shape::{FieldShape, MessageShape, Rule, Shape};
use serde_json::{Map, Value, json};

/// The CRDs of all of Istio's kinds, in the order of the table.
pub fn istio_crds() -> Vec<Value> {
    Kind::ALL
        .iter()
        .filter(|k| k.info().origin == Origin::Istio)
        .map(|k| crd(*k))
        .collect()
}

/// Every field of Istio's kinds and the Gateway API: kind, path, type. Lists are `[]`, map values `{}`.
pub fn fields() -> Vec<(Kind, String, String)> {
    let mut out = Vec::new();
    for kind in Kind::ALL
        .iter()
        .filter(|k| k.info().origin != Origin::Kubernetes)
    {
        walk(kind.spec_shape(), "spec", &mut |path, shape| {
            out.push((*kind, path.to_owned(), type_name(shape)))
        });
    }
    out
}

/// Every field of MeshConfig and MeshNetworks, likewise: `mesh.trustDomain`, `meshNetworks.networks{}`.
pub fn mesh_fields() -> Vec<(&'static str, String, String)> {
    let mut out = Vec::new();
    for (name, root, shape) in [
        ("MeshConfig", "mesh", crate::mesh::MeshConfig::shape()),
        (
            "MeshNetworks",
            "meshNetworks",
            crate::mesh::MeshNetworks::shape(),
        ),
    ] {
        walk(&shape, root, &mut |path, shape| {
            out.push((name, path.to_owned(), type_name(shape)));
        });
    }
    out
}

fn walk(shape: &Shape, path: &str, visit: &mut impl FnMut(&str, &Shape)) {
    match shape {
        Shape::Message(message) => {
            for field in &message.fields {
                let path = format!("{path}.{}", field.name);
                visit(&path, &field.shape);
                walk(&field.shape, &path, visit);
            }
        }
        Shape::List(inner) => walk(inner, &format!("{path}[]"), visit),
        Shape::Map(inner) => walk(inner, &format!("{path}{{}}"), visit),
        Shape::Nullable(inner) => walk(inner, path, visit),
        _ => {}
    }
}

fn type_name(shape: &Shape) -> String {
    match shape {
        Shape::Bool => "boolean".to_owned(),
        Shape::Int { .. } => "integer".to_owned(),
        Shape::Double => "number".to_owned(),
        Shape::String => "string".to_owned(),
        Shape::Enum(names) => names.join(" | "),
        Shape::Duration => "duration".to_owned(),
        Shape::Time => "time".to_owned(),
        Shape::Bytes => "base64".to_owned(),
        Shape::IntOrString => "integer or string".to_owned(),
        Shape::Nullable(inner) => format!("{}, optional", type_name(inner)),
        Shape::List(inner) => format!("list of {}", type_name(inner)),
        Shape::Map(inner) => format!("map of {}", type_name(inner)),
        Shape::Message(message) => message.name.to_owned(),
        Shape::Struct | Shape::Any => "any".to_owned(),
    }
}

/// Kinds that mean nothing without a `spec`.
pub(crate) fn spec_required(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::TrafficExtension
            | Kind::WasmPlugin
            | Kind::ServiceEntry
            | Kind::WorkloadEntry
            | Kind::WorkloadGroup
    )
}

/// What a kind demands of its `spec` that its type, used in other places as well, does not.
pub(crate) fn spec_rules(kind: Kind) -> &'static [Rule] {
    match kind {
        Kind::WorkloadEntry => const { &[Rule::Cel(&rules::ADDRESS_OR_NETWORK)] },
        _ => &[],
    }
}

/// Name, path and description of the columns of `kubectl get`, the age aside.
fn columns(kind: Kind) -> &'static [(&'static str, &'static str, &'static str)] {
    match kind {
        Kind::VirtualService => &[
            (
                "Gateways",
                ".spec.gateways",
                "Gateways and sidecars that apply the routes",
            ),
            ("Hosts", ".spec.hosts", "Hosts to which traffic is sent"),
        ],
        Kind::DestinationRule => &[("Host", ".spec.host", "The service that the rule is about")],
        Kind::ServiceEntry => &[
            ("Hosts", ".spec.hosts", "Hosts of the service"),
            (
                "Location",
                ".spec.location",
                "Whether the service is part of the mesh",
            ),
            ("Resolution", ".spec.resolution", "How addresses are found"),
        ],
        Kind::WorkloadEntry => &[("Address", ".spec.address", "Address of the workload")],
        Kind::AuthorizationPolicy => &[(
            "Action",
            ".spec.action",
            "What is done with requests that match",
        )],
        Kind::PeerAuthentication => &[("Mode", ".spec.mtls.mode", "Mutual TLS mode")],
        _ => &[],
    }
}

/// The CRD of one kind.
pub fn crd(kind: Kind) -> Value {
    let info = kind.info();
    let mut names = json!({
        "categories": info.categories,
        "kind": info.name,
        "listKind": format!("{}List", info.name),
        "plural": info.plural,
        "singular": info.singular(),
    });
    if !info.short_names.is_empty() {
        names["shortNames"] = json!(info.short_names);
    }
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": info.crd_name(),
            "annotations": {"helm.sh/resource-policy": "keep"},
            "labels": {"app": "istio-pilot", "chart": "istio", "heritage": "Tiller", "release": "istio"},
        },
        "spec": {
            "group": info.group,
            "names": names,
            "scope": if info.namespaced { "Namespaced" } else { "Cluster" },
            "versions": info.versions.iter().rev().map(|v| version(kind, info, v)).collect::<Vec<_>>(),
        },
    })
}

fn version(kind: Kind, info: &KindInfo, name: &str) -> Value {
    let mut columns: Vec<Value> = columns(kind)
        .iter()
        .map(|(name, path, description)| json!({"name": name, "jsonPath": path, "type": "string", "description": description}))
        .collect();
    columns.push(json!({
        "name": "Age", "jsonPath": ".metadata.creationTimestamp", "type": "date", "description": "Since when the object exists",
    }));
    let mut status = schema(&kind.status_shape(), &[]);
    status["x-kubernetes-preserve-unknown-fields"] = json!(true);
    let mut root = json!({
        "type": "object",
        "properties": {"spec": schema(kind.spec_shape(), spec_rules(kind)), "status": status},
    });
    if spec_required(kind) {
        root["required"] = json!(["spec"]);
    }
    json!({
        "name": name,
        "served": true,
        "storage": name == info.version(),
        "subresources": {"status": {}},
        "additionalPrinterColumns": columns,
        "schema": {"openAPIV3Schema": root},
    })
}

/// The OpenAPI schema of a shape with the rules of the field that has it.
pub fn schema(shape: &Shape, rules: &[Rule]) -> Value {
    let mut out = Map::new();
    let each: &[Rule] = rules
        .iter()
        .find_map(|r| {
            if let Rule::Each(each) = r {
                Some(*each)
            } else {
                None
            }
        })
        .unwrap_or_default();
    let mut cel = Vec::new();
    match shape {
        Shape::Bool => set(&mut out, "type", "boolean"),
        Shape::Int { min, max, format } => {
            set(&mut out, "type", "integer");
            match format {
                Some(format) => set(&mut out, "format", *format),
                None => {
                    set(&mut out, "minimum", i64::try_from(*min).unwrap_or(0));
                    // A CRD's numbers are doubles: the largest 64-bit number is not one of them.
                    if *max <= i128::from(u32::MAX) {
                        set(&mut out, "maximum", u32::try_from(*max).unwrap_or(u32::MAX));
                    }
                }
            }
        }
        Shape::Double => {
            set(&mut out, "type", "number");
            set(&mut out, "format", "double");
        }
        Shape::String => set(&mut out, "type", "string"),
        Shape::Bytes => {
            set(&mut out, "type", "string");
            set(&mut out, "format", "byte");
        }
        Shape::Time => {
            set(&mut out, "type", "string");
            set(&mut out, "format", "date-time");
        }
        Shape::Enum(names) => {
            set(&mut out, "type", "string");
            set(&mut out, "enum", json!(names));
        }
        Shape::Duration => {
            set(&mut out, "type", "string");
            if !rules.iter().any(|r| matches!(r, Rule::AnyDuration)) {
                cel.push(&rules::MILLISECOND);
            }
        }
        Shape::IntOrString => {
            set(
                &mut out,
                "anyOf",
                json!([{"type": "integer"}, {"type": "string"}]),
            );
            set(&mut out, "x-kubernetes-int-or-string", true);
        }
        Shape::Nullable(inner) => {
            if let Value::Object(inner) = schema(inner, &[]) {
                out = inner;
            }
            set(&mut out, "nullable", true);
        }
        Shape::List(inner) => {
            set(&mut out, "type", "array");
            set(&mut out, "items", schema(inner, each));
        }
        Shape::Map(inner) => {
            set(&mut out, "type", "object");
            set(&mut out, "additionalProperties", schema(inner, each));
        }
        Shape::Struct => {
            set(&mut out, "type", "object");
            set(&mut out, "x-kubernetes-preserve-unknown-fields", true);
        }
        Shape::Any => set(&mut out, "x-kubernetes-preserve-unknown-fields", true),
        Shape::Message(message) => {
            fill_message(message, &mut out);
            cel.extend(message.rules.iter().filter_map(|r| {
                if let Rule::Cel(cel) = r {
                    Some(*cel)
                } else {
                    None
                }
            }));
        }
    }
    for rule in rules {
        match *rule {
            Rule::MinLength(n) => set(&mut out, "minLength", n),
            Rule::MaxLength(n) => set(&mut out, "maxLength", n),
            Rule::Min(n) => set(&mut out, "minimum", n),
            Rule::Max(n) => set(&mut out, "maximum", n),
            Rule::MinItems(n) => set(&mut out, "minItems", n),
            Rule::MaxItems(n) => set(&mut out, "maxItems", n),
            Rule::MinProperties(n) => set(&mut out, "minProperties", n),
            Rule::MaxProperties(n) => set(&mut out, "maxProperties", n),
            Rule::Pattern(pattern) => set(&mut out, "pattern", pattern),
            Rule::MapKeys(keys) => {
                set(&mut out, "x-kubernetes-list-type", "map");
                set(&mut out, "x-kubernetes-list-map-keys", json!(keys));
            }
            Rule::Cel(rule) => cel.push(rule),
            Rule::Required | Rule::Each(_) | Rule::AnyDuration | Rule::Alias(_) => {}
        }
    }
    if !cel.is_empty() {
        let cel: Vec<Value> = cel
            .iter()
            .map(|c| json!({"rule": c.rule, "message": c.message}))
            .collect();
        set(&mut out, "x-kubernetes-validations", json!(cel));
    }
    Value::Object(out)
}

fn set(out: &mut Map<String, Value>, key: &str, value: impl Into<Value>) {
    out.insert(key.to_owned(), value.into());
}

fn fill_message(message: &MessageShape, out: &mut Map<String, Value>) {
    set(out, "type", "object");
    let mut properties = Map::new();
    for FieldShape { name, shape, rules } in &message.fields {
        let schema = schema(shape, rules);
        for rule in rules {
            if let Rule::Alias(alias) = rule {
                properties.insert((*alias).to_owned(), schema.clone());
            }
        }
        properties.insert(name.clone(), schema);
    }
    if !properties.is_empty() {
        set(out, "properties", Value::Object(properties));
    }
    if message.slim {
        set(out, "x-kubernetes-preserve-unknown-fields", true);
    }
    let required: Vec<&str> = message
        .fields
        .iter()
        .filter(|f| f.rules.iter().any(|r| matches!(r, Rule::Required)))
        .map(|f| f.name.as_str())
        .collect();
    if !required.is_empty() {
        set(out, "required", json!(required));
    }
    // At most one member: none of them, or exactly one.
    let groups: Vec<Value> = message
        .oneofs
        .iter()
        .map(|group| {
            let one: Vec<Value> = group.iter().map(|m| json!({"required": [m]})).collect();
            let mut alternatives = vec![json!({"not": {"anyOf": one}})];
            alternatives.extend(one);
            Value::Array(alternatives)
        })
        .collect();
    match groups.as_slice() {
        [] => {}
        [one] => set(out, "oneOf", one.clone()),
        several => set(
            out,
            "allOf",
            several
                .iter()
                .map(|g| json!({"oneOf": g}))
                .collect::<Vec<_>>(),
        ),
    }
}
