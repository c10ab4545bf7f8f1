//! Gateways and their listeners.

use std::collections::BTreeSet;

use hawser_api::{Object, gateway_api as api};
use hawser_model::gateway::{
    Gateway, NamespaceMatch, Server, ServerHost, ServerTls, ServerTlsMode,
};
use hawser_model::{Hostname, Labels, Meta, Protocol, Str};

use super::{CONTROLLER, Context};
use crate::names::{self, port, qualify};

/// A Gateway as it was written.
pub(super) type Written = Object<api::GatewaySpec, api::GatewayStatus>;

/// A listener of a Gateway that is ours.
pub(super) struct Listener<'a> {
    pub gateway: &'a Written,
    pub spec: &'a api::Listener,
    /// The name of the Gateway that it becomes.
    pub name: Str,
    /// Its host; `None` is any.
    pub host: Option<Hostname>,
    /// Services behind which its proxies stand.
    pub services: Vec<Hostname>,
    /// Namespaces whose routes may attach; `None` is all.
    pub namespaces: Option<BTreeSet<String>>,
    /// What is wrong with it: type of condition, reason, message.
    pub faults: Vec<(&'static str, &'static str, String)>,
    /// How many routes attached.
    pub attached: i32,
    /// What it becomes.
    server: Option<Server>,
}

/// The controller of a class: of the GatewayClass, or of Istio's classes by name.
pub(super) fn controller<'a>(context: &Context<'a>, class: &str) -> Option<&'a str> {
    match context.view.objects.gateway_classes.get("", class) {
        Some(object) => Some(&object.spec.controller_name),
        None => (class == "istio").then_some(CONTROLLER),
    }
}

/// The services behind which a Gateway's proxies stand: those of its addresses by host name, else the one that is made
/// for it, `NAME-CLASS`.
fn services(context: &Context<'_>, gateway: &Written) -> Vec<Hostname> {
    let namespace = &gateway.meta.namespace;
    let domain = &context.world.mesh.dns_domain;
    let named: Vec<Hostname> = gateway
        .spec
        .addresses
        .iter()
        .filter(|a| a.type_.as_deref() == Some("Hostname"))
        .filter_map(|a| qualify(&a.value, namespace, domain).ok())
        .collect();
    if !named.is_empty() {
        return named;
    }
    let name = gateway
        .annotation("gateway.istio.io/name-override")
        .map_or_else(
            || format!("{}-{}", gateway.meta.name, gateway.spec.gateway_class_name),
            str::to_owned,
        );
    names::service_host(&name, namespace, domain)
        .into_iter()
        .collect()
}

/// All listeners of all Gateways of our class, oldest Gateway first.
pub(super) fn listeners<'a>(context: &Context<'a>) -> Vec<Listener<'a>> {
    let mut out: Vec<Listener<'a>> = Vec::new();
    for gateway in super::sorted(&context.view.objects.k8s_gateways, context.view) {
        if controller(context, &gateway.spec.gateway_class_name) != Some(CONTROLLER) {
            continue;
        }
        let services = services(context, gateway);
        let first = out.len();
        for spec in &gateway.spec.listeners {
            let mut listener = listener(context, gateway, spec, services.clone());
            let clash = out.iter().skip(first).find_map(|other| {
                let same_port = other.spec.port == spec.port;
                if same_port && class_of(&other.spec.protocol) != class_of(&spec.protocol) {
                    Some("ProtocolConflict")
                } else if same_port && other.host == listener.host {
                    Some("HostnameConflict")
                } else {
                    None
                }
            });
            if let Some(reason) = clash {
                listener.faults.push((
                    "Conflicted",
                    reason,
                    format!("an earlier listener has port {} for itself", spec.port),
                ));
                listener.server = None;
            }
            out.push(listener);
        }
    }
    out
}

/// Protocols that can share a port.
fn class_of(protocol: &str) -> &str {
    match protocol {
        "HTTPS" | "TLS" => "TLS",
        other => other,
    }
}

