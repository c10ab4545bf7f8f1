//! Pods in, patches out; the patch is applied as the API server would.

use base64::Engine;
use hawser_inject::proxy_config::ProxyConfig;
use hawser_inject::{
    Decision, Settings, decide, inject, inject_workload, review, review_bytes, settings_for_path,
};
use serde_json::{Value, json};

fn pod(metadata: Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"generateName": "reviews-v2-77d9c-", "namespace": "default", "labels": {"app": "reviews", "version": "v2", "pod-template-hash": "77d9c"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "reviews-v2-77d9c", "controller": true}]},
        "spec": {"containers": [{"name": "reviews", "image": "r", "ports": [{"containerPort": 9080}]}]},
    });
    json_patch::merge(&mut pod, &json!({"metadata": metadata}));
    pod
}

fn applied(pod: &Value, settings: &Settings) -> Value {
    let injection = inject(pod, None, settings);
    let mut pod = pod.clone();
    let patch: json_patch::Patch = serde_json::from_value(Value::Array(injection.patch)).unwrap();
    json_patch::patch(&mut pod, &patch).unwrap();
    pod
}

fn container<'a>(pod: &'a Value, list: &str, name: &str) -> Option<&'a Value> {
    pod["spec"][list]
        .as_array()?
        .iter()
        .find(|container| container["name"] == name)
}

fn env<'a>(pod: &'a Value, name: &str) -> Option<&'a Value> {
    let proxy = container(pod, "containers", "istio-proxy")
        .or_else(|| container(pod, "initContainers", "istio-proxy"))?;
    proxy["env"]
        .as_array()?
        .iter()
        .find(|variable| variable["name"] == name)
}

fn init_args(pod: &Value) -> String {
    let args = container(pod, "initContainers", "istio-init").map(|init| init["args"].clone());
    let args: Vec<String> = serde_json::from_value(args.unwrap_or_default()).unwrap_or_default();
    args.join(" ")
}

fn decision(pod_metadata: Value, namespace_labels: Option<Value>, revision: &str) -> Decision {
    let settings = Settings {
        revision: revision.to_owned(),
        ..Settings::default()
    };
    let namespace =
        namespace_labels.map(|labels| json!({"metadata": {"name": "default", "labels": labels}}));
    decide(&pod(pod_metadata), namespace.as_ref(), &settings)
}

#[test]
fn who_is_injected() {
    let label = |value: &str| json!({"labels": {"sidecar.istio.io/inject": value}});
    let annotation = |value: &str| json!({"annotations": {"sidecar.istio.io/inject": value}});
    let both = json!({"labels": {"sidecar.istio.io/inject": "false"}, "annotations": {"sidecar.istio.io/inject": "true"}});
    let enabled = json!({"istio-injection": "enabled"});
    let disabled = json!({"istio-injection": "disabled"});
    let canary = json!({"istio.io/rev": "canary"});
    let cases = [
        (
            "a labelled namespace",
            json!({}),
            Some(enabled.clone()),
            "default",
            true,
        ),
        (
            "an unlabelled namespace",
            json!({}),
            Some(json!({})),
            "default",
            false,
        ),
        (
            "a disabled namespace",
            label("true"),
            Some(disabled),
            "default",
            false,
        ),
        (
            "a pod that says no",
            label("false"),
            Some(enabled.clone()),
            "default",
            false,
        ),
        (
            "an annotation that says no",
            annotation("false"),
            Some(enabled.clone()),
            "default",
            false,
        ),
        (
            "a pod that says nonsense",
            label("maybe"),
            Some(enabled.clone()),
            "default",
            false,
        ),
        (
            "the label counts first",
            both,
            Some(enabled.clone()),
            "default",
            false,
        ),
        (
            "a pod that says yes",
            label("true"),
            Some(json!({})),
            "default",
            true,
        ),
        (
            "only an annotation that says yes",
            annotation("true"),
            Some(json!({})),
            "default",
            false,
        ),
        (
            "our revision's namespace",
            json!({}),
            Some(canary.clone()),
            "canary",
            true,
        ),
        (
            "another revision's namespace",
            json!({}),
            Some(canary),
            "default",
            false,
        ),
        (
            "another revision's pod",
            json!({"labels": {"istio.io/rev": "canary"}}),
            Some(json!({})),
            "default",
            false,
        ),
        (
            "our revision's pod",
            json!({"labels": {"istio.io/rev": "canary"}}),
            Some(json!({})),
            "canary",
            true,
        ),
        (
            "the default's namespace",
            json!({}),
            Some(enabled),
            "canary",
            false,
        ),
        (
            "a system namespace",
            json!({"namespace": "kube-system"}),
            None,
            "default",
            false,
        ),
        ("selected by the webhook", json!({}), None, "default", true),
    ];
    for (name, pod, namespace, revision, expected) in cases {
        let decision = decision(pod, namespace, revision);
        assert_eq!(
            decision == Decision::Inject,
            expected,
            "{name}: {decision:?}"
        );
    }
    let mut host = pod(json!({}));
    host["spec"]["hostNetwork"] = json!(true);
    assert_ne!(decide(&host, None, &Settings::default()), Decision::Inject);
    let off = Settings {
        inject_by_default: false,
        ..Settings::default()
    };
    assert_ne!(decide(&pod(json!({})), None, &off), Decision::Inject);
    assert_eq!(decide(&pod(label("true")), None, &off), Decision::Inject);
}

