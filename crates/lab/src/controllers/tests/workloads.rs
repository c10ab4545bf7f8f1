use serde_json::{Value, json};

use crate::controllers::action::Action;
use crate::controllers::testing::{add, check, decide, world};
use crate::controllers::world::World;
use crate::controllers::{deployment, replica_set, scheduler};

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, generation: 1, annotations: {team: a, kubectl.kubernetes.io/last-applied-configuration: '{}'}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'web:1'}]}
";

/// Plays the API server for a Deployment until nobody wants anything: creations get names and uids, patches are
/// merged, and every pod is ready. Returns the names of what was created and deleted, in order.
fn settle(world: &mut World, version: &mut u64) -> Vec<String> {
    let mut seen = Vec::new();
    for _ in 0..60 {
        let mut actions = decide(deployment::reconcile, world, "web");
        let sets: Vec<String> = world
            .replica_sets
            .all()
            .filter_map(|set| set.metadata.name.clone())
            .collect();
        for set in &sets {
            actions.extend(decide(replica_set::reconcile, world, set));
        }
        if actions.is_empty() {
            return seen;
        }
        for action in actions {
            *version += 1;
            play(world, action, *version, &mut seen);
        }
    }
    panic!("never settles: {seen:?}");
}

fn play(world: &mut World, action: Action, version: u64, seen: &mut Vec<String>) {
    match action {
        Action::Create { kind, mut object } => {
            if object["metadata"]["name"].is_null() {
                object["metadata"]["name"] =
                    format!("{}{version}", text(&object["metadata"]["generateName"])).into();
            }
            object["metadata"]["resourceVersion"] = version.to_string().into();
            object["metadata"]["generation"] = 1.into();
            if object["kind"] == "Pod" {
                object["status"] = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
            }
            seen.push(format!("+{kind:?}"));
            add(world, object);
        }
        Action::Patch {
            kind, key, patch, ..
        } => {
            let mut object = stored(world, kind, &key);
            merge(&mut object, &patch);
            object["metadata"]["resourceVersion"] = version.to_string().into();
            object["kind"] = format!("{kind:?}").into();
            add(world, object);
        }
        Action::Delete { kind, key, uid } => {
            seen.push(format!("-{kind:?}"));
            let event = hawser_kube::Event::Delete {
                namespace: key.0,
                name: key.1,
                uid,
                resource_version: version.to_string(),
            };
            world.fold(kind, event);
        }
        other => panic!("{other:?}"),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn stored(
    world: &World,
    kind: crate::controllers::world::Kind,
    key: &crate::controllers::world::Key,
) -> Value {
    use crate::controllers::world::Kind;
    let value = match kind {
        Kind::Deployment => serde_json::to_value(world.deployments.get(key)),
        Kind::ReplicaSet => serde_json::to_value(world.replica_sets.get(key)),
        Kind::Pod => serde_json::to_value(world.pods.get(key)),
        _ => panic!("{kind:?}"),
    };
    value.expect("JSON")
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in fields {
        if value.is_null() {
            target.as_object_mut().expect("an object").remove(name);
        } else {
            merge(&mut target[name.as_str()], value);
        }
    }
}

fn condition(world: &World, type_: &str) -> (String, String) {
    let web = world.deployments.all().next().expect("the deployment");
    let conditions = web
        .status
        .as_ref()
        .and_then(|status| status.conditions.clone())
        .unwrap_or_default();
    let found = conditions
        .into_iter()
        .find(|condition| condition.type_ == type_)
        .expect("the condition");
    (found.status, found.reason.unwrap_or_default())
}

#[test]
fn a_deployment_is_rolled_out_and_updated() {
    let mut world = world(DEPLOYMENT);
    let mut version = 10;
    let seen = settle(&mut world, &mut version);
    assert_eq!(seen, ["+ReplicaSet", "+Pod", "+Pod"]);
    let web = world
        .deployments
        .all()
        .next()
        .expect("the deployment")
        .clone();
    let status = web.status.clone().expect("a status");
    assert_eq!(
        (
            status.replicas,
            status.updated_replicas,
            status.available_replicas
        ),
        (Some(2), Some(2), Some(2))
    );
    assert_eq!(
        (status.observed_generation, status.unavailable_replicas),
        (Some(1), None)
    );
    assert_eq!(
        condition(&world, "Available"),
        ("True".into(), "MinimumReplicasAvailable".into())
    );
    assert_eq!(
        condition(&world, "Progressing"),
        ("True".into(), "NewReplicaSetAvailable".into())
    );
    let pod = world.pods.all().next().expect("a pod");
    let hash = pod
        .metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.get("pod-template-hash"));
    let set = world.replica_sets.all().next().expect("a set");
    assert_eq!(set.metadata.name, hash.map(|hash| format!("web-{hash}")));
    let annotations = set.metadata.annotations.as_ref().expect("annotations");
    assert_eq!(annotations.get("team").map(String::as_str), Some("a"));
    assert!(!annotations.contains_key("kubectl.kubernetes.io/last-applied-configuration"));

    let mut object = serde_json::to_value(&web).expect("JSON");
    object["kind"] = "Deployment".into();
    object["metadata"]["generation"] = 2.into();
    object["metadata"]["resourceVersion"] = (version + 1).to_string().into();
    object["spec"]["template"]["spec"]["containers"][0]["image"] = "web:2".into();
    add(&mut world, object.clone());
    version += 1;
    let seen = settle(&mut world, &mut version);
    assert_eq!(
        seen,
        ["+ReplicaSet", "+Pod", "-Pod", "+Pod", "-Pod"],
        "one by one"
    );
    let images: Vec<_> = world
        .pods
        .all()
        .map(|pod| pod.spec.clone().expect("spec").containers[0].image.clone())
        .collect();
    assert_eq!(images, [Some("web:2".to_owned()), Some("web:2".to_owned())]);

    // Back to the first template: the old set is used again, as a new revision.
    object["metadata"]["generation"] = 3.into();
    object["metadata"]["resourceVersion"] = (version + 1).to_string().into();
    object["spec"]["template"]["spec"]["containers"][0]["image"] = "web:1".into();
    add(&mut world, object);
    version += 1;
    let seen = settle(&mut world, &mut version);
    assert_eq!(seen, ["+Pod", "-Pod", "+Pod", "-Pod"]);
    let web = world.deployments.all().next().expect("the deployment");
    let revision = web
        .metadata
        .annotations
        .as_ref()
        .and_then(|a| a.get("deployment.kubernetes.io/revision"));
    assert_eq!(revision.map(String::as_str), Some("3"));
}

#[test]
fn recreate_never_runs_two_versions() {
    let mut world = world(&DEPLOYMENT.replace(
        "  replicas: 2",
        "  replicas: 2\n  strategy: {type: Recreate}",
    ));
    let mut version = 10;
    settle(&mut world, &mut version);
    let mut object = serde_json::to_value(world.deployments.all().next()).expect("JSON");
    object["kind"] = "Deployment".into();
    object["metadata"]["resourceVersion"] = (version + 1).to_string().into();
    object["spec"]["template"]["spec"]["containers"][0]["image"] = "web:2".into();
    add(&mut world, object);
    version += 1;
    assert_eq!(
        settle(&mut world, &mut version),
        ["-Pod", "-Pod", "+ReplicaSet", "+Pod", "+Pod"]
    );
}

const SET: &str = "
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: web, generation: 1}
spec: {replicas: 1, selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: []}}}
status: {replicas: 1, fullyLabeledReplicas: 1, readyReplicas: 1, availableReplicas: 1, observedGeneration: 1}
---
";

