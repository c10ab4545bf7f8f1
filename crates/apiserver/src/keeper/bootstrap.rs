//! What a cluster holds before anybody asks: namespaces, roles, the `kubernetes` Service.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{ensure, namespaces};
use crate::auth::bootstrap::{cluster_role_bindings, cluster_roles};
use crate::cluster::Cluster;
use crate::status::ApiError;
use crate::store::{Key, ResourceId};

const RBAC: &str = "rbac.authorization.k8s.io";

/// Makes what is missing; objects that exist are left as they are.
///
/// # Errors
/// When the store fails.
pub async fn bootstrap(cluster: &Arc<Cluster>) -> Result<(), ApiError> {
    super::crds::Definitions::of(cluster).publish(cluster);
    let fresh = cluster.store.revision() == 0;
    let names = ["default", "kube-system", "kube-public", "kube-node-lease"];
    let make = names.map(|name| {
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        absent_only(cluster, ResourceId::new("namespaces", ""), namespace)
    });
    futures::future::try_join_all(make).await?;
    // Each in one go, so that the disk is waited for once.
    let mut make = Vec::new();
    for (name, rules) in cluster_roles() {
        let role = json!({
            "apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRole", "metadata": bootstrapped(name), "rules": rules,
        });
        make.push(absent_only(
            cluster,
            ResourceId::new("clusterroles", RBAC),
            role,
        ));
    }
    for (name, role, groups) in cluster_role_bindings() {
        let subjects: Vec<Value> = groups
            .iter()
            .map(|group| json!({"kind": "Group", "apiGroup": RBAC, "name": group}))
            .collect();
        let binding = json!({
            "apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRoleBinding", "metadata": bootstrapped(name),
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role}, "subjects": subjects,
        });
        make.push(absent_only(
            cluster,
            ResourceId::new("clusterrolebindings", RBAC),
            binding,
        ));
    }
    make.push(absent_only(
        cluster,
        ResourceId::new("services", ""),
        kubernetes_service(cluster),
    ));
    futures::future::try_join_all(make).await?;
    futures::future::try_join_all(names.map(|name| namespaces::fill(cluster, name))).await?;
    point_to_this_server(cluster).await?;
    if fresh {
        cluster.store.seal().await;
    }
    Ok(())
}

fn bootstrapped(name: &str) -> Value {
    json!({
        "name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    })
}

fn kubernetes_service(cluster: &Cluster) -> Value {
    let first = std::net::Ipv4Addr::from(u32::from(cluster.service_cidr.network()) + 1).to_string();
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "kubernetes", "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "type": "ClusterIP", "clusterIP": first, "clusterIPs": [first],
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": cluster.netns_addr.unwrap_or(cluster.addr).port()}],
        },
    })
}

/// Writes the endpoints of the `kubernetes` Service, for clients in the cluster's network. Without such a network
/// there is nothing to write: loopback addresses are no endpoints.
async fn point_to_this_server(cluster: &Arc<Cluster>) -> Result<(), ApiError> {
    let Some(addr) = cluster.netns_addr.filter(|addr| !addr.ip().is_loopback()) else {
        return Ok(());
    };
    let slices = ResourceId::new("endpointslices", "discovery.k8s.io");
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": "kubernetes", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "endpoints": [{"addresses": [addr.ip().to_string()], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": addr.port(), "protocol": "TCP"}],
    });
    let endpoints = json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {
            "name": "kubernetes", "namespace": "default",
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
        },
        "subsets": [{
            "addresses": [{"ip": addr.ip().to_string()}],
            "ports": [{"name": "https", "port": addr.port(), "protocol": "TCP"}],
        }],
    });
    for (resource, object, fields) in [
        (slices, slice, ["endpoints", "ports"]),
        (
            ResourceId::new("endpoints", ""),
            endpoints,
            ["subsets", "subsets"],
        ),
    ] {
        let key = Key::new("default", "kubernetes");
        if cluster.store.get(&resource, &key).is_none() {
            ensure(cluster, &resource, object).await?;
            continue;
        }
        // Another start may listen elsewhere.
        super::change(cluster, &resource, &key, crate::verbs::Part::Main, |live| {
            for field in fields {
                live[field] = object[field].clone();
            }
        })
        .await?;
    }
    Ok(())
}

/// As `ensure`, sparing the work when the object is there already: most starts find everything made.
async fn absent_only(
    cluster: &Arc<Cluster>,
    resource: ResourceId,
    object: Value,
) -> Result<(), ApiError> {
    let key = Key::new(
        crate::object::meta(&object, "namespace"),
        crate::object::meta(&object, "name"),
    );
    if cluster.store.get(&resource, &key).is_some() {
        return Ok(());
    }
    ensure(cluster, &resource, object).await
}
