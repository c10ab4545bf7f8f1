//! Validation of Istio's objects: one implementation for the webhook, `hawser validate` and `hawser analyze`.
//!
//! The rules are those of Istio's own validation; what Istio refuses is an error here, what it warns of a warning. Every
//! finding names the field, and says what to do where that is not plain from the message.

mod cel;
mod destination_rule;
mod envoy_filter;
mod extensions;
mod gateway;
mod http_route;
pub mod names;
mod policy;
pub mod re2;
mod security;
mod service_entry;
mod sidecar;
mod telemetry;
mod unreachable;
mod virtual_service;

use crate::kinds::{Kind, ObjectRef, Origin, ParseError, Resource, parse};
use crate::message::{Fault, FaultKind, nearest, push_key};
use crate::networking::Percent;
use crate::scalar::Duration;
use crate::schema;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    Error,
    Warning,
    Info,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        })
    }
}

/// Istio's code for what its validation refuses.
pub const SCHEMA_ERROR: &str = "IST0106";
/// Istio's code for what its validation warns of.
pub const SCHEMA_WARNING: &str = "IST0133";
/// A route rule that no request reaches.
pub const UNREACHABLE_RULE: &str = "IST0130";
/// A match that an earlier one makes useless.
pub const INEFFECTIVE_MATCH: &str = "IST0131";

/// Our code for mistakes that Istio's own validation lets pass without a word.
pub const UNSEEN_BY_ISTIO: &str = "HWS0004";

/// One thing found in one object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Finding {
    pub code: &'static str,
    pub severity: Severity,
    pub object: ObjectRef,
    /// The field, such as `spec.http[0].route[0].weight`; empty for the object as a whole.
    pub path: String,
    pub message: String,
    /// The way out; empty where the message says it.
    pub help: String,
}

/// What there is to say of one document, and the object if it is usable.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub object: Option<Resource>,
    pub findings: Vec<Finding>,
    /// Set if the document is not an object of a kind that is known; then there are no findings.
    pub unknown: Option<ParseError>,
}

impl Report {
    /// Whether Istio or a cluster with its CRDs would refuse the object.
    pub fn refused(&self) -> bool {
        self.findings.iter().any(|f| f.severity == Severity::Error)
    }
}

/// Checks a document in full: its types, the schema of its CRD, and Istio's rules. `namespace` is that of objects which
/// name none.
pub fn check_document(mut value: Value, namespace: &str) -> Report {
    set_namespace(&mut value, namespace);
    let schema_faults = schema_faults(&value);
    let (resource, object, faults) = match parse(value) {
        Ok(parsed) => {
            let object = parsed.resource.object_ref();
            (Some(parsed.resource), object, parsed.faults)
        }
        Err(ParseError::Invalid { object, faults }) => (None, object, faults),
        Err(unknown) => {
            return Report {
                unknown: Some(unknown),
                ..Report::default()
            };
        }
    };
    let mut findings: Vec<Finding> = faults
        .into_iter()
        .map(|fault| from_fault(fault, &object))
        .collect();
    findings.extend(resource.iter().flat_map(validate));
    for fault in schema_faults {
        // One mistake, one message: Istio's rules and the types say more than the schema.
        let said = |f: &Finding| f.path == fault.path || is_child(&f.path, &fault.path);
        if !findings
            .iter()
            .any(|f| f.severity == Severity::Error && said(f))
        {
            findings.push(from_fault(fault, &object));
        }
    }
    Report {
        object: resource,
        findings,
        unknown: None,
    }
}

/// Whether `path` names a field or an item of what `parent` names, or a field of an item.
fn is_child(path: &str, parent: &str) -> bool {
    path.strip_prefix(parent).is_some_and(|rest| {
        let item = rest.strip_prefix('[').and_then(|r| r.split_once(']'));
        let rest = item.map_or(rest, |(_, after)| after);
        let field = rest.strip_prefix('.').unwrap_or(rest);
        path.len() > parent.len() && !field.contains(['.', '['])
    })
}

