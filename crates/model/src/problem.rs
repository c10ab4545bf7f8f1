//! Users' mistakes, as values that travel with the snapshot.

use std::fmt;

use crate::name::{ClusterId, Str};

/// How bad a problem is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Probably not what was meant.
    Warning,
    /// The object, or the part of it named by `field`, has no effect.
    Error,
}

/// The object that a problem is about.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ObjectName {
    /// The cluster that holds it; `None` for files.
    pub cluster: Option<ClusterId>,
    /// Its kind, such as `VirtualService`.
    pub kind: Str,
    /// Its namespace; empty for cluster-scoped kinds.
    pub namespace: Str,
    /// Its name.
    pub name: Str,
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)?;
        if !self.namespace.is_empty() {
            write!(f, ".{}", self.namespace)?;
        }
        Ok(())
    }
}

/// A user's mistake: what, where, and the way out.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Problem {
    /// Istio's code (`IST0101`) where one fits, else ours (`HWS…`).
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The object.
    pub object: ObjectName,
    /// Path of the field, such as `spec.http[0].route[1].destination.subset`; empty for the whole object.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it; empty if the message says it all.
    pub help: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.object)?;
        if !self.field.is_empty() {
            write!(f, " {}", self.field)?;
        }
        write!(f, ": {}", self.message)?;
        if !self.help.is_empty() {
            write!(f, " ({})", self.help)?;
        }
        Ok(())
    }
}
