//! Services found by DNS as they are called (`resolution: DYNAMIC_DNS`): one cluster for a wildcard of hosts, and the
//! filters that look the name up before the cluster is asked. Cluster and filters share a cache by its name.

use hawser_model::service::Resolution;
use hawser_model::{Protocol, Service};
use hawser_proto::envoy::config::cluster::v3::cluster::DnsLookupFamily;
use hawser_proto::envoy::extensions::common::dynamic_forward_proxy::v3::DnsCacheConfig;
use hawser_proto::envoy::extensions::filters::http::dynamic_forward_proxy::v3 as http;
use hawser_proto::envoy::extensions::filters::network::sni_dynamic_forward_proxy::v3 as network;

use crate::listener::spec::Encoded;
use crate::view::ClientView;

/// True if a port of the service is reached that way: a name can be read from HTTP and from TLS alone.
pub(crate) fn reaches(service: &Service, protocol: Protocol) -> bool {
    service.resolution == Resolution::DynamicDns
        && (protocol.is_http() || protocol == Protocol::Tls)
}

/// The cache that cluster and filters share.
pub(crate) fn dns_cache(service: &Service, view: &ClientView) -> DnsCacheConfig {
    DnsCacheConfig {
        name: format!("{}_dfp_dns_cache", service.host),
        dns_lookup_family: match (view.ipv4, view.ipv6) {
            (true, true) => DnsLookupFamily::All,
            (false, true) => DnsLookupFamily::V6Only,
            _ => DnsLookupFamily::V4Only,
        } as i32,
        ..Default::default()
    }
}

/// Looks up the authority of requests.
pub(crate) fn http_filter(service: &Service, view: &ClientView) -> Encoded {
    use http::filter_config::ImplementationSpecifier;
    Encoded::new(
        "envoy.filters.http.dynamic_forward_proxy",
        &http::FilterConfig {
            implementation_specifier: Some(ImplementationSpecifier::DnsCacheConfig(dns_cache(
                service, view,
            ))),
            ..Default::default()
        },
    )
}

/// Looks up the names of TLS handshakes.
pub(crate) fn tls_filter(service: &Service, port: u16, view: &ClientView) -> Encoded {
    use network::filter_config::PortSpecifier;
    Encoded::new(
        "envoy.filters.network.sni_dynamic_forward_proxy",
        &network::FilterConfig {
            dns_cache_config: Some(dns_cache(service, view)),
            port_specifier: Some(PortSpecifier::PortValue(u32::from(port))),
            ..Default::default()
        },
    )
}
