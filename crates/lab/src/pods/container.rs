//! One container's life: started, watched by its probes, restarted or ended.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Lifecycle, Pod, Probe};
use k8s_openapi::jiff::Timestamp;
use nix::sys::signal::Signal;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::NodeContext;
use super::env;
use super::fields::Placed;
use super::images::command_line;
use super::logs;
use super::probe::{self, Counter, Patient};
use super::source::Reader;
use super::state::{Exit, Report, Role, restart_policy};
use crate::sandbox::{self, BIN, LAB_ID_VARIABLE, Mount, Process, Program, Request};

/// Delays between restarts: short, for nobody's registry or machine is to be spared in a lab.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// A run this long clears the delay.
const STEADY: Duration = Duration::from_secs(30);
/// Time for a container whose liveness probe failed to end by itself, unless the pod says.
const DEFAULT_GRACE: i64 = 30;
/// How long a postStart hook may take.
const POST_START_TIMEOUT: Duration = Duration::from_secs(300);

/// What the containers of a pod have in common.
pub(crate) struct PodContext {
    pub(crate) node: Arc<NodeContext>,
    pub(crate) pod: Arc<Pod>,
    pub(crate) placed: Placed,
    pub(crate) ip: std::net::Ipv4Addr,
    pub(crate) netns: PathBuf,
    pub(crate) hostname: String,
    pub(crate) etc: BTreeMap<String, String>,
    /// Host path of each volume.
    pub(crate) volumes: BTreeMap<String, PathBuf>,
    pub(crate) reader: Reader,
}

/// When a container is to end: `None` not now; otherwise by then at the latest.
pub(crate) type Deadline = watch::Receiver<Option<Instant>>;

/// A container's task.
pub(crate) struct Task {
    pub(crate) index: usize,
    pub(crate) pod: Arc<PodContext>,
    pub(crate) container: Container,
    pub(crate) role: Role,
    pub(crate) reports: mpsc::Sender<(usize, Report)>,
    pub(crate) deadline: Deadline,
}

/// How one run ended, and who wanted it.
struct Ended {
    code: i32,
    message: Option<String>,
}

impl Task {
    /// Runs the container until it is done or told to end.
    pub(crate) async fn run(mut self) {
        let mut backoff = BACKOFF.0;
        loop {
            let begun = Instant::now();
            let started = Timestamp::now();
            let ended = match self.start().await {
                Ok((process, patient)) => {
                    self.report(Report::Running {
                        since: started,
                        id: process.init_pid(),
                    })
                    .await;
                    self.attend(process, patient).await
                }
                Err(Refusal::Wait { reason, message }) => {
                    self.report(Report::Waiting {
                        reason,
                        message: Some(message),
                    })
                    .await;
                    if self.stopped_within(backoff).await {
                        self.report(Report::Done).await;
                        return;
                    }
                    backoff = (backoff * 2).min(BACKOFF.1);
                    continue;
                }
                Err(Refusal::Start(message)) => Ended {
                    code: 128,
                    message: Some(message),
                },
            };
            let reason = match ended.code {
                0 => "Completed",
                128 => "StartError",
                _ => "Error",
            };
            let exit = Exit {
                code: ended.code,
                reason,
                message: ended.message,
                started: Some(started),
                finished: Timestamp::now(),
            };
            let message = format!(
                "back-off {backoff:?} restarting failed container={} pod={}",
                self.container.name,
                self.pod.pod.metadata.name.as_deref().unwrap_or_default()
            );
            self.report(Report::Ended(exit)).await;
            if self.deadline.borrow().is_some() || !self.restarts(ended.code) {
                self.report(Report::Done).await;
                return;
            }
            if begun.elapsed() > STEADY {
                backoff = BACKOFF.0;
            }
            self.report(Report::Waiting {
                reason: "CrashLoopBackOff",
                message: Some(message),
            })
            .await;
            if self.stopped_within(backoff).await {
                self.report(Report::Done).await;
                return;
            }
            backoff = (backoff * 2).min(BACKOFF.1);
        }
    }

    fn restarts(&self, code: i32) -> bool {
        match (self.role, restart_policy(&self.pod.pod)) {
            (Role::Sidecar, _) => true,
            (Role::Init, "Never") => false,
            (Role::Init, _) => code != 0,
            (Role::Main, "Always") => true,
            (Role::Main, "OnFailure") => code != 0,
            (Role::Main, _) => false,
        }
    }

    async fn report(&self, report: Report) {
        // The worker ends only after its containers.
        let _ = self.reports.send((self.index, report)).await;
    }

