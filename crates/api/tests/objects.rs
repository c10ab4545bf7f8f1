//! Objects: every served version is one type, faults have paths, reading what was written gives the same.

use hawser_api::{Kind, ParseError, manifest, parse};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Parses the only document of `yaml`, and gives the faults as `path: message (help)`.
fn faults(yaml: &str) -> Vec<String> {
    let doc = manifest::read("f.yaml", yaml.as_bytes()).docs.remove(0);
    let faults = match parse(doc.value) {
        Ok(parsed) => parsed.faults,
        Err(ParseError::Invalid { faults, .. }) => faults,
        Err(other) => return vec![other.to_string()],
    };
    faults
        .iter()
        .map(|f| {
            if f.help.is_empty() {
                f.to_string()
            } else {
                format!("{f} ({})", f.help)
            }
        })
        .collect()
}

fn check(name: &str, yaml: &str, expected: &[&str]) {
    assert_eq!(faults(yaml), expected, "{name}");
}

fn virtual_service(spec: &str) -> String {
    format!(
        "{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: a}}, spec: {spec}}}"
    )
}

#[test]
fn faults_have_paths_and_ways_out() {
    check("none", &virtual_service("{hosts: [a]}"), &[]);
    check(
        "unknown field",
        &virtual_service("{http: [{retry: {attempts: 1}}]}"),
        &["spec.http[0].retry: unknown field \"retry\" (did you mean \"retries\"?)"],
    );
    check(
        "wrong type",
        &virtual_service("{hosts: a}"),
        &["spec.hosts: must be a list, not the string \"a\" (write [a])"],
    );
    check(
        "several",
        &virtual_service("{http: [{timeout: 5 minutes, route: [{weight: x}]}]}"),
        &[
            "spec.http[0].route[0].weight: must be a whole number, not the string \"x\"",
            "spec.http[0].timeout: bad duration \"5 minutes\" (write a number and a unit, such as 5s, 300ms, 1m30s or 2h)",
        ],
    );
    check(
        "enum",
        "{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: a}, spec: {mtls: {mode: STRIKT}}}",
        &[
            "spec.mtls.mode: unsupported value \"STRIKT\" (did you mean STRICT? one of UNSET, DISABLE, PERMISSIVE, STRICT)",
        ],
    );
    check(
        "oneof",
        &virtual_service("{http: [{match: [{headers: {x.y: {exact: a, prefix: b}}}]}]}"),
        &[
            "spec.http[0].match[0].headers[x.y]: only one of exact, prefix may be set (keep one of exact, prefix)",
        ],
    );
    check(
        "range",
        &virtual_service("{http: [{route: [{destination: {host: a, port: {number: -1}}}]}]}"),
        &[
            "spec.http[0].route[0].destination.port.number: the number -1 is out of range (use a number from 0 to 4294967295)",
        ],
    );
    check(
        "numbers with a point or an exponent that are whole",
        &virtual_service(
            "{http: [{route: [{destination: {host: a, port: {number: 1e+03}}, weight: 50.0}]}]}",
        ),
        &[],
    );
    check(
        "numbers that are not whole",
        &virtual_service("{http: [{route: [{weight: 0.5}, {weight: 1e+10}, {weight: 1e+300}]}]}"),
        &[
            "spec.http[0].route[0].weight: must be a whole number, not the number 0.5",
            "spec.http[0].route[1].weight: the number 10000000000 is out of range (use a number from -2147483648 to 2147483647)",
            "spec.http[0].route[2].weight: must be a whole number, not the number 1e+300",
        ],
    );
    check(
        "no kind",
        "{apiVersion: v1}",
        &["not a Kubernetes object: it has no kind"],
    );
    check(
        "unknown kind",
        "{apiVersion: v1, kind: Pot}",
        &["kind Pot of v1 is not known"],
    );
    check(
        "version",
        "{apiVersion: networking.istio.io/v2, kind: Sidecar}",
        &["Sidecar has no version v2; versions are v1alpha3, v1beta1, v1"],
    );
    check(
        "core types are read in part",
        "{apiVersion: v1, kind: Pod, spec: {tolerations: [], nodeName: n1}}",
        &[],
    );
    check(
        "a secret's value is not repeated",
        "{apiVersion: v1, kind: Secret, stringData: {a: [x]}, data: {b: '***'}}",
        &[
            "data.b: must be base64 (encode the value with base64)",
            "stringData.a: must be a string",
        ],
    );
}

