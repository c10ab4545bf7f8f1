//! The cluster's own housekeeping: one task that follows every change and keeps what the API promises – namespaces
//! get their contents and lose them, dependents go with their owners, CRDs are served, token Secrets are filled in.

mod bootstrap;
mod crds;
mod garbage;
mod namespaces;
mod tokens;

pub use bootstrap::bootstrap;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::auth::User;
use crate::cluster::Cluster;
use crate::kinds::Kind;
use crate::status::ApiError;
use crate::store::{Event, EventKind, Key, ResourceId};
use crate::verbs::{self, DeleteOptions, Part, Request, WriteOptions};

/// What the housekeeping knows beyond the store, and what it has still to do.
struct Keeper {
    cluster: Arc<Cluster>,
    garbage: garbage::Graph,
    definitions: crds::Definitions,
    /// Work that waits for its time: namespaces that are to be looked at, and retries.
    later: BTreeSet<(Instant, Task)>,
}

/// Something to be done, again if it fails.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    FillNamespace(Arc<str>),
    EmptyNamespace(Arc<str>),
    ServeCrd(Arc<str>),
    FillTokenSecret(Key),
    Collect(ResourceId, Key),
    Finalize(ResourceId, Key),
}

/// Between attempts at a task that failed.
const RETRY: Duration = Duration::from_millis(500);

/// Runs until the server stops.
pub async fn run(
    cluster: Arc<Cluster>,
    mut events: mpsc::UnboundedReceiver<Arc<Event>>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut keeper = Keeper {
        cluster,
        garbage: garbage::Graph::default(),
        definitions: crds::Definitions::default(),
        later: BTreeSet::new(),
    };
    keeper.survey().await;
    loop {
        let wake = keeper.later.first().map(|(at, _)| *at);
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => keeper.on_event(&event).await,
                None => return,
            },
            () = sleep_until(wake) => keeper.do_due().await,
            () = crate::cluster::stopped(&mut stopping) => return,
        }
    }
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake).await,
        None => std::future::pending().await,
    }
}

impl Keeper {
    /// Takes stock of what was stored before this process started; events of that time are of no more use.
    async fn survey(&mut self) {
        self.definitions = crds::Definitions::of(&self.cluster);
        self.definitions.publish(&self.cluster);
        let store = self.cluster.store.clone();
        for resource in store.resources() {
            let (volume, _) = store.read(&resource);
            for object in volume.iter(None) {
                self.garbage.add(&resource, object);
            }
        }
        for resource in store.resources() {
            let (volume, _) = store.read(&resource);
            for object in volume.iter(None) {
                self.look_at(&resource, &object.key, EventKind::Added).await;
                let doomed = self.garbage.look_at(&resource, object);
                self.schedule_all(doomed);
            }
        }
    }

    async fn on_event(&mut self, event: &Event) {
        if event.kind == EventKind::Deleted {
            self.garbage.remove(&event.resource, &event.object);
        } else {
            self.garbage
                .replace(&event.resource, event.previous.as_deref(), &event.object);
        }
        self.look_at(&event.resource, &event.object.key, event.kind)
            .await;
        let doomed = match event.kind {
            EventKind::Deleted => self.garbage.owner_gone(&event.object),
            EventKind::Added | EventKind::Modified => {
                self.garbage.look_at(&event.resource, &event.object)
            }
        };
        self.schedule_all(doomed);
        self.do_due().await;
    }

    fn schedule_all(&mut self, tasks: Vec<Task>) {
        for task in tasks {
            self.schedule(task, Duration::ZERO);
        }
    }

    fn schedule(&mut self, task: Task, after: Duration) {
        self.later.insert((Instant::now() + after, task));
    }

    /// Decides what a change asks for.
    async fn look_at(&mut self, resource: &ResourceId, key: &Key, change: EventKind) {
        let gone = change == EventKind::Deleted;
        match resource.as_str() {
            "namespaces" if !gone => {
                let deleting = self
                    .cluster
                    .namespace(&key.name)
                    .is_some_and(|namespace| namespace.deleting);
                if deleting {
                    self.schedule(Task::EmptyNamespace(key.name.clone()), Duration::ZERO);
                } else {
                    self.schedule(Task::FillNamespace(key.name.clone()), Duration::ZERO);
                }
            }
            "serviceaccounts" | "configmaps" if namespaces::is_standard(resource, key) => {
                self.schedule(Task::FillNamespace(key.namespace.clone()), Duration::ZERO);
            }
            "secrets" if !gone => self.schedule(Task::FillTokenSecret(key.clone()), Duration::ZERO),
            "customresourcedefinitions.apiextensions.k8s.io" => {
                if self.definitions.refresh(&self.cluster, &key.name) {
                    self.definitions.publish(&self.cluster);
                }
                if !gone {
                    self.schedule(Task::ServeCrd(key.name.clone()), Duration::ZERO);
                }
            }
            _ => {}
        }
        if resource.as_str() == "serviceaccounts" {
            self.schedule_all(tokens::secrets_of(&self.cluster, key));
        }
        if gone && !key.namespace.is_empty() {
            let terminating = self
                .cluster
                .namespace(&key.namespace)
                .is_some_and(|namespace| namespace.deleting);
            if terminating
                && !self
                    .later
                    .iter()
                    .any(|(_, task)| *task == Task::EmptyNamespace(key.namespace.clone()))
            {
                self.schedule(Task::EmptyNamespace(key.namespace.clone()), Duration::ZERO);
            }
        }
        if gone {
            self.schedule_all(crds::cleanup_of(&self.cluster, resource));
        }
    }

