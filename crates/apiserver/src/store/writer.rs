//! The one writer of a cluster: checks expectations, numbers the writes, commits them in groups, publishes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};

use super::disk::{Disk, DiskError, Put};
use super::shelf::{Event, EventKind, Key, ResourceId, Stored, Volume};
use super::{ClaimsOf, Shelves};

/// What must hold for a write to happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expect {
    /// No object has this key.
    Absent,
    /// The object is at exactly this revision.
    Revision(u64),
}

#[derive(Debug)]
pub enum Change {
    /// The object in its storage version; the writer sets `metadata.resourceVersion`.
    Put(Value),
    Delete,
}

/// One write of one object.
#[derive(Debug)]
pub struct Write {
    pub resource: ResourceId,
    pub key: Key,
    pub expect: Expect,
    pub change: Change,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    #[error("the object exists")]
    Exists,
    #[error("the object has changed or gone since it was read")]
    Stale,
    #[error("{0} is held by another object")]
    Claimed(String),
    #[error("the namespace does not exist")]
    NamespaceMissing,
    #[error("the namespace is being deleted")]
    NamespaceTerminating,
    #[error("the object is malformed: {0}")]
    Malformed(String),
    #[error("the database failed: {0}")]
    Disk(String),
    #[error("the store is closed")]
    Closed,
}

pub(super) enum Command {
    Write(Box<Write>, Reply),
    Seal(oneshot::Sender<()>),
}
type Reply = oneshot::Sender<Result<Arc<Stored>, WriteError>>;

/// Writes waiting for the writer; more make their callers wait.
const QUEUE: usize = 1024;
/// Writes committed together at most.
const GROUP: usize = 256;

/// Loads the disk, publishes what is there, and starts the writer thread.
pub(super) fn start(
    mut disk: Box<dyn Disk>,
    claims_of: ClaimsOf,
    shelves: Arc<Shelves>,
    events: mpsc::UnboundedSender<Arc<Event>>,
) -> Result<mpsc::Sender<Command>, DiskError> {
    let mut writer = Writer {
        revision: 0,
        volumes: imbl::OrdMap::new(),
        claims: imbl::OrdMap::new(),
        claims_of,
    };
    let mut corrupt = None;
    let revision = disk.load(&mut |key, json| {
        if let Err(reason) = writer.restore(key, json) {
            corrupt.get_or_insert(DiskError::Corrupt {
                key: key.to_owned(),
                reason,
            });
        }
    })?;
    if let Some(error) = corrupt {
        return Err(error);
    }
    writer.revision = revision;
    shelves.horizon.store(revision, Ordering::Release);
    for (resource, volume) in std::mem::take(&mut writer.volumes) {
        let mut volume = volume;
        volume.forget_history(revision);
        let _ = shelves
            .shelf(&resource)
            .send_replace(Arc::new(volume.clone()));
        writer.volumes.insert(resource, volume);
    }
    shelves.revision.store(revision, Ordering::Release);

    let (commands, inbox) = mpsc::channel(QUEUE);
    std::thread::Builder::new()
        .name("apiserver-store".into())
        .spawn(move || run(writer, disk, &shelves, &events, inbox))
        .map_err(DiskError::Thread)?;
    Ok(commands)
}

/// The writer's state: the newest volumes, which may be ahead of what is published while a group is being made.
struct Writer {
    revision: u64,
    volumes: imbl::OrdMap<ResourceId, Volume>,
    claims: imbl::OrdMap<String, (ResourceId, Key)>,
    claims_of: ClaimsOf,
}

fn run(
    mut writer: Writer,
    mut disk: Box<dyn Disk>,
    shelves: &Shelves,
    events_out: &mpsc::UnboundedSender<Arc<Event>>,
    mut inbox: mpsc::Receiver<Command>,
) {
    let mut published: BTreeMap<ResourceId, watch::Sender<Arc<Volume>>> = BTreeMap::new();
    while let Some(first) = inbox.blocking_recv() {
        let before = (
            writer.revision,
            writer.volumes.clone(),
            writer.claims.clone(),
        );
        let mut done: Vec<(Arc<Event>, Reply)> = Vec::new();
        let mut seals = Vec::new();
        let mut next = Some(first);
        while let Some(command) = next {
            match command {
                Command::Write(write, reply) => match writer.stage(*write) {
                    Ok(event) => done.push((event, reply)),
                    // A caller that has gone away needs no answer.
                    Err(error) => drop(reply.send(Err(error))),
                },
                Command::Seal(reply) => seals.push(reply),
            }
            next = if done.len() < GROUP {
                inbox.try_recv().ok()
            } else {
                None
            };
        }
        let puts: Vec<Put> = done.iter().map(|(event, _)| to_put(event)).collect();
        if !puts.is_empty()
            && let Err(error) = disk.commit(writer.revision, &puts)
        {
            (writer.revision, writer.volumes, writer.claims) = before;
            for (_, reply) in done {
                let _ = reply.send(Err(WriteError::Disk(error.to_string())));
            }
            continue;
        }
        let mut touched: Vec<&ResourceId> = done.iter().map(|(event, _)| &event.resource).collect();
        touched.sort_unstable();
        touched.dedup();
        for resource in touched {
            if let Some(volume) = writer.volumes.get(resource) {
                let shelf = published
                    .entry(resource.clone())
                    .or_insert_with(|| shelves.shelf(resource));
                let _ = shelf.send_replace(Arc::new(volume.clone()));
            }
        }
        shelves.revision.store(writer.revision, Ordering::Release);
        for (event, reply) in done {
            let object = event.object.clone();
            // Without a follower nobody needs the event.
            let _ = events_out.send(event);
            let _ = reply.send(Ok(object));
        }
        if !seals.is_empty() {
            writer.seal(shelves);
            for reply in seals {
                let _ = reply.send(());
            }
        }
    }
}