fn pod(name: &str, metadata: &str, status: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, {metadata}}}\nspec: {{containers: []}}\nstatus: {{{status}}}\n---\n"
    )
}

const OWNED: &str = "labels: {app: web}, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web, uid: uid-web, controller: true}]";
const READY: &str = "phase: Running, conditions: [{type: Ready, status: 'True'}]";

#[test]
fn replica_sets_keep_their_number() {
    let with = |pods: &[String]| format!("{SET}{}", pods.concat());
    let case = |name, pods: &[String], expected: &[&str]| {
        check(name, replica_set::reconcile, "web", &with(pods), expected);
    };
    case("enough", &[pod("a", OWNED, READY)], &[]);
    case(
        "none left",
        &[],
        &[
            "create Pod web-",
            r#"status ReplicaSet web {"availableReplicas":null,"fullyLabeledReplicas":null,"observedGeneration":1,"readyReplicas":null,"replicas":0}"#,
        ],
    );
    case(
        "a finished pod does not count, and one that is not ours is left alone",
        &[
            pod("a", OWNED, READY),
            pod("b", OWNED, "phase: Failed"),
            pod(
                "c",
                "labels: {app: web}, ownerReferences: [{apiVersion: v1, kind: X, name: x, uid: x, controller: true}]",
                READY,
            ),
        ],
        &[],
    );
    case(
        "one too many: the one that does not serve goes",
        &[pod("a", OWNED, "phase: Pending"), pod("b", OWNED, READY)],
        &[
            "delete Pod a",
            r#"status ReplicaSet web {"availableReplicas":1,"fullyLabeledReplicas":2,"observedGeneration":1,"readyReplicas":1,"replicas":2}"#,
        ],
    );
    case(
        "adopts what it selects",
        &[
            pod("a", OWNED, READY),
            pod("b", "labels: {app: web}", READY),
        ],
        &[
            r#"patch Pod b {"metadata":{"ownerReferences":[{"apiVersion":"apps/v1","blockOwnerDeletion":true,"controller":true,"kind":"ReplicaSet","name":"web","uid":"uid-web"}],"resourceVersion":null,"uid":"uid-b"}}"#,
        ],
    );
    case(
        "lets go what it does not select any more",
        &[
            pod("a", OWNED, READY),
            pod("b", &OWNED.replace("app: web}", "app: debug}"), READY),
        ],
        &[
            r#"patch Pod b {"metadata":{"ownerReferences":[],"resourceVersion":null,"uid":"uid-b"}}"#,
        ],
    );
}

