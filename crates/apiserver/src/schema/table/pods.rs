//! A pod's row.

use serde_json::{Value, json};

use super::{Clock, int, list, or};
use crate::schema::KindRef;
use crate::schema::ir::{at, text};

pub(super) fn cells(pod: &Value, clock: &Clock) -> Vec<Value> {
    let summary = summarise(pod);
    let restarts = match summary.last_restart {
        Some(last) if summary.restarts != 0 => {
            format!("{} ({} ago)", summary.restarts, clock.since(last))
        }
        _ => summary.restarts.to_string(),
    };
    let ip = list(pod, &["status", "podIPs"])
        .first()
        .map_or(text(pod, &["status", "podIP"]), |ip| text(ip, &["ip"]));
    vec![
        text(pod, &["metadata", "name"]).into(),
        format!("{}/{}", summary.ready, summary.total).into(),
        summary.reason.into(),
        restarts.into(),
        clock.age(pod),
        or(ip, "<none>").into(),
        or(text(pod, &["spec", "nodeName"]), "<none>").into(),
        or(text(pod, &["status", "nominatedNodeName"]), "<none>").into(),
        gates(pod).into(),
    ]
}

/// The row's conditions: kubectl hides finished pods by them.
pub(super) fn conditions(kind: KindRef<'_>, pod: &Value) -> Option<Value> {
    let phase = text(pod, &["status", "phase"]);
    let (reason, message) = match (kind.group, kind.kind, phase) {
        ("", "Pod", "Succeeded") => ("Succeeded", "The pod has completed successfully."),
        ("", "Pod", "Failed") => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(json!([{ "type": "Completed", "status": "True", "reason": reason, "message": message }]))
}

fn gates(pod: &Value) -> String {
    let gates = list(pod, &["spec", "readinessGates"]);
    if gates.is_empty() {
        return "<none>".to_owned();
    }
    let met = gates
        .iter()
        .filter(|g| has_condition(pod, text(g, &["conditionType"])))
        .count();
    format!("{met}/{}", gates.len())
}

fn has_condition(pod: &Value, ty: &str) -> bool {
    let conditions = list(pod, &["status", "conditions"]);
    conditions
        .iter()
        .any(|c| text(c, &["type"]) == ty && text(c, &["status"]) == "True")
}

struct Summary<'a> {
    ready: usize,
    total: usize,
    reason: String,
    restarts: i64,
    /// When a container ended last before a restart.
    last_restart: Option<&'a str>,
}

fn summarise(pod: &Value) -> Summary<'_> {
    let init_specs = list(pod, &["spec", "initContainers"]);
    let is_sidecar = |name: &str| {
        init_specs
            .iter()
            .any(|c| text(c, &["name"]) == name && text(c, &["restartPolicy"]) == "Always")
    };
    let sidecars = init_specs
        .iter()
        .filter(|c| text(c, &["restartPolicy"]) == "Always")
        .count();
    let phase = text(pod, &["status", "phase"]);
    let mut reason = or(text(pod, &["status", "reason"]), phase).to_owned();
    let gated = |c: &Value| {
        text(c, &["type"]) == "PodScheduled" && text(c, &["reason"]) == "SchedulingGated"
    };
    if list(pod, &["status", "conditions"]).iter().any(gated) {
        reason = "SchedulingGated".to_owned();
    }
    let (mut ready, mut restarts, mut sidecar_restarts) = (0, 0, 0);
    let (mut last, mut sidecar_last) = (None, None);
    let mut initialising = false;
    for (i, status) in list(pod, &["status", "initContainerStatuses"])
        .iter()
        .enumerate()
    {
        let sidecar = is_sidecar(text(status, &["name"]));
        restarts += int(status, &["restartCount"]);
        later(&mut last, status);
        if sidecar {
            sidecar_restarts += int(status, &["restartCount"]);
            later(&mut sidecar_last, status);
        }
        let terminated = at(status, &["state", "terminated"]);
        if terminated.is_some_and(|t| int(t, &["exitCode"]) == 0) {
            continue;
        }
        if sidecar && at(status, &["started"]) == Some(&Value::Bool(true)) {
            ready += usize::from(at(status, &["ready"]) == Some(&Value::Bool(true)));
            continue;
        }
        let waiting = text(status, &["state", "waiting", "reason"]);
        reason = match terminated {
            Some(terminated) => format!("Init:{}", why_ended(terminated)),
            None if !waiting.is_empty() && waiting != "PodInitializing" => {
                format!("Init:{waiting}")
            }
            None => format!("Init:{i}/{}", init_specs.len()),
        };
        initialising = true;
        break;
    }
    if !initialising || has_condition(pod, "Initialized") {
        (restarts, last) = (sidecar_restarts, sidecar_last);
        let mut running = false;
        for status in list(pod, &["status", "containerStatuses"]).iter().rev() {
            restarts += int(status, &["restartCount"]);
            later(&mut last, status);
            let waiting = text(status, &["state", "waiting", "reason"]);
            let terminated = at(status, &["state", "terminated"]);
            if !waiting.is_empty() {
                reason = waiting.to_owned();
            } else if let Some(terminated) = terminated {
                reason = why_ended(terminated);
            } else if at(status, &["ready"]) == Some(&Value::Bool(true))
                && at(status, &["state", "running"]).is_some()
            {
                running = true;
                ready += 1;
            }
        }
        if reason == "Completed" && running {
            reason = if has_condition(pod, "Ready") {
                "Running"
            } else {
                "NotReady"
            }
            .to_owned();
        }
    }
    if at(pod, &["metadata", "deletionTimestamp"]).is_some() {
        if text(pod, &["status", "reason"]) == "NodeLost" {
            reason = "Unknown".to_owned();
        } else if !matches!(phase, "Succeeded" | "Failed") {
            reason = "Terminating".to_owned();
        }
    }
    let total = list(pod, &["spec", "containers"]).len() + sidecars;
    Summary {
        ready,
        total,
        reason,
        restarts,
        last_restart: last,
    }
}

fn why_ended(terminated: &Value) -> String {
    match (text(terminated, &["reason"]), int(terminated, &["signal"])) {
        ("", 0) => format!("ExitCode:{}", int(terminated, &["exitCode"])),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

/// Keeps the later of `last` and the end of this container's previous run; RFC 3339 in UTC sorts by time.
fn later<'a>(last: &mut Option<&'a str>, status: &'a Value) {
    let ended = at(status, &["lastState", "terminated", "finishedAt"]).and_then(Value::as_str);
    *last = (*last).max(ended);
}
