//! From a listener's specification to Envoy's listener.

use std::sync::Arc;

use hawser_proto::envoy::config::core::v3 as core;
use hawser_proto::envoy::config::listener::v3 as lds;
use hawser_proto::envoy::extensions::filters::listener as listener_filters;
use hawser_proto::envoy::extensions::filters::network::tcp_proxy::v3 as tcp_proxy;
use hawser_proto::envoy::r#type::v3 as kind;

use super::spec::{Chain, ChainMatch, ChainTo, ListenerFilter, ListenerSpec, Ports, TcpSpec};
use super::{http, tls};
use crate::resource::Resource;
use crate::telemetry;
use crate::wire;

/// Renders a listener.
pub(crate) fn render(spec: &ListenerSpec) -> Arc<Resource> {
    wire::resource(&spec.name, &listener(spec))
}

fn listener(spec: &ListenerSpec) -> lds::Listener {
    let mut addresses = spec.addresses.iter();
    let port = u32::from(spec.port);
    lds::Listener {
        name: spec.name.to_string(),
        address: addresses.next().map(|a| wire::address(a, port)),
        additional_addresses: addresses
            .map(|a| lds::AdditionalAddress {
                address: Some(wire::address(a, port)),
                ..Default::default()
            })
            .collect(),
        filter_chains: spec.chains.iter().map(chain).collect(),
        default_filter_chain: spec.default_chain.as_ref().map(chain),
        use_original_dst: spec.original_dst.then(|| wire::boolv(true)),
        transparent: spec.transparent.then(|| wire::boolv(true)),
        listener_filters: spec.filters.iter().map(filter).collect(),
        listener_filters_timeout: spec.detection_timeout.map(wire::duration),
        continue_on_listener_filters_timeout: spec.detection_timeout.is_some(),
        traffic_direction: if spec.inbound {
            core::TrafficDirection::Inbound
        } else {
            core::TrafficDirection::Outbound
        } as i32,
        bind_to_port: (!spec.bound).then(|| wire::boolv(false)),
        access_log: telemetry::listener_logs(&spec.logs),
        max_connections_to_accept_per_socket_event: spec.one_at_a_time.then(|| wire::u32v(1)),
        ..Default::default()
    }
}

fn filter(f: &ListenerFilter) -> lds::ListenerFilter {
    match f {
        ListenerFilter::OriginalDst => wire::listener_filter(
            "envoy.filters.listener.original_dst",
            &listener_filters::original_dst::v3::OriginalDst::default(),
        ),
        ListenerFilter::OriginalSrc => wire::listener_filter(
            "envoy.filters.listener.original_src",
            &listener_filters::original_src::v3::OriginalSrc {
                // Capture rules know the proxy's own connections by this mark.
                mark: 1337,
                ..Default::default()
            },
        ),
        ListenerFilter::TlsInspector(on) => lds::ListenerFilter {
            filter_disabled: disabled_unless(on),
            ..wire::listener_filter(
                "envoy.filters.listener.tls_inspector",
                &listener_filters::tls_inspector::v3::TlsInspector {
                    initial_read_buffer_size: Some(wire::u32v(512)),
                    ..Default::default()
                },
            )
        },
        ListenerFilter::HttpInspector(on) => lds::ListenerFilter {
            filter_disabled: disabled_unless(on),
            ..wire::listener_filter(
                "envoy.filters.listener.http_inspector",
                &listener_filters::http_inspector::v3::HttpInspector::default(),
            )
        },
        ListenerFilter::ProxyProtocol => wire::listener_filter(
            "envoy.filters.listener.proxy_protocol",
            &listener_filters::proxy_protocol::v3::ProxyProtocol {
                allow_requests_without_proxy_protocol: true,
                ..Default::default()
            },
        ),
    }
}

fn disabled_unless(on: &Ports) -> Option<lds::ListenerFilterChainMatchPredicate> {
    use lds::listener_filter_chain_match_predicate::Rule;
    match on {
        Ports::AllBut(ports) => any_of(ports),
        Ports::Only(ports) => any_of(ports).map(|p| lds::ListenerFilterChainMatchPredicate {
            rule: Some(Rule::NotMatch(Box::new(p))),
        }),
    }
}

