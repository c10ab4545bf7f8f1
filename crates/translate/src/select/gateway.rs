//! Inputs of routers' listeners and routes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hawser_model::gateway::{Gateway, NamespaceMatch, Server, ServerTlsMode};
use hawser_model::problem::{ObjectName, Problem, Severity};
use hawser_model::route::{GatewayRef, VirtualService};
use hawser_model::{Hostname, Meta, ServiceKey, Shared, Str};

use crate::authz;
use crate::listener::MESH_ALPN;
use crate::listener::gateway::{self, Open, Taken, listens_on, passthrough};
use crate::listener::http::of_port;
use crate::listener::outbound::{OutboundContext, chains};
use crate::listener::spec::{
    Chain, ChainMatch, ChainTo, ClientCert, HttpShared, HttpSpec, ListenerFilter, ListenerSpec,
    Ports, Routes, TlsSpec, tcp,
};
use crate::route::{Caller, GatewayRoutes, GatewayServer};
use crate::scope;
use crate::telemetry::{self, AccessLogs};
use crate::translator::{Session, Translator};

impl Translator {
    /// Gateways whose selector fits a router, in order of age.
    fn own_gateways(&self, session: &Session<'_>) -> Vec<Shared<Gateway>> {
        let labels = session.labels.clone();
        let serves: BTreeSet<&ServiceKey> = session
            .workload
            .iter()
            .flat_map(|w| w.serves.iter().map(|(key, ..)| key))
            .collect();
        self.snapshot
            .gateways
            .iter()
            .filter(|g| {
                if g.services.is_empty() {
                    g.selector.selects(&labels)
                        && (!g.same_namespace || g.meta.namespace == session.proxy.namespace)
                } else {
                    g.services.iter().any(|s| serves.contains(s))
                }
            })
            .cloned()
            .collect()
    }

    /// The ports that a router opens for its gateways: a server names the port that clients call, the router listens on
    /// the target port of its own service (Istio's `MergeGateways`).
    pub(super) fn open_servers(&self, session: &Session<'_>) -> Vec<Open> {
        self.opened(session).0
    }

    /// The same, and which servers cannot be opened.
    fn opened(&self, session: &Session<'_>) -> (Vec<Open>, Vec<Problem>) {
        let served = self.served(session);
        let mut out: Vec<Open> = Vec::new();
        let mut problems = Vec::new();
        let mut taken = Taken::default();
        for gateway in self.own_gateways(session) {
            for server in &gateway.servers {
                for port in listens_on(&gateway, server, &served) {
                    let route = gateway::route_name(&gateway, server, port);
                    let refused = match taken.add(server, port, route.as_ref()) {
                        Err((message, help)) => Some((message, help)),
                        Ok(()) if session.view.unprivileged && port < 1024 => Some((
                            "cannot be opened by a gateway without privileges".to_owned(),
                            "give the gateway's service a target port of 1024 or more",
                        )),
                        Ok(()) => None,
                    };
                    match refused {
                        Some((message, help)) => problems.push(Problem {
                            code: "HWS0602",
                            severity: Severity::Error,
                            object: object("Gateway", &gateway.meta),
                            field: "spec.servers".to_owned(),
                            message: format!("the server of port {port} {message}"),
                            help: help.to_owned(),
                        }),
                        None => out.push(Open {
                            gateway: gateway.clone(),
                            port,
                            route,
                            server: server.clone(),
                        }),
                    }
                }
            }
        }
        (out, problems)
    }

    /// What of a router's gateways cannot be as it is written.
    pub(crate) fn gateway_problems(&self, session: &Session<'_>) -> Vec<Problem> {
        let (servers, mut problems) = self.opened(session);
        problems.extend(self.listeners_of(session, &servers).1);
        problems
    }

    /// VirtualServices bound to a gateway that the router may see.
    fn bound(&self, session: &Session<'_>, gateway: &Gateway) -> Vec<Shared<VirtualService>> {
        let namespace = &session.proxy.namespace;
        scope::routes_of(&self.snapshot, &gateway.reference(), namespace)
    }

    /// Names of the route configurations of a router.
    pub(super) fn gateway_route_names(&self, session: &Session<'_>) -> BTreeSet<Str> {
        self.open_servers(session)
            .into_iter()
            .filter_map(|o| o.route)
            .collect()
    }

