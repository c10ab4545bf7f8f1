//! TLS towards endpoints.

use hawser_model::authn::MtlsMode;
use hawser_model::gateway::TlsVersion;
use hawser_model::mesh::{Mesh, TlsDefaults};
use hawser_model::proxy::TlsFiles;
use hawser_model::service::Registry;
use hawser_model::traffic::{ClientTls, ClientTlsMode, TrafficPolicy};
use hawser_model::{Service, Str};
use hawser_proto::envoy::config::cluster::v3 as cds;
use hawser_proto::envoy::config::core::v3 as core;
use hawser_proto::envoy::extensions::transport_sockets::{
    proxy_protocol::v3 as proxy_protocol, raw_buffer::v3 as raw_buffer, tls::v3 as tls,
};
use tls::common_tls_context::{CombinedCertificateValidationContext, ValidationContextType};

use super::{Builder, http, sni_name};
use crate::wire;

const TLS: &str = "envoy.transport_sockets.tls";
const RAW: &str = "envoy.transport_sockets.raw_buffer";

/// The secret with the workload's own certificate.
pub(crate) const OWN_CERTIFICATE: &str = "default";
/// The secret with the mesh's roots.
pub(crate) const MESH_ROOTS: &str = "ROOTCA";

/// A secret served by the agent beside the proxy (`sds-grpc` of its bootstrap).
pub(crate) fn secret(name: &str) -> tls::SdsSecretConfig {
    use core::config_source::ConfigSourceSpecifier;
    use core::grpc_service::{EnvoyGrpc, TargetSpecifier};
    let v3 = core::ApiVersion::V3 as i32;
    tls::SdsSecretConfig {
        name: name.to_owned(),
        sds_config: Some(core::ConfigSource {
            initial_fetch_timeout: Some(wire::seconds(0)),
            resource_api_version: v3,
            config_source_specifier: Some(ConfigSourceSpecifier::ApiConfigSource(
                core::ApiConfigSource {
                    api_type: core::api_config_source::ApiType::Grpc as i32,
                    transport_api_version: v3,
                    grpc_services: vec![core::GrpcService {
                        target_specifier: Some(TargetSpecifier::EnvoyGrpc(EnvoyGrpc {
                            cluster_name: "sds-grpc".to_owned(),
                            ..Default::default()
                        })),
                        ..Default::default()
                    }],
                    set_node_on_first_message_only: true,
                    ..Default::default()
                },
            )),
            ..Default::default()
        }),
    }
}

/// A secret that the control plane serves: credentials of gateways and of DestinationRules.
pub(crate) fn ads_secret(name: &str) -> tls::SdsSecretConfig {
    tls::SdsSecretConfig {
        name: name.to_owned(),
        sds_config: Some(core::ConfigSource {
            // Credentials may come later than their listener.
            initial_fetch_timeout: None,
            ..wire::ads()
        }),
    }
}

/// Certificate and key in files, by the agent: `file-cert:CERT~KEY`.
pub(crate) fn file_certificate(certificate: &str, key: &str) -> tls::SdsSecretConfig {
    secret(&format!("file-cert:{certificate}~{key}"))
}

/// Roots in a file, by the agent: `file-root:FILE`.
pub(crate) fn file_roots(file: &str) -> tls::SdsSecretConfig {
    secret(&format!("file-root:{file}"))
}

pub(crate) fn version(v: TlsVersion) -> tls::tls_parameters::TlsProtocol {
    use tls::tls_parameters::TlsProtocol;
    match v {
        TlsVersion::Auto => TlsProtocol::TlsAuto,
        TlsVersion::V1_0 => TlsProtocol::TlSv10,
        TlsVersion::V1_1 => TlsProtocol::TlSv11,
        TlsVersion::V1_2 => TlsProtocol::TlSv12,
        TlsVersion::V1_3 => TlsProtocol::TlSv13,
    }
}

