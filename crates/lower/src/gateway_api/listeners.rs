//! Gateways, their ListenerSets, and the listeners of both.

use std::borrow::Cow;
use std::collections::BTreeSet;

use hawser_api::selector::KubeSelector;
use hawser_api::{Object, gateway_api as api};
use hawser_model::gateway::{Gateway, NamespaceMatch, Server, ServerHost};
use hawser_model::{Hostname, Labels, Meta, Protocol, ServiceKey, Str};

use super::backends::Fault;
use super::classes::{Class, class};
use super::conflicts;
use super::listener_sets::{self, Attached};
use super::{Context, tls};
use crate::names::{self, port, qualify};

/// A Gateway as it was written.
pub(super) type Written = Object<api::GatewaySpec, api::GatewayStatus>;

/// A Gateway of a class of ours, and behind which services its proxies stand.
pub(super) struct OwnGateway<'a> {
    pub written: &'a Written,
    pub class: Class,
    pub services: Vec<ServiceKey>,
    /// What is wrong with the Gateway itself.
    pub fault: Option<Fault>,
    /// ListenerSets that name it.
    pub sets: Vec<Attached<'a>>,
}

/// Whose listener it is.
#[derive(Clone, Copy)]
pub(super) struct Owner<'a> {
    pub kind: OwnerKind,
    pub meta: &'a hawser_api::Meta,
}

/// Kinds that have listeners.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum OwnerKind {
    Gateway,
    ListenerSet,
}

impl OwnerKind {
    /// As ReferenceGrants name it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gateway => "Gateway",
            Self::ListenerSet => "ListenerSet",
        }
    }
}

/// A listener of a Gateway that is ours.
pub(super) struct Listener<'a> {
    pub owner: Owner<'a>,
    /// The Gateway whose proxies open it.
    pub gateway: &'a Written,
    pub spec: Cow<'a, api::Listener>,
    /// The name of the Gateway that it becomes.
    pub name: Str,
    /// Its host; `None` is any.
    pub host: Option<Hostname>,
    /// Namespaces whose routes may attach; `None` is all.
    pub namespaces: Option<BTreeSet<String>>,
    /// What is wrong with it: type of condition and fault.
    pub faults: Vec<(&'static str, Fault)>,
    /// Why it is left to an earlier listener.
    pub conflict: Option<&'static str>,
    /// How many routes attached.
    pub attached: i32,
    /// False for one that only holds the place of those of ListenerSets.
    wanted: bool,
    services: Vec<ServiceKey>,
    /// What it becomes.
    server: Option<Server>,
}

/// The services behind which a Gateway's proxies stand (Istio's `extractGatewayServices`): those of its addresses by host
/// name, which somebody else deployed; else the one that is made for it, `NAME-CLASS`.
fn services(context: &Context<'_>, gateway: &Written) -> (Vec<ServiceKey>, Option<Fault>) {
    let namespace = &gateway.meta.namespace;
    let domain = &context.world.mesh.dns_domain;
    let key = |host| ServiceKey {
        host,
        namespace: namespace.as_str().into(),
    };
    let managed = match gateway.spec.addresses.as_slice() {
        [] => true,
        [only] => matches!(only.type_.as_deref(), None | Some("IPAddress")),
        _ => false,
    };
    if managed {
        let made = || format!("{}-{}", gateway.meta.name, gateway.spec.gateway_class_name);
        let name = gateway
            .annotation("gateway.istio.io/name-override")
            .filter(|n| !n.is_empty())
            .map_or_else(made, str::to_owned);
        let host = names::service_host(&name, namespace, domain);
        return (host.map(key).into_iter().collect(), None);
    }
    let (named, others): (Vec<_>, Vec<_>) = gateway
        .spec
        .addresses
        .iter()
        .partition(|a| matches!(a.type_.as_deref(), None | Some("Hostname")));
    let found = named
        .iter()
        .filter_map(|a| qualify(&a.value, namespace, domain).ok())
        .map(key)
        .collect();
    let fault = (!others.is_empty()).then(|| {
        let values: Vec<&str> = others.iter().map(|a| a.value.as_str()).collect();
        let message = format!(
            "{} are no host names; of several addresses each must be one",
            values.join(", ")
        );
        Fault::new("UnsupportedAddress", message)
    });
    (found, fault)
}

