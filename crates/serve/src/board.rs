//! Who is connected, and how each stands: for `/debug/syncz` and metrics.
//!
//! Each stream publishes its own status; one task knows all of them and answers questions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use hawser_model::Proxy;
use tokio::sync::{mpsc, oneshot, watch};

use crate::kind::Kind;
use crate::stream::TypeStatus;

/// What one stream says of itself.
#[derive(Clone, Debug)]
pub struct StreamStatus {
    /// Whose it is.
    pub proxy: Arc<Proxy>,
    /// Since when.
    pub connected: SystemTime,
    /// How it stands with each type.
    pub kinds: BTreeMap<Kind, TypeStatus>,
}

enum Event {
    Opened(u64, watch::Receiver<StreamStatus>),
    Closed(u64),
    Asked(oneshot::Sender<Vec<StreamStatus>>),
}

/// A handle on the board; clones are the same board.
#[derive(Clone)]
pub struct Board {
    events: mpsc::UnboundedSender<Event>,
}

/// A stream's place on the board; it leaves when this is dropped.
pub struct Place {
    id: u64,
    status: watch::Sender<StreamStatus>,
    events: mpsc::UnboundedSender<Event>,
}

impl Board {
    /// Starts the board's task, which ends once nobody holds a handle.
    pub fn start() -> Self {
        let (events, mut inbox) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut streams: BTreeMap<u64, watch::Receiver<StreamStatus>> = BTreeMap::new();
            while let Some(event) = inbox.recv().await {
                match event {
                    Event::Opened(id, status) => drop(streams.insert(id, status)),
                    Event::Closed(id) => drop(streams.remove(&id)),
                    Event::Asked(answer) => {
                        // Whoever asked may be gone.
                        let _ = answer.send(streams.values().map(|s| s.borrow().clone()).collect());
                    }
                }
            }
        });
        Self { events }
    }

    /// Adds a stream. `id` is unique in this process.
    pub fn open(&self, id: u64, status: StreamStatus) -> Place {
        let (status, receiver) = watch::channel(status);
        let _ = self.events.send(Event::Opened(id, receiver));
        Place {
            id,
            status,
            events: self.events.clone(),
        }
    }

    /// All streams, oldest first.
    pub async fn streams(&self) -> Vec<StreamStatus> {
        let (ask, answer) = oneshot::channel();
        let _ = self.events.send(Event::Asked(ask));
        answer.await.unwrap_or_default()
    }
}

impl Place {
    /// Publishes how the stream stands now.
    pub fn update(&self, kinds: BTreeMap<Kind, TypeStatus>) {
        self.status.send_modify(|s| s.kinds = kinds);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.events.send(Event::Closed(self.id));
    }
}
