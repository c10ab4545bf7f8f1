//! Outbound listeners of sidecars.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use hawser_model::endpoint::Address;
use hawser_model::route::{Destination, L4Match, RouteSemantics, VirtualService, Weighted};
use hawser_model::service::{Registry, Resolution};
use hawser_model::sidecar::OutboundPolicy;
use hawser_model::traffic::{DestinationRule, HashKey, LbPolicy};
use hawser_model::{EndpointSet, Hostname, Port, Protocol, Service, Shared, Str};
use hawser_proto::envoy::extensions::filters::network::mongo_proxy::v3::MongoProxy;
use ipnet::IpNet;

use super::PLAIN_HTTP_ALPN;
use super::spec::{
    Chain, ChainMatch, ChainTo, Encoded, HttpShared, HttpSpec, ListenerFilter, ListenerSpec,
    Routes, TcpSpec, tcp,
};
use crate::cluster::{BLACK_HOLE, PASSTHROUGH};
use crate::destination;
use crate::route::{Caller, Context, Destinations};
use crate::scope::Egress;
use crate::telemetry::AccessLogs;
use crate::view::ClientView;

/// What the outbound listeners of a proxy are made with.
pub(crate) struct OutboundContext<'a> {
    pub view: &'a ClientView,
    pub own: Option<IpAddr>,
    pub mesh: &'a hawser_model::mesh::Mesh,
    pub policy: &'a OutboundPolicy,
    pub caller: &'a Caller,
    pub to: &'a Destinations,
    pub http: Shared<HttpShared>,
    pub logs: Shared<AccessLogs>,
    pub no_filters: Shared<Vec<Encoded>>,
    pub endpoints: &'a dyn Fn(&Service) -> Option<Shared<EndpointSet>>,
    pub rule: &'a dyn Fn(&Hostname) -> Option<Shared<DestinationRule>>,
}

impl OutboundContext<'_> {
    /// True for the proxy's own ports, where no other listener may stand.
    fn reserves(&self, port: u16) -> bool {
        port == self.mesh.outbound_port || port == self.mesh.inbound_port
    }
}

/// A listener in the making: HTTP, and what is taken as bytes.
#[derive(Debug, Default)]
struct Entry {
    http: Option<Str>,
    sniffs: bool,
    tcp: Vec<(ChainMatch, TcpSpec, Shared<Vec<Encoded>>)>,
    bound: bool,
}

/// Listeners by address and port.
#[derive(Default)]
pub(crate) struct Listeners {
    entries: BTreeMap<(Str, u16), Entry>,
    locked: BTreeSet<(Str, u16)>,
}

impl Listeners {
    /// Adds the ports of what a part of a Sidecar imports, older services first: the first to claim a connection keeps it.
    /// What earlier parts opened stays as it is.
    pub(crate) fn add(&mut self, part: &Egress, bound: bool, cx: &OutboundContext<'_>) {
        if part.port.is_none() {
            self.locked = self.entries.keys().cloned().collect();
        }
        let mut services: Vec<_> = part.services.iter().collect();
        services.sort_by_key(|s| (s.meta.created_s, s.host.clone()));
        for service in services {
            if service.resolution == Resolution::Alias {
                continue;
            }
            for port in &service.ports {
                let port = match &part.port {
                    Some(own) => Port {
                        protocol: own.protocol,
                        ..port.clone()
                    },
                    None => port.clone(),
                };
                self.add_port(service, &port, part, bound, cx);
            }
        }
    }

    fn add_port(
        &mut self,
        service: &Service,
        port: &Port,
        part: &Egress,
        bound: bool,
        cx: &OutboundContext<'_>,
    ) {
        if port.protocol == Protocol::Udp || (port.protocol.is_http() && cx.reserves(port.number)) {
            return;
        }
        let routes = &part.routes;
        let anywhere: Str = match (&*part.bind, bound) {
            ("", true) if cx.view.ipv4 => "127.0.0.1".into(),
            ("", true) => "::1".into(),
            ("", false) => cx.view.wildcard().into(),
            (own, _) => own.into(),
        };
        if port.protocol.is_http() {
            if let Some(entry) = self.entry(anywhere, port.number) {
                entry.bound = bound;
                entry
                    .http
                    .get_or_insert_with(|| port.number.to_string().into());
            }
            return;
        }
        if !part.bind.is_empty() {
            self.bytes(anywhere, service, port, &[], routes, cx);
            return;
        }
        let addresses: Vec<IpNet> = service
            .addresses_in(&cx.caller.cluster)
            .into_iter()
            .filter(|n| cx.view.supports(n.addr()))
            .collect();
        if addresses.is_empty() {
            self.without_address(service, port, routes, cx);
            return;
        }
        for address in addresses {
            if address.prefix_len() == address.max_prefix_len() {
                let bind: Str = address.addr().to_string().into();
                self.bytes(bind, service, port, &[], routes, cx);
            } else {
                self.bytes(anywhere.clone(), service, port, &[address], routes, cx);
            }
        }
    }

