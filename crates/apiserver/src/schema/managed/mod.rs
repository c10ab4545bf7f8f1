//! Who owns which field: server-side apply and `metadata.managedFields`.
//!
//! Follows `sigs.k8s.io/structured-merge-diff` and `k8s.io/apimachinery/pkg/util/managedfields`.

mod fields;
mod place;
mod walk;

use serde_json::{Map, Value, json};

use super::SchemaRef;
use super::ir::{Schemas, Ty, text};
use fields::Fields;
use place::Place;

/// The manager that is said to have written what was there before the first apply.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";
/// The manager that the oldest writers become when there are more than [`UPDATERS`].
const ANCIENT: &str = "ancient-changes";
const UPDATERS: usize = 10;
/// kubectl's manager for server-side apply, and where its client-side apply keeps what it applied.
const KUBECTL: &str = "kubectl";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Fields that nobody owns: they identify the object or belong to the server.
const UNOWNED: &[&[&str]] = &[
    &["f:apiVersion"],
    &["f:kind"],
    &["f:metadata"],
    &["f:metadata", "f:name"],
    &["f:metadata", "f:namespace"],
    &["f:metadata", "f:creationTimestamp"],
    &["f:metadata", "f:selfLink"],
    &["f:metadata", "f:uid"],
    &["f:metadata", "f:generation"],
    &["f:metadata", "f:managedFields"],
    &["f:metadata", "f:resourceVersion"],
];

/// One field that an apply would take from another manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// As the cause's message: `conflict with "manager"` and details.
    pub message: String,
    /// The path, such as `.data.k`.
    pub field: String,
}

/// The sentence for a 409 `Status` about these conflicts.
pub fn conflict_summary(conflicts: &[Conflict]) -> String {
    if let [one] = conflicts {
        return format!(
            "Apply failed with 1 conflict: {}: {}",
            one.message, one.field
        );
    }
    let mut lines: Vec<String> = Vec::new();
    let mut last = "";
    for conflict in conflicts {
        if conflict.message != last {
            lines.push(format!(
                "{}:",
                conflict
                    .message
                    .replacen("conflict with", "conflicts with", 1)
            ));
            last = &conflict.message;
        }
        lines.push(format!("- {}", conflict.field));
    }
    format!(
        "Apply failed with {} conflicts: {}",
        conflicts.len(),
        lines.join("\n")
    )
}

/// Why an apply is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyError {
    /// Others own the fields and the apply was not forced: 409.
    Conflicts(Vec<Conflict>),
    /// The applied object does not fit its schema: 400 with this message.
    Malformed(String),
}

/// Who writes, and when.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    pub manager: &'a str,
    /// Empty for the object itself.
    pub subresource: &'a str,
    /// RFC 3339 with seconds, as in `metadata`.
    pub now: &'a str,
}

/// One entry of `managedFields`.
#[derive(Clone, Debug)]
struct Entry {
    manager: String,
    operation: Operation,
    api_version: String,
    subresource: String,
    time: String,
    fields: Fields,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Operation {
    Apply,
    Update,
}

impl Entry {
    fn of(writer: Writer<'_>, operation: Operation, object: &Value, fields: Fields) -> Entry {
        Entry {
            manager: writer.manager.to_owned(),
            operation,
            api_version: text(object, &["apiVersion"]).to_owned(),
            subresource: writer.subresource.to_owned(),
            time: writer.now.to_owned(),
            fields,
        }
    }

    /// The same manager doing the same thing; appliers are the same in every version.
    fn is_same(&self, other: &Entry) -> bool {
        let version = self.operation == Operation::Apply || self.api_version == other.api_version;
        version
            && self.manager == other.manager
            && self.operation == other.operation
            && self.subresource == other.subresource
    }

    fn read(value: &Value) -> Option<Entry> {
        let operation = match text(value, &["operation"]) {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return None,
        };
        Some(Entry {
            manager: text(value, &["manager"]).to_owned(),
            operation,
            api_version: text(value, &["apiVersion"]).to_owned(),
            subresource: text(value, &["subresource"]).to_owned(),
            time: text(value, &["time"]).to_owned(),
            fields: Fields::read(value.get("fieldsV1")?),
        })
    }

