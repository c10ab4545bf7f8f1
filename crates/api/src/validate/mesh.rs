//! The mesh's settings: MeshConfig and MeshNetworks, in ConfigMap `istio` (or `istio-REVISION`) or in files of their own.

use super::{Check, destination_rule, names};
use crate::core::ConfigMap;
use crate::manifest;
use crate::mesh::{ExtensionProvider, MeshConfig, MeshNetworks};
use crate::message::Fault;
use serde_json::Value;
use std::collections::BTreeSet;

/// What is wrong with settings, by the paths of their own text. Unknown fields are among the faults.
fn faults<T>(
    value: Value,
    read: fn(Value) -> (T, Vec<Fault>),
    rules: fn(&mut Check, &T),
    c: &mut Check,
) -> Vec<Fault> {
    let (settings, faults) = read(value);
    rules(c, &settings);
    faults
}

/// The settings in a ConfigMap of the control plane.
pub(super) fn check_config_map(c: &mut Check, map: &ConfigMap) {
    c.within("data", |c| {
        if let Some(text) = map.data.get("mesh") {
            c.within("mesh", |c| {
                check_text(c, text, |c, value| {
                    faults(value, MeshConfig::from_value, mesh_config, c)
                });
            });
        }
        if let Some(text) = map.data.get("meshNetworks") {
            c.within("meshNetworks", |c| {
                check_text(c, text, |c, value| {
                    faults(value, MeshNetworks::from_value, mesh_networks, c)
                });
            });
        }
    });
}

/// Reads a text within an object; findings get the line within it, for the object's own position is that of the text.
fn check_text(c: &mut Check, text: &str, read: impl FnOnce(&mut Check, Value) -> Vec<Fault>) {
    let manifest = manifest::read("", text.as_bytes());
    if let Some(error) = manifest.errors.first() {
        let message = match error {
            manifest::ManifestError::Syntax {
                position, message, ..
            } => format!("{message} (line {} of the text)", position.line),
            other => other.to_string(),
        };
        c.error(message, "the control plane keeps the settings it had");
        return;
    }
    let Some(doc) = manifest.docs.into_iter().find(|d| !d.value.is_null()) else {
        return;
    };
    let base = c.path.len() + 1;
    let before = c.findings.len();
    let faults = read(c, doc.value.clone());
    let inner = |path: &str| path.get(base..).unwrap_or_default().to_owned();
    // What could not be read has its default, of which nothing is to be said.
    let of_rules = c.findings.split_off(before);
    c.findings.extend(of_rules.into_iter().filter(|f| {
        let path = inner(&f.path);
        !faults.iter().any(|fault| {
            fault.path == path || (fault.harmless() && super::follows(&path, &fault.path))
        })
    }));
    for fault in faults {
        let length = c.path.len();
        c.path.push('.');
        c.path.push_str(&fault.path);
        if fault.harmless() {
            c.warn(fault.message, fault.help);
        } else {
            c.error(fault.message, fault.help);
        }
        c.path.truncate(length);
    }
    for finding in c.findings.iter_mut().skip(before) {
        let line = doc.position(&inner(&finding.path)).line;
        finding
            .message
            .push_str(&format!(" (line {line} of the text)"));
    }
}

