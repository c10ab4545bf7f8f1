//! How a cluster speaks HTTP.

use std::time::Duration;

use hawser_model::traffic::Http2Keepalive;
use hawser_proto::envoy::config::core::v3 as core;
use hawser_proto::envoy::extensions::upstreams::http::v3 as upstream;
use hawser_proto::google::protobuf::Any;
use upstream::http_protocol_options::{
    ExplicitHttpConfig, UpstreamProtocolOptions, UseDownstreamHttpConfig, explicit_http_config,
};

use crate::wire;

/// Name under which the options stand in a cluster.
pub(crate) const NAME: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// Which HTTP.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Upstream {
    /// HTTP/1.1, Envoy's default.
    #[default]
    Http1,
    /// HTTP/2.
    Http2,
    /// What the client speaks.
    Downstream,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct HttpOptions {
    pub protocol: Upstream,
    pub idle_timeout: Option<Duration>,
    pub max_requests_per_connection: Option<u32>,
    pub max_connection_duration: Option<Duration>,
    pub max_concurrent_streams: Option<u32>,
    pub keepalive: Option<Http2Keepalive>,
    pub auto_sni: bool,
    pub auto_san_validation: bool,
    /// Status codes that outlier detection takes for errors; empty is 5xx.
    pub outlier_errors: Vec<u32>,
}

/// Envoy takes nothing below a millisecond.
fn keepalive(k: &Http2Keepalive) -> core::KeepaliveSettings {
    let least = |d: Duration| wire::duration(d.max(Duration::from_millis(1)));
    core::KeepaliveSettings {
        interval: k.interval.filter(|d| !d.is_zero()).map(least),
        timeout: Some(least(k.timeout)),
        ..Default::default()
    }
}

impl HttpOptions {
    /// Packed; `None` if all is as Envoy has it by default.
    pub(crate) fn packed(&self) -> Option<Any> {
        let common = (self.idle_timeout.is_some()
            || self.max_requests_per_connection.is_some()
            || self.max_connection_duration.is_some())
        .then(|| core::HttpProtocolOptions {
            idle_timeout: self.idle_timeout.map(wire::duration),
            max_requests_per_connection: self.max_requests_per_connection.map(wire::u32v),
            max_connection_duration: self.max_connection_duration.map(wire::duration),
            ..Default::default()
        });
        let sni = (self.auto_sni || self.auto_san_validation).then(|| {
            core::UpstreamHttpProtocolOptions {
                auto_sni: self.auto_sni,
                auto_san_validation: self.auto_san_validation,
                ..Default::default()
            }
        });
        let outlier_detection = (!self.outlier_errors.is_empty()).then(|| self.outlier());
        if common.is_none()
            && sni.is_none()
            && outlier_detection.is_none()
            && self.protocol == Upstream::Http1
        {
            return None;
        }
        let http2 = core::Http2ProtocolOptions {
            max_concurrent_streams: self.max_concurrent_streams.map(wire::u32v),
            connection_keepalive: self.keepalive.as_ref().map(keepalive),
            ..Default::default()
        };
        let protocol = match self.protocol {
            Upstream::Http1 => UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
                protocol_config: Some(explicit_http_config::ProtocolConfig::HttpProtocolOptions(
                    core::Http1ProtocolOptions::default(),
                )),
            }),
            Upstream::Http2 => UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
                protocol_config: Some(explicit_http_config::ProtocolConfig::Http2ProtocolOptions(
                    http2,
                )),
            }),
            Upstream::Downstream => {
                UpstreamProtocolOptions::UseDownstreamProtocolConfig(UseDownstreamHttpConfig {
                    http_protocol_options: Some(core::Http1ProtocolOptions::default()),
                    http2_protocol_options: Some(http2),
                    http3_protocol_options: None,
                })
            }
        };
        Some(wire::any(&upstream::HttpProtocolOptions {
            common_http_protocol_options: common,
            upstream_http_protocol_options: sni,
            upstream_protocol_options: Some(protocol),
            outlier_detection,
            ..Default::default()
        }))
    }

    fn outlier(&self) -> upstream::http_protocol_options::OutlierDetection {
        use hawser_proto::envoy::config::common::matcher::v3 as common;
        use hawser_proto::envoy::config::route::v3::{HeaderMatcher, header_matcher};
        let one = |code: &u32| common::MatchPredicate {
            rule: Some(common::match_predicate::Rule::HttpResponseHeadersMatch(
                common::HttpHeadersMatch {
                    headers: vec![HeaderMatcher {
                        name: ":status".to_owned(),
                        header_match_specifier: Some(
                            header_matcher::HeaderMatchSpecifier::StringMatch(wire::exact(
                                &code.to_string(),
                            )),
                        ),
                        ..Default::default()
                    }],
                },
            )),
        };
        let rules: Vec<_> = self.outlier_errors.iter().map(one).collect();
        let matcher = match <[_; 1]>::try_from(rules) {
            Ok([only]) => only,
            Err(rules) => common::MatchPredicate {
                rule: Some(common::match_predicate::Rule::OrMatch(
                    common::match_predicate::MatchSet { rules },
                )),
            },
        };
        upstream::http_protocol_options::OutlierDetection {
            error_matcher: Some(matcher),
        }
    }
}