fn listener<'a>(
    context: &Context<'a>,
    gateway: &'a Written,
    spec: &'a api::Listener,
    services: Vec<Hostname>,
) -> Listener<'a> {
    let mut faults = Vec::new();
    let host = match spec.hostname.as_deref().map(Hostname::parse) {
        None => None,
        Some(Ok(host)) => Some(host),
        Some(Err(error)) => {
            faults.push((
                "Accepted",
                "UnsupportedValue",
                format!("the hostname is not one: {error}"),
            ));
            None
        }
    };
    let protocol = match spec.protocol.as_str() {
        "HTTP" => Some(Protocol::Http),
        "HTTPS" => Some(Protocol::Https),
        "TLS" => Some(Protocol::Tls),
        "TCP" => Some(Protocol::Tcp),
        other => {
            faults.push((
                "Accepted",
                "UnsupportedProtocol",
                format!("protocol {other:?} is not supported; use HTTP, HTTPS, TLS or TCP"),
            ));
            None
        }
    };
    let tls = tls(context, gateway, spec, &mut faults);
    let number = port(spec.port);
    let usable = faults.is_empty();
    let server = match (number, protocol, usable) {
        (Some(port), Some(protocol), true) => Some(Server {
            port,
            port_name: "default".into(),
            protocol,
            bind: Str::default(),
            hosts: vec![ServerHost {
                // Whose routes may attach is decided here; nobody else may bind to it.
                namespace: NamespaceMatch::Only(gateway.meta.namespace.as_str().into()),
                host: host.clone().unwrap_or_else(Hostname::any),
            }],
            name: Str::default(),
            tls,
        }),
        _ => None,
    };
    Listener {
        gateway,
        spec,
        name: format!(
            "{}-istio-autogenerated-k8s-gateway-{}",
            gateway.meta.name, spec.name
        )
        .into(),
        host,
        services,
        namespaces: namespaces(context, gateway, spec),
        faults,
        attached: 0,
        server,
    }
}

fn namespaces(
    context: &Context<'_>,
    gateway: &Written,
    spec: &api::Listener,
) -> Option<BTreeSet<String>> {
    let written = spec
        .allowed_routes
        .as_ref()
        .and_then(|a| a.namespaces.as_ref());
    match written.and_then(|n| n.from.as_deref()) {
        Some("All") => None,
        Some("None") => Some(BTreeSet::new()),
        Some("Selector") => {
            let selector = written.and_then(|n| n.selector.as_ref());
            let chosen = context
                .view
                .objects
                .namespaces
                .iter()
                .filter(|ns| selector.is_some_and(|s| s.matches(&ns.meta.labels)))
                .map(|ns| ns.meta.name.clone())
                .collect();
            Some(chosen)
        }
        _ => Some(BTreeSet::from([gateway.meta.namespace.clone()])),
    }
}

