//! The table of built-in kinds: their fields, types, protobuf tags and merge rules.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::KindRef;

/// An index into [`Schemas::types`].
pub(crate) type TypeId = usize;

/// The type of a field or of a list's or map's element.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ty {
    String,
    Bool,
    Int32,
    Int64,
    Double,
    /// Base64 in JSON.
    Bytes,
    Time,
    MicroTime,
    Quantity,
    IntOrString,
    /// Any JSON.
    Any,
    /// `JSONSchemaPropsOrBool`, `…OrArray` and `…OrStringArray`.
    SchemaOrBool,
    SchemaOrArray,
    SchemaOrStrings,
    Ref(TypeId),
    List(Box<Ty>),
    Map(Box<Ty>),
}

/// How several owners share a list, map or struct (`+listType` and kin).
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Merge {
    /// Lists atomic, maps and structs by field.
    #[default]
    Unmarked,
    Atomic,
    Granular,
    Set,
    /// A list whose items are told apart by these fields.
    Keyed(Vec<String>),
}

#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub ty: Ty,
    pub required: bool,
    pub merge: Merge,
    /// `+patchMergeKey`.
    pub patch_key: Option<String>,
    /// `+patchStrategy` contains `merge`.
    pub patch_merge: bool,
    /// `+patchStrategy` contains `retainKeys`.
    pub retain_keys: bool,
}

/// What a protobuf tag of a message stands for.
#[derive(Clone, Debug)]
pub(crate) enum Slot {
    Field(String),
    /// A message whose fields are this type's own in JSON.
    Inline(BTreeMap<u32, Slot>),
}

#[derive(Debug)]
pub(crate) struct Type {
    /// Such as `io.k8s.api.core.v1.ServiceSpec`.
    pub name: String,
    pub atomic: bool,
    pub fields: BTreeMap<String, Field>,
    pub slots: BTreeMap<u32, Slot>,
}

/// The built-in kinds.
pub struct Schemas {
    types: Vec<Type>,
    by_name: BTreeMap<String, TypeId>,
    kinds: BTreeMap<(String, String, String), BuiltinKind>,
}

/// A kind's type and where its objects are.
#[derive(Debug)]
pub(crate) struct BuiltinKind {
    pub ty: TypeId,
    pub plural: String,
    pub namespaced: bool,
}

#[derive(Deserialize)]
struct RawTable {
    types: BTreeMap<String, RawType>,
    kinds: Vec<(String, String, String, String, String, bool)>,
}

#[derive(Deserialize)]
struct RawType {
    atomic: bool,
    fields: BTreeMap<String, RawField>,
}

#[derive(Deserialize)]
struct RawField {
    t: String,
    #[serde(default)]
    n: Vec<u32>,
    #[serde(default)]
    r: bool,
    m: Option<String>,
    #[serde(default)]
    k: Vec<String>,
    pk: Option<String>,
    #[serde(default)]
    ps: String,
}

impl Schemas {
    /// The table that the build script made.
    pub(super) fn load() -> Schemas {
        // The bytes are this build's own; should they be broken, no kind is known and every test says so.
        let raw: RawTable =
            serde_json::from_slice(include_bytes!(concat!(env!("OUT_DIR"), "/types.json")))
                .unwrap_or(RawTable {
                    types: BTreeMap::new(),
                    kinds: Vec::new(),
                });
        let by_name: BTreeMap<String, TypeId> = raw
            .types
            .keys()
            .enumerate()
            .map(|(id, n)| (n.clone(), id))
            .collect();
        let types = raw
            .types
            .into_iter()
            .map(|(name, ty)| read_type(name, ty, &by_name))
            .collect();
        let kinds =
            raw.kinds
                .into_iter()
                .filter_map(|(group, version, kind, name, plural, namespaced)| {
                    let ty = *by_name.get(&name)?;
                    Some((
                        (group, version, kind),
                        BuiltinKind {
                            ty,
                            plural,
                            namespaced,
                        },
                    ))
                });
        Schemas {
            types,
            kinds: kinds.collect(),
            by_name,
        }
    }

    pub(crate) fn get(&self, id: TypeId) -> Option<&Type> {
        self.types.get(id)
    }

    /// A type by its full name.
    pub(crate) fn named(&self, name: &str) -> Option<TypeId> {
        self.by_name.get(name).copied()
    }

    /// The type of a kind. `DeleteOptions` is in every group version.
    pub(crate) fn kind(&self, k: KindRef<'_>) -> Option<TypeId> {
        if k.kind == "DeleteOptions" {
            return self.named("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions");
        }
        self.kinds
            .get(&(k.group.to_owned(), k.version.to_owned(), k.kind.to_owned()))
            .map(|kind| kind.ty)
    }

