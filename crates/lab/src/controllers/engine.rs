//! The loop around the controllers: watches in, requests out.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, SelectAll};
use futures::{FutureExt, StreamExt};
use hawser_kube::{Client, Error, Event, Selection, watch};
use ipnet::Ipv4Net;
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::action::{About, Action, Written, execute};
use super::world::{Key, Kind, World};

/// One controller: for an object of `kind`, what should be done now? An empty answer means that all is as it should be.
pub(super) struct Controller {
    pub(super) kind: Kind,
    /// The other kinds that it looks at.
    pub(super) needs: &'static [Kind],
    pub(super) reconcile: fn(&World, &Key, &Surroundings<'_>) -> Vec<Action>,
}

/// What does not come from the API server.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) lb_pool: Ipv4Net,
    pub(super) apiserver: SocketAddrV4,
}

/// What a controller may know besides the objects.
#[derive(Debug, Clone)]
pub(super) struct Surroundings<'a> {
    pub(super) facts: &'a Facts,
    /// Whole seconds, as Kubernetes writes times.
    pub(super) now: Timestamp,
}

/// A controller's index and an object: what is worked on at most once at a time.
type Task = (usize, Key);

/// What was tried for a task, so that trying it again in vain becomes slow.
struct Attempt {
    actions: Vec<Action>,
    delay: Duration,
    not_before: Instant,
}

struct Outcome {
    task: Task,
    results: Vec<Result<Written, Error>>,
}

const LEAST_DELAY: Duration = Duration::from_millis(50);
const MOST_DELAY: Duration = Duration::from_secs(10);
/// How long the first event waits for others before controllers run: what is written comes in bursts, and every
/// controller looks at every object.
const SETTLE: Duration = Duration::from_millis(15);
/// Deadlines (`minReadySeconds`, `progressDeadlineSeconds`) are looked at this often when nothing happens.
const TICK: Duration = Duration::from_secs(5);

/// Follows what the controllers need and does what they want, until `shutdown`.
pub(super) async fn run(
    client: &Client,
    controllers: &[Controller],
    facts: &Facts,
    shutdown: &CancellationToken,
) {
    let mut kinds: Vec<Kind> = Vec::new();
    for controller in controllers {
        kinds.push(controller.kind);
        kinds.extend(controller.needs);
    }
    kinds.sort();
    kinds.dedup();
    let mut events: SelectAll<_> = kinds
        .iter()
        .map(|kind| {
            let kind = *kind;
            watch(client, kind.resource(), Selection::all()).map(move |event| (kind, event))
        })
        .collect();
    let mut engine = Engine {
        controllers,
        facts,
        world: World::default(),
        attempts: BTreeMap::new(),
        stale: false,
    };
    let mut unseen = kinds;
    let mut running: FuturesUnordered<BoxFuture<'_, Outcome>> = FuturesUnordered::new();
    let mut busy: Vec<Task> = Vec::new();
    let mut due: Option<Instant> = None;
    loop {
        let wake = engine
            .attempts
            .values()
            .map(|attempt| attempt.not_before)
            .min();
        let wake = wake
            .unwrap_or_else(|| Instant::now() + TICK)
            .min(Instant::now() + TICK);
        let wake = due.unwrap_or(wake);
        tokio::select! {
            () = shutdown.cancelled() => return,
            Some((kind, event)) = events.next() => {
                engine.hear(kind, event, &mut unseen);
                // A burst is one change: controllers run once for all that has arrived.
                while let Some(Some((kind, event))) = events.next().now_or_never() {
                    engine.hear(kind, event, &mut unseen);
                }
                due.get_or_insert_with(|| Instant::now() + SETTLE);
            }
            Some(outcome) = running.next(), if !running.is_empty() => {
                busy.retain(|task| *task != outcome.task);
                engine.done(outcome);
                due.get_or_insert_with(|| Instant::now() + SETTLE);
            }
            () = tokio::time::sleep_until(wake) => due = None,
        }
        if due.is_some_and(|due| due > Instant::now()) {
            continue;
        }
        due = None;
        // Nothing is decided on half of the facts.
        if unseen.is_empty() {
            for (task, about, actions) in engine.decide(&busy) {
                busy.push(task.clone());
                running.push(carry_out(client, task, about, actions).boxed());
            }
        }
    }
}

