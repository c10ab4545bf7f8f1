//! What the real server fills in when an object is written, from `k8s.io/kubernetes/pkg/apis/*/v*/defaults.go`.

mod pods;

use serde_json::{Map, Value, json};

use super::KindRef;
use super::ir::{Schemas, Ty, text};

type Object = Map<String, Value>;

/// Kinds whose status Go holds by value: it shows even when empty.
const WITH_STATUS: &[&str] = &[
    "CertificateSigningRequest",
    "CronJob",
    "DaemonSet",
    "Deployment",
    "HorizontalPodAutoscaler",
    "Ingress",
    "Job",
    "Namespace",
    "Node",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Pod",
    "PodDisruptionBudget",
    "ReplicaSet",
    "ReplicationController",
    "ResourceQuota",
    "Service",
    "StatefulSet",
];

/// Sets a field that is absent or null.
fn set(map: &mut Object, name: &str, value: impl Into<Value>) {
    let slot = map.entry(name).or_insert(Value::Null);
    if slot.is_null() {
        *slot = value.into();
    }
}

/// The object in field `name`, made when absent; `None` when something else is there.
fn object<'a>(map: &'a mut Object, name: &str) -> Option<&'a mut Object> {
    set(map, name, json!({}));
    map.get_mut(name)?.as_object_mut()
}

/// The object in field `name`, when there is one.
fn present<'a>(map: &'a mut Object, name: &str) -> Option<&'a mut Object> {
    map.get_mut(name)?.as_object_mut()
}

/// The objects in list `name`.
fn each<'a>(map: &'a mut Object, name: &str) -> impl Iterator<Item = &'a mut Object> {
    map.get_mut(name)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
}

fn string<'a>(map: &'a Object, name: &str) -> &'a str {
    map.get(name).and_then(Value::as_str).unwrap_or_default()
}

impl Schemas {
    /// Fills in what the real server fills in at creation and update; custom kinds have their own defaults.
    pub fn default(&self, kind: KindRef<'_>, value: &mut Value) {
        let name = text(value, &["metadata", "name"]).to_owned();
        let Some(map) = value.as_object_mut() else {
            return;
        };
        match (kind.group, kind.kind) {
            ("", "Pod") => pods::pod(map),
            ("", "Service") => service(map),
            ("", "Secret") => secret(map),
            ("", "Namespace") => namespace(map, &name),
            ("", "Event") => event(map),
            ("", "Endpoints") => each(map, "subsets").for_each(|s| protocols(s, "ports")),
            ("", "PersistentVolumeClaim") => volume_claim(map),
            ("", "PersistentVolume") => {
                with(object(map, "spec"), |spec| {
                    set(spec, "persistentVolumeReclaimPolicy", "Retain");
                    set(spec, "volumeMode", "Filesystem");
                });
                with(object(map, "status"), |status| {
                    set(status, "phase", "Pending")
                });
            }
            ("", "Node") => with(object(map, "spec"), |_| {}),
            ("", "ResourceQuota") => with(object(map, "spec"), |_| {}),
            ("", "PodTemplate") => pods::template(map),
            ("", "ReplicationController") | ("apps", "ReplicaSet") => {
                with(object(map, "spec"), |spec| {
                    set(spec, "replicas", 1);
                    pods::template(spec);
                })
            }
            ("apps", "Deployment") => with(object(map, "spec"), deployment),
            ("apps", "StatefulSet") => with(object(map, "spec"), stateful_set),
            ("apps", "DaemonSet") => with(object(map, "spec"), daemon_set),
            ("batch", "Job") => with(object(map, "spec"), job),
            ("batch", "CronJob") => with(object(map, "spec"), cron_job),
            ("autoscaling", "HorizontalPodAutoscaler") => {
                with(object(map, "spec"), |spec| autoscaler(spec, kind.version))
            }
            ("discovery.k8s.io", "EndpointSlice") => {
                each(map, "ports").for_each(|port| set(port, "name", ""));
                protocols(map, "ports");
            }
            ("networking.k8s.io", "NetworkPolicy") => with(object(map, "spec"), network_policy),
            ("networking.k8s.io", "IngressClass") => {
                with(object(map, "spec"), |s| {
                    with(present(s, "parameters"), |p| set(p, "scope", "Cluster"))
                });
            }
            ("networking.k8s.io", "Ingress") => {
                with(object(map, "spec"), |_| {});
                with(object(map, "status"), |status| {
                    set(status, "loadBalancer", json!({}))
                });
            }
            ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => binding(map),
            ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => set(map, "rules", Value::Null),
            ("admissionregistration.k8s.io", "MutatingWebhookConfiguration") => webhooks(map, true),
            ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration") => {
                webhooks(map, false)
            }
            ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => {
                with(object(map, "spec"), |spec| {
                    set(spec, "failurePolicy", "Fail");
                    with(present(spec, "matchConstraints"), match_resources);
                })
            }
            ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding") => {
                with(object(map, "spec"), |s| {
                    with(present(s, "matchResources"), match_resources)
                });
            }
            ("scheduling.k8s.io", "PriorityClass") => {
                set(map, "preemptionPolicy", "PreemptLowerPriority")
            }
            ("storage.k8s.io", "StorageClass") => {
                set(map, "reclaimPolicy", "Delete");
                set(map, "volumeBindingMode", "Immediate");
            }
            ("apiregistration.k8s.io", "APIService") => {
                with(object(map, "spec"), |s| {
                    with(present(s, "service"), |s| set(s, "port", 443))
                });
            }
            ("authentication.k8s.io", "TokenRequest") => with(object(map, "spec"), |spec| {
                set(spec, "expirationSeconds", 3600);
                set(spec, "boundObjectRef", Value::Null);
            }),
            _ => {}
        }
        if WITH_STATUS.contains(&kind.kind) && self.knows(kind) {
            self.default_status(kind, map);
        }
    }

    /// An empty status, with the numbers that are always shown.
    fn default_status(&self, kind: KindRef<'_>, map: &mut Object) {
        let ty = self
            .kind(kind)
            .and_then(|id| self.get(id))
            .and_then(|t| t.fields.get("status"))
            .map(|f| &f.ty);
        let Some(status) = object(map, "status") else {
            return;
        };
        if let Some(Ty::Ref(id)) = ty
            && let Some(ty) = self.get(*id)
        {
            let shown = ty
                .fields
                .iter()
                .filter(|(_, f)| f.required && matches!(f.ty, Ty::Int32 | Ty::Int64));
            shown.for_each(|(name, _)| set(status, name, 0));
        }
    }
}

