//! The filter chains of TCP and TLS ports: by VirtualService, else to the service itself.

use std::time::Duration;

use hawser_model::route::{Destination, L4Match, RouteSemantics, VirtualService, Weighted};
use hawser_model::sidecar::OutboundPolicy;
use hawser_model::traffic::{DestinationRule, HashKey, LbPolicy};
use hawser_model::{Port, Protocol, Service, Shared, Str};
use hawser_proto::envoy::extensions::filters::network::mongo_proxy::v3::MongoProxy;
use ipnet::IpNet;

use super::OutboundContext;
use super::merge::{Draft, DraftTo};
use crate::cluster::{BLACK_HOLE, PASSTHROUGH};
use crate::destination;
use crate::dynamic;
use crate::listener::spec::{ChainMatch, Encoded, TcpSpec, tcp};
use crate::route::Context;

/// The filter that makes statistics of MongoDB.
pub(crate) fn mongo() -> Encoded {
    Encoded::new(
        "envoy.filters.network.mongo_proxy",
        &MongoProxy {
            stat_prefix: "mongo".to_owned(),
            ..Default::default()
        },
    )
}

/// The place that chains are made for.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub service: &'a Service,
    pub port: &'a Port,
    /// Ranges that the service has for addresses.
    pub ranges: &'a [IpNet],
    /// True if nothing but the name in a TLS handshake tells the service from others.
    pub by_name: bool,
    pub routes: &'a [Shared<VirtualService>],
    /// Other names of the service.
    pub aliases: &'a [Str],
}

impl Place<'_> {
    fn rules(&self) -> impl Iterator<Item = &VirtualService> {
        self.routes
            .iter()
            .filter(|r| r.hosts.iter().any(|h| self.service.host.overlaps(h)))
            .map(|r| &**r)
    }

    fn itself(&self, cx: &OutboundContext<'_>) -> TcpSpec {
        let destination = Destination {
            host: self.service.host.clone(),
            subset: "".into(),
            port: Some(self.port.number),
        };
        to_clusters(&[only(destination)], self.port.number, cx)
    }
}

fn only(destination: Destination) -> Weighted {
    Weighted {
        destination,
        weight: 0,
        request_headers: Default::default(),
        response_headers: Default::default(),
    }
}

/// The chains of a port.
pub(super) fn chains(place: Place<'_>, cx: &OutboundContext<'_>) -> Vec<Draft> {
    let before = if place.port.protocol == Protocol::Mongo {
        Shared::new(vec![mongo()])
    } else if dynamic::reaches(place.service, place.port.protocol) {
        let filter = dynamic::tls_filter(place.service, place.port.number, cx.view);
        Shared::new(vec![filter])
    } else {
        cx.no_filters.clone()
    };
    let drafts = if place.port.protocol.is_tls() {
        of_tls(place, cx)
    } else {
        of_tcp(place, cx)
    };
    drafts
        .into_iter()
        .map(|(matches, to)| Draft {
            reads_names: !matches.server_names.is_empty(),
            matches: matches.tidy(),
            to: DraftTo::Tcp(to, before.clone()),
        })
        .collect()
}

/// Istio's `buildSidecarOutboundTLSFilterChainOpts`.
fn of_tls(place: Place<'_>, cx: &OutboundContext<'_>) -> Vec<(ChainMatch, TcpSpec)> {
    let number = place.port.number;
    let mut out = Vec::new();
    // A match without ranges has those of the match before it.
    let mut ranges = place.ranges;
    for rule in place.rules().flat_map(|r| &r.tls) {
        for m in rule.matches.iter().filter(|m| fits(m, number, cx)) {
            if !m.destination_subnets.is_empty() {
                ranges = &m.destination_subnets;
            }
            let matches = ChainMatch {
                prefixes: ranges.to_vec(),
                server_names: m.sni.iter().map(|h| h.as_str().into()).collect(),
                ..Default::default()
            };
            out.push((matches, to_clusters(&rule.route, number, cx)));
        }
    }
    if out.is_empty() {
        let names = std::iter::once(place.service.host.as_str().into());
        let matches = ChainMatch {
            prefixes: place.ranges.to_vec(),
            server_names: if place.by_name {
                names.chain(place.aliases.iter().cloned()).collect()
            } else {
                Vec::new()
            },
            ..Default::default()
        };
        out.push((matches, place.itself(cx)));
    }
    out
}

