//! Extension providers of MeshConfig.

use std::collections::BTreeMap;

use hawser_api::mesh as api;
use hawser_api::message::Struct;
use hawser_model::provider::{
    DynatraceSampler, ExtAuthzBody, ExtAuthzGrpc, ExtAuthzHttp, GrpcLogKind, HttpExport,
    LogDetails, LogFormat, LogValue, OtelExport, Provider, ResourceDetector,
};
use hawser_model::{Hostname, Str};
use serde_json::Value;

use crate::names::{duration, port, strs};
use crate::notes::{Notes, SCHEMA, UNSUPPORTED};

/// Lowers the providers; those that cannot be are left out, with a Problem.
pub fn providers(
    providers: &[api::ExtensionProvider],
    notes: &mut Notes<'_>,
) -> BTreeMap<Str, Provider> {
    let mut out = BTreeMap::new();
    for (i, provider) in providers.iter().enumerate() {
        let field = format!("mesh.extensionProviders[{i}]");
        if let Some(lowered) = self::provider(provider, &field, notes) {
            out.insert(provider.name.as_str().into(), lowered);
        }
    }
    out
}

/// Host (without the namespace that may stand before it) and port of a provider's service.
fn service(
    service: &str,
    number: u32,
    field: &str,
    notes: &mut Notes<'_>,
) -> Option<(Hostname, u16)> {
    let text = service.rsplit('/').next().unwrap_or_default();
    match (Hostname::parse(text), port(number)) {
        (Ok(host), Some(port)) => Some((host, port)),
        (Err(error), _) => {
            notes.error(
                SCHEMA,
                format!("{field}.service"),
                format!("{service:?} is not a host name: {error}"),
                "name the service as name.namespace.svc.cluster.local",
            );
            None
        }
        (_, None) => {
            notes.error(
                SCHEMA,
                format!("{field}.port"),
                format!("{number} is not a port"),
                "use a number from 1 to 65535",
            );
            None
        }
    }
}

/// Checks the status of an authorizer that does not answer: one of those that Envoy knows, or none.
fn status(text: &str, field: &str, notes: &mut Notes<'_>) -> Option<()> {
    const KNOWN: &[std::ops::RangeInclusive<u16>] = &[
        100..=100,
        200..=208,
        226..=226,
        300..=305,
        307..=308,
        400..=418,
        421..=424,
        426..=426,
        428..=429,
        431..=431,
        500..=508,
        510..=511,
    ];
    let known = |code: u16| KNOWN.iter().any(|range| range.contains(&code));
    if text.is_empty() || text.parse().is_ok_and(known) {
        return Some(());
    }
    notes.error(
        SCHEMA,
        format!("{field}.statusOnError"),
        format!("{text:?} is not an HTTP status that Envoy knows"),
        "requests that its policies concern are refused until it is one, such as \"503\"",
    );
    None
}

