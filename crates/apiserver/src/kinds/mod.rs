//! What is served: one table of kinds, the built-in rows and those that CRDs add.

mod builtin;
mod catalog;
mod convert;
pub mod crd;
mod subresources;

pub use builtin::ROWS;
pub use catalog::Catalog;
pub use convert::{from_storage, to_storage};
pub use subresources::{Subresource, subresources};

use std::sync::Arc;

use crate::schema::KindRef;
use crate::store::ResourceId;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    Namespaced,
    Cluster,
}

/// One built-in kind as served under one group and version; adding a kind is adding a row.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
    pub singular: &'static str,
    pub short_names: &'static [&'static str],
    pub categories: &'static [&'static str],
    pub scope: Scope,
    /// Whether it has a `status` subresource.
    pub status: bool,
    /// Whether it has a `scale` subresource (replicas at `spec.replicas`).
    pub scale: bool,
    /// Whether `metadata.generation` counts changes of anything but metadata and status.
    pub generation: bool,
    /// Whether PUT of an absent object creates it.
    pub create_on_update: bool,
    /// Whether DELETE answers with the object instead of a `Status`.
    pub returns_deleted: bool,
    /// Where it is stored when that is under another group or version.
    pub stored_as: Option<(&'static str, &'static str)>,
    /// Kinds that are only ever posted (reviews): nothing is stored.
    pub virtual_only: bool,
    /// Fields that `fieldSelector` knows beside `metadata.name` and `metadata.namespace`.
    pub selectable: &'static [&'static str],
}

/// A served kind: a built-in row or one version of a CRD.
#[derive(Debug)]
pub struct Kind {
    pub group: Arc<str>,
    pub version: Arc<str>,
    pub kind: Arc<str>,
    pub plural: Arc<str>,
    pub singular: Arc<str>,
    pub list_kind: Arc<str>,
    pub short_names: Vec<Arc<str>>,
    pub categories: Vec<Arc<str>>,
    pub scope: Scope,
    pub status: bool,
    pub scale: bool,
    pub generation: bool,
    pub create_on_update: bool,
    pub returns_deleted: bool,
    pub virtual_only: bool,
    pub selectable: Vec<Arc<str>>,
    /// The shelf that holds its objects.
    pub resource: ResourceId,
    pub storage_group: Arc<str>,
    pub storage_version: Arc<str>,
    pub custom: Option<Arc<crd::Custom>>,
}

impl Kind {
    pub(crate) fn from_row(row: &Row) -> Kind {
        let (storage_group, storage_version) = row.stored_as.unwrap_or((row.group, row.version));
        Kind {
            group: row.group.into(),
            version: row.version.into(),
            kind: row.kind.into(),
            plural: row.plural.into(),
            singular: row.singular.into(),
            list_kind: format!("{}List", row.kind).into(),
            short_names: row.short_names.iter().map(|&name| name.into()).collect(),
            categories: row.categories.iter().map(|&name| name.into()).collect(),
            scope: row.scope,
            status: row.status,
            scale: row.scale,
            generation: row.generation,
            create_on_update: row.create_on_update,
            returns_deleted: row.returns_deleted,
            virtual_only: row.virtual_only,
            selectable: row.selectable.iter().map(|&name| name.into()).collect(),
            resource: ResourceId::new(row.plural, storage_group),
            storage_group: storage_group.into(),
            storage_version: storage_version.into(),
            custom: None,
        }
    }

    pub fn namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }

    pub fn gvk(&self) -> KindRef<'_> {
        KindRef {
            group: &self.group,
            version: &self.version,
            kind: &self.kind,
        }
    }

    /// The kind in the version that it is stored in, for defaulting and validation.
    pub fn storage_gvk(&self) -> KindRef<'_> {
        KindRef {
            group: &self.storage_group,
            version: &self.storage_version,
            kind: &self.kind,
        }
    }

    pub fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    pub fn storage_api_version(&self) -> String {
        api_version(&self.storage_group, &self.storage_version)
    }

    /// Whether objects are served exactly as stored.
    pub fn served_as_stored(&self) -> bool {
        self.group == self.storage_group && self.version == self.storage_version
    }

    /// `Kind` or `Kind.group`, as messages about invalid objects name it.
    pub fn qualified_kind(&self) -> String {
        if self.group.is_empty() {
            self.kind.to_string()
        } else {
            format!("{}.{}", self.kind, self.group)
        }
    }

    /// `plural` or `plural.group`, as most messages name it.
    pub fn qualified_resource(&self) -> String {
        ResourceId::new(&self.plural, &self.group).to_string()
    }

    pub fn is(&self, resource: &str) -> bool {
        self.resource.as_str() == resource
    }
}

/// `version` for the core group, `group/version` otherwise.
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

/// The group and version of an `apiVersion`.
pub fn split_api_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}
