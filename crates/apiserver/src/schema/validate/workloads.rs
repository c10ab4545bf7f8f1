//! What runs pods.

use serde_json::Value;

use super::{Found, is_empty, items, pods, selects};
use crate::schema::ir::{at, text};

const SET_UPDATES: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";

/// A selector and a template that it must select.
fn selected_template(found: &mut Found, object: &Value, kind: &str) {
    let selector = at(object, &["spec", "selector"]);
    let labels = at(object, &["spec", "template", "metadata", "labels"]);
    match selector {
        None | Some(Value::Null) => found.required("spec.selector", ""),
        Some(selector) => {
            if is_empty(selector, &["matchLabels"]) && is_empty(selector, &["matchExpressions"]) {
                found.invalid(
                    "spec.selector",
                    selector,
                    &format!("empty selector is invalid for {kind}"),
                );
            } else if !selects(selector, labels) {
                let shown = labels.cloned().unwrap_or(Value::Null);
                found.invalid(
                    "spec.template.metadata.labels",
                    &shown,
                    "`selector` does not match template `labels`",
                );
            }
        }
    }
    let template = at(object, &["spec", "template"]).unwrap_or(&Value::Null);
    pods::template(found, template, "spec.template", &["Always"]);
}

fn replicas(found: &mut Found, object: &Value) {
    for field in ["replicas", "minReadySeconds", "revisionHistoryLimit"] {
        found.at_least(format!("spec.{field}"), at(object, &["spec", field]), 0);
    }
}

fn fixed(found: &mut Found, object: &Value, old: Option<&Value>, field: &str) {
    if let Some(old) = old {
        found.immutable(
            &format!("spec.{field}"),
            at(object, &["spec", field]),
            at(old, &["spec", field]),
        );
    }
}

pub(super) fn deployment(found: &mut Found, object: &Value, old: Option<&Value>) {
    replicas(found, object);
    selected_template(found, object, "deployment");
    found.one_of(
        "spec.strategy.type",
        text(object, &["spec", "strategy", "type"]),
        &["Recreate", "RollingUpdate"],
    );
    let recreate = text(object, &["spec", "strategy", "type"]) == "Recreate";
    if recreate && !is_empty(object, &["spec", "strategy", "rollingUpdate"]) {
        let detail = "may not be specified when strategy `type` is 'Recreate'";
        found.forbidden("spec.strategy.rollingUpdate", detail);
    }
    fixed(found, object, old, "selector");
}

pub(super) fn replica_set(found: &mut Found, object: &Value, old: Option<&Value>) {
    replicas(found, object);
    selected_template(found, object, "replicaset");
    fixed(found, object, old, "selector");
}

pub(super) fn daemon_set(found: &mut Found, object: &Value, old: Option<&Value>) {
    selected_template(found, object, "daemonset");
    fixed(found, object, old, "selector");
}

pub(super) fn stateful_set(found: &mut Found, object: &Value, old: Option<&Value>) {
    replicas(found, object);
    selected_template(found, object, "statefulset");
    let Some(old) = old else { return };
    let rest = |object: &Value| {
        let mut spec = at(object, &["spec"])
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        for field in [
            "replicas",
            "ordinals",
            "template",
            "updateStrategy",
            "revisionHistoryLimit",
            "persistentVolumeClaimRetentionPolicy",
            "minReadySeconds",
        ] {
            spec.remove(field);
        }
        spec
    };
    if rest(object) != rest(old) {
        found.forbidden("spec", SET_UPDATES);
    }
}

/// Pods of jobs end, so they may not restart always.
fn job_template(found: &mut Found, spec: &Value, path: &str) {
    let template = spec.get("template").unwrap_or(&Value::Null);
    pods::template(
        found,
        template,
        &format!("{path}.template"),
        &["OnFailure", "Never"],
    );
    for field in [
        "parallelism",
        "completions",
        "backoffLimit",
        "ttlSecondsAfterFinished",
    ] {
        found.at_least(format!("{path}.{field}"), spec.get(field), 0);
    }
}

pub(super) fn job(found: &mut Found, object: &Value, old: Option<&Value>) {
    job_template(found, at(object, &["spec"]).unwrap_or(&Value::Null), "spec");
    let Some(old) = old else { return };
    for field in ["completions", "selector", "template", "completionMode"] {
        // The scheduling of a suspended job that never ran may still change; its completions when it is indexed.
        let suspended = at(old, &["spec", "suspend"]) == Some(&Value::Bool(true))
            && is_empty(old, &["status", "startTime"]);
        let indexed = text(old, &["spec", "completionMode"]) == "Indexed";
        if !(field == "template" && suspended || field == "completions" && indexed) {
            fixed(found, object, Some(old), field);
        }
    }
}

pub(super) fn cron_job(found: &mut Found, object: &Value) {
    let schedule = text(object, &["spec", "schedule"]);
    let fields = schedule
        .split_whitespace()
        .filter(|f| !f.starts_with("TZ="))
        .count();
    if schedule.is_empty() {
        found.required("spec.schedule", "");
    } else if !schedule.starts_with('@') && fields != 5 {
        let detail = format!("expected exactly 5 fields, found {fields}: {schedule}");
        found.invalid("spec.schedule", &schedule.into(), &detail);
    }
    let policy = text(object, &["spec", "concurrencyPolicy"]);
    found.one_of(
        "spec.concurrencyPolicy",
        policy,
        &["Allow", "Forbid", "Replace"],
    );
    let spec = at(object, &["spec", "jobTemplate", "spec"]).unwrap_or(&Value::Null);
    job_template(found, spec, "spec.jobTemplate.spec");
}

pub(super) fn autoscaler(found: &mut Found, object: &Value) {
    let spec = at(object, &["spec"]).unwrap_or(&Value::Null);
    found.at_least("spec.minReplicas", spec.get("minReplicas"), 1);
    let most = spec.get("maxReplicas").cloned().unwrap_or(Value::from(0));
    found.at_least("spec.maxReplicas", Some(&most), 1);
    let least = spec.get("minReplicas").and_then(Value::as_i64).unwrap_or(1);
    if most.as_i64().is_some_and(|most| most > 0 && most < least) {
        found.invalid(
            "spec.maxReplicas",
            &most,
            "must be greater than or equal to `minReplicas`",
        );
    }
    for field in ["kind", "name"] {
        if is_empty(spec, &["scaleTargetRef", field]) {
            found.required(format!("spec.scaleTargetRef.{field}"), "");
        }
    }
    for (i, metric) in items(spec, &["metrics"]) {
        if is_empty(metric, &["type"]) {
            found.required(
                format!("spec.metrics[{i}].type"),
                "must specify a metric source type",
            );
        }
    }
}

pub(super) fn disruption_budget(found: &mut Found, object: &Value) {
    let spec = at(object, &["spec"]).unwrap_or(&Value::Null);
    if !is_empty(spec, &["minAvailable"]) && !is_empty(spec, &["maxUnavailable"]) {
        found.invalid(
            "spec",
            spec,
            "minAvailable and maxUnavailable cannot be both set",
        );
    }
}
