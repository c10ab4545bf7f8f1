//! Walking objects by their schema: which fields there are, what differs, and merging.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::fields::{Fields, field};
use super::place::{Place, Shape, steps};

/// Which fields an applied configuration has. Lists must have distinguishable items.
pub(super) fn fields_of(place: Place<'_>, value: &Value) -> Result<Fields, String> {
    let mut fields = Fields::default();
    match (place.shape(Some(value)), value) {
        (Shape::Map, Value::Object(map)) => {
            for (name, value) in map {
                let member = place.member(name);
                let mut below =
                    fields_of(member.place, value).map_err(|e| format!(".{name}{e}"))?;
                let empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                below.member |= empty || !member.declared;
                fields.below.insert(field(name), below);
            }
        }
        (shape @ (Shape::Set | Shape::Keyed(_)), Value::Array(list)) => {
            for (step, item) in steps(place, &shape, list).map_err(|e| format!(": {e}"))? {
                let mut below = fields_of(place.item(), item)?;
                below.member = true;
                if fields.below.insert(step.clone(), below).is_some() {
                    return Err(format!(
                        ": duplicate entries for key {}",
                        step.get(2..).unwrap_or_default()
                    ));
                }
            }
        }
        _ => fields.member = true,
    }
    Ok(fields)
}

/// What differs between two objects.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub added: Fields,
    pub modified: Fields,
    pub removed: Fields,
}

pub(super) fn compare(place: Place<'_>, before: &Value, after: &Value) -> Comparison {
    let mut comparison = Comparison::default();
    Comparer {
        path: Vec::new(),
        out: &mut comparison,
    }
    .value(place, Some(before), Some(after));
    comparison
}

struct Comparer<'a> {
    path: Vec<String>,
    out: &'a mut Comparison,
}

fn is_blank(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Array(list)) => list.is_empty(),
        Some(Value::Object(map)) => map.is_empty(),
        Some(_) => false,
    }
}

impl Comparer<'_> {
    fn value(&mut self, place: Place<'_>, before: Option<&Value>, after: Option<&Value>) {
        let shape = place.shape(after.filter(|v| !v.is_null()).or(before));
        // A value that changes between a list or map and something else changes as a whole.
        let same_kind = match (before, after) {
            (Some(b), Some(a)) => {
                b.is_null()
                    || a.is_null()
                    || b.is_object() == a.is_object() && b.is_array() == a.is_array()
            }
            _ => true,
        };
        if is_blank(before) && is_blank(after) || !same_kind {
            return self.leaf(before, after);
        }
        match shape {
            Shape::Leaf => return self.leaf(before, after),
            Shape::Map => self.members(place, before, after),
            Shape::Set | Shape::Keyed(_) => {
                let items = |v: Option<&Value>| -> Vec<(String, Value)> {
                    let list = v
                        .and_then(Value::as_array)
                        .map(Vec::as_slice)
                        .unwrap_or_default();
                    let steps = steps(place, &shape, list).unwrap_or_default();
                    steps
                        .into_iter()
                        .map(|(step, item)| (step, item.clone()))
                        .collect()
                };
                let (old, new) = (items(before), items(after));
                let old: BTreeMap<String, Value> = old.into_iter().collect();
                let new: BTreeMap<String, Value> = new.into_iter().collect();
                let all: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
                for step in all {
                    self.path.push(step.clone());
                    self.value(place.item(), old.get(step), new.get(step));
                    self.path.pop();
                }
            }
        }
        if before.is_none() {
            self.out.added.insert(&self.path);
        }
        if after.is_none() {
            self.out.removed.insert(&self.path);
        }
    }

    fn members(&mut self, place: Place<'_>, before: Option<&Value>, after: Option<&Value>) {
        let (old, new) = (
            before.and_then(Value::as_object),
            after.and_then(Value::as_object),
        );
        let names = |map: Option<&Map<String, Value>>| -> BTreeSet<String> {
            map.into_iter().flat_map(Map::keys).cloned().collect()
        };
        for name in names(old).union(&names(new)) {
            let member = place.member(name);
            let null = Value::Null;
            let (mut b, mut a) = (old.and_then(|m| m.get(name)), new.and_then(|m| m.get(name)));
            if member.implied {
                b = b.or(before.map(|_| &null));
                a = a.or(after.map(|_| &null));
            }
            self.path.push(field(name));
            self.value(member.place, b, a);
            self.path.pop();
        }
    }

    fn leaf(&mut self, before: Option<&Value>, after: Option<&Value>) {
        match (before, after) {
            (None, Some(_)) => self.out.added.insert(&self.path),
            (Some(_), None) => self.out.removed.insert(&self.path),
            (Some(b), Some(a)) if b != a => self.out.modified.insert(&self.path),
            _ => {}
        }
    }
}

