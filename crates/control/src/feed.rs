//! Watches become Changes.

use std::time::UNIX_EPOCH;

use futures::StreamExt;
use hawser_api::{Change, Event, Kind, ObjectRef, ParseError, SourceId, Timestamp};
use hawser_kube::{Client, Event as Watched};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::kinds;

/// Follows the kinds in one cluster until told to stop. All that the cluster says ends up in `changes`.
pub fn follow(
    client: &Client,
    source: &SourceId,
    kinds: &[Kind],
    changes: &mpsc::Sender<Change>,
    drain: &CancellationToken,
) {
    for kind in kinds.iter().copied() {
        let mut watch = hawser_kube::watch(client, kinds::resource(kind), kinds::selection(kind));
        let (source, changes, drain) = (source.clone(), changes.clone(), drain.clone());
        tokio::spawn(async move {
            let mut contact = Contact::default();
            loop {
                let event = tokio::select! {
                    () = drain.cancelled() => return,
                    event = watch.next() => event,
                };
                let Some(event) = event else { return };
                for change in contact.changes(&source, kind, event) {
                    if changes.send(change).await.is_err() {
                        return;
                    }
                }
            }
        });
    }
}

/// Whether a kind's first list is complete, and whether its source answers.
#[derive(Default)]
pub struct Contact {
    synced: bool,
    lost: bool,
}

impl Contact {
    /// What a step of a watch means for the store.
    pub fn changes(&mut self, source: &SourceId, kind: Kind, event: Watched) -> Vec<Change> {
        let mut out = Vec::new();
        let mut say = |version: Option<String>, event: Event| {
            out.push(Change {
                source: source.clone(),
                version,
                event,
            });
        };
        if let Watched::Stale { since, error } = &event {
            tracing::warn!(cluster = %source, %kind, %error, "no answer from the API server");
            self.lost = true;
            let since = since.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
            say(
                None,
                Event::Lost {
                    since: Timestamp(i64::try_from(since).unwrap_or(i64::MAX)),
                },
            );
            return out;
        }
        if std::mem::take(&mut self.lost) {
            say(None, Event::Found);
        }
        match event {
            Watched::Reset {
                objects,
                resource_version,
            } => {
                let (mut good, mut bad) = (Vec::new(), Vec::new());
                for object in objects {
                    match parse(kind, object) {
                        Ok(resource) => good.push(resource),
                        Err(refused) => bad.extend(refused),
                    }
                }
                say(
                    Some(resource_version.clone()),
                    Event::Reset {
                        kind,
                        objects: good,
                    },
                );
                for refused in bad {
                    say(Some(resource_version.clone()), refused);
                }
            }
            Watched::Absent => say(
                None,
                Event::Reset {
                    kind,
                    objects: Vec::new(),
                },
            ),
            Watched::Apply {
                object,
                resource_version,
            } => match parse(kind, object) {
                Ok(resource) => say(Some(resource_version), Event::Apply(resource)),
                Err(refused) => refused
                    .into_iter()
                    .for_each(|r| say(Some(resource_version.clone()), r)),
            },
            Watched::Delete {
                namespace,
                name,
                resource_version,
                ..
            } => {
                say(
                    Some(resource_version),
                    Event::Delete(ObjectRef {
                        kind,
                        namespace,
                        name,
                    }),
                );
            }
            Watched::Bookmark { resource_version } => {
                say(Some(resource_version), Event::Bookmark { kind })
            }
            Watched::Stale { .. } => {}
        }
        if !std::mem::replace(&mut self.synced, true) {
            say(None, Event::Synced { kind });
        }
        out
    }
}

/// An object that cannot be read is refused by name; the store keeps what it had of it.
fn parse(kind: Kind, object: Value) -> Result<hawser_api::Resource, Option<Event>> {
    let text = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let named = ObjectRef {
        kind,
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name"),
    };
    match hawser_api::parse(object) {
        Ok(parsed) => Ok(parsed.resource),
        Err(ParseError::Invalid { object, faults }) => Err(Some(Event::Refuse { object, faults })),
        Err(error) => {
            tracing::warn!(object = %named, %error, "the API server sent what it should not have");
            Err(None)
        }
    }
}
