//! The kinds served now, looked up by path and listed for discovery; rebuilt when a CRD changes.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use super::{Kind, ROWS, crd};

/// Group, version and plural.
type Path = (Arc<str>, Arc<str>, Arc<str>);

static BUILTIN: LazyLock<Vec<Arc<Kind>>> = LazyLock::new(|| {
    ROWS.iter()
        .map(|row| Arc::new(Kind::from_row(row)))
        .collect()
});

/// An immutable set of served kinds.
#[derive(Debug, Default)]
pub struct Catalog {
    by_path: BTreeMap<Path, Arc<Kind>>,
    /// In the order of the table, custom kinds after the built-in ones.
    ordered: Vec<Arc<Kind>>,
    /// Group names in order with their versions, the preferred one first.
    groups: Vec<(Arc<str>, Vec<Arc<str>>)>,
}

impl Catalog {
    /// The built-in kinds and those of the given CRDs (name conflicts already resolved).
    pub fn new(custom: impl IntoIterator<Item = Arc<Kind>>) -> Catalog {
        let mut catalog = Catalog::default();
        for kind in BUILTIN.iter().cloned().chain(custom) {
            catalog.add(kind);
        }
        for (group, versions) in &mut catalog.groups {
            if !ROWS.iter().any(|row| *row.group == **group) {
                versions.sort_by(|a, b| crd::compare_versions(b, a));
            }
        }
        catalog
    }

    fn add(&mut self, kind: Arc<Kind>) {
        let path = (
            kind.group.clone(),
            kind.version.clone(),
            kind.plural.clone(),
        );
        match self
            .groups
            .iter_mut()
            .find(|(group, _)| *group == kind.group)
        {
            Some((_, versions)) if versions.contains(&kind.version) => {}
            Some((_, versions)) => versions.push(kind.version.clone()),
            None => self
                .groups
                .push((kind.group.clone(), vec![kind.version.clone()])),
        }
        self.by_path.insert(path, kind.clone());
        self.ordered.push(kind);
    }

    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Kind>> {
        self.by_path
            .get(&(group.into(), version.into(), plural.into()))
    }

    /// The kind that an object's `apiVersion` and `kind` name.
    pub fn find_kind(&self, group: &str, version: &str, kind: &str) -> Option<&Arc<Kind>> {
        self.ordered
            .iter()
            .find(|k| *k.group == *group && *k.version == *version && *k.kind == *kind)
    }

    pub fn kinds(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.ordered.iter()
    }

    pub fn kinds_of(&self, group: &str, version: &str) -> impl Iterator<Item = &Arc<Kind>> {
        self.ordered
            .iter()
            .filter(move |kind| *kind.group == *group && *kind.version == *version)
    }

    /// Every group but the core one, with its versions, the preferred one first.
    pub fn groups(&self) -> impl Iterator<Item = (&Arc<str>, &[Arc<str>])> {
        self.groups
            .iter()
            .filter(|(group, _)| !group.is_empty())
            .map(|(group, versions)| (group, versions.as_slice()))
    }

    pub fn serves(&self, group: &str, version: &str) -> bool {
        self.kinds_of(group, version).next().is_some()
    }
}
