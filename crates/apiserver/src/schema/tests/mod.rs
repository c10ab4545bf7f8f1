//! What the schema side must answer, as tables of cases.

mod crd;
mod defaults;
mod managed;
mod merging;
mod openapi;
mod properties;
mod protobuf;
mod table;
mod validate;

use super::KindRef;

/// A kind by `apiVersion` and name.
fn kind<'a>(api_version: &'a str, kind: &'a str) -> KindRef<'a> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    KindRef {
        group,
        version,
        kind,
    }
}
