//! The one task that owns the store: it folds Changes, lowers them, and publishes what to serve.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hawser_api::{Change, Event, Kind, SourceId, Timestamp};
use hawser_lower::{Addresses, FetchedKeys, Lowerer};
use hawser_model::filter::RefusedPatch;
use hawser_model::service::Resolution;
use hawser_model::{ClusterId, Hostname, Service, Snapshot};
use hawser_serve::credentials::{Credentials, Served};
use hawser_serve::{Scope, View};
use hawser_translate::Translator;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::mesh::Mesh;
use crate::wants::Wants;

/// After a change, this long without another one before a snapshot is made: related changes come together.
const QUIET: Duration = Duration::from_millis(10);
/// But never longer than this after the first.
const LATEST: Duration = Duration::from_millis(200);

/// What wakes the writer.
#[derive(Debug)]
pub(crate) enum Input {
    /// A source said something.
    Change(Change),
    /// The mesh's settings changed.
    Mesh(Box<Mesh>),
    /// Keys of tokens, as far as they could be fetched.
    Keys(FetchedKeys),
    /// Addresses of gateways' host names, as far as they could be resolved.
    Addresses(Addresses),
    /// Patches that proxies refuse.
    Refused(Vec<RefusedPatch>),
    /// Credentials of gateways. They are served beside the snapshot, not from it.
    Credentials(Arc<Credentials>),
}

/// What the writer publishes.
#[derive(Clone)]
pub struct Published {
    /// The snapshot.
    pub snapshot: Arc<Snapshot>,
    /// The same, translated, with what is new in it.
    pub view: View,
}

/// The writer's state.
pub(crate) struct Writer {
    lowerer: Lowerer,
    /// Kinds of the own cluster whose first list is still awaited: nothing is published before all are complete, since a
    /// half-read mesh would look like one that lost its services.
    awaited: BTreeSet<(SourceId, Kind)>,
    last: Option<(Arc<Snapshot>, Arc<Translator>)>,
    credentials: Arc<Credentials>,
    credentials_changed: bool,
    sequence: u64,
}

impl Writer {
    /// A writer that publishes once all of `kinds` of `source` have been listed.
    pub fn new(config_cluster: ClusterId, source: &SourceId, kinds: &[Kind]) -> Self {
        Self {
            lowerer: Lowerer::new(config_cluster),
            awaited: kinds.iter().map(|k| (source.clone(), *k)).collect(),
            last: None,
            credentials: Arc::default(),
            credentials_changed: false,
            sequence: 0,
        }
    }

    /// Folds, lowers and publishes until told to stop, or until nobody can say anything any more.
    pub async fn run(
        mut self,
        mut inputs: mpsc::Receiver<Input>,
        (out, wants): (watch::Sender<Option<Published>>, watch::Sender<Arc<Wants>>),
        drain: CancellationToken,
    ) {
        loop {
            let input = tokio::select! {
                () = drain.cancelled() => return,
                input = inputs.recv() => input,
            };
            let Some(input) = input else { return };
            self.fold(input);
            let first = Instant::now();
            loop {
                let left = LATEST.saturating_sub(first.elapsed()).min(QUIET);
                match tokio::time::timeout(left, inputs.recv()).await {
                    Ok(Some(input)) if first.elapsed() < LATEST => self.fold(input),
                    Ok(Some(input)) => {
                        self.fold(input);
                        break;
                    }
                    Ok(None) | Err(_) => break,
                }
            }
            if self.awaited.is_empty()
                && let Some(published) = tokio::task::block_in_place(|| self.publish())
            {
                let wanted = match published.view.scope.configuration {
                    true => Wants::of(&self.lowerer),
                    false => wants.borrow().next(&self.lowerer),
                };
                wants.send_if_modified(|known| {
                    let changed = **known != wanted;
                    if changed {
                        *known = Arc::new(wanted);
                    }
                    changed
                });
                out.send_replace(Some(published));
            }
        }
    }

