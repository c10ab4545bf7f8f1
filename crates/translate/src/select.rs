//! Gathering the inputs of listeners and routes for a proxy.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hawser_model::proxy::Interception;
use hawser_model::route::{GatewayRef, VirtualService};
use hawser_model::service::Resolution;
use hawser_model::snapshot::Workload;
use hawser_model::{Hostname, Labels, Service, Shared, Str};

use crate::cluster::{ClusterInput, InboundCluster};
use crate::listener::inbound::{self, InboundContext, InboundPort};
use crate::listener::outbound::{self, Listeners, OutboundContext};
use crate::listener::spec::{
    Chain, ChainMatch, ChainTo, ClientCert, HttpShared, ListenerFilter, ListenerSpec, TlsSpec, tcp,
};
use crate::listener::{MESH_ALPN, gateway::passthrough};
use crate::route::{Caller, Destinations, RouteInput, SidecarRoutes};
use crate::scope::{self, Egress};
use crate::telemetry::{self, AccessLogs};
use crate::translator::{Session, Translator};

impl Translator {
    /// The workload that a proxy stands beside.
    pub(crate) fn workload(&self, session: &Session<'_>) -> Option<Shared<Workload>> {
        let proxy = session.proxy;
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

    /// Labels of the proxy's workload: those that the cluster knows, else those of its node.
    fn labels(&self, session: &Session<'_>) -> Labels {
        match self.workload(session) {
            Some(w) if !w.labels.is_empty() => w.labels.clone(),
            _ => session.proxy.labels.clone(),
        }
    }

    pub(crate) fn mesh_tls(&self, session: &Session<'_>) -> Shared<TlsSpec> {
        let mesh = &self.snapshot.mesh;
        let mut trust_domains = vec![mesh.trust_domain.clone()];
        trust_domains.extend(mesh.trust_domain_aliases.iter().cloned());
        Shared::new(TlsSpec::Mesh {
            trust_domains,
            min_version: mesh.mtls_min_version,
            files: session.proxy.tls_files.clone(),
        })
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
            logs: telemetry::plan(&self.snapshot, proxy),
            tracing: None,
            inbound,
            gateway: false,
        })
    }

    fn caller(&self, session: &Session<'_>, routes: &[Shared<VirtualService>]) -> Shared<Caller> {
        let asks = routes.iter().any(|r| {
            r.http
                .iter()
                .flat_map(|h| &h.matches)
                .any(|m| !m.source_labels.is_empty())
                || r.tls
                    .iter()
                    .flat_map(|t| &t.matches)
                    .chain(r.tcp.iter().flat_map(|t| &t.matches))
                    .any(|m| !m.source_labels.is_empty())
        });
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
            .flat_map(|r| scope::destinations(r).into_keys())
            .collect();
        hosts.extend(services.into_iter().map(|s| s.host.clone()));
        let rules = self.telling_rules(session, hosts.iter().cloned());
        let services = hosts
            .into_iter()
            .filter_map(|h| Some((h.clone(), session.scope.services.get(&h)?.clone())))
            .collect();
        Shared::new(Destinations { services, rules })
    }

    /// The inbound ports of a sidecar.
    fn inbound_ports(&self, session: &Session<'_>) -> Vec<(InboundPort, InboundCluster)> {
        let proxy = session.proxy;
        let mesh = &self.snapshot.mesh;
        let labels = self.labels(session);
        let modes = self.mtls(&proxy.namespace);
        let mode = |port: u16| modes.mode(&labels, &proxy.namespace, port);
        let cluster = |port: u16, protocol, service: Option<Shared<Service>>| InboundCluster {
            port,
            protocol,
            service,
            mesh: mesh.clone(),
            view: session.view.clone(),
            pool: None,
            endpoint: None,
            keep_source: proxy.interception == Interception::Tproxy,
        };
        let mut out: BTreeMap<u16, (InboundPort, InboundCluster)> = BTreeMap::new();
        let mut served: Vec<(Shared<Service>, u16, u16)> = self
            .workload(session)
            .iter()
            .flat_map(|w| w.serves.clone())
            .filter_map(|(key, service_port, port)| {
                Some((
                    self.snapshot.services.get(&key)?.clone(),
                    service_port,
                    port,
                ))
            })
            .collect();
        served
            .sort_by_key(|(s, service_port, _)| (s.meta.created_s, s.host.clone(), *service_port));
        for (service, service_port, port) in served {
            let Some(p) = service.port(service_port) else {
                continue;
            };
            out.entry(port).or_insert_with(|| {
                (
                    InboundPort {
                        port,
                        protocol: p.protocol,
                        host: service.host.as_str().into(),
                        service_port,
                        mode: mode(port),
                        own_tls: None,
                        cluster: format!("inbound|{port}||").into(),
                    },
                    cluster(port, p.protocol, Some(service.clone())),
                )
            });
        }
        out.into_values().collect()
    }

    pub(crate) fn inbound_clusters(&self, session: &Session<'_>) -> Vec<ClusterInput> {
        self.inbound_ports(session)
            .into_iter()
            .map(|(_, cluster)| ClusterInput::Inbound(cluster))
            .collect()
    }

    pub(crate) fn sidecar_listeners(&self, session: &Session<'_>) -> Vec<ListenerSpec> {
        let mut out = Vec::new();
        let transparent = session.proxy.interception == Interception::Tproxy;
        let logs = telemetry::plan(&self.snapshot, session.proxy);
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
            own: session.proxy.addresses.first().copied(),
            mesh: &self.snapshot.mesh,
            policy: &session.scope.outbound_policy,
            caller: &caller,
            to: &to,
            http: self.http_shared(session, false),
            logs: logs.clone(),
            no_filters: Shared::new(Vec::new()),
            endpoints: &|service| self.snapshot.endpoints.get(&service.key()).cloned(),
            rule: &|host| session.rule(host),
        };
        for part in &session.scope.egress {
            listeners.add(&part.services, &part.routes, &cx);
        }
        out.extend(listeners.finish(&cx));
        if session.proxy.interception != Interception::None {
            out.push(outbound::capturing(&cx, transparent));
        }
        let ports: Vec<_> = self
            .inbound_ports(session)
            .into_iter()
            .map(|(port, _)| port)
            .collect();
        let labels = self.labels(session);
        let inbound = InboundContext {
            view: &session.view,
            mesh: &self.snapshot.mesh,
            http: self.http_shared(session, true),
            logs,
            tls: self.mesh_tls(session),
            http_filters: Shared::new(Vec::new()),
            tcp_filters: Shared::new(Vec::new()),
            default_mode: self
                .mtls(&session.proxy.namespace)
                .of_other_ports(&labels, &session.proxy.namespace),
        };
        out.push(inbound::listener(&ports, &inbound, transparent));
        out
    }

    /// Names of the route configurations that a proxy's listeners refer to.
    pub(crate) fn route_names(&self, session: &Session<'_>) -> BTreeSet<Str> {
        if session.is_router() {
            return BTreeSet::new();
        }
        let mut out = BTreeSet::new();
        for part in &session.scope.egress {
            for service in &part.services {
                for port in &service.ports {
                    if service.resolution == Resolution::Alias {
                        continue;
                    }
                    if port.protocol.is_http() {
                        out.insert(port.number.to_string().into());
                    } else if port.protocol.is_sniffed() {
                        out.insert(self.sniffed_route(session, service, port.number));
                    }
                }
            }
        }
        out
    }

    fn sniffed_route(&self, session: &Session<'_>, service: &Service, port: u16) -> Str {
        let has_address = !service.addresses_in(&session.proxy.cluster).is_empty();
        if has_address || service.resolution == Resolution::Passthrough {
            format!("{}:{port}", service.host).into()
        } else {
            port.to_string().into()
        }
    }

    pub(crate) fn route_input(&self, session: &Session<'_>, name: &str) -> Option<RouteInput> {
        if session.is_router() {
            return None;
        }
        let (host, port) = match name.rsplit_once(':') {
            Some((host, port)) => (Some(host), port.parse::<u16>().ok()?),
            None => (None, name.parse::<u16>().ok()?),
        };
        let part: &Egress = session.scope.egress.first()?;
        let services: Vec<(Shared<Service>, u16)> = part
            .services
            .iter()
            .filter(|s| s.resolution != Resolution::Alias)
            .filter(|s| host.is_none_or(|h| s.host.as_str() == h))
            .filter(|s| {
                s.port(port).is_some_and(|p| {
                    p.protocol.is_http() || (p.protocol.is_sniffed() && host.is_some())
                })
            })
            .map(|s| (s.clone(), port))
            .collect();
        let known = part.services.iter().map(|s| s.host.clone()).collect();
        Some(RouteInput::Sidecar(SidecarRoutes {
            name: name.into(),
            port,
            to: self.destinations(session, &part.routes, services.iter().map(|(s, _)| s)),
            services,
            routes: part.routes.clone(),
            caller: self.caller(session, &part.routes),
            mesh: self.snapshot.mesh.clone(),
            policy: session.scope.outbound_policy.clone(),
            known: Shared::new(known),
            announces: host.is_some(),
            single: host.is_some(),
            generic: false,
        }))
    }

    /// SNIs of this router's `AUTO_PASSTHROUGH` servers, with what each leads to.
    pub(crate) fn sni_targets(
        &self,
        session: &Session<'_>,
    ) -> BTreeMap<String, passthrough::Target> {
        use hawser_model::gateway::ServerTlsMode;
        let hosts: Vec<Hostname> = self
            .own_gateways(session)
            .iter()
            .flat_map(|g| g.servers.iter())
            .filter(|s| {
                s.tls
                    .as_ref()
                    .is_some_and(|t| t.mode == ServerTlsMode::AutoPassthrough)
            })
            .flat_map(|s| s.hosts.iter().map(|h| h.host.clone()))
            .collect();
        passthrough::targets(
            &session.scope.services,
            &hosts,
            &self.snapshot.mesh.dns_domain,
            |host| session.rule(host),
        )
    }

    /// Gateways whose selector fits a router.
    pub(crate) fn own_gateways(
        &self,
        session: &Session<'_>,
    ) -> Vec<Shared<hawser_model::gateway::Gateway>> {
        let labels = self.labels(session);
        self.snapshot
            .gateways
            .iter()
            .filter(|g| {
                g.selector.selects(&labels)
                    && (!g.same_namespace || g.meta.namespace == session.proxy.namespace)
            })
            .cloned()
            .collect()
    }

    pub(crate) fn gateway_listeners(&self, session: &Session<'_>) -> Vec<ListenerSpec> {
        use hawser_model::gateway::ServerTlsMode;
        let logs = telemetry::plan(&self.snapshot, session.proxy);
        let mut out: BTreeMap<u16, ListenerSpec> = BTreeMap::new();
        let gateways = self.own_gateways(session);
        for server in gateways.iter().flat_map(|g| g.servers.iter()) {
            let auto = server
                .tls
                .as_ref()
                .is_some_and(|t| t.mode == ServerTlsMode::AutoPassthrough);
            if !auto {
                continue;
            }
            let hosts: Vec<_> = server.hosts.iter().map(|h| h.host.clone()).collect();
            let targets = passthrough::targets(
                &session.scope.services,
                &hosts,
                &self.snapshot.mesh.dns_domain,
                |host| session.rule(host),
            );
            let spec = out.entry(server.port).or_insert_with(|| ListenerSpec {
                name: format!("{}_{}", session.view.wildcard(), server.port).into(),
                addresses: vec![session.view.wildcard().into()],
                port: server.port,
                bound: true,
                inbound: false,
                original_dst: false,
                transparent: false,
                filters: vec![ListenerFilter::TlsInspector(Vec::new())],
                chains: Vec::new(),
                default_chain: None,
                detection_timeout: Duration::ZERO,
                logs: Shared::new(AccessLogs::default()),
                one_at_a_time: true,
            });
            for (sni, target) in targets {
                let matches = ChainMatch {
                    server_names: vec![sni.into()],
                    alpn: MESH_ALPN,
                    ..Default::default()
                };
                if spec.chains.iter().any(|c| c.matches == matches) {
                    continue;
                }
                spec.chains.push(Chain {
                    name: "".into(),
                    matches,
                    tls: None,
                    before: Shared::new(Vec::new()),
                    to: ChainTo::Tcp(tcp(&target.cluster(), &logs)),
                    handshake_timeout: true,
                });
            }
        }
        out.into_values().filter(|s| !s.chains.is_empty()).collect()
    }
}
