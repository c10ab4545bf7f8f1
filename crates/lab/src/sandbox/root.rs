//! A container's file system: the host's, with everything written kept in memory and dropped.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, pivot_root};

use super::{Container, Mount};

/// The host's root while the container's is being furnished.
const OLD_ROOT: &str = "/.hawser-host";

const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Paths that get file systems of their own instead of the host's.
const OWN: [&str; 5] = ["/proc", "/sys", "/dev", "/run", "/tmp"];

/// Builds the container's root and makes it this process's. The caller has a mount namespace of its
/// own. `/proc` is left to the init process, whose process namespace it must show.
pub(super) fn enter(container: &Container) -> Result<(), String> {
    let none: Option<&str> = None;
    // Unmounting on the host still reaches us, so that a container keeps no device of the host busy.
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)
        .map_err(at("separating mounts"))?;
    let host_mounts = host_mounts()?;
    // Paths are resolved while the host's root is still ours: links in them lead where the host says.
    let volumes = container
        .mounts
        .iter()
        .map(|volume| {
            let source = fs::canonicalize(&volume.source)
                .map_err(|error| format!("volume source {}: {error}", volume.source.display()))?;
            Ok(Mount {
                source,
                ..volume.clone()
            })
        })
        .collect::<Result<Vec<Mount>, String>>()?;

    let scratch = &container.scratch;
    mount(
        Some("hawser"),
        scratch,
        Some("tmpfs"),
        MsFlags::empty(),
        Some("mode=0755,size=512m"),
    )
    .map_err(at("mounting memory for a container"))?;
    let [upper, work, root] = ["upper", "work", "root"].map(|name| scratch.join(name));
    for dir in [&upper, &work, &root] {
        make_dir(dir)?;
    }
    let options = format!(
        "lowerdir=/,upperdir={},workdir={}",
        escape(&upper),
        escape(&work)
    );
    mount(
        Some("hawser"),
        &root,
        Some("overlay"),
        MsFlags::empty(),
        Some(options.as_str()),
    )
    .map_err(at("laying an overlay over the host's files"))?;

    let old = root.join(OLD_ROOT.trim_start_matches('/'));
    make_dir(&old)?;
    pivot_root(&root, &old).map_err(at("changing the root"))?;
    chdir("/").map_err(at("entering the root"))?;

    bind_host_mounts(&host_mounts);
    own_file_systems()?;
    write_etc(container)?;
    for volume in &volumes {
        bind_volume(volume)?;
    }
    umount2(OLD_ROOT, MntFlags::MNT_DETACH).map_err(at("leaving the host's root"))?;
    let _ = fs::remove_dir(OLD_ROOT);
    Ok(())
}

