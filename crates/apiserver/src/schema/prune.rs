//! Reading JSON as the real server's typed decoding would: unknown fields dropped and reported, types checked.

use serde_json::{Map, Value};

use super::ir::{Schemas, Ty, TypeId};
use super::quantity::Quantity;
use super::{FieldIssue, KindRef};

/// Deeper values are left as they are; parsing has bounded the depth before.
const DEPTH: usize = 128;

impl Schemas {
    /// Drops the fields that the kind does not have and reports them. Also drops what typed decoding loses:
    /// nulls, and empty lists and maps of optional fields. An unknown kind is left alone.
    pub fn prune(&self, kind: KindRef<'_>, object: &mut Value) -> Vec<FieldIssue> {
        let mut issues = Vec::new();
        if let Some(id) = self.kind(kind) {
            self.prune_struct(id, object, &mut String::new(), &mut issues, 0);
        }
        issues
    }

    /// Drops nulls and empty optional lists and maps, as typed encoding does.
    pub(crate) fn drop_empty(&self, id: TypeId, object: &mut Value) {
        self.prune_struct(id, object, &mut String::new(), &mut Vec::new(), 0);
    }

    /// Writes quantities in their canonical form, so that equal ones do not differ.
    pub(crate) fn canonical_quantities(&self, ty: &Ty, value: &mut Value, depth: usize) {
        match (ty, value) {
            _ if depth > DEPTH => {}
            (Ty::Quantity, value) => canonical(value),
            (Ty::Ref(id), Value::Object(map)) => {
                for (name, value) in map {
                    if let Some(field) = self.get(*id).and_then(|ty| ty.fields.get(name)) {
                        self.canonical_quantities(&field.ty, value, depth + 1);
                    }
                }
            }
            (Ty::List(item), Value::Array(list)) => {
                list.iter_mut()
                    .for_each(|value| self.canonical_quantities(item, value, depth + 1));
            }
            (Ty::Map(item), Value::Object(map)) => {
                map.values_mut()
                    .for_each(|value| self.canonical_quantities(item, value, depth + 1));
            }
            _ => {}
        }
    }

