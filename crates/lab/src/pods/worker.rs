//! One pod's life on the node: network, volumes, containers, status, end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hawser_kube::{Client, Error};
use k8s_openapi::api::core::v1::{Container, Pod, PodCondition, PodStatus};
use k8s_openapi::jiff::Timestamp;
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep};

use super::container::{PodContext, Task};
use super::fields::Placed;
use super::record::{ContainerRecord, Record};
use super::source::Reader;
use super::state::{self, Facts, Phase, Report, Role, State, View};
use super::volumes::Volumes;
use super::{Address, NodeContext, PODS, etc};
use crate::net::PodNet;

/// What the worker is to do with its pod.
#[derive(Debug, Clone)]
pub(crate) enum Wish {
    /// Run it, or end it when it is being deleted.
    Pod(Arc<Pod>),
    /// It is gone from the API: end it at once.
    Gone,
    /// The node ends: end it soon and say nothing.
    NodeEnds,
}

/// How often volumes follow their sources.
const REFRESH: Duration = Duration::from_secs(20);
/// Between attempts to set a pod up, doubling.
const SETUP_RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Time for containers to end when the node ends.
const NODE_END_GRACE: Duration = Duration::from_secs(5);
/// How long the last status may take to be written.
const LAST_STATUS: Duration = Duration::from_secs(10);

struct Slot {
    container: Container,
    role: Role,
    state: State,
    running: Option<(JoinHandle<()>, watch::Sender<Option<Instant>>)>,
}

/// A pod's worker: owns everything of it on this node.
pub(crate) struct Worker {
    node: Arc<NodeContext>,
    pod: Arc<Pod>,
    wishes: watch::Receiver<Wish>,
    address: Option<Address>,
    slots: Vec<Slot>,
    sender: mpsc::Sender<(usize, Report)>,
    reports: mpsc::Receiver<(usize, Report)>,
    facts: Facts,
    conditions: Vec<PodCondition>,
    status: watch::Sender<Option<PodStatus>>,
    writer: JoinHandle<()>,
}

/// What a running pod has.
struct Running {
    net: Option<PodNet>,
    volumes: Volumes,
    context: Arc<PodContext>,
}

impl Worker {
    /// `address` is absent for pods on the node's own network.
    pub(crate) fn new(
        node: Arc<NodeContext>,
        pod: Arc<Pod>,
        wishes: watch::Receiver<Wish>,
        address: Option<Address>,
    ) -> Worker {
        let (sender, reports) = mpsc::channel(64);
        let (status, updates) = watch::channel(None);
        let writer = tokio::spawn(write_status(node.client.clone(), pod.clone(), updates));
        let slots = slots(&pod);
        let facts = Facts {
            host_ip: node.net.node_ip.to_string(),
            pod_ip: None,
            started: Some(Timestamp::now()),
        };
        let conditions = pod
            .status
            .as_ref()
            .and_then(|status| status.conditions.clone())
            .unwrap_or_default();
        Worker {
            node,
            pod,
            wishes,
            address,
            slots,
            sender,
            reports,
            facts,
            conditions,
            status,
            writer,
        }
    }

    /// Runs the pod until it is gone.
    pub(crate) async fn run(mut self) {
        let uid = self.pod.metadata.uid.clone().unwrap_or_default();
        let dir = self.node.dirs.volumes.join(&uid);
        let record = self
            .node
            .dirs
            .records
            .join(format!("{}_{uid}.json", self.node.cluster));
        self.publish();
        if let Some(mut running) = self.set_up(dir.clone()).await {
            self.live(&mut running, &record).await;
            self.terminate().await;
            if let Some(net) = running.net {
                // `ip` takes some milliseconds.
                let removed = tokio::task::spawn_blocking(|| net.remove()).await;
                removed.unwrap_or_else(|error| tracing::warn!(%error, "removing a pod's network"));
            }
        }
        let _ = std::fs::remove_dir_all(&dir);
        let _ = std::fs::remove_file(&record);
        self.finish().await;
    }

    fn ending(&self) -> bool {
        match &*self.wishes.borrow() {
            Wish::Pod(pod) => pod.metadata.deletion_timestamp.is_some(),
            Wish::Gone | Wish::NodeEnds => true,
        }
    }

