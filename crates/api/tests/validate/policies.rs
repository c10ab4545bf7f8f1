//! Security, telemetry, extensions.

use crate::{below, check, findings};
use hawser_api::validate::check_document;
use serde_json::json;

#[test]
fn authentication() {
    let pa = |spec: &str, expected: &[&str]| check("PeerAuthentication", spec, expected);
    pa("{mtls: {mode: STRICT}}", &[]);
    pa(
        "{portLevelMtls: {8080: {mode: STRICT}}}",
        &["spec.portLevelMtls"],
    );
    pa(
        "{selector: {matchLabels: {a: b}}, portLevelMtls: {80800: {mode: STRICT}}}",
        &["spec.portLevelMtls.80800"],
    );
    pa(
        "{selector: {matchLabels: {a: b}}, portLevelMtls: {http: {mode: STRICT}}}",
        &["spec.portLevelMtls.http"],
    );
    let rule = |rule: &str, expected: &[&str]| {
        let expected: Vec<String> = expected
            .iter()
            .map(|p| format!("spec.jwtRules[0]{p}"))
            .collect();
        assert_eq!(
            findings("RequestAuthentication", &format!("{{jwtRules: [{rule}]}}")),
            expected,
            "{rule}"
        );
    };
    rule("{issuer: a, jwksUri: 'https://a.b/keys'}", &[]);
    rule("{audiences: [a]}", &[".issuer"]);
    rule("{issuer: a, jwksUri: 'ftp://a.b'}", &[".jwksUri"]);
    rule(
        "{issuer: a, jwksUri: 'https://a.b', jwks: '{\"keys\": []}'}",
        &[""],
    );
    rule(
        "{issuer: a, jwks: '{\"keys\": [{\"kty\": \"RSA\", \"n\": \"AQAB\", \"e\": \"AQAB\"}]}'}",
        &[],
    );
    rule(
        "{issuer: a, jwks: '{\"keys\": [{\"kty\": \"RSA\"}]}'}",
        &[".jwks"],
    );
    rule(
        "{issuer: a, fromHeaders: [{prefix: x}], timeout: 0s}",
        &[".fromHeaders[0].name", ".timeout"],
    );
    rule(
        "{issuer: a, outputClaimToHeaders: [{header: x_y, claim: a}]}",
        &[".outputClaimToHeaders[0].header"],
    );
}

#[test]
fn authorization() {
    let ap = |spec: &str, expected: &[&str]| check("AuthorizationPolicy", spec, expected);
    let rule = |rule: &str, expected: &[&str]| {
        let expected: Vec<String> = expected.iter().map(|p| below("spec.rules[0]", p)).collect();
        assert_eq!(
            findings("AuthorizationPolicy", &format!("{{rules: [{rule}]}}")),
            expected,
            "{rule}"
        );
    };
    ap("{}", &[]);
    ap("{action: DENY}", &["spec.rules"]);
    ap("{action: ALLOW, provider: {name: a}}", &["spec.provider"]);
    ap(
        "{action: CUSTOM, provider: {name: a}, rules: [{from: [{source: {principals: [a]}}]}]}",
        &["spec.rules[0].from[0].source.principals"],
    );
    ap(
        "{action: DENY, rules: [{to: [{operation: {methods: [GET]}}]}]}",
        &["warning spec.rules[0]"],
    );
    ap(
        "{action: DENY, rules: [{to: [{operation: {methods: [GET], ports: ['80']}}]}]}",
        &[],
    );
    ap(
        "{selector: {matchLabels: {a: b}}, targetRefs: [{kind: Service, name: a}]}",
        &["spec"],
    );
    ap(
        "{targetRefs: [{kind: Pod, name: a}]}",
        &["spec.targetRefs[0]"],
    );
    ap(
        "{targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: a}]}",
        &[],
    );
    rule("{}", &[]);
    rule("{from: [{}]}", &[".from[0].source"]);
    rule("{from: [{source: {}}]}", &[".from[0].source"]);
    rule(
        "{from: [{source: {ipBlocks: [10.0.0.0/33, ::1]}}]}",
        &[".from[0].source.ipBlocks[0]"],
    );
    rule(
        "{from: [{source: {namespaces: ['']}}]}",
        &[".from[0].source.namespaces[0]"],
    );
    rule(
        "{from: [{source: {serviceAccounts: [a/b/c]}}]}",
        &[".from[0].source.serviceAccounts[0]"],
    );
    rule(
        "{to: [{operation: {ports: [http]}}]}",
        &[".to[0].operation.ports[0]"],
    );
    rule(
        "{to: [{operation: {paths: ['/a/{*}/b', '/{**}', '/a*', '*/b']}}]}",
        &[],
    );
    rule(
        "{to: [{operation: {paths: ['/{*}/{id}', '/{*}/*']}}]}",
        &[".to[0].operation.paths[0]", ".to[0].operation.paths[1]"],
    );
    for path in [
        "/{**}/a",
        "/a/{*}/{**}/b/",
        "{*}",
        "/a%20b/{*}/c;v=1",
        "/a/*/b*",
        "//",
    ] {
        rule(
            &format!("{{to: [{{operation: {{paths: ['{path}']}}}}]}}"),
            &[],
        );
    }
    for path in [
        "/{id}",
        "/a{*}",
        "/{*}{**}",
        "/a/b{",
        "/{**}/{*}",
        "/{**}/a/{**}",
        "/{*}/a*",
        "/{*}//a",
        "/{*}/a b",
        "/{**}/a#b",
    ] {
        rule(
            &format!("{{to: [{{operation: {{notPaths: ['{path}']}}}}]}}"),
            &[".to[0].operation.notPaths[0]"],
        );
    }
    rule(
        "{when: [{key: 'request.headers[a]', values: [b]}, {key: source.ip, notValues: [10.0.0.0/8]}]}",
        &[],
    );
    rule(
        "{when: [{key: request.headers, values: [b]}]}",
        &[".when[0].key"],
    );
    rule(
        "{when: [{key: source.ip, values: [x]}]}",
        &[".when[0].values[0]"],
    );
    rule(
        "{when: [{key: destination.labels, values: [x]}]}",
        &[".when[0].key"],
    );
    rule(
        "{when: [{key: destination.port, values: ['70000']}]}",
        &[".when[0].values[0]"],
    );
}

