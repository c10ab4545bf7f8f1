//! The lab's folder: where things are, who holds it, and clearing it.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::state::State;

/// Paths of a lab.
#[derive(Debug, Clone)]
pub struct LabDir {
    root: PathBuf,
}

/// What is removed when a lab ends. Logs stay for whoever wants to know what happened, and the lock
/// stays because removing a lock others may wait for breaks it.
const REMOVED: [&str; 7] = [
    "api",
    "bin",
    "certs",
    "kubeconfig",
    "kubeconfigs",
    "run",
    "lab.json",
];

/// Why a folder cannot be a lab's.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    /// It belongs to something else.
    #[error("{0} holds other files: name another folder with --dir")]
    NotALab(PathBuf),
    /// A lab is up in it.
    #[error("a lab is up in {path} (process {pid}); `hawser lab down` ends it")]
    Busy {
        /// The folder.
        path: PathBuf,
        /// The lab's process.
        pid: u32,
    },
    /// The system refused.
    #[error("{path}: {source}")]
    System {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl LabDir {
    /// The lab named by `root`, which need not exist yet.
    pub fn new(root: &Path) -> io::Result<LabDir> {
        Ok(LabDir {
            root: std::path::absolute(root)?,
        })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The API servers' data.
    pub fn api(&self) -> PathBuf {
        self.root.join("api")
    }

    /// The kubeconfig of a cluster.
    pub fn kubeconfig(&self, cluster: &str) -> PathBuf {
        self.root
            .join("kubeconfigs")
            .join(format!("{cluster}.yaml"))
    }

    /// One kubeconfig with all clusters.
    pub fn merged_kubeconfig(&self) -> PathBuf {
        self.root.join("kubeconfig")
    }

    /// Certificates and keys of the mesh's root and intermediates.
    pub fn certs(&self) -> PathBuf {
        self.root.join("certs")
    }

    /// Output of containers and of the lab itself.
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// What `lab up --detach` prints.
    pub fn up_log(&self) -> PathBuf {
        self.logs().join("up.log")
    }

    /// Programs as containers see them.
    pub fn bin(&self) -> PathBuf {
        self.root.join("bin")
    }

    /// Records of running pods.
    pub fn records(&self) -> PathBuf {
        self.root.join("run/pods")
    }

    /// Volumes of pods.
    pub fn volumes(&self) -> PathBuf {
        self.root.join("run/volumes")
    }

    /// The empty directory that containers mount over.
    pub fn scratch(&self) -> PathBuf {
        self.root.join("run/scratch")
    }

    fn state_file(&self) -> PathBuf {
        self.root.join("lab.json")
    }

    fn lock_file(&self) -> PathBuf {
        self.root.join("lock")
    }

    fn at(path: &Path) -> impl FnOnce(io::Error) -> DirError {
        let path = path.to_path_buf();
        move |source| DirError::System { path, source }
    }

    /// Takes the folder for this process, clears what a killed lab left and makes its directories.
    pub fn take(&self) -> Result<Lock, DirError> {
        if !self.lock_file().exists() {
            let mut entries = match fs::read_dir(&self.root) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    fs::create_dir_all(&self.root).map_err(Self::at(&self.root))?;
                    fs::read_dir(&self.root).map_err(Self::at(&self.root))?
                }
                Err(error) => return Err(Self::at(&self.root)(error)),
            };
            if entries.next().is_some() {
                return Err(DirError::NotALab(self.root.clone()));
            }
        }
        let path = self.lock_file();
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path);
        let mut file = file.map_err(Self::at(&path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(DirError::Busy {
                    path: self.root.clone(),
                    pid: read_pid(&mut file),
                });
            }
            Err(TryLockError::Error(error)) => return Err(Self::at(&path)(error)),
        }
        self.clear()?;
        // The logs of the lab before would only confuse; its folder may hold those of this one's start.
        for dir in [
            self.api(),
            self.bin(),
            self.certs(),
            self.logs(),
            self.root.join("kubeconfigs"),
            self.records(),
            self.volumes(),
            self.scratch(),
        ] {
            fs::create_dir_all(&dir).map_err(Self::at(&dir))?;
        }
        for private in [
            self.api(),
            self.certs(),
            self.root.join("kubeconfigs"),
            self.root.join("run"),
        ] {
            let mode = fs::Permissions::from_mode(0o700);
            fs::set_permissions(&private, mode).map_err(Self::at(&private))?;
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .map_err(Self::at(&path))?;
        write!(file, "{}", std::process::id()).map_err(Self::at(&path))?;
        Ok(Lock { _file: file })
    }

    /// The process of the lab that is up in this folder.
    pub fn holder(&self) -> Option<u32> {
        let mut file = File::options()
            .read(true)
            .write(true)
            .open(self.lock_file())
            .ok()?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Some(read_pid(&mut file)),
            _ => None,
        }
    }

    /// Whether the folder is, or was, a lab's.
    pub fn is_lab(&self) -> bool {
        self.lock_file().is_file()
    }

    /// Removes what a lab keeps while it is up.
    pub fn clear(&self) -> Result<(), DirError> {
        for name in REMOVED {
            let path = self.root.join(name);
            let removed = match fs::symlink_metadata(&path) {
                Ok(meta) if meta.is_dir() => fs::remove_dir_all(&path),
                Ok(_) => fs::remove_file(&path),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error),
            };
            removed.map_err(Self::at(&path))?;
        }
        Ok(())
    }

    /// Removes the logs of the lab before.
    pub fn clear_logs(&self) -> Result<(), DirError> {
        match fs::remove_dir_all(self.logs()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Self::at(&self.logs())(error))
            }
            _ => Ok(()),
        }
    }

    /// What the lab last said of itself.
    pub fn read_state(&self) -> io::Result<Option<State>> {
        match fs::read(self.state_file()) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Says what the lab is now.
    pub fn write_state(&self, state: &State) -> io::Result<()> {
        let next = self.state_file().with_extension("tmp");
        fs::write(&next, serde_json::to_vec_pretty(state)?)?;
        fs::rename(next, self.state_file())
    }
}

fn read_pid(file: &mut File) -> u32 {
    let mut text = String::new();
    let _ = file.take(16).read_to_string(&mut text);
    text.trim().parse().unwrap_or(0)
}

/// The folder is this process's until this is dropped or the process ends in any way.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_one_labs() {
        let root = std::env::temp_dir().join(format!("hawser-dir-{}", std::process::id()));
        let dir = LabDir::new(&root).expect("a path");
        assert_eq!(dir.holder(), None);
        let lock = dir.take().expect("a new folder");
        assert_eq!(dir.holder(), Some(std::process::id()));
        assert!(matches!(dir.take(), Err(DirError::Busy { pid, .. }) if pid == std::process::id()));
        fs::write(dir.api().join("x"), "left").expect("a file");
        drop(lock);
        assert_eq!(dir.holder(), None);
        let _lock = dir.take().expect("the same folder again");
        assert!(!dir.api().join("x").exists(), "what was left is cleared");
        let other = LabDir::new(&dir.api()).expect("a path");
        fs::write(dir.api().join("x"), "mine").expect("a file");
        assert!(matches!(other.take(), Err(DirError::NotALab(_))));
        fs::remove_dir_all(&root).expect("removing");
    }
}
