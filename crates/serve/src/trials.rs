//! Which patch of an EnvoyFilter a proxy's Envoy refuses: found by leaving patches out, one at a time.
//!
//! Envoy says what is wrong, not which patch made it. So the newest patch that changes what was refused is left out, for
//! this proxy alone; if Envoy then still says the same, that patch was not it, and the next one is tried. What a proxy
//! says can thus do harm to nobody but itself.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use hawser_model::filter::{NamedPatch, RefusedPatch};

use crate::kind::Kind;

/// Different complaints of one proxy that are followed up; a proxy whose Envoy says ever new things is left alone.
const MAX_TRIALS: usize = 32;
/// Bytes kept of what Envoy said.
const MAX_WHY: usize = 2048;

/// The trials of one proxy.
#[derive(Clone, Debug, Default)]
pub struct Trials {
    /// By what was refused, and why.
    open: BTreeMap<(Kind, String), Trial>,
}

#[derive(Clone, Debug, Default)]
struct Trial {
    /// The patch that is left out.
    suspect: Option<NamedPatch>,
    /// Those that were left out in vain.
    cleared: Vec<NamedPatch>,
}

impl Trials {
    /// Takes a refusal. `find` is given the patches that would then be left out and which are no suspects, and finds the
    /// patches that matter to what was refused, or none. True if other patches are left out than before.
    pub fn refused(
        &mut self,
        kind: Kind,
        error: &str,
        find: impl FnOnce(&[NamedPatch], &[NamedPatch]) -> Option<NamedPatch>,
    ) -> bool {
        let key = (kind, bounded(error));
        if self.open.len() >= MAX_TRIALS && !self.open.contains_key(&key) {
            return false;
        }
        let before = self.left_out();
        let trial = self.open.entry(key.clone()).or_default();
        trial.cleared.extend(trial.suspect.take());
        let cleared = trial.cleared.clone();
        let suspect = find(&self.left_out(), &cleared);
        if let Some(trial) = self.open.get_mut(&key) {
            trial.suspect = suspect;
        }
        self.left_out() != before
    }

    /// The patches that are left out.
    pub fn left_out(&self) -> Vec<NamedPatch> {
        let mut all: Vec<NamedPatch> = Vec::new();
        for suspect in self.open.values().filter_map(|t| t.suspect.as_ref()) {
            if !all.contains(suspect) {
                all.push(suspect.clone());
            }
        }
        all
    }

    /// The same, with what Envoy said of each.
    pub fn verdicts(&self, proxy: &str) -> Vec<RefusedPatch> {
        let verdict = |((_, why), trial): (&(Kind, String), &Trial)| {
            Some(RefusedPatch {
                named: trial.suspect.clone()?,
                why: why.as_str().into(),
                proxy: proxy.into(),
            })
        };
        self.open.iter().filter_map(verdict).collect()
    }
}

/// Patches in the order in which they are suspected: of the youngest EnvoyFilter first, and of those that are applied to
/// the same thing, the last.
pub fn suspected(mut patches: Vec<NamedPatch>) -> Vec<NamedPatch> {
    patches.reverse();
    patches.sort_by_key(|p| Reverse(p.filter.created_s));
    patches
}

fn bounded(error: &str) -> String {
    let mut end = error.len().min(MAX_WHY);
    while !error.is_char_boundary(end) {
        end -= 1;
    }
    error.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hawser_model::Meta;
    use hawser_model::filter::{ApplyTo, Context, Operation, Patch, Target};

    fn patch(name: &str, created_s: i64) -> NamedPatch {
        NamedPatch {
            filter: Meta {
                namespace: "a".into(),
                name: name.into(),
                created_s,
            },
            patch: Patch {
                index: 0,
                apply_to: ApplyTo::Listener,
                context: Context::Any,
                proxy_version: "".into(),
                proxy_metadata: Vec::new(),
                target: Target::default(),
                operation: Operation::Merge,
                value: "{}".into(),
            },
        }
    }

    /// An Envoy that refuses some patches, each with words of its own, and a control plane that leaves out what it is told to.
    fn check(name: &str, patches: &[NamedPatch], bad: &[&str], rounds: usize, left_out: &[&str]) {
        let mut trials = Trials::default();
        let mut seen = 0;
        loop {
            let out = trials.left_out();
            let complaints: Vec<String> = patches
                .iter()
                .filter(|p| bad.contains(&&*p.filter.name) && !out.contains(p))
                .map(|p| p.filter.name.to_string())
                .collect();
            if complaints.is_empty() {
                break;
            }
            seen += 1;
            assert!(seen < 20, "{name}: no end");
            let all = suspected(patches.to_vec());
            trials.refused(Kind::Listener, &complaints.join("; "), |out, cleared| {
                let free = |p: &&NamedPatch| !out.contains(p) && !cleared.contains(p);
                all.iter().find(free).cloned()
            });
        }
        let mut names: Vec<_> = trials
            .left_out()
            .iter()
            .map(|p| p.filter.name.to_string())
            .collect();
        names.sort();
        assert_eq!(
            (seen, names),
            (rounds, left_out.iter().map(|n| (*n).to_owned()).collect()),
            "{name}"
        );
    }

    #[test]
    fn the_patch_that_is_refused_is_found() {
        let all = [patch("old", 1), patch("middle", 2), patch("young", 3)];
        check("the youngest", &all, &["young"], 1, &["young"]);
        check(
            "an old one, and the others come back",
            &all,
            &["old"],
            3,
            &["old"],
        );
        check("two", &all, &["young", "middle"], 2, &["middle", "young"]);
        check("none", &all, &[], 0, &[]);
    }

    #[test]
    fn what_no_patch_made_leaves_all_in_force() {
        let mut trials = Trials::default();
        let only = patch("only", 1);
        let find = |_: &[NamedPatch], cleared: &[NamedPatch]| {
            (!cleared.contains(&only)).then(|| only.clone())
        };
        assert!(trials.refused(Kind::Cluster, "no", find));
        assert_eq!(trials.left_out(), std::slice::from_ref(&only));
        assert!(trials.refused(Kind::Cluster, "no", find));
        assert!(trials.left_out().is_empty());
        assert!(!trials.refused(Kind::Cluster, "no", find));
    }

    #[test]
    fn long_and_endless_complaints_are_bounded() {
        let mut trials = Trials::default();
        for n in 0..100 {
            let why = format!("{n}{}", "é".repeat(5000));
            trials.refused(Kind::Route, &why, |_, _| Some(patch("x", n)));
        }
        assert_eq!(trials.open.len(), MAX_TRIALS);
        assert!(trials.open.keys().all(|(_, why)| why.len() <= MAX_WHY));
    }
}