fn to_put(event: &Event) -> Put {
    let Key { namespace, name } = &event.object.key;
    let key = format!("{}\0{namespace}\0{name}", event.resource);
    let json = (event.kind != EventKind::Deleted).then(|| event.object.json.clone());
    Put { key, json }
}

impl Writer {
    fn restore(&mut self, key: &str, json: &[u8]) -> Result<(), String> {
        let (resource, _) = key.split_once('\0').ok_or("the key has no resource")?;
        let resource = ResourceId::parse(resource);
        let object =
            Stored::parse(Bytes::copy_from_slice(json)).map_err(|error| error.to_string())?;
        for claim in self.claims_of_bytes(&resource, &object.json) {
            self.claims
                .insert(claim, (resource.clone(), object.key.clone()));
        }
        self.volumes
            .entry(resource)
            .or_insert_with(|| Volume::empty(0))
            .restore(Arc::new(object));
        Ok(())
    }

    fn claims_of_bytes(&self, resource: &ResourceId, json: &[u8]) -> Vec<String> {
        let Some(claims_of) = (self.claims_of)(resource.as_str()) else {
            return Vec::new();
        };
        serde_json::from_slice(json)
            .map(|value| claims_of(&value))
            .unwrap_or_default()
    }

    /// Applies one write to the newest state, or says why it cannot happen.
    fn stage(&mut self, write: Write) -> Result<Arc<Event>, WriteError> {
        let Write {
            resource,
            key,
            expect,
            change,
        } = write;
        let current = self
            .volumes
            .get(&resource)
            .and_then(|volume| volume.get(&key))
            .cloned();
        match (&current, expect) {
            (Some(_), Expect::Absent) => return Err(WriteError::Exists),
            (None, Expect::Revision(_)) => return Err(WriteError::Stale),
            (Some(current), Expect::Revision(revision)) if current.revision != revision => {
                return Err(WriteError::Stale);
            }
            _ => {}
        }
        if current.is_none() && !key.namespace.is_empty() {
            self.check_namespace(&key.namespace)?;
        }
        let revision = self.revision + 1;
        let (kind, mut value) = match change {
            Change::Put(value) if current.is_some() => (EventKind::Modified, value),
            Change::Put(value) => (EventKind::Added, value),
            Change::Delete => (
                EventKind::Deleted,
                current
                    .as_ref()
                    .map(|object| object.value())
                    .unwrap_or_default(),
            ),
        };
        let claims = match (self.claims_of)(resource.as_str()) {
            Some(claims_of) if kind != EventKind::Deleted => claims_of(&value),
            _ => Vec::new(),
        };
        for claim in &claims {
            if self
                .claims
                .get(claim)
                .is_some_and(|holder| *holder != (resource.clone(), key.clone()))
            {
                return Err(WriteError::Claimed(claim.clone()));
            }
        }
        match value.get_mut("metadata").and_then(Value::as_object_mut) {
            Some(metadata) => metadata.insert(
                "resourceVersion".into(),
                Value::String(revision.to_string()),
            ),
            None => return Err(WriteError::Malformed("no metadata".into())),
        };
        let json =
            serde_json::to_vec(&value).map_err(|error| WriteError::Malformed(error.to_string()))?;
        let object =
            Stored::parse(json.into()).map_err(|error| WriteError::Malformed(error.to_string()))?;
        if object.key != key {
            return Err(WriteError::Malformed(
                "its name and namespace are not those of its key".into(),
            ));
        }
        if let Some(previous) = &current {
            for claim in self.claims_of_bytes(&resource, &previous.json) {
                self.claims.remove(&claim);
            }
        }
        for claim in claims {
            self.claims.insert(claim, (resource.clone(), key.clone()));
        }
        self.revision = revision;
        let event = Arc::new(Event {
            kind,
            resource: resource.clone(),
            revision,
            object: Arc::new(object),
            previous: current,
            at: Instant::now(),
        });
        self.volumes
            .entry(resource)
            .or_insert_with(|| Volume::empty(0))
            .apply(event.clone());
        Ok(event)
    }

    /// Nothing new may appear in a namespace that is absent or on its way out, however the request raced with it.
    fn check_namespace(&self, namespace: &str) -> Result<(), WriteError> {
        let found = self
            .volumes
            .get("namespaces")
            .and_then(|volume| volume.get(&Key::new("", namespace)));
        match found {
            None => Err(WriteError::NamespaceMissing),
            Some(namespace) if namespace.deleting => Err(WriteError::NamespaceTerminating),
            Some(_) => Ok(()),
        }
    }

    fn seal(&mut self, shelves: &Shelves) {
        shelves.horizon.store(self.revision, Ordering::Release);
        for resource in shelves
            .by_resource
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .iter()
        {
            let volume = self
                .volumes
                .entry(resource.0.clone())
                .or_insert_with(|| Volume::empty(self.revision));
            volume.forget_history(self.revision);
            let _ = resource.1.send_replace(Arc::new(volume.clone()));
        }
    }
}