    /// Prunes only `metadata`, which every kind has.
    pub(crate) fn prune_metadata(&self, object: &mut Value, issues: &mut Vec<FieldIssue>) {
        let id = self.named("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
        if let (Some(id), Some(metadata)) = (id, object.get_mut("metadata")) {
            self.prune_struct(id, metadata, &mut "metadata".to_owned(), issues, 0);
        }
    }

    fn prune_struct(
        &self,
        id: TypeId,
        value: &mut Value,
        path: &mut String,
        issues: &mut Vec<FieldIssue>,
        depth: usize,
    ) {
        let (Some(ty), Some(map)) = (self.get(id), value.as_object_mut()) else {
            return;
        };
        let taken = std::mem::take(map);
        for (name, mut inner) in taken {
            let length = path.len();
            if length > 0 {
                path.push('.');
            }
            path.push_str(&name);
            match ty.fields.get(&name) {
                None => issues.push(FieldIssue::Unknown { path: path.clone() }),
                Some(_) if inner.is_null() => {}
                Some(field) => {
                    if depth < DEPTH {
                        self.prune_value(&field.ty, &mut inner, path, issues, depth + 1);
                    }
                    if field.required || !is_empty_collection(&field.ty, &inner) {
                        map.insert(name, inner);
                    }
                }
            }
            path.truncate(length);
        }
    }

    fn prune_value(
        &self,
        ty: &Ty,
        value: &mut Value,
        path: &mut String,
        issues: &mut Vec<FieldIssue>,
        depth: usize,
    ) {
        match ty {
            Ty::Ref(id) => self.prune_struct(*id, value, path, issues, depth),
            Ty::Quantity => canonical(value),
            Ty::List(item) if has_structs(item) => {
                for (i, value) in value.as_array_mut().into_iter().flatten().enumerate() {
                    let length = path.len();
                    path.push_str(&format!("[{i}]"));
                    self.prune_value(item, value, path, issues, depth + 1);
                    path.truncate(length);
                }
            }
            Ty::Map(item) if has_structs(item) => {
                for (name, value) in value.as_object_mut().into_iter().flatten() {
                    let length = path.len();
                    path.push('.');
                    path.push_str(name);
                    self.prune_value(item, value, path, issues, depth + 1);
                    path.truncate(length);
                }
            }
            Ty::Map(item) if **item == Ty::String => {
                // A null in a map of strings is its zero value.
                for value in value
                    .as_object_mut()
                    .into_iter()
                    .flat_map(Map::values_mut)
                    .filter(|v| v.is_null())
                {
                    *value = Value::String(String::new());
                }
            }
            _ => {}
        }
    }

    /// The first value whose JSON type does not fit, in the words of Go's decoder; the answer to it is 400
    /// `… cannot be handled as a KIND: MESSAGE`.
    pub fn type_error(&self, kind: KindRef<'_>, object: &Value) -> Option<String> {
        let id = self.kind(kind)?;
        self.misfit(&Ty::Ref(id), object, &mut String::new(), 0)
    }

    fn misfit(&self, ty: &Ty, value: &Value, path: &mut String, depth: usize) -> Option<String> {
        if depth > DEPTH || value.is_null() {
            return None;
        }
        let wrong = |go: &str, path: &str| {
            Some(format!(
                "json: cannot unmarshal {} into Go struct field {path} of type {go}",
                json_kind(value)
            ))
        };
        let whole = |min: i64, max: i64| value.as_i64().is_some_and(|n| n >= min && n <= max);
        match ty {
            Ty::String => if value.is_string() { None } else { wrong("string", path) },
            Ty::Bool => if value.is_boolean() { None } else { wrong("bool", path) },
            Ty::Int32 => if whole(i32::MIN.into(), i32::MAX.into()) { None } else { wrong("int32", path) },
            Ty::Int64 => if whole(i64::MIN, i64::MAX) { None } else { wrong("int64", path) },
            Ty::Double => if value.is_number() { None } else { wrong("float64", path) },
            Ty::Bytes => match value.as_str() {
                None => wrong("[]uint8", path),
                Some(text) => {
                    use base64::Engine;
                    let data = base64::engine::general_purpose::STANDARD.decode(text);
                    data.err().map(|e| match e {
                        base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => {
                            format!("illegal base64 data at input byte {at}")
                        }
                        _ => format!("illegal base64 data at input byte {}", text.len().saturating_sub(1)),
                    })
                }
            },
            Ty::Time | Ty::MicroTime => match value.as_str() {
                None => wrong("string", path),
                Some(text) => super::protobuf::parse_time(text).is_none().then(|| {
                    format!("parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse it")
                }),
            },
            Ty::Quantity => match value {
                Value::Number(_) => None,
                Value::String(text) if Quantity::parse(text).is_some() => None,
                Value::String(_) => {
                    Some("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'".to_owned())
                }
                _ => wrong("resource.Quantity", path),
            },
            Ty::IntOrString => {
                if value.is_string() || whole(i32::MIN.into(), i32::MAX.into()) { None } else { wrong("int32", path) }
            }
            Ty::Any | Ty::SchemaOrBool | Ty::SchemaOrArray | Ty::SchemaOrStrings => None,
            Ty::Ref(id) => {
                let ty = self.get(*id)?;
                let short = ty.name.rsplit('.').next().unwrap_or_default();
                let Some(map) = value.as_object() else { return wrong(&format!("v1.{short}"), path) };
                map.iter().find_map(|(name, value)| {
                    let field = ty.fields.get(name)?;
                    let length = path.len();
                    if length == 0 {
                        path.push_str(short);
                    }
                    path.push('.');
                    path.push_str(name);
                    let found = self.misfit(&field.ty, value, path, depth + 1);
                    path.truncate(length);
                    found
                })
            }
            Ty::List(item) => match value.as_array() {
                None => wrong(&format!("[]{}", self.go_name(item)), path),
                Some(list) => list.iter().find_map(|value| self.misfit(item, value, path, depth + 1)),
            },
            Ty::Map(item) => match value.as_object() {
                None => wrong(&format!("map[string]{}", self.go_name(item)), path),
                Some(map) => map.values().find_map(|value| self.misfit(item, value, path, depth + 1)),
            },
        }
    }

    fn go_name(&self, ty: &Ty) -> String {
        match ty {
            Ty::String => "string".to_owned(),
            Ty::Bool => "bool".to_owned(),
            Ty::Int32 => "int32".to_owned(),
            Ty::Int64 => "int64".to_owned(),
            Ty::Bytes => "[]uint8".to_owned(),
            Ty::Quantity => "resource.Quantity".to_owned(),
            Ty::List(item) => format!("[]{}", self.go_name(item)),
            Ty::Ref(id) => {
                let name = self.get(*id).map(|t| t.name.as_str()).unwrap_or_default();
                format!("v1.{}", name.rsplit('.').next().unwrap_or_default())
            }
            _ => "interface {}".to_owned(),
        }
    }
}

/// Writes a quantity in its canonical form.
fn canonical(value: &mut Value) {
    let quantity = match &*value {
        Value::String(text) => Quantity::parse(text),
        Value::Number(number) => Quantity::parse(&number.to_string()),
        _ => None,
    };
    if let Some(quantity) = quantity {
        *value = Value::String(quantity.canonical());
    }
}

fn json_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn is_empty_collection(ty: &Ty, value: &Value) -> bool {
    match (ty, value) {
        (Ty::List(_), Value::Array(list)) => list.is_empty(),
        (Ty::Map(_), Value::Object(map)) => map.is_empty(),
        _ => false,
    }
}

fn has_structs(ty: &Ty) -> bool {
    match ty {
        Ty::Ref(_) | Ty::Quantity => true,
        Ty::List(item) | Ty::Map(item) => has_structs(item),
        _ => false,
    }
}
