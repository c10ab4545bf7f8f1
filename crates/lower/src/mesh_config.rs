//! MeshConfig and MeshNetworks, with their defaults.

use std::collections::BTreeMap;

use hawser_api::Kind;
use hawser_api::mesh as api;
use hawser_api::networking as net;
use hawser_model::authn::MtlsMode;
use hawser_model::gateway::TlsVersion;
use hawser_model::matching::Fraction;
use hawser_model::mesh::{Mesh, Network, PathNormalization, TlsDefaults};
use hawser_model::provider::{LogFormat, Provider};
use hawser_model::sidecar::OutboundPolicy;
use hawser_model::telemetry::TracingDefaults;
use hawser_model::traffic::{H2Upgrade, LocalitySettings};
use hawser_model::{ClusterId, NetworkId, Problem, Str};

use crate::destination_rules::{connection_pool, locality, outlier, tcp_keepalive, zone_aware};
use crate::gateways::ciphers;
use crate::names::{default_visibility, port, strs};
use crate::notes::{Notes, SCHEMA, UNSUPPORTED};
use crate::virtual_services::retries;
use crate::{mesh_inert, providers, telemetry};

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
    let providers = providers::providers(&config.extension_providers, &mut notes);
    for name in &default_providers.metrics {
        if !scrapes(&providers, name) {
            notes.warn(
                UNSUPPORTED,
                "mesh.defaultProviders.metrics",
                format!("{name} has no effect: metrics are those of stock Envoy"),
                "scrape the proxies at /stats/prometheus of port 15090",
            );
        }
    }
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
        default_pool: (config.default_traffic_policy.as_ref())
            .and_then(|p| p.connection_pool.as_ref())
            .map(connection_pool),
        default_outlier: (config.default_traffic_policy.as_ref())
            .and_then(|p| p.outlier_detection.as_ref())
            .map(outlier),
        default_service_visibility: default_visibility(&config.default_service_export_to),
        default_route_visibility: default_visibility(&config.default_virtual_service_export_to),
        default_rule_visibility: default_visibility(&config.default_destination_rule_export_to),
        providers,
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
        mtls_ciphers: (config.mesh_mtls.as_ref()).map_or_else(Vec::new, |t| {
            ciphers(&t.cipher_suites, "mesh.meshMTLS", &mut notes)
        }),
        tls_defaults: (config.tls_defaults.as_ref()).map_or_else(Default::default, |t| {
            TlsDefaults {
                min_version: tls_version(t.min_protocol_version),
                ciphers: ciphers(&t.cipher_suites, "mesh.tlsDefaults", &mut notes),
                ecdh_curves: strs(&t.ecdh_curves),
            }
        }),
        default_retries: config.default_http_retry_policy.as_ref().map(retries),
        default_inbound_retries: config
            .default_inbound_http_retry_policy
            .as_ref()
            .map(retries),
        access_log_file: config.access_log_file.as_str().into(),
        access_log_format: log_format(config, &mut notes),
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

/// True if a provider of metrics is Prometheus, which scrapes what proxies tell anyhow. Istio knows `prometheus` by itself.
pub fn scrapes(providers: &BTreeMap<Str, Provider>, name: &str) -> bool {
    match providers.get(name) {
        None => name == "prometheus",
        Some(provider) => *provider == Provider::Prometheus,
    }
}

fn log_format(config: &api::MeshConfig, notes: &mut Notes<'_>) -> LogFormat {
    let text = config.access_log_format.as_str();
    if config.access_log_encoding != api::AccessLogEncoding::Json {
        return LogFormat::Text(text.into());
    }
    if text.is_empty() {
        return LogFormat::Json(BTreeMap::new());
    }
    match serde_json::from_str(text) {
        Ok(fields) => LogFormat::Json(providers::log_fields(&fields)),
        Err(error) => {
            notes.error(
                SCHEMA,
                "mesh.accessLogFormat",
                format!("is not a JSON object: {error}; the default fields are logged"),
                "write an object, or set accessLogEncoding: TEXT",
            );
            LogFormat::Json(BTreeMap::new())
        }
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
