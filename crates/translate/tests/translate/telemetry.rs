//! Traces and access logs.

use crate::check;
use crate::mesh::{Mesh, app, istio, sidecar};
use crate::text::View::ListenerPart;

const CONFIG: &str = "
defaultConfig: {tracing: {sampling: 5, maxPathTagLength: 99}}
extensionProviders:
- {name: z, zipkin: {service: zipkin.o.svc.cluster.local, port: 9411, traceContextOption: USE_B3_WITH_W3C_PROPAGATION, maxTagLength: 64}}
- {name: o, opentelemetry: {service: otel.o.svc.cluster.local, port: 4318, http: {path: /v1/traces, timeout: 3s, headers: [{name: k, value: v}]}}}
- {name: f, envoyFileAccessLog: {path: /tmp/log, omitEmptyValues: true, logFormat: {labels: {a: '%PROTOCOL%'}}}}
- {name: h, envoyHttpAls: {service: als.o.svc.cluster.local, port: 80, filterStateObjectsToLog: [s], additionalRequestHeadersToLog: [x-a]}}
defaultProviders: {tracing: [z]}
accessLogFile: /dev/stdout
accessLogEncoding: JSON
accessLogFormat: '{\"p\": \"%PROTOCOL%\"}'
";

#[test]
fn what_is_told_of_requests() {
    let own = sidecar("10.1.0.1 web-0.a");
    let web = app(
        "a",
        "web",
        "10.96.0.1",
        &["http 80 8080"],
        &["10.1.0.1 mtls"],
    );
    let manager = "/filter_chains/6/filters/0/typed_config";
    for (name, telemetry, pointer, expected) in [
        (
            "a share by the mesh's defaults",
            "{}",
            "tracing/random_sampling",
            "{value:5}",
        ),
        (
            "the provider's length of paths counts before the mesh's",
            "{}",
            "tracing/max_path_tag_length",
            "64",
        ),
        (
            "the mesh's where the provider says nothing",
            "{tracing: [{providers: [{name: o}]}]}",
            "tracing/max_path_tag_length",
            "99",
        ),
        (
            "headers of B3 and W3C",
            "{}",
            "tracing/provider/typed_config/trace_context_option",
            "USE_B3_WITH_W3C_PROPAGATION",
        ),
        (
            "tags of the proxy stand among the user's",
            "{tracing: [{customTags: {istio.b: {literal: {value: mine}}}}]}",
            "tracing/custom_tags/4",
            "{literal:{value:mine},tag:istio.b}",
        ),
        (
            "only the user's",
            "{tracing: [{enableIstioTags: false, customTags: {t: {literal: {value: mine}}}}]}",
            "tracing/custom_tags",
            "[{literal:{value:mine},tag:t}]",
        ),
        (
            "no headers for the upstream",
            "{tracing: [{disableContextPropagation: true}]}",
            "tracing/no_context_propagation",
            "true",
        ),
        (
            "an export by HTTP",
            "{tracing: [{providers: [{name: o}]}]}",
            "tracing/provider/typed_config/http_service/request_headers_to_add/0/header",
            "{key:k,value:v}",
        ),
        (
            "a log in the mesh's own form",
            "{}",
            "access_log/0/typed_config/log_format/json_format",
            "{p:%PROTOCOL%}",
        ),
        (
            "a log without what is empty",
            "{accessLogging: [{providers: [{name: f}]}]}",
            "access_log/0/typed_config/log_format/omit_empty_values",
            "true",
        ),
        (
            "a log of more",
            "{accessLogging: [{providers: [{name: h}]}]}",
            "access_log/0/typed_config/additional_request_headers_to_log",
            "[x-a]",
        ),
    ] {
        let mesh = Mesh {
            config: CONFIG,
            ..Mesh::of(&(web.clone() + &istio("Telemetry", "a", "t", telemetry)))
        };
        let at: &'static str = format!("{manager}/{pointer}").leak();
        check(
            name,
            &mesh,
            &own,
            ListenerPart("virtualInbound", at),
            expected,
        );
    }
}
