//! Labels and selectors over them.

use std::sync::Arc;

use crate::name::Str;

/// A shared, ordered set of labels. Every endpoint has one, and most are small: so they are kept in order in one piece
/// of memory, not in a tree.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Labels(Arc<[(Str, Str)]>);

impl Labels {
    /// The value of a label.
    pub fn get(&self, key: &str) -> Option<&str> {
        let place = self.0.binary_search_by(|(k, _)| (**k).cmp(key)).ok()?;
        self.0.get(place).map(|(_, v)| &**v)
    }

    /// True if every label of `self` stands in `other` with the same value. The empty set selects everything.
    pub fn selects(&self, other: &Labels) -> bool {
        self.iter().all(|(k, v)| other.get(k) == Some(v))
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
        self.iter().chain([(key, value)]).collect()
    }
}

/// Of labels with the same key the last counts.
impl<K: Into<Str>, V: Into<Str>> FromIterator<(K, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(iter: I) -> Self {
        let into = |(k, v): (K, V)| (k.into(), v.into());
        let mut all: Vec<(Str, Str)> = iter.into_iter().map(into).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
        Self(all.into())
    }
}

#[cfg(test)]
mod tests {
    use super::Labels;

    #[test]
    fn labels_are_in_order_and_the_last_of_a_key_counts() {
        let labels: Labels = [("b", "1"), ("a", "2"), ("b", "3"), ("c", "4"), ("b", "5")]
            .into_iter()
            .collect();
        let all: Vec<_> = labels.iter().collect();
        assert_eq!(all, [("a", "2"), ("b", "5"), ("c", "4")]);
        assert_eq!((labels.get("b"), labels.get("d")), (Some("5"), None));
        let other = labels.with("d", "6");
        assert!(labels.selects(&other) && !other.selects(&labels));
        assert!(!labels.selects(&labels.with("a", "7")));
        assert!(Labels::default().selects(&labels));
    }
}