    pub(super) fn gateway_routes(
        &self,
        session: &Session<'_>,
        name: &str,
    ) -> Option<GatewayRoutes> {
        let servers: Vec<GatewayServer> = self
            .open_servers(session)
            .into_iter()
            .filter(|o| o.route.as_deref() == Some(name))
            .map(|o| {
                let routes = self.bound(session, &o.gateway);
                GatewayServer {
                    gateway: o.gateway.reference(),
                    port: o.server.port,
                    tls: o.server.tls.is_some(),
                    https_redirect: o.server.tls.as_ref().is_some_and(|t| t.https_redirect),
                    hosts: o.server.hosts.clone(),
                    routes,
                }
            })
            .collect();
        if servers.is_empty() {
            return None;
        }
        let all: Vec<_> = servers.iter().flat_map(|s| s.routes.clone()).collect();
        Some(GatewayRoutes {
            name: name.into(),
            to: self.destinations(session, &all, []),
            caller: self.gateway_caller(session, [].into()),
            mesh: self.snapshot.mesh.clone(),
            servers,
        })
    }

    fn gateway_caller(
        &self,
        session: &Session<'_>,
        gateways: BTreeSet<GatewayRef>,
    ) -> Shared<Caller> {
        Shared::new(Caller {
            namespace: session.proxy.namespace.clone(),
            cluster: session.proxy.cluster.clone(),
            labels: session.proxy.labels.clone(),
            gateways,
            router: true,
        })
    }

    /// SNIs that lead to clusters of their own: all services', if any server passes connections on by SNI.
    pub(crate) fn sni_targets(
        &self,
        session: &Session<'_>,
    ) -> BTreeMap<String, passthrough::Target> {
        let any = self
            .own_gateways(session)
            .iter()
            .flat_map(|g| g.servers.iter())
            .any(is_auto_passthrough);
        if !any {
            return BTreeMap::new();
        }
        let everything = Hostname::parse("*").into_iter().collect::<Vec<_>>();
        passthrough::targets(
            &session.scope.services,
            &everything,
            &self.snapshot.mesh.dns_domain,
            |host| session.rule(host),
        )
    }

    pub(crate) fn gateway_listeners(&self, session: &Session<'_>) -> Vec<ListenerSpec> {
        self.listeners_of(session, &self.open_servers(session)).0
    }

    fn listeners_of(
        &self,
        session: &Session<'_>,
        servers: &[Open],
    ) -> (Vec<ListenerSpec>, Vec<Problem>) {
        let mut problems = Vec::new();
        let proxy = session.proxy;
        let logs = telemetry::logs_plan(&self.subject(session, false));
        let filters = authz::filters(
            &self.snapshot,
            &authz::Workload {
                namespace: &proxy.namespace,
                labels: &session.labels,
                router: true,
            },
        );
        let http = self.gateway_http(session);
        let mut out: BTreeMap<(Str, u16), ListenerSpec> = BTreeMap::new();
        for open in servers {
            let spec = out
                .entry((open.server.bind.clone(), open.port))
                .or_insert_with(|| self.empty_listener(session, open));
            let routes = self.bound(session, &open.gateway);
            let to = self.destinations(session, &routes, []);
            let caller = self.gateway_caller(session, [open.gateway.reference()].into());
            let cx = OutboundContext {
                view: &session.view,
                own: None,
                mesh: &self.snapshot.mesh,
                policy: &session.scope.outbound_policy,
                caller: &caller,
                to: &to,
                http: http.clone(),
                logs: logs.clone(),
                no_filters: Shared::new(Vec::new()),
                endpoints: &|_| None,
                rule: &|host| session.rule(host),
            };
            let tls = self.server_tls(session, open);
            let mut encrypted = false;
            for (mut chain, of) in chains(self, session, open, &routes, &cx, &filters, tls) {
                encrypted = true;
                chain.matches = chain.matches.tidy();
                let older = spec
                    .chains
                    .iter()
                    .find(|c| c.matches.collides(&chain.matches));
                match older {
                    None => spec.chains.push(chain),
                    // The same by another way is no mistake.
                    Some(older)
                        if older.matches == chain.matches && older.to.leads_as(&chain.to) => {}
                    Some(older) => {
                        problems.push(taken(open, of.as_ref(), &older.matches, &chain.matches))
                    }
                }
            }
            // For names and for what clients offer to speak within TLS.
            if encrypted && open.server.tls.is_some() && !open.server.protocol.is_http() {
                let inspector = ListenerFilter::TlsInspector(Ports::ALL);
                if !spec.filters.contains(&inspector) {
                    spec.filters.push(inspector);
                }
            }
        }
        let listeners = out.into_values().filter(|s| !s.chains.is_empty());
        (listeners.collect(), problems)
    }

