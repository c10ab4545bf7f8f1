//! Access logs.

use std::collections::BTreeMap;

use hawser_model::mesh::Mesh;
use hawser_model::provider::{GrpcLogKind, LogDetails, LogFormat, Provider};
use hawser_model::{Hostname, Shared, Str};
use hawser_proto::envoy::config::accesslog::v3 as accesslog;
use hawser_proto::envoy::config::core::v3 as core;
use hawser_proto::envoy::extensions::access_loggers::{
    file::v3 as file, filters::cel::v3 as cel, grpc::v3 as grpc, open_telemetry::v3 as otel,
};
use hawser_proto::google::protobuf::Any;

use super::{Subject, log_format};
use crate::cluster::outbound_name;
use crate::wire;

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
        format: LogFormat,
        omit_empty: bool,
    },
    /// A service.
    Grpc {
        kind: GrpcLogKind,
        host: Hostname,
        port: u16,
        name: Str,
        more: LogDetails,
    },
    /// OpenTelemetry.
    Otel {
        host: Hostname,
        port: u16,
        name: Str,
        /// Empty is Istio's line.
        text: Str,
        attributes: BTreeMap<Str, Str>,
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
            if let Some(to) = provider(subject, name) {
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
        format: mesh.access_log_format.clone(),
        omit_empty: false,
    }
}

/// `None` where there is nobody to log to.
fn provider(subject: &Subject<'_>, name: &Str) -> Option<To> {
    let mesh = &subject.snapshot.mesh;
    match mesh.providers.get(name) {
        // Istio knows this one without being told, in the form that the mesh has.
        None if &**name == "envoy" => Some(mesh_file(mesh, "/dev/stdout".into())),
        Some(Provider::FileLog {
            path,
            format,
            omit_empty: false,
        }) if &**name == "envoy" && format.is_default() => Some(mesh_file(mesh, path.clone())),
        Some(Provider::FileLog {
            path,
            format,
            omit_empty,
        }) => Some(To::File {
            path: path.clone(),
            format: format.clone(),
            omit_empty: *omit_empty,
        }),
        Some(Provider::GrpcLog {
            kind,
            service,
            port,
            log_name,
            more,
        }) => subject.reaches(service, *port).then(|| To::Grpc {
            more: more.clone(),
            kind: *kind,
            host: service.clone(),
            port: *port,
            name: log_name.clone(),
        }),
        Some(Provider::OtelLog {
            service,
            port,
            log_name,
            text,
            attributes,
        }) => subject.reaches(service, *port).then(|| To::Otel {
            host: service.clone(),
            port: *port,
            name: log_name.clone(),
            text: text.clone(),
            attributes: attributes.clone(),
        }),
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
                    format,
                    omit_empty,
                } => (
                    "envoy.access_loggers.file",
                    to_file(path, format, *omit_empty),
                ),
                To::Grpc {
                    kind,
                    host,
                    port,
                    name,
                    more,
                } => to_service(*kind, host.as_str(), *port, (name, more), http)?,
                To::Otel {
                    host,
                    port,
                    name,
                    text,
                    attributes,
                } => (
                    "envoy.access_loggers.open_telemetry",
                    wire::any(&otel::OpenTelemetryAccessLogConfig {
                        grpc_service: Some(service(host.as_str(), *port)),
                        log_name: name.to_string(),
                        disable_builtin_labels: true,
                        ..log_format::record(text, attributes)
                    }),
                ),
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

fn to_file(path: &str, format: &LogFormat, omit_empty_values: bool) -> Any {
    wire::any(&file::FileAccessLog {
        path: path.to_owned(),
        access_log_format: Some(file::file_access_log::AccessLogFormat::LogFormat(
            core::SubstitutionFormatString {
                omit_empty_values,
                ..log_format::file(format)
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
    }
}

/// A gRPC service of the mesh.
pub(super) fn service(host: &str, port: u16) -> core::GrpcService {
    core::GrpcService {
        target_specifier: Some(core::grpc_service::TargetSpecifier::EnvoyGrpc(
            core::grpc_service::EnvoyGrpc {
                cluster_name: outbound_name(port, "", host),
                authority: host.to_owned(),
                ..Default::default()
            },
        )),
        ..Default::default()
    }
}
