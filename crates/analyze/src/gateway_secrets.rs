//! Secrets that gateways name: missing, or without a usable certificate (Istio `gateway.SecretAnalyzer`).

use crate::codes::{INVALID_CREDENTIAL, NOT_FOUND};
use crate::finding::{Finding, on};
use crate::world::World;
use hawser_api::Kind;
use hawser_api::core::Secret;
use hawser_api::message::nearest;
use x509_parser::pem::Pem;

pub fn secrets(world: &World) -> Vec<Finding> {
    let mut out = Vec::new();
    if !world.secrets_known {
        return out;
    }
    for gateway in &world.gateways {
        // Without pods the selector is what is wrong.
        let Some(pod) = world.shared.pods.select(&gateway.spec.selector).next() else {
            continue;
        };
        for (i, server) in gateway.spec.servers.iter().enumerate() {
            let Some(tls) = &server.tls else { continue };
            let credential = &tls.credential_name;
            if credential.is_empty() || credential.starts_with("builtin://") {
                continue;
            }
            let path = format!("spec.servers[{i}].tls.credentialName");
            let object = || on(Kind::Gateway, &gateway.meta);
            let name = credential
                .strip_prefix("kubernetes://")
                .unwrap_or(credential);
            let (namespace, name) = name.split_once('/').unwrap_or((pod.namespace(), name));
            let key = (namespace.to_owned(), name.to_owned());
            let Some(secrets) = world.shared.secrets.get(&key) else {
                let message =
                    format!("secret \"{credential}\" does not exist in namespace {namespace}");
                let of_namespace = world
                    .shared
                    .secrets
                    .keys()
                    .filter(|(of, _)| of == namespace);
                let names: Vec<&str> = of_namespace
                    .map(|(_, name)| name.as_str())
                    .take(500)
                    .collect();
                let help = match nearest(name, &names) {
                    Some(near) => format!("did you mean {near}?"),
                    None => {
                        format!("create it in namespace {namespace}, where the gateway's pods are")
                    }
                };
                out.push(Finding::new(NOT_FOUND, object(), path, message).help(help));
                continue;
            };
            if let Some(why) = secrets
                .iter()
                .find_map(|secret| unusable(&secret.spec, world.now))
            {
                // As Istio, one message for a gateway, whatever its secrets have wrong.
                let message = format!(
                    "a secret of the gateway in namespace {namespace} has no usable certificate"
                );
                let help = format!("{name}: {why}");
                out.push(Finding::new(INVALID_CREDENTIAL, object(), path, message).help(help));
            }
        }
    }
    out
}

fn unusable(secret: &Secret, now: i64) -> Option<&'static str> {
    let value = |key: &str| -> Option<&[u8]> {
        let text = secret.string_data.get(key).map(|text| text.0.as_bytes());
        let data = text.or_else(|| secret.data.get(key).map(|bytes| bytes.0.as_slice()));
        data.filter(|bytes| !bytes.is_empty())
    };
    let pair = |cert: &str, key: &str| value(cert).filter(|_| value(key).is_some());
    let Some(cert) = pair("cert", "key").or_else(|| pair("tls.crt", "tls.key")) else {
        return Some("it needs tls.crt and tls.key");
    };
    let Some(Ok(pem)) = Pem::iter_from_buffer(cert).next() else {
        return Some("tls.crt is not PEM");
    };
    let Ok(certificate) = pem.parse_x509() else {
        return Some("tls.crt holds no certificate");
    };
    let term = certificate.validity();
    if now > term.not_after.timestamp() {
        Some("the certificate has expired")
    } else if now < term.not_before.timestamp() {
        Some("the certificate is not valid yet")
    } else {
        None
    }
}
