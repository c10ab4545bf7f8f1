//! Credentials of gateways: the Secrets that Gateways refer to and proxies ask for, read as long as somebody does.
//!
//! This task alone holds their contents; they go to the writer as a value beside the snapshot, never into it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use hawser_kube::{Client, Error, Event, Resource, Selection};
use hawser_model::{Snapshot, Str};
use hawser_serve::credentials::{Contents, Credentials, Demand, Key, References};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::writer::{Input, Published};

const SECRETS: Resource = Resource::namespaced("", "v1", "Secret", "secrets");
const CONFIG_MAPS: Resource = Resource::namespaced("", "v1", "ConfigMap", "configmaps");
const ACCESS_REVIEWS: Resource = Resource::cluster_wide(
    "authorization.k8s.io",
    "v1",
    "SubjectAccessReview",
    "subjectaccessreviews",
);
/// How often to ask again whether an account may read Secrets (Istio keeps answers for a minute).
const REVIEW: Duration = Duration::from_secs(60);

/// Namespace and name of a service account.
type Account = (Str, Str);

/// Reads what is asked for, and tells the writer, until told to stop.
pub(crate) async fn keep(
    client: Client,
    mut demands: mpsc::UnboundedReceiver<Demand>,
    mut published: watch::Receiver<Option<Published>>,
    inputs: mpsc::Sender<Input>,
    drain: CancellationToken,
) {
    let (found, mut finds) = mpsc::channel(64);
    let mut store = Store::default();
    let mut told = Credentials::default();
    let mut snapshot: Option<Arc<Snapshot>> = None;
    let mut reviews: JoinSet<(Account, Result<bool, Error>)> = JoinSet::new();
    let mut again = tokio::time::interval(REVIEW);
    loop {
        let unsure: Vec<Account> = tokio::select! {
            () = drain.cancelled() => return,
            demand = demands.recv() => match demand {
                Some(demand) => store.demand(demand).into_iter().collect(),
                None => return,
            },
            changed = published.changed() => {
                if changed.is_err() {
                    return;
                }
                let newest = published.borrow_and_update().as_ref().map(|p| Arc::clone(&p.snapshot));
                if let Some(newest) = newest {
                    let same = snapshot.as_ref().is_some_and(|s| !newest.changes(s).configuration);
                    if !same {
                        store.known.references = References::of(&newest);
                    }
                    snapshot = Some(newest);
                }
                Vec::new()
            }
            Some((key, contents)) = finds.recv() => {
                store.found(key, contents);
                Vec::new()
            }
            Some(Ok((account, answer))) = reviews.join_next() => {
                match answer {
                    Ok(may) => store.reviewed(account, may),
                    // What was known before stays; the next round asks again.
                    Err(error) => tracing::warn!(namespace = &*account.0, account = &*account.1, %error, "access not reviewed"),
                }
                Vec::new()
            }
            _ = again.tick() => store.accounts().into_iter().collect(),
        };
        for account in unsure {
            let client = client.clone();
            reviews.spawn(async move {
                let answer = may_read(&client, &account).await;
                (account, answer)
            });
        }
        for key in store.follow() {
            let stop = CancellationToken::new();
            tokio::spawn(follow(
                client.clone(),
                key.clone(),
                found.clone(),
                stop.clone(),
            ));
            store.followed.insert(key, stop.drop_guard());
        }
        if store.known != told {
            told.clone_from(&store.known);
            if inputs
                .send(Input::Credentials(Arc::new(told.clone())))
                .await
                .is_err()
            {
                return;
            }
        }
    }
}

/// Who asks for what, what is followed for them, and what is known.
#[derive(Default)]
struct Store {
    streams: BTreeMap<u64, (Account, BTreeSet<Str>)>,
    /// A watch ends when its guard is dropped.
    followed: BTreeMap<Key, DropGuard>,
    known: Credentials,
}

impl Store {
    /// Returns the account if it is not known to be a reader.
    fn demand(&mut self, demand: Demand) -> Option<Account> {
        match demand {
            Demand::Wanted {
                stream,
                account,
                names,
            } => {
                self.streams.insert(stream, (account.clone(), names));
                Some(account).filter(|a| !self.known.readers.contains(a))
            }
            Demand::Gone { stream } => {
                self.streams.remove(&stream);
                let accounts = self.accounts();
                self.known.readers.retain(|a| accounts.contains(a));
                None
            }
        }
    }

    fn accounts(&self) -> BTreeSet<Account> {
        self.streams
            .values()
            .map(|(account, _)| account.clone())
            .collect()
    }

    fn reviewed(&mut self, account: Account, may: bool) {
        if !may {
            tracing::warn!(
                namespace = &*account.0,
                account = &*account.1,
                "the account may not list Secrets of its namespace: its proxies get no credentials"
            );
            self.known.readers.remove(&account);
        } else if self.accounts().contains(&account) {
            self.known.readers.insert(account);
        }
    }

    fn found(&mut self, key: Key, contents: Option<Arc<Contents>>) {
        match contents {
            Some(contents) if self.followed.contains_key(&key) => {
                drop(self.known.contents.insert(key, contents))
            }
            _ => drop(self.known.contents.remove(&key)),
        }
    }