    async fn do_due(&mut self) {
        let now = Instant::now();
        while let Some((at, _)) = self.later.first()
            && *at <= now
        {
            let Some((_, task)) = self.later.pop_first() else {
                return;
            };
            // The same thing may have been asked for several times.
            self.later.retain(|(at, other)| *other != task || *at > now);
            match self.perform(&task).await {
                Ok(None) => {}
                Ok(Some(again)) => self.schedule(task, again),
                Err(error) => {
                    tracing::debug!(cluster = %self.cluster.name, ?task, "will be tried again: {error}");
                    self.schedule(task, RETRY);
                }
            }
        }
    }

    /// Does a task; says after what time it should be looked at again.
    async fn perform(&mut self, task: &Task) -> Result<Option<Duration>, ApiError> {
        match task {
            Task::FillNamespace(name) => namespaces::fill(&self.cluster, name).await.map(|()| None),
            Task::EmptyNamespace(name) => namespaces::empty(&self.cluster, name).await,
            Task::ServeCrd(name) => {
                let conflict = self.definitions.conflict(name);
                crds::serve(&self.cluster, name, conflict.as_deref())
                    .await
                    .map(|()| None)
            }
            Task::FillTokenSecret(key) => tokens::fill(&self.cluster, key).await,
            Task::Collect(resource, key) => self
                .garbage
                .collect(&self.cluster, resource, key)
                .await
                .map(|()| None),
            Task::Finalize(resource, key) => self
                .garbage
                .finalize(&self.cluster, resource, key)
                .await
                .map(|()| None),
        }
    }
}

/// Who the housekeeping is to admission and in managed fields.
const MANAGER: &str = "kube-controller-manager";

/// A request of the housekeeping itself.
fn request<'a>(
    cluster: &'a Arc<Cluster>,
    kind: &Arc<Kind>,
    namespace: &str,
    name: &str,
) -> Request<'a> {
    Request {
        cluster,
        kind: kind.clone(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        user: User::system("system:kube-controller-manager"),
        agent: MANAGER.into(),
    }
}

/// The kind of objects that a shelf holds, in the stored version if that is served.
fn kind_of(cluster: &Cluster, resource: &ResourceId) -> Option<Arc<Kind>> {
    let catalog = cluster.catalog.load();
    let mut found: Vec<&Arc<Kind>> = catalog
        .kinds()
        .filter(|kind| kind.resource == *resource)
        .collect();
    found.sort_by_key(|kind| !kind.served_as_stored());
    found.first().map(|kind| Arc::clone(kind))
}

/// Creates an object unless it exists.
async fn ensure(
    cluster: &Arc<Cluster>,
    resource: &ResourceId,
    object: Value,
) -> Result<(), ApiError> {
    let Some(kind) = kind_of(cluster, resource) else {
        return Err(ApiError::no_such_resource());
    };
    let namespace = crate::object::meta(&object, "namespace").to_owned();
    let name = crate::object::meta(&object, "name").to_owned();
    let request = request(cluster, &kind, &namespace, &name);
    let body = crate::http::Decoded {
        value: object,
        duplicates: Vec::new(),
    };
    match verbs::create(&request, body, &WriteOptions::default()).await {
        Err(error) if error.reason != "AlreadyExists" => Err(error),
        _ => Ok(()),
    }
}

/// Deletes an object; its absence is as good.
async fn delete(
    cluster: &Arc<Cluster>,
    resource: &ResourceId,
    key: &Key,
    options: &DeleteOptions,
) -> Result<(), ApiError> {
    let Some(kind) = kind_of(cluster, resource) else {
        return Ok(());
    };
    let request = request(cluster, &kind, &key.namespace, &key.name);
    match verbs::delete(&request, options).await {
        Err(error) if error.code != 404 && error.code != 409 => Err(error),
        _ => Ok(()),
    }
}

/// Changes an object; its absence is as good.
async fn change(
    cluster: &Arc<Cluster>,
    resource: &ResourceId,
    key: &Key,
    part: Part,
    f: impl Fn(&mut Value) + Send + Sync,
) -> Result<(), ApiError> {
    let Some(kind) = kind_of(cluster, resource) else {
        return Ok(());
    };
    let request = request(cluster, &kind, &key.namespace, &key.name);
    let desired = |live: &Value| {
        let mut object = live.clone();
        crate::object::unset_meta(&mut object, "resourceVersion");
        f(&mut object);
        Ok(object)
    };
    match verbs::update(
        &request,
        part,
        &WriteOptions::default(),
        false,
        Vec::new(),
        &desired,
    )
    .await
    {
        Err(error) if error.code != 404 => Err(error),
        _ => Ok(()),
    }
}
