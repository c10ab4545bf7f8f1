//! What a lab needs of the machine, found out and said before anything is made.

use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, unshare};

/// Everything that is missing, each with a way out; empty when a lab can run.
pub fn missing() -> Vec<String> {
    let mut missing = Vec::new();
    if nix::unistd::geteuid().is_root() {
        // A container may run as root without being allowed to make namespaces.
        if let Err(error) = try_namespaces() {
            missing.push(format!(
                "making network and mount namespaces is refused ({error}): inside a container, run it with --privileged"
            ));
        }
    } else {
        missing.push(not_root(
            &std::fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap_or_default(),
        ));
    }
    for (program, package) in [("ip", "iproute2"), ("nft", "nftables")] {
        if find_program(program).is_none() {
            missing.push(format!("the program `{program}` is not on PATH: on Debian and Ubuntu, apt-get install {package}"));
        }
    }
    let filesystems = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !has_overlay(&filesystems) && !Path::new("/sys/module/overlay").exists() {
        missing.push("the kernel has no overlayfs loaded: as root, modprobe overlay".to_string());
    }
    missing
}

fn not_root(max_user_namespaces: &str) -> String {
    let mut text =
        String::from("a lab makes network namespaces, which needs root: run it with sudo");
    if max_user_namespaces.trim() == "0" {
        text.push_str(" (user namespaces are switched off here, so there is no way without)");
    }
    text
}

fn has_overlay(filesystems: &str) -> bool {
    filesystems
        .lines()
        .any(|line| line.split_whitespace().last() == Some("overlay"))
}

/// On a thread that ends at once, and the namespaces with it.
fn try_namespaces() -> Result<(), nix::Error> {
    std::thread::spawn(|| unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS))
        .join()
        .unwrap_or(Err(nix::Error::EPERM))
}

/// The first executable file called `name` in PATH.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    // /usr/sbin is where Debian keeps `nft`, and is not on everybody's PATH.
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
        .map(|dir| dir.join(name))
        .find(|file| is_executable(file))
}

/// Whether a file exists and may be executed by somebody.
pub fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons() {
        assert!(not_root("0\n").contains("switched off"));
        assert!(!not_root("63000\n").contains("switched off"));
        assert!(has_overlay("nodev\tproc\nnodev\toverlay\n\text4\n"));
        assert!(!has_overlay("\text4\n"));
    }
}