/// Istio's `buildSidecarOutboundTCPFilterChainOpts`.
fn of_tcp(place: Place<'_>, cx: &OutboundContext<'_>) -> Vec<(ChainMatch, TcpSpec)> {
    let number = place.port.number;
    let at = |prefixes: &[IpNet]| ChainMatch {
        prefixes: prefixes.to_vec(),
        ..Default::default()
    };
    let sorted = |ranges: &[IpNet]| {
        let mut out = ranges.to_vec();
        out.sort();
        out
    };
    let mut out = Vec::new();
    let mut taken = false;
    for rule in place.rules().flat_map(|r| &r.tcp) {
        let fitting = || rule.matches.iter().filter(|m| fits(m, number, cx));
        let all = rule.matches.is_empty() || fitting().any(|m| m.destination_subnets.is_empty());
        if all {
            let to = to_clusters(&rule.route, number, cx);
            out.push((at(place.ranges), to));
            return out;
        }
        let ranges: Vec<IpNet> = fitting()
            .flat_map(|m| m.destination_subnets.iter().copied())
            .collect();
        if !ranges.is_empty() {
            taken |= sorted(&ranges) == sorted(place.ranges);
            out.push((at(&ranges), to_clusters(&rule.route, number, cx)));
        }
    }
    if !taken {
        out.push((at(place.ranges), place.itself(cx)));
    }
    out
}

/// True if a match can hold for this caller at this port.
pub(crate) fn fits(m: &L4Match, port: u16, cx: &OutboundContext<'_>) -> bool {
    (m.gateways.is_empty() || m.gateways.iter().any(|g| cx.caller.gateways.contains(g)))
        && m.port.is_none_or(|p| p == port)
        // Gateways have no callers that these could be asked of.
        && (cx.caller.router
            || (m.source_labels.selects(&cx.caller.labels)
                && m.source_namespace
                    .as_ref()
                    .is_none_or(|n| *n == cx.caller.namespace)))
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
    let first = to.first().map(|w| &w.destination);
    let mut spec = tcp("", &cx.logs);
    match to {
        [one] => {
            spec.clusters = vec![(names.cluster(&one.destination).into(), 0)];
            spec.stat_prefix = spec.clusters[0].0.clone();
        }
        many => {
            spec.clusters = many
                .iter()
                .filter(|w| w.weight > 0)
                .map(|w| (names.cluster(&w.destination).into(), w.weight))
                .collect();
            spec.stat_prefix = first.map(|d| d.host.as_str().into()).unwrap_or_default();
        }
    }
    let rule = first.and_then(|d| (cx.rule)(&d.host));
    let subset: &str = match to {
        [one] => &one.destination.subset,
        _ => "",
    };
    by_rule(&mut spec, rule.as_deref(), subset, idle(cx));
    if let (Some(rule), Some(d)) = (&rule, first) {
        let part = destination::subset(rule, subset);
        spec.tunnel = destination::policy(Some(rule), part, names.port_of(d)).tunnel;
    }
    spec
}

/// How long the proxy itself lets connections be silent, where no rule says it.
fn idle(cx: &OutboundContext<'_>) -> Option<Duration> {
    cx.view.idle_timeout_ms.map(Duration::from_millis)
}

/// What a DestinationRule says of connections that are proxied as bytes: of its policies only the one for all, and of a
/// subset's the balancer (Istio's `buildOutboundNetworkFiltersWithSingleDestination`).
pub(crate) fn by_rule(
    spec: &mut TcpSpec,
    rule: Option<&DestinationRule>,
    subset: &str,
    idle: Option<Duration>,
) {
    let policy = rule.and_then(|r| r.policy.as_ref());
    let pool = policy.and_then(|p| p.connection_pool.as_ref());
    spec.idle_timeout = pool.and_then(|p| p.tcp_idle_timeout).or(idle);
    spec.max_duration = pool.and_then(|p| p.max_connection_duration);
    let of_subset = rule
        .and_then(|r| destination::subset(r, subset))
        .and_then(|s| s.policy.as_ref()?.load_balancer.as_ref());
    let balancer = of_subset.or_else(|| policy.and_then(|p| p.load_balancer.as_ref()));
    spec.hash_source_ip = matches!(
        balancer.map(|l| &l.policy),
        Some(LbPolicy::ConsistentHash(h)) if h.key == HashKey::SourceIp
    );
}

/// Where connections go that no service takes.
pub(crate) fn elsewhere(cx: &OutboundContext<'_>) -> TcpSpec {
    let mut spec = match cx.policy {
        OutboundPolicy::AllowAny => tcp(PASSTHROUGH, &cx.logs),
        OutboundPolicy::RegistryOnly => tcp(BLACK_HOLE, &cx.logs),
        OutboundPolicy::EgressProxy(to) => {
            let to = to_clusters(&[only(to.clone())], 0, cx);
            tcp(&to.stat_prefix, &cx.logs)
        }
    };
    spec.idle_timeout = idle(cx);
    spec
}
