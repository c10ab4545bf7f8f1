//! VirtualService.

use crate::{below, check, findings};

/// A VirtualService of host a.b with one HTTP route, with paths below that route.
#[track_caller]
fn check_route(route: &str, expected: &[&str]) {
    let expected: Vec<String> = expected.iter().map(|p| below("spec.http[0]", p)).collect();
    let spec = format!("{{hosts: [a.b], http: [{route}]}}");
    assert_eq!(findings("VirtualService", &spec), expected, "{route}");
}

#[test]
fn virtual_services() {
    let vs = |spec: &str, expected: &[&str]| check("VirtualService", spec, expected);
    vs(
        "{hosts: [a.b, '*.c'], http: [{route: [{destination: {host: a}}]}]}",
        &[],
    );
    vs("{hosts: [a.b]}", &["spec"]);
    vs(
        "{hosts: ['*'], http: [{route: [{destination: {host: a}}]}]}",
        &["spec.hosts[0]"],
    );
    vs(
        "{hosts: ['*'], gateways: [g], http: [{route: [{destination: {host: a}}]}]}",
        &[],
    );
    vs(
        "{hosts: ['*'], gateways: [g, mesh], http: [{route: [{destination: {host: a}}]}]}",
        &["spec.hosts[0]"],
    );
    vs(
        "{hosts: [a_b], http: [{route: [{destination: {host: a}}]}]}",
        &["spec.hosts[0]"],
    );
    vs(
        "{hosts: [10.0.0.1], http: [{route: [{destination: {host: a}}]}]}",
        &[],
    );
    vs(
        "{hosts: ['*.b', a.b], http: [{route: [{destination: {host: a}}]}]}",
        &["spec.hosts"],
    );
    vs(
        "{hosts: [a.b], gateways: [n/g, g.n.svc], http: [{route: [{destination: {host: a}}]}]}",
        &["warning spec.gateways[1]"],
    );
    vs(
        "{hosts: [a.b], gateways: [n/], http: [{route: [{destination: {host: a}}]}]}",
        &["spec.gateways[0]"],
    );
    vs(
        "{hosts: [a.b], exportTo: ['.', ns], http: [{route: [{destination: {host: a}}]}]}",
        &["spec.exportTo[1]"],
    );
    vs(
        "{hosts: [a.b], exportTo: ['*', m], http: [{route: [{destination: {host: a}}]}]}",
        &["spec.exportTo"],
    );
    vs(
        "{hosts: [a.b], exportTo: ['~'], http: [{route: [{destination: {host: a}}]}]}",
        &["spec.exportTo[0]"],
    );
    vs(
        "{gateways: [g], tcp: [{route: [{destination: {host: a}}]}]}",
        &["spec.gateways", "spec.tcp"],
    );
    vs(
        "{hosts: [a.b], tls: [{match: [{sniHosts: [x.a.b]}], route: [{destination: {host: a}}]}]}",
        &["spec.tls[0].match[0].sniHosts[0]"],
    );
    vs(
        "{hosts: ['*.b'], tls: [{match: [{sniHosts: [x.a.b]}], route: [{destination: {host: a}}]}]}",
        &[],
    );
    vs(
        "{hosts: [a.b], tls: [{route: []}]}",
        &["spec.tls[0].match", "spec.tls[0].route"],
    );
    vs(
        "{hosts: [a.b], tcp: [{match: [{port: 99999}]}]}",
        &["spec.tcp[0].match[0].port", "spec.tcp[0].route"],
    );
    vs(
        "{hosts: [a.b], export_to: ['.'], http: [{route: [{destination: {host: a}}]}]}",
        &["spec.export_to"],
    );
}