    /// Waits; true when told to end meanwhile.
    async fn stopped_within(&mut self, time: Duration) -> bool {
        tokio::select! {
            () = sleep(time) => false,
            _ = self.deadline.wait_for(Option::is_some) => true,
        }
    }

    async fn start(&self) -> Result<(Process, Patient), Refusal> {
        let program = self.program().await?;
        let patient = Patient {
            netns: self.pod.netns.clone(),
            ip: self.pod.ip,
            runner: self.pod.node.runner.clone(),
            pid: 0,
            user: (program.uid, program.gid, program.groups.clone()),
            env: program.env.clone(),
            cwd: program.cwd.clone(),
        };
        let request = Request::Run(sandbox::Container {
            netns: self.pod.netns.clone(),
            hostname: self.pod.hostname.clone(),
            scratch: self.pod.node.dirs.scratch.clone(),
            etc: self.pod.etc.clone(),
            mounts: self.mounts()?,
            program,
        });
        let meta = &self.pod.pod.metadata;
        let log = logs::path(
            &self.pod.node.dirs.logs,
            &self.pod.node.cluster,
            meta.namespace.as_deref().unwrap_or_default(),
            meta.name.as_deref().unwrap_or_default(),
            &self.container.name,
        );
        let runner = &self.pod.node.runner;
        let mut process = runner
            .start(&request)
            .await
            .map_err(|error| Refusal::Start(error.to_string()))?;
        logs::collect(&mut process, &log)
            .map_err(|error| Refusal::Start(format!("log file: {error}")))?;
        let patient = Patient {
            pid: process.init_pid(),
            ..patient
        };
        Ok((process, patient))
    }

    /// Command, environment and user, as image, pod and container say.
    async fn program(&self) -> Result<Program, Refusal> {
        let container = &self.container;
        let name = container.image.as_deref().unwrap_or_default();
        let image = self.pod.node.images.find(name);
        let list = |words: &Option<Vec<String>>| words.clone().unwrap_or_default();
        let (command, args) = (list(&container.command), list(&container.args));
        if image.is_none() && command.is_empty() {
            let message = format!(
                "image {name:?} is not in the lab's table: add it to a file for `hawser lab up --images`, \
                 or give the container a command, which is run with this machine's programs"
            );
            return Err(Refusal::Wait {
                reason: "ErrImagePull",
                message,
            });
        }
        let config = |message| Refusal::Wait {
            reason: "CreateContainerConfigError",
            message,
        };
        let sources = self.pod.reader.sources(container).await.map_err(config)?;
        let base = self.base_environment(image.map(|image| &image.env));
        let env = env::environment(&self.pod.pod, container, &self.pod.placed, &sources, base)
            .map_err(config)?;
        let argv = command_line(
            image,
            &command
                .iter()
                .map(|word| env::expand(word, &env))
                .collect::<Vec<_>>(),
            &args
                .iter()
                .map(|word| env::expand(word, &env))
                .collect::<Vec<_>>(),
        );
        let (uid, gid, groups) = self
            .user(image.map_or(0, |image| image.user))
            .map_err(config)?;
        let cwd = container.working_dir.clone().filter(|dir| !dir.is_empty());
        Ok(Program {
            argv,
            env,
            cwd,
            uid,
            gid,
            groups,
        })
    }

