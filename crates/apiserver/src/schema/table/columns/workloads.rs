//! Columns of what runs pods.

use super::{AGE, Column, Doc, NAME, column, f, i, s, wide, wide_field};
use crate::schema::KindRef;

const CONTAINERS: Column = wide("Containers", "Names of the containers in the template.");
const IMAGES: Column = wide("Images", "Images of the containers in the template.");

const SELECTOR: Column = wide("Selector", "Which pods belong to it.");

const POD: &[Column] = &[
    NAME,
    s("Ready", "How many of the pod's containers accept traffic."),
    s("Status", "The pod's phase, or why it is not running."),
    s(
        "Restarts",
        "How often containers were restarted, and when last.",
    ),
    AGE,
    wide_field("IP", "io.k8s.api.core.v1.PodStatus", "podIP"),
    wide_field("Node", "io.k8s.api.core.v1.PodSpec", "nodeName"),
    wide_field(
        "Nominated Node",
        "io.k8s.api.core.v1.PodStatus",
        "nominatedNodeName",
    ),
    wide_field(
        "Readiness Gates",
        "io.k8s.api.core.v1.PodSpec",
        "readinessGates",
    ),
];

const DEPLOYMENT: &[Column] = &[
    NAME,
    s("Ready", "Ready pods of those wanted."),
    column(
        "Up-to-date",
        "string",
        0,
        Doc::Field("io.k8s.api.apps.v1.DeploymentStatus", "updatedReplicas"),
    ),
    column(
        "Available",
        "string",
        0,
        Doc::Field("io.k8s.api.apps.v1.DeploymentStatus", "availableReplicas"),
    ),
    AGE,
    CONTAINERS,
    IMAGES,
    wide_field("Selector", "io.k8s.api.apps.v1.DeploymentSpec", "selector"),
];

const REPLICA_SET: &[Column] = &[
    NAME,
    column(
        "Desired",
        "integer",
        0,
        Doc::Field("io.k8s.api.apps.v1.ReplicaSetSpec", "replicas"),
    ),
    column(
        "Current",
        "integer",
        0,
        Doc::Field("io.k8s.api.apps.v1.ReplicaSetStatus", "replicas"),
    ),
    column(
        "Ready",
        "integer",
        0,
        Doc::Field("io.k8s.api.apps.v1.ReplicaSetStatus", "readyReplicas"),
    ),
    AGE,
    CONTAINERS,
    IMAGES,
    wide_field("Selector", "io.k8s.api.apps.v1.ReplicaSetSpec", "selector"),
];

const DAEMON_SET: &[Column] = &[
    NAME,
    i("Desired", "How many nodes should run it."),
    i("Current", "How many nodes run it that should."),
    i("Ready", "How many nodes have a ready pod."),
    i("Up-to-date", "How many nodes run the latest template."),
    i("Available", "How many nodes have an available pod."),
    s("Node Selector", "Which nodes it runs on."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) fn of(kind: KindRef<'_>) -> Option<&'static [Column]> {
    let columns: &'static [Column] = match (kind.group, kind.kind) {
        ("", "Pod") => POD,
        ("apps", "Deployment") => DEPLOYMENT,
        ("apps", "ReplicaSet") | ("", "ReplicationController") => REPLICA_SET,
        ("apps", "DaemonSet") => DAEMON_SET,
        ("apps", "StatefulSet") => {
            const {
                &[
                    NAME,
                    s("Ready", "Ready pods of those wanted."),
                    AGE,
                    CONTAINERS,
                    IMAGES,
                ]
            }
        }
        ("apps", "ControllerRevision") => {
            const {
                &[
                    NAME,
                    s("Controller", "Which controller the revision belongs to."),
                    s("Revision", "The revision's number."),
                    AGE,
                ]
            }
        }
        ("batch", "Job") => {
            const {
                &[
                    NAME,
                    s("Status", "How far the job is."),
                    s("Completions", "Pods that succeeded of those wanted."),
                    s("Duration", "How long it ran."),
                    AGE,
                    CONTAINERS,
                    IMAGES,
                    SELECTOR,
                ]
            }
        }
        ("batch", "CronJob") => {
            const {
                &[
                    NAME,
                    f("Schedule", "io.k8s.api.batch.v1.CronJobSpec", "schedule"),
                    f("Timezone", "io.k8s.api.batch.v1.CronJobSpec", "timeZone"),
                    column(
                        "Suspend",
                        "boolean",
                        0,
                        Doc::Field("io.k8s.api.batch.v1.CronJobSpec", "suspend"),
                    ),
                    column(
                        "Active",
                        "integer",
                        0,
                        Doc::Field("io.k8s.api.batch.v1.CronJobStatus", "active"),
                    ),
                    f(
                        "Last Schedule",
                        "io.k8s.api.batch.v1.CronJobStatus",
                        "lastScheduleTime",
                    ),
                    AGE,
                    CONTAINERS,
                    IMAGES,
                    SELECTOR,
                ]
            }
        }
        _ => return None,
    };
    Some(columns)
}
