//! TLS of listeners.

use hawser_api::ciphers::usable;
use hawser_api::gateway_api::CIPHERS;
use hawser_api::{Object, core, gateway_api as api};
use hawser_model::Str;
use hawser_model::gateway::{ServerTls, ServerTlsMode};

use super::Context;
use super::backends::{Fault, granted};
use super::listeners::{Owner, Written};

/// Which kind of TLS ends at a listener, in Istio's own terms.
const TERMINATE_MODE: &str = "gateway.istio.io/tls-terminate-mode";
/// Istio's name for the mesh's own certificate, where TLS is not mutual.
pub(super) const BUILTIN: &str = "builtin://";

/// What the conditions of the listener have to say.
pub(super) type Faults = Vec<(&'static str, Fault)>;

/// TLS of a listener that has settings for it.
pub(super) fn server(
    context: &Context<'_>,
    gateway: &Written,
    owner: Owner<'_>,
    spec: &api::Listener,
) -> Result<ServerTls, Faults> {
    let written = spec.tls.clone().unwrap_or_default();
    if written.mode.as_deref() == Some("Passthrough") {
        return Ok(ServerTls {
            mode: passthrough(owner, spec),
            ..ServerTls::default()
        });
    }
    let own_mode = match written.options.get(TERMINATE_MODE).map(String::as_str) {
        Some("ISTIO_MUTUAL") => {
            return Ok(ServerTls {
                mode: ServerTlsMode::IstioMutual,
                ..ServerTls::default()
            });
        }
        Some("ISTIO_SIMPLE") => {
            return Ok(ServerTls {
                credential_names: vec![BUILTIN.into()],
                ..ServerTls::default()
            });
        }
        Some("MUTUAL") => Some(ServerTlsMode::Mutual),
        Some("OPTIONAL_MUTUAL") => Some(ServerTlsMode::OptionalMutual),
        _ => None,
    };
    let options = &written.options;
    let asked = options.get(CIPHERS).map(String::as_str);
    let asked = asked.unwrap_or_default().split(',').map(str::trim);
    let asked: Vec<String> = asked.filter(|c| !c.is_empty()).map(str::to_owned).collect();
    let mut out = ServerTls {
        mode: own_mode.unwrap_or(ServerTlsMode::Simple),
        credential_names: certificates(context, owner, &written)
            .map_err(|fault| vec![("ResolvedRefs", fault)])?,
        ciphers: usable(&asked).map(Into::into).collect(),
        ..ServerTls::default()
    };
    if let Some(validation) = frontend(gateway, spec.port)
        && !validation.ca_certificate_refs.is_empty()
    {
        out.ca_credential_name = roots(context, owner, validation).map_err(|fault| {
            let accepted = Fault::new("NoValidCACertificate", fault.message.clone());
            vec![("ResolvedRefs", fault), ("Accepted", accepted)]
        })?;
        let lax = validation.mode.as_deref() == Some("AllowInsecureFallback");
        out.mode = own_mode.unwrap_or(if lax {
            ServerTlsMode::OptionalMutual
        } else {
            ServerTlsMode::Mutual
        });
        out.accept_untrusted = lax && own_mode.is_none();
    }
    Ok(out)
}

fn passthrough(owner: Owner<'_>, spec: &api::Listener) -> ServerTlsMode {
    let label = |name: &str| owner.meta.labels.get(name);
    let sni_port = label("networking.istio.io/gatewayPort")
        .and_then(|t| t.parse().ok())
        .unwrap_or(15443);
    let networked = label(crate::world::NETWORK_LABEL).is_some();
    if networked && crate::networks::is_auto_passthrough(spec, sni_port) {
        ServerTlsMode::AutoPassthrough
    } else {
        ServerTlsMode::Passthrough
    }
}

/// How a Gateway checks clients' certificates on a port.
fn frontend(gateway: &Written, port: i32) -> Option<&api::FrontendTlsValidation> {
    let frontend = gateway.spec.tls.as_ref()?.frontend.as_ref()?;
    let of_port = frontend.per_port.iter().find(|p| p.port == port);
    let config = of_port.map_or(&frontend.default, |p| &p.tls);
    config.validation.as_ref()
}

/// The SDS names of a listener's certificates. One that cannot be had does no harm as long as there is another.
fn certificates(
    context: &Context<'_>,
    owner: Owner<'_>,
    written: &api::ListenerTls,
) -> Result<Vec<Str>, Fault> {
    let refuse = |message: &str| Fault::new("InvalidCertificateRef", message);
    if written.certificate_refs.len() > 2 {
        return Err(refuse("a listener can have two certificates at most"));
    }
    let mut names = Vec::new();
    let mut first = None;
    for reference in &written.certificate_refs {
        match certificate(context, owner, reference) {
            Ok(name) => names.push(name),
            Err(fault) => {
                first.get_or_insert(fault);
            }
        }
    }
    if names.is_empty() {
        let none =
            || refuse("tls.certificateRefs is empty; name a Secret of type kubernetes.io/tls");
        return Err(first.unwrap_or_else(none));
    }
    Ok(names)
}

/// Refuses a reference to another namespace that did not agree to it, before anything of it is looked at: a status must
/// not tell what is there.
fn permitted(
    context: &Context<'_>,
    owner: Owner<'_>,
    (kind, namespace, name): (&str, &str, &str),
) -> Result<(), Fault> {
    let own = owner.meta.namespace.as_str();
    let from = ("gateway.networking.k8s.io", owner.kind.name(), own);
    if granted(context, from, ("", kind, namespace, name)) {
        return Ok(());
    }
    let message = format!(
        "no ReferenceGrant of namespace {namespace} lets a {} of {own} use the {kind} {name}",
        owner.kind.name()
    );
    Err(Fault::new("RefNotPermitted", message))
}

pub(super) fn certificate(
    context: &Context<'_>,
    owner: Owner<'_>,
    reference: &api::SecretObjectReference,
) -> Result<Str, Fault> {
    let refuse = |message: String| Fault::new("InvalidCertificateRef", message);
    let kind = reference.kind.as_deref().unwrap_or("Secret");
    let group = reference.group.as_deref().unwrap_or_default();
    let own = owner.meta.namespace.as_str();
    let namespace = reference.namespace.as_deref().unwrap_or(own);
    let name = reference.name.as_str();
    permitted(context, owner, ("Secret", namespace, name))?;
    if kind != "Secret" || !matches!(group, "" | "core") {
        return Err(refuse(format!(
            "{kind} cannot hold a certificate; use a Secret"
        )));
    }
    match context.view.objects.secrets.get(namespace, name) {
        Some(secret) if holds_certificate(secret) => {
            Ok(format!("kubernetes-gateway://{namespace}/{name}").into())
        }
        Some(_) => Err(refuse(format!(
            "the Secret {namespace}/{name} has no certificate with its key"
        ))),
        None => Err(refuse(format!("there is no Secret {namespace}/{name}"))),
    }
}

/// Whether a Secret holds certificate and key, as far as they are known: a control plane follows names alone.
fn holds_certificate(secret: &Object<core::Secret>) -> bool {
    let data = &secret.spec.data;
    if data.is_empty() {
        return true;
    }
    let pem = |names: [&str; 2]| {
        names
            .iter()
            .any(|n| data.get(*n).is_some_and(|v| is_pem(&v.0)))
    };
    pem(["tls.crt", "cert"]) && pem(["tls.key", "key"])
}

/// True of a text with a block in PEM form.
fn is_pem(text: &[u8]) -> bool {
    const BEGIN: &[u8] = b"-----BEGIN ";
    text.windows(BEGIN.len()).any(|w| w == BEGIN)
}

/// The SDS name of the roots that clients' certificates are checked by.
fn roots(
    context: &Context<'_>,
    owner: Owner<'_>,
    validation: &api::FrontendTlsValidation,
) -> Result<Str, Fault> {
    let refuse = |message: String| Fault::new("InvalidCACertificateRef", message);
    let [reference] = validation.ca_certificate_refs.as_slice() else {
        return Err(refuse(
            "only one reference to roots is supported".to_owned(),
        ));
    };
    let own = owner.meta.namespace.as_str();
    let namespace = reference.namespace.as_deref().unwrap_or(own);
    let name = reference.name.as_str();
    let kind = reference.kind.as_str();
    permitted(context, owner, (kind, namespace, name))?;
    let (scheme, found) = match (reference.group.as_str(), kind) {
        ("" | "core", "ConfigMap") => ("configmap", config_map(context, namespace, name)),
        ("" | "core", "Secret") => {
            let secret = context.view.objects.secrets.get(namespace, name);
            let found = secret.map(|s| {
                let data = &s.spec.data;
                let pem = |key: &str| data.get(key).is_some_and(|v| is_pem(&v.0));
                data.is_empty() || pem("ca.crt") || pem("cacert")
            });
            ("kubernetes-gateway", found)
        }
        _ => {
            let message = format!("{kind} cannot hold roots; use a ConfigMap or a Secret");
            return Err(Fault::new("InvalidCACertificateKind", message));
        }
    };
    match found {
        Some(true) => Ok(format!("{scheme}://{namespace}/{name}-cacert").into()),
        Some(false) => Err(refuse(format!(
            "the {kind} {namespace}/{name} has no roots"
        ))),
        None => Err(refuse(format!("there is no {kind} {namespace}/{name}"))),
    }
}

/// Whether a ConfigMap holds roots, as far as its contents are known; `None` if there is none.
pub(super) fn config_map(context: &Context<'_>, namespace: &str, name: &str) -> Option<bool> {
    let map = context.view.objects.config_maps.get(namespace, name)?;
    let data = &map.spec.data;
    let pem = |key: &str| data.get(key).is_some_and(|v| is_pem(v.as_bytes()));
    Some(data.is_empty() || pem("ca.crt") || pem("cacert"))
}