/// Roots by secret, names checked besides.
pub(crate) fn validation(roots: tls::SdsSecretConfig, names: &[Str]) -> ValidationContextType {
    validation_with(roots, names, "")
}

/// Likewise, with a file of revoked certificates.
fn validation_with(roots: tls::SdsSecretConfig, names: &[Str], crl: &str) -> ValidationContextType {
    ValidationContextType::CombinedValidationContext(CombinedCertificateValidationContext {
        default_validation_context: Some(tls::CertificateValidationContext {
            match_typed_subject_alt_names: names
                .iter()
                .flat_map(|n| san_matchers(wire::exact(n), n))
                .collect(),
            crl: (!crl.is_empty()).then(|| core::DataSource {
                specifier: Some(core::data_source::Specifier::Filename(crl.to_owned())),
                ..Default::default()
            }),
            ..Default::default()
        }),
        validation_context_sds_secret_config: Some(roots),
        ..Default::default()
    })
}

/// A name in each form that it may have in a certificate.
pub(crate) fn san_matchers(
    matcher: hawser_proto::envoy::r#type::matcher::v3::StringMatcher,
    name: &str,
) -> Vec<tls::SubjectAltNameMatcher> {
    use tls::subject_alt_name_matcher::SanType;
    let kinds: &[SanType] = if name.contains("://") {
        &[SanType::Uri]
    } else if name.parse::<std::net::IpAddr>().is_ok() {
        &[SanType::IpAddress]
    } else {
        &[SanType::Dns, SanType::Uri]
    };
    kinds
        .iter()
        .map(|kind| tls::SubjectAltNameMatcher {
            san_type: *kind as i32,
            matcher: Some(matcher.clone()),
            ..Default::default()
        })
        .collect()
}

/// Names that the endpoints of a service may show under mutual TLS: identities of its workloads and a ServiceEntry's
/// `subjectAltNames`, under all names of the trust domain.
fn accepted_names(service: &Service, mesh: &Mesh) -> Vec<Str> {
    let identities = service.identities.iter().map(|i| Str::from(i.to_string()));
    let mut out: std::collections::BTreeSet<Str> = identities
        .chain(service.subject_alt_names.iter().cloned())
        .collect();
    let aliases = mesh.trust_domain_aliases.iter();
    let all: Vec<Str> = out
        .iter()
        .filter_map(|name| hawser_model::Identity::parse(name))
        .flat_map(|identity| {
            aliases.clone().map(move |alias| {
                Str::from(
                    hawser_model::Identity {
                        trust_domain: alias.clone(),
                        ..identity.clone()
                    }
                    .to_string(),
                )
            })
        })
        .collect();
    out.extend(all);
    out.into_iter().collect()
}

/// What ALPN a client offers a peer in the mesh. The first name tells the peer's sidecar before decryption what is
/// spoken (`istio-http/1.1`, `istio-h2`, or `istio` alone for bytes); servers never choose it.
fn mesh_alpn(
    protocol: hawser_model::Protocol,
    upstream: http::Upstream,
) -> &'static [&'static str] {
    if upstream == http::Upstream::Http2 {
        &["istio-h2", "istio", "h2"]
    } else if protocol.is_http() {
        &["istio-http/1.1", "istio"]
    } else {
        &["istio"]
    }
}

pub(super) struct TlsInput<'a> {
    pub policy: &'a TrafficPolicy,
    pub service: &'a Service,
    pub port: &'a hawser_model::Port,
    pub subset: &'a str,
    pub mesh: &'a Mesh,
    pub mtls: Option<MtlsMode>,
    pub files: &'a TlsFiles,
    /// A router, or a sidecar that the rule was written for.
    pub may_read_secrets: bool,
}

