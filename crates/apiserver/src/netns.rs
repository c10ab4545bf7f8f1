//! Sockets inside another network namespace, made on a thread of their own and handed over.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Runs `f` on a fresh thread that has joined the network namespace at `path`. A socket belongs to the namespace that
/// it was made in wherever it is used later, and the thread ends right after, so nothing else is affected.
fn inside<T: Send + 'static>(
    path: &Path,
    f: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let namespace = File::open(path)?;
    let thread = std::thread::Builder::new()
        .name("netns".into())
        .spawn(move || {
            #[allow(unsafe_code)]
            // setns has no safe wrapper here; the descriptor is open for as long as the call lasts.
            let joined = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
            if joined != 0 {
                return Err(io::Error::last_os_error());
            }
            f()
        })?;
    thread.join().unwrap_or_else(|_| {
        Err(io::Error::other(
            "the thread in the network namespace failed",
        ))
    })
}

/// Listens inside a network namespace.
///
/// # Errors
/// When the namespace cannot be joined or the address is not free.
pub fn listen(path: &Path, addr: SocketAddr) -> io::Result<TcpListener> {
    inside(path, move || TcpListener::bind(addr))
}

/// Connects from inside a network namespace, or from where this process is.
///
/// # Errors
/// When there is no connection within `timeout`.
pub async fn connect(
    path: Option<PathBuf>,
    addr: SocketAddr,
    timeout: Duration,
) -> io::Result<tokio::net::TcpStream> {
    let Some(path) = path else {
        return match tokio::time::timeout(timeout, tokio::net::TcpStream::connect(addr)).await {
            Ok(connected) => connected,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "timed out")),
        };
    };
    let connected = tokio::task::spawn_blocking(move || {
        inside(&path, move || TcpStream::connect_timeout(&addr, timeout))
    });
    let stream = connected.await.map_err(io::Error::other)??;
    stream.set_nonblocking(true)?;
    tokio::net::TcpStream::from_std(stream)
}