    /// A headless service is called by the addresses of its pods; anything else by any address.
    fn without_address(
        &mut self,
        service: &Service,
        port: &Port,
        routes: &[Shared<VirtualService>],
        cx: &OutboundContext<'_>,
    ) {
        let headless = service.resolution == Resolution::Passthrough
            && (service.registry == Registry::Kubernetes || !service.selector.is_empty());
        let endpoints = (cx.endpoints)(service);
        let pods: Vec<IpAddr> = endpoints
            .iter()
            .flat_map(|set| set.iter())
            .filter(|e| e.service_port == port.name)
            .filter_map(|e| match e.address {
                Address::Ip(ip) => Some(ip),
                _ => None,
            })
            .filter(|ip| Some(*ip) != cx.own && cx.view.supports(*ip))
            .collect();
        if headless || (service.resolution == Resolution::Passthrough && !pods.is_empty()) {
            for ip in pods {
                self.bytes(ip.to_string().into(), service, port, &[], routes, cx);
            }
            return;
        }
        let wildcard: Str = cx.view.wildcard().into();
        self.bytes(wildcard, service, port, &[], routes, cx);
    }

    /// The listener there; `None` if it must stay as it is.
    fn entry(&mut self, bind: Str, port: u16) -> Option<&mut Entry> {
        let at = (bind, port);
        if self.locked.contains(&at) {
            return None;
        }
        Some(self.entries.entry(at).or_default())
    }

    /// A port that is, or may be, something else than HTTP.
    fn bytes(
        &mut self,
        bind: Str,
        service: &Service,
        port: &Port,
        prefixes: &[IpNet],
        routes: &[Shared<VirtualService>],
        cx: &OutboundContext<'_>,
    ) {
        let anywhere = &*bind == cx.view.wildcard();
        let chains = chains(service, port, prefixes, anywhere, routes, cx);
        let sniffed = port.protocol.is_sniffed();
        let Some(entry) = self.entry(bind, port.number) else {
            return;
        };
        if sniffed && entry.http.is_some() {
            // Who was first keeps what is not HTTP.
            return;
        }
        if sniffed {
            entry.sniffs = true;
            entry.http.get_or_insert_with(|| {
                if anywhere {
                    port.number.to_string().into()
                } else {
                    format!("{}:{}", service.host, port.number).into()
                }
            });
        }
        for (matches, to, before) in chains {
            let matches = matches.tidy();
            if !entry.tcp.iter().any(|(m, ..)| m.collides(&matches)) {
                entry.tcp.push((matches, to, before));
            }
        }
    }

    /// The listeners.
    pub(crate) fn finish(self, cx: &OutboundContext<'_>) -> Vec<ListenerSpec> {
        self.entries
            .into_iter()
            .map(|((bind, port), entry)| listener(bind, port, entry, cx))
            .collect()
    }
}

/// The filter that makes statistics of MongoDB.
pub(super) fn mongo() -> Encoded {
    Encoded::new(
        "envoy.filters.network.mongo_proxy",
        &MongoProxy {
            stat_prefix: "mongo".to_owned(),
            ..Default::default()
        },
    )
}

