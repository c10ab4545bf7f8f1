//! Small constructors of protobuf values, and the deterministic encoding of resources.

use std::sync::Arc;
use std::time::Duration;

use hawser_model::matching::{Fraction, HeaderOps, Share, StringMatch};
use hawser_proto::envoy::config::{core::v3 as core, listener::v3 as listener};
use hawser_proto::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use hawser_proto::envoy::r#type::matcher::v3 as matcher;
use hawser_proto::envoy::r#type::v3 as kind;
use hawser_proto::google::protobuf::{self as pb, Any};
use prost::{Message, Name};

use crate::resource::Resource;

pub(crate) fn duration(d: Duration) -> pb::Duration {
    pb::Duration {
        seconds: i64::try_from(d.as_secs()).unwrap_or(i64::MAX),
        // Below 10^9, so it fits.
        nanos: d.subsec_nanos() as i32,
    }
}

pub(crate) const fn seconds(seconds: i64) -> pb::Duration {
    pb::Duration { seconds, nanos: 0 }
}

pub(crate) fn u32v(value: u32) -> pb::UInt32Value {
    pb::UInt32Value { value }
}

pub(crate) fn u64v(value: u64) -> pb::UInt64Value {
    pb::UInt64Value { value }
}

pub(crate) fn boolv(value: bool) -> pb::BoolValue {
    pb::BoolValue { value }
}

pub(crate) fn strings<S: AsRef<str>>(values: impl IntoIterator<Item = S>) -> Vec<String> {
    values.into_iter().map(|s| s.as_ref().to_owned()).collect()
}

pub(crate) fn any<M: Message + Name>(message: &M) -> Any {
    hawser_proto::any(message)
}

pub(crate) fn extension<M: Message + Name>(name: &str, message: &M) -> core::TypedExtensionConfig {
    core::TypedExtensionConfig {
        name: name.to_owned(),
        typed_config: Some(any(message)),
    }
}

pub(crate) fn transport_socket<M: Message + Name>(
    name: &str,
    message: &M,
) -> core::TransportSocket {
    core::TransportSocket {
        name: name.to_owned(),
        config_type: Some(core::transport_socket::ConfigType::TypedConfig(any(
            message,
        ))),
    }
}

pub(crate) fn network_filter<M: Message + Name>(name: &str, message: &M) -> listener::Filter {
    listener::Filter {
        name: name.to_owned(),
        config_type: Some(listener::filter::ConfigType::TypedConfig(any(message))),
    }
}

pub(crate) fn listener_filter<M: Message + Name>(
    name: &str,
    message: &M,
) -> listener::ListenerFilter {
    listener::ListenerFilter {
        name: name.to_owned(),
        filter_disabled: None,
        config_type: Some(listener::listener_filter::ConfigType::TypedConfig(any(
            message,
        ))),
    }
}

pub(crate) fn http_filter<M: Message + Name>(name: &str, message: &M) -> hcm::HttpFilter {
    hcm::HttpFilter {
        name: name.to_owned(),
        config_type: Some(hcm::http_filter::ConfigType::TypedConfig(any(message))),
        ..Default::default()
    }
}

/// "By ADS", waiting without limit for the first answer, as Istio has it.
pub(crate) fn ads() -> core::ConfigSource {
    core::ConfigSource {
        initial_fetch_timeout: Some(seconds(0)),
        resource_api_version: core::ApiVersion::V3 as i32,
        config_source_specifier: Some(core::config_source::ConfigSourceSpecifier::Ads(
            core::AggregatedConfigSource::default(),
        )),
        ..Default::default()
    }
}

pub(crate) fn socket_address(address: &str, port: u32) -> core::SocketAddress {
    core::SocketAddress {
        address: address.to_owned(),
        port_specifier: Some(core::socket_address::PortSpecifier::PortValue(port)),
        ..Default::default()
    }
}

pub(crate) fn address(address: &str, port: u32) -> core::Address {
    let kind = match address.strip_prefix("unix://").or_else(|| {
        // An abstract or plain path.
        address.starts_with(['/', '@']).then_some(address)
    }) {
        Some(path) => core::address::Address::Pipe(core::Pipe {
            path: path.to_owned(),
            mode: 0,
        }),
        None => core::address::Address::SocketAddress(socket_address(address, port)),
    };
    core::Address {
        address: Some(kind),
    }
}

pub(crate) fn exact(text: &str) -> matcher::StringMatcher {
    pattern(matcher::string_matcher::MatchPattern::Exact(
        text.to_owned(),
    ))
}

pub(crate) fn prefix(text: &str) -> matcher::StringMatcher {
    pattern(matcher::string_matcher::MatchPattern::Prefix(
        text.to_owned(),
    ))
}

pub(crate) fn suffix(text: &str) -> matcher::StringMatcher {
    pattern(matcher::string_matcher::MatchPattern::Suffix(
        text.to_owned(),
    ))
}