    fn fold(&mut self, input: Input) {
        match input {
            Input::Change(change) => {
                if let Event::Synced { kind } = &change.event {
                    self.awaited.remove(&(change.source.clone(), *kind));
                }
                self.lowerer.apply(change);
            }
            Input::Mesh(mesh) => self.lowerer.set_mesh(mesh.config, mesh.networks),
            Input::Keys(keys) => self.lowerer.set_keys(keys),
            Input::Refused(patches) => self.lowerer.set_refused_patches(patches),
            Input::Credentials(credentials) => {
                self.credentials = credentials;
                self.credentials_changed = true;
            }
            Input::Addresses(addresses) => self.lowerer.set_addresses(addresses),
        }
    }

    /// The next view, or nothing where nothing is new.
    fn publish(&mut self) -> Option<Published> {
        let began = Instant::now();
        self.lowerer.set_now(now());
        let snapshot = self.lowerer.snapshot();
        let credentials = std::mem::take(&mut self.credentials_changed);
        let (scope, translator) = match &self.last {
            None => (
                Scope::all(),
                Arc::new(Translator::new(Arc::clone(&snapshot))),
            ),
            Some((last, _)) if Arc::ptr_eq(last, &snapshot) && !credentials => return None,
            Some((last, translator)) if Arc::ptr_eq(last, &snapshot) => (
                Scope {
                    credentials,
                    ..Scope::default()
                },
                Arc::clone(translator),
            ),
            Some((last, translator)) => (
                Scope {
                    credentials,
                    ..scope(last, &snapshot)
                },
                Arc::new(Translator::next(translator, Arc::clone(&snapshot))),
            ),
        };
        self.sequence += 1;
        self.last = Some((Arc::clone(&snapshot), Arc::clone(&translator)));
        tracing::debug!(
            sequence = self.sequence,
            services = snapshot.services.len(),
            problems = snapshot.problems.len(),
            took_us = began.elapsed().as_micros(),
            "snapshot"
        );
        let source = Arc::new(Served {
            translator,
            credentials: Arc::clone(&self.credentials),
        });
        Some(Published {
            snapshot,
            view: View {
                source,
                sequence: self.sequence,
                scope,
            },
        })
    }
}

fn now() -> Timestamp {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX))
}

/// What differs between two snapshots, as far as streams care.
fn scope(last: &Snapshot, next: &Snapshot) -> Scope {
    let changes = next.changes(last);
    if changes.configuration {
        return Scope::all();
    }
    let hosts = if changes.endpoints {
        changed_hosts(last, next)
    } else {
        BTreeSet::new()
    };
    let of_services = |is: fn(&Service) -> bool| {
        hosts
            .iter()
            .flat_map(|h| next.services.of_host(h.as_str()))
            .any(|s| is(s))
    };
    // Endpoints that are not discovered stand in clusters and listeners.
    let configuration = of_services(|s| s.resolution != Resolution::Endpoints);
    // The names of headless services are their endpoints.
    let names = of_services(|s| s.headless);
    Scope {
        configuration,
        hosts: Arc::new(hosts),
        names,
        ..Scope::default()
    }
}

/// Hosts whose endpoints differ: a walk over two sorted maps that compares pointers.
fn changed_hosts(last: &Snapshot, next: &Snapshot) -> BTreeSet<Hostname> {
    let differs = |a: &Snapshot, b: &Snapshot| {
        let (a, b) = (Arc::clone(&a.endpoints), Arc::clone(&b.endpoints));
        a.iter()
            .filter(|(key, set)| b.get(key).is_none_or(|other| other != *set))
            .map(|(key, _)| key.host.clone())
            .collect::<BTreeSet<_>>()
    };
    let mut hosts = differs(next, last);
    hosts.extend(differs(last, next));
    hosts
}

#[cfg(test)]
mod tests;