#[test]
fn telemetry_extensions_and_patches() {
    let te = |spec: &str, expected: &[&str]| check("Telemetry", spec, expected);
    te(
        "{accessLogging: [{filter: {expression: 'response.code >= 400 && has(request.headers[\"a\"])'}}]}",
        &[],
    );
    te(
        "{accessLogging: [{filter: {expression: 'response.code >='}}]}",
        &["spec.accessLogging[0].filter.expression"],
    );
    te(
        "{tracing: [{randomSamplingPercentage: 101}]}",
        &["spec.tracing[0].randomSamplingPercentage"],
    );
    te("{tracing: [{}, {}]}", &["warning spec.tracing"]);
    te(
        "{tracing: [{customTags: {a: {literal: {value: ''}}}}]}",
        &["spec.tracing[0].customTags.a.literal.value"],
    );
    te(
        "{metrics: [{overrides: [{tagOverrides: {a: {operation: REMOVE, value: b}}}]}]}",
        &["spec.metrics[0].overrides[0].tagOverrides.a.value"],
    );
    te(
        "{metrics: [{overrides: [{match: {metric: REQUEST_COUNT, customMetric: a}}]}]}",
        &["spec.metrics[0].overrides[0].match"],
    );
    te(
        "{metrics: [{providers: [{}]}]}",
        &["spec.metrics[0].providers[0].name"],
    );
    let wp = |spec: &str, expected: &[&str]| check("WasmPlugin", spec, expected);
    wp("{url: 'oci://a.b/c:1', sha256: abc}", &["spec.sha256"]);
    wp(
        "{url: 'a.b/c:1', match: [{ports: [{number: 0}]}]}",
        &["spec.match[0].ports[0].number"],
    );
    wp("{}", &["spec.url"]);
    check("TrafficExtension", "{phase: AUTHN}", &["spec"]);
    check(
        "TrafficExtension",
        "{lua: {inlineCode: x}, wasm: {url: 'oci://a'}}",
        &["spec"],
    );
    check("TrafficExtension", "{lua: {inlineCode: x}}", &[]);
    let ef = |patch: &str, expected: &[&str]| {
        let mut all = vec!["warning spec".to_owned()];
        all.extend(expected.iter().map(|p| below("spec.configPatches[0]", p)));
        assert_eq!(
            findings("EnvoyFilter", &format!("{{configPatches: [{patch}]}}")),
            all,
            "{patch}"
        );
    };
    ef(
        "{applyTo: CLUSTER, patch: {operation: MERGE_AND_REPLACE_LIST, value: {name: a}}}",
        &[],
    );
    ef(
        "{applyTo: CLUSTER, patch: {operation: MERGE, value: {name: a}}}",
        &[],
    );
    ef(
        "{patch: {operation: MERGE, value: {name: a}}}",
        &[".applyTo"],
    );
    ef(
        "{applyTo: CLUSTER, patch: {value: {name: a}}}",
        &[".patch.operation"],
    );
    ef(
        "{applyTo: CLUSTER, patch: {operation: MERGE}}",
        &[".patch.value"],
    );
    ef(
        "{applyTo: CLUSTER, match: {listener: {portNumber: 80}}, patch: {operation: REMOVE}}",
        &[".match"],
    );
    ef(
        "{applyTo: CLUSTER, match: {proxy: {proxyVersion: '('}}, patch: {operation: REMOVE}}",
        &[".match.proxy.proxyVersion"],
    );
    let waypoint = |apply_to: &str, waypoint: &str, expected: &[&str]| {
        ef(
            &format!(
                "{{applyTo: {apply_to}, match: {{context: WAYPOINT, waypoint: {waypoint}}}, patch: {{operation: REMOVE}}}}"
            ),
            expected,
        );
    };
    let filter =
        "{filter: {name: envoy.filters.network.http_connection_manager, subFilter: {name: a}}}";
    let route = "{route: {name: a}}";
    waypoint("HTTP_FILTER", filter, &[]);
    waypoint(
        "HTTP_FILTER",
        "{portNumber: 80}",
        &[".match.waypoint.filter"],
    );
    waypoint(
        "HTTP_FILTER",
        "{filter: {name: b, subFilter: {name: a}}}",
        &[".match.waypoint.filter"],
    );
    waypoint(
        "HTTP_FILTER",
        "{filter: {name: envoy.filters.network.http_connection_manager}}",
        &[".match.waypoint.filter"],
    );
    waypoint("NETWORK_FILTER", "{filter: {name: b}}", &[]);
    waypoint("FILTER_CHAIN", route, &[".match.waypoint.route"]);
    waypoint("HTTP_ROUTE", route, &[]);
    waypoint("ROUTE_CONFIGURATION", filter, &[".match.waypoint.filter"]);
    waypoint("CLUSTER", "{portNumber: 80}", &[]);
    waypoint("CLUSTER", route, &[".match.waypoint.route"]);
    waypoint("LISTENER", "{portNumber: 80}", &[".match.context"]);
    waypoint("BOOTSTRAP", "{portNumber: 80}", &[".match.context"]);
    ef(
        "{applyTo: CLUSTER, match: {waypoint: {portNumber: 80}}, patch: {operation: REMOVE}}",
        &[".match"],
    );
    ef(
        "{applyTo: LISTENER, match: {listener: {filterChain: {filter: {name: envoy.tcp_proxy}}}}, patch: {operation: REMOVE}}",
        &["warning .match.listener.filterChain.filter"],
    );
}

