//! resolv.conf(5): where names are asked and how short names grow.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// The largest file read, in bytes.
const LIMIT: usize = 64 * 1024;
/// The C library reads no more servers than this; neither do we.
const SERVERS: usize = 3;
const SEARCHES: usize = 32;

/// The parts of a resolv.conf that matter here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// The servers, at most three, in order.
    pub servers: Vec<SocketAddr>,
    /// The search domains, lower case and without a final dot.
    pub search: Vec<String>,
}

/// Why a resolv.conf could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ResolvError {
    #[error("cannot read {path}: {source}")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path} is larger than {LIMIT} bytes")]
    TooLarge { path: PathBuf },
}

impl ResolvConf {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<ResolvConf, ResolvError> {
        let text = std::fs::read(path).map_err(|source| ResolvError::Read {
            path: path.to_owned(),
            source,
        })?;
        if text.len() > LIMIT {
            return Err(ResolvError::TooLarge {
                path: path.to_owned(),
            });
        }
        Ok(ResolvConf::parse(&String::from_utf8_lossy(&text)))
    }

    /// Parses the text; lines that make no sense are passed over, as the C library does.
    pub fn parse(text: &str) -> ResolvConf {
        let mut conf = ResolvConf::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    conf.servers
                        .extend(address.map(|address| SocketAddr::new(address, 53)));
                }
                // The last of several `search` lines counts.
                Some("search" | "domain") => {
                    let domains = words
                        .take(SEARCHES)
                        .map(|word| word.trim_end_matches('.').to_ascii_lowercase());
                    conf.search = domains.filter(|domain| !domain.is_empty()).collect();
                }
                _ => {}
            }
        }
        conf.servers.truncate(SERVERS);
        conf
    }
}