    /// What is to be followed from now on; what nobody may have or wants any more is forgotten.
    fn follow(&mut self) -> Vec<Key> {
        let known = &self.known;
        let names = self.streams.values().flat_map(|(account, names)| {
            let reader = known.readers.contains(account);
            let may = move |n: &&Str| reader || known.references.is_public(n);
            names.iter().filter(may).map(|n| (&account.0, n))
        });
        let wanted: BTreeSet<Key> = names
            .flat_map(|(namespace, n)| self.known.references.places(namespace, n))
            .collect();
        self.followed.retain(|key, _| wanted.contains(key));
        self.known.contents.retain(|key, _| wanted.contains(key));
        wanted
            .into_iter()
            .filter(|key| !self.followed.contains_key(key))
            .collect()
    }
}

/// Whether an account may list the Secrets of its namespace (what Istio asks before it gives a gateway its certificates).
async fn may_read(client: &Client, (namespace, name): &Account) -> Result<bool, Error> {
    let question = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": format!("system:serviceaccount:{namespace}:{name}"),
            "groups": ["system:authenticated", "system:serviceaccounts", format!("system:serviceaccounts:{namespace}")],
            "resourceAttributes": { "namespace": &**namespace, "verb": "list", "group": "", "resource": "secrets" },
        },
    });
    let answer = client.create(&ACCESS_REVIEWS, &question).await?;
    Ok(answer["status"]["allowed"] == json!(true))
}

/// Follows one Secret or ConfigMap until told to stop.
async fn follow(
    client: Client,
    key: Key,
    found: mpsc::Sender<(Key, Option<Arc<Contents>>)>,
    stop: CancellationToken,
) {
    let selection =
        Selection::in_namespace(&*key.namespace).fields(format!("metadata.name={}", key.name));
    let resource = if key.config_map { CONFIG_MAPS } else { SECRETS };
    let mut events = hawser_kube::watch(&client, resource, selection);
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = events.next() => event,
        };
        let object = match event {
            None => return,
            Some(Event::Reset { objects, .. }) => objects.into_iter().next(),
            Some(Event::Apply { object, .. }) => Some(object),
            Some(Event::Delete { .. } | Event::Absent) => None,
            Some(Event::Bookmark { .. } | Event::Stale { .. }) => continue,
        };
        let contents = object.and_then(|object| match contents(&object, key.config_map) {
            Ok(contents) => Some(Arc::new(contents)),
            Err(error) => {
                tracing::warn!(
                    namespace = &*key.namespace,
                    name = &*key.name,
                    error,
                    "a credential cannot be used"
                );
                None
            }
        });
        if found.send((key.clone(), contents)).await.is_err() {
            return;
        }
    }
}

/// What an object holds, checked: Envoy would refuse what cannot be read. Errors never quote it.
fn contents(object: &Value, config_map: bool) -> Result<Contents, String> {
    let mut data = BTreeMap::new();
    for (name, value) in object["data"].as_object().into_iter().flatten() {
        let text = value.as_str().unwrap_or_default();
        let bytes = match config_map {
            true => text.as_bytes().to_vec(),
            false => STANDARD
                .decode(text)
                .map_err(|_| format!("{name} is not base64"))?,
        };
        data.insert(name.clone(), bytes);
    }
    let contents = Contents::of(&data);
    let certificates = [
        ("certificate", &contents.certificate),
        ("roots", &contents.roots),
    ];
    for (what, pem) in certificates.into_iter().filter(|(_, pem)| !pem.is_empty()) {
        hawser_base::tls::certificates(pem)
            .map_err(|_| format!("its {what} cannot be read as PEM"))?;
    }
    if !contents.certificate.is_empty() {
        hawser_base::tls::private_key(&contents.key)
            .map_err(|_| "its private key cannot be read as PEM".to_owned())?;
    }
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(stream: u64, namespace: &str, names: &[&str]) -> Demand {
        let names = names.iter().map(|n| Str::from(*n)).collect();
        Demand::Wanted {
            stream,
            account: (namespace.into(), "gateway".into()),
            names,
        }
    }

    #[test]
    fn only_readers_that_ask_are_read_for() {
        let mut store = Store::default();
        let account: Account = ("a".into(), "gateway".into());
        assert_eq!(
            store.demand(wanted(1, "a", &["kubernetes://web"])),
            Some(account.clone()),
            "to be reviewed"
        );
        store.reviewed(account.clone(), true);
        assert_eq!(
            store.demand(wanted(1, "a", &["kubernetes://web"])),
            None,
            "known"
        );
        assert!(store.follow().is_empty(), "nothing refers to it");
        store.reviewed(account.clone(), false);
        assert!(store.known.readers.is_empty());
        store.reviewed(account.clone(), true);
        store.demand(Demand::Gone { stream: 1 });
        assert!(store.known.readers.is_empty(), "nobody asks any more");
        store.reviewed(account, true);
        assert!(
            store.known.readers.is_empty(),
            "an answer that came too late"
        );
    }

    #[test]
    fn what_cannot_be_used_is_said_without_quoting_it() {
        let secret = |key: &str, value: &str| json!({ "data": { key: STANDARD.encode(value) } });
        for (name, object, config_map, expected) in [
            (
                "no base64",
                json!({ "data": { "tls.crt": "?" } }),
                false,
                "tls.crt is not base64",
            ),
            (
                "no certificate",
                secret("tls.crt", "hunter2"),
                false,
                "its certificate cannot be read as PEM",
            ),
            (
                "no roots",
                json!({ "data": { "ca.crt": "hunter2" } }),
                true,
                "its roots cannot be read as PEM",
            ),
        ] {
            assert_eq!(
                contents(&object, config_map).unwrap_err(),
                expected,
                "{name}"
            );
        }
        assert_eq!(
            contents(&json!({}), false),
            Ok(Contents::default()),
            "empty"
        );
    }
}
