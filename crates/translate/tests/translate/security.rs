//! Who may call, and how they prove who they are.

use crate::check;
use crate::mesh::{Mesh, app, istio, sidecar};
use crate::text::View::{Listener, ListenerPart};

fn web() -> String {
    app(
        "a",
        "web",
        "10.96.0.1",
        &["http 80 8080", "tcp 90 9090"],
        &["10.1.0.1 mtls"],
    )
}

#[test]
fn modes() {
    let own = sidecar("10.1.0.1 web-0.a");
    // Parts of chains that stand in each.
    let tls = "tls cert=default ca=ROOTCA URI={prefix=spiffe://cluster.local/} client-cert alpn=[h2,http/1.1]";
    let istio_http = "istio-http/1.0,istio-http/1.1,istio-h2";
    let all = format!("istio,istio-peer-exchange,{istio_http}");
    let retry = "retry_policy={num_retries=2 retry_on=reset-before-request}";
    let http = |to: &str| format!("http [*];   {{prefix=/}} -> {to} {retry}");
    let (web, unknown) = (http("inbound|8080||"), http("InboundPassthroughCluster"));
    for (name, policy, expected) in [
        (
            "both",
            "{mtls: {mode: PERMISSIVE}}",
            format!(
                "0.0.0.0:15006 original_dst tls_inspector http_inspector
                 {{destination_port=15006}} plaintext | tcp -> BlackHoleCluster
                 {{application_protocols=[{istio_http}] transport_protocol=tls}} {tls} | {unknown}
                 {{application_protocols=[http/1.1,h2c] transport_protocol=raw_buffer}} plaintext | {unknown}
                 {{application_protocols=[istio-peer-exchange,istio] transport_protocol=tls}} {tls} | tcp -> InboundPassthroughCluster
                 {{transport_protocol=raw_buffer}} plaintext | tcp -> InboundPassthroughCluster
                 {{transport_protocol=tls}} plaintext | tcp -> InboundPassthroughCluster
                 {{application_protocols=[{all}] destination_port=8080 transport_protocol=tls}} {tls} | {web}
                 {{destination_port=8080 transport_protocol=raw_buffer}} plaintext | {web}
                 {{application_protocols=[{all}] destination_port=9090 transport_protocol=tls}} {tls} | tcp -> inbound|9090||
                 {{destination_port=9090 transport_protocol=tls}} plaintext | tcp -> inbound|9090||
                 {{destination_port=9090 transport_protocol=raw_buffer}} plaintext | tcp -> inbound|9090||"
            ),
        ),
        (
            "strict",
            "{mtls: {mode: STRICT}}",
            format!(
                "0.0.0.0:15006 original_dst tls_inspector
                 {{destination_port=15006}} plaintext | tcp -> BlackHoleCluster
                 {{application_protocols=[{istio_http}] transport_protocol=tls}} {tls} | {unknown}
                 {{transport_protocol=tls}} {tls} | tcp -> InboundPassthroughCluster
                 {{destination_port=8080 transport_protocol=tls}} {tls} | {web}
                 {{destination_port=9090 transport_protocol=tls}} {tls} | tcp -> inbound|9090||"
            ),
        ),
        (
            "off",
            "{mtls: {mode: DISABLE}}",
            format!(
                "0.0.0.0:15006 original_dst http_inspector
                 {{destination_port=15006}} plaintext | tcp -> BlackHoleCluster
                 {{application_protocols=[http/1.1,h2c] transport_protocol=raw_buffer}} plaintext | {unknown}
                 {{transport_protocol=raw_buffer}} plaintext | tcp -> InboundPassthroughCluster
                 {{destination_port=8080 transport_protocol=raw_buffer}} plaintext | {web}
                 {{destination_port=9090 transport_protocol=raw_buffer}} plaintext | tcp -> inbound|9090||"
            ),
        ),
        (
            "the root namespace speaks for the mesh",
            "{selector: {matchLabels: {app: web}}, mtls: {mode: UNSET}}",
            format!(
                "0.0.0.0:15006 original_dst tls_inspector
                 {{destination_port=15006}} plaintext | tcp -> BlackHoleCluster
                 {{application_protocols=[{istio_http}] transport_protocol=tls}} {tls} | {unknown}
                 {{transport_protocol=tls}} {tls} | tcp -> InboundPassthroughCluster
                 {{destination_port=8080 transport_protocol=tls}} {tls} | {web}
                 {{destination_port=9090 transport_protocol=tls}} {tls} | tcp -> inbound|9090||"
            ),
        ),
        (
            "a port of its own",
            "{selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}, portLevelMtls: {9090: {mode: DISABLE}}}",
            format!(
                "0.0.0.0:15006 original_dst tls_inspector
                 {{destination_port=15006}} plaintext | tcp -> BlackHoleCluster
                 {{application_protocols=[{istio_http}] transport_protocol=tls}} {tls} | {unknown}
                 {{transport_protocol=tls}} {tls} | tcp -> InboundPassthroughCluster
                 {{destination_port=8080 transport_protocol=tls}} {tls} | {web}
                 {{destination_port=9090 transport_protocol=raw_buffer}} plaintext | tcp -> inbound|9090||"
            ),
        ),
    ] {
        let root = match name {
            "the root namespace speaks for the mesh" => "{mtls: {mode: STRICT}}",
            // No policy of the mesh selects workloads.
            _ => "{selector: {matchLabels: {app: web}}, mtls: {mode: DISABLE}}",
        };
        let root = istio("PeerAuthentication", "istio-system", "r", root);
        let mesh =
            Mesh::of(&(self::web() + &root + &istio("PeerAuthentication", "a", "p", policy)));
        check(name, &mesh, &own, Listener("virtualInbound"), &expected);
    }
}

