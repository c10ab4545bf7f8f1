//! Services, configuration, access and the other kinds that do not run pods.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Found, is_dns_label, is_empty, items};
use crate::schema::ir::{at, text};

const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const DNS_LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
/// What secrets and config maps may hold, in bytes.
const MOST_DATA: usize = 1024 * 1024;

pub(super) fn service(found: &mut Found, object: &Value, old: Option<&Value>) {
    let spec = at(object, &["spec"]).unwrap_or(&Value::Null);
    let ty = text(spec, &["type"]);
    let known = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    found.one_of("spec.type", ty, &known);
    found.one_of(
        "spec.sessionAffinity",
        text(spec, &["sessionAffinity"]),
        &["ClientIP", "None"],
    );
    for policy in ["externalTrafficPolicy", "internalTrafficPolicy"] {
        found.one_of(
            format!("spec.{policy}"),
            text(spec, &[policy]),
            &["Cluster", "Local"],
        );
    }
    let headless = text(spec, &["clusterIP"]) == "None";
    if is_empty(spec, &["ports"]) && ty != "ExternalName" && !headless {
        found.required("spec.ports", "");
    }
    if ty == "ExternalName" && is_empty(spec, &["externalName"]) {
        found.required("spec.externalName", "");
    }
    if headless && ty == "LoadBalancer" {
        found.invalid(
            "spec.clusterIPs[0]",
            &"None".into(),
            "may not be set to 'None' for LoadBalancer services",
        );
    }
    service_ports(found, spec);
    if let Some(old) = old.and_then(|o| o.get("spec")) {
        let (new_ips, old_ips) = (at(spec, &["clusterIPs"]), at(old, &["clusterIPs"]));
        let first = |ips: Option<&Value>| ips.and_then(|l| l.get(0)).cloned();
        let external = ty == "ExternalName" || text(old, &["type"]) == "ExternalName";
        if !external && first(old_ips).is_some() && first(new_ips) != first(old_ips) {
            found.invalid(
                "spec.clusterIPs[0]",
                new_ips.unwrap_or(&Value::Null),
                "may not change once set",
            );
        }
    }
}

fn service_ports(found: &mut Found, spec: &Value) {
    let many = items(spec, &["ports"]).count() > 1;
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for (i, port) in items(spec, &["ports"]) {
        let path = format!("spec.ports[{i}]");
        let name = text(port, &["name"]);
        if name.is_empty() && many {
            found.required(format!("{path}.name"), "");
        } else if !name.is_empty() && !is_dns_label(name) {
            found.invalid(format!("{path}.name"), &name.into(), DNS_LABEL);
        } else if !name.is_empty() && !names.insert(name) {
            found.duplicate(format!("{path}.name"), &name.into());
        }
        found.port(format!("{path}.port"), port.get("port"));
        if let Some(target) = port.get("targetPort") {
            found.port(format!("{path}.targetPort"), Some(target));
        }
        let protocol = text(port, &["protocol"]);
        found.one_of(
            format!("{path}.protocol"),
            protocol,
            &["SCTP", "TCP", "UDP"],
        );
        let number = port.get("port").and_then(Value::as_i64);
        if !numbers.insert((number, protocol)) {
            found.duplicate(&path, &json!({ "port": number, "protocol": protocol }));
        }
    }
}

/// The keys and the size of what a secret or config map holds, and what `immutable` forbids.
fn data(found: &mut Found, object: &Value, old: Option<&Value>, fields: &[&str]) {
    let mut size = 0;
    for field in fields {
        for (key, value) in at(object, &[field])
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            let good = key
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
            if key.is_empty() || !good || key == "." || key == ".." {
                found.invalid(format!("{field}[{key}]"), &key.as_str().into(), CONFIG_KEY);
            }
            size += value.as_str().map_or(0, str::len);
        }
    }
    if size > MOST_DATA * 4 / 3 {
        found.add(
            "FieldValueTooLong",
            "",
            format!("Too long: may not be more than {MOST_DATA} bytes"),
        );
    }
    let Some(old) = old.filter(|o| o.get("immutable") == Some(&Value::Bool(true))) else {
        return;
    };
    if object.get("immutable") != Some(&Value::Bool(true)) {
        found.forbidden("immutable", "field is immutable when `immutable` is set");
    }
    for field in fields {
        if object.get(field) != old.get(field) {
            found.forbidden(*field, "field is immutable when `immutable` is set");
        }
    }
}

pub(super) fn config_map(found: &mut Found, object: &Value, old: Option<&Value>) {
    data(found, object, old, &["data", "binaryData"]);
}