    /// Network and volumes; tried until it works. `None` when the pod is to end before that.
    async fn set_up(&mut self, dir: PathBuf) -> Option<Running> {
        let mut delay = SETUP_RETRY.0;
        let mut net = None;
        let mut volumes = None;
        loop {
            if self.ending() {
                return None;
            }
            match self.try_set_up(&dir, &mut net, &mut volumes).await {
                Ok(context) => {
                    let volumes = volumes.take()?;
                    return Some(Running {
                        net: net.take(),
                        volumes,
                        context: Arc::new(context),
                    });
                }
                Err(message) => {
                    for slot in &mut self.slots {
                        slot.state.apply(Report::Waiting {
                            reason: "ContainerCreating",
                            message: Some(message.clone()),
                        });
                    }
                    self.publish();
                    tokio::select! {
                        () = sleep(delay) => {}
                        changed = self.wishes.changed() => if changed.is_err() { return None },
                    }
                    delay = (delay * 2).min(SETUP_RETRY.1);
                }
            }
        }
    }

    async fn try_set_up(
        &mut self,
        dir: &std::path::Path,
        net: &mut Option<PodNet>,
        volumes: &mut Option<Volumes>,
    ) -> Result<PodContext, String> {
        let (ip, netns) = match (&self.address, &net) {
            (None, _) => (self.node.net.node_ip, self.node.net.netns.clone()),
            (Some(address), Some(net)) => (address.ip, net.netns.path().to_path_buf()),
            (Some(address), None) => {
                let (node, address) = (self.node.clone(), *address);
                let made = tokio::task::spawn_blocking(move || {
                    PodNet::create(&node.netns, &node.net, address.ip, address.number)
                });
                let made = made
                    .await
                    .map_err(|error| error.to_string())?
                    .map_err(|error| error.to_string())?;
                let netns = made.netns.path().to_path_buf();
                *net = Some(made);
                (address.ip, netns)
            }
        };
        self.facts.pod_ip = Some(ip.to_string());
        let namespace = self.pod.metadata.namespace.clone().unwrap_or_default();
        let reader = Reader::new(self.node.client.clone(), &namespace);
        let placed = Placed {
            pod_ip: ip.to_string(),
            host_ip: self.node.net.node_ip.to_string(),
            cpus: self.node.cpus,
            memory: self.node.memory,
        };
        let volumes = match volumes {
            Some(volumes) => volumes,
            None => volumes.insert(Volumes::new(dir).map_err(|error| error.to_string())?),
        };
        let paths = volumes
            .refresh(&self.pod, &placed, &reader)
            .await
            .map_err(|error| error.to_string())?;
        let hostname = etc::hostname(&self.pod);
        let host_resolv = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let etc = etc::files(&self.pod, &hostname, ip, self.node.dns, &host_resolv);
        Ok(PodContext {
            node: self.node.clone(),
            pod: self.pod.clone(),
            placed,
            ip,
            netns,
            hostname,
            etc,
            volumes: paths,
            reader,
        })
    }

    /// Runs the containers until the pod is to end.
    async fn live(&mut self, running: &mut Running, record: &std::path::Path) {
        let mut refresh = interval(REFRESH);
        refresh.reset();
        let can_change = Volumes::can_change(&self.pod);
        let mut recorded = None;
        loop {
            self.advance(&running.context);
            self.publish();
            self.write_record(&running.context, record, &mut recorded);
            tokio::select! {
                report = self.reports.recv() => if let Some((index, report)) = report {
                    self.take_report(index, report);
                },
                changed = self.wishes.changed() => {
                    if changed.is_err() || self.ending() {
                        return;
                    }
                    let wish = self.wishes.borrow_and_update().clone();
                    if let Wish::Pod(pod) = wish {
                        self.pod = pod;
                    }
                }
                _ = refresh.tick(), if can_change => {
                    let context = &running.context;
                    // What was there stays until its source can be read again.
                    if let Err(error) = running.volumes.refresh(&self.pod, &context.placed, &context.reader).await {
                        tracing::debug!(%error, pod = self.name(), "volumes not refreshed");
                    }
                }
            }
        }
    }

    fn name(&self) -> &str {
        self.pod.metadata.name.as_deref().unwrap_or_default()
    }

    fn take_report(&mut self, index: usize, report: Report) {
        if let Some(slot) = self.slots.get_mut(index) {
            slot.state.apply(report);
        }
        // More may have come in the meantime: one status for all.
        while let Ok((index, report)) = self.reports.try_recv() {
            if let Some(slot) = self.slots.get_mut(index) {
                slot.state.apply(report);
            }
        }
    }