#[test]
fn a_sidecar() {
    let settings = Settings {
        cluster_id: "cluster1".into(),
        network: "network1".into(),
        mesh_id: "mesh1".into(),
        ..Settings::default()
    };
    let after = applied(&pod(json!({})), &settings);
    assert_eq!(
        init_args(&after),
        "-p 15001 -z 15006 -u 1337 -m REDIRECT -i * -x  -b * -d 15090,15021,15020"
    );
    let proxy = container(&after, "containers", "istio-proxy").unwrap();
    let args: Vec<&str> = proxy["args"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(
        args[..4],
        [
            "proxy",
            "sidecar",
            "--domain",
            "$(POD_NAMESPACE).svc.cluster.local"
        ]
    );
    assert_eq!(
        proxy["readinessProbe"]["httpGet"],
        json!({"path": "/healthz/ready", "port": 15021})
    );
    assert_eq!(proxy["securityContext"]["runAsUser"], 1337);
    for (name, expected) in [
        ("CA_ADDR", "istiod.istio-system.svc:15012"),
        ("ISTIO_META_CLUSTER_ID", "cluster1"),
        ("ISTIO_META_NETWORK", "network1"),
        ("ISTIO_META_MESH_ID", "mesh1"),
        ("ISTIO_META_WORKLOAD_NAME", "reviews-v2"),
        (
            "ISTIO_META_OWNER",
            "kubernetes://apis/apps/v1/namespaces/default/deployments/reviews-v2",
        ),
        ("ISTIO_META_APP_CONTAINERS", "reviews"),
        ("ISTIO_META_POD_PORTS", "[{\"containerPort\":9080}]"),
        ("ISTIO_META_DNS_CAPTURE", "true"),
        ("ISTIO_META_INTERCEPTION_MODE", "REDIRECT"),
        (
            "PROXY_CONFIG",
            "{\"discoveryAddress\":\"istiod.istio-system.svc:15012\"}",
        ),
    ] {
        assert_eq!(
            env(&after, name).map(|variable| &variable["value"]),
            Some(&json!(expected)),
            "{name}"
        );
    }
    let field = |name| {
        env(&after, name).map(|variable| variable["valueFrom"]["fieldRef"]["fieldPath"].clone())
    };
    assert_eq!(field("INSTANCE_IP"), Some(json!("status.podIP")));
    assert_eq!(
        field("SERVICE_ACCOUNT"),
        Some(json!("spec.serviceAccountName"))
    );
    let labels = &after["metadata"]["labels"];
    assert_eq!(labels["security.istio.io/tlsMode"], "istio");
    assert_eq!(labels["service.istio.io/canonical-name"], "reviews");
    assert_eq!(labels["service.istio.io/canonical-revision"], "v2");
    let volumes: Vec<&str> = after["spec"]["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|volume| volume["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        volumes,
        [
            "workload-socket",
            "istio-envoy",
            "istio-data",
            "istio-podinfo",
            "istio-token",
            "istiod-ca-cert"
        ]
    );
    let token = &after["spec"]["volumes"][4]["projected"]["sources"][0]["serviceAccountToken"];
    assert_eq!(token["audience"], "istio-ca");
    assert_eq!(
        after["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"],
        "reviews"
    );
    // Everything mounted exists, and a second run changes nothing.
    for mount in proxy["volumeMounts"].as_array().unwrap() {
        assert!(
            volumes.contains(&mount["name"].as_str().unwrap()),
            "{mount}"
        );
    }
    assert_eq!(inject(&after, None, &settings).patch, Vec::<Value>::new());
}

#[test]
fn annotations_are_honoured() {
    let with = |annotations: Value| {
        applied(
            &pod(json!({"annotations": annotations})),
            &Settings::default(),
        )
    };
    let traffic = with(json!({
        "traffic.sidecar.istio.io/includeOutboundIPRanges": "10.0.0.0/8",
        "traffic.sidecar.istio.io/excludeOutboundIPRanges": "10.1.0.0/16",
        "traffic.sidecar.istio.io/includeInboundPorts": "80",
        "traffic.sidecar.istio.io/excludeInboundPorts": "8080,15020",
        "traffic.sidecar.istio.io/includeOutboundPorts": "9000",
        "traffic.sidecar.istio.io/excludeOutboundPorts": "3306",
        "traffic.sidecar.istio.io/excludeInterfaces": "eth1",
    }));
    assert_eq!(
        init_args(&traffic),
        "-p 15001 -z 15006 -u 1337 -m REDIRECT -i 10.0.0.0/8 -x 10.1.0.0/16 -b 80 -d 15090,15021,15020,8080 -q 9000 -o 3306 -c eth1"
    );
    let mine = with(json!({
        "sidecar.istio.io/proxyImage": "mine/proxy:1", "sidecar.istio.io/proxyCPU": "250m", "sidecar.istio.io/proxyMemoryLimit": "1Gi",
        "sidecar.istio.io/logLevel": "debug", "proxy.istio.io/config": "discoveryAddress: other:15012\nproxyMetadata:\n  EXTRA: \"1\"\n",
        "readiness.status.sidecar.istio.io/periodSeconds": "2",
        "sidecar.istio.io/userVolume": "{\"certs\": {\"secret\": {\"secretName\": \"s\"}}}",
        "sidecar.istio.io/userVolumeMount": "{\"certs\": {\"mountPath\": \"/certs\"}}",
        "prometheus.io/scrape": "true", "prometheus.io/port": "9102",
    }));
    let proxy = container(&mine, "containers", "istio-proxy").unwrap();
    assert_eq!(proxy["image"], "mine/proxy:1");
    assert_eq!(
        proxy["resources"],
        json!({"requests": {"cpu": "250m"}, "limits": {"memory": "1Gi"}})
    );
    assert_eq!(proxy["args"][4], "--proxyLogLevel=debug");
    assert_eq!(proxy["readinessProbe"]["periodSeconds"], 2);
    assert_eq!(env(&mine, "CA_ADDR").unwrap()["value"], "other:15012");
    assert_eq!(env(&mine, "EXTRA").unwrap()["value"], "1");
    assert_eq!(
        env(&mine, "ISTIO_PROMETHEUS_ANNOTATIONS").unwrap()["value"],
        "{\"path\":\"/metrics\",\"port\":\"9102\",\"scrape\":\"true\"}"
    );
    assert_eq!(
        mine["metadata"]["annotations"]["prometheus.io/port"],
        "15020"
    );
    assert!(
        mine["spec"]["volumes"]
            .as_array()
            .unwrap()
            .contains(&json!({"name": "certs", "secret": {"secretName": "s"}}))
    );
    assert!(
        proxy["volumeMounts"]
            .as_array()
            .unwrap()
            .contains(&json!({"name": "certs", "mountPath": "/certs"}))
    );
    assert!(
        container(
            &with(json!({"sidecar.istio.io/interceptionMode": "NONE"})),
            "initContainers",
            "istio-init"
        )
        .is_none()
    );
    let native = with(json!({"sidecar.istio.io/nativeSidecar": "true"}));
    assert!(container(&native, "containers", "istio-proxy").is_none());
    assert_eq!(
        container(&native, "initContainers", "istio-proxy").unwrap()["restartPolicy"],
        "Always"
    );
}

#[test]
fn what_has_no_effect_is_named() {
    let annotations = json!({
        "sidecar.istio.io/logLevle": "debug",
        "traffic.sidecar.istio.io/excludeOutboundPorts": "http",
        "sidecar.istio.io/interceptionMode": "TPROXY",
        "example.com/other": "fine",
    });
    let injection = inject(
        &pod(json!({"annotations": annotations})),
        None,
        &Settings::default(),
    );
    assert_eq!(
        injection.warnings,
        [
            "annotation sidecar.istio.io/interceptionMode: \"TPROXY\" is not REDIRECT or NONE; it has no effect",
            "annotation sidecar.istio.io/logLevle is not known here and has no effect",
            "annotation traffic.sidecar.istio.io/excludeOutboundPorts: \"http\" is not a list of ports separated by commas; it has no effect",
        ]
    );
}

#[test]
fn a_gateway() {
    let mut gateway = pod(
        json!({"annotations": {"inject.istio.io/templates": "gateway"}, "labels": {"istio": "ingressgateway"}}),
    );
    gateway["spec"]["containers"] = json!([{
        "name": "istio-proxy", "image": "auto", "ports": [{"containerPort": 8080}],
        "env": [{"name": "ISTIO_META_REQUESTED_NETWORK_VIEW", "value": "network1"}],
        "volumeMounts": [{"name": "mine", "mountPath": "/mine"}],
    }]);
    let after = applied(&gateway, &Settings::default());
    assert_eq!(after["spec"]["containers"].as_array().unwrap().len(), 1);
    assert_eq!(after["spec"].get("initContainers"), None);
    let proxy = container(&after, "containers", "istio-proxy").unwrap();
    assert_eq!(proxy["image"], Settings::default().proxy_image);
    assert_eq!(proxy["args"][1], "router");
    assert_eq!(proxy["ports"].as_array().unwrap().len(), 2);
    assert_eq!(
        env(&after, "ISTIO_META_REQUESTED_NETWORK_VIEW").unwrap()["value"],
        "network1"
    );
    assert!(env(&after, "ISTIO_META_INTERCEPTION_MODE").is_none());
    assert_eq!(proxy["volumeMounts"].as_array().unwrap().len(), 7);
}

#[test]
fn reviews() {
    let settings = Settings::default();
    let question = |kind: &str, object: Value| {
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {"uid": "u-1", "kind": {"version": "v1", "kind": kind}, "namespace": "shop", "operation": "CREATE", "object": object}})
    };
    let mut pod = pod(json!({"annotations": {"sidecar.istio.io/nope": "x"}}));
    pod["metadata"].as_object_mut().unwrap().remove("namespace");
    let answer = review(&question("Pod", pod.clone()), &settings);
    assert_eq!(answer["response"]["uid"], "u-1");
    assert_eq!(answer["response"]["allowed"], true);
    assert_eq!(answer["response"]["warnings"].as_array().unwrap().len(), 1);
    let patch = base64::engine::general_purpose::STANDARD
        .decode(answer["response"]["patch"].as_str().unwrap())
        .unwrap();
    let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
    json_patch::patch(&mut pod, &patch).unwrap();
    assert_eq!(
        env(&pod, "ISTIO_META_OWNER").unwrap()["value"],
        "kubernetes://apis/apps/v1/namespaces/shop/deployments/reviews-v2"
    );
    for (name, question) in [
        ("not a pod", question("Deployment", json!({"spec": {}}))),
        ("no object", question("Pod", Value::Null)),
        (
            "an odd pod",
            question("Pod", json!({"metadata": 5, "spec": "x"})),
        ),
    ] {
        let answer = review(&question, &settings);
        assert_eq!(answer["response"]["allowed"], true, "{name}");
    }
    for (body, expected) in [
        ("{", "the body is not JSON"),
        (
            "{\"kind\":\"Pod\"}",
            "the body is not an AdmissionReview with a request",
        ),
        (
            "{\"kind\":\"AdmissionReview\"}",
            "the body is not an AdmissionReview with a request",
        ),
    ] {
        let error = review_bytes(body.as_bytes(), &settings)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    assert!(review_bytes(&vec![b' '; hawser_inject::REVIEW_LIMIT + 1], &settings).is_err());
}

