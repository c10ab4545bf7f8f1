//! Outbound listeners of sidecars.

pub(crate) mod chains;
mod merge;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use hawser_model::endpoint::Address;
use hawser_model::service::{Registry, Resolution};
use hawser_model::sidecar::OutboundPolicy;
use hawser_model::traffic::DestinationRule;
use hawser_model::{EndpointSet, Hostname, Port, Protocol, Service, Shared, Str};
use ipnet::IpNet;

use self::chains::{Place, elsewhere};
use self::merge::{Draft, DraftTo, Entry, Wish};
use super::http;
use super::spec::{
    Chain, ChainMatch, ChainTo, Encoded, HttpShared, HttpSpec, ListenerFilter, ListenerSpec, Ports,
    Routes, tcp,
};
use crate::authz::HttpFilters;
use crate::cluster::BLACK_HOLE;
use crate::dynamic;
use crate::route::{self, Caller, Destinations};
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
    /// Whether a listener may stand on a port: not on the proxy's own, and not on one for which it lacks the privilege
    /// (Istio's `CanBindToPort`). Without an address only HTTP stands at all addresses.
    fn may_open(&self, at: &At<'_>, port: u16, protocol: Protocol) -> bool {
        if at.bound && self.view.unprivileged && port < 1024 {
            return false;
        }
        let anywhere = match at.binds.first() {
            Some(first) => **first == *self.view.wildcard(),
            None => protocol.is_http(),
        };
        let own = port == self.mesh.outbound_port
            || port == self.mesh.inbound_port
            || self.view.own_ports.contains(&port);
        !(anywhere && own)
    }
}

/// Where a part of a Sidecar wants its listeners.
struct At<'a> {
    /// Addresses, if the part or the lack of capture says them.
    binds: Vec<Str>,
    bound: bool,
    part: &'a Egress,
}

/// Listeners by address and port.
#[derive(Default)]
pub(crate) struct Listeners {
    entries: BTreeMap<(Str, u16), Entry>,
    locked: BTreeSet<(Str, u16)>,
}