/// The chains of a TCP or TLS port: by VirtualService, else to the service itself.
fn chains(
    service: &Service,
    port: &Port,
    prefixes: &[IpNet],
    anywhere: bool,
    routes: &[Shared<VirtualService>],
    cx: &OutboundContext<'_>,
) -> Vec<(ChainMatch, TcpSpec, Shared<Vec<Encoded>>)> {
    let before = if port.protocol == Protocol::Mongo {
        Shared::new(vec![mongo()])
    } else {
        cx.no_filters.clone()
    };
    let own = || {
        let destination = Destination {
            host: service.host.clone(),
            subset: "".into(),
            port: Some(port.number),
        };
        to_clusters(
            &[Weighted {
                destination,
                weight: 0,
                request_headers: Default::default(),
                response_headers: Default::default(),
            }],
            port.number,
            cx,
        )
    };
    let rules = routes
        .iter()
        .filter(|r| r.hosts.iter().any(|h| service.host.is_subset_of(h)));
    let mut out = Vec::new();
    if port.protocol.is_tls() {
        for rule in rules.clone().flat_map(|r| &r.tls) {
            for m in rule.matches.iter().filter(|m| fits(m, port.number, cx)) {
                let prefixes = if m.destination_subnets.is_empty() {
                    prefixes.to_vec()
                } else {
                    m.destination_subnets.clone()
                };
                let matches = ChainMatch {
                    prefixes,
                    server_names: m.sni.iter().map(|h| h.as_str().into()).collect(),
                    ..Default::default()
                };
                out.push((
                    matches,
                    to_clusters(&rule.route, port.number, cx),
                    before.clone(),
                ));
            }
        }
        if out.is_empty() {
            // Without an address of its own only the name tells the service from others.
            let by_name = anywhere && prefixes.is_empty();
            let matches = ChainMatch {
                prefixes: prefixes.to_vec(),
                server_names: if by_name {
                    vec![service.host.as_str().into()]
                } else {
                    Vec::new()
                },
                ..Default::default()
            };
            out.push((matches, own(), before));
        }
        return out;
    }
    let at = |prefixes: &[IpNet]| ChainMatch {
        prefixes: prefixes.to_vec(),
        ..Default::default()
    };
    for rule in rules.flat_map(|r| &r.tcp) {
        if rule.matches.is_empty() {
            out.push((
                at(prefixes),
                to_clusters(&rule.route, port.number, cx),
                before,
            ));
            return out;
        }
        for m in rule.matches.iter().filter(|m| fits(m, port.number, cx)) {
            let clusters = to_clusters(&rule.route, port.number, cx);
            if m.destination_subnets.is_empty() {
                out.push((at(prefixes), clusters, before));
                return out;
            }
            out.push((at(&m.destination_subnets), clusters, before.clone()));
        }
    }
    out.push((at(prefixes), own(), before));
    out
}

/// True if a match can hold for this caller at this port.
pub(crate) fn fits(m: &L4Match, port: u16, cx: &OutboundContext<'_>) -> bool {
    (m.gateways.is_empty() || m.gateways.iter().any(|g| cx.caller.gateways.contains(g)))
        && m.port.is_none_or(|p| p == port)
        && m.source_labels.selects(&cx.caller.labels)
        && m.source_namespace
            .as_ref()
            .is_none_or(|n| *n == cx.caller.namespace)
}

/// A TCP proxy to destinations by weight.
pub(crate) fn to_clusters(to: &[Weighted], port: u16, cx: &OutboundContext<'_>) -> TcpSpec {
    let names = Context {
        caller: cx.caller,
        to: cx.to,
        mesh: cx.mesh,
        port,
        tls: false,
        announces: false,
        semantics: RouteSemantics::Istio,
        only_port: true,
    };
    let clusters: Vec<(Str, u32)> = to
        .iter()
        .filter(|w| w.weight > 0 || to.len() == 1)
        .map(|w| (names.cluster(&w.destination).into(), w.weight))
        .collect();
    let stat_prefix = match &clusters[..] {
        [(only, _)] => only.clone(),
        _ => to
            .first()
            .map(|w| w.destination.host.as_str().into())
            .unwrap_or_default(),
    };
    let mut spec = TcpSpec {
        stat_prefix,
        clusters,
        ..tcp("", &cx.logs)
    };
    let first = to.first().map(|w| &w.destination);
    if let Some(d) = first
        && let Some(rule) = (cx.rule)(&d.host)
    {
        let policy = destination::policy(
            Some(&rule),
            destination::subset(&rule, &d.subset),
            names.port_of(d),
        );
        if let Some(pool) = &policy.connection_pool {
            spec.idle_timeout = pool.tcp_idle_timeout;
            spec.max_duration = pool.max_connection_duration;
        }
        spec.hash_source_ip = matches!(
            policy.load_balancer.as_ref().map(|l| &l.policy),
            Some(LbPolicy::ConsistentHash(h)) if h.key == HashKey::SourceIp
        );
        spec.tunnel = policy.tunnel;
    }
    spec
}

/// Where connections go that no service takes.
pub(crate) fn elsewhere(cx: &OutboundContext<'_>) -> TcpSpec {
    match cx.policy {
        OutboundPolicy::AllowAny => tcp(PASSTHROUGH, &cx.logs),
        OutboundPolicy::RegistryOnly => tcp(BLACK_HOLE, &cx.logs),
        OutboundPolicy::EgressProxy(to) => to_clusters(
            &[Weighted {
                destination: to.clone(),
                weight: 0,
                request_headers: Default::default(),
                response_headers: Default::default(),
            }],
            0,
            cx,
        ),
    }
}