    /// Starts whatever may start now: init containers one by one, then the others in order, each
    /// once the one before has passed its postStart hook.
    fn advance(&mut self, context: &Arc<PodContext>) {
        for index in 0..self.slots.len() {
            if self.slots[index].running.is_none() {
                self.start(index, context);
            }
            let slot = &self.slots[index];
            let has_hook = slot
                .container
                .lifecycle
                .as_ref()
                .is_some_and(|hooks| hooks.post_start.is_some());
            let through = match slot.role {
                Role::Init => slot.state.succeeded(),
                Role::Sidecar => slot.state.started || slot.state.restarts > 0,
                Role::Main => {
                    !has_hook || slot.state.started || slot.state.restarts > 0 || slot.state.done
                }
            };
            if !through {
                return;
            }
        }
        // A pod whose containers are all done needs its sidecars no more.
        let over = self
            .slots
            .iter()
            .filter(|slot| slot.role == Role::Main)
            .all(|slot| slot.state.done);
        if over {
            for slot in self.slots.iter().filter(|slot| slot.role == Role::Sidecar) {
                if let Some((_, stop)) = &slot.running {
                    stop.send_if_modified(|deadline| {
                        let first = deadline.is_none();
                        deadline.get_or_insert(Instant::now() + NODE_END_GRACE);
                        first
                    });
                }
            }
        }
    }

    fn start(&mut self, index: usize, context: &Arc<PodContext>) {
        let (stop, deadline) = watch::channel(None);
        let slot = &mut self.slots[index];
        slot.state.apply(Report::Waiting {
            reason: "ContainerCreating",
            message: None,
        });
        let task = Task {
            index,
            pod: context.clone(),
            container: slot.container.clone(),
            role: slot.role,
            reports: self.sender.clone(),
            deadline,
        };
        slot.running = Some((tokio::spawn(task.run()), stop));
    }

    /// Ends all containers: first the main ones together, then sidecars, last started first.
    async fn terminate(&mut self) {
        let mut deadline = self.deadline();
        self.stop(deadline, |role| role != Role::Sidecar);
        deadline = self.wait_done(deadline, |role| role != Role::Sidecar).await;
        for index in (0..self.slots.len()).rev() {
            if self.slots[index].role == Role::Sidecar {
                if let Some((_, stop)) = &self.slots[index].running {
                    stop.send_replace(Some(deadline));
                }
                deadline = self.wait_done_one(deadline, index).await;
            }
        }
    }

    /// By when the pod must have ended.
    fn deadline(&self) -> Instant {
        let seconds = match &*self.wishes.borrow() {
            Wish::Gone => 0,
            Wish::NodeEnds => NODE_END_GRACE.as_secs(),
            Wish::Pod(pod) => {
                let spec = pod
                    .spec
                    .as_ref()
                    .and_then(|spec| spec.termination_grace_period_seconds);
                pod.metadata
                    .deletion_grace_period_seconds
                    .or(spec)
                    .unwrap_or(30)
                    .unsigned_abs()
            }
        };
        Instant::now() + Duration::from_secs(seconds)
    }

    fn stop(&self, deadline: Instant, which: fn(Role) -> bool) {
        for slot in self.slots.iter().filter(|slot| which(slot.role)) {
            if let Some((_, stop)) = &slot.running {
                stop.send_replace(Some(deadline));
            }
        }
    }

    async fn wait_done(&mut self, mut deadline: Instant, which: fn(Role) -> bool) -> Instant {
        for index in 0..self.slots.len() {
            if which(self.slots[index].role) {
                deadline = self.wait_done_one(deadline, index).await;
            }
        }
        deadline
    }

    /// Waits for a container's task; a second deletion with less time moves the deadline closer.
    async fn wait_done_one(&mut self, mut deadline: Instant, index: usize) -> Instant {
        let Some((mut task, stop)) = self.slots[index].running.take() else {
            return deadline;
        };
        let mut movable = true;
        loop {
            tokio::select! {
                biased;
                report = self.reports.recv() => if let Some((index, report)) = report {
                    self.take_report(index, report);
                    self.publish();
                },
                _ = &mut task => return deadline,
                changed = self.wishes.changed(), if movable => {
                    movable = changed.is_ok();
                    let sooner = self.deadline();
                    if sooner < deadline {
                        deadline = sooner;
                        let others = self.slots.iter().filter_map(|slot| slot.running.as_ref());
                        for stop in others.map(|(_, stop)| stop).chain([&stop]) {
                            stop.send_if_modified(|by| by.is_some() && by.replace(deadline).is_some());
                        }
                    }
                }
            }
        }
    }

    /// Hands the current status to its writer, unless nobody wants to hear it.
    fn publish(&mut self) {
        let pod = match &*self.wishes.borrow() {
            Wish::Pod(pod) => pod.clone(),
            Wish::Gone | Wish::NodeEnds => return,
        };
        let views: Vec<_> = self
            .slots
            .iter()
            .map(|slot| View {
                container: &slot.container,
                role: slot.role,
                state: &slot.state,
            })
            .collect();
        let status = state::status(
            &pod,
            &self.facts,
            &views,
            &self.conditions,
            Timestamp::now(),
        );
        self.conditions = status.conditions.clone().unwrap_or_default();
        self.status.send_if_modified(|last| {
            let changed = last.as_ref() != Some(&status);
            if changed {
                *last = Some(status);
            }
            changed
        });
    }

