//! Gateway, and TLS of servers.

use super::names::Protocol;
use super::{Check, names};
use crate::ciphers;
use crate::networking::{
    Gateway, Port, Server, ServerTlsMode, ServerTlsSettings, TlsCertificate, TlsProtocol,
};
use std::collections::BTreeSet;

pub(super) fn check(c: &mut Check, gateway: &Gateway) {
    if !names::is_dns_label(&c.object.name) {
        let name = c.object.name.clone();
        c.error(
            format!("\"{name}\" is not a name that a Gateway can have"),
            "use letters, digits and hyphens, 63 at most",
        );
    }
    if gateway.servers.is_empty() {
        c.error_at("servers", "a gateway must have at least one server", "");
    }
    c.each("servers", &gateway.servers, server);
    let mut names = BTreeSet::new();
    c.each("servers", &gateway.servers, |c, server| {
        let Some(port) = &server.port else { return };
        if !names.insert(port.name.clone()) {
            c.within("port", |c| {
                c.error_at(
                    "name",
                    format!("port name \"{}\" stands twice", port.name),
                    "rename one",
                )
            });
        }
        let http = Protocol::parse(&port.protocol).is_some_and(Protocol::is_http);
        if !http && server.tls.as_ref().is_some_and(|tls| tls.https_redirect) {
            c.within("tls", |c| {
                c.within("httpsRedirect", |c| {
                    c.warn(
                        "httpsRedirect is for HTTP servers",
                        "put it on the server of port 80",
                    )
                });
            });
        }
    });
}

fn server(c: &mut Check, server: &Server) {
    if server.hosts.is_empty() {
        c.error_at(
            "hosts",
            "a server must have at least one host",
            "use \"*\" for all",
        );
    }
    c.each("hosts", &server.hosts, |c, host| {
        for wrong in names::namespaced_host(host, true) {
            c.error(wrong.message, wrong.help);
        }
    });
    let before = c.findings.len();
    match &server.port {
        Some(port) => c.within("port", |c| check_port(c, port, &server.bind)),
        None => c.error_at("port", "is required", ""),
    }
    let port_ok = c.findings.len() == before;
    bind(c, server);
    if let Some(tls) = &server.tls {
        c.within("tls", |c| server_tls(c, tls));
    }
    let protocol = server
        .port
        .as_ref()
        .and_then(|p| Protocol::parse(&p.protocol));
    if let Some(protocol) = protocol.filter(|_| port_ok) {
        tls_fits(c, protocol, server.tls.as_ref());
    }
}

fn check_port(c: &mut Check, port: &Port, bind: &str) {
    if Protocol::parse(&port.protocol).is_none() {
        c.error_at(
            "protocol",
            format!("\"{}\" is not a protocol of gateways", port.protocol),
            "use HTTP, HTTPS, HTTP2, GRPC, GRPC-WEB, TLS, TCP, MONGO, REDIS or MYSQL",
        );
    }
    if port.number > 0 || !bind.starts_with("unix://") {
        c.require("number", names::port(port.number));
    }
    if port.target_port > 0 {
        c.error_at(
            "targetPort",
            "has no effect on a gateway",
            "remove it; the gateway's Service maps ports",
        );
    }
    if port.name.is_empty() {
        c.error_at("name", "a port must have a name", "");
    }
}

fn bind(c: &mut Check, server: &Server) {
    if let Some(path) = server.bind.strip_prefix("unix://") {
        c.require("bind", names::unix_path(path));
        if server.port.as_ref().is_some_and(|p| p.number != 0) {
            c.within("port", |c| {
                c.error_at("number", "must be 0 for a Unix domain socket", "")
            });
        }
    } else if !server.bind.is_empty() {
        c.require("bind", names::ip(&server.bind));
    }
}

fn tls_fits(c: &mut Check, protocol: Protocol, tls: Option<&ServerTlsSettings>) {
    match tls {
        None if protocol.is_tls() => {
            c.error_at(
                "tls",
                "a server of HTTPS or TLS needs tls",
                "add tls with a mode, and credentialName unless it passes through",
            );
        }
        Some(tls) if !protocol.is_tls() => {
            let files = [
                &tls.ca_certificates,
                &tls.private_key,
                &tls.server_certificate,
            ];
            let passes = matches!(
                tls.mode,
                ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough
            );
            if !protocol.is_http() {
                c.error_at(
                    "tls",
                    "a server that is neither HTTPS nor TLS cannot have tls",
                    "use protocol TLS, or remove tls",
                );
            } else if !passes || files.iter().any(|f| !f.is_empty()) {
                c.error_at(
                    "tls",
                    "a plain HTTP server cannot have tls",
                    "use protocol HTTPS, or keep httpsRedirect only",
                );
            }
        }
        _ => {}
    }
}

