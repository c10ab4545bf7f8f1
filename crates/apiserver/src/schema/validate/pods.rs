//! Pods and the templates of pods.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{Found, is_dns_label, is_empty, items};
use crate::schema::ir::{at, text};

const DNS_LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const UPDATES: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

pub(super) fn pod(found: &mut Found, pod: &Value, old: Option<&Value>) {
    let Some(spec) = pod.get("spec") else {
        return found.required("spec.containers", "");
    };
    pod_spec(found, spec, "spec");
    if let Some(old) = old.and_then(|o| o.get("spec")) {
        changes(found, spec, old);
    }
}

/// What an update may not change: compared after everything it may is taken away.
fn changes(found: &mut Found, new: &Value, old: &Value) {
    let fixed = |spec: &Value| -> Map<String, Value> {
        let mut spec = spec.as_object().cloned().unwrap_or_default();
        for name in [
            "activeDeadlineSeconds",
            "tolerations",
            "terminationGracePeriodSeconds",
            "schedulingGates",
            "ephemeralContainers",
        ] {
            spec.remove(name);
        }
        // Binding gives the node, once.
        if text(old, &["nodeName"]).is_empty() {
            spec.remove("nodeName");
        }
        for list in ["containers", "initContainers"] {
            for container in spec
                .get_mut(list)
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten()
            {
                if let Some(container) = container.as_object_mut() {
                    container.remove("image");
                    container.remove("resources");
                }
            }
        }
        spec
    };
    let tolerations = |spec: &Value| -> Vec<Value> {
        items(spec, &["tolerations"])
            .map(|(_, t)| t.clone())
            .collect()
    };
    let kept = tolerations(new);
    if fixed(new) != fixed(old) || tolerations(old).iter().any(|t| !kept.contains(t)) {
        found.forbidden("spec", UPDATES);
    }
}

/// A template's spec; `restart` are the restart policies that its owner allows.
pub(super) fn template(found: &mut Found, template: &Value, path: &str, restart: &[&str]) {
    let path = format!("{path}.spec");
    let Some(spec) = template.get("spec") else {
        return found.required(format!("{path}.containers"), "");
    };
    pod_spec(found, spec, &path);
    let policy = text(spec, &["restartPolicy"]);
    if matches!(policy, "Always" | "OnFailure" | "Never") {
        found.one_of(format!("{path}.restartPolicy"), policy, restart);
    }
}

pub(super) fn pod_spec(found: &mut Found, spec: &Value, path: &str) {
    let mut volumes = BTreeSet::new();
    for (i, volume) in items(spec, &["volumes"]) {
        let name = text(volume, &["name"]);
        let field = format!("{path}.volumes[{i}].name");
        if name.is_empty() {
            found.required(field, "");
        } else if !is_dns_label(name) {
            found.invalid(field, &name.into(), DNS_LABEL);
        } else if !volumes.insert(name) {
            found.duplicate(field, &name.into());
        }
    }
    if is_empty(spec, &["containers"]) {
        found.required(format!("{path}.containers"), "");
    }
    let mut names = BTreeSet::new();
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for (i, one) in items(spec, &[list]) {
            container(
                found,
                one,
                &format!("{path}.{list}[{i}]"),
                &volumes,
                &mut names,
            );
        }
    }
    found.one_of(
        format!("{path}.restartPolicy"),
        text(spec, &["restartPolicy"]),
        &["Always", "Never", "OnFailure"],
    );
    let policies = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
    found.one_of(
        format!("{path}.dnsPolicy"),
        text(spec, &["dnsPolicy"]),
        &policies,
    );
    found.at_least(
        format!("{path}.terminationGracePeriodSeconds"),
        spec.get("terminationGracePeriodSeconds"),
        0,
    );
    found.at_least(
        format!("{path}.activeDeadlineSeconds"),
        spec.get("activeDeadlineSeconds"),
        1,
    );
}