#[test]
fn who_may_call() {
    let own = sidecar("10.1.0.1 web-0.a");
    let http = "/filter_chains/2/filters/0/typed_config/http_filters/0/typed_config/rules";
    let tcp = "/filter_chains/4/filters/0/typed_config/rules";
    for (name, policy, pointer, expected) in [
        (
            "by identity, method and path",
            "{rules: [{from: [{source: {principals: [cluster.local/ns/a/sa/x]}}], to: [{operation: {methods: [GET], paths: [/a*]}}]}]}",
            http,
            "{policies:{ns[a]-policy[p]-rule[0]:{\
               permissions:[{and_rules:{rules:[\
                 {or_rules:{rules:[{header:{name::method,string_match:{exact:GET}}}]}},\
                 {or_rules:{rules:[{url_path:{path:{prefix:/a}}}]}}]}}],\
               principals:[{and_ids:{ids:[{or_ids:{ids:[{authenticated:{principal_name:{exact:spiffe://cluster.local/ns/a/sa/x}}}]}}]}}]}}}",
        ),
        (
            "what HTTP alone knows lets nobody in over TCP",
            "{rules: [{to: [{operation: {methods: [GET]}}]}]}",
            tcp,
            "{}",
        ),
        (
            "and keeps nobody out by less than TCP knows",
            "{action: DENY, rules: [{from: [{source: {namespaces: [b]}}], to: [{operation: {methods: [GET], ports: ['9090']}}]}]}",
            tcp,
            "{action:DENY,policies:{ns[a]-policy[p]-rule[0]:{\
               permissions:[{and_rules:{rules:[{or_rules:{rules:[{destination_port:9090}]}}]}}],\
               principals:[{and_ids:{ids:[{or_ids:{ids:[{authenticated:{principal_name:{safe_regex:{regex:.*/ns/b/.*}}}}]}}]}}]}}}",
        ),
        (
            "an end of a name stands after the scheme, and its dots are dots",
            "{rules: [{from: [{source: {principals: ['*/ns/a/sa/x.y']}}]}]}",
            http,
            "{policies:{ns[a]-policy[p]-rule[0]:{permissions:[{any:true}],principals:[{and_ids:{ids:[\
               {or_ids:{ids:[{authenticated:{principal_name:{safe_regex:{regex:spiffe://.*/ns/a/sa/x\\\\.y}}}}]}}]}}]}}}",
        ),
        (
            "a trust domain is what stands before the first slash, whatever a namespace is called",
            "{rules: [{from: [{source: {trustDomains: [b.c], notTrustDomains: ['*d']}}]}]}",
            http,
            "{policies:{ns[a]-policy[p]-rule[0]:{permissions:[{any:true}],principals:[{and_ids:{ids:[\
               {or_ids:{ids:[{authenticated:{principal_name:{prefix:spiffe://b.c/}}}]}},\
               {not_id:{or_ids:{ids:[{authenticated:{principal_name:{safe_regex:{regex:spiffe://[^/]*d/.*}}}}]}}}]}}]}}}",
        ),
        (
            "metadata is matched all values at once",
            "{rules: [{when: [{key: 'experimental.envoy.filters.f[k]', values: [a, '[b*]']}]}]}",
            http,
            "{policies:{ns[a]-policy[p]-rule[0]:{permissions:[{and_rules:{rules:[\
               {metadata:{filter:envoy.filters.f,path:[{key:k}],value:{or_match:{value_matchers:[\
                 {string_match:{exact:a}},{list_match:{one_of:{string_match:{prefix:b}}}}]}}}}]}}],principals:[{any:true}]}}}",
        ),
        (
            "a condition that nobody knows lets nobody in",
            "{rules: [{when: [{key: request.nothing, values: [a]}]}]}",
            http,
            "{}",
        ),
        (
            "who is to be asked by an authorizer that is not there is refused",
            "{action: CUSTOM, provider: {name: nobody}, rules: [{to: [{operation: {ports: ['8080']}}]}]}",
            http,
            "{action:DENY,policies:{istio-ext-authz-nobody-ns[a]-policy[p]-rule[0]-deny-due-to-bad-CUSTOM-action:{\
               permissions:[{and_rules:{rules:[{or_rules:{rules:[{destination_port:8080}]}}]}}],principals:[{any:true}]}}}",
        ),
        (
            "no rule lets anybody in",
            "{}",
            http,
            "{policies:{ns[a]-policy[p]-rule[0]:{permissions:[{not_rule:{any:true}}],principals:[{not_id:{any:true}}]}}}",
        ),
    ] {
        let mesh = Mesh::of(&(web() + &istio("AuthorizationPolicy", "a", "p", policy)));
        check(
            name,
            &mesh,
            &own,
            ListenerPart("virtualInbound", pointer),
            expected,
        );
    }
}

