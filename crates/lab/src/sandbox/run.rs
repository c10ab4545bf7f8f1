//! The lab's side of containers: starting sandboxes and waiting for them.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::sync::oneshot;

use super::{ARGUMENT, LAB_ID_VARIABLE, Reply, Request};

/// How long a sandbox may take to say whether its command runs.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Why a sandbox did not start.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The process could not be made.
    #[error("starting a process: {0}")]
    Spawn(#[from] std::io::Error),
    /// The process was made but the command did not start.
    #[error("{0}")]
    Refused(String),
    /// No answer in time.
    #[error("the command did not start within {START_TIMEOUT:?}")]
    Timeout,
}

type Job = Box<dyn FnOnce() + Send>;

/// Starts sandboxes, and keeps them: when the last clone is dropped, all that were started end.
///
/// All come from one thread, for the kernel ends a child when the *thread* that made it ends, and
/// threads of the runtime come and go.
#[derive(Debug, Clone)]
pub struct Runner {
    jobs: mpsc::Sender<Job>,
    exe: PathBuf,
    lab_id: String,
}

impl Runner {
    /// `exe` is a program whose `main` calls [`super::main_if_asked`] first.
    pub fn new(exe: &Path, lab_id: &str) -> std::io::Result<Runner> {
        let (jobs, queue) = mpsc::channel::<Job>();
        std::thread::Builder::new()
            .name("sandboxes".to_string())
            .spawn(move || {
                while let Ok(job) = queue.recv() {
                    job();
                }
            })?;
        Ok(Runner {
            jobs,
            exe: exe.to_path_buf(),
            lab_id: lab_id.to_string(),
        })
    }

    /// The id of the lab that this starts processes for.
    pub fn lab_id(&self) -> &str {
        &self.lab_id
    }

    /// Starts what is asked for and returns once the command runs. Its output goes to the pipes of
    /// the [`Process`].
    pub async fn start(&self, request: &Request) -> Result<Process, SandboxError> {
        let request = serde_json::to_vec(request).map_err(std::io::Error::other)?;
        let (mut ours, theirs) = UnixStream::pair()?;
        let mut command = Command::new(&self.exe);
        command
            .arg(ARGUMENT)
            .arg(std::process::id().to_string())
            .env(LAB_ID_VARIABLE, &self.lab_id)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let child = self.spawn(command).await?;
        // A request is larger than a socket's buffer now and then; the sandbox reads at once.
        let ours = tokio::task::spawn_blocking(move || {
            ours.write_all(&request)?;
            ours.shutdown(std::net::Shutdown::Write)?;
            ours.set_nonblocking(true)?;
            Ok::<_, std::io::Error>(ours)
        })
        .await
        .map_err(std::io::Error::other)??;
        let mut lines = BufReader::new(tokio::net::UnixStream::from_std(ours)?).lines();
        let line = tokio::time::timeout(START_TIMEOUT, lines.next_line())
            .await
            .map_err(|_| SandboxError::Timeout)??;
        match line.as_deref().map(serde_json::from_str::<Reply>) {
            Some(Ok(Reply::Started(pid))) => Ok(Process { child, init: pid }),
            Some(Ok(Reply::Failed(message))) => Err(SandboxError::Refused(message)),
            Some(Err(error)) => Err(SandboxError::Refused(error.to_string())),
            None => Err(SandboxError::Refused(
                "the process ended before its command ran".to_string(),
            )),
        }
    }

    async fn spawn(&self, mut command: Command) -> std::io::Result<Child> {
        let runtime = tokio::runtime::Handle::current();
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move || {
            let _context = runtime.enter();
            // When nobody waits any more the child is dropped, which kills it.
            let _ = sender.send(command.spawn());
        });
        let ended = || std::io::Error::other("the thread that starts processes ended");
        self.jobs.send(job).map_err(|_| ended())?;
        receiver.await.map_err(|_| ended())?
    }
}

/// A running sandbox. Dropping it kills every process in it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    init: u32,
}

impl Process {
    /// The host's process id of the container's init process: what [`super::Join`] takes.
    pub fn init_pid(&self) -> u32 {
        self.init
    }

    /// The output pipes, once.
    pub fn take_output(&mut self) -> (Option<ChildStdout>, Option<ChildStderr>) {
        (self.child.stdout.take(), self.child.stderr.take())
    }

    /// Waits for the end; the command's exit code, 128 + N when signal N ended it. May be called
    /// again after being cancelled.
    pub async fn wait(&mut self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        match self.child.wait().await {
            Ok(status) => status
                .code()
                .unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
            Err(error) => {
                tracing::warn!(%error, "waiting for a container");
                255
            }
        }
    }

    /// Sends a signal to the command; SIGKILL ends the whole sandbox.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            // It may just have ended: nothing to do then.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }
}