    fn base_environment(
        &self,
        image: Option<&BTreeMap<String, String>>,
    ) -> BTreeMap<String, String> {
        let api = super::first_service(&self.pod.node.net);
        let fixed = [
            (
                "PATH",
                format!("{BIN}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            ),
            ("HOME", "/tmp".to_string()),
            ("HOSTNAME", self.pod.hostname.clone()),
            ("KUBERNETES_SERVICE_HOST", api.to_string()),
            ("KUBERNETES_SERVICE_PORT", "443".to_string()),
            ("KUBERNETES_SERVICE_PORT_HTTPS", "443".to_string()),
            (LAB_ID_VARIABLE, self.pod.node.lab_id.clone()),
        ];
        let mut env: BTreeMap<String, String> =
            fixed.map(|(name, value)| (name.to_string(), value)).into();
        env.extend(
            image
                .into_iter()
                .flatten()
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        env
    }

    fn user(&self, image_user: u32) -> Result<(u32, u32, Vec<u32>), String> {
        let own = self.container.security_context.as_ref();
        let pod = self
            .pod
            .pod
            .spec
            .as_ref()
            .and_then(|spec| spec.security_context.as_ref());
        let id = |value: Option<i64>| {
            value
                .map(u32::try_from)
                .transpose()
                .map_err(|_| "a user or group id is out of range".to_string())
        };
        let uid = id(own
            .and_then(|c| c.run_as_user)
            .or(pod.and_then(|c| c.run_as_user)))?
        .unwrap_or(image_user);
        let gid = id(own
            .and_then(|c| c.run_as_group)
            .or(pod.and_then(|c| c.run_as_group)))?
        .unwrap_or(0);
        let non_root = own
            .and_then(|c| c.run_as_non_root)
            .or(pod.and_then(|c| c.run_as_non_root));
        if uid == 0 && non_root == Some(true) {
            return Err("container has runAsNonRoot and image will run as root".to_string());
        }
        let mut groups = Vec::new();
        if let Some(context) = pod {
            for group in context
                .supplemental_groups
                .iter()
                .flatten()
                .chain(&context.fs_group)
            {
                groups.extend(id(Some(*group))?);
            }
        }
        Ok((uid, gid, groups))
    }

    fn mounts(&self) -> Result<Vec<Mount>, Refusal> {
        let mut mounts = vec![Mount {
            source: self.pod.node.dirs.bin.clone(),
            target: BIN.into(),
            read_only: true,
        }];
        for mount in self.container.volume_mounts.iter().flatten() {
            let volume = self
                .pod
                .volumes
                .get(&mount.name)
                .ok_or_else(|| Refusal::Wait {
                    reason: "CreateContainerConfigError",
                    message: format!("volumeMount {:?} names no volume of the pod", mount.name),
                })?;
            let sub = mount.sub_path.as_deref().unwrap_or_default();
            if sub.starts_with('/') || sub.split('/').any(|part| part == "..") {
                let message = format!("subPath {sub:?} leaves the volume");
                return Err(Refusal::Wait {
                    reason: "CreateContainerConfigError",
                    message,
                });
            }
            let source = if sub.is_empty() {
                volume.clone()
            } else {
                volume.join(sub)
            };
            if !source.exists() {
                // As kubelets do for a subPath that is not there yet.
                std::fs::create_dir_all(&source)
                    .map_err(|error| Refusal::Start(format!("subPath {sub:?}: {error}")))?;
            }
            let read_only = mount.read_only == Some(true);
            mounts.push(Mount {
                source,
                target: mount.mount_path.clone().into(),
                read_only,
            });
        }
        // A mount inside another's path must come after it.
        mounts.sort_by(|a, b| a.target.cmp(&b.target));
        Ok(mounts)
    }

    /// Stays with a running container until it has ended.
    async fn attend(&mut self, mut process: Process, patient: Patient) -> Ended {
        let lifecycle = self.container.lifecycle.clone().unwrap_or_default();
        let mut deadline = self.deadline.clone();
        let why = tokio::select! {
            code = process.wait() => return Ended { code, message: None },
            _ = deadline.wait_for(Option::is_some) => None,
            message = self.look_after(&patient, &lifecycle) => Some(message),
        };
        self.report(Report::Ready(false)).await;
        if why.is_some() {
            let grace = self.grace();
            let (_own, by) = watch::channel(Some(Instant::now() + grace));
            deadline = by;
        }
        let code = self.end(&mut process, &patient, &lifecycle, deadline).await;
        Ended { code, message: why }
    }

    fn grace(&self) -> Duration {
        let seconds = self
            .pod
            .pod
            .spec
            .as_ref()
            .and_then(|spec| spec.termination_grace_period_seconds);
        Duration::from_secs(seconds.unwrap_or(DEFAULT_GRACE).unsigned_abs())
    }

    /// Runs hook and probes; returns only when the container must be ended, with the reason.
    async fn look_after(&self, patient: &Patient, lifecycle: &Lifecycle) -> String {
        if let Some(handler) = &lifecycle.post_start {
            let done = match probe::hook(&self.container, handler) {
                Ok(check) => patient.ask(&check, POST_START_TIMEOUT).await,
                Err(message) => Err(message),
            };
            if let Err(message) = done {
                return format!("postStart hook failed: {message}");
            }
        }
        if let Some(message) = self.startup(patient).await {
            return message;
        }
        self.report(Report::Started).await;
        let readiness = self.readiness(patient);
        let liveness = self.liveness(patient);
        tokio::select! {
            message = liveness => message,
            () = readiness => "the readiness probe ended".to_string(),
        }
    }

    /// Waits for the startup probe; a reason to end the container when it fails.
    async fn startup(&self, patient: &Patient) -> Option<String> {
        let probe = self.container.startup_probe.as_ref()?;
        let mut last = String::new();
        match self
            .repeat(patient, probe, |result| {
                if let Err(message) = &result.1 {
                    last.clone_from(message);
                }
                result.0
            })
            .await
        {
            Ok(true) => None,
            Ok(false) => Some(format!("startup probe failed: {last}")),
            Err(message) => Some(format!("startup probe: {message}")),
        }
    }

    async fn liveness(&self, patient: &Patient) -> String {
        let Some(probe) = &self.container.liveness_probe else {
            return std::future::pending().await;
        };
        let mut last = String::new();
        let result = self
            .repeat(patient, probe, |(stands, answer)| {
                if let Err(message) = &answer {
                    last.clone_from(message);
                }
                stands.filter(|alive| !alive)
            })
            .await;
        match result {
            Ok(_) => format!("liveness probe failed: {last}"),
            Err(message) => format!("liveness probe: {message}"),
        }
    }

    async fn readiness(&self, patient: &Patient) {
        let Some(probe) = &self.container.readiness_probe else {
            self.report(Report::Ready(true)).await;
            return std::future::pending().await;
        };
        let plan = match probe::plan(&self.container, probe) {
            Ok(plan) => plan,
            Err(message) => {
                tracing::warn!(
                    container = self.container.name,
                    "readiness probe: {message}"
                );
                return std::future::pending().await;
            }
        };
        let mut counter = Counter::new(&plan);
        let mut ready = false;
        sleep(plan.delay).await;
        loop {
            let answer = patient.ask(&plan.check, plan.timeout).await;
            if let Err(message) = &answer {
                tracing::debug!(
                    container = self.container.name,
                    "readiness probe failed: {message}"
                );
            }
            if let Some(now) = counter.count(answer.is_ok()).filter(|now| *now != ready) {
                ready = now;
                self.report(Report::Ready(ready)).await;
            }
            // Kubelets ask once more at once when a container starts; a lab asks often until it is ready.
            sleep(if ready {
                plan.period
            } else {
                plan.period.min(UNREADY_PERIOD)
            })
            .await;
        }
    }

    /// Asks again and again until `settle` gives a result.
    async fn repeat(
        &self,
        patient: &Patient,
        probe: &Probe,
        mut settle: impl FnMut((Option<bool>, Result<(), String>)) -> Option<bool>,
    ) -> Result<bool, String> {
        let plan = probe::plan(&self.container, probe)?;
        let mut counter = Counter::new(&plan);
        sleep(plan.delay).await;
        loop {
            let answer = patient.ask(&plan.check, plan.timeout).await;
            if let Some(result) = settle((counter.count(answer.is_ok()), answer)) {
                return Ok(result);
            }
            sleep(plan.period).await;
        }
    }

    /// Hook, SIGTERM, and SIGKILL at the deadline, which may move closer meanwhile.
    async fn end(
        &self,
        process: &mut Process,
        patient: &Patient,
        lifecycle: &Lifecycle,
        by: Deadline,
    ) -> i32 {
        let mut watched = by.clone();
        let hook = async {
            let Some(handler) = &lifecycle.pre_stop else {
                return;
            };
            let done = match probe::hook(&self.container, handler) {
                Ok(check) => patient.ask(&check, Duration::from_secs(3600)).await,
                Err(message) => Err(message),
            };
            if let Err(message) = done {
                tracing::info!(
                    container = self.container.name,
                    "preStop hook failed: {message}"
                );
            }
        };
        tokio::select! {
            code = process.wait() => return code,
            () = hook => {}
            () = passed(&mut watched) => {}
        }
        process.signal(Signal::SIGTERM);
        tokio::select! {
            code = process.wait() => return code,
            () = passed(&mut watched) => {}
        }
        process.signal(Signal::SIGKILL);
        process.wait().await
    }
}

/// Until a container is ready its probe is asked at least this often, so that a lab is up quickly.
const UNREADY_PERIOD: Duration = Duration::from_millis(500);

/// Waits for a deadline that may move closer; one that nobody can move any more still counts.
async fn passed(deadline: &mut Deadline) {
    loop {
        let at = *deadline.borrow_and_update();
        let Some(at) = at else { return };
        tokio::select! {
            () = sleep_until(at) => return,
            changed = deadline.changed() => if changed.is_err() {
                sleep_until(at).await;
                return;
            }
        }
    }
}

/// Why a container did not start.
enum Refusal {
    /// Something it needs is not there yet.
    Wait {
        reason: &'static str,
        message: String,
    },
    /// It was tried and failed.
    Start(String),
}
