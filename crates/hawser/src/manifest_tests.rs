//! The manifest is read back as kubectl would read it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{DEFINITIONS, NAMESPACE, Part, REPLICATED, Values, generate, objects};

fn values(set: &[&str]) -> Result<Values, String> {
    let set: Vec<String> = set.iter().map(|pair| (*pair).to_owned()).collect();
    Values::parse(&set).map_err(|error| error.to_string())
}

fn read(text: &str) -> Vec<Value> {
    let manifest = hawser_api::manifest::read("manifest", text.as_bytes());
    assert!(manifest.errors.is_empty(), "{:?}", manifest.errors);
    manifest
        .docs
        .into_iter()
        .map(|document| document.value)
        .collect()
}

fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = objects
        .iter()
        .find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name}"))
}

#[test]
fn every_definition_is_part_of_it() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../api/crds");
    let files = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap());
    let files: BTreeSet<String> = files.collect();
    assert_eq!(
        files,
        DEFINITIONS.iter().map(|text| (*text).to_owned()).collect()
    );
}

#[test]
fn it_is_read_back_as_it_was_meant() {
    let values = values(&[
        "clusterID=cluster1",
        "hub=registry.example:5000/mesh",
        "tag=on",
    ])
    .unwrap();
    let text = generate(&values, Part::All).unwrap();
    assert_eq!(
        text,
        generate(&values, Part::All).unwrap(),
        "the same input gives the same bytes"
    );
    let all = read(&text);
    let meant: Vec<Value> = [NAMESPACE]
        .iter()
        .chain(REPLICATED)
        .flat_map(|file| objects(*file, &values).unwrap())
        .collect();
    let rest = all.iter().filter(|object| {
        object["kind"] != "CustomResourceDefinition" && object["metadata"]["name"] != "istio"
    });
    assert_eq!(rest.cloned().collect::<Vec<_>>(), meant);
    let parts = [
        generate(&values, Part::Definitions).unwrap(),
        generate(&values, Part::Mesh).unwrap(),
    ]
    .concat();
    assert_eq!(parts, text);
}

#[test]
fn what_others_need_is_defined_before() {
    let all = read(&generate(&values(&[]).unwrap(), Part::All).unwrap());
    let place = |kind: &str| {
        all.iter()
            .position(|object| object["kind"] == kind)
            .unwrap()
    };
    assert_eq!(place("Namespace"), 0);
    let last_definition = all
        .iter()
        .rposition(|object| object["kind"] == "CustomResourceDefinition")
        .unwrap();
    assert!(last_definition < place("Gateway") && place("ServiceAccount") < place("Deployment"));
    // Accounts and services that are named exist.
    for deployment in all.iter().filter(|object| object["kind"] == "Deployment") {
        let account = deployment["spec"]["template"]["spec"]["serviceAccountName"]
            .as_str()
            .unwrap();
        find(&all, "ServiceAccount", account);
        let labels = &deployment["spec"]["template"]["metadata"]["labels"];
        for (key, value) in deployment["spec"]["selector"]["matchLabels"]
            .as_object()
            .unwrap()
        {
            assert_eq!(
                &labels[key], value,
                "selector of {}",
                deployment["metadata"]["name"]
            );
        }
    }
    for kind in [
        "MutatingWebhookConfiguration",
        "ValidatingWebhookConfiguration",
    ] {
        let webhooks = all
            .iter()
            .filter(|object| object["kind"] == kind)
            .flat_map(|object| object["webhooks"].as_array().unwrap());
        for webhook in webhooks {
            let service = &webhook["clientConfig"]["service"];
            let found = find(&all, "Service", service["name"].as_str().unwrap());
            let ports = found["spec"]["ports"].as_array().unwrap();
            assert!(
                ports.iter().any(|port| port["port"] == service["port"]),
                "{service}"
            );
        }
    }
}

#[test]
fn values_reach_their_places() {
    let values = values(&[
        "global.multiCluster.clusterName=cluster2",
        "network=network2",
        "meshID=mesh1",
        "gatewayType=NodePort",
        "tag=1.2.3",
        "accessLogFile=/dev/stdout",
    ]);
    let all = read(&generate(&values.unwrap(), Part::All).unwrap());
    let text = |object: &Value, pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or("")
            .to_owned()
    };
    let ingress = find(&all, "Service", "istio-ingressgateway");
    assert_eq!(ingress["spec"]["type"], "NodePort");
    assert_eq!(
        find(&all, "Namespace", "istio-system")["metadata"]["labels"],
        json!({"topology.istio.io/network": "network2"})
    );
    let istiod = find(&all, "Deployment", "istiod");
    let container = &istiod["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "hawser/control-plane:1.2.3");
    assert_eq!(
        container["args"],
        json!([
            "--cluster-id",
            "cluster2",
            "--network",
            "network2",
            "--mesh-id",
            "mesh1",
            "--hub",
            "hawser",
            "--tag",
            "1.2.3"
        ])
    );
    let gateway = find(&all, "Deployment", "istio-ingressgateway");
    assert_eq!(
        text(gateway, "/spec/template/spec/containers/0/image"),
        "hawser/proxyv2:1.2.3"
    );
    let environment = gateway["spec"]["template"]["spec"]["containers"][0]["env"]
        .as_array()
        .unwrap();
    for (name, value) in [
        ("ISTIO_META_CLUSTER_ID", "cluster2"),
        ("ISTIO_META_NETWORK", "network2"),
        ("ISTIO_META_MESH_ID", "mesh1"),
        ("ISTIO_META_WORKLOAD_NAME", "istio-ingressgateway"),
    ] {
        assert!(
            environment.contains(&json!({"name": name, "value": value})),
            "{name}"
        );
    }
    let mesh = text(find(&all, "ConfigMap", "istio"), "/data/mesh");
    let mesh: Value = read(&mesh).remove(0);
    assert_eq!(
        mesh["defaultConfig"],
        json!({"discoveryAddress": "istiod.istio-system.svc:15012", "meshId": "mesh1"})
    );
    assert_eq!(mesh["accessLogFile"], "/dev/stdout");
    for (name, selector) in [
        ("istio-multicluster-ingressgateway", "ingressgateway"),
        ("istio-multicluster-egressgateway", "egressgateway"),
    ] {
        let spec = &find(&all, "Gateway", name)["spec"];
        assert_eq!(spec["selector"], json!({"istio": selector}));
        assert_eq!(
            spec["servers"],
            json!([{"hosts": ["*.global"], "port": {"name": "tls", "number": 15443, "protocol": "TLS"}, "tls": {"mode": "AUTO_PASSTHROUGH"}}])
        );
    }
}

#[test]
fn wrong_values_are_named() {
    for (set, expected) in [
        ("clusterID", "--set clusterID: expected NAME=VALUE"),
        (
            "clusterID=a b",
            "--set clusterID=a b: expected letters, digits, '-', '.' and '_'",
        ),
        (
            "gatewayType=Ingress",
            "--set gatewayType=Ingress: expected one of LoadBalancer, NodePort, ClusterIP",
        ),
        ("tag=", "--set tag=: expected a part of an image's name"),
    ] {
        assert_eq!(values(&[set]).err().as_deref(), Some(expected), "{set}");
    }
    let error = values(&["cluster=x"]).err().unwrap();
    assert!(error.starts_with("--set cluster: there is no such value; known are accessLogFile (or meshConfig.accessLogFile), "), "{error}");
}