fn chain(name: &str, matches: ChainMatch, before: Shared<Vec<Encoded>>, to: ChainTo) -> Chain {
    Chain {
        name: name.into(),
        matches,
        tls: None,
        before,
        to,
        handshake_timeout: false,
    }
}

/// A chain for HTTP in plain text.
fn http_chain(routes: Str, stat: &str, sniffs: bool, any: bool, cx: &OutboundContext<'_>) -> Chain {
    chain(
        "",
        if any {
            ChainMatch::default()
        } else {
            ChainMatch {
                transport: "raw_buffer",
                alpn: PLAIN_HTTP_ALPN,
                ..Default::default()
            }
        },
        cx.no_filters.clone(),
        ChainTo::Http(HttpSpec {
            stat_prefix: format!("outbound_{stat};").into(),
            routes: Routes::Named(routes),
            server: false,
            shared: cx.http.clone(),
            filters: cx.no_filters.clone(),
            announce_http: sniffs,
        }),
    )
}

fn listener(bind: Str, port: u16, entry: Entry, cx: &OutboundContext<'_>) -> ListenerSpec {
    let name = format!("{bind}_{port}");
    let mut addresses = vec![bind.clone()];
    if *bind == *cx.view.wildcard() {
        addresses.extend(cx.view.second_wildcard().map(Str::from));
    }
    let mut filters = Vec::new();
    let mut chains = Vec::new();
    let mut default_chain = None;
    for (matches, spec, before) in entry.tcp {
        if matches == ChainMatch::default() {
            default_chain = Some(chain("", matches, before, ChainTo::Tcp(spec)));
        } else {
            chains.push(chain("", matches, before, ChainTo::Tcp(spec)));
        }
    }
    if chains.iter().any(|c| !c.matches.server_names.is_empty()) {
        filters.push(ListenerFilter::TlsInspector(Vec::new()));
    }
    // At an address that clients call by purpose nothing but HTTP is expected.
    let only_http = !entry.sniffs
        && *bind != *cx.view.wildcard()
        && chains.is_empty()
        && default_chain.is_none();
    if let Some(routes) = entry.http {
        if !only_http {
            filters.push(ListenerFilter::HttpInspector(Vec::new()));
        }
        chains.insert(0, http_chain(routes, &name, entry.sniffs, only_http, cx));
    }
    if only_http {
        // One chain takes all.
    } else if chains.is_empty() {
        chains.extend(default_chain.take());
    } else if default_chain.is_none() {
        default_chain = Some(chain(
            "PassthroughFilterChain",
            ChainMatch::default(),
            cx.no_filters.clone(),
            ChainTo::Tcp(elsewhere(cx)),
        ));
    }
    ListenerSpec {
        name: name.into(),
        addresses,
        port,
        bound: entry.bound,
        inbound: false,
        original_dst: false,
        transparent: false,
        filters,
        chains,
        default_chain,
        detection_timeout: cx.mesh.protocol_detection_timeout,
        logs: Shared::new(AccessLogs::default()),
        one_at_a_time: false,
    }
}

/// The listener that captured connections arrive at: hands them over to the others, and lets through what none takes.
pub(crate) fn capturing(cx: &OutboundContext<'_>, transparent: bool) -> ListenerSpec {
    let port = cx.mesh.outbound_port;
    let mut addresses: Vec<Str> = vec![cx.view.wildcard().into()];
    addresses.extend(cx.view.second_wildcard().map(Str::from));
    ListenerSpec {
        name: "virtualOutbound".into(),
        addresses,
        port,
        bound: true,
        inbound: false,
        original_dst: true,
        transparent,
        filters: Vec::new(),
        chains: vec![
            // A direct call of this port would loop.
            chain(
                "virtualOutbound-blackhole",
                ChainMatch {
                    destination_port: Some(port),
                    ..Default::default()
                },
                cx.no_filters.clone(),
                ChainTo::Tcp(tcp(BLACK_HOLE, &Shared::new(AccessLogs::default()))),
            ),
            chain(
                "virtualOutbound-catchall-tcp",
                ChainMatch::default(),
                cx.no_filters.clone(),
                ChainTo::Tcp(elsewhere(cx)),
            ),
        ],
        default_chain: None,
        detection_timeout: Duration::ZERO,
        logs: cx.logs.clone(),
        one_at_a_time: true,
    }
}
