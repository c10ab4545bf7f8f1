//! Rows of services, nodes, events and the other kinds that do not run pods.

use serde_json::{Map, Value};

use super::{Clock, int, labels, list, or, plain, selector, strings};
use crate::schema::ir::{at, text};

fn name(o: &Value) -> Value {
    text(o, &["metadata", "name"]).into()
}

pub(super) fn service(o: &Value, clock: &Clock) -> Vec<Value> {
    let ty = text(o, &["spec", "type"]);
    let cluster_ip = or(text(o, &["spec", "clusterIP"]), "<none>");
    let ports = list(o, &["spec", "ports"]).iter().map(|p| {
        let node_port = int(p, &["nodePort"]);
        let mapped = if node_port > 0 {
            format!(":{node_port}")
        } else {
            String::new()
        };
        format!(
            "{}{mapped}/{}",
            int(p, &["port"]),
            or(text(p, &["protocol"]), "TCP")
        )
    });
    vec![
        name(o),
        ty.into(),
        cluster_ip.into(),
        external_ip(o, ty).into(),
        or(&ports.collect::<Vec<_>>().join(","), "<none>").into(),
        clock.age(o),
        labels(at(o, &["spec", "selector"])).into(),
    ]
}

fn external_ip(o: &Value, ty: &str) -> String {
    let external = strings(at(o, &["spec", "externalIPs"])).join(",");
    match ty {
        "LoadBalancer" => {
            let balancer = balancer(o);
            match (balancer.is_empty(), external.is_empty()) {
                (false, false) => format!("{balancer},{external}"),
                (false, true) => balancer,
                (true, false) => external,
                (true, true) => "<pending>".to_owned(),
            }
        }
        "ExternalName" => or(text(o, &["spec", "externalName"]), "<none>").to_owned(),
        _ => or(&external, "<none>").to_owned(),
    }
}

/// Addresses of a load balancer, each once.
fn balancer(o: &Value) -> String {
    let mut addresses: Vec<&str> = list(o, &["status", "loadBalancer", "ingress"])
        .iter()
        .map(|i| or(text(i, &["ip"]), text(i, &["hostname"])))
        .filter(|a| !a.is_empty())
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.join(",")
}

