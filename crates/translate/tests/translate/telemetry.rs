//! Traces and access logs.

use crate::check;
use crate::mesh::{Mesh, app, istio, sidecar};
use crate::text::View::ListenerPart;

const CONFIG: &str = "
defaultConfig: {tracing: {sampling: 5, maxPathTagLength: 99}}
extensionProviders:
- {name: z, zipkin: {service: zipkin.o.svc.cluster.local, port: 9411, timeout: 1s, headers: [{name: k, value: v}], traceContextOption: USE_B3_WITH_W3C_PROPAGATION, maxTagLength: 64}}
- {name: o, opentelemetry: {service: otel.o.svc.cluster.local, port: 4318, http: {path: /v1/traces, timeout: 3s, headers: [{name: k, value: v}]}}}
- {name: f, envoyFileAccessLog: {path: /tmp/log, omitEmptyValues: true, logFormat: {labels: {a: '%PROTOCOL%'}}}}
- {name: g, opentelemetry: {service: otel.o.svc.cluster.local, port: 4318, grpc: {timeout: 2s, initialMetadata: [{name: k, value: v}]}, resourceDetectors: {environment: {}, dynatrace: {}}}}
- {name: d, opentelemetry: {service: otel.o.svc.cluster.local, port: 4318, http: {path: v1/traces}, dynatraceSampler: {tenant: t, clusterId: 7}}}
- {name: gone, zipkin: {service: nobody.o.svc.cluster.local, port: 9411}}
- {name: sky, skywalking: {service: sky.o.svc.cluster.local, port: 11800}}
- {name: t, envoyFileAccessLog: {logFormat: {text: '%REQ_WITHOUT_QUERY(:path)%'}}}
- {name: j, envoyFileAccessLog: {logFormat: {labels: {a: {b: [1, true, 'x']}, c: '%REQ_WITHOUT_QUERY(:path)%'}}}}
- {name: empty, envoyFileAccessLog: {logFormat: {labels: {}}}}
- {name: r, envoyOtelAls: {service: otel.o.svc.cluster.local, port: 4318, logFormat: {text: '%PROTOCOL%', labels: {path: '%REQ_WITHOUT_QUERY(:path)%'}}}}
- {name: lost, envoyOtelAls: {service: nobody.o.svc.cluster.local, port: 4317}}
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
    let collectors = [
        ("zipkin", "10.96.1.1", "http 9411 9411"),
        ("otel", "10.96.1.2", "http 4318 4318"),
        ("sky", "10.96.1.3", "grpc 11800 11800"),
        ("als", "10.96.1.4", "grpc 80 80"),
    ]
    .map(|(name, vip, port)| app("o", name, vip, &[port], &[]))
    .concat();
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
            "spans to Zipkin, with the provider's own time",
            "{}",
            "tracing/provider/typed_config/collector_service/http_uri",
            "{cluster:outbound|9411||zipkin.o.svc.cluster.local,timeout:1s,uri:http://zipkin.o.svc.cluster.local/api/v2/spans}",
        ),
        (
            "spans appear under the name that the node has",
            "{tracing: [{providers: [{name: g}]}]}",
            "tracing/provider/typed_config/service_name",
            "web",
        ),
        (
            "what finds attributes of the proxy",
            "{tracing: [{providers: [{name: g}]}]}",
            "tracing/provider/typed_config/resource_detectors/1/name",
            "envoy.tracers.opentelemetry.resource_detectors.dynatrace",
        ),
        (
            "metadata of a call",
            "{tracing: [{providers: [{name: g}]}]}",
            "tracing/provider/typed_config/grpc_service/initial_metadata",
            "[{key:k,value:v}]",
        ),
        (
            "a sampler is shown everything",
            "{tracing: [{providers: [{name: d}], randomSamplingPercentage: 3}]}",
            "tracing/random_sampling",
            "{value:100}",
        ),
        (
            "and asks where the spans go",
            "{tracing: [{providers: [{name: d}]}]}",
            "tracing/provider/typed_config/sampler/typed_config/http_service/http_uri/uri",
            "http://otel.o.svc.cluster.local/api/v2/samplingConfiguration",
        ),
        (
            "nothing where nobody collects: Envoy would refuse the listener",
            "{tracing: [{providers: [{name: gone}]}]}",
            "tracing",
            "nothing at /filter_chains/6/filters/0/typed_config/tracing",
        ),
        (
            "a span of its own for the call upstream",
            "{tracing: [{providers: [{name: sky}]}]}",
            "tracing/spawn_upstream_span",
            "true",
        ),
        (
            "a line with a command that needs a formatter",
            "{accessLogging: [{providers: [{name: t}]}]}",
            "access_log/0/typed_config/log_format/formatters/0/name",
            "envoy.formatter.req_without_query",
        ),
        (
            "JSON within JSON",
            "{accessLogging: [{providers: [{name: j}]}]}",
            "access_log/0/typed_config/log_format/json_format/a",
            "{b:[1,true,x]}",
        ),
        (
            "and its formatter",
            "{accessLogging: [{providers: [{name: j}]}]}",
            "access_log/0/typed_config/log_format/formatters/0/name",
            "envoy.formatter.req_without_query",
        ),
        (
            "no fields are Istio's",
            "{accessLogging: [{providers: [{name: empty}]}]}",
            "access_log/0/typed_config/log_format/json_format/route_name",
            "%ROUTE_NAME%",
        ),
        (
            "records with a body",
            "{accessLogging: [{providers: [{name: r}]}]}",
            "access_log/0/typed_config/body",
            "{string_value:%PROTOCOL%}",
        ),
        (
            "and attributes",
            "{accessLogging: [{providers: [{name: r}]}]}",
            "access_log/0/typed_config/attributes/values",
            "[{key:path,value:{string_value:%REQ_WITHOUT_QUERY(:path)%}}]",
        ),
        (
            "no log where nobody takes it",
            "{accessLogging: [{providers: [{name: lost}]}]}",
            "access_log",
            "nothing at /filter_chains/6/filters/0/typed_config/access_log",
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
            ..Mesh::of(&(web.clone() + &collectors + &istio("Telemetry", "a", "t", telemetry)))
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
