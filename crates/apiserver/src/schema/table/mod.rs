//! Objects as rows for people: the `Table` of `meta.k8s.io/v1`, with the columns that kubectl shows per kind.
//!
//! Columns and cells follow `k8s.io/kubernetes/pkg/printers/internalversion`.

mod age;
mod columns;
mod custom;
mod jsonpath;
mod pods;
mod resources;
mod workloads;

use std::time::SystemTime;

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::ir::{Schemas, at, text, texts};
use super::{IncludeObject, KindRef};
use columns::{Column, Doc};

pub use custom::crd_table;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

impl Schemas {
    /// A `meta.k8s.io/v1` Table; its `metadata` is empty, the caller fills in the list's. A kind without columns of
    /// its own gets its name and creation time.
    pub fn table(
        &self,
        kind: KindRef<'_>,
        objects: &[&Value],
        now: SystemTime,
        include: IncludeObject,
    ) -> Value {
        let clock = Clock { now: now.into() };
        let columns = columns::of(kind);
        let definitions = columns.iter().map(Column::definition).collect();
        let rows = objects.iter().map(|object| {
            let mut row = row(object, cells(kind, object, &clock), include);
            if let (Some(conditions), Some(row)) =
                (pods::conditions(kind, object), row.as_object_mut())
            {
                row.insert("conditions".to_owned(), conditions);
            }
            row
        });
        assemble(definitions, rows.collect())
    }
}

fn assemble(definitions: Vec<Value>, rows: Vec<Value>) -> Value {
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {},
        "columnDefinitions": definitions,
        "rows": rows,
    })
}

fn row(object: &Value, cells: Vec<Value>, include: IncludeObject) -> Value {
    let mut row = json!({ "cells": cells });
    let shown = match include {
        IncludeObject::None => None,
        IncludeObject::Metadata => Some(json!({
            "kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": object.get("metadata").cloned().unwrap_or_else(|| json!({})),
        })),
        IncludeObject::Object => Some(object.clone()),
    };
    if let (Some(shown), Some(row)) = (shown, row.as_object_mut()) {
        row.insert("object".to_owned(), shown);
    }
    row
}

impl Column {
    fn definition(&self) -> Value {
        let description = match self.doc {
            Doc::Text(text) => text,
            Doc::Field(ty, field) => texts()
                .get(ty)
                .and_then(|t| t.get(field))
                .map(String::as_str)
                .unwrap_or_default(),
        };
        definition(
            self.name,
            self.ty,
            self.format,
            description,
            self.priority.into(),
        )
    }
}

fn definition(name: &str, ty: &str, format: &str, description: &str, priority: i64) -> Value {
    json!({ "name": name, "type": ty, "format": format, "description": description, "priority": priority })
}

/// The time that ages are counted to.
struct Clock {
    now: OffsetDateTime,
}

impl Clock {
    /// How long ago an RFC 3339 time was, such as `5m12s`.
    fn since(&self, time: &str) -> String {
        match super::protobuf::parse_time(time) {
            Some(then) => age::human((self.now - then).whole_seconds()),
            None => "<unknown>".to_owned(),
        }
    }

    fn age(&self, object: &Value) -> Value {
        self.since(text(object, &["metadata", "creationTimestamp"]))
            .into()
    }
}

