//! What readers see of one resource: its objects and its recent history, immutable and cheap to clone.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Deserialize;

/// `plural` for the core group, `plural.group` otherwise: how Kubernetes names a resource without its version.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ResourceId(Arc<str>);

impl ResourceId {
    pub fn new(plural: &str, group: &str) -> ResourceId {
        if group.is_empty() {
            ResourceId(plural.into())
        } else {
            ResourceId(format!("{plural}.{group}").into())
        }
    }
    /// From the form that [`ResourceId::as_str`] gives.
    pub fn parse(text: &str) -> ResourceId {
        ResourceId(text.into())
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for ResourceId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Where an object stands within its resource; the namespace is empty for cluster-scoped objects.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

impl Key {
    pub fn new(namespace: &str, name: &str) -> Key {
        Key {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

/// One object as stored: its JSON in the storage version, and what is asked of it often.
#[derive(Debug, PartialEq)]
pub struct Stored {
    pub key: Key,
    pub uid: Box<str>,
    pub revision: u64,
    pub labels: Box<[(Box<str>, Box<str>)]>,
    /// Whether `metadata.deletionTimestamp` is set.
    pub deleting: bool,
    /// The uids of its owners.
    pub owners: Box<[Box<str>]>,
    pub json: Bytes,
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    metadata: HeadMeta<'a>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct HeadMeta<'a> {
    #[serde(borrow)]
    name: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    namespace: Option<std::borrow::Cow<'a, str>>,
    uid: Box<str>,
    resource_version: Box<str>,
    labels: Option<std::collections::BTreeMap<Box<str>, Box<str>>>,
    deletion_timestamp: Option<Box<str>>,
    owner_references: Option<Vec<OwnerUid>>,
}

#[derive(Deserialize)]
struct OwnerUid {
    uid: Box<str>,
}

impl Stored {
    /// Reads the head of an object's JSON.
    ///
    /// # Errors
    /// When the bytes are not an object with metadata as the writer stores them.
    pub fn parse(json: Bytes) -> Result<Stored, serde_json::Error> {
        let head: Head<'_> = serde_json::from_slice(&json)?;
        let meta = head.metadata;
        let key = Key::new(meta.namespace.as_deref().unwrap_or(""), &meta.name);
        let revision = meta
            .resource_version
            .parse()
            .map_err(serde::de::Error::custom)?;
        Ok(Stored {
            key,
            uid: meta.uid,
            revision,
            labels: meta.labels.unwrap_or_default().into_iter().collect(),
            deleting: meta.deletion_timestamp.is_some(),
            owners: meta
                .owner_references
                .unwrap_or_default()
                .into_iter()
                .map(|owner| owner.uid)
                .collect(),
            json: json.clone(),
        })
    }

    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        let at = self
            .labels
            .binary_search_by(|(key, _)| key.as_ref().cmp(name))
            .ok()?;
        self.labels.get(at).map(|(_, value)| value.as_ref())
    }

    /// The whole object.
    pub fn value(&self) -> serde_json::Value {
        // The writer made these bytes from a `Value` and the loader has parsed them, so this cannot fail.
        serde_json::from_slice(&self.json).unwrap_or_default()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventKind {
    Added,
    Modified,
    Deleted,
}

/// One change of one object.
#[derive(Debug)]
pub struct Event {
    pub kind: EventKind,
    pub resource: ResourceId,
    pub revision: u64,
    /// The new state; for a deletion the last state with the deletion's revision.
    pub object: Arc<Stored>,
    pub previous: Option<Arc<Stored>>,
    pub at: Instant,
}

/// History kept per resource: at most this many events…
const HISTORY_EVENTS: usize = 8192;
/// …and beyond these few only if younger than this (a list with `continue` may take that long).
const HISTORY_ALWAYS: usize = 256;
const HISTORY_AGE: Duration = Duration::from_secs(300);

/// The state of one resource at one revision, with its recent history.
#[derive(Clone)]
pub struct Volume {
    objects: imbl::OrdMap<Key, Arc<Stored>>,
    history: imbl::Vector<Arc<Event>>,
    /// Changes at or before this revision are no longer in `history`.
    horizon: u64,
}

impl Volume {
    pub(super) fn empty(horizon: u64) -> Volume {
        Volume {
            objects: imbl::OrdMap::new(),
            history: imbl::Vector::new(),
            horizon,
        }
    }

    /// Puts an object that was there before this process started.
    pub(super) fn restore(&mut self, object: Arc<Stored>) {
        self.objects.insert(object.key.clone(), object);
    }

    pub(super) fn forget_history(&mut self, horizon: u64) {
        self.history.clear();
        self.horizon = horizon;
    }

    pub(super) fn apply(&mut self, event: Arc<Event>) {
        match event.kind {
            EventKind::Deleted => {
                self.objects.remove(&event.object.key);
            }
            EventKind::Added | EventKind::Modified => {
                self.objects
                    .insert(event.object.key.clone(), event.object.clone());
            }
        }
        let now = event.at;
        self.history.push_back(event);
        while let Some(oldest) = self.history.front() {
            let old =
                now.duration_since(oldest.at) > HISTORY_AGE && self.history.len() > HISTORY_ALWAYS;
            if !old && self.history.len() <= HISTORY_EVENTS {
                break;
            }
            self.horizon = oldest.revision;
            self.history.pop_front();
        }
    }

    /// The revision of the last change.
    pub fn revision(&self) -> u64 {
        self.history
            .last()
            .map_or(self.horizon, |event| event.revision)
    }

    /// Changes at or before this revision are forgotten.
    pub fn horizon(&self) -> u64 {
        self.horizon
    }

    pub fn get(&self, key: &Key) -> Option<&Arc<Stored>> {
        self.objects.get(key)
    }

    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// The objects in order of namespace and name; of one namespace only if one is given.
    pub fn iter<'a>(&'a self, namespace: Option<&'a str>) -> impl Iterator<Item = &'a Arc<Stored>> {
        let start = Key::new(namespace.unwrap_or(""), "");
        self.objects
            .range(start..)
            .map(|(_, object)| object)
            .take_while(move |object| {
                namespace.is_none_or(|wanted| &*object.key.namespace == wanted)
            })
    }

    /// The objects after `after` in that order.
    pub fn iter_after<'a>(
        &'a self,
        namespace: Option<&'a str>,
        after: &Key,
    ) -> impl Iterator<Item = &'a Arc<Stored>> {
        let after = (
            std::ops::Bound::Excluded(after.clone()),
            std::ops::Bound::Unbounded,
        );
        self.objects
            .range(after)
            .map(|(_, object)| object)
            .take_while(move |object| {
                namespace.is_none_or(|wanted| &*object.key.namespace == wanted)
            })
    }

    /// The changes after `revision`, oldest first; `None` if some of them are forgotten.
    pub fn since(&self, revision: u64) -> Option<impl Iterator<Item = &Arc<Event>>> {
        if revision < self.horizon {
            return None;
        }
        let from = match self
            .history
            .binary_search_by(|event| event.revision.cmp(&revision))
        {
            Ok(at) => at + 1,
            Err(at) => at,
        };
        Some(self.history.iter().skip(from))
    }

    /// The state as it was at `revision`, by undoing what happened since; `None` if that is forgotten.
    pub fn at(&self, revision: u64) -> Option<Volume> {
        let later: Vec<_> = self.since(revision)?.cloned().collect();
        let mut volume = Volume {
            objects: self.objects.clone(),
            history: imbl::Vector::new(),
            horizon: revision,
        };
        for event in later.into_iter().rev() {
            match &event.previous {
                Some(previous) => volume
                    .objects
                    .insert(previous.key.clone(), previous.clone()),
                None => volume.objects.remove(&event.object.key),
            };
        }
        Some(volume)
    }
}
