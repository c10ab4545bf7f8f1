//! Inputs of sidecars' listeners, inbound clusters and routes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use hawser_model::proxy::Interception;
use hawser_model::service::Resolution;
use hawser_model::sidecar::{CaptureMode, IngressListener, Sidecar};
use hawser_model::{Hostname, Labels, Protocol, Service, Shared, Str};

use crate::authz;
use crate::cluster::{ClusterInput, InboundCluster};
use crate::destination;
use crate::listener::inbound::{self, InboundContext, InboundPort};
use crate::listener::outbound::{self, Listeners, OutboundContext};
use crate::listener::spec::{ChainTo, HttpSpec, ListenerSpec, Routes, TlsSpec};
use crate::route::SidecarRoutes;
use crate::scope::Egress;
use crate::telemetry;
use crate::translator::{Session, Translator};

impl Translator {
    /// The inbound ports of a sidecar: those of a Sidecar resource, else those that services make known.
    fn inbound_ports(&self, session: &Session<'_>) -> Vec<(InboundPort, InboundCluster)> {
        let labels = session.labels.clone();
        match &session.scope.sidecar {
            Some(sidecar) if !sidecar.ingress.is_empty() => sidecar
                .ingress
                .iter()
                .filter(|listener| may_open(session, listener))
                .map(|listener| self.ingress_port(session, sidecar, listener, &labels))
                .collect(),
            // Listeners of its own would take the application's ports.
            _ if session.proxy.interception == Interception::None => Vec::new(),
            _ => self.served_ports(session, &labels),
        }
    }

    fn inbound_cluster(
        &self,
        session: &Session<'_>,
        port: u16,
        protocol: Protocol,
        service: Option<Shared<Service>>,
    ) -> InboundCluster {
        InboundCluster {
            port,
            protocol,
            service,
            mesh: self.snapshot.mesh.clone(),
            view: session.view.clone(),
            pool: session
                .scope
                .sidecar
                .as_ref()
                .and_then(|s| s.inbound_pool.clone()),
            endpoint: None,
        }
    }

    fn served_ports(
        &self,
        session: &Session<'_>,
        labels: &Labels,
    ) -> Vec<(InboundPort, InboundCluster)> {
        let proxy = session.proxy;
        let modes = self.mtls(&proxy.namespace);
        let mut out: BTreeMap<u16, (InboundPort, InboundCluster)> = BTreeMap::new();
        for (service, p, port) in self.served(session) {
            let service_port = p.number;
            if session.is_reserved(&self.snapshot.mesh, port) {
                continue;
            }
            out.entry(port).or_insert_with(|| {
                let inbound = InboundPort {
                    port,
                    protocol: p.protocol,
                    host: service.host.as_str().into(),
                    service_port,
                    mode: modes.mode(labels, &proxy.namespace, port),
                    own_tls: None,
                    cluster: crate::cluster::inbound_name(port).into(),
                    bind: session.view.wildcard().into(),
                    bound: false,
                };
                let mut cluster =
                    self.inbound_cluster(session, port, p.protocol, Some(service.clone()));
                if cluster.pool.is_none() {
                    // The server, too, must bear what its rule lets clients send.
                    let mesh = &self.snapshot.mesh;
                    let rule = session.inbound_rule(&service.host);
                    cluster.pool =
                        destination::policy_in(mesh, rule.as_deref(), None, service_port)
                            .connection_pool;
                }
                if !self.snapshot.mesh.inbound_passthrough {
                    cluster.endpoint = Some((session.view.local_host().into(), port));
                }
                (inbound, cluster)
            });
        }
        out.into_values().collect()
    }

    fn ingress_port(
        &self,
        session: &Session<'_>,
        sidecar: &Sidecar,
        listener: &IngressListener,
        labels: &Labels,
    ) -> (InboundPort, InboundCluster) {
        let proxy = session.proxy;
        let modes = self.mtls(&proxy.namespace);
        let mode = modes.mode(labels, &proxy.namespace, listener.port);
        let own_tls = listener
            .tls
            .as_ref()
            .filter(|_| mode == hawser_model::authn::MtlsMode::Disable)
            .map(|tls| {
                Shared::new(TlsSpec::Ingress(
                    self.snapshot.mesh.tls_defaults.complete(tls),
                ))
            });
        let inbound = InboundPort {
            port: listener.port,
            // TLS that ends here leaves HTTP.
            protocol: match listener.protocol {
                Protocol::Https if own_tls.is_some() => Protocol::Http,
                other => other,
            },
            host: format!("{}.{}", sidecar.meta.name, sidecar.meta.namespace).into(),
            service_port: listener.port,
            mode,
            own_tls,
            cluster: crate::cluster::inbound_name(listener.port).into(),
            bind: match &*listener.bind {
                "" => own_address(&proxy.addresses).map_or_else(
                    || session.view.wildcard().into(),
                    |ip| ip.to_string().into(),
                ),
                _ => listener.bind.clone(),
            },
            bound: is_bound(session, listener),
        };
        let served = self.served(session).into_iter();
        let service = served
            .filter(|(.., target)| *target == listener.port)
            .map(|(service, ..)| service)
            .next();
        let rule = service.as_ref().and_then(|s| session.inbound_rule(&s.host));
        let mut cluster = self.inbound_cluster(session, listener.port, inbound.protocol, service);
        cluster.endpoint = endpoint(&listener.default_endpoint, &proxy.addresses);
        if listener.pool.is_some() {
            cluster.pool.clone_from(&listener.pool);
        }
        if cluster.pool.is_none() {
            let mesh = &self.snapshot.mesh;
            cluster.pool =
                destination::policy_in(mesh, rule.as_deref(), None, listener.port).connection_pool;
        }
        (inbound, cluster)
    }

