//! Following a kind in one cluster: list, then watch, and again from the start when the server has forgotten where we
//! were (<https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes>).

use crate::backoff::Backoff;
use crate::client::{ACCEPT_JSON, ACCEPT_METADATA, Selection, text, tidy};
use crate::lines::Lines;
use crate::{Client, Error, Resource};
use futures::StreamExt;
use futures::stream::BoxStream;
use http::{Method, StatusCode};
use serde_json::Value;
use std::time::{Duration, Instant, SystemTime};

/// What is known about a kind in a cluster, one step after another.
///
/// Every event but [`Event::Stale`] is an answer of the server. Folding `Reset`, `Apply`, `Delete` and `Absent` gives
/// the kind's contents as of the resourceVersion that the last answer carries.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Everything there is; replaces all that was known. What it lacks is gone.
    Reset {
        /// All objects, without `managedFields`.
        objects: Vec<Value>,
        /// What the objects are complete as of.
        resource_version: String,
    },
    /// An object is new or has changed.
    Apply {
        /// The object, without `managedFields`.
        object: Value,
        /// The object's version.
        resource_version: String,
    },
    /// An object is gone, or the selection does not hold it any more.
    Delete {
        /// Its namespace; empty for kinds without.
        namespace: String,
        /// Its name.
        name: String,
        /// Its uid: a successor of the same name has another.
        uid: String,
        /// The version of the deletion.
        resource_version: String,
    },
    /// Nothing has changed up to this version; also sent when contact is back after [`Event::Stale`].
    Bookmark {
        /// What is known is complete as of this version.
        resource_version: String,
    },
    /// The server does not serve this kind (its CustomResourceDefinition is not there): there are no objects.
    Absent,
    /// No answer, or a refusal: what was known stays true as far as anybody knows. Sent at every failed attempt.
    Stale {
        /// When the server was last heard.
        since: SystemTime,
        /// Why there is no answer now.
        error: Error,
    },
}

/// How long the server keeps one watch open. The client gives it [`GRACE`] more before it takes silence for loss.
const WATCH_SECONDS: u64 = 120;
const GRACE: Duration = Duration::from_secs(10);
/// Time for the server to start answering a watch.
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(15));
const RETRY_ABSENT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Follows the selected objects of a kind for as long as the stream is polled; it never ends and never gives up.
/// Starts with [`Event::Reset`] or [`Event::Absent`] (or [`Event::Stale`] until the server answers).
pub fn watch(
    client: &Client,
    resource: Resource,
    selection: Selection,
) -> BoxStream<'static, Event> {
    watch_retrying(client, resource, selection, RETRY, RETRY_ABSENT)
}

fn watch_retrying(
    client: &Client,
    resource: Resource,
    selection: Selection,
    failures: (Duration, Duration),
    absences: (Duration, Duration),
) -> BoxStream<'static, Event> {
    let watcher = Watcher {
        client: client.clone(),
        resource,
        selection,
        phase: Phase::List,
        wait: None,
        heard: SystemTime::now(),
        stale: false,
        absent: false,
        failures: Backoff::new(failures.0, failures.1),
        absences: Backoff::new(absences.0, absences.1),
    };
    futures::stream::unfold(watcher, |mut watcher| async {
        let event = watcher.next().await;
        Some((event, watcher))
    })
    .boxed()
}

struct Watcher {
    client: Client,
    resource: Resource,
    selection: Selection,
    phase: Phase,
    /// To be waited for before the next attempt.
    wait: Option<Duration>,
    heard: SystemTime,
    stale: bool,
    absent: bool,
    failures: Backoff,
    absences: Backoff,
}

enum Phase {
    List,
    Open {
        version: String,
    },
    Follow {
        version: String,
        lines: Lines,
        opened: Instant,
    },
}

impl Watcher {
    async fn next(&mut self) -> Event {
        loop {
            if let Some(wait) = self.wait.take() {
                tokio::time::sleep(wait).await;
            }
            let step = match std::mem::replace(&mut self.phase, Phase::List) {
                Phase::List => self.list().await,
                Phase::Open { version } => self.open(version).await,
                Phase::Follow {
                    version,
                    lines,
                    opened,
                } => self.follow(version, lines, opened).await,
            };
            match step {
                Ok(Some(event)) => {
                    self.stale = false;
                    return event;
                }
                Ok(None) => {}
                Err(Error::NotFound(_)) => {
                    // The kind is gone, and with it all objects: said once, then asked for quietly.
                    self.phase = Phase::List;
                    self.heard = SystemTime::now();
                    self.wait = Some(self.absences.delay());
                    if !self.absent || self.stale {
                        self.absent = true;
                        self.stale = false;
                        return Event::Absent;
                    }
                }
                // The version is too old to go on from: a new list says what was missed, deletions included.
                Err(Error::Expired(message)) if !matches!(self.phase, Phase::List) => {
                    tracing::debug!(resource = %self.resource, message, "watch expired, listing again");
                    self.phase = Phase::List;
                    self.wait = Some(self.failures.delay());
                }
                Err(error) => {
                    self.stale = true;
                    self.wait = Some(self.failures.delay());
                    return Event::Stale {
                        since: self.heard,
                        error,
                    };
                }
            }
        }
    }

