//! Leader election over `coordination.k8s.io/v1` Leases, compatible with client-go's electors.

use crate::{Client, Error, Resource};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use time::macros::format_description;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const LEASES: Resource = Resource::namespaced("coordination.k8s.io", "v1", "Lease", "leases");

/// Who wants to lead what. The durations of client-go's defaults: 15 s, 10 s, 2 s.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// Unique among the candidates, as the pod's name.
    pub identity: String,
    /// Others may take over after this much silence of the leader.
    pub duration: Duration,
    /// The leader steps down when it could not renew for this long. Shorter than `duration`.
    pub renew_within: Duration,
    /// How often to try.
    pub retry: Duration,
}

impl Candidate {
    /// A candidate with the usual durations.
    pub fn new(
        namespace: impl Into<String>,
        name: impl Into<String>,
        identity: impl Into<String>,
    ) -> Candidate {
        Candidate {
            namespace: namespace.into(),
            name: name.into(),
            identity: identity.into(),
            duration: Duration::from_secs(15),
            renew_within: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

/// What another's hold on the lease looked like, and since when it has looked like that to us. Clocks of other machines
/// are not trusted: a lease has expired when we have seen no renewal for its duration.
#[derive(Debug, Default)]
struct Observed {
    record: String,
    since: Option<Instant>,
}

impl Observed {
    /// True when the lease with this record has been silent for `duration`.
    fn expired(&mut self, record: String, duration: Duration, now: Instant) -> bool {
        if self.record != record || self.since.is_none() {
            self.record = record;
            self.since = Some(now);
        }
        self.since
            .is_some_and(|since| now.duration_since(since) >= duration)
    }
}

/// Runs for the lease until `shutdown`, saying through `leading` whether it is held; gives it up on the way out.
pub async fn campaign(
    client: Client,
    candidate: Candidate,
    leading: watch::Sender<bool>,
    shutdown: CancellationToken,
) {
    let mut observed = Observed::default();
    let mut renewed: Option<Instant> = None;
    loop {
        let attempt = tokio::time::timeout(
            candidate.renew_within,
            attempt(&client, &candidate, &mut observed),
        );
        let outcome = tokio::select! {
            outcome = attempt => outcome.unwrap_or_else(|_| Err(Error::Unreachable("lease: no answer".to_owned()))),
            () = shutdown.cancelled() => break,
        };
        match outcome {
            Ok(true) => renewed = Some(Instant::now()),
            Ok(false) => renewed = None,
            Err(error) => {
                tracing::warn!(lease = candidate.name, %error, "cannot renew the lease");
                renewed = renewed.filter(|at| at.elapsed() < candidate.renew_within);
            }
        }
        leading.send_if_modified(|leads| {
            std::mem::replace(leads, renewed.is_some()) != renewed.is_some()
        });
        tokio::select! {
            () = tokio::time::sleep(candidate.retry) => {}
            () = shutdown.cancelled() => break,
        }
    }
    leading.send_replace(false);
    if renewed.is_some()
        && let Err(error) = release(&client, &candidate).await
    {
        tracing::debug!(lease = candidate.name, %error, "the lease was not given up");
    }
}

/// One attempt to take or renew; true when the lease is ours now.
async fn attempt(
    client: &Client,
    candidate: &Candidate,
    observed: &mut Observed,
) -> Result<bool, Error> {
    let current = match client
        .get(&LEASES, Some(&candidate.namespace), &candidate.name)
        .await
    {
        Ok(lease) => Some(lease),
        Err(Error::NotFound(_)) => None,
        Err(error) => return Err(error),
    };
    if let Some(lease) = &current {
        let holder = lease
            .pointer("/spec/holderIdentity")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let seconds = lease
            .pointer("/spec/leaseDurationSeconds")
            .and_then(Value::as_u64);
        let duration = seconds.map_or(candidate.duration, Duration::from_secs);
        let record = lease["spec"].to_string();
        if !holder.is_empty()
            && holder != candidate.identity
            && !observed.expired(record, duration, Instant::now())
        {
            return Ok(false);
        }
    }
    let claim = claim(current.as_ref(), candidate, &now());
    let written = match current {
        Some(_) => client.replace(&LEASES, &claim).await,
        None => client.create(&LEASES, &claim).await,
    };
    match written {
        Ok(_) => Ok(true),
        // Somebody else was quicker.
        Err(Error::Conflict(_) | Error::AlreadyExists(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

async fn release(client: &Client, candidate: &Candidate) -> Result<(), Error> {
    let mut lease = client
        .get(&LEASES, Some(&candidate.namespace), &candidate.name)
        .await?;
    if lease
        .pointer("/spec/holderIdentity")
        .and_then(Value::as_str)
        == Some(&candidate.identity)
    {
        lease["spec"]["holderIdentity"] = "".into();
        // As client-go: others need not wait.
        lease["spec"]["leaseDurationSeconds"] = 1.into();
        client.replace(&LEASES, &lease).await?;
    }
    Ok(())
}

/// The lease as it is when `candidate` holds it.
fn claim(current: Option<&Value>, candidate: &Candidate, now: &str) -> Value {
    let mut lease = current.cloned().unwrap_or_else(|| {
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"namespace": candidate.namespace, "name": candidate.name},
        })
    });
    let spec = current.map(|lease| &lease["spec"]).unwrap_or(&Value::Null);
    let ours = spec["holderIdentity"].as_str() == Some(&candidate.identity);
    let transitions = spec["leaseTransitions"].as_u64().unwrap_or_default();
    let acquired = spec["acquireTime"].as_str().filter(|_| ours).unwrap_or(now);
    lease["spec"] = json!({
        "holderIdentity": candidate.identity,
        "leaseDurationSeconds": candidate.duration.as_secs(),
        "acquireTime": acquired,
        "renewTime": now,
        "leaseTransitions": if ours || current.is_none() { transitions } else { transitions + 1 },
    });
    lease
}

/// Kubernetes' MicroTime.
fn now() -> String {
    let format =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");
    time::OffsetDateTime::now_utc()
        .format(format)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, current: Option<Value>, expected: Value) {
        let candidate = Candidate::new("istio-system", "leader", "me");
        let lease = claim(current.as_ref(), &candidate, "2026-01-01T00:00:00.000000Z");
        assert_eq!(lease["spec"], expected, "{name}");
    }

    #[test]
    fn claims_keep_what_must_be_kept() {
        let spec = |acquired: &str, transitions: u64| {
            json!({"holderIdentity": "me", "leaseDurationSeconds": 15, "leaseTransitions": transitions,
                "acquireTime": acquired, "renewTime": "2026-01-01T00:00:00.000000Z"})
        };
        let held = |by: &str| {
            json!({"metadata": {"name": "leader"},
                "spec": {"holderIdentity": by, "acquireTime": "before", "leaseTransitions": 4}})
        };
        check("a new lease", None, spec("2026-01-01T00:00:00.000000Z", 0));
        check("renewal", Some(held("me")), spec("before", 4));
        check(
            "takeover",
            Some(held("you")),
            spec("2026-01-01T00:00:00.000000Z", 5),
        );
    }

    #[test]
    fn silence_is_measured_by_our_own_clock() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let lease = Duration::from_secs(15);
        let mut observed = Observed::default();
        assert!(!observed.expired("renewed at 1".into(), lease, at(0)));
        assert!(!observed.expired("renewed at 1".into(), lease, at(14)));
        assert!(!observed.expired("renewed at 2".into(), lease, at(16)));
        assert!(observed.expired("renewed at 2".into(), lease, at(31)));
    }
}