    fn empty_listener(&self, session: &Session<'_>, open: &Open) -> ListenerSpec {
        let bind = &open.server.bind;
        let (first, addresses): (Str, Vec<Str>) = if bind.is_empty() {
            (session.view.wildcard().into(), session.view.wildcards())
        } else {
            (bind.clone(), vec![bind.clone()])
        };
        let name = format!("{first}_{}", open.port);
        let mut filters = Vec::new();
        if session.proxy.proxy_protocol {
            filters.push(ListenerFilter::ProxyProtocol);
        }
        ListenerSpec {
            name: name.into(),
            addresses,
            port: open.port,
            bound: true,
            inbound: false,
            original_dst: false,
            transparent: false,
            filters,
            chains: Vec::new(),
            default_chain: None,
            detection_timeout: None,
            logs: Shared::new(AccessLogs::default()),
            one_at_a_time: true,
        }
    }

    fn gateway_http(&self, session: &Session<'_>) -> Shared<HttpShared> {
        let proxy = session.proxy;
        Shared::new(HttpShared {
            use_remote_address: true,
            trusted_hops: proxy.trusted_proxies,
            client_cert: match proxy.forward_client_cert.as_deref() {
                Some("SANITIZE") => ClientCert::Sanitize,
                Some("FORWARD_ONLY") => ClientCert::ForwardOnly,
                Some("APPEND_FORWARD") => ClientCert::AppendForward,
                Some("ALWAYS_FORWARD_ONLY") => ClientCert::AlwaysForwardOnly,
                _ => ClientCert::SanitizeSet,
            },
            http10: proxy.http10,
            idle_timeout: proxy.idle_timeout_ms.map(Duration::from_millis),
            paths: self.snapshot.mesh.path_normalization,
            logs: telemetry::logs_plan(&self.subject(session, false)),
            tracing: telemetry::tracing_plan(&self.subject(session, false)),
            extensions: self.own_extensions(session, false),
            gateway: true,
        })
    }

    fn server_tls(&self, session: &Session<'_>, open: &Open) -> Option<Shared<TlsSpec>> {
        let tls = open.server.tls.as_ref()?;
        let ends_here = !matches!(
            tls.mode,
            ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough
        ) && !open.server.protocol.is_http();
        ends_here.then(|| {
            Shared::new(TlsSpec::Server {
                tls: self.snapshot.mesh.tls_defaults.complete(tls),
                files: session.proxy.tls_files.clone(),
            })
        })
    }
}

fn object(kind: &str, meta: &Meta) -> ObjectName {
    ObjectName {
        cluster: None,
        kind: kind.into(),
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
    }
}

/// Connections that something older has already.
fn taken(
    open: &Open,
    route: Option<&Shared<VirtualService>>,
    older: &ChainMatch,
    own: &ChainMatch,
) -> Problem {
    let names = own.server_names.iter();
    let which = match names.clone().find(|n| older.server_names.contains(n)) {
        Some(name) => format!("connections for {name}"),
        None => "all connections".to_owned(),
    };
    let (kind, meta, field) = match route {
        Some(route) => ("VirtualService", &route.meta, "spec"),
        None => ("Gateway", &open.gateway.meta, "spec.servers"),
    };
    Problem {
        code: "HWS0603",
        severity: Severity::Error,
        object: object(kind, meta),
        field: field.to_owned(),
        message: format!(
            "{which} to port {} go elsewhere by an older rule",
            open.port
        ),
        help: "leave them to one of both".to_owned(),
    }
}

fn is_auto_passthrough(server: &Server) -> bool {
    server
        .tls
        .as_ref()
        .is_some_and(|t| t.mode == ServerTlsMode::AutoPassthrough)
}

/// True if a host of a server lets VirtualServices of that namespace bind.
fn binds(server: &Server, route: &VirtualService) -> bool {
    server.hosts.iter().any(|h| {
        let namespace = match &h.namespace {
            NamespaceMatch::Any => true,
            NamespaceMatch::Only(ns) => *ns == route.meta.namespace,
            NamespaceMatch::Nothing => false,
        };
        namespace && route.hosts.iter().any(|v| v.overlaps(&h.host))
    })
}