    /// Whether the kind is built in.
    pub fn knows(&self, k: KindRef<'_>) -> bool {
        self.kind(k).is_some()
    }

    /// The built-in kinds of a group version.
    pub(crate) fn kinds_of(
        &self,
        group: &str,
        version: &str,
    ) -> impl Iterator<Item = (&str, &BuiltinKind)> {
        let of = self
            .kinds
            .iter()
            .filter(move |(k, _)| k.0 == group && k.1 == version);
        of.map(|(k, kind)| (k.2.as_str(), kind))
    }

    /// The field `name` of a value of type `ty`, when that is a struct which has it.
    pub(crate) fn field(&self, ty: &Ty, name: &str) -> Option<&Field> {
        match ty {
            Ty::Ref(id) => self.get(*id)?.fields.get(name),
            _ => None,
        }
    }
}

fn read_type(name: String, raw: RawType, by_name: &BTreeMap<String, TypeId>) -> Type {
    let mut slots = BTreeMap::new();
    let mut fields = BTreeMap::new();
    for (field_name, field) in raw.fields {
        place(&mut slots, &field.n, &field_name);
        let merge = match (field.m.as_deref(), field.k) {
            (Some("map"), keys) if !keys.is_empty() => Merge::Keyed(keys),
            (Some("set"), _) => Merge::Set,
            (Some("atomic"), _) => Merge::Atomic,
            (Some("granular"), _) => Merge::Granular,
            _ => Merge::Unmarked,
        };
        let parsed = Field {
            ty: read_ty(&field.t, by_name),
            required: field.r,
            merge,
            patch_key: field.pk,
            patch_merge: field.ps.split(',').any(|s| s == "merge"),
            retain_keys: field.ps.split(',').any(|s| s == "retainKeys"),
        };
        fields.insert(field_name, parsed);
    }
    Type {
        name,
        atomic: raw.atomic,
        fields,
        slots,
    }
}

fn place(slots: &mut BTreeMap<u32, Slot>, path: &[u32], name: &str) {
    match path {
        [] => {}
        [tag] => {
            slots.insert(*tag, Slot::Field(name.to_owned()));
        }
        [tag, rest @ ..] => {
            if let Slot::Inline(inner) = slots
                .entry(*tag)
                .or_insert_with(|| Slot::Inline(BTreeMap::new()))
            {
                place(inner, rest, name);
            }
        }
    }
}

/// Reads the notation that the build script writes.
fn read_ty(text: &str, by_name: &BTreeMap<String, TypeId>) -> Ty {
    let mut chars = text.chars();
    match chars.next() {
        Some('s') => Ty::String,
        Some('b') => Ty::Bool,
        Some('i') => Ty::Int32,
        Some('l') => Ty::Int64,
        Some('f') => Ty::Double,
        Some('y') => Ty::Bytes,
        Some('t') => Ty::Time,
        Some('u') => Ty::MicroTime,
        Some('q') => Ty::Quantity,
        Some('x') => Ty::IntOrString,
        Some('o') => Ty::SchemaOrBool,
        Some('a') => Ty::SchemaOrArray,
        Some('p') => Ty::SchemaOrStrings,
        Some('[') => Ty::List(Box::new(read_ty(chars.as_str(), by_name))),
        Some('{') => Ty::Map(Box::new(read_ty(chars.as_str(), by_name))),
        Some('#') => by_name
            .get(chars.as_str())
            .map_or(Ty::Any, |id| Ty::Ref(*id)),
        _ => Ty::Any,
    }
}

/// The descriptions of types (under the empty name) and fields, by type; read on first use.
pub(crate) fn texts() -> &'static BTreeMap<String, BTreeMap<String, String>> {
    static TEXTS: std::sync::OnceLock<BTreeMap<String, BTreeMap<String, String>>> =
        std::sync::OnceLock::new();
    TEXTS.get_or_init(|| {
        serde_json::from_slice(include_bytes!(concat!(env!("OUT_DIR"), "/texts.json")))
            .unwrap_or_default()
    })
}

/// The value below `object` at the names of `path`.
pub(crate) fn at<'a>(object: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(object, |value, name| value.get(name))
}

/// The string at `path`, or the empty one.
pub(crate) fn text<'a>(object: &'a Value, path: &[&str]) -> &'a str {
    at(object, path).and_then(Value::as_str).unwrap_or_default()
}
