//! What a line, or a record, of an access log says (Istio's `telemetry_logging.go`).

use std::collections::BTreeMap;

use hawser_model::Str;
use hawser_model::provider::{LogFormat, LogValue};
use hawser_proto::envoy::config::core::v3 as core;
use hawser_proto::envoy::extensions::access_loggers::open_telemetry::v3 as otel;
use hawser_proto::envoy::extensions::formatter::req_without_query::v3 as without_query;
use hawser_proto::google::protobuf as pb;
use hawser_proto::opentelemetry::proto::common::v1 as common;

use crate::wire;

/// Istio's default format of a line.
const LINE: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n";

/// The same as fields of a JSON object.
const FIELDS: &[(&str, &str)] = &[
    ("start_time", "%START_TIME%"),
    ("route_name", "%ROUTE_NAME%"),
    ("method", "%REQ(:METHOD)%"),
    ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("protocol", "%PROTOCOL%"),
    ("response_code", "%RESPONSE_CODE%"),
    ("response_flags", "%RESPONSE_FLAGS%"),
    ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
    (
        "connection_termination_details",
        "%CONNECTION_TERMINATION_DETAILS%",
    ),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("duration", "%DURATION%"),
    (
        "upstream_service_time",
        "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
    ),
    ("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
    ("user_agent", "%REQ(USER-AGENT)%"),
    ("request_id", "%REQ(X-REQUEST-ID)%"),
    ("authority", "%REQ(:AUTHORITY)%"),
    ("upstream_host", "%UPSTREAM_HOST%"),
    ("upstream_cluster", "%UPSTREAM_CLUSTER_RAW%"),
    ("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"),
    ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
    ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("requested_server_name", "%REQUESTED_SERVER_NAME%"),
    (
        "upstream_transport_failure_reason",
        "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    ),
];

/// The format of a file.
pub(super) fn file(format: &LogFormat) -> core::SubstitutionFormatString {
    use core::substitution_format_string::Format;
    let (formatters, format) = match format {
        LogFormat::Json(fields) if fields.is_empty() => {
            let default = FIELDS.iter().map(|(k, v)| (*k, wire::text_value(v)));
            (Vec::new(), Format::JsonFormat(wire::structure(default)))
        }
        LogFormat::Json(fields) => (
            formatters(fields.values().any(strips)),
            Format::JsonFormat(object(fields)),
        ),
        LogFormat::Text(text) => {
            let mut line = line(text).to_owned();
            if !line.ends_with('\n') {
                line.push('\n');
            }
            (
                formatters(strips_query(&line)),
                Format::TextFormatSource(core::DataSource {
                    specifier: Some(core::data_source::Specifier::InlineString(line)),
                    ..Default::default()
                }),
            )
        }
    };
    core::SubstitutionFormatString {
        format: Some(format),
        formatters,
        ..Default::default()
    }
}

/// Body and attributes of OpenTelemetry's records.
pub(super) fn record(
    text: &str,
    attributes: &BTreeMap<Str, Str>,
) -> otel::OpenTelemetryAccessLogConfig {
    let strips = strips_query(text) || attributes.values().any(|v| strips_query(v));
    otel::OpenTelemetryAccessLogConfig {
        body: Some(any_value(line(text))),
        attributes: (!attributes.is_empty()).then(|| common::KeyValueList {
            values: attributes
                .iter()
                .map(|(key, value)| common::KeyValue {
                    key: key.to_string(),
                    value: Some(any_value(value)),
                    ..Default::default()
                })
                .collect(),
        }),
        formatters: formatters(strips),
        ..Default::default()
    }
}

fn any_value(text: &str) -> common::AnyValue {
    common::AnyValue {
        value: Some(common::any_value::Value::StringValue(text.to_owned())),
    }
}

/// Of those that Istio's users may write, this command alone is not built into Envoy: without its formatter Envoy refuses
/// the listener.
const STRIPS_QUERY: &str = "%REQ_WITHOUT_QUERY";

fn strips_query(text: &str) -> bool {
    text.contains(STRIPS_QUERY)
}

fn strips(value: &LogValue) -> bool {
    match value {
        LogValue::Text(text) => strips_query(text),
        LogValue::List(items) => items.iter().any(strips),
        LogValue::Map(fields) => fields.values().any(strips),
        LogValue::Null | LogValue::Bool(_) | LogValue::Number(_) => false,
    }
}

fn formatters(strips_query: bool) -> Vec<core::TypedExtensionConfig> {
    let formatter = || {
        wire::extension(
            "envoy.formatter.req_without_query",
            &without_query::ReqWithoutQuery::default(),
        )
    };
    strips_query.then(formatter).into_iter().collect()
}

fn line(text: &str) -> &str {
    if text.is_empty() { LINE } else { text }
}

fn object(fields: &BTreeMap<Str, LogValue>) -> pb::Struct {
    wire::structure(fields.iter().map(|(name, value)| (&**name, json(value))))
}

fn json(value: &LogValue) -> pb::Value {
    use pb::value::Kind;
    pb::Value {
        kind: Some(match value {
            LogValue::Null => Kind::NullValue(0),
            LogValue::Bool(b) => Kind::BoolValue(*b),
            LogValue::Number(bits) => Kind::NumberValue(f64::from_bits(*bits)),
            LogValue::Text(text) => Kind::StringValue(text.to_string()),
            LogValue::List(items) => Kind::ListValue(pb::ListValue {
                values: items.iter().map(json).collect(),
            }),
            LogValue::Map(fields) => Kind::StructValue(object(fields)),
        }),
    }
}