    pub(crate) fn inbound_clusters(&self, session: &Session<'_>) -> Vec<ClusterInput> {
        self.inbound_ports(session)
            .into_iter()
            .map(|(_, cluster)| ClusterInput::Inbound(cluster))
            .collect()
    }

    /// Listeners for what the application calls: many sidecars have the same.
    pub(crate) fn outbound_listeners(&self, session: &Session<'_>) -> Vec<ListenerSpec> {
        let proxy = session.proxy;
        let captured = proxy.interception != Interception::None;
        let http = self.outbound_http(session);
        let mut listeners = Listeners::default();
        let all_routes: Vec<_> = session
            .scope
            .egress
            .iter()
            .flat_map(|e| e.routes.iter().cloned())
            .collect();
        let to = self.destinations(session, &all_routes, session.scope.services.values());
        let caller = self.caller(session, &all_routes);
        let cx = OutboundContext {
            view: &session.view,
            own: proxy.addresses.first().copied(),
            mesh: &self.snapshot.mesh,
            policy: &session.scope.outbound_policy,
            caller: &caller,
            to: &to,
            logs: http.logs.clone(),
            http,
            no_filters: Shared::new(Vec::new()),
            endpoints: &|service| self.snapshot.endpoints.get(&service.key()).cloned(),
            rule: &|host| session.rule(host),
        };
        for part in &session.scope.egress {
            let bound = !captured || part.capture == CaptureMode::None;
            listeners.add(part, bound, &cx);
        }
        let mut out = listeners.finish(&cx);
        if captured {
            let transparent = proxy.interception == Interception::Tproxy;
            out.push(outbound::capturing(&cx, transparent));
        }
        out
    }

    /// Listeners for who calls the application.
    pub(crate) fn inbound_listeners(&self, session: &Session<'_>) -> Vec<ListenerSpec> {
        let mut out = Vec::new();
        let proxy = session.proxy;
        let captured = proxy.interception != Interception::None;
        let transparent = proxy.interception == Interception::Tproxy;
        let (bound, ports): (Vec<_>, Vec<_>) = self
            .inbound_ports(session)
            .into_iter()
            .map(|(port, _)| port)
            .partition(|p| p.bound);
        let labels = session.labels.clone();
        let filters = authz::filters(
            &self.snapshot,
            &authz::Workload {
                namespace: &proxy.namespace,
                labels: &labels,
                router: false,
            },
        );
        let modes = self.mtls(&proxy.namespace);
        let inbound = InboundContext {
            view: &session.view,
            mesh: &self.snapshot.mesh,
            http: self.http_shared(session, true),
            logs: telemetry::logs_plan(&self.subject(session, true)),
            tls: self.mesh_tls(session),
            http_filters: filters.http,
            tcp_filters: filters.tcp,
            default_mode: modes.of_other_ports(&labels, &proxy.namespace),
            port_modes: modes
                .ports(&labels, &proxy.namespace)
                .into_iter()
                .filter(|port| !ports.iter().any(|p| p.port == *port))
                .map(|port| (port, modes.mode(&labels, &proxy.namespace, port)))
                .collect(),
        };
        if captured {
            out.push(inbound::listener(&ports, &inbound, transparent));
        }
        out.extend(bound.iter().map(|port| inbound::bound(port, &inbound)));
        out
    }

    /// The route configurations that a sidecar's outbound listeners refer to.
    pub(super) fn sidecar_route_names(&self, session: &Session<'_>) -> BTreeSet<Str> {
        let listeners = self.outbound_listeners(session);
        let chains = listeners
            .iter()
            .flat_map(|l| l.chains.iter().chain(&l.default_chain));
        chains
            .filter_map(|chain| match &chain.to {
                ChainTo::Http(HttpSpec {
                    routes: Routes::Named(name),
                    ..
                }) => Some(name.clone()),
                _ => None,
            })
            .collect()
    }