/// What is wrong with the parameters that a Gateway refers to.
fn parameters(context: &Context<'_>, gateway: &Written) -> Option<Fault> {
    let infrastructure = gateway.spec.infrastructure.as_ref()?;
    let parameters = infrastructure.parameters_ref.as_ref()?;
    let message = if (parameters.group.as_str(), parameters.kind.as_str()) != ("", "ConfigMap") {
        format!("parameters of kind {} are not supported", parameters.kind)
    } else {
        let maps = &context.view.objects.config_maps;
        let namespace = &gateway.meta.namespace;
        if maps.get(namespace, &parameters.name).is_some() {
            return None;
        }
        format!("there is no ConfigMap {namespace}/{}", parameters.name)
    };
    Some(Fault::new("InvalidParameters", message))
}

/// All Gateways of our classes, oldest first.
pub(super) fn gateways<'a>(context: &Context<'a>) -> Vec<OwnGateway<'a>> {
    super::sorted(&context.view.objects.k8s_gateways, context.view)
        .into_iter()
        .filter_map(|written| {
            let class = class(context, &written.spec.gateway_class_name)?;
            let (services, fault) = services(context, written);
            Some(OwnGateway {
                written,
                class,
                services,
                fault: fault.or_else(|| parameters(context, written)),
                sets: listener_sets::of(context, written, class),
            })
        })
        .collect()
}

/// All listeners of Gateways: each Gateway's own, then those of its ListenerSets.
pub(super) fn listeners<'a>(
    context: &Context<'a>,
    gateways: &[OwnGateway<'a>],
) -> Vec<Listener<'a>> {
    let mut out = Vec::new();
    for gateway in gateways {
        if gateway.class != Class::Istio || gateway.services.is_empty() {
            continue;
        }
        let own = Owner {
            kind: OwnerKind::Gateway,
            meta: &gateway.written.meta,
        };
        let mut listeners: Vec<Listener<'a>> = gateway
            .written
            .spec
            .listeners
            .iter()
            .map(|spec| listener(context, gateway, own, Cow::Borrowed(spec)))
            .collect();
        for set in gateway.sets.iter().filter(|s| s.refused.is_none()) {
            let owner = Owner {
                kind: OwnerKind::ListenerSet,
                meta: &set.written.meta,
            };
            let entries = set.written.spec.listeners.iter();
            listeners.extend(entries.map(|entry| {
                let spec = Cow::Owned(listener_sets::listener(entry));
                listener(context, gateway, owner, spec)
            }));
        }
        conflicts::resolve(&mut listeners);
        out.extend(listeners);
    }
    out
}

fn listener<'a>(
    context: &Context<'a>,
    gateway: &OwnGateway<'a>,
    owner: Owner<'a>,
    spec: Cow<'a, api::Listener>,
) -> Listener<'a> {
    let mut faults = Vec::new();
    let host = match spec.hostname.as_deref().filter(|h| !h.is_empty()) {
        None => None,
        Some(text) => Hostname::parse(text)
            .map_err(|error| {
                let message = format!("{text:?} is not a host: {error}");
                faults.push(("Accepted", Fault::new("UnsupportedValue", message)));
            })
            .ok(),
    };
    let protocol = match spec.protocol.as_str() {
        "HTTP" => Some(Protocol::Http),
        "HTTPS" => Some(Protocol::Https),
        "TLS" => Some(Protocol::Tls),
        "TCP" => Some(Protocol::Tcp),
        other => {
            let message =
                format!("protocol {other:?} is not supported; use HTTP, HTTPS, TLS or TCP");
            faults.push(("Accepted", Fault::new("UnsupportedProtocol", message)));
            None
        }
    };
    let number = port(spec.port);
    if number.is_none() && protocol.is_some() {
        let message = format!("a listener of protocol {} needs a port", spec.protocol);
        faults.push(("Accepted", Fault::new("UnsupportedProtocol", message)));
    }
    // A listener for TLS without settings says that ListenerSets will have them.
    let encrypted = matches!(spec.protocol.as_str(), "HTTPS" | "TLS");
    let wanted = spec.tls.is_some() || !encrypted;
    if !wanted && owner.kind == OwnerKind::ListenerSet {
        let message = format!("a listener of protocol {} needs tls", spec.protocol);
        faults.push(("Accepted", Fault::new("UnsupportedProtocol", message)));
    }
    let tls = spec.tls.as_ref().filter(|_| encrypted);
    let tls = tls.and_then(|_| {
        tls::server(context, gateway.written, owner, &spec)
            .map_err(|found| faults.extend(found))
            .ok()
    });
    let server = match (number, protocol) {
        (Some(port), Some(protocol)) if faults.is_empty() && wanted => Some(Server {
            port,
            port_name: "default".into(),
            protocol,
            bind: Str::default(),
            hosts: vec![ServerHost {
                // Whose routes may attach is decided here; nobody else may bind to it.
                namespace: NamespaceMatch::Only(owner.meta.namespace.as_str().into()),
                host: host.clone().unwrap_or_else(Hostname::any),
            }],
            name: Str::default(),
            tls,
        }),
        _ => None,
    };
    let name = format!(
        "{}~istio-autogenerated-k8s-gateway~{}",
        owner.meta.name, spec.name
    );
    let namespaces = namespaces(context, owner, &spec);
    Listener {
        owner,
        gateway: gateway.written,
        name: name.into(),
        spec,
        host,
        namespaces,
        faults,
        conflict: None,
        attached: 0,
        wanted,
        services: gateway.services.clone(),
        server,
    }
}