fn provider(
    provider: &api::ExtensionProvider,
    field: &str,
    notes: &mut Notes<'_>,
) -> Option<Provider> {
    if let Some(http) = &provider.envoy_ext_authz_http {
        let (service, port) = self::service(&http.service, http.port, field, notes)?;
        status(&http.status_on_error, field, notes)?;
        if !http.path_prefix.is_empty() && !http.path_prefix.starts_with('/') {
            notes.error(
                SCHEMA,
                format!("{field}.pathPrefix"),
                format!("{:?} does not begin with /", http.path_prefix),
                "requests that its policies concern are refused until it does",
            );
            return None;
        }
        let mut include_headers = strs(&http.include_request_headers_in_check);
        if include_headers.is_empty() {
            include_headers = strs(&http.include_headers_in_check);
        }
        return Some(Provider::ExtAuthzHttp(ExtAuthzHttp {
            service,
            port,
            timeout: duration(http.timeout),
            path_prefix: http.path_prefix.as_str().into(),
            fail_open: http.fail_open,
            status_on_error: http.status_on_error.as_str().into(),
            include_headers,
            add_headers: http
                .include_additional_headers_in_check
                .iter()
                .map(|(k, v)| (k.as_str().into(), v.as_str().into()))
                .collect(),
            body: http.include_request_body_in_check.as_ref().map(body),
            upstream_on_allow: strs(&http.headers_to_upstream_on_allow),
            downstream_on_deny: strs(&http.headers_to_downstream_on_deny),
            downstream_on_allow: strs(&http.headers_to_downstream_on_allow),
            clear_route_cache: http.clear_route_cache,
        }));
    }
    if let Some(grpc) = &provider.envoy_ext_authz_grpc {
        let (service, port) = self::service(&grpc.service, grpc.port, field, notes)?;
        status(&grpc.status_on_error, field, notes)?;
        return Some(Provider::ExtAuthzGrpc(ExtAuthzGrpc {
            service,
            port,
            timeout: duration(grpc.timeout),
            fail_open: grpc.fail_open,
            status_on_error: grpc.status_on_error.as_str().into(),
            body: grpc.include_request_body_in_check.as_ref().map(body),
            clear_route_cache: grpc.clear_route_cache,
        }));
    }
    if let Some(file) = &provider.envoy_file_access_log {
        return Some(Provider::FileLog {
            path: or(&file.path, "/dev/stdout"),
            format: file.log_format.as_ref().map_or_else(Default::default, |f| {
                match (&f.text, &f.labels) {
                    (Some(text), _) => LogFormat::Text(text.as_str().into()),
                    (None, Some(labels)) => LogFormat::Json(log_fields(labels)),
                    (None, None) => LogFormat::default(),
                }
            }),
            omit_empty: file.omit_empty_values,
        });
    }
    for (als, kind, default_name) in [
        (
            &provider.envoy_http_als,
            GrpcLogKind::Http,
            "http_envoy_accesslog",
        ),
        (
            &provider.envoy_tcp_als,
            GrpcLogKind::Tcp,
            "tcp_envoy_accesslog",
        ),
    ] {
        if let Some(als) = als {
            let (service, port) = self::service(&als.service, als.port, field, notes)?;
            return Some(Provider::GrpcLog {
                kind,
                service,
                port,
                log_name: or(&als.log_name, default_name),
                more: LogDetails {
                    filter_state: strs(&als.filter_state_objects_to_log),
                    request_headers: strs(&als.additional_request_headers_to_log),
                    response_headers: strs(&als.additional_response_headers_to_log),
                    response_trailers: strs(&als.additional_response_trailers_to_log),
                },
            });
        }
    }
    if let Some(otel) = &provider.envoy_otel_als {
        let (service, port) = self::service(&otel.service, otel.port, field, notes)?;
        let format = otel.log_format.clone().unwrap_or_default();
        return Some(Provider::OtelLog {
            service,
            port,
            log_name: or(&otel.log_name, "otel_envoy_accesslog"),
            text: format.text.as_str().into(),
            attributes: (format.labels.iter().flatten())
                .map(|(name, value)| (name.as_str().into(), as_text(value)))
                .collect(),
        });
    }
    tracer(provider, field, notes)
}

fn tracer(
    provider: &api::ExtensionProvider,
    field: &str,
    notes: &mut Notes<'_>,
) -> Option<Provider> {
    if let Some(zipkin) = &provider.zipkin {
        let (service, port) = self::service(&zipkin.service, zipkin.port, field, notes)?;
        return Some(Provider::Zipkin {
            service,
            port,
            export: HttpExport {
                path: zipkin.path.as_str().into(),
                timeout: duration(zipkin.timeout),
                headers: headers(&zipkin.headers),
            },
            trace_id_64bit: zipkin.enable_64bit_trace_id,
            w3c: zipkin.trace_context_option == api::TraceContextOption::UseB3WithW3cPropagation,
            max_tag_length: zipkin.max_tag_length,
        });
    }
    if let Some(otel) = &provider.opentelemetry {
        return opentelemetry(otel, field, notes);
    }
    if let Some(datadog) = &provider.datadog {
        let (service, port) = self::service(&datadog.service, datadog.port, field, notes)?;
        return Some(Provider::Datadog {
            service,
            port,
            max_tag_length: datadog.max_tag_length,
        });
    }
    if let Some(skywalking) = &provider.skywalking {
        let (service, port) = self::service(&skywalking.service, skywalking.port, field, notes)?;
        return Some(Provider::SkyWalking {
            service,
            port,
            token: skywalking.access_token.as_str().into(),
        });
    }
    if provider.prometheus.is_some() {
        return Some(Provider::Prometheus);
    }
    let inert = [
        ("lightstep", provider.lightstep.is_some()),
        ("stackdriver", provider.stackdriver.is_some()),
        ("opencensus", provider.opencensus.is_some()),
        ("sds", provider.sds.is_some()),
    ];
    match inert.iter().find(|(_, set)| *set) {
        Some((name, _)) => {
            notes.warn(
                UNSUPPORTED,
                field,
                format!("a provider of kind {name} has no effect on stock Envoy"),
                "use opentelemetry or zipkin for traces, envoyFileAccessLog or envoyOtelAls for logs",
            );
            Some(Provider::Inert((*name).into()))
        }
        None => {
            notes.error(
                SCHEMA,
                field,
                "the provider says only its name",
                "say what it is, such as envoyExtAuthzGrpc or zipkin",
            );
            None
        }
    }
}