/// The names that a chain answers to.
fn sni(server: &Server) -> Vec<Str> {
    let hosts = server.hosts.iter();
    hosts.map(|h| h.host.as_str().into()).collect()
}

fn chains(
    translator: &Translator,
    session: &Session<'_>,
    open: &Open,
    routes: &[Shared<VirtualService>],
    cx: &OutboundContext<'_>,
    filters: &authz::Filters,
    tls: Option<Shared<TlsSpec>>,
) -> Vec<(Chain, Option<Shared<VirtualService>>)> {
    let server = &open.server;
    let chain = |matches: ChainMatch, tls, to, authorized: bool| Chain {
        name: "".into(),
        matches,
        tls,
        before: match (&to, authorized) {
            (ChainTo::Tcp(_), true) => filters.tcp.clone(),
            _ => Shared::new(Vec::new()),
        },
        to,
        handshake_timeout: true,
    };
    let by_name = |names: Vec<Str>| ChainMatch {
        server_names: names,
        ..Default::default()
    };
    if let Some(name) = &open.route {
        let spec = HttpSpec {
            stat_prefix: format!("outbound_{}_{};", session.view.wildcard(), open.port).into(),
            routes: Routes::Named(name.clone()),
            server: true,
            shared: cx.http.clone(),
            filters: of_port(&filters.http, &cx.http, open.port, server.protocol),
            announce_http: true,
        };
        let names = if tls.is_some() {
            sni(server)
        } else {
            Vec::new()
        };
        return vec![(chain(by_name(names), tls, ChainTo::Http(spec), true), None)];
    }
    if is_auto_passthrough(server) {
        let hosts: Vec<Hostname> = server.hosts.iter().map(|h| h.host.clone()).collect();
        // No policies here: what is inside cannot be seen.
        return passthrough::targets(
            &session.scope.services,
            &hosts,
            &translator.snapshot.mesh.dns_domain,
            |host| session.rule(host),
        )
        .into_iter()
        .map(|(name, target)| {
            let matches = ChainMatch {
                server_names: vec![name.into()],
                alpn: MESH_ALPN,
                ..Default::default()
            };
            let mut to = tcp(&target.cluster(), &cx.logs);
            let idle = cx.http.idle_timeout;
            chains::by_rule(&mut to, target.rule.as_deref(), &target.subset, idle);
            (chain(matches, None, ChainTo::Tcp(to), false), None)
        })
        .collect();
    }
    let bound = routes.iter().filter(|r| binds(server, r));
    if server.tls.is_some() && tls.is_none() {
        let mut out = Vec::new();
        let rules = bound.flat_map(|route| route.tls.iter().map(move |rule| (route, rule)));
        for (route, rule) in rules.filter(|(_, rule)| !rule.route.is_empty()) {
            for m in rule
                .matches
                .iter()
                .filter(|m| chains::fits(m, server.port, cx))
            {
                let names: Vec<Str> = m.sni.iter().map(|h| h.as_str().into()).collect();
                let to = ChainTo::Tcp(chains::to_clusters(&rule.route, server.port, cx));
                out.push((chain(by_name(names), None, to, true), Some(route.clone())));
            }
        }
        return out;
    }
    let names = if tls.is_some() {
        sni(server)
    } else {
        Vec::new()
    };
    for route in bound {
        let fits = |matches: &[hawser_model::route::L4Match]| {
            matches.is_empty() || matches.iter().any(|m| chains::fits(m, server.port, cx))
        };
        let of_tcp = route
            .tcp
            .iter()
            .find(|t| !t.route.is_empty() && fits(&t.matches))
            .map(|t| &t.route);
        // A TLSRoute may end at a terminating server too.
        let of_tls = || {
            let terminates =
                tls.is_some() && route.semantics == hawser_model::route::RouteSemantics::GatewayApi;
            route
                .tls
                .iter()
                .find(|t| terminates && !t.route.is_empty() && fits(&t.matches))
                .map(|t| &t.route)
        };
        if let Some(to) = of_tcp.or_else(of_tls) {
            let to = ChainTo::Tcp(chains::to_clusters(to, server.port, cx));
            return vec![(chain(by_name(names), tls, to, true), Some(route.clone()))];
        }
    }
    Vec::new()
}