#[test]
fn the_url_names_a_remote_cluster() {
    let settings = settings_for_path(&Settings::default(), "/inject/cluster/a--slash--b/net/n2");
    assert_eq!(
        (settings.cluster_id.as_str(), settings.network.as_str()),
        ("a/b", "n2")
    );
    assert_eq!(
        settings_for_path(&Settings::default(), "/inject"),
        Settings::default()
    );
}

#[test]
fn ahead_of_time() {
    let template =
        json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "a"}]}});
    let metadata = json!({"name": "a-v1", "namespace": "shop"});
    for (object, path) in [
        (
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {"template": template}}),
            "/spec/template",
        ),
        (
            json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata, "spec": {"jobTemplate": {"spec": {"template": template}}}}),
            "/spec/jobTemplate/spec/template",
        ),
    ] {
        let (after, warnings) = inject_workload(&object, &Settings::default()).unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        let pod = after.pointer(path).unwrap();
        assert_eq!(
            env(pod, "ISTIO_META_WORKLOAD_NAME").unwrap()["value"],
            "a-v1"
        );
        assert_eq!(pod["metadata"].get("namespace"), None);
        assert_eq!(pod["metadata"].get("ownerReferences"), None);
        assert_eq!(
            inject_workload(&after, &Settings::default()),
            None,
            "a second time"
        );
    }
    for object in [
        json!({"kind": "Service", "spec": {}}),
        json!({"kind": "Deployment", "spec": {"template": 5}}),
    ] {
        assert_eq!(inject_workload(&object, &Settings::default()), None);
    }
}