#[test]
fn every_version_is_one_type() {
    for version in ["v1alpha3", "v1beta1", "v1"] {
        let value = json!({"apiVersion": format!("networking.istio.io/{version}"), "kind": "Gateway",
            "metadata": {"name": "g", "namespace": "n", "resourceVersion": "7", "creationTimestamp": "2026-01-02T03:04:05Z"},
            "spec": {"selector": {"istio": "x"}, "servers": [{"port": {"number": 80, "name": "a", "protocol": "HTTP"}, "hosts": ["*"]}]}});
        let parsed = parse(value.clone()).unwrap();
        let mut preferred = value;
        preferred["apiVersion"] = json!("networking.istio.io/v1");
        assert_eq!(parsed.resource.to_value(), preferred);
        assert_eq!(parsed.version, version);
    }
    let legacy = parse(json!({"apiVersion": "extensions/v1beta1", "kind": "Deployment", "metadata": {"name": "d"}})).unwrap();
    assert_eq!(legacy.resource.kind(), Kind::Deployment);
}

#[test]
fn names_in_the_table_are_unique() {
    let mut seen = std::collections::BTreeSet::new();
    for kind in Kind::ALL {
        let info = kind.info();
        assert!(seen.insert((info.group, info.name)), "{kind}");
        assert_eq!(Kind::find(info.group, info.name), Some(*kind));
        assert!(!info.versions.is_empty());
    }
}

/// JSON shaped like an object: field names that exist, values that may not fit.
fn arbitrary_spec() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z*./0-9-]{0,12}".prop_map(Value::from),
        prop::sample::select(vec![
            "5s",
            "1m30s",
            "STRICT",
            "MUTUAL",
            "HTTP",
            "10.0.0.0/8",
            "*.local"
        ])
        .prop_map(Value::from),
    ];
    let key = prop::sample::select(vec![
        "hosts",
        "http",
        "match",
        "route",
        "destination",
        "host",
        "port",
        "number",
        "weight",
        "uri",
        "exact",
        "prefix",
        "headers",
        "tls",
        "mode",
        "servers",
        "selector",
        "matchLabels",
        "labels",
        "subsets",
        "trafficPolicy",
        "connectionPool",
        "tcp",
        "timeout",
        "endpoints",
        "address",
        "ports",
        "rules",
        "from",
        "to",
        "when",
        "source",
        "principals",
        "configPatches",
        "patch",
        "value",
        "mtls",
        "portLevelMtls",
        "8080",
        "fault",
        "abort",
        "httpStatus",
        "jwtRules",
        "export_to",
        "x",
    ]);
    leaf.prop_recursive(6, 64, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.clone().prop_map(str::to_owned), inner, 0..5)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn reading_never_panics_and_writing_keeps_everything(kind in prop::sample::select(Kind::ALL), spec in arbitrary_spec()) {
        let info = kind.info();
        let mut value = json!({"apiVersion": info.api_version(), "kind": info.name, "metadata": {"name": "a"}});
        if info.has_spec {
            value["spec"] = spec;
        } else if let (Value::Object(object), Value::Object(fields)) = (&mut value, spec) {
            for (key, field) in fields {
                object.entry(key).or_insert(field);
            }
        }
        if let Ok(parsed) = parse(value) {
            let again = parse(parsed.resource.to_value()).unwrap();
            prop_assert_eq!(again.faults, vec![]);
            prop_assert_eq!(again.resource, parsed.resource);
        }
    }

    #[test]
    fn reading_a_file_never_panics(text in "[-a-z0-9:{}\\[\\]*&|>'\"#%!? \n\t.,]{0,200}", path in "[a-z.\\[\\]0-9]{0,20}") {
        for doc in manifest::read("f", text.as_bytes()).docs {
            doc.position(&path);
            let _ = parse(doc.value);
        }
    }

    #[test]
    fn bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        manifest::read("f", &bytes);
    }

    #[test]
    fn durations_survive_writing(nanos in any::<i64>()) {
        let duration = hawser_api::Duration::from_nanos(nanos);
        prop_assert_eq!(hawser_api::Duration::parse(&duration.to_string()), Ok(duration));
    }

    #[test]
    fn durations_never_panic(text in "[-+]?[0-9.]{0,25}(ns|us|ms|s|m|h|µs|x)?[0-9.a-z]{0,6}") {
        let _ = hawser_api::Duration::parse(&text);
    }
}
