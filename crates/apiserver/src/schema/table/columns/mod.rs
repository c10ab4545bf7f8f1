//! Which columns each kind's table has.

mod resources;
mod workloads;

use super::META;
use crate::schema::KindRef;

/// Where a column's description comes from.
#[derive(Clone, Copy)]
pub(super) enum Doc {
    Text(&'static str),
    /// A field's own description: type and field.
    Field(&'static str, &'static str),
}

#[derive(Clone, Copy)]
pub(super) struct Column {
    pub name: &'static str,
    pub ty: &'static str,
    pub format: &'static str,
    /// Zero is always shown, one only with `-o wide`.
    pub priority: u8,
    pub doc: Doc,
}

const fn column(name: &'static str, ty: &'static str, priority: u8, doc: Doc) -> Column {
    Column {
        name,
        ty,
        format: "",
        priority,
        doc,
    }
}

const fn s(name: &'static str, doc: &'static str) -> Column {
    column(name, "string", 0, Doc::Text(doc))
}

const fn wide(name: &'static str, doc: &'static str) -> Column {
    column(name, "string", 1, Doc::Text(doc))
}

const fn i(name: &'static str, doc: &'static str) -> Column {
    column(name, "integer", 0, Doc::Text(doc))
}

const fn f(name: &'static str, ty: &'static str, field: &'static str) -> Column {
    column(name, "string", 0, Doc::Field(ty, field))
}

const fn wide_field(name: &'static str, ty: &'static str, field: &'static str) -> Column {
    column(name, "string", 1, Doc::Field(ty, field))
}

pub(super) const NAME: Column = Column {
    name: "Name",
    ty: "string",
    format: "name",
    priority: 0,
    doc: Doc::Field(META, "name"),
};
pub(super) const AGE: Column = column("Age", "string", 0, Doc::Field(META, "creationTimestamp"));
const CREATED: Column = column(
    "Created At",
    "date",
    0,
    Doc::Field(META, "creationTimestamp"),
);

/// The columns of a built-in kind; one without columns of its own shows its name and when it was made.
pub(super) fn of(kind: KindRef<'_>) -> &'static [Column] {
    let own = workloads::of(kind).or_else(|| resources::of(kind));
    own.unwrap_or(const { &[NAME, CREATED] })
}
