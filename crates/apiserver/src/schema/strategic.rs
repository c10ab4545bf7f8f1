//! Strategic merge patches: lists merge by the key that their field declares, and `$` directives steer the rest.
//!
//! Follows `k8s.io/apimachinery/pkg/util/strategicpatch`, order of lists included.

use serde_json::{Map, Value};

use super::ir::{Field, Schemas, Ty};
use super::{KindRef, PatchError};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";
const DELETE_PRIMITIVES: &str = "$deleteFromPrimitiveList/";
const DEPTH: usize = 128;

type Object = Map<String, Value>;

fn malformed<T>(message: impl Into<String>) -> Result<T, PatchError> {
    Err(PatchError::Malformed(message.into()))
}

impl Schemas {
    /// `live` with a strategic merge patch applied.
    pub fn strategic_merge(
        &self,
        kind: KindRef<'_>,
        live: &Value,
        patch: &Value,
    ) -> Result<Value, PatchError> {
        let Some(id) = self.kind(kind) else {
            return Err(PatchError::UnknownKind(kind.kind.to_owned()));
        };
        let (Value::Object(live), Value::Object(patch)) = (live, patch) else {
            return malformed("a strategic merge patch is an object and patches one");
        };
        let merger = Merger { schemas: self };
        merger
            .maps(live.clone(), patch.clone(), Some(&Ty::Ref(id)), 0)
            .map(Value::Object)
    }
}

struct Merger<'a> {
    schemas: &'a Schemas,
}

impl<'a> Merger<'a> {
    fn field(&self, ty: Option<&Ty>, name: &str) -> Option<&'a Field> {
        self.schemas.field(ty?, name)
    }

    fn child<'b>(&self, ty: Option<&'b Ty>, name: &str) -> Option<&'b Ty>
    where
        'a: 'b,
    {
        match ty? {
            Ty::Map(item) => Some(item),
            ty => self.schemas.field(ty, name).map(|f| &f.ty),
        }
    }

    fn maps(
        &self,
        mut live: Object,
        mut patch: Object,
        ty: Option<&Ty>,
        depth: usize,
    ) -> Result<Object, PatchError> {
        if depth > DEPTH {
            return malformed("the patch is nested too deeply");
        }
        if let Some(directive) = patch.remove(PATCH) {
            match directive.as_str() {
                Some("replace") => return Ok(without_nulls(patch)),
                Some("delete") => return Ok(Object::new()),
                Some("merge") => {}
                _ => return malformed(format!("Unknown patch type found: {}", plain(&directive))),
            }
        }
        if let Some(keys) = patch.remove(RETAIN_KEYS) {
            let Some(keys) = keys.as_array() else {
                return malformed("invalid patch format of $retainKeys: not a list");
            };
            let keys: Vec<&str> = keys.iter().filter_map(Value::as_str).collect();
            if let Some(extra) = patch
                .iter()
                .find(|(k, v)| !v.is_null() && !k.starts_with('$') && !keys.contains(&k.as_str()))
            {
                return malformed(format!(
                    "patch contains {:?}, which $retainKeys does not list",
                    extra.0
                ));
            }
            live.retain(|name, _| keys.contains(&name.as_str()));
        }
        let ordered: Vec<String> = patch
            .keys()
            .filter_map(|k| k.strip_prefix(ORDER))
            .map(str::to_owned)
            .collect();
        for name in ordered {
            let order = patch.remove(&format!("{ORDER}{name}"));
            self.ordered_list(&mut live, &mut patch, &name, order, ty, depth)?;
        }
        for (name, value) in patch {
            if let Some(list) = name.strip_prefix(DELETE_PRIMITIVES) {
                let Value::Array(gone) = value else {
                    return malformed(format!("{name} is not a list"));
                };
                if let Some(Value::Array(items)) = live.get_mut(list) {
                    items.retain(|item| !gone.contains(item));
                }
            } else if value.is_null() {
                live.remove(&name);
            } else {
                let before = live.remove(&name);
                let merged = self.value(
                    before,
                    value,
                    self.field(ty, &name),
                    self.child(ty, &name),
                    depth,
                )?;
                live.insert(name, merged);
            }
        }
        Ok(live)
    }

    fn value(
        &self,
        live: Option<Value>,
        patch: Value,
        field: Option<&Field>,
        ty: Option<&Ty>,
        depth: usize,
    ) -> Result<Value, PatchError> {
        match (live, patch) {
            (Some(Value::Object(live)), Value::Object(patch)) => {
                self.maps(live, patch, ty, depth + 1).map(Value::Object)
            }
            (_, Value::Object(patch)) => self
                .maps(Object::new(), patch, ty, depth + 1)
                .map(Value::Object),
            (live, Value::Array(patch)) => {
                let live = match live {
                    Some(Value::Array(live)) => live,
                    _ => Vec::new(),
                };
                self.lists(live, patch, field, ty, depth).map(Value::Array)
            }
            (_, patch) => Ok(patch),
        }
    }

    fn lists(
        &self,
        live: Vec<Value>,
        patch: Vec<Value>,
        field: Option<&Field>,
        ty: Option<&Ty>,
        depth: usize,
    ) -> Result<Vec<Value>, PatchError> {
        if !field.is_some_and(|f| f.patch_merge) {
            return Ok(patch);
        }
        let key = field.and_then(|f| f.patch_key.as_deref());
        let order = patch.clone();
        let merged = match (key, ty) {
            (Some(key), Some(Ty::List(item))) => {
                self.keyed(live.clone(), patch, key, item, depth)?
            }
            _ => {
                let mut merged = live.clone();
                merged.extend(patch);
                without_repetitions(merged)
            }
        };
        Ok(arrange(merged, &order, &live, key))
    }

    /// Lists of maps that a field of each item tells apart.
    fn keyed(
        &self,
        live: Vec<Value>,
        patch: Vec<Value>,
        key: &str,
        item: &Ty,
        depth: usize,
    ) -> Result<Vec<Value>, PatchError> {
        let mut merged = live;
        let mut replace = false;
        let mut wanted = Vec::new();
        for value in patch {
            let Value::Object(mut value) = value else {
                return malformed("a list of objects is patched with another value");
            };
            match value
                .remove(PATCH)
                .as_ref()
                .map(|d| d.as_str().unwrap_or_default().to_owned())
                .as_deref()
            {
                None => wanted.push(value),
                Some("delete") => {
                    let Some(id) = value.get(key) else {
                        return malformed(format!(
                            "map: {} does not contain declared merge key: {key}",
                            Value::Object(value)
                        ));
                    };
                    merged.retain(|m| m.get(key) != Some(id));
                }
                Some("replace") => replace = true,
                Some("merge") => {
                    return malformed("merging lists cannot yet be specified in the patch");
                }
                Some(other) => return malformed(format!("Unknown patch type found: {other}")),
            }
        }
        if replace {
            return Ok(wanted
                .into_iter()
                .map(|w| Value::Object(without_nulls(w)))
                .collect());
        }
        for value in wanted {
            let Some(id) = value.get(key).cloned() else {
                return malformed(format!(
                    "map: {} does not contain declared merge key: {key}",
                    Value::Object(value)
                ));
            };
            match merged.iter_mut().find(|m| m.get(key) == Some(&id)) {
                Some(slot) => {
                    let before = match slot.take() {
                        Value::Object(before) => before,
                        _ => Object::new(),
                    };
                    *slot = Value::Object(self.maps(before, value, Some(item), depth + 1)?);
                }
                None => merged.push(Value::Object(self.maps(
                    Object::new(),
                    value,
                    Some(item),
                    depth + 1,
                )?)),
            }
        }
        Ok(merged)
    }

    /// One list with a `$setElementOrder` directive.
    fn ordered_list(
        &self,
        live: &mut Object,
        patch: &mut Object,
        name: &str,
        order: Option<Value>,
        ty: Option<&Ty>,
        depth: usize,
    ) -> Result<(), PatchError> {
        let Some(Value::Array(order)) = order else {
            return malformed(format!("{ORDER}{name} is not a list"));
        };
        let field = self.field(ty, name);
        let before = match live.get(name) {
            Some(Value::Array(list)) => Some(list.clone()),
            _ => None,
        };
        let patched = match patch.get(name) {
            Some(Value::Array(_)) => patch.remove(name),
            _ => None,
        };
        let merged = match (before.clone(), patched) {
            (None, None) => return Ok(()),
            (before, Some(Value::Array(list))) => self.lists(
                before.unwrap_or_default(),
                list,
                field,
                self.child(ty, name),
                depth,
            )?,
            (before, _) => before.unwrap_or_default(),
        };
        let key = field.and_then(|f| f.patch_key.as_deref());
        live.insert(
            name.to_owned(),
            Value::Array(arrange(merged, &order, &before.unwrap_or_default(), key)),
        );
        Ok(())
    }
}

