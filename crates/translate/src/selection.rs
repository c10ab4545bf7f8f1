//! Resources of one type as proxies are given them: what many share, and what is one's own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use hawser_model::Str;

use crate::memo::Rendered;

/// Resources by name, shared by all proxies that are given the same. While nothing in it changes from snapshot to
/// snapshot it stays the same one, so that streams see by its address that there is nothing to do; where something
/// does, it knows what.
#[derive(Debug, Default)]
pub struct Selection {
    resources: BTreeMap<Str, Rendered>,
    since: Option<(Weak<Selection>, Vec<Str>)>,
}

impl Selection {
    /// The previous selection if nothing differs, else a new one that knows what does.
    pub fn after(previous: Option<&Arc<Self>>, resources: BTreeMap<Str, Rendered>) -> Arc<Self> {
        let Some(previous) = previous else {
            return Arc::new(Self {
                resources,
                since: None,
            });
        };
        let names = differences(&previous.resources, &resources);
        if names.is_empty() {
            return Arc::clone(previous);
        }
        Arc::new(Self {
            resources,
            since: Some((Arc::downgrade(previous), names)),
        })
    }

    /// One resource.
    pub fn get(&self, name: &str) -> Option<&Rendered> {
        self.resources.get(name)
    }

    /// All resources, by name.
    pub fn resources(&self) -> &BTreeMap<Str, Rendered> {
        &self.resources
    }

    /// Names of what differs from an earlier selection. Cheap where it is the same or the one before.
    pub fn since(&self, earlier: &Arc<Self>) -> Vec<Str> {
        if std::ptr::eq(self, Arc::as_ptr(earlier)) {
            return Vec::new();
        }
        match &self.since {
            Some((last, names)) if std::ptr::eq(last.as_ptr(), Arc::as_ptr(earlier)) => {
                names.clone()
            }
            _ => differences(&earlier.resources, &self.resources),
        }
    }
}

/// Names whose resources are not of the same version in both.
fn differences(a: &BTreeMap<Str, Rendered>, b: &BTreeMap<Str, Rendered>) -> Vec<Str> {
    let same = |x: &Rendered, y: &Rendered| Arc::ptr_eq(x, y) || x.version == y.version;
    let gone = a.keys().filter(|n| !b.contains_key(*n));
    let new = b
        .iter()
        .filter(|(n, r)| !a.get(*n).is_some_and(|old| same(old, r)));
    gone.chain(new.map(|(n, _)| n)).cloned().collect()
}

/// What a proxy is given of one type.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// What others are given too.
    pub shared: Arc<Selection>,
    /// What is the proxy's own; stands for what is shared where both have a name.
    pub own: BTreeMap<Str, Rendered>,
}

impl Given {
    /// All of it is the proxy's own.
    pub fn own(own: BTreeMap<Str, Rendered>) -> Self {
        Self {
            shared: Arc::default(),
            own,
        }
    }

    /// One resource.
    pub fn get(&self, name: &str) -> Option<&Rendered> {
        self.own.get(name).or_else(|| self.shared.get(name))
    }

    /// Everything, by name.
    pub fn all(&self) -> BTreeMap<Str, Rendered> {
        let mut all = self.shared.resources.clone();
        all.extend(self.own.iter().map(|(n, r)| (n.clone(), r.clone())));
        all
    }

    /// What has one of these names.
    pub fn named(&self, names: &BTreeSet<Str>) -> BTreeMap<Str, Rendered> {
        let named = names.iter().filter_map(|n| Some((n, self.get(n)?)));
        named.map(|(n, r)| (n.clone(), r.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Resource;

    fn resources(of: &[(&str, &str)]) -> BTreeMap<Str, Rendered> {
        let one = |name: &str, value: &str| {
            Resource::new(name.into(), String::new(), value.as_bytes().to_vec())
        };
        of.iter()
            .map(|(n, v)| ((*n).into(), Arc::new(one(n, v))))
            .collect()
    }

    #[test]
    fn a_selection_knows_what_differs() {
        let first = Selection::after(None, resources(&[("a", "1"), ("b", "1")]));
        let same = Selection::after(Some(&first), resources(&[("a", "1"), ("b", "1")]));
        assert!(Arc::ptr_eq(&first, &same));
        let second = Selection::after(Some(&first), resources(&[("b", "2"), ("c", "1")]));
        let third = Selection::after(Some(&second), resources(&[("b", "2")]));
        for (name, from, to, expected) in [
            ("same", &first, &same, vec![]),
            ("next", &first, &second, vec!["a", "b", "c"]),
            ("one skipped", &first, &third, vec!["a", "b"]),
            ("removed", &second, &third, vec!["c"]),
        ] {
            let found: Vec<_> = to.since(from).iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{name}");
        }
    }
}
