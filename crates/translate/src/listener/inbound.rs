//! The inbound listener of sidecars.

use std::collections::BTreeMap;

use hawser_model::authn::MtlsMode;
use hawser_model::mesh::Mesh;
use hawser_model::{Protocol, Shared, Str};

use super::http::of_port;
use super::spec::{
    Chain, ChainMatch, ChainTo, Encoded, HttpShared, HttpSpec, ListenerFilter, ListenerSpec, Ports,
    Routes, TcpSpec, TlsSpec, tcp,
};
use super::{MESH_ALPN, MESH_HTTP_ALPN, MESH_TCP_ALPN, PLAIN_HTTP_ALPN};
use crate::authz::HttpFilters;
use crate::cluster::{BLACK_HOLE, INBOUND_PASSTHROUGH};
use crate::telemetry::AccessLogs;
use crate::view::ClientView;

/// A port of the workload that some service, or a Sidecar, makes known.
#[derive(Clone, Debug)]
pub(crate) struct InboundPort {
    pub port: u16,
    pub protocol: Protocol,
    /// Where requests are said to go, for traces: the service's host.
    pub host: Str,
    pub service_port: u16,
    pub mode: MtlsMode,
    /// TLS of a Sidecar's ingress listener, in place of the mesh's.
    pub own_tls: Option<Shared<TlsSpec>>,
    pub cluster: Str,
    /// The address in the names of its chains, and of its listener if it has one.
    pub bind: Str,
    /// Has a listener of its own, as it is not captured.
    pub bound: bool,
}

/// What the inbound listener is made with.
pub(crate) struct InboundContext<'a> {
    pub view: &'a ClientView,
    pub mesh: &'a Mesh,
    pub http: Shared<HttpShared>,
    pub logs: Shared<AccessLogs>,
    pub tls: Shared<TlsSpec>,
    /// HTTP filters: authentication and authorization.
    pub http_filters: Shared<HttpFilters>,
    /// Network filters for chains of bytes.
    pub tcp_filters: Shared<Vec<Encoded>>,
    /// Mode of ports that no service makes known.
    pub default_mode: MtlsMode,
    /// Of these ports, those for which a policy says something of its own.
    pub port_modes: Vec<(u16, MtlsMode)>,
}

/// How a kind of connection is told from others.
struct Kind {
    transport: &'static str,
    alpn: &'static [&'static str],
    http: bool,
    mutual: bool,
}

const fn kind(
    transport: &'static str,
    alpn: &'static [&'static str],
    http: bool,
    mutual: bool,
) -> Kind {
    Kind {
        transport,
        alpn,
        http,
        mutual,
    }
}

/// The kinds of connections that a port takes, by protocol and mode (Istio's `getFilterChainMatchOptions`).
fn kinds(protocol: Protocol, mode: MtlsMode) -> Vec<Kind> {
    let http = protocol.is_http();
    let sniffed = protocol.is_sniffed();
    match mode {
        MtlsMode::Strict if http => vec![kind("tls", &[], true, true)],
        MtlsMode::Strict if sniffed => vec![
            kind("tls", MESH_HTTP_ALPN, true, true),
            kind("tls", &[], false, true),
        ],
        MtlsMode::Strict => vec![kind("tls", &[], false, true)],
        MtlsMode::Permissive if http => vec![
            kind("tls", MESH_ALPN, true, true),
            kind("raw_buffer", &[], true, false),
        ],
        MtlsMode::Permissive if sniffed => vec![
            kind("tls", MESH_HTTP_ALPN, true, true),
            kind("raw_buffer", PLAIN_HTTP_ALPN, true, false),
            kind("tls", MESH_TCP_ALPN, false, true),
            kind("raw_buffer", &[], false, false),
            kind("tls", &[], false, false),
        ],
        MtlsMode::Permissive => vec![
            kind("tls", MESH_ALPN, false, true),
            kind("tls", &[], false, false),
            kind("raw_buffer", &[], false, false),
        ],
        MtlsMode::Disable if http => vec![kind("raw_buffer", &[], true, false)],
        MtlsMode::Disable if sniffed => vec![
            kind("raw_buffer", PLAIN_HTTP_ALPN, true, false),
            kind("raw_buffer", &[], false, false),
        ],
        MtlsMode::Disable => vec![kind("raw_buffer", &[], false, false)],
    }
}