pub(super) fn ingress(o: &Value, clock: &Clock) -> Vec<Value> {
    let class = or(
        text(o, &["spec", "ingressClassName"]),
        text(
            o,
            &["metadata", "annotations", "kubernetes.io/ingress.class"],
        ),
    );
    let mut hosts: Vec<&str> = Vec::new();
    for host in list(o, &["spec", "rules"])
        .iter()
        .map(|r| text(r, &["host"]))
        .filter(|h| !h.is_empty())
    {
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    let shown = match hosts.len() {
        0 => "*".to_owned(),
        1..=3 => hosts.join(","),
        many => format!("{} + {} more...", hosts[..3].join(","), many - 3),
    };
    let ports = if list(o, &["spec", "tls"]).is_empty() {
        "80"
    } else {
        "80, 443"
    };
    vec![
        name(o),
        or(class, "<none>").into(),
        shown.into(),
        balancer(o).into(),
        ports.into(),
        clock.age(o),
    ]
}

/// What an ingress class refers to, or `<none>`.
pub(super) fn ingress_parameters(o: &Value) -> String {
    let Some(parameters) = at(o, &["spec", "parameters"]) else {
        return "<none>".to_owned();
    };
    let group = text(parameters, &["apiGroup"]);
    let dot = if group.is_empty() { "" } else { "." };
    format!(
        "{}{dot}{group}/{}",
        text(parameters, &["kind"]),
        text(parameters, &["name"])
    )
}

/// The first three of a list, and how many more there are.
fn shortened(items: &[String], none: &str) -> String {
    match items.len() {
        0 => none.to_owned(),
        1..=3 => items.join(","),
        many => format!("{} + {} more...", items[..3].join(","), many - 3),
    }
}

pub(super) fn endpoints(o: &Value, clock: &Clock) -> Vec<Value> {
    let mut all = Vec::new();
    for subset in list(o, &["subsets"]) {
        for address in list(subset, &["addresses"]) {
            let ip = text(address, &["ip"]);
            let ports = list(subset, &["ports"]);
            if ports.is_empty() {
                all.push(ip.to_owned());
            }
            for port in ports {
                let host = if ip.contains(':') {
                    format!("[{ip}]")
                } else {
                    ip.to_owned()
                };
                all.push(format!("{host}:{}", int(port, &["port"])));
            }
        }
    }
    vec![name(o), shortened(&all, "<none>").into(), clock.age(o)]
}

pub(super) fn endpoint_slice(o: &Value, clock: &Clock) -> Vec<Value> {
    let ports: Vec<String> = list(o, &["ports"])
        .iter()
        .map(|p| p.get("port").map_or("*".to_owned(), plain))
        .collect();
    let addresses: Vec<String> = list(o, &["endpoints"])
        .iter()
        .flat_map(|e| strings(e.get("addresses")))
        .map(str::to_owned)
        .collect();
    vec![
        name(o),
        text(o, &["addressType"]).into(),
        shortened(&ports, "<unset>").into(),
        shortened(&addresses, "<unset>").into(),
        clock.age(o),
    ]
}

pub(super) fn node(o: &Value, clock: &Clock) -> Vec<Value> {
    let ready = list(o, &["status", "conditions"])
        .iter()
        .find(|c| text(c, &["type"]) == "Ready");
    let mut status = match ready {
        Some(c) if text(c, &["status"]) == "True" => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if at(o, &["spec", "unschedulable"]) == Some(&Value::Bool(true)) {
        status.push_str(",SchedulingDisabled");
    }
    let labels = at(o, &["metadata", "labels"]).and_then(Value::as_object);
    let mut roles: Vec<&str> = labels
        .into_iter()
        .flatten()
        .filter_map(
            |(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
                Some(role) => Some(role),
                None => (key == "kubernetes.io/role")
                    .then(|| value.as_str())
                    .flatten(),
            },
        )
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort_unstable();
    let address = |ty: &str| -> Value {
        let found = list(o, &["status", "addresses"])
            .iter()
            .find(|a| text(a, &["type"]) == ty);
        or(
            found.map(|a| text(a, &["address"])).unwrap_or_default(),
            "<none>",
        )
        .into()
    };
    let info = |field: &str| text(o, &["status", "nodeInfo", field]);
    vec![
        name(o),
        status.into(),
        or(&roles.join(","), "<none>").into(),
        clock.age(o),
        info("kubeletVersion").into(),
        address("InternalIP"),
        address("ExternalIP"),
        or(info("osImage"), "<unknown>").into(),
        or(info("kernelVersion"), "<unknown>").into(),
        or(info("containerRuntimeVersion"), "<unknown>").into(),
    ]
}

/// Rows of both kinds of events; those of `events.k8s.io` keep the older fields under other names.
pub(super) fn event(o: &Value, clock: &Clock) -> Vec<Value> {
    let either = |a: &[&str], b: &[&str]| or(text(o, a), text(o, b)).to_owned();
    let seen = |times: &[&str]| -> String {
        times
            .iter()
            .find(|t| !t.is_empty())
            .map_or("<unknown>".to_owned(), |t| clock.since(t))
    };
    let (first, first_old) = (
        text(o, &["firstTimestamp"]),
        text(o, &["deprecatedFirstTimestamp"]),
    );
    let (last, last_old) = (
        text(o, &["lastTimestamp"]),
        text(o, &["deprecatedLastTimestamp"]),
    );
    let micro = text(o, &["eventTime"]);
    let series = text(o, &["series", "lastObservedTime"]);
    let object = o
        .get("involvedObject")
        .or(o.get("regarding"))
        .unwrap_or(&Value::Null);
    let kind = text(object, &["kind"]).to_lowercase();
    let target = match text(object, &["name"]) {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    let component = or(
        &either(&["source", "component"], &["deprecatedSource", "component"]),
        text(o, &["reportingComponent"]),
    )
    .to_owned();
    let component = or(&component, text(o, &["reportingController"])).to_owned();
    let host = either(&["source", "host"], &["deprecatedSource", "host"]);
    let source = if host.is_empty() {
        component
    } else {
        format!("{component}, {host}")
    };
    let count = at(o, &["series", "count"])
        .or(o.get("count"))
        .or(o.get("deprecatedCount"))
        .and_then(Value::as_i64);
    vec![
        seen(&[series, last, last_old, micro]).into(),
        text(o, &["type"]).into(),
        text(o, &["reason"]).into(),
        target.into(),
        text(object, &["fieldPath"]).into(),
        source.into(),
        either(&["message"], &["note"]).trim().into(),
        seen(&[first, first_old, micro]).into(),
        count.unwrap_or(1).into(),
        name(o),
    ]
}

pub(super) fn binding(o: &Value, clock: &Clock) -> Vec<Value> {
    let subjects = |kind: &str| -> Value {
        let of_kind = list(o, &["subjects"])
            .iter()
            .filter(|s| text(s, &["kind"]) == kind);
        let names = of_kind.map(|s| match (kind, text(s, &["namespace"])) {
            ("ServiceAccount", namespace) => format!("{namespace}/{}", text(s, &["name"])),
            _ => text(s, &["name"]).to_owned(),
        });
        names.collect::<Vec<_>>().join(", ").into()
    };
    let role = format!(
        "{}/{}",
        text(o, &["roleRef", "kind"]),
        text(o, &["roleRef", "name"])
    );
    vec![
        name(o),
        role.into(),
        clock.age(o),
        subjects("User"),
        subjects("Group"),
        subjects("ServiceAccount"),
    ]
}

pub(super) fn api_service(o: &Value, clock: &Clock) -> Vec<Value> {
    let service = match at(o, &["spec", "service"]) {
        Some(s) if s.is_object() => format!("{}/{}", text(s, &["namespace"]), text(s, &["name"])),
        _ => "Local".to_owned(),
    };
    let available = list(o, &["status", "conditions"])
        .iter()
        .find(|c| text(c, &["type"]) == "Available");
    let available = available.map_or("Unknown".to_owned(), |c| match text(c, &["status"]) {
        "True" => "True".to_owned(),
        status => format!("{status} ({})", text(c, &["reason"])),
    });
    vec![name(o), service.into(), available.into(), clock.age(o)]
}

/// Access modes as the table abbreviates them.
fn access_modes(modes: Option<&Value>) -> String {
    let short = |mode: &str| match mode {
        "ReadWriteOnce" => "RWO".to_owned(),
        "ReadOnlyMany" => "ROX".to_owned(),
        "ReadWriteMany" => "RWX".to_owned(),
        "ReadWriteOncePod" => "RWOP".to_owned(),
        other => other.to_owned(),
    };
    strings(modes)
        .into_iter()
        .map(short)
        .collect::<Vec<_>>()
        .join(",")
}

pub(super) fn volume_claim(o: &Value, clock: &Clock) -> Vec<Value> {
    let phase = match at(o, &["metadata", "deletionTimestamp"]) {
        Some(_) => "Terminating",
        None => text(o, &["status", "phase"]),
    };
    let bound = !text(o, &["spec", "volumeName"]).is_empty();
    let modes = if bound {
        access_modes(at(o, &["status", "accessModes"]))
    } else {
        String::new()
    };
    let capacity = at(o, &["status", "capacity", "storage"])
        .filter(|_| bound)
        .map(plain)
        .unwrap_or_default();
    vec![
        name(o),
        phase.into(),
        text(o, &["spec", "volumeName"]).into(),
        capacity.into(),
        modes.into(),
        text(o, &["spec", "storageClassName"]).into(),
        or(text(o, &["spec", "volumeAttributesClassName"]), "<unset>").into(),
        clock.age(o),
        or(text(o, &["spec", "volumeMode"]), "<unset>").into(),
    ]
}

pub(super) fn storage_class(o: &Value, clock: &Clock) -> Vec<Value> {
    let default = text(
        o,
        &[
            "metadata",
            "annotations",
            "storageclass.kubernetes.io/is-default-class",
        ],
    ) == "true";
    let plain_name = text(o, &["metadata", "name"]);
    let shown = if default {
        format!("{plain_name} (default)")
    } else {
        plain_name.to_owned()
    };
    vec![
        shown.into(),
        text(o, &["provisioner"]).into(),
        or(text(o, &["reclaimPolicy"]), "Delete").into(),
        or(text(o, &["volumeBindingMode"]), "Immediate").into(),
        o.get("allowVolumeExpansion")
            .and_then(Value::as_bool)
            .unwrap_or_default()
            .into(),
        clock.age(o),
    ]
}

pub(super) fn quota(o: &Value, clock: &Clock) -> Vec<Value> {
    let empty = Map::new();
    let hard = at(o, &["status", "hard"])
        .and_then(Value::as_object)
        .unwrap_or(&empty);
    let used = |resource: &str| at(o, &["status", "used", resource]).map_or("0".to_owned(), plain);
    let (limits, requests): (Vec<_>, Vec<_>) = hard
        .iter()
        .partition(|(resource, _)| resource.starts_with("limits."));
    let column = |entries: Vec<(&String, &Value)>| -> Value {
        let shown = entries
            .iter()
            .map(|(resource, max)| format!("{resource}: {}/{}", used(resource), plain(max)));
        shown.collect::<Vec<_>>().join(", ").into()
    };
    vec![name(o), clock.age(o), column(requests), column(limits)]
}

pub(super) fn network_policy(o: &Value, clock: &Clock) -> Vec<Value> {
    vec![
        name(o),
        selector(at(o, &["spec", "podSelector"])).into(),
        clock.age(o),
    ]
}

pub(super) fn signing_request(o: &Value, clock: &Clock) -> Vec<Value> {
    let conditions = list(o, &["status", "conditions"]);
    let has = |ty: &str| conditions.iter().any(|c| text(c, &["type"]) == ty);
    let mut status = if has("Denied") {
        "Denied"
    } else if has("Approved") {
        "Approved"
    } else {
        "Pending"
    }
    .to_owned();
    if has("Failed") {
        status.push_str(",Failed");
    }
    if !text(o, &["status", "certificate"]).is_empty() {
        status.push_str(",Issued");
    }
    let duration = at(o, &["spec", "expirationSeconds"])
        .and_then(Value::as_i64)
        .map(super::age::human);
    vec![
        name(o),
        clock.age(o),
        or(text(o, &["spec", "signerName"]), "<none>").into(),
        text(o, &["spec", "username"]).into(),
        duration.unwrap_or("<none>".to_owned()).into(),
        status.into(),
    ]
}

pub(super) fn admission_policy(o: &Value, clock: &Clock) -> Vec<Value> {
    let kind = match at(o, &["spec", "paramKind"]) {
        Some(kind) => format!("{}/{}", text(kind, &["apiVersion"]), text(kind, &["kind"])),
        None => "<unset>".to_owned(),
    };
    vec![
        name(o),
        list(o, &["spec", "validations"]).len().into(),
        kind.into(),
        clock.age(o),
    ]
}

pub(super) fn admission_policy_binding(o: &Value, clock: &Clock) -> Vec<Value> {
    let parameter = match at(o, &["spec", "paramRef"]) {
        Some(reference) => match (text(reference, &["namespace"]), text(reference, &["name"])) {
            ("", "") => selector(reference.get("selector")),
            ("", name) => name.to_owned(),
            (namespace, name) => format!("{namespace}/{name}"),
        },
        None => "<unset>".to_owned(),
    };
    vec![
        name(o),
        text(o, &["spec", "policyName"]).into(),
        parameter.into(),
        clock.age(o),
    ]
}