/// Namespaces whose routes a listener takes.
fn namespaces(
    context: &Context<'_>,
    owner: Owner<'_>,
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
                .filter(|ns| selector.is_some_and(|s| selects(s, &ns.meta)))
                .map(|ns| ns.meta.name.clone())
                .collect();
            Some(chosen)
        }
        _ => Some(BTreeSet::from([owner.meta.namespace.clone()])),
    }
}

/// Whether a selector chooses a namespace, which has its name as a label, written or not.
pub(super) fn selects(selector: &KubeSelector, namespace: &hawser_api::Meta) -> bool {
    const NAME: &str = "kubernetes.io/metadata.name";
    let mut labels = namespace.labels.clone();
    labels.insert(NAME.to_owned(), namespace.name.clone());
    selector.matches(&labels)
}

/// Kinds of routes that a listener takes, and whether it asked for those alone.
pub(super) fn supported_kinds(spec: &api::Listener) -> (Vec<&'static str>, bool) {
    let mode = spec.tls.as_ref().and_then(|t| t.mode.as_deref());
    let by_protocol: &[&'static str] = match spec.protocol.as_str() {
        "HTTP" | "HTTPS" => &["HTTPRoute", "GRPCRoute"],
        "TLS" if mode == Some("Passthrough") => &["TLSRoute"],
        "TLS" => &["TLSRoute", "TCPRoute"],
        "TCP" => &["TCPRoute"],
        _ => &[],
    };
    let asked = spec.allowed_routes.as_ref().map(|a| a.kinds.as_slice());
    let asked = asked.unwrap_or_default();
    if asked.is_empty() {
        return (by_protocol.to_vec(), true);
    }
    let group = |k: &api::RouteGroupKind| {
        k.group
            .as_deref()
            .is_none_or(|g| g == "gateway.networking.k8s.io")
    };
    let common: Vec<&'static str> = by_protocol
        .iter()
        .copied()
        .filter(|kind| asked.iter().any(|k| k.kind == *kind && group(k)))
        .collect();
    let all = common.len() == asked.len();
    (common, all)
}

impl<'a> Listener<'a> {
    /// The Gateway that it becomes, if it can be one.
    pub(super) fn into_gateway(self) -> Option<Gateway> {
        Some(Gateway {
            meta: Meta {
                name: self.name,
                ..names::meta(self.owner.meta)
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

    /// True if routes may attach, whether or not it works.
    pub(super) fn server_wanted(&self) -> bool {
        self.wanted && self.conflict.is_none()
    }

    /// Leaves its port to another.
    pub(super) fn give_way(&mut self, reason: &'static str) {
        self.conflict = Some(reason);
        self.server = None;
    }

    /// True if it is a listener of that object.
    pub(super) fn is_of(&self, kind: OwnerKind, meta: &'a hawser_api::Meta) -> bool {
        self.owner.kind == kind && std::ptr::eq(self.owner.meta, meta)
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
