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
            "[{retries: {attempts: 3, perTryTimeout: 1s, retryOn: 'gateway-error,503'}, route: [{destination: {host: web}}]}]",
            format!(
                "{{prefix=/}} -> {WEB} retry_policy={{host_selection_retry_max_attempts=5 num_retries=3 per_try_timeout=1s \
                 retriable_status_codes=[503] retry_host_predicate=[{{name=envoy.retry_host_predicates.previous_hosts typed_config={{}}}}] \
                 retry_on=gateway-error,retriable-status-codes}}"
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
fn faults_and_hashes() {
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