fn mesh_config(c: &mut Check, mesh: &MeshConfig) {
    let port = |c: &mut Check, key: &str, number: i32| {
        if number != 0 {
            c.require(key, names::port(u32::try_from(number).unwrap_or(u32::MAX)));
        }
    };
    port(c, "proxyListenPort", mesh.proxy_listen_port);
    port(c, "proxyInboundListenPort", mesh.proxy_inbound_listen_port);
    if let Some(timeout) = mesh.connect_timeout {
        c.duration("connectTimeout", Some(timeout));
        if timeout.nanos() > 3_600_000_000_000 {
            c.error_at("connectTimeout", "is longer than an hour", "");
        }
    }
    if !mesh.trust_domain.is_empty() {
        c.require("trustDomain", trust_domain(&mesh.trust_domain));
    }
    c.each(
        "trustDomainAliases",
        &mesh.trust_domain_aliases,
        |c, alias| c.require_here(trust_domain(alias)),
    );
    c.each("serviceSettings", &mesh.service_settings, |c, settings| {
        c.each("hosts", &settings.hosts, |c, host| {
            c.require_here(names::wildcard_domain(host))
        });
    });
    if let Some(locality) = &mesh.locality_lb_setting {
        c.within("localityLbSetting", |c| {
            destination_rule::locality_lb(c, locality, true)
        });
    }
    let mut seen = BTreeSet::new();
    c.each(
        "extensionProviders",
        &mesh.extension_providers,
        |c, provider| {
            if provider.name.is_empty() {
                c.error_at(
                    "name",
                    "is required",
                    "policies refer to the provider by it",
                );
            } else if !seen.insert(provider.name.clone()) {
                c.error_at(
                    "name",
                    format!("provider \"{}\" is defined twice", provider.name),
                    "rename one",
                );
            }
            service(c, provider);
        },
    );
    let known: Vec<&str> = seen.iter().map(String::as_str).collect();
    if let Some(defaults) = &mesh.default_providers {
        c.within("defaultProviders", |c| {
            for (key, list) in [
                ("tracing", &defaults.tracing),
                ("metrics", &defaults.metrics),
                ("accessLogging", &defaults.access_logging),
            ] {
                c.each(key, list, |c, name| {
                    // These the control plane defines itself.
                    let built_in = matches!(name.as_str(), "prometheus" | "envoy" | "stackdriver");
                    if !built_in && !known.contains(&name.as_str()) {
                        let help = match crate::message::nearest(name, &known) {
                            Some(near) => format!("did you mean {near}?"),
                            None => "define it in extensionProviders".to_owned(),
                        };
                        c.warn(format!("provider \"{name}\" is not defined"), help);
                    }
                });
            }
        });
    }
}

/// The address of the service behind a provider.
fn service(c: &mut Check, provider: &ExtensionProvider) {
    let addresses = [
        provider
            .envoy_ext_authz_http
            .as_ref()
            .map(|p| ("envoyExtAuthzHttp", &p.service, p.port)),
        provider
            .envoy_ext_authz_grpc
            .as_ref()
            .map(|p| ("envoyExtAuthzGrpc", &p.service, p.port)),
        provider
            .zipkin
            .as_ref()
            .map(|p| ("zipkin", &p.service, p.port)),
        provider
            .datadog
            .as_ref()
            .map(|p| ("datadog", &p.service, p.port)),
        provider
            .skywalking
            .as_ref()
            .map(|p| ("skywalking", &p.service, p.port)),
        provider
            .opentelemetry
            .as_ref()
            .map(|p| ("opentelemetry", &p.service, p.port)),
    ];
    let Some((key, service, port)) = addresses.into_iter().flatten().next() else {
        return;
    };
    c.within(key, |c| {
        let host = service
            .split_once('/')
            .map_or(service.as_str(), |(_, host)| host);
        c.require("service", names::fqdn(host));
        c.require("port", names::port(port));
    });
}

fn trust_domain(domain: &str) -> Result<(), names::Wrong> {
    let mut labels = domain.trim_end_matches('.').split('.');
    if labels.all(names::is_dns_label) {
        Ok(())
    } else {
        Err(names::wrong(
            format!("\"{domain}\" is not a trust domain"),
            "use letters, digits and hyphens between dots, such as cluster.local",
        ))
    }
}

fn mesh_networks(c: &mut Check, networks: &MeshNetworks) {
    c.entries("networks", &networks.networks, |c, _, network| {
        c.each("endpoints", &network.endpoints, |c, endpoints| {
            if let Some(cidr) = &endpoints.from_cidr {
                c.require("fromCidr", names::subnet(cidr));
            } else if let Some(registry) = &endpoints.from_registry {
                if !names::is_dns_label(registry) {
                    c.error_at(
                        "fromRegistry",
                        format!("\"{registry}\" is not a cluster's name"),
                        "use letters, digits and hyphens",
                    );
                }
            } else {
                c.error("fromCidr or fromRegistry is required", "");
            }
        });
        c.each("gateways", &network.gateways, |c, gateway| {
            if let Some(address) = &gateway.address {
                if !names::is_ip(address) {
                    c.require("address", names::fqdn(address));
                }
            } else if let Some(name) = &gateway.registry_service_name {
                c.require("registryServiceName", names::fqdn(name));
            } else {
                c.error("address or registryServiceName is required", "");
            }
            c.require("port", names::port(gateway.port));
        });
    });
}