/// Items that the patch names come in the patch's order, the others in the server's; where the server does not know
/// how two of them compare, the patch's comes first.
fn arrange(merged: Vec<Value>, order: &[Value], server: &[Value], key: Option<&str>) -> Vec<Value> {
    let identity = |v: &Value| -> Value {
        match key {
            Some(key) => v.get(key).cloned().unwrap_or(Value::Null),
            None => v.clone(),
        }
    };
    let position = |list: &[Value], v: &Value| {
        let id = identity(v);
        list.iter().position(|o| identity(o) == id)
    };
    let (mut named, others): (Vec<Value>, Vec<Value>) = merged
        .into_iter()
        .partition(|v| position(order, v).is_some());
    named.sort_by_key(|v| position(order, v));
    let mut arranged = Vec::with_capacity(named.len() + others.len());
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    while let (Some(n), Some(o)) = (named.peek(), others.peek()) {
        let other_first =
            matches!((position(server, o), position(server, n)), (Some(o), Some(n)) if o < n);
        arranged.extend(if other_first {
            others.next()
        } else {
            named.next()
        });
    }
    arranged.extend(others);
    arranged.extend(named);
    arranged
}

fn without_repetitions(list: Vec<Value>) -> Vec<Value> {
    let mut unique: Vec<Value> = Vec::with_capacity(list.len());
    for item in list {
        if !unique.contains(&item) {
            unique.push(item);
        }
    }
    unique
}

fn without_nulls(map: Object) -> Object {
    map.into_iter().filter(|(_, v)| !v.is_null()).collect()
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}