impl Listeners {
    /// Adds the ports of what a part of a Sidecar imports: the first to claim a connection keeps it. What earlier parts
    /// opened stays as it is.
    pub(crate) fn add(&mut self, part: &Egress, bound: bool, cx: &OutboundContext<'_>) {
        if part.port.is_none() {
            self.locked = self.entries.keys().cloned().collect();
        }
        let binds = match (&*part.bind, bound) {
            ("", true) => cx.view.local_hosts(),
            ("", false) => Vec::new(),
            _ => vec![part.bind.clone()],
        };
        let at = At { binds, bound, part };
        for service in &part.services {
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
                if port.protocol != Protocol::Udp && cx.may_open(&at, port.number, port.protocol) {
                    self.add_port(service, &port, &at, cx);
                }
            }
        }
    }

    fn add_port(&mut self, service: &Service, port: &Port, at: &At<'_>, cx: &OutboundContext<'_>) {
        let wildcards = cx.view.wildcards();
        let addresses = service.addresses_in(&cx.caller.cluster);
        if port.protocol.is_http() {
            let binds = match &at.binds[..] {
                [] => wildcards,
                own => own.to_vec(),
            };
            let anywhere = *binds[0] == *cx.view.wildcard();
            let wish = Wish {
                protocol: port.protocol,
                // Beside HTTP everything else is let through.
                becomes: if anywhere {
                    Protocol::Unknown
                } else {
                    port.protocol
                },
                http_filters: dynamic::reaches(service, port.protocol)
                    .then(|| dynamic::http_filter(service, cx.view))
                    .into_iter()
                    .chain((port.protocol == Protocol::GrpcWeb).then(http::grpc_web))
                    .collect(),
                chains: vec![Draft::http(port.number.to_string().into(), !anywhere)],
            };
            self.put(binds, port.number, at.bound, wish);
            return;
        }
        if !at.binds.is_empty() {
            let anywhere = *at.binds[0] == *cx.view.wildcard();
            let by_name = match addresses.first() {
                None => anywhere,
                Some(first) => first.prefix_len() != first.max_prefix_len(),
            };
            self.bytes(at.binds.clone(), (service, port), &[], by_name, at, cx);
            return;
        }
        let (ranges, single): (Vec<IpNet>, Vec<IpNet>) = addresses
            .iter()
            .partition(|n| n.prefix_len() != n.max_prefix_len());
        if addresses.is_empty() {
            self.without_address(service, port, at, cx);
        }
        for range in ranges {
            self.bytes(wildcards.clone(), (service, port), &[range], true, at, cx);
        }
        let mut binds: Vec<Vec<Str>> = single
            .iter()
            .map(|n| vec![n.addr().to_string().into()])
            .collect();
        // The addresses of a Kubernetes service are one listener's, those of a ServiceEntry are listeners of their own.
        if service.registry == Registry::Kubernetes || !service.auto_addresses.is_empty() {
            binds = [binds.concat()]
                .into_iter()
                .filter(|b| !b.is_empty())
                .collect();
        }
        for binds in binds {
            self.bytes(binds, (service, port), &[], false, at, cx);
        }
    }

    /// A headless service is called by the addresses of its pods; anything else by any address.
    fn without_address(
        &mut self,
        service: &Service,
        port: &Port,
        at: &At<'_>,
        cx: &OutboundContext<'_>,
    ) {
        let by_pod = service.resolution == Resolution::Passthrough && at.part.port.is_none();
        let endpoints = by_pod.then(|| (cx.endpoints)(service)).flatten();
        let pods: Vec<IpAddr> = endpoints
            .iter()
            .flat_map(|set| set.iter())
            .filter(|e| e.service_port == port.name)
            .filter_map(|e| match e.address {
                Address::Ip(ip) => Some(ip),
                _ => None,
            })
            .filter(|ip| cx.view.supports(*ip))
            .collect();
        let has_pods = service.registry == Registry::Kubernetes || !service.selector.is_empty();
        if !by_pod || (pods.is_empty() && !has_pods) {
            self.bytes(cx.view.wildcards(), (service, port), &[], true, at, cx);
            return;
        }
        // A pod that calls itself does not come by here.
        for ip in pods.into_iter().filter(|ip| Some(*ip) != cx.own) {
            self.bytes(
                vec![ip.to_string().into()],
                (service, port),
                &[],
                false,
                at,
                cx,
            );
        }
    }

    /// A port that is, or may be, something else than HTTP.
    fn bytes(
        &mut self,
        binds: Vec<Str>,
        (service, port): (&Service, &Port),
        ranges: &[IpNet],
        by_name: bool,
        at: &At<'_>,
        cx: &OutboundContext<'_>,
    ) {
        let anywhere = binds.first().is_some_and(|b| **b == *cx.view.wildcard());
        let mut chains = chains::chains(
            Place {
                service,
                port,
                ranges,
                by_name,
                routes: &at.part.routes,
                aliases: &aliases(service, at.part, cx),
            },
            cx,
        );
        if port.protocol.is_sniffed() {
            let routes = if anywhere {
                port.number.to_string()
            } else {
                format!("{}:{}", service.host, port.number)
            };
            chains.push(Draft::http(routes.into(), false));
        }
        let wish = Wish {
            protocol: port.protocol,
            becomes: port.protocol,
            http_filters: Vec::new(),
            chains,
        };
        self.put(binds, port.number, at.bound, wish);
    }

    fn put(&mut self, binds: Vec<Str>, port: u16, bound: bool, wish: Wish) {
        let Some(first) = binds.first() else {
            return;
        };
        let key = (first.clone(), port);
        if self.locked.contains(&key) {
            return;
        }
        match self.entries.get_mut(&key) {
            Some(entry) => entry.merge(wish),
            None => {
                self.entries.insert(key, Entry::new(binds, bound, wish));
            }
        }
    }

    /// The listeners.
    pub(crate) fn finish(self, cx: &OutboundContext<'_>) -> Vec<ListenerSpec> {
        self.entries
            .into_iter()
            .map(|((_, port), entry)| listener(port, entry, cx))
            .collect()
    }
}

