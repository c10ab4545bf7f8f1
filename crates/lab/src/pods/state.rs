//! Pure: what is known of a pod's containers, and the status that follows from it.

use k8s_openapi::api::core::v1::{
    Container, ContainerState as ApiState, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

/// How a container's place in the pod makes it behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Runs to its end before the next starts.
    Init,
    /// An init container with `restartPolicy: Always`: the next starts once this one has started.
    Sidecar,
    /// One of `spec.containers`.
    Main,
}

/// How a run of a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exit {
    pub(crate) code: i32,
    pub(crate) reason: &'static str,
    pub(crate) message: Option<String>,
    pub(crate) started: Option<Timestamp>,
    pub(crate) finished: Timestamp,
}

/// Where a container is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Phase {
    Waiting {
        reason: &'static str,
        message: Option<String>,
    },
    Running {
        since: Timestamp,
        id: u32,
    },
    Ended(Exit),
}

/// A container as the pod's worker knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) phase: Phase,
    /// The end of the run before this one.
    pub(crate) last: Option<Exit>,
    pub(crate) restarts: i32,
    /// The startup probe, or the postStart hook, has passed.
    pub(crate) started: bool,
    pub(crate) ready: bool,
    /// It has ended and will not be started again.
    pub(crate) done: bool,
}

impl State {
    pub(crate) fn new() -> State {
        State {
            phase: Phase::Waiting {
                reason: "ContainerCreating",
                message: None,
            },
            last: None,
            restarts: 0,
            started: false,
            ready: false,
            done: false,
        }
    }

    /// Takes in what the container's task reports.
    pub(crate) fn apply(&mut self, report: Report) {
        match report {
            Report::Waiting { reason, message } => {
                if let Phase::Ended(exit) = &self.phase {
                    self.last = Some(exit.clone());
                }
                self.phase = Phase::Waiting { reason, message };
                self.started = false;
                self.ready = false;
            }
            Report::Running { since, id } => {
                match &self.phase {
                    Phase::Ended(exit) => {
                        self.last = Some(exit.clone());
                        self.restarts += 1;
                    }
                    Phase::Waiting { .. } if self.last.is_some() => self.restarts += 1,
                    _ => {}
                }
                self.phase = Phase::Running { since, id };
            }
            Report::Started => self.started = true,
            Report::Ready(ready) => self.ready = ready,
            Report::Ended(exit) => {
                self.phase = Phase::Ended(exit);
                self.started = false;
                self.ready = false;
            }
            Report::Done => self.done = true,
        }
    }

    /// It ended well and will not run again.
    pub(crate) fn succeeded(&self) -> bool {
        self.done && matches!(&self.phase, Phase::Ended(exit) if exit.code == 0)
    }

    /// It ended badly and will not run again.
    pub(crate) fn failed(&self) -> bool {
        self.done && !self.succeeded()
    }
}

/// What a container's task tells its pod's worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Report {
    Waiting {
        reason: &'static str,
        message: Option<String>,
    },
    Running {
        since: Timestamp,
        id: u32,
    },
    Started,
    Ready(bool),
    Ended(Exit),
    Done,
}

/// A container with what is known of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) container: &'a Container,
    pub(crate) role: Role,
    pub(crate) state: &'a State,
}

/// What the node knows of a pod besides its containers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    pub(crate) host_ip: String,
    pub(crate) pod_ip: Option<String>,
    pub(crate) started: Option<Timestamp>,
}