fn any_of(ports: &[u16]) -> Option<lds::ListenerFilterChainMatchPredicate> {
    use lds::listener_filter_chain_match_predicate::{MatchSet, Rule};
    let one = |port: &u16| lds::ListenerFilterChainMatchPredicate {
        rule: Some(Rule::DestinationPortRange(kind::Int32Range {
            start: i32::from(*port),
            end: i32::from(*port) + 1,
        })),
    };
    match ports {
        [] => None,
        [only] => Some(one(only)),
        many => Some(lds::ListenerFilterChainMatchPredicate {
            rule: Some(Rule::OrMatch(MatchSet {
                rules: many.iter().map(one).collect(),
            })),
        }),
    }
}

fn chain(c: &Chain) -> lds::FilterChain {
    let before = c.before.iter().map(|f| lds::Filter {
        name: f.name.to_string(),
        config_type: Some(lds::filter::ConfigType::TypedConfig(f.any())),
    });
    let last = match &c.to {
        ChainTo::Http(spec) => wire::network_filter(
            "envoy.filters.network.http_connection_manager",
            &http::connection_manager(spec),
        ),
        ChainTo::Tcp(spec) => wire::network_filter("envoy.filters.network.tcp_proxy", &tcp(spec)),
    };
    lds::FilterChain {
        name: c.name.to_string(),
        filter_chain_match: chain_match(&c.matches),
        filters: before.chain([last]).collect(),
        transport_socket: c.tls.as_ref().map(|t| tls::socket(t)),
        transport_socket_connect_timeout: c.handshake_timeout.then(|| wire::seconds(15)),
        ..Default::default()
    }
}

fn chain_match(m: &ChainMatch) -> Option<lds::FilterChainMatch> {
    (*m != ChainMatch::default()).then(|| lds::FilterChainMatch {
        destination_port: m.destination_port.map(|p| wire::u32v(u32::from(p))),
        prefix_ranges: m.prefixes.iter().map(|p| wire::cidr(*p)).collect(),
        server_names: wire::strings(&m.server_names),
        transport_protocol: m.transport.to_owned(),
        application_protocols: wire::strings(m.alpn),
        ..Default::default()
    })
}

fn tcp(spec: &TcpSpec) -> tcp_proxy::TcpProxy {
    use tcp_proxy::tcp_proxy::{
        ClusterSpecifier, TunnelingConfig, WeightedCluster, weighted_cluster,
    };
    let cluster_specifier = match &spec.clusters[..] {
        [(only, 0)] => ClusterSpecifier::Cluster(only.to_string()),
        many => ClusterSpecifier::WeightedClusters(WeightedCluster {
            clusters: many
                .iter()
                .map(|(name, weight)| weighted_cluster::ClusterWeight {
                    name: name.to_string(),
                    weight: *weight,
                    ..Default::default()
                })
                .collect(),
        }),
    };
    tcp_proxy::TcpProxy {
        stat_prefix: spec.stat_prefix.to_string(),
        cluster_specifier: Some(cluster_specifier),
        idle_timeout: spec.idle_timeout.map(wire::duration),
        max_downstream_connection_duration: spec.max_duration.map(wire::duration),
        hash_policy: spec
            .hash_source_ip
            .then_some(kind::HashPolicy {
                policy_specifier: Some(kind::hash_policy::PolicySpecifier::SourceIp(
                    kind::hash_policy::SourceIp {},
                )),
            })
            .into_iter()
            .collect(),
        tunneling_config: spec.tunnel.as_ref().map(|t| TunnelingConfig {
            hostname: format!("{}:{}", t.host, t.port),
            use_post: &*t.protocol == "POST",
            ..Default::default()
        }),
        access_log: telemetry::logs(&spec.logs, false),
        ..Default::default()
    }
}