async fn carry_out(client: &Client, task: Task, about: About, actions: Vec<Action>) -> Outcome {
    let about = &about;
    let requests: Vec<_> = actions
        .iter()
        .map(|action| execute(client, action, about))
        .collect();
    let results = futures::stream::iter(requests).buffered(8).collect().await;
    Outcome { task, results }
}

struct Engine<'a> {
    controllers: &'a [Controller],
    facts: &'a Facts,
    world: World,
    attempts: BTreeMap<Task, Attempt>,
    /// Whether it was said already that nobody answers.
    stale: bool,
}

impl Engine<'_> {
    fn hear(&mut self, kind: Kind, event: Event, unseen: &mut Vec<Kind>) {
        match &event {
            Event::Stale { error, .. } => {
                if !std::mem::replace(&mut self.stale, true) {
                    tracing::warn!(?kind, %error, "the API server does not answer");
                }
            }
            _ => {
                self.stale = false;
                unseen.retain(|waiting| *waiting != kind);
            }
        }
        self.world.fold(kind, event);
    }

    /// What every controller wants for every object that is not being worked on.
    fn decide(&mut self, busy: &[Task]) -> Vec<(Task, About, Vec<Action>)> {
        let surroundings = Surroundings {
            facts: self.facts,
            now: super::now(),
        };
        let clock = Instant::now();
        let mut wanted = Vec::new();
        let mut settled: Vec<Task> = Vec::new();
        for (index, controller) in self.controllers.iter().enumerate() {
            for key in self.world.keys(controller.kind) {
                let task = (index, key);
                if busy.contains(&task) {
                    continue;
                }
                let actions = (controller.reconcile)(&self.world, &task.1, &surroundings);
                if actions.is_empty() {
                    settled.push(task);
                } else if self.may_try(&task, &actions, clock) {
                    let (kind, key) = (controller.kind, task.1.clone());
                    let uid = self.world.uid(kind, &key);
                    wanted.push((task, About { kind, key, uid }, actions));
                }
            }
        }
        for task in settled {
            self.attempts.remove(&task);
        }
        // What was tried for objects that are gone is of no interest any more.
        let (controllers, world) = (self.controllers, &self.world);
        self.attempts.retain(|(index, key), _| {
            controllers
                .get(*index)
                .is_some_and(|controller| !world.uid(controller.kind, key).is_empty())
        });
        wanted
    }

    /// New wishes at once; the same wish again only after a growing delay.
    fn may_try(&mut self, task: &Task, actions: &[Action], clock: Instant) -> bool {
        match self.attempts.get_mut(task) {
            Some(attempt) if attempt.actions == actions => {
                if clock < attempt.not_before {
                    return false;
                }
                attempt.delay = (attempt.delay * 2).min(MOST_DELAY);
                attempt.not_before = clock + attempt.delay;
            }
            _ => {
                let attempt = Attempt {
                    actions: actions.to_vec(),
                    delay: LEAST_DELAY,
                    not_before: clock + LEAST_DELAY,
                };
                self.attempts.insert(task.clone(), attempt);
            }
        }
        true
    }

    /// Takes answers in, so that the next decision knows what was written even before the watch says so.
    fn done(&mut self, outcome: Outcome) {
        let Outcome {
            task: (index, key),
            results,
        } = outcome;
        let Some(controller) = self.controllers.get(index) else {
            return;
        };
        for result in results {
            match result {
                Ok(Some((kind, object))) => self.world.written(kind, object),
                Ok(None) => {}
                // Our view is behind; the watch will bring it up to date.
                Err(Error::Conflict(_) | Error::NotFound(_) | Error::AlreadyExists(_)) => {}
                Err(error) => {
                    let (namespace, name) = (&key.0, &key.1);
                    tracing::warn!(kind = ?controller.kind, namespace, name, %error, "a controller was refused");
                }
            }
        }
    }
}