/// A pod's status. `before` are the conditions of the last one: those that have not changed keep their
/// time, those that others wrote stay.
pub(crate) fn status(
    pod: &Pod,
    facts: &Facts,
    views: &[View<'_>],
    before: &[PodCondition],
    now: Timestamp,
) -> PodStatus {
    let phase = phase(pod, views);
    let conditions = conditions(phase, facts, views);
    let statuses = |wanted: fn(Role) -> bool| {
        let chosen: Vec<_> = views
            .iter()
            .filter(|view| wanted(view.role))
            .map(container_status)
            .collect();
        (!chosen.is_empty()).then_some(chosen)
    };
    let pod_ips = facts
        .pod_ip
        .as_ref()
        .map(|ip| vec![PodIP { ip: ip.clone() }]);
    PodStatus {
        phase: Some(phase.to_string()),
        conditions: Some(merge(conditions, before, now)),
        host_ip: Some(facts.host_ip.clone()),
        host_ips: Some(vec![HostIP {
            ip: facts.host_ip.clone(),
        }]),
        pod_ip: facts.pod_ip.clone(),
        pod_ips,
        start_time: facts.started.map(Time),
        init_container_statuses: statuses(|role| role != Role::Main),
        container_statuses: statuses(|role| role == Role::Main),
        qos_class: Some("BestEffort".to_string()),
        ..PodStatus::default()
    }
}

/// As `getPhase` of Kubernetes' kubelet.
fn phase(pod: &Pod, views: &[View<'_>]) -> &'static str {
    if views
        .iter()
        .any(|view| view.role == Role::Init && view.state.failed())
    {
        return "Failed";
    }
    if !initialized(views) {
        return "Pending";
    }
    let (mut waiting, mut running, mut stopped, mut succeeded) = (0, 0, 0, 0);
    let mains: Vec<_> = views
        .iter()
        .filter(|view| view.role == Role::Main)
        .collect();
    for view in &mains {
        match &view.state.phase {
            Phase::Waiting { .. } if view.state.last.is_none() => waiting += 1,
            Phase::Waiting { .. } => stopped += 1,
            Phase::Running { .. } => running += 1,
            Phase::Ended(exit) => {
                stopped += 1;
                succeeded += usize::from(exit.code == 0);
            }
        }
    }
    let policy = restart_policy(pod);
    match (waiting, running) {
        (1.., _) => "Pending",
        (0, 1..) => "Running",
        _ if policy == "Always" && !all_done(&mains) => "Running",
        _ if stopped == succeeded => "Succeeded",
        _ if policy == "Never" || all_done(&mains) => "Failed",
        _ => "Running",
    }
}

fn all_done(mains: &[&View<'_>]) -> bool {
    mains.iter().all(|view| view.state.done)
}

/// The pod's restart policy, `Always` when unset.
pub(crate) fn restart_policy(pod: &Pod) -> &str {
    pod.spec
        .as_ref()
        .and_then(|spec| spec.restart_policy.as_deref())
        .unwrap_or("Always")
}

/// Whether all init containers are through.
fn initialized(views: &[View<'_>]) -> bool {
    views.iter().all(|view| match view.role {
        Role::Init => view.state.succeeded(),
        // Once it has run, a restart of a sidecar does not take the pod back.
        Role::Sidecar => view.state.started || view.state.restarts > 0 || view.state.done,
        Role::Main => true,
    })
}

fn conditions(phase: &str, facts: &Facts, views: &[View<'_>]) -> Vec<PodCondition> {
    let not_ready: Vec<&str> = views
        .iter()
        .filter(|view| view.role != Role::Init && !view.state.ready)
        .map(|view| view.container.name.as_str())
        .collect();
    let not_initialized: Vec<&str> = views
        .iter()
        .filter(|view| match view.role {
            Role::Init => !view.state.succeeded(),
            Role::Sidecar => !view.state.started,
            Role::Main => false,
        })
        .map(|view| view.container.name.as_str())
        .collect();
    let ready = match phase {
        "Succeeded" => Err(("PodCompleted", String::new())),
        "Failed" => Err(("PodFailed", String::new())),
        _ if not_ready.is_empty() => Ok(()),
        _ => Err((
            "ContainersNotReady",
            format!("containers with unready status: [{}]", not_ready.join(" ")),
        )),
    };
    let initialized = if initialized(views) {
        Ok(())
    } else {
        let message = format!(
            "containers with incomplete status: [{}]",
            not_initialized.join(" ")
        );
        Err(("ContainersNotInitialized", message))
    };
    let network = if facts.pod_ip.is_some() {
        Ok(())
    } else {
        Err(("", String::new()))
    };
    vec![
        condition("PodReadyToStartContainers", network),
        condition("Initialized", initialized),
        condition("Ready", ready.clone()),
        condition("ContainersReady", ready),
        condition("PodScheduled", Ok(())),
    ]
}

fn condition(kind: &str, holds: Result<(), (&str, String)>) -> PodCondition {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_string());
    let (status, reason, message) = match &holds {
        Ok(()) => ("True", None, None),
        Err((reason, message)) => ("False", some(reason), some(message)),
    };
    PodCondition {
        type_: kind.to_string(),
        status: status.to_string(),
        reason,
        message,
        ..PodCondition::default()
    }
}

fn merge(new: Vec<PodCondition>, before: &[PodCondition], now: Timestamp) -> Vec<PodCondition> {
    let mut merged: Vec<PodCondition> = new
        .into_iter()
        .map(|mut condition| {
            let old = before
                .iter()
                .find(|old| old.type_ == condition.type_ && old.status == condition.status);
            condition.last_transition_time = old
                .and_then(|old| old.last_transition_time.clone())
                .or(Some(Time(now)));
            condition
        })
        .collect();
    let foreign = before
        .iter()
        .filter(|old| !merged.iter().any(|new| new.type_ == old.type_))
        .cloned();
    merged.extend(foreign.collect::<Vec<_>>());
    merged
}

fn container_status(view: &View<'_>) -> ContainerStatus {
    let state = view.state;
    let image = view.container.image.clone().unwrap_or_default();
    let id = match &state.phase {
        Phase::Running { id, .. } => Some(format!("hawser://{id}")),
        _ => None,
    };
    ContainerStatus {
        name: view.container.name.clone(),
        image_id: image.clone(),
        image,
        container_id: id,
        // A finished init container counts as ready, as kubelets say it.
        ready: state.ready || (view.role == Role::Init && state.succeeded()),
        started: Some(state.started),
        restart_count: state.restarts,
        state: Some(api_state(&state.phase)),
        last_state: state.last.as_ref().map(terminated),
        ..ContainerStatus::default()
    }
}

fn api_state(phase: &Phase) -> ApiState {
    match phase {
        Phase::Waiting { reason, message } => ApiState {
            waiting: Some(ContainerStateWaiting {
                reason: Some((*reason).to_string()),
                message: message.clone(),
            }),
            ..ApiState::default()
        },
        Phase::Running { since, .. } => ApiState {
            running: Some(ContainerStateRunning {
                started_at: Some(Time(*since)),
            }),
            ..ApiState::default()
        },
        Phase::Ended(exit) => terminated(exit),
    }
}

fn terminated(exit: &Exit) -> ApiState {
    ApiState {
        terminated: Some(ContainerStateTerminated {
            exit_code: exit.code,
            signal: (exit.code > 128).then_some(exit.code - 128),
            reason: Some(exit.reason.to_string()),
            message: exit.message.clone(),
            started_at: exit.started.map(Time),
            finished_at: Some(Time(exit.finished)),
            ..ContainerStateTerminated::default()
        }),
        ..ApiState::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn after(reports: &[Report]) -> State {
        let mut state = State::new();
        for report in reports {
            state.apply(report.clone());
        }
        state
    }

    fn ended(code: i32) -> Report {
        Report::Ended(Exit {
            code,
            reason: "Error",
            message: None,
            started: Some(NOW),
            finished: NOW,
        })
    }

    const RUN: Report = Report::Running { since: NOW, id: 1 };

    /// Phase and readiness of a pod with these containers.
    fn check(name: &str, policy: &str, containers: &[(Role, &[Report])], expected: &str) {
        let pod: Pod = from_value(
            json!({"metadata": {}, "spec": {"restartPolicy": policy, "containers": []}}),
        )
        .expect("a pod");
        let container = Container {
            name: "c".into(),
            ..Container::default()
        };
        let states: Vec<_> = containers
            .iter()
            .map(|(role, reports)| (*role, after(reports)))
            .collect();
        let views: Vec<_> = states
            .iter()
            .map(|(role, state)| View {
                container: &container,
                role: *role,
                state,
            })
            .collect();
        let status = status(&pod, &Facts::default(), &views, &[], NOW);
        let ready = status
            .conditions
            .iter()
            .flatten()
            .find(|c| c.type_ == "Ready")
            .map_or("", |c| &c.status);
        let given = format!("{} {ready}", status.phase.unwrap_or_default());
        assert_eq!(given, expected, "{name}");
    }

    #[test]
    fn phases() {
        use Report::{Done, Ready, Started, Waiting};
        let back_off = Waiting {
            reason: "CrashLoopBackOff",
            message: None,
        };
        let up = [RUN, Started, Ready(true)];
        check("new", "Always", &[(Role::Main, &[])], "Pending False");
        check(
            "running",
            "Always",
            &[(Role::Main, &[RUN])],
            "Running False",
        );
        check("ready", "Always", &[(Role::Main, &up)], "Running True");
        check(
            "crashed",
            "Always",
            &[(Role::Main, &[RUN, ended(1)])],
            "Running False",
        );
        check(
            "backing off",
            "Always",
            &[(Role::Main, &[RUN, ended(1), back_off.clone()])],
            "Running False",
        );
        check(
            "finished",
            "Never",
            &[(Role::Main, &[RUN, ended(0), Done])],
            "Succeeded False",
        );
        check(
            "broken",
            "Never",
            &[(Role::Main, &[RUN, ended(3), Done])],
            "Failed False",
        );
        check(
            "init runs",
            "Always",
            &[(Role::Init, &[RUN]), (Role::Main, &[])],
            "Pending False",
        );
        check(
            "init is through",
            "Always",
            &[(Role::Init, &[RUN, ended(0), Done]), (Role::Main, &up)],
            "Running True",
        );
        check(
            "init failed",
            "Never",
            &[(Role::Init, &[RUN, ended(1), Done]), (Role::Main, &[])],
            "Failed False",
        );
        check(
            "sidecar comes up",
            "Always",
            &[(Role::Sidecar, &[RUN]), (Role::Main, &[])],
            "Pending False",
        );
        check(
            "sidecar is not ready",
            "Always",
            &[(Role::Sidecar, &[RUN, Started]), (Role::Main, &up)],
            "Running False",
        );
    }

    #[test]
    fn restarts_are_counted() {
        let back_off = Report::Waiting {
            reason: "CrashLoopBackOff",
            message: None,
        };
        let state = after(&[RUN, ended(1), back_off, RUN, ended(2), RUN]);
        assert_eq!(state.restarts, 2);
        assert_eq!(state.last.map(|exit| exit.code), Some(2));
    }

    #[test]
    fn conditions_keep_their_time() {
        let later = Timestamp::from_second(60).expect("a time");
        let old = vec![
            PodCondition {
                last_transition_time: Some(Time(NOW)),
                ..condition("Ready", Err(("ContainersNotReady", "x".into())))
            },
            PodCondition {
                last_transition_time: Some(Time(NOW)),
                ..condition("example.org/gate", Ok(()))
            },
        ];
        let merged = merge(
            vec![
                condition("Ready", Err(("PodFailed", String::new()))),
                condition("Initialized", Ok(())),
            ],
            &old,
            later,
        );
        let seen: Vec<_> = merged
            .iter()
            .map(|c| {
                (
                    c.type_.as_str(),
                    c.last_transition_time
                        .as_ref()
                        .map(|time| time.0.as_second()),
                )
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("Ready", Some(0)),
                ("Initialized", Some(60)),
                ("example.org/gate", Some(0))
            ]
        );
    }
}
