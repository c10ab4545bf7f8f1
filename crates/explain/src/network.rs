//! Network filters of a chain, in order: authorization, then whatever ends the chain.

use hawser_proto::envoy::config::listener::v3::filter::ConfigType;
use hawser_proto::envoy::config::listener::v3::{Filter, FilterChain};
use hawser_proto::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use hawser_proto::envoy::extensions::filters::network::rbac::v3::Rbac;
use hawser_proto::envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy;
use hawser_proto::envoy::extensions::filters::network::tcp_proxy::v3::tcp_proxy::ClusterSpecifier;
use hawser_proto::envoy::extensions::transport_sockets::tls::v3::DownstreamTlsContext;

use crate::call::Call;
use crate::config::{Config, unpack};
use crate::rbac::Subject;
use crate::upstream::{self, Target};
use crate::{Verdict, http, rbac};

pub(crate) fn walk(
    config: &Config,
    chain: &FilterChain,
    call: &Call,
    inbound: bool,
    steps: &mut Vec<String>,
) -> Verdict {
    if let Some(why) = refused_by_tls(chain, call) {
        return Verdict::Closed { why };
    }
    for filter in &chain.filters {
        let Some(ConfigType::TypedConfig(any)) = &filter.config_type else {
            continue;
        };
        if let Some(rules) = unpack::<Rbac>(any) {
            let subject = Subject {
                call,
                http: None,
                remote: call.source,
                metadata: &serde_json::Value::Null,
            };
            if let Err(why) = rbac::decide(rules.rules.as_ref(), &subject, steps) {
                return Verdict::Closed { why };
            }
        } else if let Some(manager) = unpack::<HttpConnectionManager>(any) {
            return match &call.http {
                Some(request) => http::walk(config, &manager, call, request, inbound, steps),
                None => Verdict::Closed {
                    why: "the chain speaks HTTP, the client does not".to_owned(),
                },
            };
        } else if let Some(proxy) = unpack::<TcpProxy>(any) {
            let targets: Vec<Target> = match &proxy.cluster_specifier {
                Some(ClusterSpecifier::Cluster(name)) => vec![Target {
                    cluster: name.clone(),
                    weight: 1,
                }],
                Some(ClusterSpecifier::WeightedClusters(all)) => all
                    .clusters
                    .iter()
                    .map(|c| Target {
                        cluster: c.name.clone(),
                        weight: c.weight,
                    })
                    .collect(),
                None => Vec::new(),
            };
            steps.push("tcp proxy".to_owned());
            return upstream::forward(config, &targets, call.destination, None);
        } else {
            steps.push(format!("filter {} passes", name_of(filter)));
        }
    }
    Verdict::Closed {
        why: "the chain has no filter that ends it".to_owned(),
    }
}

fn name_of(filter: &Filter) -> &str {
    &filter.name
}

/// A chain with TLS wants a handshake, and where it demands a certificate, one of the mesh. Whether the certificate is good
/// is a matter of keys, which a configuration does not have: every certificate given is taken for a good one.
fn refused_by_tls(chain: &FilterChain, call: &Call) -> Option<String> {
    use hawser_proto::envoy::config::core::v3::transport_socket::ConfigType as SocketConfig;
    let Some(SocketConfig::TypedConfig(any)) =
        chain.transport_socket.as_ref()?.config_type.as_ref()
    else {
        return None;
    };
    let tls = unpack::<DownstreamTlsContext>(any)?;
    let demanded = tls
        .require_client_certificate
        .as_ref()
        .is_some_and(|v| v.value);
    match &call.tls {
        None => Some("the chain wants TLS, the client speaks none".to_owned()),
        Some(given) if demanded && given.uris.is_empty() => {
            Some("no client certificate".to_owned())
        }
        Some(_) => None,
    }
}