#[test]
fn http_routes() {
    check_route(
        "{route: [{destination: {host: a, subset: v1}, weight: 30}, {destination: {host: a}, weight: 80}]}",
        &[],
    );
    check_route(
        "{route: [{destination: {host: a}}, {destination: {host: b}}]}",
        &[".route"],
    );
    check_route(
        "{route: [{destination: {host: a}, weight: -1}]}",
        &[".route[0].weight"],
    );
    check_route("{route: [{weight: 1}]}", &[".route[0].destination"]);
    check_route(
        "{route: [{destination: {host: '*'}}]}",
        &[".route[0].destination.host"],
    );
    check_route(
        "{route: [{destination: {host: a, port: {number: 0}}}]}",
        &[".route[0].destination.port.number"],
    );
    check_route(
        "{route: [{destination: {host: a, subset: v_1}}]}",
        &[".route[0].destination.subset"],
    );
    check_route("{match: [{uri: {prefix: /}}]}", &[""]);
    check_route(
        "{redirect: {uri: /a}, route: [{destination: {host: a}}]}",
        &[""],
    );
    check_route(
        "{redirect: {uri: /a}, directResponse: {status: 200}}",
        &[""],
    );
    check_route(
        "{redirect: {prefixRewrite: /b}, match: [{uri: {prefix: /a}}]}",
        &[],
    );
    check_route("{redirect: {uri: /a, prefixRewrite: /b}}", &[".redirect"]);
    check_route("{redirect: {}}", &[".redirect"]);
    check_route(
        "{redirect: {uri: /a, redirectCode: 200}}",
        &[".redirect.redirectCode"],
    );
    check_route(
        "{redirect: {uri: /a, port: 80, derivePort: FROM_REQUEST_PORT}}",
        &[".redirect"],
    );
    check_route(
        "{directResponse: {status: 700}}",
        &[".directResponse.status"],
    );
    check_route("{delegate: {name: x}, match: [{uri: {prefix: /a}}]}", &[]);
    check_route(
        "{delegate: {name: x}, route: [{destination: {host: a}}]}",
        &[".route"],
    );
    let with = |field: &str| format!("{{{field}, route: [{{destination: {{host: a}}}}]}}");
    for (field, expected) in [
        ("timeout: 0s", &[".timeout"] as &[&str]),
        ("timeout: 1m30s", &[]),
        ("timeout: 1us", &[".timeout"]),
        (
            "retries: {attempts: 2, retryOn: '5xx,reset,503', perTryTimeout: 1s}",
            &[],
        ),
        (
            "retries: {attempts: 2, retryOn: '5xx, reset'}",
            &[".retries.retryOn"],
        ),
        ("retries: {retryOn: 5xx}", &[".retries"]),
        ("fault: {}", &[".fault"]),
        (
            "fault: {delay: {fixedDelay: 1s, percentage: {value: 0.00001}}}",
            &[".fault.delay.percentage"],
        ),
        (
            "fault: {abort: {httpStatus: 100}}",
            &[".fault.abort.httpStatus"],
        ),
        (
            "fault: {abort: {grpcStatus: NOTFOUND}}",
            &[".fault.abort.grpcStatus"],
        ),
        (
            "fault: {abort: {httpStatus: 500, grpcStatus: NOT_FOUND}}",
            &[".fault.abort"],
        ),
        (
            "fault: {abort: {percentage: {value: 10}}}",
            &["warning .fault.abort"],
        ),
        ("mirrorPercentage: {value: 101}", &[".mirrorPercentage"]),
        ("mirror_percent: 50", &["warning .mirrorPercent"]),
        (
            "mirror: {host: b}, mirrors: [{destination: {host: c}}]",
            &[""],
        ),
        ("rewrite: {}", &[".rewrite"]),
        (
            "rewrite: {uri: /a, uriRegexRewrite: {match: a, rewrite: b}}",
            &[".rewrite"],
        ),
        (
            "rewrite: {uriRegexRewrite: {match: '(', rewrite: b}}",
            &[".rewrite.uriRegexRewrite.match"],
        ),
        (
            "rewrite: {authority: a}, headers: {request: {set: {Host: b}}}",
            &[""],
        ),
        (
            "headers: {request: {set: {':path': b}}}",
            &[".headers.request.set[:path]"],
        ),
        (
            "headers: {request: {set: {x-a: '100%'}}}",
            &[".headers.request.set.x-a"],
        ),
        (
            "headers: {request: {set: {x-a: '%REQ(X-B):5% 100%%'}}}",
            &[],
        ),
        (
            "headers: {response: {remove: [host]}}",
            &[".headers.response.remove[0]"],
        ),
        (
            "corsPolicy: {allowOrigins: [{exact: ''}], allowMethods: [get], allowHeaders: ['a b'], maxAge: 1500ms}",
            &[
                ".corsPolicy.allowOrigins[0]",
                ".corsPolicy.allowMethods[0]",
                ".corsPolicy.allowHeaders[0]",
                ".corsPolicy.maxAge",
            ],
        ),
        (
            "match: [{headers: {'a b': {exact: c}}}]",
            &[".match[0].headers[a b]"],
        ),
        (
            "match: [{headers: {x: {}}, queryParams: {q: {regex: ''}}}]",
            &[".match[0].queryParams.q.regex"],
        ),
        (
            "match: [{uri: {prefix: ''}, method: {prefix: ''}}]",
            &[".match[0].method.prefix"],
        ),
        ("match: [{withoutHeaders: {x: {regex: '*'}}}]", &[]),
        (
            "match: [{headers: {'@request.auth.claims.sub': {exact: a}}}]",
            &[".match[0].headers[@request.auth.claims.sub]"],
        ),
        (
            "match: [{sourceLabels: {'a b': c}, sourceNamespace: a.b}]",
            &[".match[0].sourceLabels[a b]", ".match[0].sourceNamespace"],
        ),
    ] {
        check_route(&with(field), expected);
    }
}