/// Sets the transport sockets of an outbound cluster (Istio's `buildUpstreamTLSSettings`).
pub(super) fn apply(b: &mut Builder, input: &TlsInput<'_>) {
    let generated_sni = sni_name(input.port.number, input.subset, input.service.host.as_str());
    let mesh_tls = |names: Vec<Str>, sni: String, b: &Builder| {
        let mut context = mutual_context(input.files, &names);
        context.alpn_protocols = wire::strings(mesh_alpn(input.port.protocol, b.http.protocol));
        wire::transport_socket(
            TLS,
            &tls::UpstreamTlsContext {
                common_tls_context: Some(context),
                sni,
                ..Default::default()
            },
        )
    };
    match &input.policy.tls {
        Some(own) if own.mode == ClientTlsMode::IstioMutual => {
            let names = if own.subject_alt_names.is_empty() {
                accepted_names(input.service, input.mesh)
            } else {
                own.subject_alt_names.clone()
            };
            let sni = if own.sni.is_empty() {
                generated_sni
            } else {
                own.sni.to_string()
            };
            b.cluster.transport_socket = Some(mesh_tls(names, sni, b));
        }
        Some(own) => {
            // A sidecar may not read secrets, unless a rule was written for it; as in Istio it then has no TLS to use.
            let no_secret = !own.credential_name.is_empty()
                && !own.credential_name.starts_with("configmap://")
                && !input.may_read_secrets;
            if own.mode != ClientTlsMode::Disable && !no_secret {
                let names = match input.service.registry {
                    Registry::External if own.subject_alt_names.is_empty() => {
                        accepted_names(input.service, input.mesh)
                    }
                    _ => own.subject_alt_names.clone(),
                };
                let socket = external(b, own, &names, &input.mesh.tls_defaults);
                b.cluster.transport_socket = Some(socket);
            }
        }
        None => {
            let off = input.service.mesh_external
                || !input.mesh.auto_mtls
                || matches!(input.mtls, None | Some(MtlsMode::Disable));
            if !off {
                let socket = mesh_tls(accepted_names(input.service, input.mesh), generated_sni, b);
                if b.is(cds::cluster::DiscoveryType::OriginalDst) {
                    b.cluster.transport_socket = Some(socket);
                } else {
                    b.cluster.transport_socket_matches = matches(socket);
                }
            }
        }
    }
    if let Some(version) = input.policy.proxy_protocol {
        wrap_proxy_protocol(&mut b.cluster, version);
    }
}

/// Mutual TLS for endpoints that have a sidecar, plain text for others.
fn matches(mutual: core::TransportSocket) -> Vec<cds::cluster::TransportSocketMatch> {
    vec![
        cds::cluster::TransportSocketMatch {
            name: "tlsMode-istio".to_owned(),
            r#match: Some(wire::structure([("tlsMode", wire::text_value("istio"))])),
            transport_socket: Some(mutual),
        },
        cds::cluster::TransportSocketMatch {
            name: "tlsMode-disabled".to_owned(),
            r#match: Some(Default::default()),
            transport_socket: Some(plain()),
        },
    ]
}

fn plain() -> core::TransportSocket {
    wire::transport_socket(RAW, &raw_buffer::RawBuffer::default())
}

/// The mesh's own certificate and roots, or those of files that the proxy's metadata names.
fn mutual_context(files: &TlsFiles, names: &[Str]) -> tls::CommonTlsContext {
    let certificate = if files.client_cert.is_empty() {
        secret(OWN_CERTIFICATE)
    } else {
        file_certificate(&files.client_cert, &files.client_key)
    };
    let roots = if files.client_root.is_empty() {
        secret(MESH_ROOTS)
    } else {
        file_roots(&files.client_root)
    };
    tls::CommonTlsContext {
        tls_params: Some(tls::TlsParameters {
            tls_minimum_protocol_version: tls::tls_parameters::TlsProtocol::TlSv12 as i32,
            tls_maximum_protocol_version: tls::tls_parameters::TlsProtocol::TlSv13 as i32,
            ..Default::default()
        }),
        tls_certificate_sds_secret_configs: vec![certificate],
        validation_context_type: Some(validation(roots, names)),
        ..Default::default()
    }
}

