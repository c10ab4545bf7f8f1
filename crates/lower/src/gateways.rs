//! Gateways of Istio's own API.

use hawser_api::networking as api;
use hawser_api::{Kind, Object, status::IstioStatus};
use hawser_model::gateway::{
    Gateway, NamespaceMatch, Server, ServerHost, ServerTls, ServerTlsMode,
};
use hawser_model::{ClusterId, Hostname, Problem, Protocol, Str};

use crate::mesh_config::tls_version;
use crate::names::{self, labels, namespace_match, port, protocol, strs};
use crate::notes::{Notes, SCHEMA};

/// Lowers one Gateway; servers that cannot be are left out.
pub fn gateway(
    object: &Object<api::Gateway, IstioStatus>,
    cluster: &ClusterId,
    problems: &mut Vec<Problem>,
) -> Gateway {
    let mut notes = Notes::new(problems, cluster, Kind::Gateway, &object.meta);
    let servers = object
        .spec
        .servers
        .iter()
        .enumerate()
        .filter_map(|(i, s)| {
            server(
                s,
                &object.meta.namespace,
                &format!("spec.servers[{i}]"),
                &mut notes,
            )
        })
        .collect();
    Gateway {
        meta: names::meta(&object.meta),
        selector: labels(&object.spec.selector),
        same_namespace: false,
        services: Vec::new(),
        servers,
    }
}

fn server(
    server: &api::Server,
    namespace: &str,
    field: &str,
    notes: &mut Notes<'_>,
) -> Option<Server> {
    let Some((written, number)) = server
        .port
        .as_ref()
        .and_then(|p| Some((p, port(p.number)?)))
    else {
        notes.error(
            SCHEMA,
            format!("{field}.port"),
            "the server has no port",
            "set port.number, port.name and port.protocol",
        );
        return None;
    };
    let protocol = protocol(&written.protocol).unwrap_or_else(|| {
        notes.error(
            SCHEMA,
            format!("{field}.port.protocol"),
            format!("{:?} is not a protocol", written.protocol),
            "use one of HTTP, HTTPS, GRPC, GRPC-Web, HTTP2, MONGO, TCP, TLS",
        );
        Protocol::Unknown
    });
    let hosts: Vec<ServerHost> = server
        .hosts
        .iter()
        .enumerate()
        .filter_map(|(i, text)| host(text, namespace, &format!("{field}.hosts[{i}]"), notes))
        .collect();
    if hosts.is_empty() {
        return None;
    }
    Some(Server {
        port: number,
        port_name: written.name.as_str().into(),
        protocol,
        bind: server.bind.as_str().into(),
        hosts,
        name: server.name.as_str().into(),
        tls: (server.tls.as_ref()).map(|tls| server_tls(tls, &format!("{field}.tls"), notes)),
    })
}

fn host(text: &str, namespace: &str, field: &str, notes: &mut Notes<'_>) -> Option<ServerHost> {
    let (from, host) = match text.split_once('/') {
        Some((ns, host)) => (namespace_match(ns, namespace), host),
        None => (NamespaceMatch::Any, text),
    };
    match Hostname::parse(host) {
        Ok(host) => Some(ServerHost {
            namespace: from,
            host,
        }),
        Err(error) => {
            notes.error(
                SCHEMA,
                field,
                format!("{text:?} is not a host: {error}"),
                "write a full name or a wildcard such as *.example.com, perhaps after a namespace and a slash",
            );
            None
        }
    }
}

/// The ciphers that Envoy takes: it would refuse the whole listener for one that it does not know.
pub fn ciphers(written: &[String], field: &str, notes: &mut Notes<'_>) -> Vec<Str> {
    for (i, cipher) in written.iter().enumerate() {
        if !hawser_api::ciphers::is_known(cipher) {
            notes.warn(
                SCHEMA,
                format!("{field}.cipherSuites[{i}]"),
                format!("cipher {cipher:?} is not known, and is left out"),
                "use a name of BoringSSL's, such as ECDHE-RSA-AES256-GCM-SHA384",
            );
        }
    }
    let usable = hawser_api::ciphers::usable(written);
    usable.map(Into::into).collect()
}

/// TLS of a server, of a Gateway or of a Sidecar's ingress.
pub fn server_tls(tls: &api::ServerTlsSettings, field: &str, notes: &mut Notes<'_>) -> ServerTls {
    let mut credential_names = strs(&tls.credential_names);
    if credential_names.is_empty() && !tls.credential_name.is_empty() {
        credential_names.push(tls.credential_name.as_str().into());
    }
    let mut certificates: Vec<_> = tls
        .tls_certificates
        .iter()
        .map(|c| {
            (
                c.server_certificate.as_str().into(),
                c.private_key.as_str().into(),
            )
        })
        .collect();
    if certificates.is_empty() && !tls.server_certificate.is_empty() {
        certificates.push((
            tls.server_certificate.as_str().into(),
            tls.private_key.as_str().into(),
        ));
    }
    let ca_certificates = if tls.ca_certificates.is_empty() {
        tls.tls_certificates
            .iter()
            .map(|c| c.ca_certificates.as_str())
            .find(|c| !c.is_empty())
            .unwrap_or_default()
    } else {
        &tls.ca_certificates
    };
    ServerTls {
        mode: match tls.mode {
            api::ServerTlsMode::Passthrough => ServerTlsMode::Passthrough,
            api::ServerTlsMode::Simple => ServerTlsMode::Simple,
            api::ServerTlsMode::Mutual => ServerTlsMode::Mutual,
            api::ServerTlsMode::AutoPassthrough => ServerTlsMode::AutoPassthrough,
            api::ServerTlsMode::IstioMutual => ServerTlsMode::IstioMutual,
            api::ServerTlsMode::OptionalMutual => ServerTlsMode::OptionalMutual,
        },
        https_redirect: tls.https_redirect,
        credential_names,
        certificates,
        ca_certificates: ca_certificates.into(),
        ca_credential_name: tls.ca_cert_credential_name.as_str().into(),
        ca_crl: tls.ca_crl.as_str().into(),
        subject_alt_names: strs(&tls.subject_alt_names),
        verify_spki: strs(&tls.verify_certificate_spki),
        verify_hash: strs(&tls.verify_certificate_hash),
        min_version: tls_version(tls.min_protocol_version),
        max_version: tls_version(tls.max_protocol_version),
        ciphers: ciphers(&tls.cipher_suites, field, notes),
        ecdh_curves: strs(&tls.ecdh_curves),
        accept_untrusted: tls.insecure_skip_verify == Some(true),
        handshake_timeout: None,
    }
}