/// What the proxy is started with: the pod's annotations, ProxyConfigs, then concurrency, an environment variable and the
/// image's type.
#[test]
fn how_a_proxy_is_started() {
    let config = |namespace: &str, label: &str, concurrency: Option<u32>, x: &str, image: &str| {
        ProxyConfig {
            namespace: namespace.into(),
            labels: label
                .split_once('=')
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into_iter()
                .collect(),
            concurrency,
            environment: (!x.is_empty())
                .then(|| ("X".to_owned(), x.to_owned()))
                .into_iter()
                .collect(),
            image_type: image.into(),
        }
    };
    let root = || config("istio-system", "", Some(1), "root", "distroless");
    let own = || config("default", "", Some(2), "", "");
    let selecting = || config("default", "app=reviews", None, "own", "debug");
    let annotated =
        json!({"proxy.istio.io/config": "concurrency: 5\nproxyMetadata: {X: annotation, Y: more}"});
    let none = json!({});
    for (name, annotations, configs, expected) in [
        ("nothing", &none, vec![], ("", "", "")),
        (
            "the mesh",
            &none,
            vec![root()],
            ("1", "root", "-distroless"),
        ),
        (
            "the namespace",
            &none,
            vec![root(), own()],
            ("2", "root", "-distroless"),
        ),
        (
            "the workload",
            &none,
            vec![selecting(), root(), own()],
            ("2", "own", "-debug"),
        ),
        (
            "the pod",
            &annotated,
            vec![root(), own()],
            ("5", "annotation", "-distroless"),
        ),
        (
            "the workload over the pod",
            &annotated,
            vec![root(), own(), selecting()],
            ("5", "own", "-debug"),
        ),
        (
            "others",
            &none,
            vec![
                config("other", "", Some(9), "other", "debug"),
                config("default", "app=other", Some(9), "", ""),
            ],
            ("", "", ""),
        ),
        (
            "the oldest",
            &none,
            vec![own(), config("default", "", Some(9), "", "")],
            ("2", "", ""),
        ),
        (
            "the usual image",
            &none,
            vec![root(), config("default", "", None, "", "default")],
            ("1", "root", ""),
        ),
    ] {
        let settings = Settings {
            proxy_configs: configs,
            ..Settings::default()
        };
        let pod = pod(json!({"labels": {"app": "reviews"}, "annotations": annotations}));
        let after = applied(&pod, &settings);
        let text = |name: &str| {
            let value = env(&after, name).and_then(|v| v["value"].as_str());
            value.unwrap_or_default().to_owned()
        };
        let started: Value = serde_json::from_str(&text("PROXY_CONFIG")).unwrap();
        let concurrency = started.get("concurrency").map(Value::to_string);
        let proxy = container(&after, "containers", "istio-proxy").unwrap();
        let image = proxy["image"].as_str().unwrap();
        let image = image.strip_prefix(&settings.proxy_image).unwrap();
        let found = (concurrency.unwrap_or_default(), text("X"), image.to_owned());
        assert_eq!(
            (found.0.as_str(), found.1.as_str(), found.2.as_str()),
            expected,
            "{name}"
        );
    }
}