/// Other names of a service, in full and in short.
fn aliases(service: &Service, part: &Egress, cx: &OutboundContext<'_>) -> Vec<Str> {
    let own = |s: &&Shared<Service>| s.external_name.as_ref() == Some(&service.host);
    let names = |host: &Hostname| route::names(host, &cx.caller.namespace, &cx.mesh.dns_domain);
    let all = part.services.iter().filter(own);
    all.flat_map(|s| names(&s.host))
        .map(|name| name.into())
        .collect()
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

fn listener(port: u16, entry: Entry, cx: &OutboundContext<'_>) -> ListenerSpec {
    let bind = entry.binds.first().cloned().unwrap_or_default();
    let name = format!("{bind}_{port}");
    let mut filters = Vec::new();
    if entry.chains.iter().any(|d| d.reads_names) {
        filters.push(ListenerFilter::TlsInspector(Ports::ALL));
    }
    if entry.chains.iter().any(|d| !d.matches.alpn.is_empty()) {
        filters.push(ListenerFilter::HttpInspector(Ports::ALL));
    }
    let mut http = Vec::new();
    let mut chains = Vec::new();
    let mut default_chain = None;
    let http_filters = if entry.http_filters.is_empty() && cx.http.extensions.is_empty() {
        cx.no_filters.clone()
    } else {
        let mut filters = cx.http.extensions.among(&HttpFilters::default(), port);
        filters.extend(entry.http_filters);
        Shared::new(filters)
    };
    for draft in entry.chains {
        let all = draft.matches == ChainMatch::default();
        match draft.to {
            DraftTo::Http(routes) => {
                let spec = HttpSpec {
                    stat_prefix: format!("outbound_{name};").into(),
                    routes: Routes::Named(routes),
                    server: false,
                    shared: cx.http.clone(),
                    filters: http_filters.clone(),
                    announce_http: entry.sniffs,
                };
                let to = ChainTo::Http(spec);
                http.push(chain("", draft.matches, cx.no_filters.clone(), to));
            }
            DraftTo::Tcp(spec, before) if all => {
                default_chain = Some(chain("", draft.matches, before, ChainTo::Tcp(spec)));
            }
            DraftTo::Tcp(spec, before) => {
                chains.push(chain("", draft.matches, before, ChainTo::Tcp(spec)));
            }
        }
    }
    http.extend(chains);
    let mut chains = http;
    // HTTP that nothing distinguishes takes all.
    let whole = |c: &Chain| c.matches == ChainMatch::default();
    if let Some(at) = chains.iter().position(whole) {
        default_chain = Some(chains.remove(at));
    }
    if chains.is_empty() {
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
        addresses: entry.binds,
        port,
        bound: entry.bound,
        inbound: false,
        original_dst: false,
        transparent: false,
        filters,
        chains,
        default_chain,
        detection_timeout: Some(cx.mesh.protocol_detection_timeout),
        logs: Shared::new(AccessLogs::default()),
        one_at_a_time: entry.bound,
    }
}

/// The listener that captured connections arrive at: hands them over to the others, and lets through what none takes.
pub(crate) fn capturing(cx: &OutboundContext<'_>, transparent: bool) -> ListenerSpec {
    let port = cx.mesh.outbound_port;
    ListenerSpec {
        name: "virtualOutbound".into(),
        addresses: cx.view.wildcards(),
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
        detection_timeout: None,
        logs: cx.logs.clone(),
        one_at_a_time: true,
    }
}