#[test]
fn unreachable_routes() {
    let route = |m: &str| format!("{{match: [{m}], route: [{{destination: {{host: a}}}}]}}");
    let all = "{route: [{destination: {host: a}}]}".to_owned();
    let vs = |routes: &[String], expected: &[&str]| {
        check(
            "VirtualService",
            &format!("{{hosts: [a.b], http: [{}]}}", routes.join(", ")),
            expected,
        );
    };
    vs(&[all.clone(), all], &["warning spec.http[1]"]);
    vs(
        &[
            route("{uri: {exact: /a}}"),
            route("{name: again, uri: {exact: /a}}"),
        ],
        &["info spec.http[1].match[0]", "warning spec.http[1]"],
    );
    vs(
        &[route("{uri: {prefix: /a}}"), route("{uri: {prefix: /ab}}")],
        &["info spec.http[1].match[0]"],
    );
    vs(
        &[route("{uri: {prefix: /ab}}"), route("{uri: {prefix: /a}}")],
        &[],
    );
    vs(
        &[
            route("{uri: {prefix: /a}, port: 80}"),
            route("{uri: {prefix: /ab}}"),
        ],
        &[],
    );
}

#[test]
fn what_istio_says_nothing_of_has_a_code_of_our_own() {
    use hawser_api::validate::{UNSEEN_BY_ISTIO, check_document};
    let codes = |kind: &str, spec: &str| -> Vec<(&'static str, String)> {
        let text = format!(
            "{{apiVersion: networking.istio.io/v1, kind: {kind}, metadata: {{name: x}}, spec: {spec}}}"
        );
        let doc = hawser_api::manifest::read("f.yaml", text.as_bytes())
            .docs
            .remove(0);
        let found = check_document(doc.value, "ns").findings;
        found.into_iter().map(|f| (f.code, f.path)).collect()
    };
    let ours = |path: &str| vec![(UNSEEN_BY_ISTIO, path.to_owned())];
    assert_eq!(
        codes(
            "VirtualService",
            "{hosts: [a], http: [{match: [{gateways: [gw.ns]}], fault: {abort: {}}, route: [{destination: {host: a}}]}]}"
        ),
        [
            ours("spec.http[0].match[0].gateways[0]"),
            ours("spec.http[0].fault.abort")
        ]
        .concat()
    );
    // Istio reads the names of gateways up to the first one without a namespace.
    assert_eq!(
        codes(
            "VirtualService",
            "{hosts: [a.b], gateways: [gw, ns/b_d], http: [{route: [{destination: {host: a}}]}]}"
        ),
        ours("spec.gateways[1]")
    );
    let failover = "{loadBalancer: {localityLbSetting: {failover: [{from: a, to: b}]}}}";
    assert_eq!(
        codes(
            "DestinationRule",
            &format!("{{host: a, subsets: [{{name: v1, trafficPolicy: {failover}}}]}}")
        ),
        ours("spec.subsets[0].trafficPolicy.loadBalancer.localityLbSetting")
    );
    assert_eq!(
        codes(
            "DestinationRule",
            &format!("{{host: a, trafficPolicy: {failover}}}")
        ),
        vec![(
            "IST0133",
            "spec.trafficPolicy.loadBalancer.localityLbSetting".to_owned()
        )]
    );
}
