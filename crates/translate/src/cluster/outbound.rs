//! Clusters towards services.

use hawser_model::authn::MtlsMode;
use hawser_model::mesh::Mesh;
use hawser_model::service::Resolution;
use hawser_model::traffic::{DestinationRule, LbPolicy, Subset, TrafficPolicy};
use hawser_model::{Port, Service, Shared, Str};
use hawser_proto::envoy::config::cluster::v3 as cds;
use hawser_proto::envoy::config::endpoint::v3 as eds;
use hawser_proto::envoy::extensions::clusters::dynamic_forward_proxy::v3 as dfp;
use hawser_proto::envoy::extensions::network::dns_resolver::cares::v3 as cares;

use super::{Builder, http, lb, metadata, outbound_name, sni_name, tls};
use crate::destination;
use crate::endpoints::{self, EndpointInput};
use crate::view::ClientView;
use crate::wire;

/// A cluster for one port, and perhaps one subset, of a service.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct OutboundCluster {
    pub service: Shared<Service>,
    pub port: u16,
    /// Empty for the whole service.
    pub subset: Str,
    pub rule: Option<Shared<DestinationRule>>,
    pub mesh: Shared<Mesh>,
    pub view: Shared<ClientView>,
    /// What the endpoints are expected to do about mutual TLS; `None` is unknown.
    pub mtls: Option<MtlsMode>,
    /// By SNI on an `AUTO_PASSTHROUGH` gateway: named as the SNI, nothing decrypted.
    pub sni_dnat: bool,
    /// The endpoints, where they stand in the cluster itself.
    pub dns: Option<EndpointInput>,
}

/// How Envoy finds the endpoints of a service (Istio's `convertResolution`).
pub(crate) fn discovery(service: &Service, router: bool) -> cds::cluster::DiscoveryType {
    use cds::cluster::DiscoveryType::{Eds, LogicalDns, OriginalDst, Static, StrictDns};
    match service.resolution {
        Resolution::Endpoints => Eds,
        // A kind of its own takes its place.
        Resolution::DynamicDns => Static,
        Resolution::Dns => StrictDns,
        Resolution::DnsRoundRobin => LogicalDns,
        Resolution::Passthrough | Resolution::Alias if router => Eds,
        Resolution::Passthrough | Resolution::Alias => OriginalDst,
    }
}

/// How Envoy finds the endpoints, the rule's load balancing considered.
pub(crate) fn effective_discovery(
    service: &Service,
    rule: Option<&DestinationRule>,
    subset: &str,
    port: u16,
    router: bool,
) -> cds::cluster::DiscoveryType {
    let part = rule.and_then(|r| destination::subset(r, subset));
    if passes_through(rule, part, port) || passes_through(rule, None, port) {
        cds::cluster::DiscoveryType::OriginalDst
    } else {
        discovery(service, router)
    }
}

/// True if load balancing is left to the caller. A host's subsets then cannot balance either, as in Istio.
fn passes_through(rule: Option<&DestinationRule>, subset: Option<&Subset>, port: u16) -> bool {
    destination::policy(rule, subset, port)
        .load_balancer
        .is_some_and(|l| l.policy == LbPolicy::Passthrough)
}

