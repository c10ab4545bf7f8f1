//! Gathering the inputs of listeners and routes for a proxy.

mod gateway;
mod sidecar;

use std::collections::BTreeSet;
use std::time::Duration;

use hawser_model::route::{GatewayRef, VirtualService};
use hawser_model::snapshot::Workload;
use hawser_model::{Hostname, Labels, Port, Proxy, Service, Shared, Str};

use crate::authz;
use crate::extensions::Extensions;
use crate::listener::spec::{ClientCert, HttpShared, TlsSpec};
use crate::route::{Caller, Destinations, RouteInput};
use crate::scope;
use crate::telemetry;
use crate::translator::{Session, Translator};

impl Translator {
    /// The workload that a proxy stands beside.
    pub(crate) fn workload(&self, proxy: &Proxy) -> Option<Shared<Workload>> {
        let workloads = &self.snapshot.workloads;
        let key = (
            proxy.cluster.clone(),
            proxy.namespace.clone(),
            proxy.name.clone(),
        );
        workloads.by_name.get(&key).cloned().or_else(|| {
            let ip = proxy.addresses.first()?;
            workloads
                .by_address
                .get(&(proxy.cluster.clone(), *ip))?
                .iter()
                .find(|w| w.namespace == proxy.namespace)
                .cloned()
        })
    }

    /// What the workload of a proxy serves: a service, its port, and the workload's own. Older services come first, ports as
    /// they are declared (Istio's `SetServiceTargets`): where two want the same port the first one counts.
    pub(crate) fn served(&self, session: &Session<'_>) -> Vec<(Shared<Service>, Port, u16)> {
        let serves = session.workload.iter().flat_map(|w| w.serves.iter());
        let mut out: Vec<_> = serves
            .filter_map(|(key, number, target)| {
                let service = self.snapshot.services.get(key)?.clone();
                let at = service.ports.iter().position(|p| p.number == *number)?;
                Some((service, at, *target))
            })
            .collect();
        out.sort_by_key(|(s, at, _)| (s.meta.created_s, s.host.clone(), *at));
        out.into_iter()
            .filter_map(|(s, at, target)| Some((s.clone(), s.ports.get(at)?.clone(), target)))
            .collect()
    }

    pub(crate) fn mesh_tls(&self, session: &Session<'_>) -> Shared<TlsSpec> {
        let mesh = &self.snapshot.mesh;
        let mut trust_domains = vec![mesh.trust_domain.clone()];
        trust_domains.extend(mesh.trust_domain_aliases.iter().cloned());
        Shared::new(TlsSpec::Mesh {
            trust_domains,
            min_version: mesh.mtls_min_version,
            ciphers: mesh.mtls_ciphers.clone(),
            files: session.proxy.tls_files.clone(),
        })
    }

    fn subject<'a>(&'a self, session: &'a Session<'_>, inbound: bool) -> telemetry::Subject<'a> {
        telemetry::Subject {
            snapshot: &self.snapshot,
            proxy: session.proxy,
            labels: &session.labels,
            services: &session.scope.services,
            inbound,
        }
    }

    fn own_extensions(&self, session: &Session<'_>, inbound: bool) -> Shared<Extensions> {
        let workload = authz::Workload {
            namespace: &session.proxy.namespace,
            labels: &session.labels,
            router: session.is_router(),
        };
        Shared::new(Extensions::of(&self.snapshot, &workload, inbound))
    }

    fn http_shared(&self, session: &Session<'_>, inbound: bool) -> Shared<HttpShared> {
        let proxy = session.proxy;
        Shared::new(HttpShared {
            use_remote_address: false,
            trusted_hops: 0,
            client_cert: if inbound {
                ClientCert::AppendForward
            } else {
                ClientCert::Sanitize
            },
            http10: proxy.http10,
            idle_timeout: proxy.idle_timeout_ms.map(Duration::from_millis),
            paths: self.snapshot.mesh.path_normalization,
            logs: telemetry::logs_plan(&self.subject(session, inbound)),
            tracing: telemetry::tracing_plan(&self.subject(session, inbound)),
            extensions: self.own_extensions(session, inbound),
            gateway: false,
        })
    }

    /// What outbound connection managers have in common.
    pub(crate) fn outbound_http(&self, session: &Session<'_>) -> Shared<HttpShared> {
        let known = session.http.clone();
        known.unwrap_or_else(|| self.http_shared(session, false))
    }

    fn caller(&self, session: &Session<'_>, routes: &[Shared<VirtualService>]) -> Shared<Caller> {
        let asks = routes.iter().any(scope::route_asks_who);
        Shared::new(Caller {
            namespace: session.proxy.namespace.clone(),
            cluster: session.proxy.cluster.clone(),
            labels: if asks {
                session.proxy.labels.clone()
            } else {
                Labels::default()
            },
            gateways: [GatewayRef::Mesh].into(),
            router: session.is_router(),
        })
    }

    /// Services and rules that these VirtualServices, and these services' own routes, lead to.
    pub(crate) fn destinations<'a>(
        &self,
        session: &Session<'_>,
        routes: &[Shared<VirtualService>],
        services: impl IntoIterator<Item = &'a Shared<Service>>,
    ) -> Shared<Destinations> {
        let mut hosts: BTreeSet<Hostname> = routes
            .iter()
            .flat_map(|r| scope::destinations(r, None).into_keys())
            .collect();
        hosts.extend(services.into_iter().map(|s| s.host.clone()));
        let rules = self.telling_rules(session, hosts.iter().cloned());
        let services = hosts
            .into_iter()
            .filter_map(|h| Some((h.clone(), session.scope.services.get(&h)?.clone())))
            .collect();
        Shared::new(Destinations { services, rules })
    }

    /// Names of the route configurations that a proxy's listeners refer to.
    pub(crate) fn route_names(&self, session: &Session<'_>) -> BTreeSet<Str> {
        if session.is_router() {
            self.gateway_route_names(session)
        } else {
            self.sidecar_route_names(session)
        }
    }

    pub(crate) fn route_input(&self, session: &Session<'_>, name: &str) -> Option<RouteInput> {
        if session.is_router() {
            self.gateway_routes(session, name).map(RouteInput::Gateway)
        } else {
            self.sidecar_routes(session, name).map(RouteInput::Sidecar)
        }
    }
}
