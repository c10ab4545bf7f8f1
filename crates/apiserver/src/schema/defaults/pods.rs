//! Defaults of pods and of the templates that others make pods from.

use serde_json::{Value, json};

use super::{Object, each, object, present, set, string, with};

/// Sources that a volume can have besides an empty directory.
fn has_source(volume: &Object) -> bool {
    volume
        .iter()
        .any(|(name, value)| name != "name" && !value.is_null())
}

pub(super) fn pod(pod: &mut Object) {
    let Some(spec) = object(pod, "spec") else {
        return;
    };
    for list in ["containers", "initContainers"] {
        each(spec, list).for_each(requests);
    }
    set(spec, "enableServiceLinks", true);
    pod_spec(spec);
}

/// What is limited and not requested is requested up to the limit.
fn requests(container: &mut Object) {
    let Some(resources) = object(container, "resources") else {
        return;
    };
    let Some(limits) = present(resources, "limits").cloned() else {
        return;
    };
    with(object(resources, "requests"), |requests| {
        limits
            .into_iter()
            .for_each(|(resource, limit)| set(requests, &resource, limit));
    });
}

/// The template in field `template`.
pub(super) fn template(owner: &mut Object) {
    let Some(template) = object(owner, "template") else {
        return;
    };
    with(object(template, "metadata"), |_| {});
    with(object(template, "spec"), pod_spec);
}

fn pod_spec(spec: &mut Object) {
    set(spec, "restartPolicy", "Always");
    set(spec, "terminationGracePeriodSeconds", 30);
    set(spec, "dnsPolicy", "ClusterFirst");
    set(spec, "schedulerName", "default-scheduler");
    set(spec, "securityContext", json!({}));
    let account = match (
        string(spec, "serviceAccountName"),
        string(spec, "serviceAccount"),
    ) {
        ("", old) => old.to_owned(),
        (name, _) => name.to_owned(),
    };
    if !account.is_empty() {
        spec.insert("serviceAccountName".to_owned(), account.as_str().into());
        spec.insert("serviceAccount".to_owned(), account.into());
    }
    let host_network = spec.get("hostNetwork") == Some(&Value::Bool(true));
    each(spec, "volumes").for_each(volume);
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        each(spec, list).for_each(|c| container(c, host_network));
    }
}

fn container(container: &mut Object, host_network: bool) {
    set(container, "terminationMessagePath", "/dev/termination-log");
    set(container, "terminationMessagePolicy", "File");
    let policy = if tag(string(container, "image")) == "latest" {
        "Always"
    } else {
        "IfNotPresent"
    };
    set(container, "imagePullPolicy", policy);
    set(container, "resources", json!({}));
    for port in each(container, "ports") {
        set(port, "protocol", "TCP");
        if let (true, Some(number)) = (host_network, port.get("containerPort").cloned()) {
            set(port, "hostPort", number);
        }
    }
    for env in each(container, "env") {
        with(present(env, "valueFrom"), |from| {
            with(present(from, "fieldRef"), |field| {
                set(field, "apiVersion", "v1")
            })
        });
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        with(present(container, name), probe);
    }
    with(present(container, "lifecycle"), |lifecycle| {
        for hook in ["postStart", "preStop"] {
            with(present(lifecycle, hook), handler);
        }
    });
}

fn probe(probe: &mut Object) {
    for (name, value) in [
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ] {
        if probe.get(name).is_none_or(|v| v.is_null() || *v == 0) {
            probe.insert(name.to_owned(), value.into());
        }
    }
    with(present(probe, "grpc"), |grpc| set(grpc, "service", ""));
    handler(probe);
}

fn handler(handler: &mut Object) {
    with(present(handler, "httpGet"), |get| {
        set(get, "path", "/");
        set(get, "scheme", "HTTP");
    });
}

/// An image's tag, `latest` if it has neither tag nor digest.
fn tag(image: &str) -> &str {
    let name = image.rsplit('/').next().unwrap_or(image);
    match (name.contains('@'), name.split_once(':')) {
        (true, _) => "",
        (false, Some((_, tag))) => tag,
        (false, None) => "latest",
    }
}

fn volume(volume: &mut Object) {
    const MODE: i64 = 0o644;
    if !has_source(volume) {
        volume.insert("emptyDir".to_owned(), json!({}));
    }
    for name in ["secret", "configMap", "downwardAPI", "projected"] {
        with(present(volume, name), |source| {
            set(source, "defaultMode", MODE)
        });
    }
    with(present(volume, "hostPath"), |path| set(path, "type", ""));
    let fields = |source: &mut Object| {
        each(source, "items").for_each(|item| {
            with(present(item, "fieldRef"), |field| {
                set(field, "apiVersion", "v1")
            })
        });
    };
    with(present(volume, "downwardAPI"), fields);
    with(present(volume, "projected"), |projected| {
        for source in each(projected, "sources") {
            with(present(source, "serviceAccountToken"), |token| {
                set(token, "expirationSeconds", 3600)
            });
            with(present(source, "downwardAPI"), fields);
        }
    });
}
