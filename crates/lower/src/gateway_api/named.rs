//! Whether the Gateway API names a Secret or a ConfigMap: most of them are nothing to it, and many change all the time (a
//! lease in an annotation, say).

use hawser_api::{Kind, gateway_api as api};

use crate::store::Objects;

/// True if a Gateway, a ListenerSet or a BackendTLSPolicy refers to it. Whether the reference is of any use is not asked.
pub(crate) fn names(objects: &Objects, kind: Kind, namespace: &str, name: &str) -> bool {
    let wanted = Wanted {
        kind: kind.info().name,
        namespace,
        name,
    };
    let mut gateways = objects.k8s_gateways.iter();
    let mut sets = objects.listener_sets.iter();
    let mut policies = objects.backend_tls_policies.of(namespace);
    gateways.any(|g| wanted.of_gateway(&g.spec, &g.meta.namespace))
        || sets.any(|set| {
            let entries = set.spec.listeners.iter();
            wanted.of_listeners(entries.map(|l| l.tls.as_ref()), &set.meta.namespace)
        })
        || policies.any(|policy| {
            let mut roots = policy.spec.validation.ca_certificate_refs.iter();
            roots.any(|r| wanted.is(Some(&r.kind), None, namespace, &r.name))
        })
}

/// What is looked for.
struct Wanted<'a> {
    kind: &'a str,
    namespace: &'a str,
    name: &'a str,
}

impl Wanted<'_> {
    /// True of a reference from namespace `own`; where it names no kind, it is to a Secret.
    fn is(&self, kind: Option<&str>, namespace: Option<&str>, own: &str, name: &str) -> bool {
        kind.unwrap_or("Secret") == self.kind
            && namespace.unwrap_or(own) == self.namespace
            && name == self.name
    }

    fn of_secret(&self, reference: &api::SecretObjectReference, own: &str) -> bool {
        let (kind, namespace) = (reference.kind.as_deref(), reference.namespace.as_deref());
        self.is(kind, namespace, own, &reference.name)
    }

    fn of_other(&self, reference: &api::ParametersReference, own: &str) -> bool {
        let namespace = reference.namespace.as_deref();
        self.is(Some(&reference.kind), namespace, own, &reference.name)
    }

    fn of_gateway(&self, gateway: &api::GatewaySpec, own: &str) -> bool {
        let tls = gateway.tls.as_ref();
        let frontend = tls.and_then(|t| t.frontend.as_ref());
        let of_ports = frontend.into_iter().flat_map(|f| &f.per_port);
        let configs = of_ports.map(|p| &p.tls).chain(frontend.map(|f| &f.default));
        let mut roots = configs
            .filter_map(|c| c.validation.as_ref())
            .flat_map(|v| &v.ca_certificate_refs);
        let infrastructure = gateway.infrastructure.as_ref();
        let parameters = infrastructure.and_then(|i| i.parameters_ref.as_ref());
        let backend = tls.and_then(|t| t.backend.as_ref());
        let client = backend.and_then(|b| b.client_certificate_ref.as_ref());
        let listeners = gateway.listeners.iter();
        self.of_listeners(listeners.map(|l| l.tls.as_ref()), own)
            || roots.any(|r| self.of_other(r, own))
            || parameters.is_some_and(|p| self.of_other(p, own))
            || client.is_some_and(|c| self.of_secret(c, own))
    }

    fn of_listeners<'a>(
        &self,
        mut listeners: impl Iterator<Item = Option<&'a api::ListenerTls>>,
        own: &str,
    ) -> bool {
        let certificate = |tls: &api::ListenerTls| {
            let mut all = tls.certificate_refs.iter();
            all.any(|r| self.of_secret(r, own))
        };
        listeners.any(|tls| tls.is_some_and(certificate))
    }
}