    async fn list(&mut self) -> Result<Option<Event>, Error> {
        let list = self.client.list(&self.resource, &self.selection).await?;
        self.answered();
        let resource_version = list.resource_version;
        self.phase = Phase::Open {
            version: resource_version.clone(),
        };
        Ok(Some(Event::Reset {
            objects: list.items,
            resource_version,
        }))
    }

    async fn open(&mut self, version: String) -> Result<Option<Event>, Error> {
        // Should this attempt fail, the next one goes on from the same version.
        self.phase = Phase::Open {
            version: version.clone(),
        };
        let path = self
            .resource
            .collection(self.selection.namespace.as_deref())?;
        let mut query = self.selection.query();
        query.push(("watch", "true".to_owned()));
        query.push(("allowWatchBookmarks", "true".to_owned()));
        query.push(("resourceVersion", version.clone()));
        query.push(("timeoutSeconds", WATCH_SECONDS.to_string()));
        let accept = if self.selection.metadata_only {
            ACCEPT_METADATA
        } else {
            ACCEPT_JSON
        };
        let request = self.client.open(Method::GET, &path, &query, None, accept);
        let response = match tokio::time::timeout(OPEN_TIMEOUT, request).await {
            Ok(response) => response?,
            Err(_) => return Err(Error::Unreachable("no answer to a watch".to_owned())),
        };
        let back = self.stale;
        self.answered();
        let lines = Lines::new(response.into_body());
        self.phase = Phase::Follow {
            version: version.clone(),
            lines,
            opened: Instant::now(),
        };
        Ok(back.then_some(Event::Bookmark {
            resource_version: version,
        }))
    }

    async fn follow(
        &mut self,
        version: String,
        mut lines: Lines,
        opened: Instant,
    ) -> Result<Option<Event>, Error> {
        let silence = Duration::from_secs(WATCH_SECONDS) + GRACE;
        let line = match tokio::time::timeout(silence, lines.next()).await {
            Ok(Some(line)) => line,
            Ok(None) => {
                // The server ends every watch after a while. One that ends at once must not be asked in a hot loop.
                if opened.elapsed() < Duration::from_secs(1) {
                    self.wait = Some(self.failures.delay());
                } else {
                    self.failures.reset();
                }
                self.phase = Phase::Open { version };
                return Ok(None);
            }
            Err(_) => {
                self.phase = Phase::Open { version };
                return Err(Error::Unreachable(format!(
                    "silence for {} s",
                    silence.as_secs()
                )));
            }
        };
        self.phase = Phase::Open {
            version: version.clone(),
        };
        let line = line?;
        // What cannot be read would only come again from the same version.
        let event = parse(&line, &self.resource).inspect_err(|error| {
            if matches!(error, Error::Unreadable(_)) {
                self.phase = Phase::List;
            }
        })?;
        self.answered();
        self.failures.reset();
        let version = match &event {
            Some(event) => event.resource_version().unwrap_or_default().to_owned(),
            None => version,
        };
        self.phase = Phase::Follow {
            version,
            lines,
            opened,
        };
        Ok(event)
    }

    fn answered(&mut self) {
        self.heard = SystemTime::now();
        self.absent = false;
        self.absences.reset();
    }
}

impl Event {
    /// The version that what is known is complete as of after this event; `None` where the event tells nothing new.
    pub fn resource_version(&self) -> Option<&str> {
        match self {
            Event::Reset {
                resource_version, ..
            }
            | Event::Apply {
                resource_version, ..
            }
            | Event::Delete {
                resource_version, ..
            }
            | Event::Bookmark { resource_version } => Some(resource_version),
            Event::Absent | Event::Stale { .. } => None,
        }
    }
}

/// One line of a watch; `None` for a type of event that the future may bring.
fn parse(line: &[u8], resource: &Resource) -> Result<Option<Event>, Error> {
    let unreadable = |what: String| Error::Unreadable(format!("watch of {resource}: {what}"));
    let mut line: Value =
        serde_json::from_slice(line).map_err(|error| unreadable(error.to_string()))?;
    let object = line.get_mut("object").map(Value::take).unwrap_or_default();
    let kind = line.get("type").and_then(Value::as_str).unwrap_or_default();
    let resource_version = text(&object, "/metadata/resourceVersion");
    if kind == "ERROR" {
        // The HTTP status was 200; the object is a Status with the real one.
        let code = object
            .get("code")
            .and_then(Value::as_u64)
            .and_then(|code| u16::try_from(code).ok());
        let code = code.and_then(|code| StatusCode::from_u16(code).ok());
        let body = serde_json::to_vec(&object).unwrap_or_default();
        // A 404 inside a watch is no statement about the kind.
        return Err(
            match Error::from_status(code.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), &body) {
                Error::NotFound(message) => Error::Server { code: 404, message },
                error => error,
            },
        );
    }
    if resource_version.is_empty() {
        return Err(unreadable(format!(
            "{kind:?} without metadata.resourceVersion"
        )));
    }
    Ok(match kind {
        "ADDED" | "MODIFIED" => Some(Event::Apply {
            object: tidy(object, resource),
            resource_version,
        }),
        "DELETED" => Some(Event::Delete {
            namespace: text(&object, "/metadata/namespace"),
            name: text(&object, "/metadata/name"),
            uid: text(&object, "/metadata/uid"),
            resource_version,
        }),
        "BOOKMARK" => Some(Event::Bookmark { resource_version }),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
