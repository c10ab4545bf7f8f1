//! Routes: hosts, matches, actions.

use crate::check;
use crate::mesh::{Mesh, app, istio, sidecar};
use crate::text::View::{Host, Listener, RoutePart, Routes};

fn services() -> String {
    app(
        "a",
        "web",
        "10.96.0.1",
        &["http 80 8080"],
        &["10.1.0.1 mtls version=v1"],
    ) + &app(
        "b",
        "api",
        "10.96.0.2",
        &["http 80 8080"],
        &["10.1.0.2 mtls"],
    ) + &app("b", "db", "10.96.0.3", &["tcp 90 9090"], &["10.1.0.3 mtls"])
        + &istio(
            "DestinationRule",
            "a",
            "web",
            "{host: web, subsets: [{name: v1, labels: {version: v1}}]}",
        )
}

#[test]
fn hosts_of_a_port() {
    check(
        "near names are short",
        &Mesh::of(&services()),
        &sidecar("10.1.0.9 client.a"),
        Routes("80"),
        "[api.b.svc.cluster.local,api.b.svc.cluster.local.,api.b,api.b.svc,10.96.0.2]
           {prefix=/} -> outbound|80||api.b.svc.cluster.local
         [web.a.svc.cluster.local,web.a.svc.cluster.local.,web,web.a,web.a.svc,10.96.0.1]
           {prefix=/} -> outbound|80||web.a.svc.cluster.local
         [*]
           {prefix=/} -> PassthroughCluster",
    );
}

#[test]
fn http() {
    const WEB: &str = "outbound|80||web.a.svc.cluster.local";
    for (name, rules, expected) in [
        (
            "matches in order, each its own route",
            "[{match: [{uri: {exact: /a}}, {uri: {prefix: /b}, method: {exact: GET}}], route: [{destination: {host: web}}]}, \
              {route: [{destination: {host: web, subset: v1}}]}]",
            format!(
                "{{case_sensitive=true path=/a}} -> {WEB}
                 {{case_sensitive=true headers=[{{name=:method string_match={{exact=GET}}}}] prefix=/b}} -> {WEB}
                 {{prefix=/}} -> outbound|80|v1|web.a.svc.cluster.local"
            ),
        ),
        (
            "nothing behind a rule for all",
            "[{route: [{destination: {host: web}}]}, {match: [{uri: {prefix: /b}}], route: [{destination: {host: web, subset: v1}}]}]",
            format!("{{prefix=/}} -> {WEB}"),
        ),
        (
            "weights",
            "[{route: [{destination: {host: web}, weight: 75}, {destination: {host: api.b.svc.cluster.local}, weight: 25}]}]",
            format!("{{prefix=/}} -> {WEB}*75 -> outbound|80||api.b.svc.cluster.local*25"),
        ),
        (
            "the port called, where none is said",
            "[{route: [{destination: {host: db.b.svc.cluster.local}}]}]",
            "{prefix=/} -> outbound|80||db.b.svc.cluster.local".to_owned(),
        ),
        (
            "a rewrite and a time-out",
            "[{match: [{uri: {prefix: /old}}], rewrite: {uri: /new, authority: x.example.com}, timeout: 5s, route: [{destination: {host: web}}]}]",
            format!("{{case_sensitive=true prefix=/old}} -> {WEB} host_rewrite_literal=x.example.com prefix_rewrite=/new timeout=5s"),
        ),
        (
            "a redirect",
            "[{redirect: {uri: /there, authority: x.example.com, redirectCode: 302}}]",
            "{prefix=/} redirect {host_redirect=x.example.com path_redirect=/there response_code=FOUND}".to_owned(),
        ),
        (
            "an answer",
            "[{directResponse: {status: 418, body: {string: teapot}}}]",
            "{prefix=/} direct_response {body={inline_string=teapot} status=418}".to_owned(),
        ),
        (
            "own retries",
            "[{retries: {attempts: 3, perTryTimeout: 1s, retryOn: 'gateway-error,503,299'}, route: [{destination: {host: web}}]}]",
            format!(
                "{{prefix=/}} -> {WEB} retry_policy={{host_selection_retry_max_attempts=5 num_retries=3 per_try_timeout=1s \
                 retriable_status_codes=[503] retry_host_predicate=[{{name=envoy.retry_host_predicates.previous_hosts typed_config={{}}}}] \
                 retry_on=gateway-error,299,retriable-status-codes}}"
            ),
        ),
        (
            "a rule for others' labels",
            "[{match: [{sourceLabels: {app: other}}], route: [{destination: {host: web}}]}, {match: [{sourceLabels: {app: client}}], route: [{destination: {host: web, subset: v1}}]}]",
            "{case_sensitive=true prefix=/} -> outbound|80|v1|web.a.svc.cluster.local".to_owned(),
        ),
    ] {
        let spec = format!("{{hosts: [web], http: {rules}}}");
        let mesh = Mesh::of(&(services() + &istio("VirtualService", "a", "v", &spec)));
        let web = Host("80", "web.a.svc.cluster.local");
        check(name, &mesh, &sidecar("10.1.0.9 client.a"), web, &expected);
    }
}

