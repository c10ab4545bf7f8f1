//! `telemetry.istio.io`.

use crate::message::{choice, message, one_of};
use crate::rules;
use crate::scalar::Duration;
use crate::selector::{LabelSelector, TargetRef};
use std::collections::BTreeMap;

message! {
    pub struct Telemetry {
        selector: Option<LabelSelector>,
        target_ref: Option<TargetRef>,
        target_refs: Vec<TargetRef> [MaxItems(16)],
        tracing: Vec<Tracing>,
        metrics: Vec<Metrics>,
        access_logging: Vec<AccessLogging>,
    }
    rule Cel(&rules::SELECTOR_OR_TARGET_REFS);

    pub struct ProviderRef {
        name: String [Required, MinLength(1)],
    }

    pub struct Tracing {
        match_: Option<TracingSelector>,
        providers: Vec<ProviderRef>,
        random_sampling_percentage: Option<f64> [Min(0), Max(100)],
        disable_span_reporting: Option<bool>,
        custom_tags: BTreeMap<String, CustomTag>,
        use_request_id_for_trace_sampling: Option<bool>,
        enable_istio_tags: Option<bool>,
        /// Headers of traces are not passed on to the upstream.
        disable_context_propagation: Option<bool>,
    }

    pub struct TracingSelector {
        mode: WorkloadMode,
    }

    pub struct TagLiteral {
        value: String [Required, MinLength(1)],
    }

    pub struct TagEnvironment {
        name: String [Required, MinLength(1)],
        default_value: String,
    }

    pub struct TagHeader {
        name: String [Required, MinLength(1)],
        default_value: String,
    }

    pub struct TagFormatter {
        value: String [Required, MinLength(1)],
    }

    pub struct Metrics {
        providers: Vec<ProviderRef>,
        overrides: Vec<MetricsOverrides>,
        reporting_interval: Option<Duration>,
    }

    pub struct MetricsOverrides {
        match_: Option<MetricSelector>,
        disabled: Option<bool>,
        tag_overrides: BTreeMap<String, TagOverride>,
    }

    pub struct MetricSelector {
        metric: Option<IstioMetric>,
        custom_metric: Option<String> [MinLength(1)],
        mode: WorkloadMode,
    }
    oneof [metric, custom_metric]

    pub struct TagOverride {
        operation: TagOperation,
        /// A CEL expression over Istio's attributes.
        value: String,
    }
    rule Cel(&rules::TAG_VALUE_FOR_UPSERT);
    rule Cel(&rules::NO_TAG_VALUE_FOR_REMOVE);

    pub struct AccessLogging {
        match_: Option<LogSelector>,
        providers: Vec<ProviderRef>,
        disabled: Option<bool>,
        filter: Option<LogFilter>,
    }

    pub struct LogSelector {
        mode: WorkloadMode,
    }

    pub struct LogFilter {
        /// CEL.
        expression: String,
    }
}

one_of! {
    pub enum CustomTag {
        Unset,
        Literal(TagLiteral) = "literal",
        Environment(TagEnvironment) = "environment",
        Header(TagHeader) = "header",
        Formatter(TagFormatter) = "formatter",
    }
}

choice! {
    pub enum WorkloadMode {
        ClientAndServer = "CLIENT_AND_SERVER",
        Client = "CLIENT",
        Server = "SERVER",
    }

    pub enum TagOperation {
        Upsert = "UPSERT",
        Remove = "REMOVE",
    }

    pub enum IstioMetric {
        All = "ALL_METRICS",
        RequestCount = "REQUEST_COUNT",
        RequestDuration = "REQUEST_DURATION",
        RequestSize = "REQUEST_SIZE",
        ResponseSize = "RESPONSE_SIZE",
        TcpOpenedConnections = "TCP_OPENED_CONNECTIONS",
        TcpClosedConnections = "TCP_CLOSED_CONNECTIONS",
        TcpSentBytes = "TCP_SENT_BYTES",
        TcpReceivedBytes = "TCP_RECEIVED_BYTES",
        GrpcRequestMessages = "GRPC_REQUEST_MESSAGES",
        GrpcResponseMessages = "GRPC_RESPONSE_MESSAGES",
    }
}
