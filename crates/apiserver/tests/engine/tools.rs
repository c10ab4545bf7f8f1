//! Programs of others that the tests run where they are there.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Says on the terminal itself, not into the output that passing tests keep to themselves, what was not tested.
pub fn skipped(why: &str) {
    // A terminal that cannot be written to has nobody in front of it.
    let _ = writeln!(std::io::stderr(), "\n*** NOT TESTED: {why}\n");
}

/// A program on `PATH`, or where `go install` and scripts/setup put it.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/bin");
    std::env::split_paths(&path)
        .chain(home.map(|home| home.join("go/bin")))
        .chain([cache])
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// Runs a program with input to its end; what it printed, or its complaint.
pub fn run(command: &mut Command, input: &str) -> Result<String, String> {
    let shown = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{shown}: {error}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin
            .write_all(input.as_bytes())
            .map_err(|error| format!("{shown}: {error}"))?;
    }
    let output = child
        .wait_with_output()
        .map_err(|error| format!("{shown}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("{shown}: {complaint}{text}"))
}
