//! Rows of what runs pods.

use serde_json::Value;

use super::{Clock, int, labels, list, or, plain, selector, size};
use crate::schema::ir::{at, text};

fn name(o: &Value) -> Value {
    text(o, &["metadata", "name"]).into()
}

/// Names and images of a template's containers.
fn containers(template: Option<&Value>) -> [Value; 2] {
    let containers = template
        .map(|t| list(t, &["spec", "containers"]))
        .unwrap_or_default();
    let column = |field: &str| -> Value {
        containers
            .iter()
            .map(|c| text(c, &[field]))
            .collect::<Vec<_>>()
            .join(",")
            .into()
    };
    [column("name"), column("image")]
}

fn with_containers(mut cells: Vec<Value>, o: &Value, path: &[&str]) -> Vec<Value> {
    cells.extend(containers(at(o, path)));
    cells
}

pub(super) fn deployment(o: &Value, clock: &Clock) -> Vec<Value> {
    let ready = format!(
        "{}/{}",
        int(o, &["status", "readyReplicas"]),
        int(o, &["spec", "replicas"])
    );
    let cells = vec![
        name(o),
        ready.into(),
        int(o, &["status", "updatedReplicas"]).into(),
        int(o, &["status", "availableReplicas"]).into(),
        clock.age(o),
    ];
    let mut cells = with_containers(cells, o, &["spec", "template"]);
    cells.push(selector(at(o, &["spec", "selector"])).into());
    cells
}

pub(super) fn replica_set(o: &Value, clock: &Clock) -> Vec<Value> {
    let cells = vec![
        name(o),
        int(o, &["spec", "replicas"]).into(),
        int(o, &["status", "replicas"]).into(),
        int(o, &["status", "readyReplicas"]).into(),
        clock.age(o),
    ];
    let mut cells = with_containers(cells, o, &["spec", "template"]);
    let chosen = at(o, &["spec", "selector"]);
    let structured =
        chosen.is_some_and(|s| s.get("matchLabels").or(s.get("matchExpressions")).is_some());
    cells.push(
        if structured {
            selector(chosen)
        } else {
            labels(chosen)
        }
        .into(),
    );
    cells
}

pub(super) fn stateful_set(o: &Value, clock: &Clock) -> Vec<Value> {
    let ready = format!(
        "{}/{}",
        int(o, &["status", "readyReplicas"]),
        int(o, &["spec", "replicas"])
    );
    with_containers(
        vec![name(o), ready.into(), clock.age(o)],
        o,
        &["spec", "template"],
    )
}

pub(super) fn daemon_set(o: &Value, clock: &Clock) -> Vec<Value> {
    let status = |field: &str| Value::from(int(o, &["status", field]));
    let cells = vec![
        name(o),
        status("desiredNumberScheduled"),
        status("currentNumberScheduled"),
        status("numberReady"),
        status("updatedNumberScheduled"),
        status("numberAvailable"),
        labels(at(o, &["spec", "template", "spec", "nodeSelector"])).into(),
        clock.age(o),
    ];
    let mut cells = with_containers(cells, o, &["spec", "template"]);
    cells.push(selector(at(o, &["spec", "selector"])).into());
    cells
}

