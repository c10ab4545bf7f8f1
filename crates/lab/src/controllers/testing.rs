//! Worlds written as YAML, and actions in a line each, for tests.

use hawser_kube::Event;
use serde_json::Value;

use super::action::Action;
use super::engine::{Facts, Surroundings};
use super::world::{Key, Kind, World};

/// The world that holds these objects, in this order.
pub(crate) fn world(yaml: &str) -> World {
    let objects: Vec<Value> = serde_saphyr::from_multiple(yaml).expect("YAML");
    let mut world = World::default();
    for object in objects {
        add(&mut world, object);
    }
    world
}

/// Adds an object; its name serves as uid.
pub(crate) fn add(world: &mut World, mut object: Value) {
    let kind = match object["kind"].as_str().expect("kind") {
        "Deployment" => Kind::Deployment,
        "ReplicaSet" => Kind::ReplicaSet,
        "Pod" => Kind::Pod,
        "Service" => Kind::Service,
        "EndpointSlice" => Kind::EndpointSlice,
        "Endpoints" => Kind::Endpoints,
        "Node" => Kind::Node,
        "ConfigMap" => Kind::ConfigMap,
        other => panic!("{other}"),
    };
    if object["metadata"]["uid"].is_null() {
        object["metadata"]["uid"] =
            format!("uid-{}", object["metadata"]["name"].as_str().expect("name")).into();
    }
    if kind != Kind::Node && object["metadata"]["namespace"].is_null() {
        object["metadata"]["namespace"] = "default".into();
    }
    world.fold(
        kind,
        Event::Apply {
            object,
            resource_version: "1".to_owned(),
        },
    );
}

/// What a controller wants for `default/NAME`.
pub(super) fn decide(
    reconcile: fn(&World, &Key, &Surroundings<'_>) -> Vec<Action>,
    world: &World,
    name: &str,
) -> Vec<Action> {
    let facts = Facts {
        lb_pool: "172.30.1.0/30".parse().expect("network"),
        apiserver: "172.30.0.11:6443".parse().expect("address"),
    };
    let now = "2026-01-01T00:00:00Z".parse().expect("time");
    reconcile(
        world,
        &("default".to_owned(), name.to_owned()),
        &Surroundings { facts: &facts, now },
    )
}

/// An action in a line.
pub(super) fn brief(action: &Action) -> String {
    match action {
        Action::Create { kind, object } => {
            let meta = &object["metadata"];
            let name = meta["name"]
                .as_str()
                .or(meta["generateName"].as_str())
                .unwrap_or_default();
            match object.pointer("/spec/replicas") {
                Some(replicas) => format!("create {kind:?} {name} of {replicas}"),
                None => format!("create {kind:?} {name}"),
            }
        }
        Action::Replace { kind, object } => {
            format!(
                "replace {kind:?} {}",
                object["metadata"]["name"].as_str().unwrap_or_default()
            )
        }
        Action::Patch {
            kind,
            key,
            status: true,
            patch,
        } => {
            let mut status = patch["status"].clone();
            if let Some(conditions) = status.get_mut("conditions").map(Value::take) {
                let conditions = conditions.as_array().cloned().unwrap_or_default();
                let text = |c: &Value, f: &str| c[f].as_str().unwrap_or_default().to_owned();
                let conditions: Vec<String> = conditions
                    .iter()
                    .map(|c| {
                        format!(
                            "{}={} {}",
                            text(c, "type"),
                            text(c, "status"),
                            text(c, "reason")
                        )
                    })
                    .collect();
                status["conditions"] = conditions.into();
            }
            format!("status {kind:?} {} {status}", key.1)
        }
        Action::Patch {
            kind, key, patch, ..
        } => format!("patch {kind:?} {} {patch}", key.1),
        Action::Delete { kind, key, .. } => format!("delete {kind:?} {}", key.1),
        Action::Bind { pod, node, .. } => format!("bind {} to {node}", pod.1),
        Action::Tell { reason, message } => format!("tell {reason}: {message}"),
    }
}

/// The controller's wishes for `default/NAME` in this world, a line each.
pub(super) fn check(
    case: &str,
    reconcile: fn(&World, &Key, &Surroundings<'_>) -> Vec<Action>,
    name: &str,
    yaml: &str,
    expected: &[&str],
) {
    let actions: Vec<String> = decide(reconcile, &world(yaml), name)
        .iter()
        .map(brief)
        .collect();
    assert_eq!(actions, expected, "{case}");
}
