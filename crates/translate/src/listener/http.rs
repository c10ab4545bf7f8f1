//! HTTP connection managers.

use std::time::Duration;

use hawser_model::mesh::PathNormalization;
use hawser_model::{Protocol, Shared};
use hawser_proto::envoy::config::core::v3 as core;
use hawser_proto::envoy::config::route::v3 as rds;
use hawser_proto::envoy::extensions::filters::common::set_filter_state::v3 as state_value;
use hawser_proto::envoy::extensions::filters::http as http_filters;
use hawser_proto::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use hawser_proto::envoy::extensions::request_id::uuid::v3 as uuid;
use hcm::http_connection_manager as manager;

use super::spec::{ClientCert, Encoded, HttpShared, HttpSpec, Routes};
use crate::authz::HttpFilters;
use crate::route::retry;
use crate::telemetry;
use crate::wire;

/// The name under which the filter that announces HTTP stands, for routes that switch it off.
pub(crate) const ANNOUNCE: &str = "hawser.announce_http";

pub(super) fn connection_manager(spec: &HttpSpec) -> hcm::HttpConnectionManager {
    let shared = &*spec.shared;
    let details = match shared.client_cert {
        ClientCert::Sanitize => manager::ForwardClientCertDetails::Sanitize,
        ClientCert::ForwardOnly => manager::ForwardClientCertDetails::ForwardOnly,
        ClientCert::AppendForward => manager::ForwardClientCertDetails::AppendForward,
        ClientCert::SanitizeSet => manager::ForwardClientCertDetails::SanitizeSet,
        ClientCert::AlwaysForwardOnly => manager::ForwardClientCertDetails::AlwaysForwardOnly,
    };
    let sets_cert = matches!(
        shared.client_cert,
        ClientCert::AppendForward | ClientCert::SanitizeSet
    );
    hcm::HttpConnectionManager {
        codec_type: manager::CodecType::Auto as i32,
        stat_prefix: spec.stat_prefix.to_string(),
        http_filters: filters(spec),
        tracing: shared.tracing.as_ref().map(|t| telemetry::tracing(t)),
        common_http_protocol_options: shared.idle_timeout.map(|t| core::HttpProtocolOptions {
            idle_timeout: Some(wire::duration(t)),
            ..Default::default()
        }),
        http_protocol_options: shared.http10.then(|| core::Http1ProtocolOptions {
            accept_http_10: true,
            ..Default::default()
        }),
        server_name: if spec.server { "istio-envoy" } else { "" }.to_owned(),
        // Streams may be silent for as long as they like, as with Istio.
        stream_idle_timeout: Some(wire::seconds(0)),
        access_log: telemetry::logs(&shared.logs, true),
        use_remote_address: Some(wire::boolv(shared.use_remote_address)),
        xff_num_trusted_hops: shared.trusted_hops,
        forward_client_cert_details: details as i32,
        set_current_client_cert_details: sets_cert.then(|| manager::SetCurrentClientCertDetails {
            subject: Some(wire::boolv(true)),
            cert: shared.gateway,
            dns: true,
            uri: true,
            ..Default::default()
        }),
        proxy_100_continue: true,
        upgrade_configs: vec![manager::UpgradeConfig {
            upgrade_type: "websocket".to_owned(),
            ..Default::default()
        }],
        normalize_path: (shared.paths != PathNormalization::None).then(|| wire::boolv(true)),
        merge_slashes: matches!(
            shared.paths,
            PathNormalization::MergeSlashes | PathNormalization::DecodeAndMergeSlashes
        ),
        path_with_escaped_slashes_action: if shared.paths
            == PathNormalization::DecodeAndMergeSlashes
        {
            manager::PathWithEscapedSlashesAction::UnescapeAndForward
        } else {
            manager::PathWithEscapedSlashesAction::KeepUnchanged
        } as i32,
        request_id_extension: shared.tracing.as_ref().map(|t| hcm::RequestIdExtension {
            typed_config: Some(wire::any(&uuid::UuidRequestIdConfig {
                use_request_id_for_trace_sampling: Some(wire::boolv(t.use_request_id)),
                ..Default::default()
            })),
        }),
        route_specifier: Some(routes(&spec.routes)),
        ..Default::default()
    }
}

/// Makes gRPC of gRPC-Web's requests, and the other way round of the answers.
pub(crate) fn grpc_web() -> Encoded {
    Encoded::new(
        "envoy.filters.http.grpc_web",
        &http_filters::grpc_web::v3::GrpcWeb::default(),
    )
}