pub(super) fn job(o: &Value, clock: &Clock) -> Vec<Value> {
    let succeeded = int(o, &["status", "succeeded"]);
    let parallelism = int(o, &["spec", "parallelism"]);
    let completions = match at(o, &["spec", "completions"]).and_then(Value::as_i64) {
        Some(completions) => format!("{succeeded}/{completions}"),
        None if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        None => format!("{succeeded}/1"),
    };
    let has = |ty: &str| {
        list(o, &["status", "conditions"])
            .iter()
            .any(|c| text(c, &["type"]) == ty && text(c, &["status"]) == "True")
    };
    let status = if has("Complete") {
        "Complete"
    } else if has("Failed") {
        "Failed"
    } else if at(o, &["metadata", "deletionTimestamp"]).is_some() {
        "Terminating"
    } else if has("Suspended") {
        "Suspended"
    } else if has("FailureTarget") {
        "FailureTarget"
    } else if has("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    };
    let parse = crate::schema::protobuf::parse_time;
    let duration = match (
        parse(text(o, &["status", "startTime"])),
        parse(text(o, &["status", "completionTime"])),
    ) {
        (None, _) => String::new(),
        (Some(start), end) => super::age::human((end.unwrap_or(clock.now) - start).whole_seconds()),
    };
    let cells = vec![
        name(o),
        status.into(),
        completions.into(),
        duration.into(),
        clock.age(o),
    ];
    let mut cells = with_containers(cells, o, &["spec", "template"]);
    cells.push(selector(at(o, &["spec", "selector"])).into());
    cells
}

pub(super) fn cron_job(o: &Value, clock: &Clock) -> Vec<Value> {
    let last = match text(o, &["status", "lastScheduleTime"]) {
        "" => "<none>".to_owned(),
        time => clock.since(time),
    };
    let cells = vec![
        name(o),
        text(o, &["spec", "schedule"]).into(),
        or(text(o, &["spec", "timeZone"]), "<none>").into(),
        if at(o, &["spec", "suspend"]) == Some(&Value::Bool(true)) {
            "True"
        } else {
            "False"
        }
        .into(),
        list(o, &["status", "active"]).len().into(),
        last.into(),
        clock.age(o),
    ];
    let mut cells = with_containers(cells, o, &["spec", "jobTemplate", "spec", "template"]);
    cells.push(selector(at(o, &["spec", "jobTemplate", "spec", "selector"])).into());
    cells
}

pub(super) fn controller_revision(o: &Value, clock: &Clock) -> Vec<Value> {
    let owners = list(o, &["metadata", "ownerReferences"]);
    let controller = owners
        .iter()
        .find(|r| r.get("controller") == Some(&Value::Bool(true)));
    let controller = controller.map_or("<none>".to_owned(), |r| {
        let group = text(r, &["apiVersion"])
            .split_once('/')
            .map_or(String::new(), |(group, _)| format!(".{group}"));
        format!(
            "{}{group}/{}",
            text(r, &["kind"]).to_lowercase(),
            text(r, &["name"])
        )
    });
    vec![
        name(o),
        controller.into(),
        int(o, &["revision"]).into(),
        clock.age(o),
    ]
}

pub(super) fn autoscaler(o: &Value, clock: &Clock) -> Vec<Value> {
    let reference = format!(
        "{}/{}",
        text(o, &["spec", "scaleTargetRef", "kind"]),
        text(o, &["spec", "scaleTargetRef", "name"])
    );
    let minimum = at(o, &["spec", "minReplicas"]).map_or("<unset>".to_owned(), plain);
    vec![
        name(o),
        reference.into(),
        targets(o).into(),
        minimum.into(),
        int(o, &["spec", "maxReplicas"]).into(),
        int(o, &["status", "currentReplicas"]).into(),
        clock.age(o),
    ]
}

/// Current and wanted value of an autoscaler's metrics, the first two of them.
fn targets(o: &Value) -> String {
    let metrics = list(o, &["spec", "metrics"]);
    if metrics.is_empty() {
        let wanted = at(o, &["spec", "targetCPUUtilizationPercentage"]).map(plain);
        let current = at(o, &["status", "currentCPUUtilizationPercentage"])
            .map_or("<unknown>".to_owned(), |v| format!("{v}%"));
        return wanted.map_or("<none>".to_owned(), |w| format!("cpu: {current}/{w}%"));
    }
    let statuses = list(o, &["status", "currentMetrics"]);
    let shown: Vec<String> = metrics
        .iter()
        .take(2)
        .enumerate()
        .map(|(i, metric)| {
            let source = match text(metric, &["type"]) {
                "Resource" => "resource",
                "ContainerResource" => "containerResource",
                "Pods" => "pods",
                "Object" => "object",
                _ => "external",
            };
            let now = |field: &str| {
                statuses
                    .get(i)
                    .and_then(|s| at(s, &[source, "current", field]))
                    .map(plain)
            };
            let wanted = |field: &str| at(metric, &[source, "target", field]).map(plain);
            let label = text(metric, &[source, "name"]);
            let unknown = || "<unknown>".to_owned();
            let value = if let Some(wanted) = wanted("averageUtilization") {
                let current = now("averageUtilization").map_or_else(unknown, |v| format!("{v}%"));
                format!("{current}/{wanted}%")
            } else if let Some(wanted) = wanted("averageValue") {
                let current = now("averageValue").unwrap_or_else(unknown);
                format!(
                    "{current}/{wanted}{}",
                    if source == "resource" { "" } else { " (avg)" }
                )
            } else {
                format!(
                    "{}/{}",
                    now("value").unwrap_or_else(unknown),
                    wanted("value").unwrap_or_else(unknown)
                )
            };
            if label.is_empty() {
                value
            } else {
                format!("{label}: {value}")
            }
        })
        .collect();
    let more = size(o.get("spec").unwrap_or(&Value::Null), "metrics").saturating_sub(2);
    let text = shown.join(", ");
    if more > 0 {
        format!("{text} + {more} more...")
    } else {
        text
    }
}
