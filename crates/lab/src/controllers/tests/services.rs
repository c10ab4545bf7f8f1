use serde_json::{Value, json};

use crate::controllers::action::Action;
use crate::controllers::testing::{check, decide, world};
use crate::controllers::{endpoints, kubernetes, load_balancer, slices};

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, labels: {team: a}}
spec:
  clusterIP: 10.96.0.7
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: web}, {name: raw, port: 90, targetPort: 9000, protocol: UDP}]
---
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {topology.kubernetes.io/zone: z1}}
---
";

fn pod(name: &str, ip: &str, ready: bool, more: &str) -> String {
    let ready = if ready { "True" } else { "False" };
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: web}}{more}}}\nspec: {{nodeName: n1, containers: [{{name: c, ports: [{{name: web, containerPort: 8080}}]}}]}}\nstatus: {{phase: Running, podIP: {ip}, conditions: [{{type: Ready, status: '{ready}'}}]}}\n---\n"
    )
}

/// The one object that a controller creates.
fn created(actions: &[Action]) -> Value {
    match actions {
        [Action::Create { object, .. }] => object.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn slices_say_what_pods_say() {
    let pods = [
        pod("a", "10.1.0.2", true, ""),
        pod("b", "10.1.0.3", false, ""),
        pod(
            "c",
            "10.1.0.4",
            true,
            ", deletionTimestamp: '2026-01-01T00:00:00Z'",
        ),
    ];
    let world = world(&format!("{SERVICE}{}", pods.concat()));
    let slice = created(&decide(slices::reconcile, &world, "web"));
    assert_eq!(
        slice["metadata"]["labels"],
        json!({"team": "a", "kubernetes.io/service-name": "web",
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"})
    );
    assert_eq!(
        slice["ports"],
        json!([{"name": "http", "port": 8080, "protocol": "TCP"}, {"name": "raw", "port": 9000, "protocol": "UDP"}])
    );
    let brief: Vec<String> = slice["endpoints"]
        .as_array()
        .expect("endpoints")
        .iter()
        .map(|e| {
            format!(
                "{} {} {} {}",
                e["addresses"][0], e["conditions"], e["nodeName"], e["zone"]
            )
        })
        .collect();
    assert_eq!(
        brief,
        [
            r#""10.1.0.2" {"ready":true,"serving":true,"terminating":false} "n1" "z1""#,
            r#""10.1.0.3" {"ready":false,"serving":false,"terminating":false} "n1" "z1""#,
            r#""10.1.0.4" {"ready":false,"serving":true,"terminating":true} "n1" "z1""#,
        ]
    );
    let endpoints = created(&decide(endpoints::reconcile, &world, "web"));
    let subset = &endpoints["subsets"][0];
    assert_eq!(subset["addresses"][0]["ip"], "10.1.0.2");
    assert_eq!(subset["notReadyAddresses"][0]["ip"], "10.1.0.3");
    assert_eq!(
        subset["notReadyAddresses"].as_array().map(Vec::len),
        Some(1),
        "the one that goes is in neither"
    );
}

#[test]
fn slices_settle() {
    let yaml = format!("{SERVICE}{}", pod("a", "10.1.0.2", true, ""));
    let slice = created(&decide(slices::reconcile, &world(&yaml), "web"));
    let name = slice["metadata"]["name"]
        .as_str()
        .expect("a name")
        .to_owned();
    let with_slice = |slice: &Value, pods: &str| format!("{SERVICE}{pods}\n---\n{slice}\n---\n");
    let pods = pod("a", "10.1.0.2", true, "");
    check(
        "nothing to do",
        slices::reconcile,
        "web",
        &with_slice(&slice, &pods),
        &[],
    );
    let replaced = format!("replace EndpointSlice {name}");
    let changed = pod("a", "10.1.0.2", false, "");
    check(
        "a pod is not ready",
        slices::reconcile,
        "web",
        &with_slice(&slice, &changed),
        &[&replaced],
    );
    let none = decide(slices::reconcile, &world(&with_slice(&slice, "")), "web");
    assert!(
        matches!(none.as_slice(), [Action::Create { object, .. }, Action::Delete { .. }] if object["endpoints"] == json!([]))
    );
    let mut foreign = slice.clone();
    foreign["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] = "me".into();
    foreign["metadata"]["name"] = "mine".into();
    let both = format!("{}{foreign}\n", with_slice(&slice, &pods));
    check(
        "somebody else's slice",
        slices::reconcile,
        "web",
        &both,
        &[],
    );
    let no_selector = SERVICE.replace("selector: {app: web}", "selector: {}");
    check("no selector", slices::reconcile, "web", &no_selector, &[]);
    check(
        "no selector, no endpoints",
        endpoints::reconcile,
        "web",
        &no_selector,
        &[],
    );
}

fn balanced(name: &str, more: &str, ip: &str) -> String {
    let status = if ip.is_empty() {
        String::new()
    } else {
        format!("status: {{loadBalancer: {{ingress: [{{ip: {ip}}}]}}}}\n")
    };
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{type: LoadBalancer{more}}}\n{status}---\n"
    )
}

#[test]
fn load_balancers_get_addresses() {
    let case = |name, yaml: String, expected: &[&str]| {
        check(name, load_balancer::reconcile, "b", &yaml, expected)
    };
    let set = |ip: &str| {
        format!(
            r#"status Service b {{"loadBalancer":{{"ingress":[{{"ip":"{ip}","ipMode":"VIP"}}]}}}}"#
        )
    };
    case("the first", balanced("b", "", ""), &[&set("172.30.1.1")]);
    case("has one", balanced("b", "", "172.30.1.2"), &[]);
    case(
        "the first is taken",
        balanced("a", "", "172.30.1.1") + &balanced("b", "", ""),
        &[&set("172.30.1.2")],
    );
    case(
        "another is about to take the first",
        balanced("a", "", "") + &balanced("b", "", ""),
        &[&set("172.30.1.2")],
    );
    case(
        "both were given the same",
        balanced("a", "", "172.30.1.1") + &balanced("b", "", "172.30.1.1"),
        &[&set("172.30.1.2")],
    );
    case(
        "asked for",
        balanced("b", ", loadBalancerIP: 172.30.1.2", ""),
        &[&set("172.30.1.2")],
    );
    case(
        "of another class",
        balanced("b", ", loadBalancerClass: x", ""),
        &[],
    );
    let cluster_ip = balanced("b", "", "172.30.1.1").replace("LoadBalancer}", "ClusterIP}");
    case(
        "not one any more",
        cluster_ip,
        &[r#"status Service b {"loadBalancer":{"ingress":null}}"#],
    );
    let full =
        balanced("a", "", "172.30.1.1") + &balanced("c", "", "172.30.1.2") + &balanced("b", "", "");
    case(
        "none left",
        full,
        &[
            "tell AllocationFailed: no free address in 172.30.1.0/30: delete a LoadBalancer service, or ask for another address",
        ],
    );
}

#[test]
fn the_api_server_is_an_endpoint() {
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: kubernetes}\nspec: {clusterIP: 10.96.0.1, ports: [{name: https, port: 443, targetPort: 6443}]}\n---\n";
    let actions = decide(kubernetes::reconcile, &world(service), "kubernetes");
    let [
        Action::Create { object: slice, .. },
        Action::Create {
            object: endpoints, ..
        },
    ] = actions.as_slice()
    else {
        panic!("{actions:?}");
    };
    assert_eq!(slice["endpoints"][0]["addresses"], json!(["172.30.0.11"]));
    assert_eq!(endpoints["subsets"][0]["ports"][0]["port"], 6443);
    let settled = format!("{service}{slice}\n---\n{endpoints}\n---\n");
    check(
        "settled",
        kubernetes::reconcile,
        "kubernetes",
        &settled,
        &[],
    );
    let moved = settled.replace("6443,", "6444,");
    check(
        "moved",
        kubernetes::reconcile,
        "kubernetes",
        &moved,
        &[
            "replace EndpointSlice kubernetes",
            "replace Endpoints kubernetes",
        ],
    );
}
