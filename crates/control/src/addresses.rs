//! Addresses of gateways that are known by host name.

use std::net::IpAddr;
use std::time::Duration;

use crate::refresh::{Answers, Schedule};
use crate::writer::Input;

/// The system's resolver does not say how long an answer may be kept; Envoy's own default is five seconds, and a load
/// balancer's name changes its addresses rarely.
const EVERY: Duration = Duration::from_secs(30);
const RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));
const TIMEOUT: Duration = Duration::from_secs(10);
/// Addresses of one name that count.
const LIMIT: usize = 64;

pub(crate) fn schedule() -> Schedule<Vec<IpAddr>> {
    Schedule::new(EVERY, RETRY)
}

/// The addresses of a name, in order.
pub(crate) async fn resolve(name: String) -> Result<Vec<IpAddr>, String> {
    let found = tokio::time::timeout(TIMEOUT, tokio::net::lookup_host((name.as_str(), 0))).await;
    let found = found
        .map_err(|_| format!("no answer within {} s", TIMEOUT.as_secs()))?
        .map_err(|e| e.to_string())?;
    let mut ips: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    ips.sort_unstable();
    ips.dedup();
    ips.truncate(LIMIT);
    match ips.is_empty() {
        true => Err("the name has no addresses".to_owned()),
        false => Ok(ips),
    }
}

pub(crate) fn input(answers: Answers<Vec<IpAddr>>) -> Input {
    Input::Addresses(
        answers
            .into_iter()
            .filter_map(|(name, ips)| Some((name, ips.ok()?)))
            .collect(),
    )
}
