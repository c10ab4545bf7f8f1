//! What printing has to know of a message type: gathered when the type is first met, since most of the pool never is.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock, OnceLock, PoisonError, RwLock};

use prost_reflect::{Cardinality, FieldDescriptor, Kind, MessageDescriptor};

use super::POOL;
use crate::wire::Wire;

/// A message type.
pub(super) struct Type {
    pub form: Form,
    /// Whether an `Any` holds it under `value`: the types with a JSON form of their own.
    pub well_known: bool,
    /// In order of their names.
    pub fields: Vec<Field>,
    /// Places in `fields`, in order of the fields' numbers.
    places: Vec<(u32, usize)>,
}

/// How a message is written.
pub(super) enum Form {
    /// As an object of its fields.
    Object,
    /// As what is packed, with the type beside.
    Any,
    /// As its only field is: wrappers, `Struct` and `ListValue`.
    OnlyField,
    /// As whichever field is set, else as null: `Value`.
    SetField,
    /// As text that `prost-reflect` makes: `Duration`, `Timestamp`, `FieldMask`.
    Text(MessageDescriptor),
}

/// A field of a message.
pub(super) struct Field {
    pub name: String,
    pub shape: Shape,
    pub number_of: NumberOf,
    /// Whether a zero says something else than nothing.
    pub presence: bool,
}

pub(super) enum NumberOf {
    One,
    List,
    /// With the keys' shape.
    Map(Shape),
}

/// What one value of a field is.
pub(super) enum Shape {
    Bool,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Float,
    Double,
    String,
    Bytes,
    /// `NullValue`, whose only value is null.
    Null,
    Enum(BTreeMap<i32, String>),
    Message(Link),
}

/// A message type that another refers to.
pub(super) struct Link {
    descriptor: MessageDescriptor,
    known: OnceLock<Arc<Type>>,
}

static TYPES: LazyLock<RwLock<HashMap<String, Arc<Type>>>> = LazyLock::new(RwLock::default);

/// The type of this full name.
pub(super) fn named(name: &str) -> Option<Arc<Type>> {
    let known = TYPES.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = known.get(name) {
        return Some(Arc::clone(found));
    }
    drop(known);
    Some(of(&POOL.get_message_by_name(name)?))
}

fn of(descriptor: &MessageDescriptor) -> Arc<Type> {
    let mut known = TYPES.write().unwrap_or_else(PoisonError::into_inner);
    let made = known
        .entry(descriptor.full_name().to_owned())
        .or_insert_with(|| Arc::new(Type::new(descriptor)));
    Arc::clone(made)
}

impl Link {
    pub(super) fn get(&self) -> &Type {
        self.known.get_or_init(|| of(&self.descriptor))
    }
}

impl Type {
    fn new(descriptor: &MessageDescriptor) -> Self {
        let well_known = descriptor
            .full_name()
            .strip_prefix("google.protobuf.")
            .unwrap_or_default();
        let form = match well_known {
            "Any" => Form::Any,
            "Duration" | "Timestamp" | "FieldMask" => Form::Text(descriptor.clone()),
            "Value" => Form::SetField,
            "Struct" | "ListValue" | "BoolValue" | "StringValue" | "BytesValue" | "FloatValue"
            | "DoubleValue" | "Int32Value" | "Int64Value" | "UInt32Value" | "UInt64Value" => {
                Form::OnlyField
            }
            _ => Form::Object,
        };
        let mut fields: Vec<FieldDescriptor> = descriptor.fields().collect();
        fields.sort_by(|a, b| a.name().cmp(b.name()));
        let mut places: Vec<(u32, usize)> = (fields.iter().map(FieldDescriptor::number))
            .zip(0..)
            .collect();
        places.sort_unstable();
        Self {
            well_known: !matches!(form, Form::Object) || well_known == "Empty",
            form,
            fields: fields.iter().map(Field::new).collect(),
            places,
        }
    }

    /// The place among the fields of the one with this number.
    pub(super) fn place(&self, number: u32) -> Option<usize> {
        let at = self.places.binary_search_by_key(&number, |p| p.0).ok()?;
        self.places.get(at).map(|p| p.1)
    }
}

impl Field {
    fn new(field: &FieldDescriptor) -> Self {
        let (shape, number_of) = match field.kind() {
            Kind::Message(entry) if entry.is_map_entry() => (
                Shape::new(entry.map_entry_value_field().kind()),
                NumberOf::Map(Shape::new(entry.map_entry_key_field().kind())),
            ),
            kind if field.cardinality() == Cardinality::Repeated => {
                (Shape::new(kind), NumberOf::List)
            }
            kind => (Shape::new(kind), NumberOf::One),
        };
        Self {
            name: field.name().to_owned(),
            shape,
            number_of,
            presence: field.supports_presence(),
        }
    }
}

impl Shape {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Bool => Shape::Bool,
            Kind::Int32 => Shape::Int32,
            Kind::Int64 => Shape::Int64,
            Kind::Uint32 => Shape::Uint32,
            Kind::Uint64 => Shape::Uint64,
            Kind::Sint32 => Shape::Sint32,
            Kind::Sint64 => Shape::Sint64,
            Kind::Fixed32 => Shape::Fixed32,
            Kind::Fixed64 => Shape::Fixed64,
            Kind::Sfixed32 => Shape::Sfixed32,
            Kind::Sfixed64 => Shape::Sfixed64,
            Kind::Float => Shape::Float,
            Kind::Double => Shape::Double,
            Kind::String => Shape::String,
            Kind::Bytes => Shape::Bytes,
            Kind::Enum(of) if of.full_name() == "google.protobuf.NullValue" => Shape::Null,
            Kind::Enum(of) => Shape::Enum(
                of.values()
                    .filter_map(|v| of.get_value(v.number()))
                    .map(|v| (v.number(), v.name().to_owned()))
                    .collect(),
            ),
            Kind::Message(descriptor) => Shape::Message(Link {
                descriptor,
                known: OnceLock::new(),
            }),
        }
    }

    /// What is meant where nothing is written; also tells how values of the shape are encoded.
    pub(super) fn zero(&self) -> Wire<'static> {
        match self {
            Shape::String | Shape::Bytes | Shape::Message(_) => Wire::Bytes(&[]),
            Shape::Fixed64 | Shape::Sfixed64 | Shape::Double => Wire::Fixed64(0),
            Shape::Fixed32 | Shape::Sfixed32 | Shape::Float => Wire::Fixed32(0),
            _ => Wire::Varint(0),
        }
    }
}
