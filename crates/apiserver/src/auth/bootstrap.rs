//! The roles and bindings that every cluster begins with: those of the real server that local clusters use.

use serde_json::{Value, json};

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "delete", "deletecollection", "patch", "update"];

fn rule(groups: &[&str], resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": groups, "resources": resources, "verbs": verbs})
}

fn urls(urls: &[&str]) -> Value {
    json!({"nonResourceURLs": urls, "verbs": ["get"]})
}

fn both(a: &[&'static str], b: &[&'static str]) -> Vec<&'static str> {
    a.iter().chain(b).copied().collect()
}

const CORE: &[&str] = &[
    "bindings",
    "configmaps",
    "endpoints",
    "events",
    "limitranges",
    "namespaces/status",
    "persistentvolumeclaims",
    "persistentvolumeclaims/status",
    "pods",
    "pods/log",
    "pods/status",
    "replicationcontrollers",
    "replicationcontrollers/scale",
    "replicationcontrollers/status",
    "resourcequotas",
    "resourcequotas/status",
    "serviceaccounts",
    "services",
    "services/status",
    "namespaces",
];
const APPS: &[&str] = &[
    "controllerrevisions",
    "daemonsets",
    "daemonsets/status",
    "deployments",
    "deployments/scale",
    "deployments/status",
    "deployments/rollback",
    "replicasets",
    "replicasets/scale",
    "replicasets/status",
    "statefulsets",
    "statefulsets/scale",
    "statefulsets/status",
];
const OTHERS: &[(&str, &[&str])] = &[
    ("discovery.k8s.io", &["endpointslices"]),
    (
        "extensions",
        &["deployments", "deployments/scale", "deployments/status"],
    ),
    (
        "autoscaling",
        &[
            "horizontalpodautoscalers",
            "horizontalpodautoscalers/status",
        ],
    ),
    (
        "batch",
        &["cronjobs", "cronjobs/status", "jobs", "jobs/status"],
    ),
    (
        "policy",
        &["poddisruptionbudgets", "poddisruptionbudgets/status"],
    ),
    (
        "networking.k8s.io",
        &["ingresses", "ingresses/status", "networkpolicies"],
    ),
    ("coordination.k8s.io", &["leases"]),
];

fn view_rules() -> Vec<Value> {
    let mut rules = vec![rule(&[""], CORE, READ), rule(&["apps"], APPS, READ)];
    rules.extend(
        OTHERS
            .iter()
            .map(|&(group, resources)| rule(&[group], resources, READ)),
    );
    rules
}

fn edit_rules() -> Vec<Value> {
    let all = both(READ, WRITE);
    let mut rules = vec![
        rule(
            &[""],
            &[
                "pods/attach",
                "pods/exec",
                "pods/portforward",
                "pods/proxy",
                "secrets",
                "services/proxy",
            ],
            &all,
        ),
        rule(&[""], &["serviceaccounts"], &["impersonate"]),
        rule(
            &[""],
            &["serviceaccounts/token", "pods/eviction"],
            &["create"],
        ),
        rule(
            &[""],
            &[
                "configmaps",
                "endpoints",
                "events",
                "persistentvolumeclaims",
                "pods",
                "replicationcontrollers",
                "replicationcontrollers/scale",
                "serviceaccounts",
                "services",
            ],
            WRITE,
        ),
    ];
    let apps: Vec<&str> = APPS
        .iter()
        .copied()
        .filter(|name| !name.ends_with("/status"))
        .collect();
    rules.push(rule(&["apps"], &apps, WRITE));
    for &(group, resources) in OTHERS {
        let writable: Vec<&str> = resources
            .iter()
            .copied()
            .filter(|name| !name.ends_with("/status"))
            .collect();
        rules.push(rule(&[group], &writable, WRITE));
    }
    rules.extend(view_rules());
    rules
}

fn admin_rules() -> Vec<Value> {
    let mut rules = edit_rules();
    rules.push(rule(
        &["authorization.k8s.io"],
        &["localsubjectaccessreviews"],
        &["create"],
    ));
    rules.push(rule(
        &["rbac.authorization.k8s.io"],
        &["rolebindings", "roles"],
        &both(READ, WRITE),
    ));
    rules
}

