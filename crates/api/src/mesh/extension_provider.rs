//! Extension providers: authorisation services, tracers, access log and metric sinks that policies refer to by name.

use crate::message::{Struct, choice, message};
use crate::scalar::Duration;
use std::collections::BTreeMap;

message! {
    /// A name and exactly one of the others.
    pub struct ExtensionProvider {
        name: String,
        envoy_ext_authz_http: Option<ExtAuthzHttp>,
        envoy_ext_authz_grpc: Option<ExtAuthzGrpc>,
        zipkin: Option<ZipkinTracing>,
        lightstep: Option<serde_json::Value>,
        datadog: Option<DatadogTracing>,
        stackdriver: Option<serde_json::Value>,
        opencensus: Option<serde_json::Value>,
        skywalking: Option<SkywalkingTracing>,
        opentelemetry: Option<OpenTelemetryTracing>,
        prometheus: Option<Prometheus>,
        envoy_file_access_log: Option<FileAccessLog>,
        envoy_http_als: Option<GrpcAccessLog>,
        envoy_tcp_als: Option<GrpcAccessLog>,
        envoy_otel_als: Option<OtelAccessLog>,
        sds: Option<SdsProvider>,
    }
    oneof [envoy_ext_authz_http, envoy_ext_authz_grpc, zipkin, lightstep, datadog, stackdriver, opencensus, skywalking, opentelemetry, prometheus, envoy_file_access_log, envoy_http_als, envoy_tcp_als, envoy_otel_als, sds]

    pub struct ExtAuthzRequestBody {
        max_request_bytes: u32,
        allow_partial_message: bool,
        pack_as_bytes: bool,
    }

    pub struct ExtAuthzHttp {
        /// `host` or `namespace/host`.
        service: String,
        port: u32,
        /// 600 s if absent.
        timeout: Option<Duration>,
        path_prefix: String,
        fail_open: bool,
        clear_route_cache: bool,
        status_on_error: String,
        /// Deprecated in favour of `includeRequestHeadersInCheck`.
        include_headers_in_check: Vec<String>,
        include_request_headers_in_check: Vec<String>,
        include_additional_headers_in_check: BTreeMap<String, String>,
        include_request_body_in_check: Option<ExtAuthzRequestBody>,
        headers_to_upstream_on_allow: Vec<String>,
        headers_to_downstream_on_deny: Vec<String>,
        headers_to_downstream_on_allow: Vec<String>,
    }

    pub struct ExtAuthzGrpc {
        service: String,
        port: u32,
        timeout: Option<Duration>,
        fail_open: bool,
        clear_route_cache: bool,
        status_on_error: String,
        include_request_body_in_check: Option<ExtAuthzRequestBody>,
    }

    pub struct ZipkinTracing {
        service: String,
        port: u32,
        max_tag_length: u32,
        enable_64bit_trace_id: bool,
        path: String,
        trace_context_option: TraceContextOption,
        timeout: Option<Duration>,
        headers: Vec<HeaderValue>,
    }

    pub struct HeaderValue {
        name: String,
        value: Option<String>,
        env_name: Option<String>,
    }
    oneof [value, env_name]

    pub struct DatadogTracing {
        service: String,
        port: u32,
        max_tag_length: u32,
    }

    pub struct SkywalkingTracing {
        service: String,
        port: u32,
        access_token: String,
    }

    pub struct OpenTelemetryTracing {
        service: String,
        port: u32,
        max_tag_length: u32,
        http: Option<HttpService>,
        grpc: Option<GrpcService>,
        resource_detectors: Option<ResourceDetectors>,
        dynatrace_sampler: Option<DynatraceSampler>,
        service_attribute_enrichment: String,
    }

    pub struct ResourceDetectors {
        environment: Option<Empty>,
        dynatrace: Option<Empty>,
    }

    pub struct Empty {}

    pub struct DynatraceSampler (slim) {
        tenant: String,
        cluster_id: i32,
        root_spans_per_minute: u32,
        http_service: Option<DynatraceApi>,
    }

    pub struct DynatraceApi {
        service: String,
        port: u32,
        http: Option<HttpService>,
    }

    pub struct HttpService {
        path: String,
        timeout: Option<Duration>,
        headers: Vec<HeaderValue>,
    }

    pub struct GrpcService {
        timeout: Option<Duration>,
        initial_metadata: Vec<HeaderValue>,
    }

    pub struct Prometheus {}

    pub struct FileAccessLog {
        path: String,
        log_format: Option<FileLogFormat>,
        omit_empty_values: bool,
    }

    pub struct FileLogFormat {
        text: Option<String>,
        labels: Option<Struct>,
    }
    oneof [text, labels]

    pub struct GrpcAccessLog {
        service: String,
        port: u32,
        log_name: String,
        filter_state_objects_to_log: Vec<String>,
        additional_request_headers_to_log: Vec<String>,
        additional_response_headers_to_log: Vec<String>,
        additional_response_trailers_to_log: Vec<String>,
    }

    pub struct OtelAccessLog (slim) {
        service: String,
        port: u32,
        log_name: String,
        log_format: Option<OtelLogFormat>,
    }

    pub struct OtelLogFormat {
        text: String,
        labels: Option<Struct>,
    }

    pub struct SdsProvider {
        name: String,
        service: String,
        port: u32,
    }
}

choice! {
    /// Which trace headers a tracer reads and writes.
    pub enum TraceContextOption {
        Unspecified = "TRACE_CONTEXT_UNSPECIFIED",
        UseB3 = "USE_B3",
        UseB3WithW3cPropagation = "USE_B3_WITH_W3C_PROPAGATION",
    }
}
