//! A network namespace held open by this process, and doing things inside one.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sched::{CloneFlags, setns, unshare};
use tokio::net::{TcpSocket, TcpStream};

use super::NetError;

/// A network namespace. Clones share it; the kernel removes it after the last holder is gone.
#[derive(Debug, Clone)]
pub struct Netns {
    file: Arc<File>,
    path: PathBuf,
}

impl Netns {
    /// Makes a new, empty namespace.
    pub fn create() -> Result<Netns, NetError> {
        let file = on_own_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            File::open("/proc/thread-self/ns/net")
        })
        .map_err(NetError::system("making a network namespace"))?;
        let path = PathBuf::from(format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            file.as_raw_fd()
        ));
        Ok(Netns {
            file: Arc::new(file),
            path,
        })
    }

    /// A file that opens as this namespace, for other processes too, while this one lives.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` on a thread of its own inside the namespace. Processes it starts are inside too.
    pub fn run<T: Send>(
        &self,
        work: impl FnOnce() -> std::io::Result<T> + Send,
    ) -> std::io::Result<T> {
        on_own_thread(|| {
            setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET)?;
            work()
        })
    }

    /// Runs lines of `ip` commands inside; the first that fails ends it.
    pub fn ip(&self, lines: &[String]) -> Result<(), NetError> {
        self.feed("ip", &["-batch", "-"], &(lines.join("\n") + "\n"))
    }

    /// Loads rules inside, all or none.
    pub fn nft(&self, rules: &str) -> Result<(), NetError> {
        self.feed("nft", &["-f", "-"], rules)
    }

    /// Sets kernel parameters (`net/…`, value) of the namespace.
    pub fn sysctl(&self, settings: &[(&str, &str)]) -> Result<(), NetError> {
        self.run(|| {
            for (name, value) in settings {
                std::fs::write(Path::new("/proc/sys").join(name), value).map_err(|error| {
                    std::io::Error::new(error.kind(), format!("{name}: {error}"))
                })?;
            }
            Ok(())
        })
        .map_err(NetError::system("setting kernel parameters of a namespace"))
    }

    /// As [`Netns::sysctl`], leaving out what this kernel does not have.
    pub fn sysctl_if_there(&self, settings: &[(&str, &str)]) -> Result<(), NetError> {
        let there = |(name, _): &(&str, &str)| Path::new("/proc/sys").join(name).exists();
        let present: Vec<(&str, &str)> = settings.iter().copied().filter(there).collect();
        self.sysctl(&present)
    }

    fn feed(&self, program: &str, args: &[&str], input: &str) -> Result<(), NetError> {
        let command = format!("{program} {}", args.join(" "));
        let output = self
            .run(|| {
                let mut child = Command::new(program)
                    .args(args)
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn()?;
                if let Some(mut stdin) = child.stdin.take() {
                    stdin.write_all(input.as_bytes())?;
                }
                child.wait_with_output()
            })
            .map_err(NetError::system(format!("running {command}")))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_string();
        Err(NetError::Command {
            command,
            message: said,
        })
    }
}

/// Runs `work` inside the namespace that `netns` opens as, on a thread of its own; processes it
/// starts are inside too.
pub fn in_netns<T: Send>(
    netns: &Path,
    work: impl FnOnce() -> std::io::Result<T> + Send,
) -> std::io::Result<T> {
    let file = File::open(netns)?;
    on_own_thread(|| {
        setns(file.as_fd(), CloneFlags::CLONE_NEWNET)?;
        work()
    })
}

/// Connects from inside the namespace `netns`. Only the socket is made there: a socket stays in the
/// namespace it was made in, whoever uses it later.
pub async fn connect_in(
    netns: &Path,
    to: SocketAddr,
    timeout: Duration,
) -> std::io::Result<TcpStream> {
    let socket = in_netns(netns, || match to {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    })?;
    tokio::time::timeout(timeout, socket.connect(to))
        .await
        .map_err(|_| {
            std::io::Error::new(
                std::io::ErrorKind::TimedOut,
                format!("no answer from {to} in {timeout:?}"),
            )
        })?
}

/// A thread's namespaces are its own, so the work cannot leak into the threads of the runtime.
fn on_own_thread<T: Send>(work: impl FnOnce() -> std::io::Result<T> + Send) -> std::io::Result<T> {
    std::thread::scope(|scope| {
        scope
            .spawn(work)
            .join()
            .unwrap_or_else(|_| Err(std::io::Error::other("the thread ended early")))
    })
}
