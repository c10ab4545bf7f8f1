//! The process that becomes a container: entering namespaces, starting the command, reaping.
//!
//! Everything here runs before any thread exists, which is what makes forking sound.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Gid, Pid, Uid, fork, getppid, setgid, setgroups, setuid};

use super::{ARGUMENT, Join, Program, Reply, Request, root};

/// Exit code when the command could not be started, as container runtimes use it.
const NOT_STARTED: u8 = 128;

/// The longest request read, bytes.
const MAX_REQUEST: u64 = 16 << 20;

/// Signals that are handed on to the command.
const FORWARDED: [Signal; 6] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// Becomes a container when the lab started this process for that: to be called first in `main`,
/// before any thread is started. `None` otherwise.
pub fn main_if_asked() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_none_or(|first| first != ARGUMENT) {
        return None;
    }
    let parent: Option<i32> = args.next().and_then(|pid| pid.to_str()?.parse().ok());
    let Some(parent) = parent else {
        eprintln!("`{ARGUMENT}` is how a lab starts its containers; it is not for use by hand");
        return Some(ExitCode::from(2));
    };
    Some(ExitCode::from(outer(parent)))
}

fn outer(parent: i32) -> u8 {
    if set_pdeathsig(Signal::SIGKILL).is_err() || getppid().as_raw() != parent {
        return NOT_STARTED;
    }
    let mut socket = match io::stdin().as_fd().try_clone_to_owned() {
        Ok(fd) => UnixStream::from(fd),
        Err(_) => return NOT_STARTED,
    };
    let result = read_request(&mut socket).and_then(|request| match request {
        Request::Run(container) => {
            enter_namespaces(&container.netns, &container.hostname)?;
            root::enter(&container)?;
            supervise(socket.try_clone().map_err(text)?, &container.program, true)
        }
        Request::Join(join) => {
            enter_container(&join)?;
            supervise(socket.try_clone().map_err(text)?, &join.program, false)
        }
        Request::Guard(program) => {
            reply(&mut socket, &Reply::Started(std::process::id()));
            drop(socket.shutdown(std::net::Shutdown::Both));
            Err(command(&program, false)
                .map(|mut command| command.exec().to_string())
                .unwrap_or_else(|error| error))
        }
    });
    match result {
        Ok(code) => code,
        Err(message) => {
            reply(&mut socket, &Reply::Failed(message));
            NOT_STARTED
        }
    }
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

fn read_request(socket: &mut UnixStream) -> Result<Request, String> {
    let mut bytes = Vec::new();
    socket
        .take(MAX_REQUEST)
        .read_to_end(&mut bytes)
        .map_err(text)?;
    serde_json::from_slice(&bytes).map_err(|error| format!("request: {error}"))
}

fn reply(socket: &mut UnixStream, reply: &Reply) {
    // Nobody may be listening any more; the exit code says the rest.
    if let Ok(mut line) = serde_json::to_vec(reply) {
        line.push(b'\n');
        let _ = socket.write_all(&line);
    }
}

fn enter_namespaces(netns: &std::path::Path, hostname: &str) -> Result<(), String> {
    let file = File::open(netns).map_err(|error| format!("network namespace: {error}"))?;
    setns(file.as_fd(), CloneFlags::CLONE_NEWNET)
        .map_err(|error| format!("network namespace: {}", error.desc()))?;
    let flags = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    unshare(flags).map_err(|error| format!("new namespaces: {}", error.desc()))?;
    // The kernel shows every process the parameters of its own namespaces here.
    fs::write("/proc/sys/kernel/hostname", hostname)
        .map_err(|error| format!("host name {hostname}: {error}"))
}

fn enter_container(join: &Join) -> Result<(), String> {
    let kinds = [
        ("ipc", CloneFlags::CLONE_NEWIPC),
        ("uts", CloneFlags::CLONE_NEWUTS),
        ("net", CloneFlags::CLONE_NEWNET),
        ("pid", CloneFlags::CLONE_NEWPID),
        ("mnt", CloneFlags::CLONE_NEWNS),
    ];
    // All are opened before any is entered: /proc is another one afterwards.
    let files = kinds
        .iter()
        .map(|(name, flag)| Ok((File::open(format!("/proc/{}/ns/{name}", join.pid))?, *flag)))
        .collect::<io::Result<Vec<_>>>()
        .map_err(|error| format!("the container is gone: {error}"))?;
    for (file, flag) in files {
        setns(file.as_fd(), flag)
            .map_err(|error| format!("entering the container: {}", error.desc()))?;
    }
    Ok(())
}

/// Forks the process that starts the command (the container's init, if `first`) and waits for it,
/// handing signals on.
fn supervise(socket: UnixStream, program: &Program, first: bool) -> Result<u8, String> {
    block_signals()?;
    let (here, there) = UnixStream::pair().map_err(text)?;
    // SAFETY: this process has a single thread, so the child may do anything the parent might.
    #[allow(unsafe_code)]
    let forked = unsafe { fork() }.map_err(|error| format!("fork: {}", error.desc()))?;
    match forked {
        ForkResult::Child => {
            drop(here);
            // Returning would run the parent's way out; the child ends here.
            std::process::exit(i32::from(inner(socket, there, program, first)))
        }
        ForkResult::Parent { child } => {
            drop(there);
            let hello = handshake_parent(here, socket, child);
            if hello.is_err() {
                let _ = kill(child, Signal::SIGKILL);
            }
            Ok(wait_for(child))
        }
    }
}

/// The child says that it will die with us; only then it may go on. Tells the lab the child's pid.
fn handshake_parent(mut here: UnixStream, mut socket: UnixStream, child: Pid) -> io::Result<()> {
    let mut byte = [0];
    here.read_exact(&mut byte)?;
    here.write_all(&byte)?;
    // The child reports an error by bytes, success by closing.
    let mut error = String::new();
    here.take(4096).read_to_string(&mut error)?;
    if error.is_empty() {
        reply(&mut socket, &Reply::Started(child.as_raw().unsigned_abs()));
    } else {
        reply(&mut socket, &Reply::Failed(error));
    }
    Ok(())
}

fn inner(lab: UnixStream, mut parent: UnixStream, program: &Program, first: bool) -> u8 {
    drop(lab);
    let mut byte = [0];
    let agreed = set_pdeathsig(Signal::SIGKILL).is_ok()
        && parent.write_all(&byte).is_ok()
        && parent.read_exact(&mut byte).is_ok();
    if !agreed {
        return NOT_STARTED;
    }
    let started = if first { root::mount_proc() } else { Ok(()) }
        .and_then(|()| command(program, true))
        .and_then(|mut command| command.spawn().map_err(|error| describe(program, &error)));
    match started {
        Ok(child) => {
            drop(parent);
            let pid = i32::try_from(child.id()).unwrap_or(i32::MAX);
            wait_for(Pid::from_raw(pid))
        }
        Err(message) => {
            let _ = parent.write_all(message.as_bytes());
            NOT_STARTED
        }
    }
}

fn describe(program: &Program, error: &io::Error) -> String {
    let name = program.argv.first().map_or("", String::as_str);
    format!("exec {name:?}: {error}")
}

fn command(program: &Program, detached: bool) -> Result<Command, String> {
    let [name, args @ ..] = program.argv.as_slice() else {
        return Err("no command".to_string());
    };
    let mut command = Command::new(name);
    command
        .args(args)
        .env_clear()
        .envs(&program.env)
        .stdin(Stdio::null());
    if let Some(cwd) = &program.cwd {
        fs::create_dir_all(cwd).map_err(|error| format!("working directory {cwd}: {error}"))?;
        command.current_dir(cwd);
    }
    if !detached {
        return Ok(command);
    }
    let groups: Vec<Gid> = program
        .groups
        .iter()
        .map(|gid| Gid::from_raw(*gid))
        .collect();
    let (uid, gid) = (Uid::from_raw(program.uid), Gid::from_raw(program.gid));
    // SAFETY: the process has a single thread; the closure makes system calls only.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(move || {
            // The command must hear what its init process has blocked.
            sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
            setgroups(&groups)?;
            setgid(gid)?;
            setuid(uid)?;
            Ok(())
        });
    }
    Ok(command)
}

fn block_signals() -> Result<(), String> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGCHLD);
    for signal in FORWARDED {
        set.add(signal);
    }
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), None).map_err(|error| error.desc().to_string())
}

/// Waits for `child`, reaping any other, and hands signals on. Its exit code, 128 + N for signal N.
fn wait_for(child: Pid) -> u8 {
    let mut set = SigSet::empty();
    set.add(Signal::SIGCHLD);
    for signal in FORWARDED {
        set.add(signal);
    }
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == child => {
                return u8::try_from(code & 0xff).unwrap_or(1);
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => {
                return 128u8.saturating_add(u8::try_from(signal as i32).unwrap_or(0));
            }
            Ok(WaitStatus::StillAlive) => match set.wait() {
                Ok(signal) if signal != Signal::SIGCHLD => {
                    let _ = kill(child, signal);
                }
                _ => {}
            },
            Ok(_) => {}
            Err(nix::Error::EINTR) => {}
            Err(_) => return NOT_STARTED,
        }
    }
}