    fn sniffed_route(&self, session: &Session<'_>, service: &Service, port: u16) -> Str {
        let has_address = !service.addresses_in(&session.proxy.cluster).is_empty();
        if has_address || service.resolution == Resolution::Passthrough {
            format!("{}:{port}", service.host).into()
        } else {
            port.to_string().into()
        }
    }

    pub(super) fn sidecar_routes(
        &self,
        session: &Session<'_>,
        name: &str,
    ) -> Option<SidecarRoutes> {
        let (host, port) = match name.rsplit_once(':') {
            Some((host, port)) => (Some(host), port.parse::<u16>().ok()?),
            None => (None, name.parse::<u16>().ok()?),
        };
        let egress = &session.scope.egress;
        let part: &Egress = match host {
            Some(host) => egress
                .iter()
                .find(|e| e.services.iter().any(|s| s.host.as_str() == host)),
            None => egress
                .iter()
                .find(|e| e.port.as_ref().is_some_and(|p| p.number == port))
                .or_else(|| egress.iter().find(|e| e.port.is_none())),
        }?;
        let mut sniffs = false;
        let services: Vec<(Shared<Service>, u16)> = part
            .services
            .iter()
            .filter(|s| host.is_none_or(|h| s.host.as_str() == h))
            .filter(|s| {
                s.port(port).is_some_and(|p| {
                    let sniffed = p.protocol.is_sniffed();
                    // A sniffed port with an address of its own has a listener, and routes, of its own.
                    sniffs |= sniffed
                        && s.resolution != Resolution::Alias
                        && *self.sniffed_route(session, s, port) == *name;
                    p.protocol.is_http() || sniffed
                })
            })
            .map(|s| (s.clone(), port))
            .collect();
        let mut aliases: BTreeMap<Hostname, Vec<Hostname>> = BTreeMap::new();
        for alias in &part.services {
            if let Some(target) = alias.external_name.clone() {
                aliases.entry(target).or_default().push(alias.host.clone());
            }
        }
        let known = part
            .services
            .iter()
            .filter(|s| s.port(port).is_some())
            .map(|s| s.host.clone())
            .collect();
        Some(SidecarRoutes {
            name: name.into(),
            port,
            to: self.destinations(session, &part.routes, services.iter().map(|(s, _)| s)),
            aliases: services
                .iter()
                .filter_map(|(s, _)| Some((s.host.clone(), aliases.remove(&s.host)?)))
                .collect(),
            services,
            routes: part.routes.clone(),
            caller: self.caller(session, &part.routes),
            mesh: self.snapshot.mesh.clone(),
            policy: session.scope.outbound_policy.clone(),
            known: Shared::new(known),
            announces: sniffs,
            single: host.is_some(),
        })
    }
}

/// Whether a Sidecar's ingress is a listener of its own, beside that for captured connections.
fn is_bound(session: &Session<'_>, listener: &IngressListener) -> bool {
    match listener.capture {
        CaptureMode::Default => session.proxy.interception == Interception::None,
        CaptureMode::Iptables => false,
        CaptureMode::None => true,
    }
}

/// Whether the proxy can open a Sidecar's ingress: it may lack the privilege, or listen there itself (Istio's
/// `CanBindToPort`).
fn may_open(session: &Session<'_>, listener: &IngressListener) -> bool {
    let proxy = session.proxy;
    if is_bound(session, listener) && proxy.unprivileged && listener.port < 1024 {
        return false;
    }
    let anywhere = match &*listener.bind {
        "" => listener.protocol.is_http(),
        own => own == session.view.wildcard(),
    };
    !(anywhere && proxy.own_ports.contains(&listener.port))
}

/// The address at which others reach the workload: an ingress listener of its own leaves the local host, and with it the
/// same port, to the application.
fn own_address(addresses: &[IpAddr]) -> Option<&IpAddr> {
    addresses.iter().find(|ip| match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local() && !ip.is_unspecified(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local() && !ip.is_unspecified(),
    })
}

/// Where a Sidecar says that the application listens: on the local host, or on the workload's own address for
/// `0.0.0.0` and `[::]`, of the family that it has. `None` is where the caller called.
fn endpoint(text: &str, own: &[IpAddr]) -> Option<(Str, u16)> {
    if text.starts_with("unix://") {
        return Some((text.into(), 0));
    }
    let (host, port) = text.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let v4 = own.iter().find(|ip| ip.is_ipv4());
    let v6 = own.iter().find(|ip| ip.is_ipv6());
    let own = |ip: Option<&IpAddr>, local: &str| ip.map_or(local.to_owned(), IpAddr::to_string);
    let host = match host {
        "0.0.0.0" => own(v4, "127.0.0.1"),
        "::" => own(v6, "::1"),
        "" | "127.0.0.1" if v4.is_none() && v6.is_some() => "::1".to_owned(),
        "" => "127.0.0.1".to_owned(),
        "::1" if v6.is_none() => "127.0.0.1".to_owned(),
        other => other.to_owned(),
    };
    Some((host.into(), port))
}
