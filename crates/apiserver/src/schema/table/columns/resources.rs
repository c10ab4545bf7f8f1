//! Columns of the kinds that do not run pods.

use super::{AGE, Column, Doc, NAME, column, f, i, s, wide, wide_field};
use crate::schema::KindRef;

const SERVICE: &str = "io.k8s.api.core.v1.ServiceSpec";

const EVENT: &[Column] = &[
    s("Last Seen", "When it happened last."),
    s("Type", "Normal or Warning."),
    s("Reason", "Why, in one word."),
    s("Object", "What it is about."),
    wide("Subobject", "Which part it is about."),
    wide("Source", "Who reported it."),
    s("Message", "What happened."),
    wide("First Seen", "When it happened first."),
    column("Count", "string", 1, Doc::Text("How often it happened.")),
    Column {
        priority: 1,
        ..NAME
    },
];

const BINDING: &[Column] = &[
    NAME,
    s("Role", "The role that is given."),
    AGE,
    wide("Users", "Users who have it."),
    wide("Groups", "Groups that have it."),
    wide("ServiceAccounts", "Service accounts that have it."),
];

pub(super) fn of(kind: KindRef<'_>) -> Option<&'static [Column]> {
    let columns: &'static [Column] = match (kind.group, kind.kind) {
        ("", "Service") => {
            const {
                &[
                    NAME,
                    f("Type", SERVICE, "type"),
                    f("Cluster-IP", SERVICE, "clusterIP"),
                    f("External-IP", SERVICE, "externalIPs"),
                    f("Port(s)", SERVICE, "ports"),
                    AGE,
                    wide_field("Selector", SERVICE, "selector"),
                ]
            }
        }
        ("networking.k8s.io", "Ingress") => {
            const {
                &[
                    NAME,
                    s("Class", "The ingress class that serves it."),
                    s("Hosts", "Hosts that it has rules for."),
                    s("Address", "Addresses of its load balancer."),
                    s("Ports", "Ports that it serves."),
                    AGE,
                ]
            }
        }
        ("networking.k8s.io", "IngressClass") => {
            const {
                &[
                    NAME,
                    s("Controller", "The controller that serves this class."),
                    column(
                        "Parameters",
                        "string",
                        0,
                        Doc::Field("io.k8s.api.networking.v1.IngressClassSpec", "parameters"),
                    ),
                    AGE,
                ]
            }
        }
        ("networking.k8s.io", "NetworkPolicy") => {
            const {
                &[
                    NAME,
                    f(
                        "Pod-Selector",
                        "io.k8s.api.networking.v1.NetworkPolicySpec",
                        "podSelector",
                    ),
                    AGE,
                ]
            }
        }
        ("networking.k8s.io", "ServiceCIDR") => {
            const {
                &[
                    NAME,
                    f("CIDRs", "io.k8s.api.networking.v1.ServiceCIDRSpec", "cidrs"),
                    AGE,
                ]
            }
        }
        ("", "Endpoints") => {
            const {
                &[
                    NAME,
                    f("Endpoints", "io.k8s.api.core.v1.Endpoints", "subsets"),
                    AGE,
                ]
            }
        }
        ("discovery.k8s.io", "EndpointSlice") => {
            const {
                &[
                    NAME,
                    f(
                        "AddressType",
                        "io.k8s.api.discovery.v1.EndpointSlice",
                        "addressType",
                    ),
                    f("Ports", "io.k8s.api.discovery.v1.EndpointSlice", "ports"),
                    f(
                        "Endpoints",
                        "io.k8s.api.discovery.v1.EndpointSlice",
                        "endpoints",
                    ),
                    AGE,
                ]
            }
        }
        ("", "Node") => {
            const {
                &[
                    NAME,
                    s("Status", "Whether the node is ready and takes pods."),
                    s("Roles", "Roles that its labels give it."),
                    AGE,
                    f(
                        "Version",
                        "io.k8s.api.core.v1.NodeSystemInfo",
                        "kubeletVersion",
                    ),
                    wide_field("Internal-IP", "io.k8s.api.core.v1.NodeStatus", "addresses"),
                    wide_field("External-IP", "io.k8s.api.core.v1.NodeStatus", "addresses"),
                    wide_field("OS-Image", "io.k8s.api.core.v1.NodeSystemInfo", "osImage"),
                    wide_field(
                        "Kernel-Version",
                        "io.k8s.api.core.v1.NodeSystemInfo",
                        "kernelVersion",
                    ),
                    wide_field(
                        "Container-Runtime",
                        "io.k8s.api.core.v1.NodeSystemInfo",
                        "containerRuntimeVersion",
                    ),
                ]
            }
        }
        ("" | "events.k8s.io", "Event") => EVENT,
        ("", "Namespace") => {
            const {
                &[
                    NAME,
                    s("Status", "Whether the namespace takes new objects."),
                    AGE,
                ]
            }
        }
        ("", "Secret") => {
            const {
                &[
                    NAME,
                    f("Type", "io.k8s.api.core.v1.Secret", "type"),
                    f("Data", "io.k8s.api.core.v1.Secret", "data"),
                    AGE,
                ]
            }
        }
        ("", "ConfigMap") => {
            const { &[NAME, f("Data", "io.k8s.api.core.v1.ConfigMap", "data"), AGE] }
        }
        ("", "ServiceAccount") => {
            const {
                &[
                    NAME,
                    f("Secrets", "io.k8s.api.core.v1.ServiceAccount", "secrets"),
                    AGE,
                ]
            }
        }
        ("", "PersistentVolumeClaim") => {
            const {
                &[
                    NAME,
                    f(
                        "Status",
                        "io.k8s.api.core.v1.PersistentVolumeClaimStatus",
                        "phase",
                    ),
                    f(
                        "Volume",
                        "io.k8s.api.core.v1.PersistentVolumeClaimSpec",
                        "volumeName",
                    ),
                    f(
                        "Capacity",
                        "io.k8s.api.core.v1.PersistentVolumeClaimStatus",
                        "capacity",
                    ),
                    f(
                        "Access Modes",
                        "io.k8s.api.core.v1.PersistentVolumeClaimStatus",
                        "accessModes",
                    ),
                    f(
                        "StorageClass",
                        "io.k8s.api.core.v1.PersistentVolumeClaimSpec",
                        "storageClassName",
                    ),
                    f(
                        "VolumeAttributesClass",
                        "io.k8s.api.core.v1.PersistentVolumeClaimSpec",
                        "volumeAttributesClassName",
                    ),
                    AGE,
                    wide_field(
                        "VolumeMode",
                        "io.k8s.api.core.v1.PersistentVolumeClaimSpec",
                        "volumeMode",
                    ),
                ]
            }
        }
        ("", "ResourceQuota") => {
            const {
                &[
                    NAME,
                    AGE,
                    s("Request", "What is used of what may be requested."),
                    s("Limit", "What is used of the limits."),
                ]
            }
        }
        ("autoscaling", "HorizontalPodAutoscaler") => {
            const {
                &[
                    NAME,
                    s("Reference", "What it scales."),
                    s("Targets", "Current and wanted metrics."),
                    s("MinPods", "Fewest pods."),
                    s("MaxPods", "Most pods."),
                    s("Replicas", "Pods that there are."),
                    AGE,
                ]
            }
        }
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => BINDING,
        ("coordination.k8s.io", "Lease") => {
            const {
                &[
                    NAME,
                    f(
                        "Holder",
                        "io.k8s.api.coordination.v1.LeaseSpec",
                        "holderIdentity",
                    ),
                    AGE,
                ]
            }
        }
        (
            "admissionregistration.k8s.io",
            "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration",
        ) => const { &[NAME, i("Webhooks", "How many webhooks it has."), AGE] },
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => {
            const {
                &[
                    NAME,
                    i("Validations", "How many validations it has."),
                    f(
                        "ParamKind",
                        "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicySpec",
                        "paramKind",
                    ),
                    AGE,
                ]
            }
        }
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding") => {
            const {
                &[
                    NAME,
                    f(
                        "PolicyName",
                        "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicyBindingSpec",
                        "policyName",
                    ),
                    f(
                        "ParamRef",
                        "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicyBindingSpec",
                        "paramRef",
                    ),
                    AGE,
                ]
            }
        }
        ("policy", "PodDisruptionBudget") => {
            const {
                &[
                    NAME,
                    s("Min Available", "Pods that must stay."),
                    s("Max Unavailable", "Pods that may go."),
                    i("Allowed Disruptions", "How many may be evicted now."),
                    AGE,
                ]
            }
        }
        ("scheduling.k8s.io", "PriorityClass") => {
            const {
                &[
                    NAME,
                    column(
                        "Value",
                        "integer",
                        0,
                        Doc::Field("io.k8s.api.scheduling.v1.PriorityClass", "value"),
                    ),
                    column(
                        "Global-Default",
                        "boolean",
                        0,
                        Doc::Field("io.k8s.api.scheduling.v1.PriorityClass", "globalDefault"),
                    ),
                    AGE,
                    f(
                        "PreemptionPolicy",
                        "io.k8s.api.scheduling.v1.PriorityClass",
                        "preemptionPolicy",
                    ),
                ]
            }
        }
        ("node.k8s.io", "RuntimeClass") => {
            const {
                &[
                    NAME,
                    f("Handler", "io.k8s.api.node.v1.RuntimeClass", "handler"),
                    AGE,
                ]
            }
        }
        ("storage.k8s.io", "StorageClass") => {
            const {
                &[
                    NAME,
                    f(
                        "Provisioner",
                        "io.k8s.api.storage.v1.StorageClass",
                        "provisioner",
                    ),
                    f(
                        "ReclaimPolicy",
                        "io.k8s.api.storage.v1.StorageClass",
                        "reclaimPolicy",
                    ),
                    f(
                        "VolumeBindingMode",
                        "io.k8s.api.storage.v1.StorageClass",
                        "volumeBindingMode",
                    ),
                    f(
                        "AllowVolumeExpansion",
                        "io.k8s.api.storage.v1.StorageClass",
                        "allowVolumeExpansion",
                    ),
                    AGE,
                ]
            }
        }
        ("certificates.k8s.io", "CertificateSigningRequest") => {
            const {
                &[
                    NAME,
                    AGE,
                    f(
                        "SignerName",
                        "io.k8s.api.certificates.v1.CertificateSigningRequestSpec",
                        "signerName",
                    ),
                    f(
                        "Requestor",
                        "io.k8s.api.certificates.v1.CertificateSigningRequestSpec",
                        "request",
                    ),
                    f(
                        "RequestedDuration",
                        "io.k8s.api.certificates.v1.CertificateSigningRequestSpec",
                        "expirationSeconds",
                    ),
                    f(
                        "Condition",
                        "io.k8s.api.certificates.v1.CertificateSigningRequestStatus",
                        "conditions",
                    ),
                ]
            }
        }
        ("apiregistration.k8s.io", "APIService") => {
            const {
                &[
                    NAME,
                    s("Service", "Who serves this API."),
                    s("Available", "Whether it can be used."),
                    AGE,
                ]
            }
        }
        _ => return None,
    };
    Some(columns)
}