pub(super) fn secret(found: &mut Found, object: &Value, old: Option<&Value>) {
    if let Some(old) = old {
        found.immutable("type", object.get("type"), old.get("type"));
    }
    data(found, object, old, &["data"]);
    let needed: &[&str] = match text(object, &["type"]) {
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        "kubernetes.io/service-account-token" => {
            if text(
                object,
                &[
                    "metadata",
                    "annotations",
                    "kubernetes.io/service-account.name",
                ],
            )
            .is_empty()
            {
                found.required(
                    "metadata.annotations[kubernetes.io/service-account.name]",
                    "",
                );
            }
            &[]
        }
        _ => &[],
    };
    for key in needed
        .iter()
        .filter(|key| at(object, &["data", key]).is_none())
    {
        found.required(format!("data[{key}]"), "");
    }
}

pub(super) fn ingress(found: &mut Found, object: &Value) {
    let spec = at(object, &["spec"]).unwrap_or(&Value::Null);
    if is_empty(spec, &["rules"]) && is_empty(spec, &["defaultBackend"]) {
        found.invalid(
            "spec",
            &json!([]),
            "either `defaultBackend` or `rules` must be specified",
        );
    }
    if let Some(backend) = spec.get("defaultBackend") {
        ingress_backend(found, backend, "spec.defaultBackend");
    }
    for (i, rule) in items(spec, &["rules"]) {
        let Some(http) = rule.get("http") else {
            continue;
        };
        let path = format!("spec.rules[{i}].http.paths");
        if is_empty(http, &["paths"]) {
            found.required(&path, "");
        }
        for (j, one) in items(http, &["paths"]) {
            let path = format!("{path}[{j}]");
            match text(one, &["pathType"]) {
                "" => found.required(format!("{path}.pathType"), "pathType must be specified"),
                ty => {
                    found.one_of(
                        format!("{path}.pathType"),
                        ty,
                        &["Exact", "ImplementationSpecific", "Prefix"],
                    );
                    let given = text(one, &["path"]);
                    if matches!(ty, "Exact" | "Prefix") && !given.starts_with('/') {
                        found.invalid(
                            format!("{path}.path"),
                            &given.into(),
                            "must be an absolute path",
                        );
                    }
                }
            }
            ingress_backend(
                found,
                one.get("backend").unwrap_or(&Value::Null),
                &format!("{path}.backend"),
            );
        }
    }
}

fn ingress_backend(found: &mut Found, backend: &Value, path: &str) {
    match (backend.get("service"), backend.get("resource")) {
        (Some(_), Some(_)) => found.invalid(
            path,
            &"".into(),
            "cannot set both resource and service backends",
        ),
        (None, None) => found.required(path, "port name or number is required"),
        (Some(service), None) => {
            if is_empty(service, &["name"]) {
                found.required(format!("{path}.service.name"), "");
            }
            if is_empty(service, &["port"]) {
                found.required(path, "port name or number is required");
            }
        }
        (None, Some(_)) => {}
    }
}

pub(super) fn endpoint_slice(found: &mut Found, object: &Value, old: Option<&Value>) {
    let ty = text(object, &["addressType"]);
    if ty.is_empty() {
        found.required("addressType", "");
    }
    found.one_of("addressType", ty, &["FQDN", "IPv4", "IPv6"]);
    if let Some(old) = old {
        found.immutable(
            "addressType",
            object.get("addressType"),
            old.get("addressType"),
        );
    }
    for (i, endpoint) in items(object, &["endpoints"]) {
        let path = format!("endpoints[{i}].addresses");
        if is_empty(endpoint, &["addresses"]) {
            found.required(&path, "must contain at least 1 address");
        }
        for (j, address) in items(endpoint, &["addresses"]) {
            let given = address.as_str().unwrap_or_default();
            let good = match ty {
                "IPv4" => given.parse::<std::net::Ipv4Addr>().is_ok(),
                "IPv6" => given.parse::<std::net::Ipv6Addr>().is_ok(),
                _ => true,
            };
            if !good {
                let family = if ty == "IPv4" { "IPv4" } else { "IPv6" };
                found.invalid(
                    format!("{path}[{j}]"),
                    address,
                    &format!("must be a valid {family} address"),
                );
            }
        }
    }
}

pub(super) fn lease(found: &mut Found, object: &Value) {
    let spec = at(object, &["spec"]).unwrap_or(&Value::Null);
    found.at_least(
        "spec.leaseDurationSeconds",
        spec.get("leaseDurationSeconds"),
        1,
    );
    found.at_least("spec.leaseTransitions", spec.get("leaseTransitions"), 0);
}

pub(super) fn priority_class(found: &mut Found, object: &Value, old: Option<&Value>) {
    if let Some(old) = old
        && object.get("value") != old.get("value")
    {
        found.forbidden("value", "may not be changed in an update.");
    }
}