#[test]
fn tokens() {
    let own = sidecar("10.1.0.1 web-0.a");
    let spec = "{jwtRules: [{issuer: https://issuer, jwks: '{\"keys\":[]}', fromHeaders: [{name: x-token, prefix: 'T '}], forwardOriginalToken: true}]}";
    let mesh = Mesh::of(&(web() + &istio("RequestAuthentication", "a", "j", spec)));
    let config = "/filter_chains/2/filters/0/typed_config/http_filters/0/typed_config";
    let provider = |more: &str| format!("{config}/providers/origins-0/{more}");
    for (name, at, expected) in [
        (
            "where it stands",
            provider("from_headers"),
            "[{name:x-token,value_prefix:T }]",
        ),
        ("who made it", provider("issuer"), "https://issuer"),
        ("it goes on to the application", provider("forward"), "true"),
        (
            "none at all is for the authorization to judge",
            format!("{config}/rules/0/requires"),
            "{requires_any:{requirements:[{provider_name:origins-0},{allow_missing:{}}]}}",
        ),
    ] {
        check(
            name,
            &mesh,
            &own,
            ListenerPart("virtualInbound", at.leak()),
            expected,
        );
    }
}

/// How many tokens, and of whom.
#[test]
fn tokens_of_several() {
    let own = sidecar("10.1.0.1 web-0.a");
    let rule =
        |issuer: &str, more: &str| format!("{{issuer: {issuer}, jwks: '{{\"keys\":[]}}'{more}}}");
    let required = ", presence: REQUIRED";
    let (a, b) = (rule("a", ""), rule("b", ""));
    for (name, rules, expected) in [
        (
            "one that must be there",
            rule("a", required),
            "{provider_name:origins-0}",
        ),
        (
            "either, or neither",
            format!("{a}, {b}"),
            "{requires_any:{requirements:[{provider_name:origins-0},{provider_name:origins-1},{requires_all:{requirements:[\
               {requires_any:{requirements:[{provider_name:origins-0},{allow_missing:{}}]}},\
               {requires_any:{requirements:[{provider_name:origins-1},{allow_missing:{}}]}}]}}]}}",
        ),
        (
            "one that must be there, another that may",
            format!("{a}, {}", rule("b", required)),
            "{requires_any:{requirements:[{provider_name:origins-1},{requires_all:{requirements:[\
               {requires_any:{requirements:[{provider_name:origins-0},{allow_missing:{}}]}},{provider_name:origins-1}]}}]}}",
        ),
        (
            "two that must be there",
            format!("{}, {}", rule("a", required), rule("b", required)),
            "{requires_all:{requirements:[{provider_name:origins-0},{provider_name:origins-1}]}}",
        ),
    ] {
        let spec = format!("{{jwtRules: [{rules}]}}");
        let mesh = Mesh::of(&(web() + &istio("RequestAuthentication", "a", "j", &spec)));
        let at =
            "/filter_chains/2/filters/0/typed_config/http_filters/0/typed_config/rules/0/requires";
        check(
            name,
            &mesh,
            &own,
            ListenerPart("virtualInbound", at),
            expected,
        );
    }
}

