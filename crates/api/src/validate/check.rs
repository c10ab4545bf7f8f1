//! What collects findings while an object is walked through.

use super::{Finding, SCHEMA_ERROR, SCHEMA_WARNING, Severity, UNSEEN_BY_ISTIO, names};
use crate::kinds::{ObjectRef, Resource};
use crate::message::push_key;
use crate::networking::Percent;
use crate::scalar::Duration;
use std::collections::BTreeMap;
use std::fmt;

/// A message that stands without its path: one that begins with its verb gets the field's name for a subject.
pub(super) fn sentence(path: &str, message: String) -> String {
    const VERBS: [&str; 9] = [
        "is ",
        "has ",
        "must ",
        "excludes ",
        "contradicts ",
        "needs ",
        "uses ",
        "cannot ",
        "adds ",
    ];
    if !VERBS.iter().any(|verb| message.starts_with(verb)) {
        return message;
    }
    // An item of a list is called by the list's name, an entry of a map by its key.
    let end = path.trim_end_matches(']');
    let indexed = end
        .rsplit_once('[')
        .filter(|(_, index)| index.bytes().all(|b| b.is_ascii_digit()) && !index.is_empty());
    let name = match indexed {
        Some((list, _)) => list.rsplit(['.', ']']).next().unwrap_or(list),
        None => end.rsplit(['.', '[']).next().unwrap_or(end),
    };
    if name.is_empty() {
        message
    } else {
        format!("{name} {message}")
    }
}

/// Collects findings; knows the object and the path that is being looked at.
pub(super) struct Check {
    pub(super) object: ObjectRef,
    pub(super) path: String,
    pub(super) findings: Vec<Finding>,
    /// Whether Istio drops the warnings of what is being looked at.
    pub(super) unseen: bool,
    /// The code of what Istio has none for.
    pub(super) own: Option<&'static str>,
}

impl Check {
    pub(super) fn namespace(&self) -> &str {
        &self.object.namespace
    }

    pub(super) fn within<R>(&mut self, key: &str, f: impl FnOnce(&mut Self) -> R) -> R {
        let length = self.path.len();
        push_key(&mut self.path, key);
        let out = f(self);
        self.path.truncate(length);
        out
    }

    /// Looks at each item of a list.
    pub(super) fn each<T>(&mut self, key: &str, items: &[T], mut f: impl FnMut(&mut Self, &T)) {
        let length = self.path.len();
        for (i, item) in items.iter().enumerate() {
            push_key(&mut self.path, key);
            self.path.push_str(&format!("[{i}]"));
            f(self, item);
            self.path.truncate(length);
        }
    }

    /// Looks at each entry of a map.
    pub(super) fn entries<K: fmt::Display, T>(
        &mut self,
        key: &str,
        map: &BTreeMap<K, T>,
        mut f: impl FnMut(&mut Self, &K, &T),
    ) {
        let length = self.path.len();
        for (name, value) in map {
            push_key(&mut self.path, key);
            push_key(&mut self.path, &name.to_string());
            f(self, name, value);
            self.path.truncate(length);
        }
    }

    pub(super) fn find(
        &mut self,
        code: &'static str,
        severity: Severity,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.findings.push(Finding {
            code,
            severity,
            object: self.object.clone(),
            path: self.path.clone(),
            message: sentence(&self.path, message.into()),
            help: help.into(),
        });
    }

    /// Looks at something of which Istio reports errors alone: its warnings are then our own.
    pub(super) fn unseen_by_istio<R>(&mut self, f: impl FnOnce(&mut Self) -> R) -> R {
        let before = std::mem::replace(&mut self.unseen, true);
        let out = f(self);
        self.unseen = before;
        out
    }

    /// An error at the path that is being looked at.
    pub(super) fn error(&mut self, message: impl Into<String>, help: impl Into<String>) {
        let code = self.own.unwrap_or(SCHEMA_ERROR);
        self.find(code, Severity::Error, message, help);
    }

    /// A warning at the path that is being looked at.
    pub(super) fn warn(&mut self, message: impl Into<String>, help: impl Into<String>) {
        let code = match self.own {
            Some(code) => code,
            None if self.unseen => UNSEEN_BY_ISTIO,
            None => SCHEMA_WARNING,
        };
        self.find(code, Severity::Warning, message, help);
    }

    pub(super) fn error_at(
        &mut self,
        key: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.within(key, |c| c.error(message, help));
    }

    /// Reports the outcome of a check of a single value: `Err` holds message and way out.
    pub(super) fn require(&mut self, key: &str, outcome: Result<(), names::Wrong>) {
        if let Err(wrong) = outcome {
            self.within(key, |c| c.error(wrong.message, wrong.help));
        }
    }

    /// As [`Check::require`], for the value that is being looked at.
    pub(super) fn require_here(&mut self, outcome: Result<(), names::Wrong>) {
        if let Err(wrong) = outcome {
            self.error(wrong.message, wrong.help);
        }
    }

    /// Durations are at least a millisecond, in whole milliseconds.
    pub(super) fn duration(&mut self, key: &str, duration: Option<Duration>) {
        if let Some(duration) = duration {
            self.require(key, names::duration(duration));
        }
    }

    pub(super) fn non_negative(&mut self, key: &str, value: i32) {
        if value < 0 {
            self.error_at(
                key,
                format!("must not be negative, and is {value}"),
                "use 0 for the default",
            );
        }
    }

    /// A fraction of requests: 0, or from 0.0001 to 100.
    pub(super) fn percentage(&mut self, key: &str, percent: Option<&Percent>) {
        let Some(percent) = percent else { return };
        let value = percent.value;
        if !(0.0..=100.0).contains(&value) || (value > 0.0 && value < 0.0001) {
            self.error_at(
                key,
                format!("{value} percent is not 0, nor from 0.0001 to 100"),
                "",
            );
        }
    }

    /// Annotations that Istio gives a meaning. False if the object must not be looked at further.
    pub(super) fn annotations(&mut self, resource: &Resource) -> bool {
        let annotations = &resource.meta().annotations;
        let dry_run = annotations.get("istio.io/dry-run");
        let mut refuse = |name: &str, message: String, help: &str| {
            self.within("metadata", |c| {
                c.within("annotations", |c| c.error_at(name, message, help));
            });
            false
        };
        if let Some(value) = dry_run {
            let name = "istio.io/dry-run";
            let Resource::AuthorizationPolicy(policy) = resource else {
                return refuse(
                    name,
                    format!("{name} has no effect on a {}", resource.kind()),
                    "remove the annotation",
                );
            };
            if !matches!(
                policy.spec.action,
                crate::security::Action::Allow | crate::security::Action::Deny
            ) {
                let action = policy.spec.action.as_str();
                return refuse(
                    name,
                    format!("{name} is for ALLOW and DENY, not for {action}"),
                    "remove the annotation",
                );
            }
            if !matches!(
                value.as_str(),
                "1" | "t"
                    | "T"
                    | "true"
                    | "TRUE"
                    | "True"
                    | "0"
                    | "f"
                    | "F"
                    | "false"
                    | "FALSE"
                    | "False"
            ) {
                return refuse(
                    name,
                    format!("\"{value}\" is not a boolean"),
                    "write \"true\" or \"false\"",
                );
            }
        }
        for name in [
            "internal.istio.io/webhook-always-reject",
            "internal.istio.io/parents",
            "internal.istio.io/parent-namespace",
        ] {
            if annotations.contains_key(name) {
                return refuse(
                    name,
                    "only the control plane may set this annotation".to_owned(),
                    "remove the annotation",
                );
            }
        }
        true
    }
}
