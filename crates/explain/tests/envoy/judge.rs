//! Whether Envoy did what the walker said and the table expects.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail, ensure};
use hawser_explain::{Config, Share, Verdict, explain};

use crate::call::{Line, Outcome};

/// Clusters that got a request between the two counts.
pub fn called(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> BTreeSet<String> {
    after
        .iter()
        .filter(|(name, n)| before.get(*name).is_none_or(|b| b < n))
        .map(|(name, _)| name.clone())
        .collect()
}

/// Nothing refers to what is not there: Envoy would wait for it for ever.
pub fn complete(config: &Config) -> Result<()> {
    use hawser_proto::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType};
    for (name, cluster) in &config.clusters {
        let eds = matches!(cluster.cluster_discovery_type, Some(ClusterDiscoveryType::Type(t)) if t == DiscoveryType::Eds as i32);
        let service = cluster
            .eds_cluster_config
            .as_ref()
            .map(|c| c.service_name.as_str())
            .filter(|n| !n.is_empty());
        ensure!(
            !eds || config.endpoints.contains_key(service.unwrap_or(name)),
            "cluster {name} has no endpoints resource"
        );
    }
    Ok(())
}

pub fn judge(
    config: &Config,
    line: &Line,
    outcome: &Outcome,
    called: &BTreeSet<String>,
) -> Result<()> {
    if let Some(expected) = &line.expected {
        let shown = outcome.shown();
        ensure!(
            expected.split('|').any(|e| e.trim() == shown),
            "expected {expected}, Envoy: {shown}: {outcome:?}"
        );
    }
    if let Outcome::Answer { seen, .. } = outcome {
        let absent = line.sees.iter().find(|text| !seen.contains(text.as_str()));
        ensure!(
            absent.is_none(),
            "the server does not see {absent:?}: {seen}"
        );
        let there = line.unseen.iter().find(|text| seen.contains(text.as_str()));
        ensure!(there.is_none(), "the server sees {there:?}: {seen}");
    }
    if line.beyond_the_walker {
        return Ok(());
    }
    let trace = explain(config, &line.call);
    if let Err(error) = agrees(config, &trace.verdict, outcome, called) {
        bail!(
            "the walker: {:?}\n        by {}\n        Envoy: {outcome:?}, called {called:?}\n        {error}",
            trace.verdict,
            trace.steps.join(" > ")
        );
    }
    Ok(())
}

fn agrees(
    config: &Config,
    verdict: &Verdict,
    outcome: &Outcome,
    called: &BTreeSet<String>,
) -> Result<()> {
    match (verdict, outcome) {
        (
            Verdict::Forwarded(shares),
            Outcome::Answer { by: Some(by), .. } | Outcome::Bytes { by },
        ) => {
            let one = |s: &&Share| {
                called.contains(&statistic(config, &s.cluster)) && s.endpoints.contains_key(by)
            };
            ensure!(
                shares.iter().find(one).is_some(),
                "another endpoint or cluster"
            );
        }
        // Of several clusters, one may have nobody.
        (Verdict::Forwarded(shares), Outcome::Answer { status: 503, .. }) => {
            ensure!(
                shares.iter().any(|s| s.endpoints.is_empty()),
                "every cluster has endpoints"
            );
        }
        (
            Verdict::Answered { status, location },
            Outcome::Answer {
                status: real,
                location: to,
                by: None,
                ..
            },
        ) => {
            ensure!(
                *status == u32::from(*real) && location == to,
                "another answer"
            );
        }
        (
            Verdict::Refused { status, .. },
            Outcome::Answer {
                status: real,
                by: None,
                ..
            },
        ) => {
            ensure!(*status == u32::from(*real), "another status");
        }
        (Verdict::Closed { .. }, Outcome::Closed { error }) => {
            ensure!(!error.contains("timed out"), "nothing at all came")
        }
        _ => bail!("something else"),
    }
    Ok(())
}

/// How the statistics of a cluster are named.
fn statistic(config: &Config, cluster: &str) -> String {
    let alternative = config
        .clusters
        .get(cluster)
        .map(|c| c.alt_stat_name.as_str())
        .filter(|n| !n.is_empty());
    alternative
        .unwrap_or(cluster)
        .replace(':', "_")
        .trim_end_matches(';')
        .to_owned()
}
