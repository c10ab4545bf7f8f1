//! Extension providers: authorizers, access logs and tracers that policies refer to by name.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::name::{Hostname, Str};

/// An extension provider.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Provider {
    /// External authorization over HTTP.
    ExtAuthzHttp(ExtAuthzHttp),
    /// External authorization over gRPC.
    ExtAuthzGrpc(ExtAuthzGrpc),
    /// Access log to a file.
    FileLog {
        /// Path.
        path: Str,
        /// Form of its lines.
        format: LogFormat,
        /// What is empty is left out.
        omit_empty: bool,
    },
    /// Access log over gRPC (`envoyHttpAls`, `envoyTcpAls`).
    GrpcLog {
        /// Which of them.
        kind: GrpcLogKind,
        /// Host of the service.
        service: Hostname,
        /// Its port.
        port: u16,
        /// Name of the log.
        log_name: Str,
        /// What is logged besides.
        more: LogDetails,
    },
    /// Access log to OpenTelemetry (`envoyOtelAls`).
    OtelLog {
        /// Host of the service.
        service: Hostname,
        /// Its port.
        port: u16,
        /// Name of the log.
        log_name: Str,
        /// Body of a record; empty is Istio's line.
        text: Str,
        /// Attributes of a record.
        attributes: BTreeMap<Str, Str>,
    },
    /// Zipkin.
    Zipkin {
        /// Host of the service.
        service: Hostname,
        /// Its port.
        port: u16,
        /// How spans are sent; the path is `/api/v2/spans` unless said.
        export: HttpExport,
        /// Trace ids of 64 bits instead of 128.
        trace_id_64bit: bool,
        /// W3C's headers beside those of B3.
        w3c: bool,
        /// Longest path that is a tag; 0 is Envoy's.
        max_tag_length: u32,
    },
    /// OpenTelemetry.
    OpenTelemetry {
        /// Host of the service.
        service: Hostname,
        /// Its port.
        port: u16,
        /// How spans are sent.
        export: OtelExport,
        /// What finds out about the proxy's surroundings, for all its spans.
        detectors: Vec<ResourceDetector>,
        /// Decides instead of the share that is traced.
        sampler: Option<DynatraceSampler>,
        /// Longest path that is a tag; 0 is Envoy's.
        max_tag_length: u32,
    },
    /// Datadog.
    Datadog {
        /// Host of the service.
        service: Hostname,
        /// Its port.
        port: u16,
        /// Longest path that is a tag; 0 is Envoy's.
        max_tag_length: u32,
    },
    /// SkyWalking.
    SkyWalking {
        /// Host of the service.
        service: Hostname,
        /// Its port.
        port: u16,
        /// Access token.
        token: Str,
    },
    /// Prometheus: no part of the proxies' configuration.
    Prometheus,
    /// Known, without effect on stock Envoy.
    Inert(Str),
}

/// Something sent to a service over HTTP.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct HttpExport {
    /// Path; empty is the default.
    pub path: Str,
    /// How long it may take; `None` is the default.
    pub timeout: Option<Duration>,
    /// Further headers.
    pub headers: Vec<(Str, Str)>,
}

/// How spans go to OpenTelemetry.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum OtelExport {
    /// OTLP over gRPC.
    Grpc {
        /// How long an export may take; `None` is Envoy's.
        timeout: Option<Duration>,
        /// Metadata of a call.
        metadata: Vec<(Str, Str)>,
    },
    /// OTLP over HTTP.
    Http(HttpExport),
}

/// What finds attributes of a proxy for its spans.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ResourceDetector {
    /// The environment variable `OTEL_RESOURCE_ATTRIBUTES`.
    Environment,
    /// Dynatrace's files.
    Dynatrace,
}

/// Dynatrace decides which requests are traced.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct DynatraceSampler {
    /// The tenant.
    pub tenant: Str,
    /// The cluster within Dynatrace.
    pub cluster_id: i32,
    /// Traces a minute where Dynatrace does not answer; 0 is Envoy's default.
    pub root_spans_per_minute: u32,
    /// Host of the service that is asked.
    pub service: Hostname,
    /// Its port.
    pub port: u16,
    /// How it is asked.
    pub ask: HttpExport,
}