pub(crate) fn regex(text: &str) -> matcher::StringMatcher {
    pattern(matcher::string_matcher::MatchPattern::SafeRegex(
        regex_matcher(text),
    ))
}

pub(crate) fn regex_matcher(text: &str) -> matcher::RegexMatcher {
    matcher::RegexMatcher {
        regex: text.to_owned(),
        ..Default::default()
    }
}

fn pattern(p: matcher::string_matcher::MatchPattern) -> matcher::StringMatcher {
    matcher::StringMatcher {
        match_pattern: Some(p),
        ignore_case: false,
    }
}

/// As Envoy's string matcher; presence becomes a regular expression that anything fits.
pub(crate) fn string_match(m: &StringMatch) -> matcher::StringMatcher {
    match m {
        StringMatch::Exact(s) => exact(s),
        StringMatch::Prefix(s) => prefix(s),
        StringMatch::Suffix(s) => suffix(s),
        StringMatch::Regex(s) => regex(s),
        StringMatch::Present => regex(".*"),
    }
}

/// A share in the largest unit that holds it exactly.
pub(crate) fn fraction(f: Fraction) -> kind::FractionalPercent {
    use kind::fractional_percent::DenominatorType;
    if f.0.is_multiple_of(10_000) {
        kind::FractionalPercent {
            numerator: f.0 / 10_000,
            denominator: DenominatorType::Hundred as i32,
        }
    } else {
        kind::FractionalPercent {
            numerator: f.0,
            denominator: DenominatorType::Million as i32,
        }
    }
}

/// A share in the unit in which it was written.
pub(crate) fn share(share: Share) -> kind::FractionalPercent {
    use kind::fractional_percent::DenominatorType;
    let (numerator, denominator) = match share {
        Share::Percent(n) => (n, DenominatorType::Hundred),
        Share::Exact(f) => (f.0, DenominatorType::Million),
    };
    kind::FractionalPercent {
        numerator,
        denominator: denominator as i32,
    }
}

pub(crate) fn runtime_fraction(value: kind::FractionalPercent) -> core::RuntimeFractionalPercent {
    core::RuntimeFractionalPercent {
        default_value: Some(value),
        runtime_key: String::new(),
    }
}

/// True for headers that only Envoy itself may change: `:path` and the like, and `host`.
fn is_internal(name: &str) -> bool {
    name.starts_with(':') || name.eq_ignore_ascii_case("host")
}

/// Headers to set, to add and to remove, in this order.
pub(crate) fn header_ops(ops: &HeaderOps) -> (Vec<core::HeaderValueOption>, Vec<String>) {
    use core::header_value_option::HeaderAppendAction::{
        AppendIfExistsOrAdd, OverwriteIfExistsOrAdd,
    };
    let option = |(k, v): &(Arc<str>, Arc<str>), action: i32| core::HeaderValueOption {
        header: Some(core::HeaderValue {
            key: k.to_string(),
            value: v.to_string(),
            raw_value: Vec::new(),
        }),
        append_action: action,
        ..Default::default()
    };
    let set = ops
        .set
        .iter()
        .map(|h| option(h, OverwriteIfExistsOrAdd as i32));
    let add = ops
        .add
        .iter()
        .map(|h| option(h, AppendIfExistsOrAdd as i32));
    let all = set
        .chain(add)
        .filter(|h| h.header.as_ref().is_none_or(|h| !is_internal(&h.key)))
        .collect();
    let remove = ops.remove.iter().filter(|name| !is_internal(name));
    (all, strings(remove))
}

/// Setting the authority is a rewrite of the host, not a header like others.
pub(crate) fn authority(ops: &HeaderOps) -> Option<String> {
    ops.set
        .iter()
        .chain(&ops.add)
        .find(|(k, _)| k.eq_ignore_ascii_case("host") || k.eq_ignore_ascii_case(":authority"))
        .map(|(_, v)| v.to_string())
}

pub(crate) fn text_value(text: &str) -> pb::Value {
    pb::Value {
        kind: Some(pb::value::Kind::StringValue(text.to_owned())),
    }
}

pub(crate) fn structure<'a>(fields: impl IntoIterator<Item = (&'a str, pb::Value)>) -> pb::Struct {
    pb::Struct {
        fields: fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
    }
}

pub(crate) fn cidr(net: ipnet::IpNet) -> core::CidrRange {
    core::CidrRange {
        address_prefix: net.addr().to_string(),
        prefix_len: Some(u32v(u32::from(net.prefix_len()))),
    }
}

/// Encodes a resource; the same message always gives the same bytes.
pub(crate) fn resource<M: Message + Name>(name: &str, message: &M) -> Arc<Resource> {
    Arc::new(Resource::new(
        name.into(),
        hawser_proto::type_url::of::<M>(),
        crate::canonical::encode(message),
    ))
}