pub(super) fn render(input: &OutboundCluster) -> Option<cds::Cluster> {
    let service = &*input.service;
    let port: &Port = service.port(input.port)?;
    let host = service.host.as_str();
    let name = if input.sni_dnat {
        sni_name(input.port, &input.subset, host)
    } else {
        outbound_name(input.port, &input.subset, host)
    };
    let rule = input.rule.as_deref();
    let subset = rule.and_then(|r| destination::subset(r, &input.subset));
    let policy = destination::policy_in(&input.mesh, rule, subset, input.port);
    let mut b = Builder::new(name.clone(), &input.mesh);
    let kind = match passes_through(rule, None, input.port) && subset.is_some() {
        true => cds::cluster::DiscoveryType::OriginalDst,
        false => discovery(service, input.view.is_router()),
    };
    b.discovery(kind);
    match kind {
        cds::cluster::DiscoveryType::StrictDns | cds::cluster::DiscoveryType::LogicalDns => {
            dns(&mut b, input, &name)?;
        }
        cds::cluster::DiscoveryType::OriginalDst => {
            b.cluster.lb_policy = cds::cluster::LbPolicy::ClusterProvided as i32;
        }
        _ => {}
    }
    if port.protocol.is_http2() {
        b.http.protocol = http::Upstream::Http2;
    } else if port.protocol.is_sniffed() && !input.view.is_router() {
        b.http.protocol = http::Upstream::Downstream;
    }
    if !input.sni_dnat || policy.connection_pool.is_some() {
        b.pool(
            &input.mesh,
            policy.connection_pool.as_ref(),
            policy.retry_budget.as_ref(),
        );
    }
    if lb::upgrades_to_http2(port, &input.mesh, policy.connection_pool.as_ref()) {
        b.http.protocol = http::Upstream::Http2;
    }
    lb::outlier(&mut b, service, policy.outlier.as_ref());
    lb::balancer(&mut b, input, &policy);
    if service.resolution == Resolution::DynamicDns {
        if !crate::dynamic::reaches(service, port.protocol) {
            return None;
        }
        dynamic(&mut b, input, &policy);
    }
    if b.is(cds::cluster::DiscoveryType::Eds) {
        b.cluster.eds_cluster_config = Some(cds::cluster::EdsClusterConfig {
            eds_config: Some(wire::ads()),
            service_name: name,
        });
    }
    if !input.sni_dnat {
        tls::apply(
            &mut b,
            &tls::TlsInput {
                policy: &policy,
                service,
                port,
                subset: &input.subset,
                mesh: &input.mesh,
                mtls: input.mtls,
                files: &input.view.tls_files,
                may_read_secrets: input.view.is_router()
                    || rule.is_some_and(|r| !r.workload_selector.is_empty()),
            },
        );
    }
    b.cluster.metadata = Some(metadata(service, &input.subset, rule.map(|r| &r.meta)));
    Some(b.finish())
}

// The fields are deprecated in favour of a cluster extension, which every tool that reads clusters would have to learn.
#[allow(deprecated)]
fn dns(b: &mut Builder, input: &OutboundCluster, name: &str) -> Option<()> {
    use cds::cluster::DnsLookupFamily;
    let endpoints = input.dns.as_ref()?;
    let localities = endpoints::localities(endpoints);
    if localities.is_empty() {
        return None;
    }
    b.cluster.dns_lookup_family = match (input.view.ipv4, input.view.ipv6) {
        (true, true) => DnsLookupFamily::All,
        (false, true) => DnsLookupFamily::V6Only,
        _ => DnsLookupFamily::V4Only,
    } as i32;
    b.cluster.dns_refresh_rate = Some(wire::duration(input.mesh.dns_refresh_rate));
    b.cluster.respect_dns_ttl = true;
    // Avoids that all proxies ask at the same time.
    b.cluster.dns_jitter = Some(wire::duration(std::time::Duration::from_millis(100)));
    b.cluster.typed_dns_resolver_config = Some(wire::extension(
        "envoy.network.dns_resolver.cares",
        &cares::CaresDnsResolverConfig {
            // A resolver that stops answering over one socket is asked over another.
            udp_max_queries: Some(wire::u32v(100)),
            ..Default::default()
        },
    ));
    b.cluster.load_assignment = Some(eds::ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints: localities,
        ..Default::default()
    });
    Some(())
}

/// By DNS per request: the host is whatever the client called.
fn dynamic(b: &mut Builder, input: &OutboundCluster, policy: &TrafficPolicy) {
    use dfp::cluster_config::ClusterImplementationSpecifier;
    let cache = crate::dynamic::dns_cache(&input.service, &input.view);
    b.cluster.lb_policy = cds::cluster::LbPolicy::ClusterProvided as i32;
    b.cluster.lb_config = None;
    b.cluster.load_balancing_policy = None;
    b.cluster.cluster_discovery_type = Some(cds::cluster::ClusterDiscoveryType::ClusterType(
        cds::cluster::CustomClusterType {
            name: "envoy.clusters.dynamic_forward_proxy".to_owned(),
            typed_config: Some(wire::any(&dfp::ClusterConfig {
                cluster_implementation_specifier: Some(
                    ClusterImplementationSpecifier::DnsCacheConfig(cache),
                ),
                // Envoy insists on names being checked unless it is told that they need not be.
                allow_insecure_cluster_options: policy
                    .tls
                    .as_ref()
                    .is_some_and(|t| t.insecure_skip_verify),
                ..Default::default()
            })),
        },
    ));
}