fn container<'a>(
    found: &mut Found,
    container: &'a Value,
    path: &str,
    volumes: &BTreeSet<&str>,
    names: &mut BTreeSet<&'a str>,
) {
    let name = text(container, &["name"]);
    if name.is_empty() {
        found.required(format!("{path}.name"), "");
    } else if !is_dns_label(name) {
        found.invalid(format!("{path}.name"), &name.into(), DNS_LABEL);
    } else if !names.insert(name) {
        found.duplicate(format!("{path}.name"), &name.into());
    }
    if text(container, &["image"]).is_empty() {
        found.required(format!("{path}.image"), "");
    }
    let pull = text(container, &["imagePullPolicy"]);
    found.one_of(
        format!("{path}.imagePullPolicy"),
        pull,
        &["Always", "IfNotPresent", "Never"],
    );
    let mut port_names = BTreeSet::new();
    for (i, port) in items(container, &["ports"]) {
        let path = format!("{path}.ports[{i}]");
        found.port(format!("{path}.containerPort"), port.get("containerPort"));
        found.one_of(
            format!("{path}.protocol"),
            text(port, &["protocol"]),
            &["SCTP", "TCP", "UDP"],
        );
        let name = text(port, &["name"]);
        if !name.is_empty() && !port_names.insert(name) {
            found.duplicate(format!("{path}.name"), &name.into());
        }
        if name.len() > 15 {
            found.invalid(
                format!("{path}.name"),
                &name.into(),
                "must be no more than 15 characters",
            );
        }
    }
    for (i, env) in items(container, &["env"]) {
        if text(env, &["name"]).is_empty() {
            found.required(format!("{path}.env[{i}].name"), "");
        }
        if !text(env, &["value"]).is_empty() && !is_empty(env, &["valueFrom"]) {
            let detail = "may not be specified when `value` is not empty";
            found.invalid(format!("{path}.env[{i}].valueFrom"), &"".into(), detail);
        }
    }
    let mut mounted = BTreeSet::new();
    for (i, mount) in items(container, &["volumeMounts"]) {
        let path = format!("{path}.volumeMounts[{i}]");
        let (name, mount_path) = (text(mount, &["name"]), text(mount, &["mountPath"]));
        if name.is_empty() {
            found.required(format!("{path}.name"), "");
        } else if !volumes.contains(name) {
            found.add(
                "FieldValueNotFound",
                format!("{path}.name"),
                format!("Not found: {name:?}"),
            );
        }
        if mount_path.is_empty() {
            found.required(format!("{path}.mountPath"), "");
        } else if !mounted.insert(mount_path) {
            found.invalid(
                format!("{path}.mountPath"),
                &mount_path.into(),
                "must be unique",
            );
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probed) = container.get(probe).filter(|p| p.is_object()) {
            handler(found, probed, &format!("{path}.{probe}"));
        }
    }
    for (name, limit) in at(container, &["resources", "limits"])
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let request = at(container, &["resources", "requests", name.as_str()]);
        let amount = |v: &Value| {
            v.as_str()
                .and_then(crate::schema::quantity::Quantity::parse)
        };
        if let Some((request, limit_amount)) = request.and_then(amount).zip(amount(limit))
            && request.exceeds(limit_amount)
        {
            let shown = Value::from(request.canonical());
            let detail = format!(
                "must be less than or equal to {name} limit of {}",
                limit_amount.canonical()
            );
            found.invalid(format!("{path}.resources.requests"), &shown, &detail);
        }
    }
}

/// A probe must say what it does, once.
fn handler(found: &mut Found, probe: &Value, path: &str) {
    let given: Vec<&str> = ["exec", "httpGet", "tcpSocket", "grpc"]
        .into_iter()
        .filter(|h| probe.get(h).is_some_and(Value::is_object))
        .collect();
    match given.as_slice() {
        [] => found.required(path, "must specify a handler type"),
        [_] => {}
        [_, more @ ..] => {
            for extra in more {
                found.forbidden(
                    format!("{path}.{extra}"),
                    "may not specify more than 1 handler type",
                );
            }
        }
    }
}