#[test]
fn pods_are_bound_to_a_node_that_takes_them() {
    let node = |more: &str| {
        format!(
            "apiVersion: v1\nkind: Node\nmetadata: {{name: n1, labels: {{disk: ssd}}}}\nspec: {{{more}}}\nstatus: {{conditions: [{{type: Ready, status: 'True'}}]}}\n---\n"
        )
    };
    let waiting = |spec: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {{containers: [], {spec}}}\n"
        )
    };
    let case = |name, yaml: String, expected: &[&str]| {
        check(name, scheduler::reconcile, "p", &yaml, expected)
    };
    case("bound", node("") + &waiting(""), &["bind p to n1"]);
    case("no node yet", waiting(""), &[]);
    case("bound already", node("") + &waiting("nodeName: n1"), &[]);
    case(
        "for another scheduler",
        node("") + &waiting("schedulerName: mine"),
        &[],
    );
    case(
        "gated",
        node("") + &waiting("schedulingGates: [{name: g}]"),
        &[],
    );
    case(
        "cordoned",
        node("unschedulable: true") + &waiting(""),
        &["tell FailedScheduling: 0/1 nodes are available: node n1 is unschedulable."],
    );
    case(
        "another disk",
        node("") + &waiting("nodeSelector: {disk: hdd}"),
        &[
            "tell FailedScheduling: 0/1 nodes are available: node n1 did not match the pod's node selector.",
        ],
    );
}
