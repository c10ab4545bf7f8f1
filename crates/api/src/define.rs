//! The macros by which foreign messages, enums and oneofs are defined once: the Rust type, how it is read and written, its shape.

use crate::message::{FaultKind, Reader, nearest};

/// Defines messages of a foreign API. A field's name is its proto name (a final `_` avoids keywords), or `as "jsonName"`.
/// `(slim)` says that the type has more fields than are read; `oneof [a, b]` that at most one of them may be set;
/// brackets after a type hold [`Rule`](crate::shape::Rule)s.
macro_rules! message {
    ($(
        $(#[$meta:meta])*
        pub struct $Name:ident $(($mode:ident))? {
            $( $(#[$fmeta:meta])* $field:ident $(as $json:literal)? : $ty:ty $([ $($rule:expr),* $(,)? ])? ),* $(,)?
        }
        $( oneof [ $($member:ident),+ $(,)? ] )*
        $( rule $cel:expr ; )*
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $Name { $( $(#[$fmeta])* pub $field: $ty ),* }

        impl $crate::message::Field for $Name {
            fn read(value: serde_json::Value, cx: &mut $crate::message::Reader) -> Self {
                #[allow(unused_mut, reason = "a message may have no fields")]
                let mut out = Self::default();
                let known = || vec![$( $crate::define::json_field!($field $(, $json)?) ),*];
                let Some(map) = cx.object(value, known) else { return out };
                $(
                    let group = [$( $crate::define::field_name!($member) ),+];
                    let set: Vec<&str> = group
                        .iter()
                        .filter(|m| map.iter().any(|(k, v)| !v.is_null() && $crate::shape::names(k, m)))
                        .copied()
                        .collect();
                    $crate::define::at_most_one(&set, cx);
                )*
                for (key, value) in map {
                    $(
                        if $crate::define::is_field!(key, $field $(, $json)?) {
                            cx.enter(key);
                            out.$field = $crate::message::Field::read(value, cx);
                            cx.leave();
                            continue;
                        }
                    )*
                    let _ = value;
                    if !$crate::define::is_slim!($($mode)?) {
                        let known: Vec<String> = known();
                        let known: Vec<&str> = known.iter().map(String::as_str).collect();
                        cx.unknown(key, &known);
                    }
                }
                out
            }
            fn write(&self) -> serde_json::Value {
                #[allow(unused_mut, reason = "a message may have no fields")]
                let mut map = serde_json::Map::new();
                $(
                    if !$crate::message::Field::is_default(&self.$field) {
                        map.insert($crate::define::json_field!($field $(, $json)?), $crate::message::Field::write(&self.$field));
                    }
                )*
                serde_json::Value::Object(map)
            }
            fn is_default(&self) -> bool {
                true $( && $crate::message::Field::is_default(&self.$field) )*
            }
            fn shape() -> $crate::shape::Shape {
                #[allow(unused_imports, reason = "most fields have no rules")]
                use $crate::shape::Rule::*;
                $crate::shape::Shape::Message($crate::shape::MessageShape {
                    name: stringify!($Name),
                    slim: $crate::define::is_slim!($($mode)?),
                    fields: vec![$( $crate::shape::FieldShape {
                        name: $crate::define::json_field!($field $(, $json)?),
                        shape: <$ty as $crate::message::Field>::shape(),
                        rules: vec![$($(const { $rule }),*)?],
                    } ),*],
                    oneofs: vec![$( vec![$( $crate::shape::json_name(stringify!($member)) ),+] ),*],
                    rules: vec![$( const { $cel } ),*],
                })
            }
        }

        $crate::define::serde_bridge!($Name);
    )*};
}

/// Defines enums of a foreign API, by the names that JSON uses; the first is the default.
macro_rules! choice {
    ($(
        $(#[$meta:meta])*
        pub enum $Name:ident { $first:ident = $text0:literal $(, $variant:ident = $text:literal)* $(,)? }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $Name { #[default] $first $(, $variant)* }

        impl $Name {
            /// The names as JSON has them, in proto's order.
            pub const NAMES: &'static [&'static str] = &[$text0 $(, $text)*];

            /// The name as JSON has it.
            pub fn as_str(self) -> &'static str {
                match self { Self::$first => $text0 $(, Self::$variant => $text)* }
            }
        }

        impl $crate::message::Field for $Name {
            fn read(value: serde_json::Value, cx: &mut $crate::message::Reader) -> Self {
                match &value {
                    serde_json::Value::Null => Self::default(),
                    serde_json::Value::String(s) => match s.as_str() {
                        $text0 => Self::$first,
                        $( $text => Self::$variant, )*
                        other => {
                            $crate::define::bad_enum(other, Self::NAMES, cx);
                            Self::default()
                        }
                    },
                    other => {
                        cx.wrong_type("a string", other);
                        Self::default()
                    }
                }
            }
            fn write(&self) -> serde_json::Value {
                serde_json::Value::String(self.as_str().to_owned())
            }
            fn is_default(&self) -> bool {
                *self == Self::default()
            }
            fn shape() -> $crate::shape::Shape {
                $crate::shape::Shape::Enum(Self::NAMES)
            }
        }

        $crate::define::serde_bridge!($Name);
    )*};
}

/// Defines messages that are nothing but a oneof: a Rust enum of which the first variant means that nothing is set.
macro_rules! one_of {
    ($(
        $(#[$meta:meta])*
        pub enum $Name:ident { $(#[$umeta:meta])* $unset:ident $(, $(#[$vmeta:meta])* $variant:ident($ty:ty) = $json:literal)* $(,)? }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub enum $Name { $(#[$umeta])* #[default] $unset $(, $(#[$vmeta])* $variant($ty))* }

        impl $crate::message::Field for $Name {
            fn read(value: serde_json::Value, cx: &mut $crate::message::Reader) -> Self {
                let known = [$($json),*];
                let names = || known.iter().map(|name| String::from(*name)).collect();
                let Some(map) = cx.object(value, names) else { return Self::$unset };
                let set: Vec<&str> = known.iter().filter(|k| map.get(**k).is_some_and(|v| !v.is_null())).copied().collect();
                $crate::define::at_most_one(&set, cx);
                let mut out = Self::$unset;
                for (key, value) in map {
                    match key.as_str() {
                        $( $json => {
                            if value.is_null() {
                                continue;
                            }
                            cx.enter(key);
                            out = Self::$variant($crate::message::Field::read(value, cx));
                            cx.leave();
                        } )*
                        _ => cx.unknown(key, &known),
                    }
                }
                out
            }
            fn write(&self) -> serde_json::Value {
                let mut map = serde_json::Map::new();
                match self {
                    Self::$unset => {}
                    $( Self::$variant(value) => {
                        map.insert($json.to_owned(), $crate::message::Field::write(value));
                    } )*
                }
                serde_json::Value::Object(map)
            }
            fn is_default(&self) -> bool {
                matches!(self, Self::$unset)
            }
            fn shape() -> $crate::shape::Shape {
                $crate::shape::Shape::Message($crate::shape::MessageShape {
                    name: stringify!($Name),
                    slim: false,
                    fields: vec![$( $crate::shape::FieldShape {
                        name: $json.to_owned(),
                        shape: <$ty as $crate::message::Field>::shape(),
                        rules: vec![],
                    } ),*],
                    oneofs: vec![vec![$($json.to_owned()),*]],
                    rules: vec![],
                })
            }
        }

        $crate::define::serde_bridge!($Name);
    )*};
}

macro_rules! serde_bridge {
    ($Name:ident) => {
        impl serde::Serialize for $Name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serde::Serialize::serialize(&$crate::message::Field::write(self), serializer)
            }
        }
        impl<'de> serde::Deserialize<'de> for $Name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::message::strict(serde::Deserialize::deserialize(deserializer)?)
            }
        }
    };
}

macro_rules! is_slim {
    () => {
        false
    };
    (slim) => {
        true
    };
}

macro_rules! is_field {
    ($key:ident, $field:ident) => {
        $crate::shape::names(&$key, stringify!($field))
    };
    ($key:ident, $field:ident, $json:literal) => {
        $key == $json
    };
}

macro_rules! json_field {
    ($field:ident) => {
        $crate::shape::json_name(stringify!($field))
    };
    ($field:ident, $json:literal) => {
        String::from($json)
    };
}

macro_rules! field_name {
    ($field:ident) => {
        stringify!($field)
    };
}

pub(crate) use {choice, field_name, is_field, is_slim, json_field, message, one_of, serde_bridge};

pub(crate) fn at_most_one(set: &[&str], cx: &mut Reader) {
    if set.len() > 1 {
        let names: Vec<String> = set.iter().map(|s| crate::shape::json_name(s)).collect();
        let list = names.join(", ");
        cx.fault(
            FaultKind::OneOf,
            format!("only one of {list} may be set"),
            format!("keep one of {list}"),
        );
    }
}

pub(crate) fn bad_enum(got: &str, names: &[&str], cx: &mut Reader) {
    let short: String = got.chars().take(60).collect();
    let help = match nearest(got, names) {
        Some(near) => format!("did you mean {near}? one of {}", names.join(", ")),
        None => format!("use one of {}", names.join(", ")),
    };
    cx.fault(
        FaultKind::Enum,
        format!("unsupported value \"{short}\""),
        help,
    );
}