/// Does something with an object that may not be there.
fn with(map: Option<&mut Object>, f: impl FnOnce(&mut Object)) {
    map.map(f);
}

fn protocols(map: &mut Object, name: &str) {
    each(map, name).for_each(|port| set(port, "protocol", "TCP"));
}

fn service(map: &mut Object) {
    with(object(map, "status"), |status| {
        set(status, "loadBalancer", json!({}))
    });
    let Some(spec) = object(map, "spec") else {
        return;
    };
    set(spec, "sessionAffinity", "None");
    set(spec, "type", "ClusterIP");
    if string(spec, "sessionAffinity") == "ClientIP" {
        with(object(spec, "sessionAffinityConfig"), |config| {
            with(object(config, "clientIP"), |client| {
                set(client, "timeoutSeconds", 10_800)
            });
        });
    }
    for port in each(spec, "ports") {
        set(port, "protocol", "TCP");
        let unset = port
            .get("targetPort")
            .is_none_or(|p| p.is_null() || *p == 0 || *p == "");
        if let (true, Some(number)) = (unset, port.get("port").cloned()) {
            port.insert("targetPort".to_owned(), number);
        }
    }
    let ty = string(spec, "type").to_owned();
    if matches!(ty.as_str(), "NodePort" | "LoadBalancer") {
        set(spec, "externalTrafficPolicy", "Cluster");
    }
    if matches!(ty.as_str(), "ClusterIP" | "NodePort" | "LoadBalancer") {
        set(spec, "internalTrafficPolicy", "Cluster");
    }
    if ty == "LoadBalancer" {
        set(spec, "allocateLoadBalancerNodePorts", true);
    }
}

fn secret(map: &mut Object) {
    use base64::Engine;
    if let Some(Value::Object(plain)) = map.remove("stringData")
        && let Some(data) = object(map, "data")
    {
        for (key, value) in plain {
            let encoded = base64::engine::general_purpose::STANDARD
                .encode(value.as_str().unwrap_or_default());
            data.insert(key, encoded.into());
        }
    }
    set(map, "type", "Opaque");
}

fn namespace(map: &mut Object, name: &str) {
    with(object(map, "spec"), |_| {});
    if name.is_empty() {
        return;
    }
    with(object(map, "metadata"), |metadata| {
        with(object(metadata, "labels"), |labels| {
            labels.insert("kubernetes.io/metadata.name".to_owned(), name.into());
        });
    });
}

/// Fields that an event shows even when they say nothing.
fn event(map: &mut Object) {
    set(map, "source", json!({}));
    set(map, "involvedObject", json!({}));
    for name in ["firstTimestamp", "lastTimestamp", "eventTime"] {
        set(map, name, Value::Null);
    }
    for name in ["reportingComponent", "reportingInstance"] {
        set(map, name, "");
    }
}

fn volume_claim(map: &mut Object) {
    with(object(map, "spec"), |spec| {
        set(spec, "volumeMode", "Filesystem")
    });
    with(object(map, "status"), |status| {
        set(status, "phase", "Pending")
    });
}

fn deployment(spec: &mut Object) {
    set(spec, "replicas", 1);
    set(spec, "revisionHistoryLimit", 10);
    set(spec, "progressDeadlineSeconds", 600);
    with(object(spec, "strategy"), |strategy| {
        set(strategy, "type", "RollingUpdate");
        if string(strategy, "type") == "RollingUpdate" {
            with(object(strategy, "rollingUpdate"), |rolling| {
                set(rolling, "maxUnavailable", "25%");
                set(rolling, "maxSurge", "25%");
            });
        }
    });
    pods::template(spec);
}

