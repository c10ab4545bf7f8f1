//! Istio's configuration kinds.

mod common;

use common::{check, lowerer, problems, routes, servers, settings, snapshot};
use hawser_model::extension::Phase;
use hawser_model::filter::Operation;
use hawser_model::telemetry::Mode;

/// An object of a kind of `networking.istio.io/v1`.
fn object(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: a}}\nspec: {spec}\n---\n"
    )
}

/// A ServiceEntry for the hosts of these tests, so that routes lead somewhere.
fn served(hosts: &str) -> String {
    object(
        "ServiceEntry",
        "served",
        &format!(
            "{{hosts: [{hosts}], resolution: NONE, ports: [{{number: 80, name: http, protocol: HTTP}}]}}"
        ),
    )
}

#[test]
fn virtual_services() {
    for (name, spec, expected) in [
        (
            "short names are services of the namespace",
            "{hosts: [reviews, reviews.b, '*.example.com'], http: [{route: [{destination: {host: reviews, subset: v1, port: {number: 9080}}, weight: 90}, {destination: {host: ratings.b.svc.cluster.local}, weight: 10}]}]}",
            "a/v reviews.a.svc.cluster.local,reviews.b,*.example.com via mesh
             http [] => reviews.a.svc.cluster.local:9080/v1*90 ratings.b.svc.cluster.local*10",
        ),
        (
            "gateways",
            "{hosts: ['*'], gateways: [mesh, own, b/other, old.c.svc.cluster.local, ./dot], http: [{match: [{gateways: [own], uri: {exact: /x}}], redirect: {uri: /y}}]}",
            r#"a/v * via mesh,a/dot,a/own,b/other,c/old
             http [=/x gw=a/own] => Redirect { path: Some(Full("/y")), authority: None, port: None, scheme: None, status: 301 }"#,
        ),
        (
            "matches",
            "{hosts: [x.com], http: [{name: nm, timeout: 0s, match: [{uri: {prefix: /a}, method: {exact: GET}, headers: {End-User: {exact: jason}, There: {}, any: {regex: '*'}, none: {exact: ''}}, withoutHeaders: {non: {prefix: q}}, queryParams: {p: {regex: '*'}, q: {exact: '1'}}, port: 80, sourceLabels: {app: p}, sourceNamespace: b}, {uri: {regex: '/r.*'}}], route: [{destination: {host: x.com}}]}]}",
            r#"a/v x.com via mesh
             http nm[/a* Exact("GET") End-User:Exact("jason") There:Present any:Present none:Exact("") !non:Prefix("q") ?p:Present ?q:Exact("1") port=80 from=[("app", "p")] ns=b | ~/r.*] => x.com timeout=0ns"#,
        ),
        (
            "faults, mirrors, retries, rewrites, headers",
            "{hosts: [x.com], http: [{fault: {delay: {fixedDelay: 2s, percentage: {value: 0.5}}, abort: {grpcStatus: UNAVAILABLE, percentage: {value: 0.57}}}, mirror: {host: y.com}, mirrorPercentage: {value: 25}, retries: {attempts: 3}, rewrite: {uri: /z, authority: z.com}, headers: {request: {set: {b: '2', a: '1'}}}, route: [{destination: {host: x.com}}]}]}",
            r#"a/v x.com via mesh
             http [] => x.com Rewrite { path: Some(Matched("/z")), authority: Some("z.com") } retries=3 Fault { delay: Some((2s, Exact(Fraction(5000)))), abort: Some((Grpc(14), Exact(Fraction(5699)))) } mirror y.com Exact(Fraction(250000)) request HeaderOps { set: [("a", "1"), ("b", "2")], add: [], remove: [] }"#,
        ),
        (
            "shares as they are written",
            "{hosts: [x.com], http: [{mirror: {host: y.com}, mirrorPercent: 100, mirrors: [{destination: {host: z.com}, percentage: {value: 100}}, {destination: {host: w.com}}, {destination: {host: none.com}, percentage: {value: 0}}], fault: {delay: {fixedDelay: 1s, percent: 5}, abort: {httpStatus: 503}}, route: [{destination: {host: x.com}}]}]}",
            r#"a/v x.com via mesh
             http [] => x.com Fault { delay: Some((1s, Percent(5))), abort: Some((Http(503), Percent(0))) } mirror y.com Percent(100) mirror z.com Exact(Fraction(1000000)) mirror w.com Percent(100)"#,
        ),
        (
            "tls and tcp",
            "{hosts: [x.com], tls: [{match: [{sniHosts: [x.com, '*.y.com'], port: 443, destinationSubnets: [10.0.0.0/8, 10.1.1.1]}], route: [{destination: {host: x.com}}]}], tcp: [{match: [{port: 27017}], route: [{destination: {host: mongo, port: {number: 1}}, weight: 5}]}, {route: [{destination: {host: x.com}}]}]}",
            "a/v x.com via mesh
             tls [sni=x.com,*.y.com to=[10.0.0.0/8, 10.1.1.1/32] port=443] => x.com
             tcp [port=27017] => mongo.a.svc.cluster.local:1*5
             tcp [] => x.com",
        ),
    ] {
        let yaml = object("VirtualService", "v", spec);
        check(name, &routes(&snapshot(&[("c1", &yaml)])), expected);
    }
}

