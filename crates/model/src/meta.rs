//! What every configuration object has: a place, an age, and a say in whom it concerns.

use std::collections::BTreeSet;

use crate::labels::Labels;
use crate::name::Str;

/// Where an object stands and how old it is. Orders by age, then namespace and name: Istio's order of precedence.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Meta {
    /// Seconds since the epoch; 0 where the object has no creation time.
    pub created_s: i64,
    /// The object's name.
    pub name: Str,
    /// The object's namespace.
    pub namespace: Str,
}

/// To which namespaces an object is visible (`exportTo`).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub enum Visibility {
    /// `*`, and the default.
    #[default]
    Public,
    /// `~`.
    None,
    /// The namespaces named; `.` is already replaced.
    Namespaces(BTreeSet<Str>),
}

impl Visibility {
    /// True if a proxy in that namespace may see it.
    pub fn allows(&self, namespace: &str) -> bool {
        match self {
            Self::Public => true,
            Self::None => false,
            Self::Namespaces(set) => set.contains(namespace),
        }
    }
}

/// To which workloads a policy applies: all of its namespace (or the mesh, from the root namespace), those with some
/// labels, or what `targetRefs` name.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Selector {
    /// `selector.matchLabels`; empty selects all.
    pub labels: Labels,
    /// `targetRef` and `targetRefs`; where there are any, labels do not count.
    pub targets: Vec<TargetRef>,
}

/// A reference of a policy to an object of the Gateway API or a service.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TargetRef {
    /// API group; empty is the core group.
    pub group: Str,
    /// Kind, such as `Gateway`.
    pub kind: Str,
    /// Name, in the policy's namespace.
    pub name: Str,
}
