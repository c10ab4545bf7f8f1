//! Unix sockets that only their owner may use.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// The longest path of a Unix socket, in bytes (`sun_path` less the final zero).
const PATH_LIMIT: usize = 107;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
#[error("cannot make the socket {path}: {reason}")]
pub struct SocketError {
    pub path: PathBuf,
    pub reason: String,
}

/// Listens on `path` with mode 0600, in place of whatever a former process left there.
///
/// The socket is made inside a directory that nobody else can enter and moved into place once its mode
/// is right, so that it never is open to others.
pub fn listen(path: &Path) -> Result<UnixListener, SocketError> {
    let wrong = |reason: String| SocketError {
        path: path.to_owned(),
        reason,
    };
    if path.as_os_str().len() + ".new/s".len() > PATH_LIMIT {
        return Err(wrong(format!(
            "the path is longer than {PATH_LIMIT} bytes; choose another --proxy-dir"
        )));
    }
    let mut private = path.as_os_str().to_owned();
    private.push(".new");
    let private = PathBuf::from(private);
    let inner = private.join("s");
    let make = || -> std::io::Result<UnixListener> {
        if private.exists() {
            std::fs::remove_dir_all(&private)?;
        }
        std::fs::DirBuilder::new().mode(0o700).create(&private)?;
        let listener = UnixListener::bind(&inner)?;
        std::fs::set_permissions(&inner, std::fs::Permissions::from_mode(0o600))?;
        std::fs::rename(&inner, path)?;
        std::fs::remove_dir(&private)?;
        Ok(listener)
    };
    make().map_err(|error| wrong(error.to_string()))
}