/// TLS of the user's own making (`SIMPLE`, `MUTUAL`).
fn external(
    b: &mut Builder,
    own: &ClientTls,
    names: &[Str],
    defaults: &TlsDefaults,
) -> core::TransportSocket {
    let mut context = tls::CommonTlsContext {
        tls_params: Some(tls::TlsParameters {
            tls_maximum_protocol_version: tls::tls_parameters::TlsProtocol::TlSv13 as i32,
            tls_minimum_protocol_version: tls::tls_parameters::TlsProtocol::TlSv12 as i32,
            cipher_suites: wire::strings(&defaults.ciphers),
            ecdh_curves: wire::strings(&defaults.ecdh_curves),
            ..Default::default()
        }),
        ..Default::default()
    };
    let credential =
        (!own.credential_name.is_empty()).then(|| credential_name(&own.credential_name));
    if own.mode == ClientTlsMode::Mutual {
        context.tls_certificate_sds_secret_configs = vec![match &credential {
            Some(name) => ads_secret(name),
            None => file_certificate(&own.client_certificate, &own.private_key),
        }];
    }
    let verify = !own.insecure_skip_verify;
    let roots = match &credential {
        Some(name) if verify => Some(ads_secret(&format!("{name}-cacert"))),
        None if verify && !own.ca_certificates.is_empty() => Some(match &*own.ca_certificates {
            "system" => secret("file-root:system"),
            file => file_roots(file),
        }),
        _ => None,
    };
    context.validation_context_type = Some(match roots {
        Some(roots) => validation_with(roots, names, &own.ca_crl),
        // The system's roots, as Istio has it since 1.20 (`VERIFY_CERTIFICATE_AT_CLIENT`).
        None if verify => validation_with(secret("file-root:system"), names, &own.ca_crl),
        None => ValidationContextType::ValidationContext(Default::default()),
    });
    if own.sni.is_empty() {
        b.http.auto_sni = true;
    }
    let by_name = matches!(
        b.cluster.cluster_discovery_type,
        Some(cds::cluster::ClusterDiscoveryType::ClusterType(_))
    );
    // Where a name is looked up as it is called, the certificate must be for that name.
    if verify && (by_name || (own.sni.is_empty() && own.subject_alt_names.is_empty())) {
        b.http.auto_san_validation = true;
    }
    if b.http.protocol == http::Upstream::Http2 {
        context.alpn_protocols = wire::strings(["h2"]);
    }
    wire::transport_socket(
        TLS,
        &tls::UpstreamTlsContext {
            common_tls_context: Some(context),
            sni: own.sni.to_string(),
            ..Default::default()
        },
    )
}

/// The SDS name of a DestinationRule's credential.
fn credential_name(name: &str) -> String {
    if name.contains("://") {
        name.to_owned()
    } else {
        format!("kubernetes://{name}")
    }
}

fn wrap_proxy_protocol(cluster: &mut cds::Cluster, version: u8) {
    let version = if version == 2 {
        core::proxy_protocol_config::Version::V2
    } else {
        core::proxy_protocol_config::Version::V1
    };
    let wrap = |inner: core::TransportSocket| {
        wire::transport_socket(
            "envoy.transport_sockets.upstream_proxy_protocol",
            &proxy_protocol::ProxyProtocolUpstreamTransport {
                config: Some(core::ProxyProtocolConfig {
                    version: version as i32,
                    ..Default::default()
                }),
                transport_socket: Some(inner),
                ..Default::default()
            },
        )
    };
    for one in &mut cluster.transport_socket_matches {
        one.transport_socket = one.transport_socket.take().map(wrap);
    }
    if cluster.transport_socket_matches.is_empty() {
        let inner = cluster.transport_socket.take().unwrap_or_else(plain);
        cluster.transport_socket = Some(wrap(inner));
    }
}
