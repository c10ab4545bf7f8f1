use serde_json::{Value, json};

use crate::schema::{DecodeError, Schemas};

/// A length-delimited field.
fn bytes(tag: u32, value: &[u8]) -> Vec<u8> {
    let mut out = varint(u64::from(tag << 3 | 2));
    out.extend(varint(value.len() as u64));
    out.extend_from_slice(value);
    out
}

fn number(tag: u32, value: u64) -> Vec<u8> {
    let mut out = varint(u64::from(tag << 3));
    out.extend(varint(value));
    out
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let meta = [bytes(1, api_version.as_bytes()), bytes(2, kind.as_bytes())].concat();
    [
        b"k8s\0".to_vec(),
        bytes(1, &meta),
        bytes(2, raw),
        bytes(3, b""),
        bytes(4, b""),
    ]
    .concat()
}

fn check(api_version: &str, kind: &str, raw: &[u8], expected: Value) {
    let mut expected = expected;
    expected["apiVersion"] = api_version.into();
    expected["kind"] = kind.into();
    assert_eq!(
        Schemas::builtin().decode_protobuf(&envelope(api_version, kind, raw)),
        Ok(expected)
    );
}

#[test]
fn messages_become_json() {
    // As Go writes it: zero strings and numbers are there, and say nothing.
    let meta = [
        bytes(1, b"n"),
        bytes(2, b""),
        bytes(3, b"ns"),
        number(7, 0),
        bytes(8, b""),
    ]
    .concat();
    check(
        "v1",
        "Namespace",
        &[bytes(1, &meta), bytes(2, b""), bytes(3, &bytes(1, b""))].concat(),
        json!({"metadata": {"name": "n", "namespace": "ns"}, "spec": {}, "status": {}}),
    );

    let entry = [bytes(1, b"k"), bytes(2, b"v")].concat();
    check(
        "v1",
        "ConfigMap",
        &[bytes(1, &meta), bytes(2, &entry)].concat(),
        json!({"metadata": {"name": "n", "namespace": "ns"}, "data": {"k": "v"}}),
    );

    let entry = [bytes(1, b"k"), bytes(2, &[0, 255])].concat();
    check(
        "v1",
        "Secret",
        &[bytes(2, &entry), bytes(3, b"Opaque")].concat(),
        json!({"data": {"k": "AP8="}, "type": "Opaque"}),
    );

    check(
        "v1",
        "DeleteOptions",
        &[number(1, 0), bytes(4, b"Background")].concat(),
        json!({"gracePeriodSeconds": 0, "propagationPolicy": "Background"}),
    );
    check(
        "authentication.k8s.io/v1",
        "TokenRequest",
        &bytes(2, &[bytes(1, b"aud"), number(4, 600)].concat()),
        json!({"spec": {"audiences": ["aud"], "expirationSeconds": 600}}),
    );
}

#[test]
fn special_types_have_their_json_form() {
    // Inlined structs, IntOrString, Quantity and Time.
    let quantity = [bytes(1, b"cpu"), bytes(2, &bytes(1, b"100m"))].concat();
    let probe = bytes(
        1,
        &bytes(
            2,
            &[
                bytes(1, b"/"),
                bytes(2, &[number(1, 1), number(2, 0), bytes(3, b"http")].concat()),
            ]
            .concat(),
        ),
    );
    let container = [
        bytes(1, b"c"),
        bytes(8, &bytes(1, &quantity)),
        bytes(10, &probe),
        number(18, 0),
    ]
    .concat();
    let volume = [bytes(1, b"v"), bytes(2, &bytes(2, b""))].concat();
    let meta = bytes(8, &[number(1, 1_767_225_600), number(2, 0)].concat());
    let spec = [bytes(1, &volume), bytes(2, &container), number(4, 30)].concat();
    check(
        "v1",
        "Pod",
        &[bytes(1, &meta), bytes(2, &spec)].concat(),
        json!({
            "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {
                "volumes": [{"name": "v", "emptyDir": {}}],
                "containers": [{
                    "name": "c", "resources": {"limits": {"cpu": "100m"}},
                    "livenessProbe": {"httpGet": {"path": "/", "port": "http"}},
                }],
                "terminationGracePeriodSeconds": 30,
            },
        }),
    );
    // A zero that a pointer holds counts.
    check(
        "apps/v1",
        "Deployment",
        &bytes(2, &number(1, 0)),
        json!({"spec": {"replicas": 0}}),
    );
}

#[test]
fn what_is_no_message_is_refused() {
    let schemas = Schemas::builtin();
    assert_eq!(schemas.decode_protobuf(b"{}"), Err(DecodeError::Prefix));
    assert!(matches!(
        schemas.decode_protobuf(b"k8s\0\x0a\xff"),
        Err(DecodeError::Malformed(_))
    ));
    let unknown = schemas.decode_protobuf(&envelope("v1", "Nope", b""));
    assert!(matches!(unknown, Err(DecodeError::UnknownKind { .. })));
}