/// Where filters that users bring stand among those of policies.
#[test]
fn extensions_among_policies() {
    let own = sidecar("10.1.0.1 web-0.a");
    let lua = "lua: {inlineCode: x}";
    let objects = [
        istio(
            "RequestAuthentication",
            "a",
            "j",
            "{jwtRules: [{issuer: i, jwks: '{\"keys\":[]}'}]}",
        ),
        istio("AuthorizationPolicy", "a", "p", "{}"),
        istio(
            "TrafficExtension",
            "a",
            "m",
            &format!("{{phase: AUTHN, {lua}}}"),
        ),
        istio(
            "TrafficExtension",
            "a",
            "z",
            &format!("{{phase: AUTHZ, {lua}}}"),
        ),
        istio(
            "TrafficExtension",
            "a",
            "s",
            &format!("{{phase: STATS, {lua}}}"),
        ),
        istio("TrafficExtension", "a", "u", &format!("{{{lua}}}")),
        istio(
            "TrafficExtension",
            "istio-system",
            "r",
            &format!("{{{lua}}}"),
        ),
        istio(
            "TrafficExtension",
            "istio-system",
            "t",
            &format!("{{priority: 1, {lua}}}"),
        ),
        istio("TrafficExtension", "b", "o", &format!("{{{lua}}}")),
        istio(
            "TrafficExtension",
            "a",
            "q",
            &format!("{{match: [{{mode: CLIENT}}, {{ports: [{{number: 1}}]}}], {lua}}}"),
        ),
    ]
    .concat();
    let mesh = Mesh::of(&(web() + &objects));
    let extension = |name: &str| format!("extensions.istio.io/trafficextension/{name}");
    for (i, name) in [
        extension("a.m"),
        "envoy.filters.http.jwt_authn".to_owned(),
        extension("a.z"),
        "envoy.filters.http.rbac".to_owned(),
        extension("a.s"),
        extension("istio-system.t"),
        extension("a.u"),
        extension("istio-system.r"),
        "envoy.filters.http.fault".to_owned(),
    ]
    .iter()
    .enumerate()
    {
        let at = format!("/filter_chains/2/filters/0/typed_config/http_filters/{i}/name");
        check(
            name,
            &mesh,
            &own,
            ListenerPart("virtualInbound", at.leak()),
            name,
        );
    }
}