/// TLS that a server ends, or lets pass.
pub(super) fn server_tls(c: &mut Check, tls: &ServerTlsSettings) {
    if matches!(
        tls.min_protocol_version,
        TlsProtocol::V1_0 | TlsProtocol::V1_1
    ) && tls.cipher_suites.is_empty()
    {
        c.within("minProtocolVersion", |c| {
            c.warn(
                "TLS below 1.2 has no ciphers by default",
                "name some in cipherSuites, or use TLSV1_2",
            );
        });
    }
    let mut seen = BTreeSet::new();
    c.each("cipherSuites", &tls.cipher_suites, |c, cipher| {
        if !ciphers::is_known(cipher) {
            c.warn(
                format!("cipher \"{cipher}\" is not known, and is left out"),
                "",
            );
        } else if !seen.insert(cipher.clone()) {
            c.warn(format!("cipher \"{cipher}\" stands twice"), "remove one");
        }
    });
    let set = |name: &str| !name.is_empty();
    match tls.mode {
        ServerTlsMode::IstioMutual => {
            let contradicting = [
                ("serverCertificate", set(&tls.server_certificate)),
                ("privateKey", set(&tls.private_key)),
                ("caCertificates", set(&tls.ca_certificates)),
                ("tlsCertificates", !tls.tls_certificates.is_empty()),
                ("credentialName", set(&tls.credential_name)),
                ("credentialNames", !tls.credential_names.is_empty()),
            ];
            for (key, _) in contradicting.iter().filter(|(_, set)| *set) {
                c.error_at(
                    key,
                    "contradicts mode ISTIO_MUTUAL, which uses the mesh's own certificates",
                    "remove it, or use mode MUTUAL",
                );
            }
            return;
        }
        ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough => {
            let any = [
                &tls.ca_crl,
                &tls.server_certificate,
                &tls.private_key,
                &tls.ca_certificates,
                &tls.credential_name,
            ]
            .iter()
            .any(|f| !f.is_empty())
                || !tls.tls_certificates.is_empty()
                || !tls.credential_names.is_empty();
            if any {
                c.warn(
                    format!("mode {} uses no certificates", tls.mode.as_str()),
                    "remove them",
                );
            }
        }
        _ => {}
    }
    let sources = [
        set(&tls.server_certificate) && set(&tls.private_key),
        set(&tls.credential_name),
        !tls.credential_names.is_empty(),
        !tls.tls_certificates.is_empty(),
    ];
    if sources.iter().filter(|s| **s).count() > 1 {
        c.error(
            "certificates come from several places",
            "keep one of credentialName, credentialNames, tlsCertificates, and serverCertificate with privateKey",
        );
    }
    let ends = matches!(
        tls.mode,
        ServerTlsMode::Simple | ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual
    );
    if ends && (set(&tls.credential_name) || !tls.credential_names.is_empty()) {
        return;
    }
    if ends {
        certificates(c, tls);
    }
    if set(&tls.ca_crl) && set(&tls.credential_name) {
        c.error_at(
            "caCrl",
            "has no effect beside credentialName",
            "put the list into the credential",
        );
    } else if set(&tls.ca_crl) && tls.mode == ServerTlsMode::Simple {
        c.error_at(
            "caCrl",
            "has no effect in mode SIMPLE, which asks for no client certificate",
            "remove it",
        );
    }
}

fn certificates(c: &mut Check, tls: &ServerTlsSettings) {
    let mode = tls.mode.as_str();
    if tls.mode != ServerTlsMode::Simple && tls.ca_certificates.is_empty() {
        c.error_at(
            "caCertificates",
            format!("is required for mode {mode}"),
            "set it, or credentialName",
        );
    }
    let pair = |c: &mut Check, certificate: &TlsCertificate| {
        if certificate.server_certificate.is_empty() {
            c.error_at(
                "serverCertificate",
                format!("is required for mode {mode}"),
                "set it, or credentialName",
            );
        }
        if certificate.private_key.is_empty() {
            c.error_at(
                "privateKey",
                format!("is required for mode {mode}"),
                "set it, or credentialName",
            );
        }
    };
    if tls.tls_certificates.is_empty() {
        let certificate = TlsCertificate {
            server_certificate: tls.server_certificate.clone(),
            private_key: tls.private_key.clone(),
            ca_certificates: String::new(),
        };
        pair(c, &certificate);
    } else {
        c.each("tlsCertificates", &tls.tls_certificates, pair);
    }
}
