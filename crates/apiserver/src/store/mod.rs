//! Storage of one cluster: one writer thread owns the database, readers see immutable shelves.
//!
//! Every write goes through [`Store::write`] to the writer thread, which checks its expectation against the latest
//! state, gives it the next revision, commits a whole group of writes to disk at once and only then publishes them.
//! So what a reader or a watcher sees is always durable, and an acknowledged write is never lost.

mod disk;
mod shelf;
mod writer;

pub use disk::{Disk, DiskError, RedbDisk};
pub use shelf::{Event, EventKind, Key, ResourceId, Stored, Volume};
pub use writer::{Change, Expect, Write, WriteError};

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};

/// Names that an object holds exclusively in its cluster, such as a Service's addresses and node ports.
/// A pure function of the object, so that the set is rebuilt on start and never stored; `None` for resources
/// that claim nothing.
pub type ClaimsOf = fn(resource: &str) -> Option<fn(object: &Value) -> Vec<String>>;

/// A handle to one cluster's storage; cheap to clone.
#[derive(Clone)]
pub struct Store {
    shelves: Arc<Shelves>,
    commands: mpsc::Sender<writer::Command>,
}

/// The shelves and the last published revision, written by the writer thread only (a reader may add an empty shelf).
struct Shelves {
    by_resource: Mutex<BTreeMap<ResourceId, watch::Sender<Arc<Volume>>>>,
    revision: AtomicU64,
    horizon: AtomicU64,
}

impl Shelves {
    fn shelf(&self, resource: &ResourceId) -> watch::Sender<Arc<Volume>> {
        let mut shelves = self
            .by_resource
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        shelves
            .entry(resource.clone())
            .or_insert_with(|| {
                watch::Sender::new(Arc::new(Volume::empty(
                    self.horizon.load(Ordering::Acquire),
                )))
            })
            .clone()
    }
}

impl Store {
    /// Opens the store over `disk` and starts its writer thread. The receiver is given every event of every
    /// resource, in order; the cluster's own housekeeping follows it.
    ///
    /// # Errors
    /// When the disk cannot be read or holds something that is not an object.
    pub fn open(
        disk: Box<dyn Disk>,
        claims_of: ClaimsOf,
    ) -> Result<(Store, mpsc::UnboundedReceiver<Arc<Event>>), DiskError> {
        let shelves = Arc::new(Shelves {
            by_resource: Mutex::new(BTreeMap::new()),
            revision: AtomicU64::new(0),
            horizon: AtomicU64::new(0),
        });
        let (events, events_out) = mpsc::unbounded_channel();
        let commands = writer::start(disk, claims_of, shelves.clone(), events)?;
        Ok((Store { shelves, commands }, events_out))
    }

    /// The last revision that readers can see.
    pub fn revision(&self) -> u64 {
        self.shelves.revision.load(Ordering::Acquire)
    }

    /// The present state of one resource, and the cluster's revision that it reflects.
    pub fn read(&self, resource: &ResourceId) -> (Arc<Volume>, u64) {
        // The order matters: shelves are published before the revision, so a shelf read after the revision has
        // everything up to it.
        let revision = self.revision();
        let volume = self.shelves.shelf(resource).borrow().clone();
        let revision = revision.max(volume.revision());
        (volume, revision)
    }

    /// One object, if it exists.
    pub fn get(&self, resource: &ResourceId, key: &Key) -> Option<Arc<Stored>> {
        self.read(resource).0.get(key).cloned()
    }

    /// A receiver that always holds the present state of one resource and wakes when it changes.
    pub fn follow(&self, resource: &ResourceId) -> watch::Receiver<Arc<Volume>> {
        self.shelves.shelf(resource).subscribe()
    }

    /// Every resource that has ever held an object.
    pub fn resources(&self) -> Vec<ResourceId> {
        let shelves = self
            .shelves
            .by_resource
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        shelves.keys().cloned().collect()
    }

    /// Writes one object and returns it as stored (for a deletion: its last state) once it is durable and visible.
    ///
    /// # Errors
    /// When the expectation does not hold any more, a claim is taken, the namespace refuses, or the disk failed.
    pub async fn write(&self, write: Write) -> Result<Arc<Stored>, WriteError> {
        let (reply, answer) = oneshot::channel();
        let command = writer::Command::Write(Box::new(write), reply);
        self.commands
            .send(command)
            .await
            .map_err(|_| WriteError::Closed)?;
        answer.await.map_err(|_| WriteError::Closed)?
    }

    /// Forgets the history of all writes so far: a watch from before now is told that its version has expired.
    /// Called once after bootstrap, so that no client can rely on revisions from before the cluster was ready.
    pub async fn seal(&self) {
        let (reply, answer) = oneshot::channel();
        if self
            .commands
            .send(writer::Command::Seal(reply))
            .await
            .is_ok()
        {
            // A closed channel means that the writer is gone, and with it all history.
            let _ = answer.await;
        }
    }
}

#[cfg(test)]
mod tests;