    fn write(&self) -> Value {
        let mut map = Map::new();
        map.insert("manager".to_owned(), self.manager.as_str().into());
        let operation = if self.operation == Operation::Apply {
            "Apply"
        } else {
            "Update"
        };
        map.insert("operation".to_owned(), operation.into());
        map.insert("apiVersion".to_owned(), self.api_version.as_str().into());
        if !self.time.is_empty() {
            map.insert("time".to_owned(), self.time.as_str().into());
        }
        map.insert("fieldsType".to_owned(), "FieldsV1".into());
        map.insert("fieldsV1".to_owned(), self.fields.write());
        if !self.subresource.is_empty() {
            map.insert("subresource".to_owned(), self.subresource.as_str().into());
        }
        Value::Object(map)
    }

    fn conflict(&self) -> String {
        let mut message = format!("conflict with {:?}", self.manager);
        if !self.subresource.is_empty() {
            message.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if self.operation == Operation::Update {
            message.push_str(&format!(" using {}", self.api_version));
        }
        message
    }
}

/// Merges an applied configuration into the live object, tracking ownership.
pub fn apply(
    schema: SchemaRef<'_>,
    live: Option<&Value>,
    applied: &Value,
    writer: Writer<'_>,
    force: bool,
) -> Result<Value, ApplyError> {
    let place = Place::of(schema);
    let mut applied = without_entries(applied);
    if let SchemaRef::Builtin(ty) = schema {
        Schemas::builtin().canonical_quantities(&Ty::Ref(ty.0), &mut applied, 0);
    }
    let mut entries = live.map(read_entries).unwrap_or_default();
    let before = live.map_or_else(|| json!({}), without_entries);
    if let (true, Some(_)) = (entries.is_empty(), live) {
        let first = Writer {
            manager: BEFORE_FIRST_APPLY,
            subresource: "",
            ..writer
        };
        record(place, &json!({}), &before, &mut entries, first);
    }
    let config = walk::fields_of(place, &applied).map_err(ApplyError::Malformed)?;
    let entry = Entry::of(writer, Operation::Apply, &applied, config);
    let previous = entries
        .iter()
        .position(|e| e.is_same(&entry))
        .map(|at| entries.remove(at));
    let mut object =
        walk::merge(place, live.map(|_| &before), &applied).map_err(ApplyError::Malformed)?;
    if let Some(previous) = &previous {
        let mut owned = entry.fields.clone();
        entries.iter().for_each(|e| owned.union(&e.fields));
        walk::remove_abandoned(place, &mut object, &previous.fields, &owned);
    }
    let comparison = walk::compare(place, &before, &object);
    let mut touched = comparison.modified;
    touched.union(&comparison.added);
    let mut conflicts = Vec::new();
    let mut disputed = Fields::default();
    for other in &mut entries {
        let taken = other.fields.intersection(&touched);
        disputed.union(&taken);
        let message = other.conflict();
        conflicts.extend(taken.paths().into_iter().map(|field| Conflict {
            message: message.clone(),
            field,
        }));
        other.fields.subtract(&taken);
        other.fields.subtract(&comparison.removed);
    }
    if writer.manager == KUBECTL {
        disputed.subtract(&applied_before(schema, &before));
    }
    if !force && !disputed.is_empty() {
        conflicts.sort_by(|a, b| (&a.message, &a.field).cmp(&(&b.message, &b.field)));
        return Err(ApplyError::Conflicts(conflicts));
    }
    let unchanged = previous.filter(|p| object == before && !p.time.is_empty());
    let time = unchanged.map_or_else(|| writer.now.to_owned(), |p| p.time);
    entries.push(Entry { time, ..entry });
    if let SchemaRef::Builtin(ty) = schema {
        Schemas::builtin().drop_empty(ty.0, &mut object);
    }
    write_entries(&mut object, entries);
    Ok(object)
}

/// What kubectl applied from the client's side and is still so: it may take that over when it turns to the server's side.
fn applied_before(schema: SchemaRef<'_>, live: &Value) -> Fields {
    let annotation = text(live, &["metadata", "annotations", LAST_APPLIED]);
    let Ok(mut last) = serde_json::from_str::<Value>(annotation) else {
        return Fields::default();
    };
    if let SchemaRef::Builtin(ty) = schema {
        Schemas::builtin().canonical_quantities(&Ty::Ref(ty.0), &mut last, 0);
    }
    let place = Place::of(schema);
    let mut fields = walk::fields_of(place, &last).unwrap_or_default();
    let comparison = walk::compare(place, &last, live);
    for changed in [&comparison.modified, &comparison.added, &comparison.removed] {
        fields.subtract(changed);
    }
    fields
}

/// Records in `after` who wrote what differs from `before`: any write that is not an apply.
pub fn update(
    schema: SchemaRef<'_>,
    before: Option<&Value>,
    after: &mut Value,
    writer: Writer<'_>,
) {
    let live = || before.map(read_entries).unwrap_or_default();
    let given = after
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array);
    let reset =
        given.is_some_and(|list| matches!(list.as_slice(), [Value::Object(one)] if one.is_empty()));
    let mut entries = match read_entries(after) {
        _ if reset => Vec::new(),
        // Clients that do not know the field do not lose it, and subresources cannot change it.
        given if given.is_empty() || !writer.subresource.is_empty() => live(),
        given => given,
    };
    let old = before.map_or_else(|| json!({}), without_entries);
    let new = without_entries(after);
    record(Place::of(schema), &old, &new, &mut entries, writer);
    write_entries(after, entries);
}

/// Gives the writer what differs and takes it from the others.
fn record(
    place: Place<'_>,
    before: &Value,
    after: &Value,
    entries: &mut Vec<Entry>,
    writer: Writer<'_>,
) {
    let comparison = walk::compare(place, before, after);
    let mut taken = comparison.modified;
    taken.union(&comparison.added);
    for entry in entries.iter_mut() {
        entry.fields.subtract(&taken);
        entry.fields.subtract(&comparison.removed);
    }
    strip(&mut taken);
    if taken.is_empty() {
        return;
    }
    let mut entry = Entry::of(writer, Operation::Update, after, taken);
    if let Some(at) = entries.iter().position(|e| e.is_same(&entry)) {
        entry.fields.union(&entries.remove(at).fields);
    }
    entries.push(entry);
    cap(entries);
}

/// Bounds the number of updaters by merging the oldest.
fn cap(entries: &mut Vec<Entry>) {
    while entries
        .iter()
        .filter(|e| e.operation == Operation::Update)
        .count()
        > UPDATERS
    {
        let updaters = entries
            .iter()
            .enumerate()
            .filter(|(_, e)| e.operation == Operation::Update && e.manager != ANCIENT);
        let Some(oldest) = updaters
            .min_by(|a, b| a.1.time.cmp(&b.1.time))
            .map(|(at, _)| at)
        else {
            return;
        };
        let mut entry = entries.remove(oldest);
        entry.manager = ANCIENT.to_owned();
        match entries.iter_mut().find(|e| e.is_same(&entry)) {
            Some(ancient) => ancient.fields.union(&entry.fields),
            None => entries.push(entry),
        }
    }
}

fn strip(fields: &mut Fields) {
    UNOWNED.iter().for_each(|path| fields.remove(path));
}

fn read_entries(object: &Value) -> Vec<Entry> {
    let list = object
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array);
    let entries: Option<Vec<Entry>> = list.into_iter().flatten().map(Entry::read).collect();
    entries.unwrap_or_default()
}

fn without_entries(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    object
}

fn write_entries(object: &mut Value, mut entries: Vec<Entry>) {
    entries.iter_mut().for_each(|e| strip(&mut e.fields));
    entries.retain(|e| !e.fields.is_empty());
    entries.sort_by(|a, b| {
        let order = |e: &Entry| {
            (
                e.operation,
                e.time.clone(),
                e.manager.clone(),
                e.api_version.clone(),
                e.subresource.clone(),
            )
        };
        order(a).cmp(&order(b))
    });
    let Some(map) = object.as_object_mut() else {
        return;
    };
    let metadata = map.entry("metadata").or_insert_with(|| json!({}));
    let Some(metadata) = metadata.as_object_mut() else {
        return;
    };
    if entries.is_empty() {
        metadata.remove("managedFields");
    } else {
        metadata.insert(
            "managedFields".to_owned(),
            entries.iter().map(Entry::write).collect(),
        );
    }
}
