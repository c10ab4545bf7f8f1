//! What is hashed of a request to a destination with a consistent hash.

use hawser_model::route::Destination;
use hawser_model::traffic::{ConsistentHash, HashKey, LbPolicy, TrafficPolicy};
use hawser_proto::envoy::config::route::v3 as rds;
use rds::route_action::HashPolicy;
use rds::route_action::hash_policy::{
    ConnectionProperties, Cookie, CookieAttribute, Header, PolicySpecifier, QueryParameter,
};

use super::Context;
use crate::destination;

/// For a rule's destination. What is said more narrowly goes first: subset and port, subset, port, host; a port counts
/// only where the destination names it (Istio's `HashForHTTPDestination`).
pub(super) fn policy(d: &Destination, cx: &Context<'_>) -> Option<HashPolicy> {
    let rule = cx.to.rules.get(&d.host)?;
    let subset = destination::subset(rule, &d.subset).and_then(|s| s.policy.as_deref());
    let host = rule.policy.as_deref();
    let of_port = |p: Option<&'_ TrafficPolicy>| hash(p?.ports.get(&d.port?)?);
    let found = of_port(subset)
        .or_else(|| hash(subset?))
        .or_else(|| of_port(host))
        .or_else(|| hash(host?));
    found.map(envoy)
}

/// For a service that no rule leads to (Istio's `hashForService`).
pub(super) fn of_service(d: &Destination, cx: &Context<'_>) -> Option<HashPolicy> {
    let host = cx.to.rules.get(&d.host)?.policy.as_deref()?;
    let port = host.ports.get(&cx.port_of(d)).and_then(hash);
    port.or_else(|| hash(host)).map(envoy)
}

fn hash(policy: &TrafficPolicy) -> Option<ConsistentHash> {
    match &policy.load_balancer.as_ref()?.policy {
        LbPolicy::ConsistentHash(hash) => Some(hash.clone()),
        _ => None,
    }
}

fn envoy(hash: ConsistentHash) -> HashPolicy {
    let specifier = match hash.key {
        HashKey::Header(name) => PolicySpecifier::Header(Header {
            header_name: name.to_string(),
            ..Default::default()
        }),
        HashKey::Cookie {
            name,
            path,
            ttl,
            attributes,
        } => PolicySpecifier::Cookie(Cookie {
            name: name.to_string(),
            path: path.to_string(),
            ttl: ttl.map(crate::wire::duration),
            attributes: attributes
                .iter()
                .map(|(name, value)| CookieAttribute {
                    name: name.to_string(),
                    value: value.to_string(),
                })
                .collect(),
        }),
        HashKey::SourceIp => {
            PolicySpecifier::ConnectionProperties(ConnectionProperties { source_ip: true })
        }
        HashKey::QueryParameter(name) => PolicySpecifier::QueryParameter(QueryParameter {
            name: name.to_string(),
        }),
    };
    HashPolicy {
        policy_specifier: Some(specifier),
        ..Default::default()
    }
}
