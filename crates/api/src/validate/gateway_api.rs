//! The Gateway API: the rules of its CRDs beyond types and bounds, by which a cluster refuses an object.
//!
//! Fields that a CRD defaults are taken as filled in. Which parts of a valid object Hawser honours is for its status to say.

use super::{Check, names};
use crate::ciphers::is_known;
use crate::gateway_api::{BackendTlsPolicySpec, CIPHERS, GatewaySpec, Listener};
use std::collections::BTreeSet;

pub(super) fn one_of(c: &mut Check, key: &str, value: Option<&str>, known: &[&str]) {
    let Some(value) = value.filter(|v| !known.contains(v)) else {
        return;
    };
    let help = match crate::message::nearest(value, known) {
        Some(near) => format!("did you mean {near}? one of {}", known.join(", ")),
        None => format!("use one of {}", known.join(", ")),
    };
    c.error_at(key, format!("unsupported value \"{value}\""), help);
}

/// A host name in lower case, whose first label may be a wildcard if `wildcard` is set.
pub(super) fn hostname(host: &str, wildcard: bool) -> Result<(), names::Wrong> {
    let plain = host.strip_prefix("*.").filter(|_| wildcard).unwrap_or(host);
    if names::is_ip(host) {
        return Err(names::wrong(
            format!("\"{host}\" is an IP address, and a host name is wanted"),
            "leave it out to mean any host",
        ));
    }
    if host.contains("://") {
        return Err(names::wrong(
            format!("\"{host}\" is a URL, and a host name is wanted"),
            "write the host alone",
        ));
    }
    names::fqdn(plain)?;
    if plain.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(names::wrong(
            format!("host \"{host}\" has capitals"),
            "write it in lower case",
        ));
    }
    Ok(())
}

pub(super) fn check_gateway(c: &mut Check, gateway: &GatewaySpec) {
    let mut places = BTreeSet::new();
    c.each("listeners", &gateway.listeners, |c, listener| {
        check_listener(c, listener);
        let place = (
            listener.port,
            listener.protocol.clone(),
            listener.hostname.clone().unwrap_or_default(),
        );
        if !places.insert(place) {
            c.error(
                "another listener has the same port, protocol and hostname",
                "merge them, or change one",
            );
        }
    });
    c.each("addresses", &gateway.addresses, |c, address| {
        let kind = address.type_.as_deref().unwrap_or("IPAddress");
        match kind {
            "IPAddress" => c.require("value", names::ip(&address.value)),
            "Hostname" => c.require("value", hostname(&address.value, false)),
            other if other.contains('/') => {}
            _ => one_of(c, "type", Some(kind), &["IPAddress", "Hostname"]),
        }
    });
}

fn check_listener(c: &mut Check, listener: &Listener) {
    let protocol = listener.protocol.as_str();
    // Protocols of an implementation's own have a domain.
    if !protocol.contains('/') {
        one_of(
            c,
            "protocol",
            Some(protocol),
            &["HTTP", "HTTPS", "TLS", "TCP", "UDP"],
        );
    }
    if let Some(host) = listener.hostname.as_deref().filter(|h| !h.is_empty()) {
        c.require("hostname", hostname(host, true));
        if matches!(protocol, "TCP" | "UDP") {
            c.error_at(
                "hostname",
                format!("has no meaning for protocol {protocol}"),
                "remove it",
            );
        }
    }
    match &listener.tls {
        Some(_) if matches!(protocol, "HTTP" | "TCP" | "UDP") => c.error_at(
            "tls",
            format!("a listener of protocol {protocol} cannot have tls"),
            "use protocol HTTPS or TLS, or remove tls",
        ),
        Some(tls) => c.within("tls", |c| {
            let mode = tls.mode.as_deref().unwrap_or("Terminate");
            one_of(c, "mode", Some(mode), &["Terminate", "Passthrough"]);
            if protocol == "HTTPS" && mode == "Passthrough" {
                c.error_at(
                    "mode",
                    "protocol HTTPS ends TLS",
                    "use protocol TLS to let it pass",
                );
            }
            let ciphers = tls.options.get(CIPHERS).map(String::as_str);
            for cipher in ciphers.unwrap_or_default().split(',').map(str::trim) {
                if !cipher.is_empty() && !is_known(cipher) {
                    c.within("options", |c| {
                        c.warn(
                            format!("cipher \"{cipher}\" is not known, and is left out"),
                            "",
                        );
                    });
                }
            }
            if mode == "Terminate" && tls.certificate_refs.is_empty() && tls.options.is_empty() {
                c.error_at(
                    "certificateRefs",
                    "is required to end TLS",
                    "name a Secret of type kubernetes.io/tls",
                );
            }
        }),
        None if protocol == "TLS" => {
            c.error_at("tls", "is required for protocol TLS", "set tls.mode");
        }
        // A cluster takes it, and the listener's status says no.
        None if protocol == "HTTPS" => c.within("tls", |c| {
            c.warn(
                "is required to serve HTTPS",
                "name a Secret of type kubernetes.io/tls in certificateRefs",
            );
        }),
        None => {}
    }
    if let Some(namespaces) = listener
        .allowed_routes
        .as_ref()
        .and_then(|r| r.namespaces.as_ref())
    {
        c.within("allowedRoutes", |c| {
            c.within("namespaces", |c| {
                let from = namespaces.from.as_deref();
                one_of(c, "from", from, &["All", "Selector", "Same", "None"]);
            });
        });
    }
}

pub(super) fn check_backend_tls(c: &mut Check, policy: &BackendTlsPolicySpec) {
    c.within("validation", |c| {
        let v = &policy.validation;
        let own = !v.ca_certificate_refs.is_empty();
        let known = v.well_known_ca_certificates.as_deref().unwrap_or_default();
        if own != known.is_empty() {
            c.error(
                "exactly one of caCertificateRefs and wellKnownCACertificates must be set",
                "name a ConfigMap with ca.crt, or write wellKnownCACertificates: System",
            );
        }
        if !known.is_empty() && !known.contains('/') {
            one_of(c, "wellKnownCACertificates", Some(known), &["System"]);
        }
        if !v.hostname.is_empty() {
            c.require("hostname", hostname(&v.hostname, false));
        }
    });
}