#[test]
fn broken_parts_degrade_themselves() {
    let yaml = object(
        "VirtualService",
        "v",
        "{hosts: ['a b', x.com], http: [{route: [{destination: {host: 'bad..host'}}, {destination: {host: x.com}}]}, {redirect: {uri: /a, redirectCode: 317}}, {match: [{uri: {prefix: /}}]}]}",
    ) + &served("'*.com'")
        + &object(
            "Gateway",
            "g",
            "{servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: ['*'], tls: {mode: SIMPLE, credentialName: c, cipherSuites: [AES128-SHA, fake]}}]}",
        );
    let got = snapshot(&[("c1", &yaml)]);
    check(
        "routes",
        &routes(&got),
        "a/v x.com via mesh
         http [] => x.com
         http [] => Redirect { path: Some(Full(\"/a\")), authority: None, port: None, scheme: None, status: 301 }
         http [/*] =>",
    );
    check(
        "problems",
        &problems(&got),
        r#"
        IST0106 Gateway g.a spec.servers[0].tls.cipherSuites[1]: cipher "fake" is not known, and is left out (use a name of BoringSSL's, such as ECDHE-RSA-AES256-GCM-SHA384)
        IST0106 VirtualService v.a spec.http[1].redirect.redirectCode: 317 is not a redirect that Envoy knows; 301 is answered (use one of 301, 302, 303, 307, 308)
        IST0106 VirtualService v.a spec.hosts[0]: "a b" is not a host name: "a b" is not a valid DNS label (write a short name, a full name, or a wildcard such as *.example.com)
        IST0106 VirtualService v.a spec.http[0].route[0].destination.host: "bad..host" is not a host name: "" is not a valid DNS label (write a short name, a full name, or a wildcard such as *.example.com)
        IST0106 VirtualService v.a spec.http[2]: the rule says neither route nor redirect nor directResponse; requests that match get 500 (add a route)
        "#,
    );
}

#[test]
fn what_says_nothing_is_said() {
    let route = "route: [{destination: {host: x.com}}]";
    let yaml = object(
        "VirtualService",
        "v",
        &format!(
            "{{hosts: [x.com], http: [{{corsPolicy: {{allowOrigins: [{{exact: '*'}}, {{}}]}}, fault: {{abort: {{httpStatus: 503}}}}, {route}}}]}}"
        ),
    ) + &object(
        "ServiceEntry",
        "dyn",
        "{hosts: ['*.com'], location: MESH_EXTERNAL, resolution: DYNAMIC_DNS, ports: [{number: 80, name: http, protocol: HTTP}, {number: 443, name: https, protocol: HTTPS}]}",
    );
    check(
        "problems",
        &problems(&snapshot(&[("c1", &yaml)])),
        "
        IST0106 VirtualService v.a spec.http[0].fault.abort.percentage: it does not say of which share of requests; none is affected (set percentage.value, from 0 to 100)
        IST0106 ServiceEntry dyn.a spec.ports[1].protocol: DYNAMIC_DNS reads names from HTTP and TLS alone; this port leads nowhere (use HTTP, HTTP2, GRPC or TLS)
        IST0106 VirtualService v.a spec.http[0].corsPolicy.allowOrigins[1]: it names no origin and allows none (set exact, prefix or regex)
        ",
    );
}

#[test]
fn routes_that_lead_nowhere_are_named_with_the_field() {
    let yaml = object(
        "VirtualService",
        "v",
        "{hosts: [web], http: [{route: [{destination: {host: web, subset: v1}}, {destination: {host: web, subset: v9}}], mirror: {host: ghost}}], tcp: [{route: [{destination: {host: lost.example.com}}]}]}",
    ) + &object(
        "DestinationRule",
        "d",
        "{host: web, subsets: [{name: v1, labels: {version: v1}}]}",
    ) + &served("web.a.svc.cluster.local");
    let got = snapshot(&[("c1", &yaml)]);
    let fields: Vec<String> = got
        .problems
        .iter()
        .map(|p| format!("{} {}", p.code, p.field))
        .collect();
    assert_eq!(
        fields,
        [
            "IST0101 spec.http[0].mirrors[0].destination.host",
            "IST0101 spec.http[0].route[1].destination.subset",
            "IST0101 spec.tcp[0].route[0].destination.host",
        ],
        "{}",
        problems(&got)
    );
}

#[test]
fn delegates() {
    let root = |http: &str| {
        object(
            "VirtualService",
            "root",
            &format!("{{hosts: [x.com], http: [{http}]}}"),
        ) + &served("'*.com'")
    };
    let delegate = |spec: &str| object("VirtualService", "sub", spec);
    let to = "route: [{destination: {host: y.com}}]";
    for (name, yaml, expected, wrong) in [
        (
            "matches meet",
            root(
                "{name: r, match: [{uri: {prefix: /a}, port: 80}], timeout: 5s, delegate: {name: sub}}, {route: [{destination: {host: x.com}}]}",
            ) + &delegate(&format!(
                "{{http: [{{name: s, match: [{{uri: {{prefix: /a/b}}}}, {{uri: {{exact: /a/c}}}}], {to}}}, {{timeout: 1s, {to}}}]}}"
            )),
            "a/root x.com via mesh
             http r-s[/a/b* port=80 | =/a/c port=80] => y.com timeout=5s
             http r[/a* port=80] => y.com timeout=1s
             http [] => x.com",
            "",
        ),
        (
            "matches that cannot meet",
            root("{match: [{uri: {prefix: /a}}], delegate: {name: sub}}")
                + &delegate(&format!(
                    "{{http: [{{match: [{{uri: {{prefix: /b}}}}], {to}}}, {{match: [{{uri: {{prefix: /aa}}}}], {to}}}]}}"
                )),
            "a/root x.com via mesh
             http [/aa*] => y.com",
            "HWS0102 VirtualService root.a spec.http[0].delegate: rule 0 of a/sub can never hold together with this rule's match and is left out (a delegate's match must lie within that of the rule that names it; regular expressions cannot be combined)",
        ),
        (
            "short names of a delegate are those of its namespace",
            root("{match: [{gateways: [mesh, own], sourceLabels: {app: p}}], delegate: {name: sub, namespace: b}}")
                + "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: sub, namespace: b}\nspec: {http: [{match: [{gateways: [own]}], route: [{destination: {host: why}}]}, {match: [{gateways: [mesh], sourceLabels: {role: q}}], mirror: {host: zed}, route: [{destination: {host: why}}]}]}\n---\n"
                + &object("ServiceEntry", "more", "{hosts: [why.b.svc.cluster.local, zed.b.svc.cluster.local], resolution: NONE, ports: [{number: 80, name: http, protocol: HTTP}]}"),
            "a/root x.com via mesh
             http [from=[(\"app\", \"p\"), (\"role\", \"q\")] gw=mesh] => why.b.svc.cluster.local mirror zed.b.svc.cluster.local Percent(100)",
            "HWS0102 VirtualService root.a spec.http[0].delegate: rule 0 of b/sub can never hold together with this rule's match and is left out (a delegate's match must lie within that of the rule that names it; regular expressions cannot be combined)",
        ),
        (
            "nobody there",
            root("{delegate: {name: sub, namespace: b}}"),
            "a/root x.com via mesh",
            "IST0101 VirtualService root.a spec.http[0].delegate: there is no delegate VirtualService b/sub (create it without hosts, or correct the name; the rule has no effect until then)",
        ),
    ] {
        let got = snapshot(&[("c1", &yaml)]);
        check(name, &routes(&got), expected);
        check(name, &problems(&got), wrong);
    }
}

#[test]
fn only_the_configuration_cluster_configures() {
    let yaml = object(
        "VirtualService",
        "v",
        "{hosts: [x.com], http: [{redirect: {uri: /}}]}",
    );
    check(
        "routes",
        &routes(&snapshot(&[("c1", ""), ("c2", &yaml)])),
        "",
    );
}

#[test]
fn gateways() {
    let yaml = object(
        "Gateway",
        "g",
        "{selector: {istio: gw}, servers: [{port: {number: 443, name: https, protocol: https}, tls: {mode: SIMPLE, credentialName: c}, hosts: [x.com, './y.com', 'b/*', '*/z.com', 'un fit']}, {port: {number: 0, name: nil, protocol: TCP}, hosts: ['*']}]}",
    );
    let got = snapshot(&[("c1", &yaml)]);
    check(
        "servers",
        &servers(&got),
        r#"a/g https 443:Https Any/x.com,Only("a")/y.com,Only("b")/*,Any/z.com Simple ["c"]"#,
    );
    assert_eq!(got.problems.len(), 2, "{}", problems(&got));
}

#[test]
fn rules_and_sidecars() {
    let yaml = object(
        "DestinationRule",
        "d",
        "{host: web, exportTo: ['.', b], subsets: [{name: v1, labels: {version: v1}}], trafficPolicy: {loadBalancer: {consistentHash: {httpCookie: {name: c, ttl: 0s}}}, portLevelSettings: [{port: {number: 80}, tls: {mode: ISTIO_MUTUAL}}]}}",
    ) + &object(
        "Sidecar",
        "s",
        "{egress: [{hosts: ['./*', 'b/x.com', '~/*', nothing]}], outboundTrafficPolicy: {mode: REGISTRY_ONLY}}",
    );
    let got = snapshot(&[("c1", &yaml)]);
    let rule = &got.rules[0];
    assert_eq!(rule.host.as_str(), "web.a.svc.cluster.local");
    assert!(
        rule.visibility.allows("b") && rule.visibility.allows("a") && !rule.visibility.allows("c")
    );
    let policy = rule.policy.as_ref().unwrap();
    assert_eq!(
        format!("{:?}", policy.load_balancer.as_ref().unwrap().policy),
        r#"ConsistentHash(ConsistentHash { key: Cookie { name: "c", path: "", ttl: Some(0ns), attributes: [] }, algorithm: RingHash(Some(1024)) })"#
    );
    assert_eq!(
        policy.ports[&80].tls.as_ref().unwrap().mode,
        hawser_model::traffic::ClientTlsMode::IstioMutual
    );
    assert_eq!(
        format!("{:?}", got.sidecars[0].egress[0].hosts),
        r#"[(Only("a"), "*"), (Only("b"), "x.com"), (Nothing, "*")]"#
    );
    assert_eq!(
        got.sidecars[0].outbound_policy,
        Some(hawser_model::sidecar::OutboundPolicy::RegistryOnly)
    );
}

const POLICIES: &str = "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: p, namespace: a}
spec: {selector: {matchLabels: {app: x}}, mtls: {mode: UNSET}, portLevelMtls: {'8080': {mode: DISABLE}}}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: r, namespace: a}
spec: {jwtRules: [{issuer: 'https://i/', jwksUri: 'https://k'}, {issuer: 'https://i/'}, {issuer: j, jwks: '{}'}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: z, namespace: a, annotations: {istio.io/dry-run: 'true'}}
spec: {action: CUSTOM, rules: [{from: [{source: {notPrincipals: [p]}}, {}], when: [{key: source.ip, values: [10.0.0.1]}]}]}
";

#[test]
fn policies() {
    use hawser_model::authn::{JwtKeys, MtlsMode};
    let mut lowerer = lowerer(settings("{}", "{}"), &[("c1", POLICIES)]);
    let wanted: Vec<_> = lowerer.keys_wanted().into_iter().collect();
    assert_eq!(
        wanted,
        ["https://i/.well-known/openid-configuration", "https://k"]
    );
    lowerer.set_keys(
        [
            ("https://k".to_owned(), Ok("{keys}".to_owned())),
            (
                "https://i/.well-known/openid-configuration".to_owned(),
                Err("404".to_owned()),
            ),
        ]
        .into(),
    );
    let got = lowerer.snapshot();
    assert_eq!(got.peer_authn[0].mode, None);
    assert_eq!(got.peer_authn[0].ports[&8080], Some(MtlsMode::Disable));
    let keys: Vec<_> = got.request_authn[0].rules.iter().map(|r| &r.keys).collect();
    assert_eq!(
        keys,
        [
            &JwtKeys::Fetched {
                uri: "https://k".into(),
                document: Some("{keys}".into())
            },
            &JwtKeys::Discovered(None),
            &JwtKeys::Inline("{}".into()),
        ]
    );
    let policy = &got.authz[0];
    assert!(policy.dry_run);
    assert_eq!(policy.rules[0].from.len(), 2);
    assert_eq!(&*policy.rules[0].from[0].principals.none[0], "p");
    check(
        "problems",
        &problems(&got),
        "
        HWS0101 AuthorizationPolicy z.a metadata.annotations[istio.io/dry-run]: an external authorizer cannot be tried out: the policy has no effect (take the annotation away to put it in force)
        IST0101 RequestAuthentication r.a spec.jwtRules[1]: the keys at https://i/.well-known/openid-configuration cannot be had: 404 (tokens of this issuer are refused until they can)
        IST0106 AuthorizationPolicy z.a spec.provider.name: action CUSTOM needs a provider; requests that match are refused until there is one (name one of the mesh's extensionProviders)
        ",
    );
}

#[test]
fn mesh_settings() {
    let settings = settings(
        "{trustDomain: td, enableTracing: true, defaultConfig: {proxyHeaders: {server: {value: x}}, tracing: {sampling: 5, zipkin: {address: z}}}, outboundTrafficPolicy: {mode: REGISTRY_ONLY}, defaultVirtualServiceExportTo: ['.'], serviceSettings: [{settings: {clusterLocal: true}, hosts: ['*.a.svc.cluster.local']}], extensionProviders: [{name: z, zipkin: {service: ns/zipkin.o.svc.cluster.local, port: 9411}}, {name: l, lightstep: {}}, {name: e}, {name: p, prometheus: {}}, {name: d, opentelemetry: {service: o.o, port: 4317, dynatraceSampler: {tenant: t}}}], defaultProviders: {metrics: [prometheus, p, l], tracing: [z]}, accessLogEncoding: JSON, accessLogFormat: x}",
        "{networks: {nw: {endpoints: [{fromCidr: x}, {fromRegistry: c9}], gateways: [{address: 192.0.2.1, port: 15443, locality: r}]}}}",
    );
    let yaml = object(
        "VirtualService",
        "v",
        "{hosts: [x.com], http: [{redirect: {uri: /}}]}",
    ) + "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: a}\nspec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}\n";
    let got = lowerer(settings, &[("c1", &yaml)]).snapshot();
    assert!(got.routes[0].visibility.allows("a") && !got.routes[0].visibility.allows("b"));
    assert!(got.services.iter().next().unwrap().cluster_local);
    assert_eq!(got.mesh.connect_timeout.as_secs(), 10);
    assert_eq!(
        format!("{:?}", got.mesh.providers),
        r#"{"l": Inert("lightstep"), "p": Prometheus, "z": Zipkin { service: "zipkin.o.svc.cluster.local", port: 9411, export: HttpExport { path: "", timeout: None, headers: [] }, trace_id_64bit: false, w3c: false, max_tag_length: 0 }}"#
    );
    check(
        "problems",
        &problems(&got),
        r#"
        HWS0101 ConfigMap istio.istio-system mesh.defaultConfig.proxyHeaders: has no effect (an EnvoyFilter can change the headers that proxies add)
        HWS0101 ConfigMap istio.istio-system mesh.defaultConfig.tracing.zipkin: has no effect (traces need a provider in extensionProviders)
        HWS0101 ConfigMap istio.istio-system mesh.defaultProviders.metrics: l has no effect: metrics are those of stock Envoy (scrape the proxies at /stats/prometheus of port 15090)
        HWS0101 ConfigMap istio.istio-system mesh.enableTracing: has no effect (traces need a provider: name one of extensionProviders in defaultProviders.tracing or a Telemetry)
        HWS0101 ConfigMap istio.istio-system mesh.extensionProviders[1]: a provider of kind lightstep has no effect on stock Envoy (use opentelemetry or zipkin for traces, envoyFileAccessLog or envoyOtelAls for logs)
        HWS0101 ConfigMap istio.istio-system meshNetworks.networks{}.gateways[].locality: has no effect (not used by Istio either)
        IST0101 ConfigMap istio.istio-system mesh.extensionProviders[z].service: no Service or ServiceEntry has the host zipkin.o.svc.cluster.local: nothing is traced or logged there, and what it is to authorize is refused (check the name and the namespace, or add a ServiceEntry)
        IST0106 ConfigMap istio.istio-system mesh.accessLogFormat: is not a JSON object: expected value at line 1 column 1; the default fields are logged (write an object, or set accessLogEncoding: TEXT)
        IST0106 ConfigMap istio.istio-system mesh.extensionProviders[2]: the provider says only its name (say what it is, such as envoyExtAuthzGrpc or zipkin)
        IST0106 ConfigMap istio.istio-system mesh.extensionProviders[4].opentelemetry.dynatraceSampler: says neither whom to ask, nor do spans go there by HTTP; nothing is traced by this provider (set dynatraceSampler.httpService, or opentelemetry.http)
        IST0106 ConfigMap istio.istio-system meshNetworks.networks.nw.endpoints[0].fromCidr: "x" is not an address range (write it as 10.1.0.0/16)
        "#,
    );
}

const FILTERS: &str = "
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: late, namespace: a}
spec:
  priority: 5
  workloadSelector: {labels: {app: x}}
  configPatches:
  - applyTo: HTTP_FILTER
    match: {context: SIDECAR_INBOUND, listener: {filterChain: {filter: {name: hcm, subFilter: {name: router}}}}}
    patch: {operation: INSERT_BEFORE, value: {name: mine}}
  - applyTo: CLUSTER
  - applyTo: HTTP_ROUTE
    patch: {operation: REPLACE, value: {name: x}}
  - applyTo: LISTENER
    patch: {operation: INSERT_FIRST, value: {}}
---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: soon, namespace: a}
spec: {priority: -1}
---
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: t, namespace: a}
spec: {tracing: [{randomSamplingPercentage: 1.5, customTags: {k: {literal: {value: v}}}}], accessLogging: [{disabled: true}], metrics: [{providers: [{name: prometheus}]}, {providers: [{name: other}], overrides: [{disabled: true}], reportingInterval: 5s}]}
";

#[test]
fn filters_and_telemetry() {
    let got = snapshot(&[("c1", FILTERS)]);
    let names: Vec<&str> = got.filters.iter().map(|f| &*f.meta.name).collect();
    assert_eq!(names, ["soon", "late"]);
    let patch = &got.filters[1].patches[0];
    assert_eq!(&*patch.value, r#"{"name":"mine"}"#);
    assert_eq!(
        &*patch.target.listener.as_ref().unwrap().sub_filter,
        "router"
    );
    let added = &got.filters[1].patches[1];
    assert_eq!((added.operation, &*added.value), (Operation::Add, "{}"));
    assert_eq!(got.filters[1].patches.len(), 2);
    let telemetry = &got.telemetry[0];
    assert_eq!(telemetry.tracing[0].sampling.unwrap().0, 15_000);
    assert_eq!(telemetry.access_logging[0].disabled, Some(true));
    check(
        "problems",
        &problems(&got),
        r#"
        HWS0101 Telemetry t.a spec.metrics[1].overrides: has no effect: metrics are those of stock Envoy (choose Envoy's own by the annotations sidecar.istio.io/statsInclusion…)
        HWS0101 Telemetry t.a spec.metrics[1].providers[0]: has no effect: metrics are those of stock Envoy (choose Envoy's own by the annotations sidecar.istio.io/statsInclusion…)
        HWS0101 Telemetry t.a spec.metrics[1].reportingInterval: has no effect: metrics are those of stock Envoy (choose Envoy's own by the annotations sidecar.istio.io/statsInclusion…)
        HWS0101 EnvoyFilter late.a spec.configPatches[2].patch.operation: REPLACE has no effect with applyTo: HTTP_ROUTE (see the operations that EnvoyFilter documents for it)
        IST0106 EnvoyFilter late.a spec.configPatches[1]: the patch does not say to what it applies, or what it does (set applyTo and patch.operation)
        "#,
    );
}

const EXTENSIONS: &str = "
apiVersion: extensions.istio.io/v1alpha1
kind: TrafficExtension
metadata: {name: l, namespace: a}
spec: {phase: AUTHZ, priority: 3, match: [{mode: SERVER, ports: [{number: 80}]}, {}], lua: {inlineCode: x}}
---
apiVersion: extensions.istio.io/v1alpha1
kind: TrafficExtension
metadata: {name: w, namespace: a}
spec: {wasm: {url: 'oci://r/m'}}
---
apiVersion: extensions.istio.io/v1alpha1
kind: TrafficExtension
metadata: {name: o, namespace: a}
spec: {match: [{ports: [{number: 70000}]}], lua: {inlineCode: x}}
---
apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata: {name: p, namespace: a}
spec: {url: 'oci://r/m'}
";

#[test]
fn extensions() {
    let got = snapshot(&[("c1", EXTENSIONS)]);
    assert_eq!(got.extensions.len(), 1);
    let lua = &got.extensions[0];
    assert_eq!(
        (&*lua.meta.name, lua.phase, lua.priority),
        ("l", Phase::Authz, Some(3))
    );
    assert_eq!(
        (lua.matches[0].mode, &lua.matches[0].ports[..]),
        (Mode::Server, &[80][..])
    );
    assert_eq!(lua.matches[1], Default::default());
    check(
        "problems",
        &problems(&got),
        "
        HWS0101 TrafficExtension w.a spec.wasm: modules in WebAssembly have no effect (write it in Lua as a TrafficExtension, or add envoy.filters.http.wasm with an EnvoyFilter)
        HWS0101 WasmPlugin p.a: a WasmPlugin has no effect (write it in Lua as a TrafficExtension, or add envoy.filters.http.wasm with an EnvoyFilter)
        IST0106 TrafficExtension o.a spec.match[0].ports[0].number: 70000 is not a port (use a number from 1 to 65535)
        ",
    );
}
