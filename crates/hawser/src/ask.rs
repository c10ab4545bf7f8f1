//! Asking a control plane about itself: its monitoring port, directly or inside a lab.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer read, in bytes: the configuration of one proxy of a very large mesh.
const LIMIT: u64 = 512 * 1024 * 1024;
/// Where control planes answer callers of their own machine or pod.
const LOCAL: &str = "http://127.0.0.1:15014";

/// Which control plane to ask.
#[derive(clap::Args, Debug, Clone)]
pub struct AskArgs {
    /// The control plane's monitoring port.
    #[arg(long, value_name = "URL", default_value = LOCAL)]
    control_plane: String,
    /// A token of a service account of the control plane's namespace, for audience istio-ca; needed from elsewhere than
    /// the control plane's own machine.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Ask a control plane of the lab in this folder.
    #[arg(long, value_name = "DIR", conflicts_with = "control_plane")]
    dir: Option<PathBuf>,
    /// Which of the lab's clusters.
    #[arg(long, value_name = "NAME", default_value = "cluster1")]
    cluster: String,
}

impl AskArgs {
    /// The answer to a request, as JSON.
    pub fn get(&self, path: &str) -> Result<Value> {
        let text = self.get_text(path)?;
        serde_json::from_str(&text).with_context(|| format!("{path}: the answer is not JSON"))
    }

    /// The answer to a request, as it is.
    pub fn get_text(&self, path: &str) -> Result<String> {
        match &self.dir {
            Some(dir) => self.in_lab(dir, path),
            None => self.direct(path),
        }
    }

    /// The same program asks once more from inside the control plane's pod.
    fn in_lab(&self, dir: &Path, path: &str) -> Result<String> {
        let program = std::env::current_exe().context("finding this program")?;
        let mut command = Command::new(&program);
        command.args(["lab", "exec", "--dir"]).arg(dir).args([
            &self.cluster,
            "istio-system/istiod",
            "--",
        ]);
        let output = command
            .arg(&program)
            .args(["proxy-status", "--raw", path])
            .output()
            .context("running lab exec")?;
        if !output.status.success() {
            bail!(
                "{}: {}",
                self.cluster,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        String::from_utf8(output.stdout).context("the answer is not UTF-8")
    }

    fn direct(&self, path: &str) -> Result<String> {
        let url = &self.control_plane;
        let authority = url
            .strip_prefix("http://")
            .map(|rest| rest.trim_end_matches('/'));
        let Some(authority) = authority.filter(|a| !a.is_empty() && !a.contains('/')) else {
            bail!("--control-plane {url}: expected http://HOST:PORT")
        };
        let mut addresses = authority
            .to_socket_addrs()
            .with_context(|| format!("--control-plane {url}"))?;
        let address = addresses
            .next()
            .with_context(|| format!("--control-plane {url}: the name has no address"))?;
        let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)
            .with_context(|| format!("asking {url}"))?;
        stream
            .set_read_timeout(Some(TIMEOUT))
            .context("setting a timeout")?;
        let token = match &self.token_file {
            None => String::new(),
            Some(file) => {
                let token = std::fs::read_to_string(file)
                    .with_context(|| format!("reading {}", file.display()))?;
                format!("Authorization: Bearer {}\r\n", token.trim())
            }
        };
        // HTTP/1.0, so that the answer is not in chunks and ends with the connection.
        let request = format!("GET {path} HTTP/1.0\r\nHost: {authority}\r\n{token}\r\n");
        stream
            .write_all(request.as_bytes())
            .with_context(|| format!("asking {url}"))?;
        let mut answer = String::new();
        stream
            .take(LIMIT)
            .read_to_string(&mut answer)
            .with_context(|| format!("reading the answer of {url}"))?;
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .with_context(|| format!("{url} does not speak HTTP"))?;
        match head.split(' ').nth(1) {
            Some("200") => Ok(body.to_owned()),
            Some(status) => bail!("{url}{path}: {status}: {}", body.trim()),
            None => bail!("{url} does not speak HTTP"),
        }
    }
}

/// A value for a query.
pub fn escape(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes()
        .map(|b| {
            if plain(b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

/// Rows in columns as wide as what is in them, as kubectl prints tables.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| {
        rows.iter()
            .filter_map(|r| r.get(c))
            .map(|t| t.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(text, width)| format!("{text:<width$}"))
            .collect();
        format!("{}\n", cells.join("     ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// How something is printed.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// A table.
    Short,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// Prints a value, or its rows with a heading.
pub fn print(
    output: Output,
    value: &Value,
    heading: &[&str],
    rows: Vec<Vec<String>>,
) -> Result<()> {
    match output {
        Output::Json => println!("{value:#}"),
        Output::Yaml => print!(
            "{}",
            serde_saphyr::to_string(value).context("printing YAML")?
        ),
        Output::Short => {
            let heading = heading.iter().map(|t| (*t).to_owned()).collect();
            print!("{}", table(&[vec![heading], rows].concat()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_queries_are_escaped() {
        let rows = [["NAME", "X"], ["a.b", "long"]].map(|r| r.map(str::to_owned).to_vec());
        assert_eq!(table(&rows), "NAME     X\na.b      long\n");
        assert_eq!(escape("a.b/c d&e"), "a.b%2Fc%20d%26e");
    }
}
