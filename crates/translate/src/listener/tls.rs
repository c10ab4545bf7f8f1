//! TLS of servers: of the mesh, of gateways, of Sidecars' ingress listeners.

use hawser_model::Str;
use hawser_model::gateway::{ServerTls, ServerTlsMode, TlsVersion};
use hawser_model::proxy::TlsFiles;
use hawser_proto::envoy::config::core::v3 as core;
use hawser_proto::envoy::extensions::transport_sockets::tls::v3 as tls;
use tls::certificate_validation_context::TrustChainVerification;
use tls::common_tls_context::{CombinedCertificateValidationContext, ValidationContextType};

use super::spec::TlsSpec;
use crate::cluster::tls::{
    MESH_ROOTS, OWN_CERTIFICATE, ads_secret, file_certificate, file_roots, san_matchers, secret,
    version,
};
use crate::wire;

/// Istio's name for the mesh's own certificate, among credentials.
const BUILTIN: &str = "builtin://";

/// What servers offer to speak within TLS, also those that pass bytes on: clients of gRPC refuse a server without. Never a
/// name of the mesh: Envoy would take `istio` for HTTP/1.1.
const ALPN: [&str; 2] = ["h2", "http/1.1"];

/// Ciphers for TLS 1.2 (Istio's defaults).
const CIPHERS: &[&str] = &[
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-GCM-SHA256",
];

pub(super) fn socket(spec: &TlsSpec) -> core::TransportSocket {
    let context = match spec {
        TlsSpec::Mesh {
            trust_domains,
            min_version,
            ciphers,
            files,
        } => mesh(trust_domains, *min_version, ciphers, files),
        TlsSpec::Server { tls, files } => server(tls, files),
        TlsSpec::Ingress(tls) => server(tls, &TlsFiles::default()),
    };
    wire::transport_socket("envoy.transport_sockets.tls", &context)
}

fn trust_domain_matchers(domains: &[Str]) -> Vec<tls::SubjectAltNameMatcher> {
    domains
        .iter()
        .map(|d| tls::SubjectAltNameMatcher {
            san_type: tls::subject_alt_name_matcher::SanType::Uri as i32,
            matcher: Some(wire::prefix(&format!("spiffe://{d}/"))),
            ..Default::default()
        })
        .collect()
}

/// The workload's certificate and the mesh's roots, by files if the proxy names some.
fn mesh_secrets(files: &TlsFiles) -> (tls::SdsSecretConfig, tls::SdsSecretConfig) {
    let certificate = if files.server_cert.is_empty() {
        secret(OWN_CERTIFICATE)
    } else {
        file_certificate(&files.server_cert, &files.server_key)
    };
    let roots = if files.server_root.is_empty() {
        secret(MESH_ROOTS)
    } else {
        file_roots(&files.server_root)
    };
    (certificate, roots)
}

fn mesh(
    domains: &[Str],
    min: TlsVersion,
    ciphers: &[Str],
    files: &TlsFiles,
) -> tls::DownstreamTlsContext {
    let min = if min == TlsVersion::Auto {
        TlsVersion::V1_2
    } else {
        min
    };
    let (certificate, roots) = mesh_secrets(files);
    tls::DownstreamTlsContext {
        common_tls_context: Some(tls::CommonTlsContext {
            tls_params: Some(tls::TlsParameters {
                tls_minimum_protocol_version: version(min) as i32,
                tls_maximum_protocol_version: version(TlsVersion::V1_3) as i32,
                cipher_suites: if ciphers.is_empty() {
                    wire::strings(CIPHERS)
                } else {
                    wire::strings(ciphers)
                },
                ..Default::default()
            }),
            tls_certificate_sds_secret_configs: vec![certificate],
            validation_context_type: Some(ValidationContextType::CombinedValidationContext(
                CombinedCertificateValidationContext {
                    default_validation_context: Some(tls::CertificateValidationContext {
                        match_typed_subject_alt_names: trust_domain_matchers(domains),
                        ..Default::default()
                    }),
                    validation_context_sds_secret_config: Some(roots),
                    ..Default::default()
                },
            )),
            alpn_protocols: wire::strings(ALPN),
            ..Default::default()
        }),
        require_client_certificate: Some(wire::boolv(true)),
        ..Default::default()
    }
}