fn tls(
    context: &Context<'_>,
    gateway: &Written,
    spec: &api::Listener,
    faults: &mut Vec<(&'static str, &'static str, String)>,
) -> Option<ServerTls> {
    if !matches!(spec.protocol.as_str(), "HTTPS" | "TLS") {
        return None;
    }
    let written = spec.tls.clone().unwrap_or_default();
    if written.mode.as_deref() == Some("Passthrough") {
        let sni_port = gateway
            .label("networking.istio.io/gatewayPort")
            .and_then(|t| t.parse().ok())
            .unwrap_or(15443);
        let labelled = gateway.label(crate::world::NETWORK_LABEL).is_some();
        let auto = labelled && crate::networks::is_auto_passthrough(spec, sni_port);
        return Some(ServerTls {
            mode: if auto {
                ServerTlsMode::AutoPassthrough
            } else {
                ServerTlsMode::Passthrough
            },
            ..ServerTls::default()
        });
    }
    let option = written
        .options
        .get("gateway.istio.io/tls-terminate-mode")
        .map(String::as_str);
    let mut mode = match option {
        Some("ISTIO_MUTUAL") => ServerTlsMode::IstioMutual,
        Some("MUTUAL") => ServerTlsMode::Mutual,
        Some("OPTIONAL_MUTUAL") => ServerTlsMode::OptionalMutual,
        _ => ServerTlsMode::Simple,
    };
    let mut credential_names = Vec::new();
    for reference in &written.certificate_refs {
        match secret(context, gateway, reference) {
            Ok(name) => credential_names.push(name),
            Err((reason, message)) => faults.push(("ResolvedRefs", reason, message)),
        }
    }
    if written.certificate_refs.is_empty() && mode != ServerTlsMode::IstioMutual {
        faults.push((
            "ResolvedRefs",
            "InvalidCertificateRef",
            "tls.certificateRefs is empty; name a Secret of type kubernetes.io/tls".to_owned(),
        ));
    }
    let mut ca_credential_name = Str::default();
    let mut accept_untrusted = false;
    if let Some(validation) = &written.frontend_validation
        && let Some(reference) = validation.ca_certificate_refs.first()
    {
        let of = reference
            .namespace
            .as_deref()
            .unwrap_or(&gateway.meta.namespace);
        let scheme = if reference.kind == "ConfigMap" {
            "configmap"
        } else {
            "kubernetes-gateway"
        };
        ca_credential_name = format!("{scheme}://{of}/{}", reference.name).into();
        accept_untrusted = validation.mode.as_deref() == Some("AllowInsecureFallback");
        mode = if accept_untrusted {
            ServerTlsMode::OptionalMutual
        } else {
            ServerTlsMode::Mutual
        };
    }
    Some(ServerTls {
        mode,
        credential_names,
        ca_credential_name,
        accept_untrusted,
        ..ServerTls::default()
    })
}

/// The SDS name of a Secret with a certificate.
fn secret(
    context: &Context<'_>,
    gateway: &Written,
    reference: &api::SecretObjectReference,
) -> Result<Str, (&'static str, String)> {
    let kind = reference.kind.as_deref().unwrap_or("Secret");
    let group = reference.group.as_deref().unwrap_or_default();
    if kind != "Secret" || !group.is_empty() {
        return Err((
            "InvalidCertificateRef",
            format!("{kind} cannot hold a certificate; use a Secret"),
        ));
    }
    let own = gateway.meta.namespace.as_str();
    let namespace = reference.namespace.as_deref().unwrap_or(own);
    let granted = super::backends::granted(
        context,
        (
            "gateway.networking.k8s.io",
            "Gateway",
            gateway.meta.namespace.as_str(),
        ),
        ("", "Secret", namespace, &reference.name),
    );
    if !granted {
        return Err((
            "RefNotPermitted",
            format!(
                "no ReferenceGrant of namespace {namespace} lets Gateways of {own} use the Secret {}",
                reference.name
            ),
        ));
    }
    if context
        .view
        .objects
        .secrets
        .get(namespace, &reference.name)
        .is_none()
    {
        return Err((
            "InvalidCertificateRef",
            format!("there is no Secret {namespace}/{}", reference.name),
        ));
    }
    Ok(format!("kubernetes-gateway://{namespace}/{}", reference.name).into())
}

impl Listener<'_> {
    /// The Gateway that it becomes, if it can be one.
    pub(super) fn into_gateway(self) -> Option<Gateway> {
        Some(Gateway {
            meta: Meta {
                name: self.name,
                ..names::meta(&self.gateway.meta)
            },
            selector: Labels::default(),
            same_namespace: true,
            services: self.services,
            servers: vec![self.server?],
        })
    }

    /// True if it opens a port.
    pub(super) fn works(&self) -> bool {
        self.server.is_some()
    }

    /// The host that a route's host and the listener's have in common; `None` if they have none.
    pub(super) fn common(&self, host: &Hostname) -> Option<Hostname> {
        match &self.host {
            None => Some(host.clone()),
            Some(own) if host.is_subset_of(own) => Some(host.clone()),
            Some(own) if own.is_subset_of(host) => Some(own.clone()),
            Some(_) => None,
        }
    }
}
