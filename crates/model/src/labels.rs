//! Labels and selectors over them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::name::Str;

/// A shared, ordered set of labels.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Labels(Arc<BTreeMap<Str, Str>>);

impl Labels {
    /// The value of a label.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|v| &**v)
    }

    /// True if every label of `self` stands in `other` with the same value. The empty set selects everything.
    pub fn selects(&self, other: &Labels) -> bool {
        self.0.iter().all(|(k, v)| other.0.get(k) == Some(v))
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(k, v)| (&**k, &**v))
    }

    /// With one more label, or another value for it.
    #[must_use]
    pub fn with(&self, key: &str, value: &str) -> Self {
        let mut map = (*self.0).clone();
        map.insert(key.into(), value.into());
        Self(Arc::new(map))
    }
}

impl<K: Into<Str>, V: Into<Str>> FromIterator<(K, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(iter: I) -> Self {
        Self(Arc::new(
            iter.into_iter()
                .map(|(k, v)| (k.into(), v.into()))
                .collect(),
        ))
    }
}