#[test]
fn whose_rules_go_first() {
    let rule =
        |namespace: &str, name: &str, spec: &str| istio("VirtualService", namespace, name, spec);
    let to = |path: &str| format!("http: [{{redirect: {{uri: {path}}}}}]");
    let redirect = |path: &str| format!("{{prefix=/}} redirect {{path_redirect={path}}}");
    let web = "hosts: [web.a.svc.cluster.local]";
    for (name, rules, expected) in [
        (
            "of two for all the older",
            rule("a", "r1", &format!("{{{web}, {}}}", to("/old")))
                + &rule("a", "r2", &format!("{{{web}, {}}}", to("/new"))),
            redirect("/old"),
        ),
        (
            "one's own private one before one for all",
            rule("a", "r1", &format!("{{{web}, {}}}", to("/public")))
                + &rule(
                    "b",
                    "r2",
                    &format!("{{{web}, exportTo: [a], {}}}", to("/exported")),
                )
                + &rule(
                    "a",
                    "r3",
                    &format!("{{{web}, exportTo: [.], {}}}", to("/private")),
                ),
            redirect("/private"),
        ),
        (
            "one exported to the namespace before one for all",
            rule("a", "r1", &format!("{{{web}, {}}}", to("/public")))
                + &rule(
                    "b",
                    "r2",
                    &format!("{{{web}, exportTo: [a], {}}}", to("/exported")),
                ),
            redirect("/exported"),
        ),
        (
            "one that names the host before wildcards, however narrow",
            rule(
                "a",
                "r1",
                &format!("{{hosts: ['*.a.svc.cluster.local'], {}}}", to("/narrow")),
            ) + &rule("a", "r2", &format!("{{{web}, {}}}", to("/named"))),
            redirect("/named"),
        ),
        (
            "the narrower of two wildcards",
            rule(
                "a",
                "r1",
                &format!("{{hosts: ['*.svc.cluster.local'], {}}}", to("/wide")),
            ) + &rule(
                "a",
                "r2",
                &format!("{{hosts: ['*.a.svc.cluster.local'], {}}}", to("/narrow")),
            ),
            redirect("/narrow"),
        ),
    ] {
        let host = Host("80", "web.a.svc.cluster.local");
        check(
            name,
            &Mesh::of(&(services() + &rules)),
            &sidecar("10.1.0.9 client.a"),
            host,
            &expected,
        );
    }
}

#[test]
fn hosts_of_rules() {
    let spec = "{hosts: [x.example.com, db.b.svc.cluster.local, late.b.svc.cluster.local, alias], \
        http: [{redirect: {uri: /there}}]}";
    let alias = "---\napiVersion: v1\nkind: Service\nmetadata: {name: alias, namespace: a}\nspec: {type: ExternalName, \
        externalName: web.a.svc.cluster.local, ports: [{name: http, port: 80}]}\n";
    let late = app(
        "b",
        "late",
        "10.96.0.4",
        &["http 8000 8000"],
        &["10.1.0.4 mtls"],
    );
    let all = services() + alias + &late + &istio("VirtualService", "a", "v", spec);
    check(
        "hosts that no service has on the port, and another name of a service, which then has rules of its own",
        &Mesh::of(&all),
        &sidecar("10.1.0.9 client.c"),
        Routes("80"),
        "[alias.a.svc.cluster.local,alias.a.svc.cluster.local.,alias.a,alias.a.svc]
           {prefix=/} redirect {path_redirect=/there}
         [api.b.svc.cluster.local,api.b.svc.cluster.local.,api.b,api.b.svc,10.96.0.2]
           {prefix=/} -> outbound|80||api.b.svc.cluster.local
         [db.b.svc.cluster.local]
           {prefix=/} redirect {path_redirect=/there}
         [late.b.svc.cluster.local]
           {prefix=/} redirect {path_redirect=/there}
         [web.a.svc.cluster.local,web.a.svc.cluster.local.,web.a,web.a.svc,10.96.0.1]
           {prefix=/} -> outbound|80||web.a.svc.cluster.local
         [x.example.com]
           {prefix=/} redirect {path_redirect=/there}
         [*]
           {prefix=/} -> PassthroughCluster",
    );
    let sniffed = app(
        "a",
        "any",
        "10.96.0.5",
        &["any 7000 7000"],
        &["10.1.0.5 mtls"],
    );
    let spec = "{hosts: [aaa.example.com, any], http: [{redirect: {uri: /there}}]}";
    check(
        "a sniffed port has its own host alone",
        &Mesh::of(&(sniffed + &istio("VirtualService", "a", "v", spec))),
        &sidecar("10.1.0.9 client.a"),
        Routes("any.a.svc.cluster.local:7000"),
        "[*]
           {prefix=/} redirect {path_redirect=/there}",
    );
}

