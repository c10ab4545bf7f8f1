//! When a request is tried again (Istio's `retry` package).

use hawser_model::mesh::Mesh;
use hawser_model::route::Retries;
use hawser_proto::envoy::config::route::v3 as rds;
use hawser_proto::envoy::extensions::retry;
use rds::retry_policy::{RetryBackOff, RetryHostPredicate, RetryPriority};
use rds::retry_policy::{retry_host_predicate, retry_priority};

use crate::wire;

/// Istio's default conditions: the request had no effect yet, or is safe to repeat.
const RETRY_ON: &str =
    "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";
const BY_STATUS: &str = "retriable-status-codes";

/// The retries of a rule, else the mesh's, else Istio's default; `None` is never. Where a hash chooses the host, another
/// host is no better unless the rule says so.
pub(super) fn policy(own: Option<&Retries>, mesh: &Mesh, hashed: bool) -> Option<rds::RetryPolicy> {
    of(own.or(mesh.default_retries.as_ref()), hashed)
}

/// Retries as written; what is not written is Istio's default.
pub(crate) fn of(written: Option<&Retries>, hashed: bool) -> Option<rds::RetryPolicy> {
    let mut out = rds::RetryPolicy {
        retry_on: RETRY_ON.to_owned(),
        num_retries: Some(wire::u32v(2)),
        retry_host_predicate: if hashed { Vec::new() } else { other_hosts() },
        host_selection_retry_max_attempts: 5,
        ..Default::default()
    };
    let Some(said) = written else {
        return Some(out);
    };
    if said.attempts == 0 {
        return None;
    }
    out.num_retries = Some(wire::u32v(said.attempts));
    if !said.retry_on.is_empty() {
        (out.retry_on, out.retriable_status_codes) = conditions(&said.retry_on);
    }
    out.per_try_timeout = said.per_try_timeout.map(wire::duration);
    match said.ignore_previous_hosts {
        Some(true) => out.retry_host_predicate = other_hosts(),
        Some(false) => out.retry_host_predicate.clear(),
        None => {}
    }
    if said.remote_localities == Some(true) {
        out.retry_priority = Some(RetryPriority {
            name: "envoy.retry_priorities.previous_priorities".to_owned(),
            config_type: Some(retry_priority::ConfigType::TypedConfig(wire::any(
                &retry::priority::previous_priorities::v3::PreviousPrioritiesConfig {
                    update_frequency: 2,
                },
            ))),
        });
    }
    out.retry_back_off = said.backoff.map(|b| RetryBackOff {
        base_interval: Some(wire::duration(b)),
        max_interval: None,
    });
    Some(out)
}

fn other_hosts() -> Vec<RetryHostPredicate> {
    vec![RetryHostPredicate {
        name: "envoy.retry_host_predicates.previous_hosts".to_owned(),
        config_type: Some(retry_host_predicate::ConfigType::TypedConfig(wire::any(
            &retry::host::previous_hosts::v3::PreviousHostsPredicate::default(),
        ))),
    }]
}

/// Envoy's conditions, and the HTTP statuses that stand among them.
fn conditions(written: &str) -> (String, Vec<u32>) {
    let mut codes = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    for part in written.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        match part.parse() {
            Ok(code) if is_status(code) => codes.push(code),
            _ => names.push(part),
        }
    }
    if !codes.is_empty() && !names.contains(&BY_STATUS) {
        names.push(BY_STATUS);
    }
    (names.join(","), codes)
}

/// True for statuses that have a name (RFC 9110 and its extensions); other numbers are no conditions.
fn is_status(code: u32) -> bool {
    matches!(code,
        100..=103 | 200..=208 | 226 | 300..=305 | 307 | 308 | 400..=418 | 421..=426 | 428 | 429 | 431 | 451
        | 500..=508 | 510 | 511)
}
