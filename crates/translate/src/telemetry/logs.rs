//! Access logs.

use std::collections::BTreeMap;

use hawser_model::mesh::{GrpcLogKind, LogDetails, Mesh, Provider};
use hawser_model::{Shared, Str};
use hawser_proto::envoy::config::accesslog::v3 as accesslog;
use hawser_proto::envoy::config::core::v3 as core;
use hawser_proto::envoy::extensions::access_loggers::{
    file::v3 as file, filters::cel::v3 as cel, grpc::v3 as grpc, open_telemetry::v3 as otel,
};
use hawser_proto::google::protobuf::Any;

use super::Subject;
use crate::cluster::{outbound_name, sni_name};
use crate::wire;

/// Istio's default format of a line.
const FORMAT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n";

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

/// Where accesses are logged to.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct AccessLogs {
    logs: Vec<Log>,
}

/// One log.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Log {
    to: To,
    /// A CEL expression; empty is all.
    filter: Str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum To {
    /// A file, in lines of text or of JSON.
    File {
        path: Str,
        /// Empty is Istio's default.
        text: Str,
        json: Option<BTreeMap<Str, Str>>,
        omit_empty: bool,
    },
    /// A service.
    Grpc {
        kind: GrpcLogKind,
        host: Str,
        port: u16,
        name: Str,
        more: LogDetails,
    },
}

/// The logs of a subject's traffic: by Telemetry objects if there are any, else MeshConfig's default providers, else
/// its `accessLogFile`.
pub(crate) fn plan(subject: &Subject<'_>) -> Shared<AccessLogs> {
    let mesh = &subject.snapshot.mesh;
    let mut names: Vec<Str> = mesh.default_access_logging.clone();
    let mut off: BTreeMap<Str, bool> = BTreeMap::new();
    let mut filters: BTreeMap<Str, Str> = BTreeMap::new();
    let (mut all_off, mut filter_all, mut said) = (false, Str::from(""), false);
    for telemetry in subject.levels() {
        let mut first = true;
        for entry in &telemetry.access_logging {
            if !subject.concerns(entry.mode) {
                continue;
            }
            said = true;
            if entry.providers.is_empty() {
                all_off = entry.disabled.unwrap_or(all_off);
                if !entry.filter.is_empty() {
                    filter_all = entry.filter.clone();
                }
                continue;
            }
            if std::mem::take(&mut first) {
                names.clear();
                all_off = false;
            }
            for provider in &entry.providers {
                names.push(provider.clone());
                off.insert(provider.clone(), entry.disabled.unwrap_or(false));
                if !entry.filter.is_empty() {
                    filters.insert(provider.clone(), entry.filter.clone());
                }
            }
        }
    }
    let mut logs = Vec::new();
    if names.is_empty() && !all_off && !mesh.access_log_file.is_empty() {
        logs.push(Log {
            to: mesh_file(mesh, mesh.access_log_file.clone()),
            filter: filter_all.clone(),
        });
    }
    if said || !names.is_empty() {
        for name in &names {
            if all_off || off.get(name).copied().unwrap_or(false) {
                continue;
            }
            if let Some(to) = provider(mesh, name) {
                let filter = filters.get(name).unwrap_or(&filter_all).clone();
                let log = Log { to, filter };
                if !logs.contains(&log) {
                    logs.push(log);
                }
            }
        }
    }
    Shared::new(AccessLogs { logs })
}

fn mesh_file(mesh: &Mesh, path: Str) -> To {
    To::File {
        path,
        text: mesh.access_log_format.clone(),
        json: mesh.access_log_json.then(|| {
            let own = own_fields(&mesh.access_log_format);
            own.unwrap_or_else(|| {
                FIELDS
                    .iter()
                    .map(|(k, v)| (Str::from(*k), Str::from(*v)))
                    .collect()
            })
        }),
        omit_empty: false,
    }
}

/// The fields of `accessLogFormat`, which is a JSON object where the encoding is JSON.
fn own_fields(format: &str) -> Option<BTreeMap<Str, Str>> {
    let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(format).ok()?;
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => Str::from(text.as_str()),
        other => other.to_string().into(),
    };
    let fields = fields.iter().map(|(k, v)| (Str::from(k.as_str()), text(v)));
    Some(fields.collect())
}

fn provider(mesh: &Mesh, name: &Str) -> Option<To> {
    match mesh.providers.get(name) {
        Some(Provider::FileLog {
            path,
            text,
            json,
            omit_empty,
        }) => Some(To::File {
            path: path.clone(),
            text: text.clone(),
            json: (!json.is_empty()).then(|| json.clone()),
            omit_empty: *omit_empty,
        }),
        Some(Provider::GrpcLog {
            kind,
            service,
            port,
            log_name,
            more,
        }) => Some(To::Grpc {
            more: more.clone(),
            kind: *kind,
            host: service.as_str().into(),
            port: *port,
            name: log_name.clone(),
        }),
        // Istio knows this one without being told.
        None if &**name == "envoy" => Some(mesh_file(mesh, "/dev/stdout".into())),
        _ => None,
    }
}