#[test]
fn hashes() {
    let hash = |name: &str| format!("loadBalancer: {{consistentHash: {{httpHeaderName: {name}}}}}");
    let rule = format!(
        "{{host: web, trafficPolicy: {{{host}, portLevelSettings: [{{port: {{number: 80}}, {port}}}]}}, subsets: [\
         {{name: v1, labels: {{version: v1}}, trafficPolicy: {{{subset}}}}}, {{name: v2, labels: {{version: v2}}}}]}}",
        host = hash("x-host"),
        port = hash("x-port"),
        subset = hash("x-subset"),
    );
    let web = "destination: {host: web";
    for (name, route, expected) in [
        (
            "a port that the destination names",
            format!("{{{web}, port: {{number: 80}}}}}}"),
            vec!["x-port"],
        ),
        (
            "the host's otherwise",
            format!("{{{web}}}}}"),
            vec!["x-host"],
        ),
        (
            "a subset's first",
            format!("{{{web}, subset: v1, port: {{number: 80}}}}}}"),
            vec!["x-subset"],
        ),
        (
            "a subset that says nothing",
            format!("{{{web}, subset: v2}}}}"),
            vec!["x-host"],
        ),
        (
            "one for each share",
            format!(
                "{{{web}, subset: v1}}, weight: 1}}, {{{web}, subset: v2}}, weight: 1}}, {{{web}}}, weight: 0}}"
            ),
            vec!["x-subset", "x-host"],
        ),
    ] {
        let spec = format!("{{hosts: [web], http: [{{route: [{route}]}}]}}");
        let yaml = app(
            "a",
            "web",
            "10.96.0.1",
            &["http 80 8080"],
            &["10.1.0.1 mtls version=v1"],
        ) + &istio("DestinationRule", "a", "web", &rule)
            + &istio("VirtualService", "a", "v", &spec);
        let expected: Vec<_> = expected
            .iter()
            .map(|h| format!("{{header:{{header_name:{h}}}}}"))
            .collect();
        check(
            name,
            &Mesh::of(&yaml),
            &sidecar("10.1.0.9 client.a"),
            RoutePart("80", "/virtual_hosts/0/routes/0/route/hash_policy"),
            &format!("[{}]", expected.join(",")),
        );
    }
}

#[test]
fn faults() {
    let spec = "{hosts: [web], http: [{fault: {abort: {httpStatus: 503, percentage: {value: 12.5}}}, route: [{destination: {host: web}}]}]}";
    let mesh = Mesh::of(&(services() + &istio("VirtualService", "a", "v", spec)));
    check(
        "parts of a percent",
        &mesh,
        &sidecar("10.1.0.9 client.a"),
        RoutePart(
            "80",
            "/virtual_hosts/1/routes/0/typed_per_filter_config/envoy.filters.http.fault/abort",
        ),
        "{http_status:503,percentage:{denominator:MILLION,numerator:125000}}",
    );
}

#[test]
fn tcp() {
    let spec = "{hosts: [db.b.svc.cluster.local], tcp: [{match: [{port: 90}], route: [\
        {destination: {host: db.b.svc.cluster.local}, weight: 1}, {destination: {host: web}, weight: 3}]}]}";
    check(
        "weights",
        &Mesh::of(&(services() + &istio("VirtualService", "a", "v", spec))),
        &sidecar("10.1.0.9 client.a"),
        Listener("10.96.0.3_90"),
        "10.96.0.3:90 not bound
         {} plaintext | tcp -> outbound|90||db.b.svc.cluster.local*1 outbound|80||web.a.svc.cluster.local*3",
    );
}
