//! MeshConfig and MeshNetworks, with their defaults.

use std::collections::BTreeMap;

use hawser_api::Kind;
use hawser_api::mesh as api;
use hawser_api::networking as net;
use hawser_model::authn::MtlsMode;
use hawser_model::gateway::TlsVersion;
use hawser_model::matching::Fraction;
use hawser_model::mesh::{
    ExtAuthzBody, ExtAuthzGrpc, ExtAuthzHttp, GrpcLogKind, LogDetails, Mesh, Network,
    PathNormalization, Provider, TlsDefaults,
};
use hawser_model::sidecar::OutboundPolicy;
use hawser_model::telemetry::TracingDefaults;
use hawser_model::traffic::{H2Upgrade, LocalitySettings};
use hawser_model::{ClusterId, Hostname, NetworkId, Problem, Str};

use crate::destination_rules::{locality, tcp_keepalive, zone_aware};
use crate::names::{default_visibility, duration, port, strs};
use crate::notes::{Notes, SCHEMA, UNSUPPORTED};
use crate::virtual_services::retries;
use crate::{mesh_inert, telemetry};

/// Lowers MeshConfig and MeshNetworks.
pub fn mesh(
    cluster: &ClusterId,
    config: &api::MeshConfig,
    networks: &api::MeshNetworks,
    dns_domain: &str,
    problems: &mut Vec<Problem>,
) -> Mesh {
    let object = hawser_api::Meta {
        name: "istio".to_owned(),
        namespace: config.root_namespace().to_owned(),
        ..Default::default()
    };
    let mut notes = Notes::new(problems, cluster, Kind::ConfigMap, &object);
    mesh_inert::tell(config, networks, &mut notes);
    let default_providers = config.default_providers.clone().unwrap_or_default();
    Mesh {
        trust_domain: config.trust_domain().into(),
        trust_domain_aliases: strs(&config.trust_domain_aliases),
        root_namespace: config.root_namespace().into(),
        dns_domain: dns_domain.into(),
        auto_mtls: config.auto_mtls(),
        outbound_policy: match config.outbound_mode() {
            api::MeshOutboundMode::RegistryOnly => OutboundPolicy::RegistryOnly,
            api::MeshOutboundMode::AllowAny => OutboundPolicy::AllowAny,
            api::MeshOutboundMode::AllowAnyDynamicDns => {
                notes.warn(
                    UNSUPPORTED,
                    "mesh.outboundTrafficPolicy.mode",
                    "ALLOW_ANY_DYNAMIC_DNS is treated as ALLOW_ANY",
                    "",
                );
                OutboundPolicy::AllowAny
            }
        },
        inbound_passthrough: config.inbound_mode() == api::MeshInboundMode::Passthrough,
        locality: config
            .locality_lb_setting
            .as_ref()
            .map_or_else(LocalitySettings::default, locality),
        zone_aware: config.zone_aware_lb_setting.as_ref().map(zone_aware),
        default_service_visibility: default_visibility(&config.default_service_export_to),
        default_route_visibility: default_visibility(&config.default_virtual_service_export_to),
        default_rule_visibility: default_visibility(&config.default_destination_rule_export_to),
        providers: providers(&config.extension_providers, &mut notes),
        default_access_logging: strs(&default_providers.access_logging),
        default_tracing: strs(&default_providers.tracing),
        tracing: config
            .default_config
            .as_ref()
            .and_then(|c| c.tracing.as_ref())
            .map(tracing_defaults)
            .unwrap_or_default(),
        path_normalization: match config.path_normalization() {
            api::PathNormalization::None => PathNormalization::None,
            api::PathNormalization::Default | api::PathNormalization::Base => {
                PathNormalization::Base
            }
            api::PathNormalization::MergeSlashes => PathNormalization::MergeSlashes,
            api::PathNormalization::DecodeAndMergeSlashes => {
                PathNormalization::DecodeAndMergeSlashes
            }
        },
        mtls_min_version: config
            .mesh_mtls
            .as_ref()
            .map_or(TlsVersion::Auto, |t| tls_version(t.min_protocol_version)),
        mtls_ciphers: (config.mesh_mtls.as_ref()).map_or_else(Vec::new, |t| strs(&t.cipher_suites)),
        tls_defaults: (config.tls_defaults.as_ref()).map_or_else(Default::default, |t| {
            TlsDefaults {
                min_version: tls_version(t.min_protocol_version),
                ciphers: strs(&t.cipher_suites),
                ecdh_curves: strs(&t.ecdh_curves),
            }
        }),
        default_retries: config.default_http_retry_policy.as_ref().map(retries),
        default_inbound_retries: config
            .default_inbound_http_retry_policy
            .as_ref()
            .map(retries),
        access_log_file: config.access_log_file.as_str().into(),
        access_log_format: config.access_log_format.as_str().into(),
        access_log_json: config.access_log_encoding == api::AccessLogEncoding::Json,
        connect_timeout: config.connect_timeout().to_std(),
        protocol_detection_timeout: config.protocol_detection_timeout().to_std(),
        dns_refresh_rate: config.dns_refresh_rate().to_std(),
        outbound_port: port(config.outbound_port()).unwrap_or(15001),
        inbound_port: port(config.inbound_port()).unwrap_or(15006),
        h2_upgrade: match config.h2_upgrade_policy {
            api::MeshH2UpgradePolicy::DoNotUpgrade => H2Upgrade::DoNotUpgrade,
            api::MeshH2UpgradePolicy::Upgrade => H2Upgrade::Upgrade,
        },
        tcp_keepalive: config.tcp_keepalive.as_ref().map(tcp_keepalive),
        ingress_class: or(&config.ingress_class, "istio"),
        ingress_selector: match config.ingress_service.as_str() {
            // The service and its pods mostly have one name; that of the default installation is older than this.
            "" | "istio-ingressgateway" => or(&config.ingress_selector, "ingressgateway"),
            service => or(&config.ingress_selector, service),
        },
        ingress_service: or(&config.ingress_service, "istio-ingressgateway"),
        default_mtls: MtlsMode::Permissive,
        networks: self::networks(networks, &mut notes),
    }
}