fn body(body: &api::ExtAuthzRequestBody) -> ExtAuthzBody {
    ExtAuthzBody {
        max_bytes: body.max_request_bytes,
        allow_partial: body.allow_partial_message,
        raw: body.pack_as_bytes,
    }
}

fn opentelemetry(
    otel: &api::OpenTelemetryTracing,
    field: &str,
    notes: &mut Notes<'_>,
) -> Option<Provider> {
    let (service, port) = self::service(&otel.service, otel.port, field, notes)?;
    let found = otel.resource_detectors.clone().unwrap_or_default();
    let detectors = [
        (ResourceDetector::Environment, found.environment.is_some()),
        (ResourceDetector::Dynatrace, found.dynatrace.is_some()),
    ];
    let sampler = match &otel.dynatrace_sampler {
        None => None,
        Some(sampler) => Some(dynatrace(sampler, otel, (&service, port), field, notes)?),
    };
    Some(Provider::OpenTelemetry {
        export: match &otel.http {
            Some(http) => OtelExport::Http(export(http)),
            None => {
                let grpc = otel.grpc.clone().unwrap_or_default();
                OtelExport::Grpc {
                    timeout: duration(grpc.timeout),
                    metadata: headers(&grpc.initial_metadata),
                }
            }
        },
        service,
        port,
        detectors: (detectors.into_iter())
            .filter_map(|(kind, wanted)| wanted.then_some(kind))
            .collect(),
        sampler,
        max_tag_length: otel.max_tag_length,
    })
}

/// Dynatrace's sampler asks its own service, or that to which spans go (Istio's `configureDynatraceSampler`).
fn dynatrace(
    sampler: &api::DynatraceSampler,
    otel: &api::OpenTelemetryTracing,
    exporter: (&Hostname, u16),
    field: &str,
    notes: &mut Notes<'_>,
) -> Option<DynatraceSampler> {
    let (service, port, ask) = match (&sampler.http_service, &otel.http) {
        (Some(own), _) => {
            let (service, port) = self::service(
                &own.service,
                own.port,
                &format!("{field}.opentelemetry.dynatraceSampler.httpService"),
                notes,
            )?;
            (
                service,
                port,
                own.http.as_ref().map(export).unwrap_or_default(),
            )
        }
        (None, Some(http)) => {
            let ask = HttpExport {
                path: "api/v2/samplingConfiguration".into(),
                ..export(http)
            };
            (exporter.0.clone(), exporter.1, ask)
        }
        (None, None) => {
            notes.error(
                SCHEMA,
                format!("{field}.opentelemetry.dynatraceSampler"),
                "says neither whom to ask, nor do spans go there by HTTP; nothing is traced by this provider",
                "set dynatraceSampler.httpService, or opentelemetry.http",
            );
            return None;
        }
    };
    Some(DynatraceSampler {
        tenant: sampler.tenant.as_str().into(),
        cluster_id: sampler.cluster_id,
        root_spans_per_minute: sampler.root_spans_per_minute,
        service,
        port,
        ask,
    })
}

fn export(http: &api::HttpService) -> HttpExport {
    HttpExport {
        path: http.path.as_str().into(),
        timeout: duration(http.timeout),
        headers: headers(&http.headers),
    }
}

/// Headers with values of their own; those by `envName` have none here, of which MeshConfig's reader tells.
fn headers(headers: &[api::HeaderValue]) -> Vec<(Str, Str)> {
    headers
        .iter()
        .filter_map(|h| Some((h.name.as_str().into(), h.value.as_deref()?.into())))
        .collect()
}

/// The fields of a log's JSON.
pub fn log_fields(fields: &Struct) -> BTreeMap<Str, LogValue> {
    fields
        .iter()
        .map(|(name, value)| (name.as_str().into(), log_value(value)))
        .collect()
}

fn log_value(value: &Value) -> LogValue {
    match value {
        Value::Null => LogValue::Null,
        Value::Bool(b) => LogValue::Bool(*b),
        Value::Number(n) => LogValue::Number(n.as_f64().unwrap_or_default().to_bits()),
        Value::String(text) => LogValue::Text(text.as_str().into()),
        Value::Array(items) => LogValue::List(items.iter().map(log_value).collect()),
        Value::Object(fields) => LogValue::Map(log_fields(fields)),
    }
}

fn as_text(value: &Value) -> Str {
    value
        .as_str()
        .map_or_else(|| value.to_string().into(), Str::from)
}

fn or(text: &str, default: &str) -> Str {
    if text.is_empty() { default } else { text }.into()
}