/// Form of an access log's lines.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum LogFormat {
    /// Text; empty is Istio's line.
    Text(Str),
    /// Fields of a JSON object; none is Istio's.
    Json(BTreeMap<Str, LogValue>),
}

impl Default for LogFormat {
    fn default() -> Self {
        Self::Text(Str::from(""))
    }
}

impl LogFormat {
    /// True where nothing of one's own is said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A value in a log's JSON.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum LogValue {
    /// Null.
    Null,
    /// True or false.
    Bool(bool),
    /// The bits of a number, which can be compared.
    Number(u64),
    /// Text, perhaps with Envoy's commands.
    Text(Str),
    /// A list.
    List(Vec<LogValue>),
    /// An object.
    Map(BTreeMap<Str, LogValue>),
}

impl Provider {
    /// The services that it needs, with their ports.
    pub fn services(&self) -> impl Iterator<Item = (&Hostname, u16)> {
        let (main, more) = match self {
            Self::ExtAuthzHttp(ExtAuthzHttp { service, port, .. })
            | Self::ExtAuthzGrpc(ExtAuthzGrpc { service, port, .. })
            | Self::GrpcLog { service, port, .. }
            | Self::OtelLog { service, port, .. }
            | Self::Zipkin { service, port, .. }
            | Self::Datadog { service, port, .. }
            | Self::SkyWalking { service, port, .. } => (Some((service, *port)), None),
            Self::OpenTelemetry {
                service,
                port,
                sampler,
                ..
            } => (
                Some((service, *port)),
                sampler.as_ref().map(|s| (&s.service, s.port)),
            ),
            Self::FileLog { .. } | Self::Prometheus | Self::Inert(_) => (None, None),
        };
        main.into_iter().chain(more)
    }
}

/// What an access log over gRPC tells besides.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct LogDetails {
    /// Filter state.
    pub filter_state: Vec<Str>,
    /// Headers of requests.
    pub request_headers: Vec<Str>,
    /// Headers of responses.
    pub response_headers: Vec<Str>,
    /// Trailers of responses.
    pub response_trailers: Vec<Str>,
}

/// Kinds of access logs over gRPC.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum GrpcLogKind {
    /// HTTP.
    Http,
    /// TCP.
    Tcp,
}

/// External authorization over HTTP.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ExtAuthzHttp {
    /// Host of the service.
    pub service: Hostname,
    /// Its port.
    pub port: u16,
    /// Time it may take; `None` is 600 s.
    pub timeout: Option<Duration>,
    /// Prefix of the path.
    pub path_prefix: Str,
    /// Let requests through where it fails.
    pub fail_open: bool,
    /// Status where it fails; empty is 403.
    pub status_on_error: Str,
    /// Request headers sent along.
    pub include_headers: Vec<Str>,
    /// Headers added to the check.
    pub add_headers: BTreeMap<Str, Str>,
    /// Body sent along.
    pub body: Option<ExtAuthzBody>,
    /// Headers of its answer that go upstream if allowed.
    pub upstream_on_allow: Vec<Str>,
    /// Headers of its answer that go downstream if refused.
    pub downstream_on_deny: Vec<Str>,
    /// Headers of its answer that go downstream if allowed.
    pub downstream_on_allow: Vec<Str>,
    /// Decide the route anew if allowed.
    pub clear_route_cache: bool,
}

/// External authorization over gRPC.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ExtAuthzGrpc {
    /// Host of the service.
    pub service: Hostname,
    /// Its port.
    pub port: u16,
    /// Time it may take; `None` is 600 s.
    pub timeout: Option<Duration>,
    /// Let requests through where it fails.
    pub fail_open: bool,
    /// Status where it fails; empty is 403.
    pub status_on_error: Str,
    /// Body sent along.
    pub body: Option<ExtAuthzBody>,
    /// Decide the route anew if allowed.
    pub clear_route_cache: bool,
}

/// A body sent to an external authorizer.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ExtAuthzBody {
    /// At most so many bytes.
    pub max_bytes: u32,
    /// Send what was read where there is more.
    pub allow_partial: bool,
    /// As bytes rather than text.
    pub raw: bool,
}
