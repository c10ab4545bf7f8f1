//! The committed CRDs are those that the types give. `UPDATE=1 cargo test -p hawser-api --test crds` writes them.

use hawser_api::{crd, manifest, yaml};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn committed_crds_are_fresh() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    let update = std::env::var_os("UPDATE").is_some();
    let mut names = BTreeSet::new();
    for crd in crd::istio_crds() {
        let name = format!("{}.yaml", crd["metadata"]["name"].as_str().unwrap());
        let path = dir.join(&name);
        let text = yaml::to_string(&crd);
        if update {
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == text,
            "{name} is stale: run this test with UPDATE=1"
        );
        names.insert(name);
    }
    let present: BTreeSet<String> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(present, names);
}

/// Structural schemas: every node has a type or says that it has none, and there is no reference.
fn structural(schema: &Value, path: &str) {
    let free = schema["x-kubernetes-preserve-unknown-fields"] == true
        || schema["x-kubernetes-int-or-string"] == true;
    assert!(schema["type"].is_string() || free, "{path} has no type");
    assert!(schema.get("$ref").is_none(), "{path}");
    for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
        structural(inner, &format!("{path}.{key}"));
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get(key) {
            structural(inner, &format!("{path}.{key}"));
        }
    }
}

#[test]
fn schemas_are_structural() {
    for crd in crd::istio_crds() {
        let versions = crd["spec"]["versions"].as_array().unwrap();
        assert_eq!(versions.iter().filter(|v| v["storage"] == true).count(), 1);
        for version in versions {
            structural(
                &version["schema"]["openAPIV3Schema"],
                crd["metadata"]["name"].as_str().unwrap(),
            );
        }
    }
}

#[test]
fn every_field_is_listed() {
    let fields = crd::fields();
    let has = |path: &str, kind: &str| {
        fields
            .iter()
            .any(|(k, p, _)| p == path && k.info().name == kind)
    };
    assert!(has("spec.http[].match[].headers{}.exact", "VirtualService"));
    assert!(has("spec.portLevelMtls{}.mode", "PeerAuthentication"));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[-a-z0-9:#'\"{}\\[\\],&*!|>%@ \n]{0,12}".prop_map(Value::from),
        prop::sample::select(vec![
            "yes", "0x1", "1e3", "~", "null", "01", "a: b", "- a", "#", "a\nb", "a\n", " a\n"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[-a-z0-9. :#]{0,6}", inner, 0..4)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_as_yaml_reads_the_same(value in any_json()) {
        let wrapped = serde_json::json!({"v": value});
        let text = yaml::to_string(&wrapped);
        let manifest = manifest::read("f", text.as_bytes());
        prop_assert_eq!(&manifest.errors, &vec![], "{}", text);
        prop_assert_eq!(&manifest.docs[0].value, &wrapped, "{}", text);
    }
}