/// The loggers for HTTP, or for connections.
pub(crate) fn logs(plan: &AccessLogs, http: bool) -> Vec<accesslog::AccessLog> {
    plan.logs
        .iter()
        .filter_map(|log| {
            let (name, config) = match &log.to {
                To::File {
                    path,
                    text,
                    json,
                    omit_empty,
                } => (
                    "envoy.access_loggers.file",
                    to_file(path, text, json.as_ref(), *omit_empty),
                ),
                To::Grpc {
                    kind,
                    host,
                    port,
                    name,
                    more,
                } => to_service(*kind, host, *port, (name, more), http)?,
            };
            let filter = (!log.filter.is_empty()).then(|| expression(&log.filter));
            Some(accesslog::AccessLog {
                name: name.to_owned(),
                filter,
                config_type: Some(accesslog::access_log::ConfigType::TypedConfig(config)),
            })
        })
        .collect()
}

/// Logs of connections that no chain takes.
pub(crate) fn listener_logs(plan: &AccessLogs) -> Vec<accesslog::AccessLog> {
    use accesslog::access_log_filter::FilterSpecifier;
    let mut out = logs(plan, false);
    for log in &mut out {
        log.filter = Some(accesslog::AccessLogFilter {
            filter_specifier: Some(FilterSpecifier::ResponseFlagFilter(
                accesslog::ResponseFlagFilter {
                    flags: vec!["NR".to_owned()],
                },
            )),
        });
    }
    out
}

fn expression(text: &str) -> accesslog::AccessLogFilter {
    use accesslog::access_log_filter::FilterSpecifier;
    accesslog::AccessLogFilter {
        filter_specifier: Some(FilterSpecifier::ExtensionFilter(
            accesslog::ExtensionFilter {
                name: "envoy.access_loggers.extension_filters.cel".to_owned(),
                config_type: Some(accesslog::extension_filter::ConfigType::TypedConfig(
                    wire::any(&cel::ExpressionFilter {
                        expression: text.to_owned(),
                        ..Default::default()
                    }),
                )),
            },
        )),
    }
}

fn to_file(
    path: &str,
    text: &str,
    json: Option<&BTreeMap<Str, Str>>,
    omit_empty_values: bool,
) -> Any {
    use core::substitution_format_string::Format;
    let format = match json {
        Some(fields) => Format::JsonFormat(wire::structure(
            fields.iter().map(|(k, v)| (&**k, wire::text_value(v))),
        )),
        None => {
            let mut line = if text.is_empty() { FORMAT } else { text }.to_owned();
            if !line.ends_with('\n') {
                line.push('\n');
            }
            Format::TextFormatSource(core::DataSource {
                specifier: Some(core::data_source::Specifier::InlineString(line)),
                ..Default::default()
            })
        }
    };
    wire::any(&file::FileAccessLog {
        path: path.to_owned(),
        access_log_format: Some(file::file_access_log::AccessLogFormat::LogFormat(
            core::SubstitutionFormatString {
                format: Some(format),
                omit_empty_values,
                ..Default::default()
            },
        )),
    })
}

fn to_service(
    kind: GrpcLogKind,
    host: &str,
    port: u16,
    (name, more): (&str, &LogDetails),
    http: bool,
) -> Option<(&'static str, Any)> {
    let named = |default: &str| if name.is_empty() { default } else { name }.to_owned();
    let common = |default: &str| grpc::CommonGrpcAccessLogConfig {
        log_name: named(default),
        grpc_service: Some(service(host, port)),
        transport_api_version: core::ApiVersion::V3 as i32,
        filter_state_objects_to_log: wire::strings(&more.filter_state),
        ..Default::default()
    };
    match kind {
        GrpcLogKind::Http if http => Some((
            "envoy.access_loggers.http_grpc",
            wire::any(&grpc::HttpGrpcAccessLogConfig {
                common_config: Some(common("http_envoy_accesslog")),
                additional_request_headers_to_log: wire::strings(&more.request_headers),
                additional_response_headers_to_log: wire::strings(&more.response_headers),
                additional_response_trailers_to_log: wire::strings(&more.response_trailers),
            }),
        )),
        // Requests alone are logged there.
        GrpcLogKind::Http => None,
        GrpcLogKind::Tcp => Some((
            "envoy.access_loggers.tcp_grpc",
            wire::any(&grpc::TcpGrpcAccessLogConfig {
                common_config: Some(common("tcp_envoy_accesslog")),
            }),
        )),
        GrpcLogKind::OpenTelemetry => Some((
            "envoy.access_loggers.open_telemetry",
            wire::any(&otel::OpenTelemetryAccessLogConfig {
                grpc_service: Some(service(host, port)),
                log_name: named("otel_envoy_accesslog"),
                disable_builtin_labels: true,
                ..Default::default()
            }),
        )),
    }
}

/// A gRPC service of the mesh.
pub(super) fn service(host: &str, port: u16) -> core::GrpcService {
    core::GrpcService {
        target_specifier: Some(core::grpc_service::TargetSpecifier::EnvoyGrpc(
            core::grpc_service::EnvoyGrpc {
                cluster_name: outbound_name(port, "", host),
                // `|` is not valid in an authority.
                authority: sni_name(port, "", host),
                ..Default::default()
            },
        )),
        ..Default::default()
    }
}