/// Shows the processes of the caller's process namespace at `/proc`.
pub(super) fn mount_proc() -> Result<(), String> {
    mount(
        Some("proc"),
        "/proc",
        Some("proc"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC,
        None::<&str>,
    )
    .map_err(at("mounting /proc"))
}

fn at(what: &'static str) -> impl FnOnce(nix::Error) -> String {
    move |error| format!("{what}: {}", error.desc())
}

fn make_dir(path: &Path) -> Result<(), String> {
    fs::create_dir_all(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// In overlay options a comma ends an option and a colon separates directories.
fn escape(path: &Path) -> String {
    let mut out = String::new();
    for c in path.to_string_lossy().chars() {
        if matches!(c, '\\' | ',' | ':') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// What else the host has mounted: an overlay of `/` does not show it.
fn host_mounts() -> Result<Vec<PathBuf>, String> {
    let text = fs::read_to_string("/proc/self/mountinfo")
        .map_err(|error| format!("mountinfo: {error}"))?;
    Ok(mount_points(&text))
}

fn mount_points(mountinfo: &str) -> Vec<PathBuf> {
    let mut points: Vec<PathBuf> = Vec::new();
    for line in mountinfo.lines() {
        let mut fields = line.split(' ');
        let Some(point) = fields.nth(4) else { continue };
        let Some(kind) = line
            .split(" - ")
            .nth(1)
            .and_then(|rest| rest.split(' ').next())
        else {
            continue;
        };
        let point = PathBuf::from(unescape(point));
        let own = point == Path::new("/") || OWN.iter().any(|own| point.starts_with(own));
        if !own && !matches!(kind, "autofs" | "nsfs") && !points.contains(&point) {
            points.push(point);
        }
    }
    points
}

/// The kernel writes blanks and backslashes in paths as three octal digits.
fn unescape(field: &str) -> String {
    let mut out = Vec::with_capacity(field.len());
    let bytes = field.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digits = bytes
            .get(at + 1..at + 4)
            .and_then(|d| std::str::from_utf8(d).ok());
        match digits.and_then(|d| u8::from_str_radix(d, 8).ok()) {
            Some(value) if byte == b'\\' => {
                out.push(value);
                at += 4;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The host's further file systems, readable. One that refuses (a user's FUSE mount, say) is left out.
fn bind_host_mounts(points: &[PathBuf]) {
    for point in points {
        let Ok(relative) = point.strip_prefix("/") else {
            continue;
        };
        let _ = bind(&Path::new(OLD_ROOT).join(relative), point, true);
    }
}

fn bind(source: &Path, target: &Path, read_only: bool) -> nix::Result<()> {
    let none: Option<&str> = None;
    mount(Some(source), target, none, MsFlags::MS_BIND, none)?;
    if read_only {
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(none, target, none, flags, none)?;
    }
    Ok(())
}

fn own_file_systems() -> Result<(), String> {
    let none: Option<&str> = None;
    let tmpfs = |target: &str, options: &str| {
        make_dir(Path::new(target))?;
        mount(
            Some("hawser"),
            target,
            Some("tmpfs"),
            MsFlags::MS_NOSUID,
            Some(options),
        )
        .map_err(at("mounting memory"))
    };
    tmpfs("/run", "mode=0755")?;
    tmpfs("/tmp", "mode=1777")?;
    tmpfs("/dev", "mode=0755,size=64k")?;
    for name in DEVICES {
        let (source, target) = (
            Path::new(OLD_ROOT).join("dev").join(name),
            Path::new("/dev").join(name),
        );
        fs::write(&target, "").map_err(|error| format!("{}: {error}", target.display()))?;
        if let Err(error) = bind(&source, &target, false) {
            return Err(format!("device {}: {}", target.display(), error.desc()));
        }
    }
    for (link, to) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "fd/0"),
        ("stdout", "fd/1"),
        ("stderr", "fd/2"),
    ] {
        std::os::unix::fs::symlink(to, Path::new("/dev").join(link))
            .map_err(|error| format!("/dev/{link}: {error}"))?;
    }
    tmpfs("/dev/shm", "mode=1777,size=64m")?;
    // The network part of /sys shows the pod's own interfaces.
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("sysfs"), "/sys", Some("sysfs"), flags, none).map_err(at("mounting /sys"))?;
    Ok(())
}

fn write_etc(container: &Container) -> Result<(), String> {
    for (name, content) in &container.etc {
        let path = Path::new("/etc").join(name);
        // The host's may be a link to elsewhere; the container gets a plain file.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(format!("{}: {error}", path.display()));
            }
            _ => {}
        }
        fs::write(&path, content)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o644)))
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

fn bind_volume(volume: &Mount) -> Result<(), String> {
    let target = &volume.target;
    if !target.is_absolute() || target.components().any(|part| part == Component::ParentDir) {
        return Err(format!(
            "mount path {} is not an absolute path without `..`",
            target.display()
        ));
    }
    let source =
        Path::new(OLD_ROOT).join(volume.source.strip_prefix("/").unwrap_or(&volume.source));
    if source.is_dir() {
        make_dir(target)?;
    } else if !target.exists() {
        if let Some(parent) = target.parent() {
            make_dir(parent)?;
        }
        fs::write(target, "").map_err(|error| format!("{}: {error}", target.display()))?;
    }
    bind(&source, target, volume.read_only).map_err(|error| {
        format!(
            "mounting a volume at {}: {}",
            target.display(),
            error.desc()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_of_the_host() {
        let text = "22 1 254:0 / / rw - ext4 /dev/vda rw\n\
                    23 22 0:21 / /proc rw - proc proc rw\n\
                    24 22 8:1 / /home/a\\040b rw shared:1 - ext4 /dev/sda1 rw\n\
                    25 22 0:5 / /run/user rw - tmpfs tmpfs rw\n\
                    26 22 0:9 / /misc rw - autofs systemd-1 rw\n\
                    broken\n";
        assert_eq!(mount_points(text), [PathBuf::from("/home/a b")]);
    }

    #[test]
    fn overlay_options_are_escaped() {
        assert_eq!(escape(Path::new("/a,b:c\\d")), "/a\\,b\\:c\\\\d");
    }
}
