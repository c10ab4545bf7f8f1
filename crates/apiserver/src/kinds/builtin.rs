//! The built-in kinds, one row each, in the order in which discovery lists their groups.

use super::{Row, Scope};

const fn namespaced(
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    singular: &'static str,
) -> Row {
    Row {
        group,
        version,
        kind,
        plural,
        singular,
        short_names: &[],
        categories: &[],
        scope: Scope::Namespaced,
        status: false,
        scale: false,
        generation: false,
        create_on_update: false,
        returns_deleted: false,
        stored_as: None,
        virtual_only: false,
        selectable: &[],
    }
}

const fn cluster(
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    singular: &'static str,
) -> Row {
    Row {
        scope: Scope::Cluster,
        ..namespaced(group, version, kind, plural, singular)
    }
}

impl Row {
    const fn short(mut self, names: &'static [&'static str]) -> Row {
        self.short_names = names;
        self
    }
    const fn all(mut self) -> Row {
        self.categories = &["all"];
        self
    }
    const fn category(mut self, names: &'static [&'static str]) -> Row {
        self.categories = names;
        self
    }
    const fn status(mut self) -> Row {
        self.status = true;
        self
    }
    const fn scale(mut self) -> Row {
        self.scale = true;
        self
    }
    const fn generation(mut self) -> Row {
        self.generation = true;
        self
    }
    const fn create_on_update(mut self) -> Row {
        self.create_on_update = true;
        self
    }
    const fn returns_deleted(mut self) -> Row {
        self.returns_deleted = true;
        self
    }
    const fn stored_as(mut self, group: &'static str, version: &'static str) -> Row {
        self.stored_as = Some((group, version));
        self
    }
    const fn virtual_only(mut self) -> Row {
        self.virtual_only = true;
        self
    }
    const fn selectable(mut self, fields: &'static [&'static str]) -> Row {
        self.selectable = fields;
        self
    }
}

const RBAC: &str = "rbac.authorization.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";
const AUTHN: &str = "authentication.k8s.io";
const AUTHZ: &str = "authorization.k8s.io";
const FLOW: &str = "flowcontrol.apiserver.k8s.io";

const EVENT_FIELDS: &[&str] = &[
    "involvedObject.apiVersion",
    "involvedObject.fieldPath",
    "involvedObject.kind",
    "involvedObject.name",
    "involvedObject.namespace",
    "involvedObject.resourceVersion",
    "involvedObject.uid",
    "reason",
    "reportingComponent",
    "source",
    "type",
];

