//! Whatever a pod looks like: injection does not panic, its patch applies, and a second run changes nothing.

use hawser_inject::{Settings, inject, inject_workload, review};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Any JSON, with the names that matter more often than chance would have them.
fn anything() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        Just("istio-proxy".to_owned()),
        Just("true".to_owned()),
        Just("auto".to_owned()),
        Just("Pod".to_owned()),
        Just("ReplicaSet".to_owned()),
        "[ -~]{0,12}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text.prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        let key = prop::sample::select(vec![
            "metadata",
            "spec",
            "labels",
            "annotations",
            "containers",
            "initContainers",
            "volumes",
            "name",
            "image",
            "env",
            "ports",
            "volumeMounts",
            "ownerReferences",
            "controller",
            "kind",
            "template",
            "hostNetwork",
            "sidecar.istio.io/inject",
            "sidecar.istio.io/status",
            "inject.istio.io/templates",
            "proxy.istio.io/config",
            "sidecar.istio.io/userVolume",
            "sidecar.istio.io/nativeSidecar",
            "pod-template-hash",
            "app",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map(key, inner, 0..6).prop_map(|fields| Value::Object(
                fields
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect::<Map<_, _>>()
            )),
        ]
    })
}

proptest! {
    #[test]
    fn injection_applies_and_settles(metadata in anything(), spec in anything()) {
        let settings = Settings::default();
        let mut pod = json!({"kind": "Pod", "metadata": metadata, "spec": spec});
        let injection = inject(&pod, None, &settings);
        let objects = pod["metadata"].is_object() && pod["spec"].is_object();
        if objects {
            let patch: json_patch::Patch = serde_json::from_value(Value::Array(injection.patch)).unwrap();
            json_patch::patch(&mut pod, &patch).unwrap();
            prop_assert_eq!(inject(&pod, None, &settings).patch, Vec::<Value>::new());
        }
        let _ = inject_workload(&json!({"kind": "Deployment", "metadata": pod["metadata"], "spec": {"template": pod}}), &settings);
        let question = json!({"kind": "AdmissionReview", "request": {"uid": "u", "kind": {"kind": "Pod"}, "object": pod}});
        prop_assert_eq!(&review(&question, &settings)["response"]["allowed"], true);
    }
}