fn cells(kind: KindRef<'_>, o: &Value, clock: &Clock) -> Vec<Value> {
    let name: Value = text(o, &["metadata", "name"]).into();
    let age = clock.age(o);
    match (kind.group, kind.kind) {
        ("", "Pod") => pods::cells(o, clock),
        ("apps", "Deployment") => workloads::deployment(o, clock),
        ("apps", "ReplicaSet") | ("", "ReplicationController") => workloads::replica_set(o, clock),
        ("apps", "StatefulSet") => workloads::stateful_set(o, clock),
        ("apps", "DaemonSet") => workloads::daemon_set(o, clock),
        ("batch", "Job") => workloads::job(o, clock),
        ("batch", "CronJob") => workloads::cron_job(o, clock),
        ("apps", "ControllerRevision") => workloads::controller_revision(o, clock),
        ("autoscaling", "HorizontalPodAutoscaler") => workloads::autoscaler(o, clock),
        ("", "Service") => resources::service(o, clock),
        ("networking.k8s.io", "Ingress") => resources::ingress(o, clock),
        ("", "Endpoints") => resources::endpoints(o, clock),
        ("discovery.k8s.io", "EndpointSlice") => resources::endpoint_slice(o, clock),
        ("", "Node") => resources::node(o, clock),
        ("" | "events.k8s.io", "Event") => resources::event(o, clock),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => {
            resources::binding(o, clock)
        }
        ("apiregistration.k8s.io", "APIService") => resources::api_service(o, clock),
        ("", "PersistentVolumeClaim") => resources::volume_claim(o, clock),
        ("", "ResourceQuota") => resources::quota(o, clock),
        ("networking.k8s.io", "NetworkPolicy") => resources::network_policy(o, clock),
        ("certificates.k8s.io", "CertificateSigningRequest") => {
            resources::signing_request(o, clock)
        }
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => {
            resources::admission_policy(o, clock)
        }
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding") => {
            resources::admission_policy_binding(o, clock)
        }
        ("", "Namespace") => vec![name, text(o, &["status", "phase"]).into(), age],
        ("", "Secret") => vec![name, text(o, &["type"]).into(), size(o, "data").into(), age],
        ("", "ConfigMap") => vec![name, (size(o, "data") + size(o, "binaryData")).into(), age],
        ("", "ServiceAccount") => vec![name, size(o, "secrets").into(), age],
        ("coordination.k8s.io", "Lease") => {
            vec![name, text(o, &["spec", "holderIdentity"]).into(), age]
        }
        ("networking.k8s.io", "IngressClass") => vec![
            name,
            text(o, &["spec", "controller"]).into(),
            resources::ingress_parameters(o).into(),
            age,
        ],
        (
            "admissionregistration.k8s.io",
            "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration",
        ) => {
            vec![name, size(o, "webhooks").into(), age]
        }
        ("policy", "PodDisruptionBudget") => vec![
            name,
            at(o, &["spec", "minAvailable"]).map_or("N/A".into(), |v| plain(v).into()),
            at(o, &["spec", "maxUnavailable"]).map_or("N/A".into(), |v| plain(v).into()),
            int(o, &["status", "disruptionsAllowed"]).into(),
            age,
        ],
        ("scheduling.k8s.io", "PriorityClass") => vec![
            name,
            int(o, &["value"]).into(),
            o.get("globalDefault")
                .and_then(Value::as_bool)
                .unwrap_or_default()
                .into(),
            age,
            or(text(o, &["preemptionPolicy"]), "<unset>").into(),
        ],
        ("node.k8s.io", "RuntimeClass") => vec![name, text(o, &["handler"]).into(), age],
        ("networking.k8s.io", "ServiceCIDR") => vec![
            name,
            strings(at(o, &["spec", "cidrs"])).join(",").into(),
            age,
        ],
        ("storage.k8s.io", "StorageClass") => resources::storage_class(o, clock),
        _ => vec![name, text(o, &["metadata", "creationTimestamp"]).into()],
    }
}

/// How many entries the list or map `name` has.
fn size(o: &Value, name: &str) -> usize {
    match o.get(name) {
        Some(Value::Array(list)) => list.len(),
        Some(Value::Object(map)) => map.len(),
        _ => 0,
    }
}

fn int(o: &Value, path: &[&str]) -> i64 {
    at(o, path).and_then(Value::as_i64).unwrap_or_default()
}

fn list<'a>(o: &'a Value, path: &[&str]) -> &'a [Value] {
    at(o, path)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

fn strings(list: Option<&Value>) -> Vec<&str> {
    list.and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// A scalar as text, without quotes.
fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// `text`, or `instead` when it is empty.
fn or<'a>(text: &'a str, instead: &'a str) -> &'a str {
    if text.is_empty() { instead } else { text }
}

/// A map of labels as `a=b,c=d`, or `<none>`.
fn labels(map: Option<&Value>) -> String {
    let pairs: Vec<String> = map
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k}={}", plain(v)))
        .collect();
    if pairs.is_empty() {
        "<none>".to_owned()
    } else {
        pairs.join(",")
    }
}

/// A `LabelSelector` in the notation of `kubectl -l`, or `<none>`.
pub(crate) fn selector(selector: Option<&Value>) -> String {
    let Some(selector) = selector else {
        return "<none>".to_owned();
    };
    let mut parts: Vec<String> = Vec::new();
    for (k, v) in at(selector, &["matchLabels"])
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        parts.push(format!("{k}={}", plain(v)));
    }
    for requirement in list(selector, &["matchExpressions"]) {
        let key = text(requirement, &["key"]);
        let values = strings(requirement.get("values")).join(",");
        parts.push(match text(requirement, &["operator"]) {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            _ => format!("!{key}"),
        });
    }
    parts.sort();
    if parts.is_empty() {
        "<none>".to_owned()
    } else {
        parts.join(",")
    }
}