/// The filters of a port before those that all have: policies, extensions, and that for gRPC-Web if the port speaks it.
pub(crate) fn of_port(
    policies: &HttpFilters,
    shared: &HttpShared,
    port: u16,
    protocol: Protocol,
) -> Shared<Vec<Encoded>> {
    let mut out = shared.extensions.among(policies, port);
    if protocol == Protocol::GrpcWeb {
        out.push(grpc_web());
    }
    Shared::new(out)
}

fn filters(spec: &HttpSpec) -> Vec<hcm::HttpFilter> {
    let mut out = Vec::new();
    for own in spec.filters.iter() {
        out.push(hcm::HttpFilter {
            name: own.name.to_string(),
            config_type: Some(hcm::http_filter::ConfigType::TypedConfig(own.any())),
            ..Default::default()
        });
    }
    if spec.announce_http {
        out.push(wire::http_filter(ANNOUNCE, &announce()));
    }
    out.push(wire::http_filter(
        "envoy.filters.http.fault",
        &http_filters::fault::v3::HttpFault::default(),
    ));
    out.push(wire::http_filter(
        "envoy.filters.http.cors",
        &http_filters::cors::v3::Cors::default(),
    ));
    out.push(wire::http_filter(
        "envoy.filters.http.router",
        &http_filters::router::v3::Router::default(),
    ));
    out
}

/// Sets the ALPN of the upstream connection, so that a sidecar behind a sniffed port knows that HTTP follows.
fn announce() -> http_filters::set_filter_state::v3::Config {
    use core::substitution_format_string::Format;
    use state_value::filter_state_value::{Key, SharedWithUpstream, Value};
    http_filters::set_filter_state::v3::Config {
        on_request_headers: vec![state_value::FilterStateValue {
            key: Some(Key::ObjectKey(
                "envoy.network.application_protocols".to_owned(),
            )),
            value: Some(Value::FormatString(core::SubstitutionFormatString {
                format: Some(Format::TextFormatSource(core::DataSource {
                    specifier: Some(core::data_source::Specifier::InlineString(
                        "istio-http/1.1,istio".to_owned(),
                    )),
                    ..Default::default()
                })),
                ..Default::default()
            })),
            shared_with_upstream: SharedWithUpstream::Once as i32,
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn routes(routes: &Routes) -> manager::RouteSpecifier {
    match routes {
        Routes::Named(name) => manager::RouteSpecifier::Rds(hcm::Rds {
            config_source: Some(wire::ads()),
            route_config_name: name.to_string(),
        }),
        Routes::Inbound {
            name,
            vhost,
            cluster,
            operation,
            retries,
        } => manager::RouteSpecifier::RouteConfig(rds::RouteConfiguration {
            name: name.to_string(),
            virtual_hosts: vec![rds::VirtualHost {
                name: vhost.to_string(),
                domains: vec!["*".to_owned()],
                routes: vec![inbound_route(cluster, operation, retries.as_deref())],
                ..Default::default()
            }],
            validate_clusters: Some(wire::boolv(false)),
            ..Default::default()
        }),
    }
}

fn inbound_route(
    cluster: &str,
    operation: &str,
    retries: Option<&hawser_model::route::Retries>,
) -> rds::Route {
    use rds::route_action::{ClusterSpecifier, MaxStreamDuration};
    let retry_policy = match retries {
        // Only what the application cannot have seen is tried again.
        None => Some(rds::RetryPolicy {
            retry_on: "reset-before-request".to_owned(),
            num_retries: Some(wire::u32v(2)),
            ..Default::default()
        }),
        Some(own) => retry::of(Some(own), false),
    };
    rds::Route {
        name: "default".to_owned(),
        r#match: Some(rds::RouteMatch {
            path_specifier: Some(rds::route_match::PathSpecifier::Prefix("/".to_owned())),
            ..Default::default()
        }),
        decorator: Some(rds::Decorator {
            operation: operation.to_owned(),
            ..Default::default()
        }),
        action: Some(rds::route::Action::Route(rds::RouteAction {
            cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.to_owned())),
            timeout: Some(wire::duration(Duration::ZERO)),
            retry_policy,
            max_stream_duration: Some(MaxStreamDuration {
                max_stream_duration: Some(wire::seconds(0)),
                grpc_timeout_header_max: Some(wire::seconds(0)),
                ..Default::default()
            }),
            ..Default::default()
        })),
        ..Default::default()
    }
}