/// Every built-in kind.
pub const ROWS: &[Row] = &[
    namespaced("", "v1", "Binding", "bindings", "binding").virtual_only(),
    namespaced("", "v1", "ConfigMap", "configmaps", "configmap").short(&["cm"]),
    namespaced("", "v1", "Endpoints", "endpoints", "endpoints")
        .short(&["ep"])
        .create_on_update(),
    namespaced("", "v1", "Event", "events", "event")
        .short(&["ev"])
        .create_on_update()
        .selectable(EVENT_FIELDS),
    namespaced("", "v1", "LimitRange", "limitranges", "limitrange").short(&["limits"]),
    cluster("", "v1", "Namespace", "namespaces", "namespace")
        .short(&["ns"])
        .status()
        .selectable(&["status.phase"]),
    cluster("", "v1", "Node", "nodes", "node")
        .short(&["no"])
        .status()
        .selectable(&["spec.unschedulable"]),
    namespaced(
        "",
        "v1",
        "PersistentVolumeClaim",
        "persistentvolumeclaims",
        "persistentvolumeclaim",
    )
    .short(&["pvc"])
    .status()
    .returns_deleted(),
    cluster(
        "",
        "v1",
        "PersistentVolume",
        "persistentvolumes",
        "persistentvolume",
    )
    .short(&["pv"])
    .status()
    .returns_deleted(),
    namespaced("", "v1", "Pod", "pods", "pod")
        .short(&["po"])
        .all()
        .status()
        .generation()
        .returns_deleted()
        .selectable(&[
            "spec.hostNetwork",
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.nominatedNodeName",
            "status.phase",
            "status.podIP",
        ]),
    namespaced("", "v1", "PodTemplate", "podtemplates", "podtemplate")
        .generation()
        .returns_deleted(),
    namespaced(
        "",
        "v1",
        "ReplicationController",
        "replicationcontrollers",
        "replicationcontroller",
    )
    .short(&["rc"])
    .all()
    .status()
    .scale()
    .generation(),
    namespaced("", "v1", "ResourceQuota", "resourcequotas", "resourcequota")
        .short(&["quota"])
        .status()
        .returns_deleted(),
    namespaced("", "v1", "Secret", "secrets", "secret").selectable(&["type"]),
    namespaced(
        "",
        "v1",
        "ServiceAccount",
        "serviceaccounts",
        "serviceaccount",
    )
    .short(&["sa"])
    .returns_deleted(),
    namespaced("", "v1", "Service", "services", "service")
        .short(&["svc"])
        .all()
        .status()
        .returns_deleted()
        .selectable(&["spec.clusterIP", "spec.type"]),
    cluster(
        "apiregistration.k8s.io",
        "v1",
        "APIService",
        "apiservices",
        "apiservice",
    )
    .category(&["api-extensions"])
    .status(),
    namespaced(
        "apps",
        "v1",
        "ControllerRevision",
        "controllerrevisions",
        "controllerrevision",
    ),
    namespaced("apps", "v1", "DaemonSet", "daemonsets", "daemonset")
        .short(&["ds"])
        .all()
        .status()
        .generation(),
    namespaced("apps", "v1", "Deployment", "deployments", "deployment")
        .short(&["deploy"])
        .all()
        .status()
        .scale()
        .generation(),
    namespaced("apps", "v1", "ReplicaSet", "replicasets", "replicaset")
        .short(&["rs"])
        .all()
        .status()
        .scale()
        .generation()
        .selectable(&["status.replicas"]),
    namespaced("apps", "v1", "StatefulSet", "statefulsets", "statefulset")
        .short(&["sts"])
        .all()
        .status()
        .scale()
        .generation(),
    namespaced("events.k8s.io", "v1", "Event", "events", "event")
        .short(&["ev"])
        .create_on_update()
        .stored_as("", "v1")
        .selectable(EVENT_FIELDS),
    cluster(
        AUTHN,
        "v1",
        "SelfSubjectReview",
        "selfsubjectreviews",
        "selfsubjectreview",
    )
    .virtual_only(),
    cluster(AUTHN, "v1", "TokenReview", "tokenreviews", "tokenreview").virtual_only(),
    namespaced(
        AUTHZ,
        "v1",
        "LocalSubjectAccessReview",
        "localsubjectaccessreviews",
        "localsubjectaccessreview",
    )
    .virtual_only(),
    cluster(
        AUTHZ,
        "v1",
        "SelfSubjectAccessReview",
        "selfsubjectaccessreviews",
        "selfsubjectaccessreview",
    )
    .virtual_only(),
    cluster(
        AUTHZ,
        "v1",
        "SelfSubjectRulesReview",
        "selfsubjectrulesreviews",
        "selfsubjectrulesreview",
    )
    .virtual_only(),
    cluster(
        AUTHZ,
        "v1",
        "SubjectAccessReview",
        "subjectaccessreviews",
        "subjectaccessreview",
    )
    .virtual_only(),
    namespaced(
        "autoscaling",
        "v2",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        "horizontalpodautoscaler",
    )
    .short(&["hpa"])
    .all()
    .status(),
    namespaced(
        "autoscaling",
        "v1",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        "horizontalpodautoscaler",
    )
    .short(&["hpa"])
    .all()
    .status()
    .stored_as("autoscaling", "v2"),
    namespaced("batch", "v1", "CronJob", "cronjobs", "cronjob")
        .short(&["cj"])
        .all()
        .status()
        .generation(),
    namespaced("batch", "v1", "Job", "jobs", "job")
        .all()
        .status()
        .generation()
        .selectable(&["status.successful"]),
    cluster(
        "certificates.k8s.io",
        "v1",
        "CertificateSigningRequest",
        "certificatesigningrequests",
        "certificatesigningrequest",
    )
    .short(&["csr"])
    .status()
    .selectable(&["spec.signerName"]),
    cluster(
        "networking.k8s.io",
        "v1",
        "IngressClass",
        "ingressclasses",
        "ingressclass",
    )
    .generation(),
    namespaced("networking.k8s.io", "v1", "Ingress", "ingresses", "ingress")
        .short(&["ing"])
        .status()
        .generation(),
    namespaced(
        "networking.k8s.io",
        "v1",
        "NetworkPolicy",
        "networkpolicies",
        "networkpolicy",
    )
    .short(&["netpol"])
    .generation(),
    cluster(
        "networking.k8s.io",
        "v1",
        "IPAddress",
        "ipaddresses",
        "ipaddress",
    )
    .short(&["ip"]),
    cluster(
        "networking.k8s.io",
        "v1",
        "ServiceCIDR",
        "servicecidrs",
        "servicecidr",
    )
    .status(),
    namespaced(
        "policy",
        "v1",
        "PodDisruptionBudget",
        "poddisruptionbudgets",
        "poddisruptionbudget",
    )
    .short(&["pdb"])
    .status()
    .generation(),
    cluster(
        RBAC,
        "v1",
        "ClusterRoleBinding",
        "clusterrolebindings",
        "clusterrolebinding",
    )
    .create_on_update(),
    cluster(RBAC, "v1", "ClusterRole", "clusterroles", "clusterrole").create_on_update(),
    namespaced(RBAC, "v1", "RoleBinding", "rolebindings", "rolebinding").create_on_update(),
    namespaced(RBAC, "v1", "Role", "roles", "role").create_on_update(),
    cluster(
        "storage.k8s.io",
        "v1",
        "CSIDriver",
        "csidrivers",
        "csidriver",
    )
    .returns_deleted(),
    cluster("storage.k8s.io", "v1", "CSINode", "csinodes", "csinode").returns_deleted(),
    cluster(
        "storage.k8s.io",
        "v1",
        "StorageClass",
        "storageclasses",
        "storageclass",
    )
    .short(&["sc"])
    .returns_deleted(),
    cluster(
        "storage.k8s.io",
        "v1",
        "VolumeAttachment",
        "volumeattachments",
        "volumeattachment",
    )
    .status()
    .returns_deleted(),
    cluster(
        ADMISSION,
        "v1",
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
        "mutatingwebhookconfiguration",
    )
    .category(&["api-extensions"])
    .generation(),
    cluster(
        ADMISSION,
        "v1",
        "ValidatingAdmissionPolicy",
        "validatingadmissionpolicies",
        "validatingadmissionpolicy",
    )
    .category(&["api-extensions"])
    .status()
    .generation(),
    cluster(
        ADMISSION,
        "v1",
        "ValidatingAdmissionPolicyBinding",
        "validatingadmissionpolicybindings",
        "validatingadmissionpolicybinding",
    )
    .category(&["api-extensions"])
    .generation(),
    cluster(
        ADMISSION,
        "v1",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        "validatingwebhookconfiguration",
    )
    .category(&["api-extensions"])
    .generation(),
    cluster(
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        "customresourcedefinition",
    )
    .short(&["crd", "crds"])
    .category(&["api-extensions"])
    .status()
    .generation(),
    cluster(
        "scheduling.k8s.io",
        "v1",
        "PriorityClass",
        "priorityclasses",
        "priorityclass",
    )
    .short(&["pc"])
    .generation(),
    namespaced("coordination.k8s.io", "v1", "Lease", "leases", "lease").create_on_update(),
    cluster(
        "node.k8s.io",
        "v1",
        "RuntimeClass",
        "runtimeclasses",
        "runtimeclass",
    ),
    namespaced(
        "discovery.k8s.io",
        "v1",
        "EndpointSlice",
        "endpointslices",
        "endpointslice",
    )
    .generation(),
    cluster(FLOW, "v1", "FlowSchema", "flowschemas", "flowschema")
        .status()
        .generation(),
    cluster(
        FLOW,
        "v1",
        "PriorityLevelConfiguration",
        "prioritylevelconfigurations",
        "prioritylevelconfiguration",
    )
    .status()
    .generation(),
    // Without a short name: `deploy` means the one of apps.
    namespaced(
        "extensions",
        "v1beta1",
        "Deployment",
        "deployments",
        "deployment",
    )
    .status()
    .scale()
    .generation()
    .stored_as("apps", "v1"),
];