#[test]
fn annotations_that_istio_reads() {
    let object = |kind: &str,
                  group: &str,
                  annotation: serde_json::Value,
                  spec: serde_json::Value| {
        let value = json!({"apiVersion": group, "kind": kind, "metadata": {"name": "x", "annotations": annotation}, "spec": spec});
        check_document(value, "n")
            .findings
            .iter()
            .map(|f| f.path.clone())
            .collect::<Vec<_>>()
    };
    let security = "security.istio.io/v1";
    assert_eq!(
        object(
            "AuthorizationPolicy",
            security,
            json!({"istio.io/dry-run": "true"}),
            json!({})
        ),
        Vec::<String>::new()
    );
    assert_eq!(
        object(
            "AuthorizationPolicy",
            security,
            json!({"istio.io/dry-run": "maybe"}),
            json!({})
        ),
        ["metadata.annotations[istio.io/dry-run]"]
    );
    assert_eq!(
        object(
            "PeerAuthentication",
            security,
            json!({"istio.io/dry-run": "true"}),
            json!({})
        ),
        ["metadata.annotations[istio.io/dry-run]"]
    );
}

#[test]
fn metadata_that_any_cluster_refuses() {
    let object = |metadata: serde_json::Value| {
        let value = json!({"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": metadata, "spec": {}});
        check_document(value, "n")
            .findings
            .iter()
            .map(|f| f.path.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(object(json!({"name": "a.b-c"})), Vec::<String>::new());
    assert_eq!(object(json!({"name": "A_b"})), ["metadata.name"]);
    assert_eq!(object(json!({})), ["metadata.name"]);
    assert_eq!(
        object(json!({"name": "a", "label": {}})),
        ["metadata.label"]
    );
    assert_eq!(
        object(json!({"name": "a", "labels": {"x": "a b"}})),
        ["metadata.labels.x"]
    );
}

#[test]
fn urls_are_read_as_go_reads_them() {
    let wp = |url: &str, ok: bool| {
        let expected: &[&str] = if ok { &[] } else { &["spec.url"] };
        check("WasmPlugin", &format!("{{url: '{url}'}}"), expected);
    };
    wp("oci://reg.test/p:1", true);
    wp("reg.test/p:1", true);
    wp("/opt/p.wasm", true);
    // A registry's port makes its host a scheme.
    wp("reg.test:5000/p", false);
    wp("{host}/p", false);
    let keys = |uri: &str, ok: bool| {
        let expected: &[&str] = if ok {
            &[]
        } else {
            &["spec.jwtRules[0].jwksUri"]
        };
        let spec = format!("{{jwtRules: [{{issuer: a, jwksUri: '{uri}'}}]}}");
        check("RequestAuthentication", &spec, expected);
    };
    keys("https://a.test/keys", true);
    keys("HTTPS://a.test:8443/keys?v=1", true);
    keys("a.test/keys", false);
    keys("ftp://a.test/keys", false);
    keys("https://a.test:port/keys", false);
}

#[test]
fn what_is_null_is_absent_and_items_must_not_be() {
    check("PeerAuthentication", "{mtls: null}", &[]);
    check("AuthorizationPolicy", "{rules: [null]}", &["spec.rules[0]"]);
}
