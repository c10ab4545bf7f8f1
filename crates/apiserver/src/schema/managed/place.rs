//! How the value at a place of an object is shared between owners.

use serde_json::{Map, Value};

use super::super::SchemaRef;
use super::super::crd::Node;
use super::super::ir::{Merge, Schemas, Ty, TypeId};
use super::fields::field;

/// What is known of a value's schema.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    Struct(TypeId),
    Typed(&'a Ty, &'a Merge),
    /// The top of a custom resource, whose metadata is the server's.
    Root(&'a Node),
    Custom(&'a Node),
    Scalar,
    Unknown,
}

/// How a value is shared.
pub(super) enum Shape<'a> {
    /// As a whole.
    Leaf,
    /// By member.
    Map,
    /// By item; items are their own identity.
    Set,
    /// By item; items are told apart by these fields.
    Keyed(&'a [String]),
}

/// Structs that Go holds by value: to the server they are there even when JSON lacks them, so writing into them does
/// not make the writer the owner of the struct itself.
const BY_VALUE: &[&str] = &[
    "acceptedNames",
    "daemonEndpoints",
    "involvedObject",
    "jobTemplate",
    "kubeletEndpoint",
    "loadBalancer",
    "metadata",
    "names",
    "nodeInfo",
    "podSelector",
    "regarding",
    "resources",
    "roleRef",
    "scaleTargetRef",
    "source",
    "spec",
    "status",
    "strategy",
    "template",
    "updateStrategy",
];

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// A member of a map or struct.
pub(super) struct Member<'a> {
    pub place: Place<'a>,
    /// Declared by name, unlike an entry of a map.
    pub declared: bool,
    /// There even when JSON lacks it.
    pub implied: bool,
}

impl<'a> Place<'a> {
    pub(super) fn of(schema: SchemaRef<'a>) -> Place<'a> {
        match schema {
            SchemaRef::Builtin(ty) => Place::Struct(ty.0),
            SchemaRef::Crd(schema) => Place::Root(schema.root()),
            SchemaRef::Deduced => Place::Unknown,
        }
    }

    /// How `value`, or whatever replaces it, is shared here.
    pub(super) fn shape(self, value: Option<&Value>) -> Shape<'a> {
        let is_object = value.is_none_or(|v| v.is_object() || v.is_null());
        let is_list = value.is_none_or(|v| v.is_array() || v.is_null());
        match self {
            Place::Struct(id) => match Schemas::builtin().get(id) {
                Some(ty) if !ty.atomic && is_object => Shape::Map,
                _ => Shape::Leaf,
            },
            Place::Typed(ty, merge) => match (ty, merge) {
                (_, Merge::Atomic) => Shape::Leaf,
                (Ty::Ref(id), _) => Place::Struct(*id).shape(value),
                (Ty::Map(_), _) if is_object => Shape::Map,
                (Ty::List(_), Merge::Set) if is_list => Shape::Set,
                (Ty::List(_), Merge::Keyed(keys)) if is_list => Shape::Keyed(keys),
                _ => Shape::Leaf,
            },
            Place::Root(_) if is_object => Shape::Map,
            Place::Custom(node) => match &node.merge {
                Merge::Atomic => Shape::Leaf,
                Merge::Set if is_list => Shape::Set,
                Merge::Keyed(keys) if is_list => Shape::Keyed(keys),
                _ if node.is_array() || !is_object => Shape::Leaf,
                _ if value.is_some_and(Value::is_object) || !node.properties.is_empty() => {
                    Shape::Map
                }
                _ => Shape::Leaf,
            },
            Place::Unknown if value.is_some_and(Value::is_object) => Shape::Map,
            Place::Root(_) | Place::Scalar | Place::Unknown => Shape::Leaf,
        }
    }

    /// The place of a member.
    pub(super) fn member(self, name: &str) -> Member<'a> {
        let member = |place, declared| Member {
            place,
            declared,
            implied: false,
        };
        match self {
            Place::Struct(id) => {
                match Schemas::builtin().get(id).and_then(|t| t.fields.get(name)) {
                    Some(f) => {
                        let by_value = matches!(f.ty, Ty::Ref(_)) && BY_VALUE.contains(&name);
                        let null_list = matches!(f.ty, Ty::List(_)) && f.required;
                        Member {
                            place: Place::Typed(&f.ty, &f.merge),
                            declared: true,
                            implied: by_value || null_list,
                        }
                    }
                    None => member(Place::Unknown, true),
                }
            }
            Place::Typed(Ty::Ref(id), _) => Place::Struct(*id).member(name),
            Place::Typed(Ty::Map(item), _) => member(Place::Typed(item, &Merge::Unmarked), false),
            Place::Root(node) => match name {
                "metadata" => {
                    let meta = Schemas::builtin()
                        .named(OBJECT_META)
                        .map_or(Place::Unknown, Place::Struct);
                    Member {
                        place: meta,
                        declared: true,
                        implied: true,
                    }
                }
                "apiVersion" | "kind" => member(Place::Scalar, true),
                _ => Place::Custom(node).member(name),
            },
            Place::Custom(node) => match (node.properties.get(name), &node.additional) {
                (Some(child), _) => member(Place::Custom(child), true),
                (None, Some(child)) => member(Place::Custom(child), false),
                (None, None) => member(Place::Unknown, !node.is_open()),
            },
            Place::Typed(..) | Place::Scalar | Place::Unknown => member(Place::Unknown, true),
        }
    }

    /// The place of a list's items.
    pub(super) fn item(self) -> Place<'a> {
        match self {
            Place::Typed(Ty::List(item), _) => Place::Typed(item, &Merge::Unmarked),
            Place::Custom(node) => node.items.as_deref().map_or(Place::Unknown, Place::Custom),
            _ => Place::Unknown,
        }
    }

    /// The step to a list's item, by its keys; `None` if it has none of them.
    pub(super) fn key(self, keys: &[String], item: &Value) -> Option<String> {
        let mut found = Map::new();
        for key in keys {
            let given = item.get(key).filter(|v| !v.is_null()).cloned();
            if let Some(value) = given.or_else(|| self.item().key_default(key)) {
                found.insert(key.clone(), value);
            }
        }
        (!found.is_empty()).then(|| format!("k:{}", Value::Object(found)))
    }

    fn key_default(self, key: &str) -> Option<Value> {
        match self {
            Place::Custom(node) => node.properties.get(key)?.default_value().cloned(),
            // The only key of built-in lists that has a default.
            Place::Typed(..) if key == "protocol" => Some("TCP".into()),
            _ => None,
        }
    }
}

/// The steps to a list's items, in order; the error names a list's items that cannot be told apart.
pub(super) fn steps<'v>(
    place: Place<'_>,
    shape: &Shape<'_>,
    list: &'v [Value],
) -> Result<Vec<(String, &'v Value)>, String> {
    let mut steps: Vec<(String, &Value)> = Vec::with_capacity(list.len());
    for item in list {
        let step = match shape {
            Shape::Set => format!("v:{item}"),
            Shape::Keyed(keys) => place.key(keys, item).ok_or_else(|| {
                format!(
                    "associative list with keys has an element that omits key field {:?}",
                    keys.first().map_or("", String::as_str)
                )
            })?,
            _ => field(""),
        };
        steps.push((step, item));
    }
    Ok(steps)
}