/// `live` with what `applied` says laid over it.
pub(super) fn merge(
    place: Place<'_>,
    live: Option<&Value>,
    applied: &Value,
) -> Result<Value, String> {
    match (place.shape(Some(applied)), live, applied) {
        (Shape::Map, live, Value::Object(applied)) => {
            let mut merged = live.and_then(Value::as_object).cloned().unwrap_or_default();
            for (name, value) in applied {
                let value = merge(place.member(name).place, merged.get(name), value)?;
                merged.insert(name.clone(), value);
            }
            Ok(Value::Object(merged))
        }
        (
            shape @ (Shape::Set | Shape::Keyed(_)),
            Some(Value::Array(live)),
            Value::Array(applied),
        ) => {
            let (left, right) = (steps(place, &shape, live)?, steps(place, &shape, applied)?);
            let old: BTreeMap<&String, &Value> =
                left.iter().map(|(step, item)| (step, *item)).collect();
            let wanted: BTreeSet<&String> = right.iter().map(|(step, _)| step).collect();
            let mut merged = Vec::with_capacity(left.len() + right.len());
            let mut done = BTreeSet::new();
            let mut right = right.iter();
            let mut take =
                |done: &mut BTreeSet<String>, merged: &mut Vec<Value>| -> Result<bool, String> {
                    let Some((step, item)) = right.next() else {
                        return Ok(false);
                    };
                    merged.push(merge(place.item(), old.get(step).copied(), item)?);
                    done.insert(step.clone());
                    Ok(true)
                };
            // The applied order counts; what only the server has stays where it was beside its neighbours.
            for (step, item) in &left {
                if !wanted.contains(step) {
                    merged.push((*item).clone());
                }
                while wanted.contains(step) && !done.contains(step) {
                    if !take(&mut done, &mut merged)? {
                        break;
                    }
                }
            }
            while take(&mut done, &mut merged)? {}
            Ok(Value::Array(merged))
        }
        _ => Ok(applied.clone()),
    }
}

/// Removes from `value` what `before` had (its manager applied it earlier) and nobody in `owned` has any more.
pub(super) fn remove_abandoned(
    place: Place<'_>,
    value: &mut Value,
    before: &Fields,
    owned: &Fields,
) {
    let shape = place.shape(Some(value));
    let goes = |step: &String, declared: bool| {
        // A struct's own fields count as had when anything below them is.
        let had = before
            .below
            .get(step)
            .is_some_and(|had| had.member || declared && had.has_members_below());
        had && owned.below.get(step).is_none_or(Fields::is_empty)
    };
    let none = Fields::default();
    let below = |step: &String| {
        Some((
            before.below.get(step)?,
            owned.below.get(step).unwrap_or(&none),
        ))
    };
    match (shape, value) {
        (Shape::Map, Value::Object(map)) => {
            let names: Vec<String> = map.keys().cloned().collect();
            for name in names {
                let member = place.member(&name);
                let step = field(&name);
                if goes(&step, member.declared) {
                    map.remove(&name);
                } else if let (Some((had, kept)), Some(inner)) = (below(&step), map.get_mut(&name))
                {
                    remove_abandoned(member.place, inner, had, kept);
                }
            }
        }
        (shape @ (Shape::Set | Shape::Keyed(_)), Value::Array(list)) => {
            let Ok(found) = steps(place, &shape, list) else {
                return;
            };
            let found: Vec<String> = found.into_iter().map(|(step, _)| step).collect();
            let mut at = found.iter();
            list.retain(|_| at.next().is_none_or(|step| !goes(step, false)));
            let mut at = found.iter().filter(|step| !goes(step, false));
            for item in list {
                if let Some((had, kept)) = at.next().and_then(below) {
                    remove_abandoned(place.item(), item, had, kept);
                }
            }
        }
        _ => {}
    }
}