/// An object without a namespace belongs to the one that the user is in.
fn set_namespace(value: &mut Value, namespace: &str) {
    let text = |value: &Value, key: &str| {
        value
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let namespaced = Kind::of(&text(value, "apiVersion"), &text(value, "kind"))
        .is_ok_and(|k| k.info().namespaced);
    if namespaced && let Some(Value::Object(meta)) = value.get_mut("metadata") {
        meta.entry("namespace")
            .or_insert_with(|| Value::String(namespace.to_owned()));
    }
}

fn schema_faults(value: &Value) -> Vec<Fault> {
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
    let Ok(kind) = Kind::of(text("apiVersion"), text("kind")) else {
        return Vec::new();
    };
    if kind.info().origin == Origin::Kubernetes {
        return Vec::new();
    }
    let mut faults = metadata_faults(value);
    match value.get("spec") {
        Some(spec) if !spec.is_null() => {
            let rules = crate::crd::spec_rules(kind);
            faults.extend(schema::check(kind.spec_shape(), rules, spec, "spec"))
        }
        _ if crate::crd::spec_required(kind) => faults.push(rule("spec", "is required", "")),
        _ => {}
    }
    faults
}

fn rule(path: &str, message: impl Into<String>, help: &str) -> Fault {
    Fault {
        path: path.to_owned(),
        kind: FaultKind::Rule,
        message: message.into(),
        help: help.to_owned(),
    }
}

/// The fields of `metadata` (meta/v1).
const METADATA: &[&str] = &[
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// What any API server says of an object's metadata.
fn metadata_faults(value: &Value) -> Vec<Fault> {
    let mut faults = Vec::new();
    let Some(meta) = value.get("metadata").and_then(Value::as_object) else {
        return vec![rule("metadata", "is required", "give the object a name")];
    };
    for key in meta.keys().filter(|k| !METADATA.contains(&k.as_str())) {
        let help = nearest(key, METADATA)
            .map(|near| format!("did you mean \"{near}\"?"))
            .unwrap_or_default();
        let mut path = "metadata".to_owned();
        push_key(&mut path, key);
        faults.push(Fault {
            kind: FaultKind::UnknownField,
            ..rule(&path, format!("unknown field \"{key}\""), &help)
        });
    }
    let text = |key: &str| meta.get(key).and_then(Value::as_str).unwrap_or_default();
    let lower = text("name")
        .bytes()
        .all(|b| b.is_ascii_digit() || b.is_ascii_lowercase() || matches!(b, b'-' | b'.'));
    if text("name").is_empty() {
        if text("generateName").is_empty() {
            faults.push(rule("metadata.name", "is required", ""));
        }
    } else if !lower
        || !text("name")
            .split('.')
            .all(names::is_dns_label_of_any_length)
        || text("name").len() > 253
    {
        faults.push(rule(
            "metadata.name",
            format!("\"{}\" is not a name that an object can have", text("name")),
            "use lower case letters, digits, hyphens and dots",
        ));
    }
    for (key, value) in meta
        .get("labels")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        if let Err(wrong) = names::label(key, value.as_str().unwrap_or_default()) {
            let mut path = "metadata.labels".to_owned();
            push_key(&mut path, key);
            faults.push(rule(&path, wrong.message, &wrong.help));
        }
    }
    faults
}

/// A fault of reading or of the schema, as a finding. An unknown field of the Gateway API, which grows without Hawser, is
/// only a warning.
pub fn from_fault(fault: Fault, object: &ObjectRef) -> Finding {
    let foreign = object.kind.info().origin == Origin::GatewayApi && fault.harmless();
    let (code, severity) = if foreign {
        (SCHEMA_WARNING, Severity::Warning)
    } else {
        (SCHEMA_ERROR, Severity::Error)
    };
    Finding {
        code,
        severity,
        object: object.clone(),
        message: sentence(&fault.path, fault.message),
        path: fault.path,
        help: fault.help,
    }
}

/// A message that stands without its path: one that begins with its verb gets the field's name for a subject.
fn sentence(path: &str, message: String) -> String {
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

/// Checks an object that could be read against Istio's rules. Kinds of Kubernetes and of the Gateway API have none here.
pub fn validate(resource: &Resource) -> Vec<Finding> {
    let mut check = Check {
        object: resource.object_ref(),
        path: String::new(),
        findings: Vec::new(),
        unseen: false,
    };
    if resource.kind().info().origin == Origin::Istio && check.annotations(resource) {
        check.within("spec", |c| match resource {
            Resource::VirtualService(o) => {
                virtual_service::check(c, &o.spec);
                unreachable::check(c, &o.spec);
            }
            Resource::DestinationRule(o) => destination_rule::check(c, &o.spec),
            Resource::Gateway(o) => gateway::check(c, &o.spec),
            Resource::ServiceEntry(o) => service_entry::check(c, &o.spec, &o.meta.labels),
            Resource::WorkloadEntry(o) => {
                service_entry::check_workload_entry(c, &o.spec, None, true)
            }
            Resource::WorkloadGroup(o) => service_entry::check_workload_group(c, &o.spec),
            Resource::Sidecar(o) => sidecar::check(c, &o.spec),
            Resource::EnvoyFilter(o) => envoy_filter::check(c, &o.spec),
            Resource::ProxyConfig(o) => policy::selector(c, o.spec.selector.as_ref()),
            Resource::PeerAuthentication(o) => security::check_peer_authentication(c, &o.spec),
            Resource::RequestAuthentication(o) => {
                security::check_request_authentication(c, &o.spec)
            }
            Resource::AuthorizationPolicy(o) => security::check_authorization_policy(c, &o.spec),
            Resource::Telemetry(o) => telemetry::check(c, &o.spec),
            Resource::WasmPlugin(o) => extensions::check_wasm_plugin(c, &o.spec),
            Resource::TrafficExtension(o) => extensions::check_traffic_extension(c, &o.spec),
            _ => {}
        });
    }
    check.findings
}

/// Collects findings; knows the object and the path that is being looked at.
struct Check {
    object: ObjectRef,
    path: String,
    findings: Vec<Finding>,
    /// Whether Istio drops the warnings of what is being looked at.
    unseen: bool,
}

impl Check {
    fn namespace(&self) -> &str {
        &self.object.namespace
    }

    fn within<R>(&mut self, key: &str, f: impl FnOnce(&mut Self) -> R) -> R {
        let length = self.path.len();
        push_key(&mut self.path, key);
        let out = f(self);
        self.path.truncate(length);
        out
    }

    /// Looks at each item of a list.
    fn each<T>(&mut self, key: &str, items: &[T], mut f: impl FnMut(&mut Self, &T)) {
        let length = self.path.len();
        for (i, item) in items.iter().enumerate() {
            push_key(&mut self.path, key);
            self.path.push_str(&format!("[{i}]"));
            f(self, item);
            self.path.truncate(length);
        }
    }

    /// Looks at each entry of a map.
    fn entries<K: fmt::Display, T>(
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

    fn find(
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
    fn unseen_by_istio<R>(&mut self, f: impl FnOnce(&mut Self) -> R) -> R {
        let before = std::mem::replace(&mut self.unseen, true);
        let out = f(self);
        self.unseen = before;
        out
    }

    /// An error at the path that is being looked at.
    fn error(&mut self, message: impl Into<String>, help: impl Into<String>) {
        self.find(SCHEMA_ERROR, Severity::Error, message, help);
    }

    /// A warning at the path that is being looked at.
    fn warn(&mut self, message: impl Into<String>, help: impl Into<String>) {
        let code = if self.unseen {
            UNSEEN_BY_ISTIO
        } else {
            SCHEMA_WARNING
        };
        self.find(code, Severity::Warning, message, help);
    }

    fn error_at(&mut self, key: &str, message: impl Into<String>, help: impl Into<String>) {
        self.within(key, |c| c.error(message, help));
    }

    /// Reports the outcome of a check of a single value: `Err` holds message and way out.
    fn require(&mut self, key: &str, outcome: Result<(), names::Wrong>) {
        if let Err(wrong) = outcome {
            self.within(key, |c| c.error(wrong.message, wrong.help));
        }
    }

    /// As [`Check::require`], for the value that is being looked at.
    fn require_here(&mut self, outcome: Result<(), names::Wrong>) {
        if let Err(wrong) = outcome {
            self.error(wrong.message, wrong.help);
        }
    }

    /// Durations are at least a millisecond, in whole milliseconds.
    fn duration(&mut self, key: &str, duration: Option<Duration>) {
        if let Some(duration) = duration {
            self.require(key, names::duration(duration));
        }
    }

    fn non_negative(&mut self, key: &str, value: i32) {
        if value < 0 {
            self.error_at(
                key,
                format!("must not be negative, and is {value}"),
                "use 0 for the default",
            );
        }
    }

    /// A fraction of requests: 0, or from 0.0001 to 100.
    fn percentage(&mut self, key: &str, percent: Option<&Percent>) {
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
    fn annotations(&mut self, resource: &Resource) -> bool {
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