fn tracing_defaults(tracing: &api::TracingConfig) -> TracingDefaults {
    // Istio takes a share above the whole for one in a hundred, and none for "not said".
    let sampling = match tracing.sampling {
        share if share <= 0.0 => None,
        share if share > 100.0 => Some(1.0),
        share => Some(share),
    };
    TracingDefaults {
        sampling: sampling.map(Fraction::from_percent),
        tags: telemetry::tags(&tracing.custom_tags),
        max_path_tag_length: tracing.max_path_tag_length,
    }
}

fn or(text: &str, default: &str) -> Str {
    if text.is_empty() { default } else { text }.into()
}

/// A TLS version.
pub fn tls_version(version: net::TlsProtocol) -> TlsVersion {
    match version {
        net::TlsProtocol::Auto => TlsVersion::Auto,
        net::TlsProtocol::V1_0 => TlsVersion::V1_0,
        net::TlsProtocol::V1_1 => TlsVersion::V1_1,
        net::TlsProtocol::V1_2 => TlsVersion::V1_2,
        net::TlsProtocol::V1_3 => TlsVersion::V1_3,
    }
}

fn networks(networks: &api::MeshNetworks, notes: &mut Notes<'_>) -> BTreeMap<NetworkId, Network> {
    let mut out = BTreeMap::new();
    for (id, network) in &networks.networks {
        let mut lowered = Network::default();
        for (i, endpoints) in network.endpoints.iter().enumerate() {
            if let Some(registry) = &endpoints.from_registry {
                lowered.clusters.push(ClusterId::new(registry));
            }
            if let Some(cidr) = &endpoints.from_cidr {
                match cidr.parse() {
                    Ok(net) => lowered.cidrs.push(net),
                    Err(_) => notes.error(
                        SCHEMA,
                        format!("meshNetworks.networks.{id}.endpoints[{i}].fromCidr"),
                        format!("{cidr:?} is not an address range"),
                        "write it as 10.1.0.0/16",
                    ),
                }
            }
        }
        out.insert(NetworkId::new(id), lowered);
    }
    out
}

fn providers(
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
        let format = file.log_format.clone().unwrap_or_default();
        return Some(Provider::FileLog {
            path: or(&file.path, "/dev/stdout"),
            text: format.text.unwrap_or_default().into(),
            json: format
                .labels
                .unwrap_or_default()
                .iter()
                .map(|(k, v)| {
                    let text = v.as_str().map_or_else(|| v.to_string(), str::to_owned);
                    (k.as_str().into(), text.into())
                })
                .collect(),
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
        return Some(Provider::GrpcLog {
            kind: GrpcLogKind::OpenTelemetry,
            service,
            port,
            log_name: or(&otel.log_name, "otel_envoy_accesslog"),
            more: LogDetails::default(),
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
            path: zipkin.path.as_str().into(),
            trace_id_64bit: zipkin.enable_64bit_trace_id,
            w3c: zipkin.trace_context_option == api::TraceContextOption::UseB3WithW3cPropagation,
            max_tag_length: zipkin.max_tag_length,
        });
    }
    if let Some(otel) = &provider.opentelemetry {
        let (service, port) = self::service(&otel.service, otel.port, field, notes)?;
        let http = otel.http.as_ref();
        let grpc = otel.grpc.as_ref().filter(|_| http.is_none());
        let headers = http
            .map(|h| &h.headers)
            .or(grpc.map(|g| &g.initial_metadata));
        return Some(Provider::OpenTelemetry {
            service,
            port,
            http_path: http.map(|h| h.path.as_str().into()),
            timeout: duration(
                http.and_then(|h| h.timeout)
                    .or(grpc.and_then(|g| g.timeout)),
            ),
            headers: headers
                .into_iter()
                .flatten()
                .filter_map(|h| Some((h.name.as_str().into(), h.value.as_deref()?.into())))
                .collect(),
            max_tag_length: otel.max_tag_length,
        });
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
