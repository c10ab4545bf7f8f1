use std::time::SystemTime;

use proptest::prelude::*;
use serde_json::{Map, Value};

use super::kind;
use crate::schema::managed::{Writer, apply, update};
use crate::schema::{CrdSchema, IncludeObject, Schemas, crd_table};

const KINDS: &[(&str, &str)] = &[
    ("v1", "Pod"),
    ("v1", "Service"),
    ("v1", "Event"),
    ("apps/v1", "Deployment"),
    ("networking.k8s.io/v1", "Ingress"),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
];

/// Values whose names are likely to mean something.
fn json() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "metadata",
        "spec",
        "status",
        "template",
        "containers",
        "name",
        "ports",
        "labels",
        "port",
        "protocol",
        "type",
        "selector",
        "finalizers",
        "items",
        "properties",
        "data",
        "$patch",
        "$retainKeys",
        "$setElementOrder/containers",
        "managedFields",
        "default",
        "x",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i32>().prop_map(Value::from),
        prop::sample::select(vec![
            "",
            "a",
            "delete",
            "replace",
            "object",
            "string",
            "2026-01-01T00:00:00Z"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec((names.clone(), inner), 0..6).prop_map(|pairs| Value::Object(
                pairs
                    .into_iter()
                    .map(|(k, v)| (k.to_owned(), v))
                    .collect::<Map<_, _>>()
            )),
        ]
    })
}

fn object() -> impl Strategy<Value = Value> {
    json().prop_map(|v| {
        if v.is_object() {
            v
        } else {
            Value::Object(Map::new())
        }
    })
}

proptest! {
    #[test]
    fn protobuf_never_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Schemas::builtin().decode_protobuf(&body);
        let head = b"k8s\0\x0a\x09\x0a\x02v1\x12\x03Pod\x12".to_vec();
        let _ = Schemas::builtin().decode_protobuf(&[head, vec![body.len() as u8 & 0x7f], body].concat());
    }

    #[test]
    fn nothing_panics_on_any_json(mut a in json(), b in json(), at in 0..KINDS.len()) {
        let schemas = Schemas::builtin();
        let kind = kind(KINDS[at].0, KINDS[at].1);
        let _ = schemas.strategic_merge(kind, &a, &b);
        let _ = schemas.type_error(kind, &a);
        let _ = schemas.table(kind, &[&a, &b], SystemTime::UNIX_EPOCH, IncludeObject::Object);
        let _ = crd_table(&b, &[&a], SystemTime::UNIX_EPOCH, IncludeObject::None);
        let _ = schemas.validate(kind, &a, Some(&b));
        if let Ok(schema) = CrdSchema::parse(&b) {
            let _ = schema.prune(&mut a);
            schema.default(&mut a);
            let _ = schema.validate(&a, Some(&b));
        }
        schemas.prune(kind, &mut a);
        schemas.default(kind, &mut a);
        let _ = schemas.validate(kind, &a, None);
    }

    #[test]
    fn an_empty_strategic_patch_changes_nothing(a in object(), at in 0..KINDS.len()) {
        let kind = kind(KINDS[at].0, KINDS[at].1);
        prop_assert_eq!(Schemas::builtin().strategic_merge(kind, &a, &Value::Object(Map::new())), Ok(a));
    }

    #[test]
    fn applying_twice_is_applying_once(mut a in object(), mut b in object(), at in 0..KINDS.len()) {
        let schemas = Schemas::builtin();
        let kind = kind(KINDS[at].0, KINDS[at].1);
        schemas.prune(kind, &mut a);
        schemas.prune(kind, &mut b);
        if schemas.type_error(kind, &a).or(schemas.type_error(kind, &b)).is_some() {
            return Ok(());
        }
        let schema = schemas.type_schema(kind).unwrap();
        let writer = |manager| Writer { manager, subresource: "", now: "2026-01-01T00:00:00Z" };
        update(schema, None, &mut a, writer("u"));
        if let Ok(once) = apply(schema, Some(&a), &b, writer("m"), true) {
            let twice = apply(schema, Some(&once), &b, writer("m"), false);
            prop_assert_eq!(twice, Ok(once));
        }
    }

    #[test]
    fn pruning_and_defaulting_settle(mut a in object(), at in 0..KINDS.len()) {
        let schemas = Schemas::builtin();
        let kind = kind(KINDS[at].0, KINDS[at].1);
        schemas.prune(kind, &mut a);
        let pruned = a.clone();
        prop_assert!(schemas.prune(kind, &mut a).is_empty());
        prop_assert_eq!(&a, &pruned);
        schemas.default(kind, &mut a);
        let defaulted = a.clone();
        schemas.default(kind, &mut a);
        prop_assert_eq!(a, defaulted);
    }
}