/// The inbound listener.
pub(crate) fn listener(
    ports: &[InboundPort],
    cx: &InboundContext<'_>,
    transparent: bool,
) -> ListenerSpec {
    let inbound = cx.mesh.inbound_port;
    let mut chains = vec![Chain {
        name: "virtualInbound-blackhole".into(),
        matches: ChainMatch {
            destination_port: Some(inbound),
            ..Default::default()
        },
        tls: None,
        before: Shared::new(Vec::new()),
        to: ChainTo::Tcp(tcp(BLACK_HOLE, &Shared::new(AccessLogs::default()))),
        handshake_timeout: false,
    }];
    for k in kinds(Protocol::Unknown, cx.default_mode) {
        chains.push(passthrough(&k, None, cx));
    }
    for (port, mode) in &cx.port_modes {
        for k in kinds(Protocol::Unknown, *mode) {
            chains.push(passthrough(&k, Some(*port), cx));
        }
    }
    for port in ports {
        chains.extend(port_chains(port, cx));
    }
    let mut filters = vec![ListenerFilter::OriginalDst];
    if transparent {
        filters.push(ListenerFilter::OriginalSrc);
    }
    filters.extend(inspectors(&chains));
    ListenerSpec {
        name: "virtualInbound".into(),
        addresses: cx.view.wildcards(),
        port: inbound,
        bound: true,
        inbound: true,
        original_dst: false,
        transparent,
        filters,
        chains,
        default_chain: None,
        detection_timeout: Some(cx.mesh.protocol_detection_timeout),
        logs: cx.logs.clone(),
        one_at_a_time: true,
    }
}

/// The filters that find out what chains tell connections apart by, at the ports whose chains ask (Istio's
/// `populateListenerFilters`). Where no chain asks for TLS it is not looked for: an application's own counts as bytes.
fn inspectors(chains: &[Chain]) -> impl Iterator<Item = ListenerFilter> {
    let tls = asked(chains, |m| m.transport == "tls").map(ListenerFilter::TlsInspector);
    let http = asked(chains, |m| m.alpn == PLAIN_HTTP_ALPN).map(ListenerFilter::HttpInspector);
    tls.into_iter().chain(http)
}

/// The ports with a chain that asks; chains without a port are those of all ports that have none of their own.
fn asked(chains: &[Chain], asks: impl Fn(&ChainMatch) -> bool) -> Option<Ports> {
    let mut by_port: BTreeMap<Option<u16>, bool> = BTreeMap::new();
    for chain in chains {
        *by_port.entry(chain.matches.destination_port).or_default() |= asks(&chain.matches);
    }
    let others = by_port.remove(&None).unwrap_or(false);
    let ports = |asked: bool| {
        let matching = by_port.iter().filter(move |(_, a)| **a == asked);
        matching.filter_map(|(port, _)| *port).collect()
    };
    if others {
        return Some(Ports::AllBut(ports(false)));
    }
    let ports: Vec<u16> = ports(true);
    (!ports.is_empty()).then_some(Ports::Only(ports))
}

/// A listener of its own, for a port that is not captured.
pub(crate) fn bound(port: &InboundPort, cx: &InboundContext<'_>) -> ListenerSpec {
    let bind = port.bind.clone();
    let chains = port_chains(port, cx);
    let filters = inspectors(&chains).collect();
    ListenerSpec {
        name: format!("{bind}_{}", port.port).into(),
        addresses: vec![bind],
        port: port.port,
        bound: true,
        inbound: true,
        original_dst: false,
        transparent: false,
        filters,
        chains,
        default_chain: None,
        detection_timeout: Some(cx.mesh.protocol_detection_timeout),
        logs: cx.logs.clone(),
        one_at_a_time: true,
    }
}

