//! What a source of objects says: the only way that anything reaches the control plane's store.

use crate::kinds::{Kind, ObjectRef, Resource};
use crate::message::Fault;
use crate::scalar::Timestamp;
use std::fmt;
use std::sync::Arc;

/// Where objects come from: a cluster by its ID, a file, a peer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub Arc<str>);

impl SourceId {
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        SourceId(id.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One thing that a source says.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub source: SourceId,
    /// The resourceVersion that the source has reached with this change, for the kind that it is about.
    pub version: Option<String>,
    pub event: Event,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The object is now so.
    Apply(Resource),
    /// The object could not be read. The store keeps what it had of it, if anything, and reports the faults.
    Refuse {
        object: ObjectRef,
        faults: Vec<Fault>,
    },
    Delete(ObjectRef),
    /// These are all objects of the kind; others that the store has of it are gone (after a list).
    Reset {
        kind: Kind,
        objects: Vec<Resource>,
    },
    /// Nothing of the kind changed up to the version.
    Bookmark {
        kind: Kind,
    },
    /// The first list of the kind is complete.
    Synced {
        kind: Kind,
    },
    /// The source does not answer since `since`: what is known of it is kept, and marked stale.
    Lost {
        since: Timestamp,
    },
    /// The source answers again.
    Found,
    /// The source was taken away on purpose: everything of it goes.
    Removed,
}

impl Event {
    /// The kind that the event is about; `None` for those about the whole source.
    pub fn kind(&self) -> Option<Kind> {
        match self {
            Event::Apply(resource) => Some(resource.kind()),
            Event::Refuse { object, .. } | Event::Delete(object) => Some(object.kind),
            Event::Reset { kind, .. } | Event::Bookmark { kind } | Event::Synced { kind } => {
                Some(*kind)
            }
            Event::Lost { .. } | Event::Found | Event::Removed => None,
        }
    }
}