/// The ClusterRoles as (name, rules).
pub fn cluster_roles() -> Vec<(&'static str, Vec<Value>)> {
    let discovery = [
        "/api",
        "/api/*",
        "/apis",
        "/apis/*",
        "/healthz",
        "/livez",
        "/openapi",
        "/openapi/*",
        "/readyz",
        "/version",
        "/version/",
    ];
    let reviews = ["selfsubjectaccessreviews", "selfsubjectrulesreviews"];
    vec![
        (
            "cluster-admin",
            vec![
                rule(&["*"], &["*"], &["*"]),
                json!({"nonResourceURLs": ["*"], "verbs": ["*"]}),
            ],
        ),
        ("admin", admin_rules()),
        ("edit", edit_rules()),
        ("view", view_rules()),
        ("system:discovery", vec![urls(&discovery)]),
        (
            "system:public-info-viewer",
            vec![urls(&[
                "/healthz",
                "/livez",
                "/readyz",
                "/version",
                "/version/",
            ])],
        ),
        (
            "system:basic-user",
            vec![
                rule(&["authorization.k8s.io"], &reviews, &["create"]),
                rule(
                    &["authentication.k8s.io"],
                    &["selfsubjectreviews"],
                    &["create"],
                ),
            ],
        ),
        (
            "system:service-account-issuer-discovery",
            vec![urls(&[
                "/.well-known/openid-configuration",
                "/.well-known/openid-configuration/",
                "/openid/v1/jwks",
                "/openid/v1/jwks/",
            ])],
        ),
        (
            "system:auth-delegator",
            vec![
                rule(&["authentication.k8s.io"], &["tokenreviews"], &["create"]),
                rule(
                    &["authorization.k8s.io"],
                    &["subjectaccessreviews"],
                    &["create"],
                ),
            ],
        ),
        (
            "system:node",
            vec![
                rule(&["authentication.k8s.io"], &["tokenreviews"], &["create"]),
                rule(
                    &["authorization.k8s.io"],
                    &["localsubjectaccessreviews", "subjectaccessreviews"],
                    &["create"],
                ),
                rule(
                    &[""],
                    &[
                        "services",
                        "configmaps",
                        "secrets",
                        "persistentvolumeclaims",
                        "persistentvolumes",
                    ],
                    READ,
                ),
                rule(
                    &[""],
                    &["nodes"],
                    &["create", "get", "list", "watch", "patch", "update"],
                ),
                rule(
                    &[""],
                    &["nodes/status", "pods/status"],
                    &["patch", "update"],
                ),
                rule(
                    &[""],
                    &["pods"],
                    &["get", "list", "watch", "create", "delete"],
                ),
                rule(
                    &[""],
                    &["pods/eviction", "serviceaccounts/token"],
                    &["create"],
                ),
                rule(
                    &["", "events.k8s.io"],
                    &["events"],
                    &["create", "patch", "update"],
                ),
                rule(
                    &["coordination.k8s.io"],
                    &["leases"],
                    &["create", "delete", "get", "patch", "update"],
                ),
            ],
        ),
    ]
}

/// The ClusterRoleBindings as (name, role, groups).
pub fn cluster_role_bindings() -> Vec<(&'static str, &'static str, Vec<&'static str>)> {
    vec![
        ("cluster-admin", "cluster-admin", vec![super::MASTERS]),
        (
            "system:discovery",
            "system:discovery",
            vec![super::AUTHENTICATED],
        ),
        (
            "system:basic-user",
            "system:basic-user",
            vec![super::AUTHENTICATED],
        ),
        (
            "system:public-info-viewer",
            "system:public-info-viewer",
            vec![super::AUTHENTICATED, super::UNAUTHENTICATED],
        ),
        (
            "system:service-account-issuer-discovery",
            "system:service-account-issuer-discovery",
            vec!["system:serviceaccounts"],
        ),
        ("system:node", "system:node", vec!["system:nodes"]),
    ]
}
