//! Ingress: what an API server refuses, and fields of versions that are gone.

use super::{Check, names};
use crate::core::{IngressBackend, IngressSpec};

pub(super) fn check(c: &mut Check, ingress: &IngressSpec) {
    if let Some(backend) = &ingress.default_backend {
        c.within("defaultBackend", |c| check_backend(c, backend));
    }
    if ingress.default_backend.is_none() && ingress.rules.is_empty() {
        c.error("rules or defaultBackend is required", "");
    }
    c.each("tls", &ingress.tls, |c, tls| {
        c.each("hosts", &tls.hosts, |c, host| {
            c.require_here(host_name(host))
        });
    });
    c.each("rules", &ingress.rules, |c, rule| {
        if !rule.host.is_empty() {
            c.require("host", host_name(&rule.host));
        }
        let Some(http) = &rule.http else { return };
        c.within("http", |c| {
            if http.paths.is_empty() {
                c.error_at("paths", "is required", "");
            }
            c.each("paths", &http.paths, |c, path| {
                let kind = path.path_type.as_str();
                match kind {
                    "Exact" | "Prefix" => absolute(c, &path.path),
                    "ImplementationSpecific" => {
                        if !path.path.is_empty() {
                            absolute(c, &path.path);
                        }
                    }
                    "" => c.error_at(
                        "pathType",
                        "is required",
                        "write Prefix, Exact or ImplementationSpecific",
                    ),
                    other => c.error_at(
                        "pathType",
                        format!("unsupported value \"{other}\""),
                        "write Prefix, Exact or ImplementationSpecific",
                    ),
                }
                c.within("backend", |c| check_backend(c, &path.backend));
            });
        });
    });
}

fn absolute(c: &mut Check, path: &str) {
    if !path.starts_with('/') {
        c.error_at(
            "path",
            format!("path \"{path}\" is not absolute"),
            format!("write /{path}"),
        );
    }
}

fn check_backend(c: &mut Check, backend: &IngressBackend) {
    let Some(service) = &backend.service else {
        if backend.resource.is_none() {
            c.error(
                "a backend needs service or resource",
                "write service: {name: …, port: {number: …}}; serviceName and servicePort are of versions that are gone",
            );
        }
        return;
    };
    c.within("service", |c| {
        if service.name.is_empty() {
            c.error_at("name", "is required", "");
        }
        let (name, number) = (&service.port.name, service.port.number);
        if name.is_empty() == (number == 0) {
            c.error_at("port", "exactly one of name and number must be set", "");
        } else if number != 0 {
            let number = u32::try_from(number).unwrap_or(0);
            c.within("port", |c| c.require("number", names::port(number)));
        }
    });
}

/// As Kubernetes has it: in lower case, a wildcard for the whole first label at most, no address.
fn host_name(host: &str) -> Result<(), names::Wrong> {
    if names::is_ip(host) {
        return Err(names::wrong(
            format!("\"{host}\" is an IP address, and a host name is wanted"),
            "leave the host out to mean any",
        ));
    }
    if host.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(names::wrong(
            format!("host \"{host}\" has capitals"),
            "write it in lower case",
        ));
    }
    names::fqdn(host.strip_prefix("*.").unwrap_or(host))
}
