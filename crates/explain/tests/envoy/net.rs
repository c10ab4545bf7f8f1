//! Two network namespaces of the test's own: the proxy's pod, and everything that it can reach. They end with the test.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::sync::mpsc;

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, unshare};

/// The pod's address: a sidecar's or a gateway's.
pub const POD: &str = "10.1.0.2";
/// Where each namespace answers for all addresses.
const ECHO_PORT: u16 = 19999;

type Job = Box<dyn FnOnce() + Send>;

/// A thread in a network namespace that ends with it.
pub struct Namespace {
    jobs: mpsc::Sender<Job>,
    thread: i32,
}

impl Namespace {
    fn new() -> Result<Self> {
        let (jobs, todo) = mpsc::channel::<Job>();
        let (ready, is_ready) = mpsc::channel();
        std::thread::spawn(move || {
            let made = unshare(CloneFlags::CLONE_NEWNET).map(|()| nix::unistd::gettid().as_raw());
            let failed = made.is_err();
            if ready.send(made).is_err() || failed {
                return;
            }
            todo.into_iter().for_each(|job| job());
        });
        let thread = is_ready
            .recv()?
            .context("making a network namespace needs root (CAP_SYS_ADMIN)")?;
        Ok(Self { jobs, thread })
    }

    /// Runs `body` in the namespace.
    pub fn run<T: Send + 'static>(&self, body: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let (give, take) = mpsc::channel();
        let job = move || drop(give.send(body()));
        self.jobs
            .send(Box::new(job))
            .ok()
            .context("the namespace's thread has ended")?;
        take.recv().context("the namespace's thread has ended")
    }

    fn commands(&self, lines: String) -> Result<()> {
        self.run(move || {
            lines
                .lines()
                .map(str::trim)
                .filter(|l| !l.is_empty())
                .try_for_each(command)
        })?
    }

    fn listen(&self) -> Result<TcpListener> {
        Ok(self.run(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, ECHO_PORT)))??)
    }
}

fn command(line: &str) -> Result<()> {
    let mut words = line.split_whitespace();
    let output = Command::new(words.next().unwrap_or_default())
        .args(words)
        .output()
        .with_context(|| line.to_owned())?;
    if !output.status.success() {
        bail!("{line}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// The two namespaces.
pub struct Net {
    /// Where the proxy runs and its application.
    pub pod: Namespace,
    /// Everybody else: every address answers.
    pub world: Namespace,
}

/// Sockets that every connection in the namespaces ends at, whatever address and port it was for.
pub struct Echoes {
    pub application: TcpListener,
    pub world: TcpListener,
}

impl Net {
    /// Makes the namespaces, joined by a cable; the pod's traffic is captured as in any pod.
    pub fn new() -> Result<(Self, Echoes)> {
        let net = Self {
            pod: Namespace::new()?,
            world: Namespace::new()?,
        };
        let world = net.world.thread;
        net.world.commands("ip link set lo up".to_owned())?;
        net.pod.commands(format!(
            "ip link set lo up
             ip link add v0 type veth peer name v1 netns {world}
             ip addr add {POD}/32 dev v0
             ip link set v0 up"
        ))?;
        // Whole ranges are local there ("AnyIP"), but for the pod's address.
        net.world.commands(format!(
            "ip addr add 10.255.255.1/32 dev v1
             ip link set v1 up
             ip route add {POD}/32 dev v1 table local
             ip route add local 10.0.0.0/8 dev lo
             ip route add local 203.0.113.0/24 dev lo
             ip route add local 198.51.100.0/24 dev lo"
        ))?;
        net.pod.commands("ip route add default dev v0".to_owned())?;
        net.pod
            .run(|| hawser_capture::apply(&application_rules()))??;
        net.world.run(|| hawser_capture::apply(&world_rules()))??;
        let echoes = Echoes {
            application: net.pod.listen()?,
            world: net.world.listen()?,
        };
        Ok((net, echoes))
    }

    /// Captures the pod's traffic as in any pod with a sidecar, or leaves it alone as a gateway's.
    pub fn capture(&self, on: bool) -> Result<()> {
        let rules = if on {
            hawser_capture::ruleset(&hawser_capture::Settings::default())
        } else {
            hawser_capture::removal()
        };
        Ok(self.pod.run(move || hawser_capture::apply(&rules))??)
    }
}

/// What the proxy sends to its own application: from 127.0.0.6, or to the loopback address.
fn application_rules() -> String {
    format!(
        "table ip application {{
           chain output {{
             type nat hook output priority 10; policy accept;
             ip saddr 127.0.0.6 meta l4proto tcp redirect to :{ECHO_PORT}
             ip daddr 127.0.0.1 meta skuid 1337 meta l4proto tcp redirect to :{ECHO_PORT}
           }}
         }}\n"
    )
}

fn world_rules() -> String {
    format!(
        "table ip world {{
           chain prerouting {{
             type nat hook prerouting priority dstnat; policy accept;
             iifname v1 meta l4proto tcp redirect to :{ECHO_PORT}
           }}
         }}\n"
    )
}