/// A gateway's server with the mesh's own certificates: whoever the mesh's roots vouch for may call, or those whose names
/// the server lists; versions and ciphers are Envoy's unless the server says others.
fn istio_mutual(own: &ServerTls, files: &TlsFiles) -> tls::DownstreamTlsContext {
    let (certificate, roots) = mesh_secrets(files);
    tls::DownstreamTlsContext {
        common_tls_context: Some(tls::CommonTlsContext {
            tls_params: parameters(own),
            tls_certificate_sds_secret_configs: vec![certificate],
            validation_context_type: Some(crate::cluster::tls::validation(
                roots,
                &own.subject_alt_names,
            )),
            alpn_protocols: wire::strings(ALPN),
            ..Default::default()
        }),
        require_client_certificate: Some(wire::boolv(true)),
        ..Default::default()
    }
}

/// A gateway's server (Istio's `buildGatewayListenerTLSContext`).
fn server(own: &ServerTls, files: &TlsFiles) -> tls::DownstreamTlsContext {
    if own.mode == ServerTlsMode::IstioMutual {
        return istio_mutual(own, files);
    }
    let mut common = tls::CommonTlsContext {
        tls_params: parameters(own),
        alpn_protocols: wire::strings(ALPN),
        ..Default::default()
    };
    let sds = |name: &str| {
        if name == BUILTIN {
            return (name.to_owned(), secret(OWN_CERTIFICATE));
        }
        let full = if name.contains("://") {
            name.to_owned()
        } else {
            format!("kubernetes://{name}")
        };
        (full.clone(), ads_secret(&full))
    };
    let first = own.credential_names.first();
    common.tls_certificate_sds_secret_configs = if own.credential_names.is_empty() {
        own.certificates
            .iter()
            .map(|(certificate, key)| file_certificate(certificate, key))
            .collect()
    } else {
        own.credential_names.iter().map(|n| sds(n).1).collect()
    };
    let asks = matches!(
        own.mode,
        ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual
    );
    let check = tls::CertificateValidationContext {
        match_typed_subject_alt_names: own
            .subject_alt_names
            .iter()
            .flat_map(|n| san_matchers(wire::exact(n), n))
            .collect(),
        verify_certificate_spki: wire::strings(&own.verify_spki),
        verify_certificate_hash: wire::strings(&own.verify_hash),
        trust_chain_verification: if own.accept_untrusted {
            TrustChainVerification::AcceptUntrusted as i32
        } else {
            TrustChainVerification::VerifyTrustChain as i32
        },
        ..Default::default()
    };
    let roots = if !asks {
        None
    } else if !own.ca_credential_name.is_empty() {
        Some(sds(&own.ca_credential_name).1)
    } else if let Some(first) = first {
        Some(ads_secret(&format!("{}-cacert", sds(first).0)))
    } else if !own.ca_certificates.is_empty() {
        Some(file_roots(&own.ca_certificates))
    } else {
        None
    };
    if let Some(roots) = roots {
        common.validation_context_type = Some(ValidationContextType::CombinedValidationContext(
            CombinedCertificateValidationContext {
                default_validation_context: Some(check),
                validation_context_sds_secret_config: Some(roots),
                ..Default::default()
            },
        ));
    } else if asks {
        common.validation_context_type = Some(ValidationContextType::ValidationContext(check));
    }
    tls::DownstreamTlsContext {
        common_tls_context: Some(common),
        require_client_certificate: Some(wire::boolv(own.mode == ServerTlsMode::Mutual)),
        ..Default::default()
    }
}

/// What a server says of versions and ciphers; nothing leaves them to Envoy.
fn parameters(own: &ServerTls) -> Option<tls::TlsParameters> {
    let number = |of: TlsVersion| match of {
        TlsVersion::Auto => 0,
        of => version(of) as i32,
    };
    let params = tls::TlsParameters {
        tls_minimum_protocol_version: number(own.min_version),
        tls_maximum_protocol_version: number(own.max_version),
        cipher_suites: wire::strings(&own.ciphers),
        ecdh_curves: wire::strings(&own.ecdh_curves),
        ..Default::default()
    };
    (params != tls::TlsParameters::default()).then_some(params)
}
