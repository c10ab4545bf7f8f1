//! Finding processes of a lab by the id that each carries in its environment.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::sandbox::LAB_ID_VARIABLE;

/// How long a killed process may take to be gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// Kills every process that carries the lab's id, this one excepted, and waits until they are gone;
/// how many there were.
///
/// The kernel ends a lab's processes with the lab; this finds those that users started in its pods
/// (`hawser lab exec`), which would keep its networks alive.
pub fn sweep(lab_id: &str) -> usize {
    let found = carriers(lab_id);
    for pid in &found {
        // It may have ended since.
        let _ = kill(*pid, Signal::SIGKILL);
    }
    let deadline = Instant::now() + PATIENCE;
    while found.iter().any(|pid| kill(*pid, None).is_ok()) && Instant::now() < deadline {
        if carriers(lab_id).is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    found.len()
}

fn carriers(lab_id: &str) -> Vec<Pid> {
    let wanted = format!("{LAB_ID_VARIABLE}={lab_id}");
    let own = std::process::id();
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != own && !lab_id.is_empty())
        .filter(|pid| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == wanted.as_bytes())
        })
        .filter_map(|pid| i32::try_from(pid).ok().map(Pid::from_raw))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_carriers_are_killed() {
        let start = |id: &str| {
            std::process::Command::new("sleep")
                .arg("60")
                .env(LAB_ID_VARIABLE, id)
                .spawn()
                .expect("sleep")
        };
        let mine = format!("sweep-{}", std::process::id());
        let (mut marked, mut other) = (start(&mine), start("another"));
        // A process has its environment only once it has been executed.
        let deadline = Instant::now() + PATIENCE;
        while carriers(&mine).is_empty() && Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert_eq!(sweep(&mine), 1);
        assert!(!marked.wait().expect("its end").success());
        assert!(
            other.try_wait().expect("asking").is_none(),
            "a process of another lab was killed"
        );
        other.kill().expect("ending");
        other.wait().expect("its end");
    }
}