pub(super) fn role(found: &mut Found, object: &Value, kind: &str) {
    for (i, rule) in items(object, &["rules"]) {
        let path = format!("rules[{i}]");
        if is_empty(rule, &["verbs"]) {
            found.required(
                format!("{path}.verbs"),
                "verbs must contain at least one value",
            );
        }
        if !is_empty(rule, &["nonResourceURLs"]) {
            if kind == "Role" {
                let detail = "namespaced rules cannot apply to non-resource URLs";
                found.invalid(
                    format!("{path}.nonResourceURLs"),
                    &rule["nonResourceURLs"],
                    detail,
                );
            }
            continue;
        }
        if is_empty(rule, &["apiGroups"]) {
            found.required(
                format!("{path}.apiGroups"),
                "resource rules must supply at least one api group",
            );
        }
        if is_empty(rule, &["resources"]) {
            found.required(
                format!("{path}.resources"),
                "resource rules must supply at least one resource",
            );
        }
    }
}

pub(super) fn binding(found: &mut Found, object: &Value, old: Option<&Value>, kind: &str) {
    let role = at(object, &["roleRef"]).unwrap_or(&Value::Null);
    let kinds: &[&str] = if kind == "RoleBinding" {
        &["ClusterRole", "Role"]
    } else {
        &["ClusterRole"]
    };
    found.one_of(
        "roleRef.apiGroup",
        text(role, &["apiGroup"]),
        &["rbac.authorization.k8s.io"],
    );
    match text(role, &["kind"]) {
        "" => found.add(
            "FieldValueNotSupported",
            "roleRef.kind",
            format!(
                "Unsupported value: \"\": supported values: {}",
                kinds
                    .iter()
                    .map(|k| format!("{k:?}"))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        ),
        given => found.one_of("roleRef.kind", given, kinds),
    }
    if is_empty(role, &["name"]) {
        found.required("roleRef.name", "");
    }
    for (i, subject) in items(object, &["subjects"]) {
        let path = format!("subjects[{i}]");
        if is_empty(subject, &["name"]) {
            found.required(format!("{path}.name"), "");
        }
        let given = text(subject, &["kind"]);
        found.one_of(
            format!("{path}.kind"),
            given,
            &["Group", "ServiceAccount", "User"],
        );
        if given == "ServiceAccount"
            && kind == "ClusterRoleBinding"
            && is_empty(subject, &["namespace"])
        {
            found.required(format!("{path}.namespace"), "");
        }
    }
    if let Some(old) = old
        && object.get("roleRef") != old.get("roleRef")
    {
        // The real server shows Go's names here.
        let shown = json!({
            "APIGroup": text(role, &["apiGroup"]), "Kind": text(role, &["kind"]), "Name": text(role, &["name"]),
        });
        found.invalid("roleRef", &shown, "cannot change roleRef");
    }
}

pub(super) fn webhooks(found: &mut Found, object: &Value) {
    let mut names = BTreeSet::new();
    for (i, webhook) in items(object, &["webhooks"]) {
        let path = format!("webhooks[{i}]");
        let name = text(webhook, &["name"]);
        if name.is_empty() {
            found.required(format!("{path}.name"), "");
        } else if name.split('.').count() < 3 {
            let detail = "should be a domain with at least three segments separated by dots";
            found.invalid(format!("{path}.name"), &name.into(), detail);
        } else if !names.insert(name) {
            found.duplicate(format!("{path}.name"), &name.into());
        }
        match text(webhook, &["sideEffects"]) {
            "" => found.required(
                format!("{path}.sideEffects"),
                "must specify one of None, NoneOnDryRun",
            ),
            given => found.one_of(
                format!("{path}.sideEffects"),
                given,
                &["None", "NoneOnDryRun"],
            ),
        }
        if is_empty(webhook, &["admissionReviewVersions"]) {
            let detail = "must specify one of v1, v1beta1";
            found.required(format!("{path}.admissionReviewVersions"), detail);
        }
        found.one_of(
            format!("{path}.failurePolicy"),
            text(webhook, &["failurePolicy"]),
            &["Fail", "Ignore"],
        );
        found.one_of(
            format!("{path}.matchPolicy"),
            text(webhook, &["matchPolicy"]),
            &["Equivalent", "Exact"],
        );
        if let Some(seconds) = webhook
            .get("timeoutSeconds")
            .filter(|s| !s.as_i64().is_some_and(|n| (1..=30).contains(&n)))
        {
            let detail = "the timeout value must be between 1 and 30 seconds";
            found.invalid(format!("{path}.timeoutSeconds"), seconds, detail);
        }
        let client = webhook.get("clientConfig").unwrap_or(&Value::Null);
        if is_empty(client, &["url"]) == is_empty(client, &["service"]) {
            found.required(
                format!("{path}.clientConfig"),
                "exactly one of url or service is required",
            );
        }
    }
}

pub(super) fn token_request(found: &mut Found, object: &Value) {
    const LEAST: i64 = 600;
    if let Some(seconds) =
        at(object, &["spec", "expirationSeconds"]).filter(|s| s.as_i64().is_some_and(|n| n < LEAST))
    {
        found.invalid(
            "spec.expirationSeconds",
            seconds,
            "may not specify a duration less than 10 minutes",
        );
    }
}
