//! Access logs and traces.

use hawser_model::{Proxy, Snapshot};
use hawser_model::{Shared, Str};
use hawser_proto::envoy::config::accesslog::v3 as accesslog;
use hawser_proto::envoy::config::core::v3 as core;
use hawser_proto::envoy::extensions::access_loggers::file::v3 as file;
use hawser_proto::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;

use crate::wire;

/// Istio's default format of a line.
const FORMAT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n";

/// Where accesses are logged to.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct AccessLogs {
    pub files: Vec<FileLog>,
}

/// A log to a file.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct FileLog {
    pub path: Str,
    /// Empty is Istio's default.
    pub format: Str,
}

/// What is traced, and to where.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Tracing {
    pub use_request_id: bool,
}

/// The logs of a proxy's traffic.
pub(crate) fn plan(snapshot: &Snapshot, _proxy: &Proxy) -> Shared<AccessLogs> {
    let mesh = &snapshot.mesh;
    let mut logs = AccessLogs::default();
    if !mesh.access_log_file.is_empty() {
        logs.files.push(FileLog {
            path: mesh.access_log_file.clone(),
            format: mesh.access_log_format.clone(),
        });
    }
    Shared::new(logs)
}

pub(crate) fn logs(plan: &AccessLogs, _http: bool) -> Vec<accesslog::AccessLog> {
    use accesslog::access_log::ConfigType;
    use core::substitution_format_string::Format;
    plan.files
        .iter()
        .map(|log| {
            let mut text = if log.format.is_empty() {
                FORMAT.to_owned()
            } else {
                log.format.to_string()
            };
            if !text.ends_with('\n') {
                text.push('\n');
            }
            accesslog::AccessLog {
                name: "envoy.access_loggers.file".to_owned(),
                filter: None,
                config_type: Some(ConfigType::TypedConfig(wire::any(&file::FileAccessLog {
                    path: log.path.to_string(),
                    access_log_format: Some(file::file_access_log::AccessLogFormat::LogFormat(
                        core::SubstitutionFormatString {
                            format: Some(Format::TextFormatSource(core::DataSource {
                                specifier: Some(core::data_source::Specifier::InlineString(text)),
                                ..Default::default()
                            })),
                            ..Default::default()
                        },
                    )),
                }))),
            }
        })
        .collect()
}

/// Logs of connections that no chain takes.
pub(crate) fn listener_logs(plan: &AccessLogs) -> Vec<accesslog::AccessLog> {
    let mut out = logs(plan, false);
    for log in &mut out {
        log.filter = Some(accesslog::AccessLogFilter {
            filter_specifier: Some(
                accesslog::access_log_filter::FilterSpecifier::ResponseFlagFilter(
                    accesslog::ResponseFlagFilter {
                        flags: vec!["NR".to_owned()],
                    },
                ),
            ),
        });
    }
    out
}

pub(crate) fn tracing(_plan: &Tracing) -> hcm::http_connection_manager::Tracing {
    hcm::http_connection_manager::Tracing::default()
}