/// The chains of one port.
pub(crate) fn port_chains(port: &InboundPort, cx: &InboundContext<'_>) -> Vec<Chain> {
    let kinds = match &port.own_tls {
        // TLS that the Sidecar configures: nothing else is taken.
        Some(_) => vec![kind("tls", &[], port.protocol.is_http(), true)],
        None => kinds(port.protocol, port.mode),
    };
    kinds
        .into_iter()
        .map(|k| {
            let name: Str = format!("{}_{}", port.bind, port.port).into();
            let matches = ChainMatch {
                destination_port: Some(port.port),
                transport: k.transport,
                alpn: k.alpn,
                ..Default::default()
            };
            let tls = k
                .mutual
                .then(|| port.own_tls.clone().unwrap_or_else(|| cx.tls.clone()));
            let to = if k.http {
                ChainTo::Http(http(
                    cx,
                    format!("inbound_{name};").into(),
                    Routes::Inbound {
                        name: port.cluster.clone(),
                        vhost: format!("inbound|http|{}", port.service_port).into(),
                        cluster: port.cluster.clone(),
                        operation: format!("{}:{}/*", port.host, port.service_port).into(),
                        retries: retries(cx.mesh, port.protocol),
                    },
                    (port.port, port.protocol),
                ))
            } else {
                ChainTo::Tcp(bytes(&port.cluster, cx))
            };
            Chain {
                name,
                matches,
                tls,
                before: if port.protocol == Protocol::Mongo {
                    mongo(cx)
                } else {
                    before(cx, k.http)
                },
                to,
                handshake_timeout: false,
            }
        })
        .collect()
}

/// Bytes to a cluster; connections may be silent for as long as the proxy says.
fn bytes(cluster: &str, cx: &InboundContext<'_>) -> TcpSpec {
    TcpSpec {
        idle_timeout: cx.http.idle_timeout,
        ..tcp(cluster, &cx.logs)
    }
}

/// Statistics of MongoDB, in front of the policies.
fn mongo(cx: &InboundContext<'_>) -> Shared<Vec<Encoded>> {
    let filters =
        std::iter::once(super::outbound::chains::mongo()).chain(cx.tcp_filters.iter().cloned());
    Shared::new(filters.collect())
}

/// gRPC has its own ideas of what may be repeated: no retries by the server's sidecar.
fn retries(mesh: &Mesh, protocol: Protocol) -> Option<Shared<hawser_model::route::Retries>> {
    if matches!(protocol, Protocol::Grpc | Protocol::GrpcWeb) {
        return Some(Shared::new(Default::default()));
    }
    mesh.default_inbound_retries.clone().map(Shared::new)
}

fn before(cx: &InboundContext<'_>, http: bool) -> Shared<Vec<Encoded>> {
    if http {
        Shared::new(Vec::new())
    } else {
        cx.tcp_filters.clone()
    }
}

fn http(
    cx: &InboundContext<'_>,
    stat_prefix: Str,
    routes: Routes,
    (port, protocol): (u16, Protocol),
) -> HttpSpec {
    HttpSpec {
        stat_prefix,
        routes,
        server: true,
        shared: cx.http.clone(),
        filters: of_port(&cx.http_filters, &cx.http, port, protocol),
        announce_http: false,
    }
}

fn passthrough(k: &Kind, destination_port: Option<u16>, cx: &InboundContext<'_>) -> Chain {
    let cluster: Str = INBOUND_PASSTHROUGH.into();
    Chain {
        name: if k.http {
            "virtualInbound-catchall-http"
        } else {
            "virtualInbound"
        }
        .into(),
        matches: ChainMatch {
            destination_port,
            transport: k.transport,
            alpn: k.alpn,
            ..Default::default()
        },
        tls: k.mutual.then(|| cx.tls.clone()),
        before: before(cx, k.http),
        to: if k.http {
            ChainTo::Http(http(
                cx,
                format!("{cluster};").into(),
                Routes::Inbound {
                    name: cluster.clone(),
                    vhost: "inbound|http|0".into(),
                    cluster,
                    operation: ":0/*".into(),
                    retries: retries(cx.mesh, Protocol::Http),
                },
                (destination_port.unwrap_or(0), Protocol::Http),
            ))
        } else {
            ChainTo::Tcp(bytes(&cluster, cx))
        },
        handshake_timeout: false,
    }
}