fn stateful_set(spec: &mut Object) {
    set(spec, "replicas", 1);
    set(spec, "revisionHistoryLimit", 10);
    set(spec, "podManagementPolicy", "OrderedReady");
    with(object(spec, "updateStrategy"), |strategy| {
        set(strategy, "type", "RollingUpdate");
        if string(strategy, "type") == "RollingUpdate" {
            with(object(strategy, "rollingUpdate"), |rolling| {
                set(rolling, "partition", 0)
            });
        }
    });
    with(
        object(spec, "persistentVolumeClaimRetentionPolicy"),
        |policy| {
            set(policy, "whenDeleted", "Retain");
            set(policy, "whenScaled", "Retain");
        },
    );
    each(spec, "volumeClaimTemplates").for_each(|claim| {
        set(claim, "apiVersion", "v1");
        set(claim, "kind", "PersistentVolumeClaim");
        volume_claim(claim);
    });
    pods::template(spec);
}

fn daemon_set(spec: &mut Object) {
    set(spec, "revisionHistoryLimit", 10);
    with(object(spec, "updateStrategy"), |strategy| {
        set(strategy, "type", "RollingUpdate");
        if string(strategy, "type") == "RollingUpdate" {
            with(object(strategy, "rollingUpdate"), |rolling| {
                set(rolling, "maxUnavailable", 1);
                set(rolling, "maxSurge", 0);
            });
        }
    });
    pods::template(spec);
}

fn job(spec: &mut Object) {
    let is_set = |spec: &Object, name: &str| spec.get(name).is_some_and(|v| !v.is_null());
    if !is_set(spec, "completions") && !is_set(spec, "parallelism") {
        set(spec, "completions", 1);
    }
    set(spec, "parallelism", 1);
    set(spec, "backoffLimit", 6);
    set(spec, "completionMode", "NonIndexed");
    set(spec, "suspend", false);
    let policy = if is_set(spec, "podFailurePolicy") {
        "Failed"
    } else {
        "TerminatingOrFailed"
    };
    set(spec, "podReplacementPolicy", policy);
    pods::template(spec);
}

fn cron_job(spec: &mut Object) {
    set(spec, "concurrencyPolicy", "Allow");
    set(spec, "suspend", false);
    set(spec, "successfulJobsHistoryLimit", 3);
    set(spec, "failedJobsHistoryLimit", 1);
    with(object(spec, "jobTemplate"), |template| {
        with(object(template, "metadata"), |_| {});
        with(object(template, "spec"), pods::template);
    });
}

fn autoscaler(spec: &mut Object, version: &str) {
    set(spec, "minReplicas", 1);
    if version == "v2"
        && spec
            .get("metrics")
            .and_then(Value::as_array)
            .is_none_or(Vec::is_empty)
    {
        let cpu =
            json!({ "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 80 } });
        spec.insert(
            "metrics".to_owned(),
            json!([{ "type": "Resource", "resource": cpu }]),
        );
    }
}

fn network_policy(spec: &mut Object) {
    set(spec, "podSelector", json!({}));
    if spec.get("policyTypes").is_none_or(Value::is_null) {
        let egress = spec.get("egress").is_some_and(|v| !v.is_null());
        spec.insert(
            "policyTypes".to_owned(),
            if egress {
                json!(["Ingress", "Egress"])
            } else {
                json!(["Ingress"])
            },
        );
    }
    for direction in ["ingress", "egress"] {
        each(spec, direction).for_each(|rule| protocols(rule, "ports"));
    }
}

fn binding(map: &mut Object) {
    const GROUP: &str = "rbac.authorization.k8s.io";
    with(object(map, "roleRef"), |role| {
        if string(role, "apiGroup").is_empty() {
            role.insert("apiGroup".to_owned(), GROUP.into());
        }
    });
    for subject in each(map, "subjects") {
        if matches!(string(subject, "kind"), "User" | "Group")
            && string(subject, "apiGroup").is_empty()
        {
            subject.insert("apiGroup".to_owned(), GROUP.into());
        }
    }
}

fn webhooks(map: &mut Object, mutating: bool) {
    for webhook in each(map, "webhooks") {
        set(webhook, "failurePolicy", "Fail");
        set(webhook, "matchPolicy", "Equivalent");
        set(webhook, "namespaceSelector", json!({}));
        set(webhook, "objectSelector", json!({}));
        set(webhook, "timeoutSeconds", 10);
        if mutating {
            set(webhook, "reinvocationPolicy", "Never");
        }
        each(webhook, "rules").for_each(|rule| set(rule, "scope", "*"));
        with(object(webhook, "clientConfig"), |client| {
            with(present(client, "service"), |service| {
                set(service, "port", 443)
            });
        });
    }
}

fn match_resources(resources: &mut Object) {
    set(resources, "matchPolicy", "Equivalent");
    set(resources, "namespaceSelector", json!({}));
    set(resources, "objectSelector", json!({}));
    for list in ["resourceRules", "excludeResourceRules"] {
        each(resources, list).for_each(|rule| set(rule, "scope", "*"));
    }
}
