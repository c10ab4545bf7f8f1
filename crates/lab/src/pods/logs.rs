//! Output of containers, kept in files of bounded size.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::sandbox::Process;

/// A log file is set aside (one older one is kept) when it has grown to this many bytes.
const MAX_LOG: u64 = 10 << 20;

/// Where the log of a container is below the lab's log directory.
pub fn path(logs: &Path, cluster: &str, namespace: &str, pod: &str, container: &str) -> PathBuf {
    logs.join(cluster)
        .join(format!("{namespace}_{pod}_{container}.log"))
}

/// A log file that several writers of one container share.
#[derive(Debug)]
struct Log {
    path: PathBuf,
    file: File,
    size: u64,
}

impl Log {
    fn open(path: &Path) -> io::Result<Log> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let size = file.metadata()?.len();
        Ok(Log {
            path: path.to_path_buf(),
            file,
            size,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.size > MAX_LOG {
            fs::rename(&self.path, self.path.with_extension("log.1"))?;
            *self = Log::open(&self.path)?;
        }
        self.file.write_all(bytes)?;
        self.size += bytes.len() as u64;
        Ok(())
    }
}

/// Copies a process's output to the log at `path` until it ends.
pub fn collect(process: &mut Process, path: &Path) -> io::Result<()> {
    let (stdout, stderr) = process.take_output();
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<Vec<u8>>(16);
    let mut log = Log::open(path)?;
    for output in [stdout.map(boxed), stderr.map(boxed)].into_iter().flatten() {
        tokio::spawn(read(output, sender.clone()));
    }
    drop(sender);
    tokio::spawn(async move {
        while let Some(bytes) = receiver.recv().await {
            if let Err(error) = log.write(&bytes) {
                tracing::warn!(%error, path = %log.path.display(), "writing a container's log");
            }
        }
    });
    Ok(())
}

type Output = Box<dyn AsyncRead + Send + Unpin>;

fn boxed(output: impl AsyncRead + Send + Unpin + 'static) -> Output {
    Box::new(output)
}

async fn read(mut output: Output, to: tokio::sync::mpsc::Sender<Vec<u8>>) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count @ 1..) = output.read(&mut buffer).await {
        if to.send(buffer[..count].to_vec()).await.is_err() {
            return;
        }
    }
}

/// The first bytes a process wrote, for a probe's message; the rest is read and dropped.
pub(crate) async fn head(process: &mut Process, limit: usize) -> String {
    let (stdout, stderr) = process.take_output();
    let mut kept = Vec::new();
    for mut output in [stdout.map(boxed), stderr.map(boxed)].into_iter().flatten() {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = output.read(&mut buffer).await {
            let room = limit.saturating_sub(kept.len());
            kept.extend_from_slice(&buffer[..count.min(room)]);
        }
    }
    String::from_utf8_lossy(&kept).trim().to_string()
}