    /// Keeps the file up to date by which `hawser lab exec` and `logs` find the pod.
    fn write_record(
        &self,
        context: &PodContext,
        path: &std::path::Path,
        last: &mut Option<Record>,
    ) {
        let ready = self
            .conditions
            .iter()
            .any(|c| c.type_ == "Ready" && c.status == "True");
        let owner = self
            .pod
            .metadata
            .owner_references
            .iter()
            .flatten()
            .find(|owner| owner.controller == Some(true));
        let record = Record {
            cluster: self.node.cluster.clone(),
            namespace: self.pod.metadata.namespace.clone().unwrap_or_default(),
            name: self.name().to_string(),
            owner: owner.map(|owner| format!("{}/{}", owner.kind, owner.name)),
            ready,
            ip: context.ip,
            netns: context.netns.clone(),
            etc: context.etc.clone(),
            containers: self
                .slots
                .iter()
                .map(|slot| ContainerRecord {
                    name: slot.container.name.clone(),
                    pid: match slot.state.phase {
                        Phase::Running { id, .. } => Some(id),
                        _ => None,
                    },
                })
                .collect(),
        };
        if last.as_ref() != Some(&record) {
            if let Err(error) = record.write(path) {
                tracing::warn!(%error, path = %path.display(), "writing a pod's record");
            }
            *last = Some(record);
        }
    }

    /// Writes the last status and, if the pod was being deleted, confirms its end to the API.
    async fn finish(mut self) {
        self.publish();
        let wish = self.wishes.borrow().clone();
        drop(self.status);
        let Wish::Pod(pod) = wish else {
            self.writer.abort();
            return;
        };
        if tokio::time::timeout(LAST_STATUS, &mut self.writer)
            .await
            .is_err()
        {
            self.writer.abort();
        }
        confirm_end(&self.node.client, &pod, self.wishes).await;
    }
}

fn slots(pod: &Pod) -> Vec<Slot> {
    let Some(spec) = &pod.spec else {
        return Vec::new();
    };
    let init = spec.init_containers.iter().flatten().map(|container| {
        let sidecar = container.restart_policy.as_deref() == Some("Always");
        (container, if sidecar { Role::Sidecar } else { Role::Init })
    });
    let main = spec
        .containers
        .iter()
        .map(|container| (container, Role::Main));
    init.chain(main)
        .map(|(container, role)| Slot {
            container: container.clone(),
            role,
            state: State::new(),
            running: None,
        })
        .collect()
}

/// Writes each newest status of a pod until there is nothing more to write.
async fn write_status(
    client: Client,
    pod: Arc<Pod>,
    mut updates: watch::Receiver<Option<PodStatus>>,
) {
    let meta = &pod.metadata;
    let at = (
        meta.namespace.as_deref(),
        meta.name.as_deref().unwrap_or_default(),
    );
    while updates.changed().await.is_ok() {
        let mut delay = SETUP_RETRY.0;
        loop {
            let Some(status) = updates.borrow_and_update().clone() else {
                break;
            };
            // The uid makes the server refuse when a pod of the same name has taken the place.
            let patch = json!({"metadata": {"uid": meta.uid}, "status": status});
            match client.merge_patch(&PODS, at, "status", &patch).await {
                Ok(_) => break,
                Err(error) if error.is_transient() => {
                    tracing::debug!(%error, pod = at.1, "writing a pod's status");
                    sleep(delay).await;
                    delay = (delay * 2).min(SETUP_RETRY.1);
                }
                Err(Error::NotFound(_) | Error::Conflict(_)) => break,
                Err(error) => {
                    tracing::warn!(%error, pod = at.1, "the server refused a pod's status");
                    break;
                }
            }
        }
    }
}

/// Deletes a pod that has ended, which the API keeps until its node says so.
async fn confirm_end(client: &Client, pod: &Pod, mut wishes: watch::Receiver<Wish>) {
    let meta = &pod.metadata;
    if meta.deletion_timestamp.is_none() {
        return;
    }
    let at = (
        meta.namespace.as_deref(),
        meta.name.as_deref().unwrap_or_default(),
    );
    let options = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": meta.uid}});
    let mut delay = SETUP_RETRY.0;
    loop {
        match client.delete(&PODS, at, &options).await {
            Ok(()) | Err(Error::NotFound(_) | Error::Conflict(_)) => return,
            Err(error) => tracing::debug!(%error, pod = at.1, "confirming a pod's end"),
        }
        tokio::select! {
            () = sleep(delay) => {}
            _ = wishes.wait_for(|wish| !matches!(wish, Wish::Pod(_))) => return,
        }
        delay = (delay * 2).min(SETUP_RETRY.1);
    }
}
