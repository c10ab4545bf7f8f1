//! Where spans go: a provider as one of Envoy's tracers (Istio's `configureFromProviderConfig`).

use std::time::Duration;

use hawser_model::provider::{
    DynatraceSampler, HttpExport, OtelExport, Provider, ResourceDetector,
};
use hawser_model::{Hostname, Str};
use hawser_proto::envoy::config::core::v3 as core;
use hawser_proto::envoy::config::trace::v3 as trace;
use hawser_proto::envoy::extensions::tracers::opentelemetry as otel;
use hawser_proto::google::protobuf::Any;

use super::logs::service;
use crate::cluster::outbound_name;
use crate::wire;

/// What is asked of a provider before it is used.
pub(super) struct Collector {
    /// Longest path that is a tag; 0 is the mesh's.
    pub max_tag_length: u32,
    /// It decides itself what is traced.
    pub samples: bool,
}

/// `None` for providers of something else.
pub(super) fn collector(provider: &Provider) -> Option<Collector> {
    let (max_tag_length, samples) = match provider {
        Provider::Zipkin { max_tag_length, .. } | Provider::Datadog { max_tag_length, .. } => {
            (*max_tag_length, false)
        }
        Provider::OpenTelemetry {
            max_tag_length,
            sampler,
            ..
        } => (*max_tag_length, sampler.is_some()),
        Provider::SkyWalking { .. } => (0, false),
        _ => return None,
    };
    Some(Collector {
        max_tag_length,
        samples,
    })
}

/// The tracer; spans appear under `name`.
pub(super) fn tracer(provider: &Provider, name: &Str) -> Option<trace::tracing::Http> {
    let (kind, config): (_, Any) = match provider {
        Provider::Zipkin {
            service,
            port,
            export,
            trace_id_64bit,
            w3c,
            ..
        } => (
            "envoy.tracers.zipkin",
            wire::any(&trace::ZipkinConfig {
                collector_service: Some(http_service(
                    service,
                    *port,
                    export,
                    ("/api/v2/spans", Duration::from_secs(5)),
                )),
                collector_endpoint_version: trace::zipkin_config::CollectorEndpointVersion::HttpJson
                    as i32,
                trace_id_128bit: !trace_id_64bit,
                shared_span_context: Some(wire::boolv(false)),
                trace_context_option: i32::from(*w3c),
                ..Default::default()
            }),
        ),
        Provider::OpenTelemetry {
            service,
            port,
            export,
            detectors,
            sampler,
            ..
        } => (
            "envoy.tracers.opentelemetry",
            wire::any(&trace::OpenTelemetryConfig {
                service_name: name.to_string(),
                resource_detectors: detectors.iter().map(|d| detector(*d)).collect(),
                sampler: sampler.as_ref().map(dynatrace),
                ..exporter(service, *port, export)
            }),
        ),
        Provider::Datadog { service, port, .. } => (
            "envoy.tracers.datadog",
            wire::any(&trace::DatadogConfig {
                collector_cluster: outbound_name(*port, "", service.as_str()),
                collector_hostname: service.to_string(),
                service_name: name.to_string(),
                ..Default::default()
            }),
        ),
        Provider::SkyWalking {
            service: host,
            port,
            token,
        } => (
            "envoy.tracers.skywalking",
            wire::any(&trace::SkyWalkingConfig {
                grpc_service: Some(service(host.as_str(), *port)),
                client_config: Some(trace::ClientConfig {
                    service_name: name.to_string(),
                    backend_token_specifier: (!token.is_empty()).then(|| {
                        trace::client_config::BackendTokenSpecifier::BackendToken(token.to_string())
                    }),
                    ..Default::default()
                }),
            }),
        ),
        _ => return None,
    };
    Some(trace::tracing::Http {
        name: kind.to_owned(),
        config_type: Some(trace::tracing::http::ConfigType::TypedConfig(config)),
    })
}

fn exporter(host: &Hostname, port: u16, export: &OtelExport) -> trace::OpenTelemetryConfig {
    match export {
        OtelExport::Grpc { timeout, metadata } => trace::OpenTelemetryConfig {
            grpc_service: Some(core::GrpcService {
                timeout: timeout.map(wire::duration),
                initial_metadata: metadata.iter().map(header).collect(),
                ..service(host.as_str(), port)
            }),
            ..Default::default()
        },
        OtelExport::Http(export) => trace::OpenTelemetryConfig {
            http_service: Some(http_service(
                host,
                port,
                export,
                ("/", Duration::from_secs(10)),
            )),
            ..Default::default()
        },
    }
}

fn detector(detector: ResourceDetector) -> core::TypedExtensionConfig {
    match detector {
        ResourceDetector::Environment => wire::extension(
            "envoy.tracers.opentelemetry.resource_detectors.environment",
            &otel::resource_detectors::v3::EnvironmentResourceDetectorConfig::default(),
        ),
        ResourceDetector::Dynatrace => wire::extension(
            "envoy.tracers.opentelemetry.resource_detectors.dynatrace",
            &otel::resource_detectors::v3::DynatraceResourceDetectorConfig::default(),
        ),
    }
}

fn dynatrace(sampler: &DynatraceSampler) -> core::TypedExtensionConfig {
    wire::extension(
        "envoy.tracers.opentelemetry.samplers.dynatrace",
        &otel::samplers::v3::DynatraceSamplerConfig {
            tenant: sampler.tenant.to_string(),
            cluster_id: sampler.cluster_id,
            root_spans_per_minute: sampler.root_spans_per_minute,
            http_service: Some(http_service(
                &sampler.service,
                sampler.port,
                &sampler.ask,
                ("/", Duration::from_secs(10)),
            )),
        },
    )
}

/// A service that is called over HTTP, with the path and the time where nothing is said: Envoy demands both.
fn http_service(
    host: &Hostname,
    port: u16,
    export: &HttpExport,
    (path, timeout): (&str, Duration),
) -> core::HttpService {
    let path = if export.path.is_empty() {
        path
    } else {
        &export.path
    };
    core::HttpService {
        http_uri: Some(core::HttpUri {
            uri: format!("http://{host}/{}", path.trim_start_matches('/')),
            timeout: Some(wire::duration(export.timeout.unwrap_or(timeout))),
            http_upstream_type: Some(core::http_uri::HttpUpstreamType::Cluster(outbound_name(
                port,
                "",
                host.as_str(),
            ))),
        }),
        request_headers_to_add: export
            .headers
            .iter()
            .map(|h| core::HeaderValueOption {
                header: Some(header(h)),
                append_action: core::header_value_option::HeaderAppendAction::OverwriteIfExistsOrAdd
                    as i32,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}

fn header((key, value): &(Str, Str)) -> core::HeaderValue {
    core::HeaderValue {
        key: key.to_string(),
        value: value.to_string(),
        raw_value: Vec::new(),
    }
}
