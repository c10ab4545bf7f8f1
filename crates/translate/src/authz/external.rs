//! `CUSTOM` policies: decisions by an external authorizer (Istio's `extauthz.go`).
//!
//! An RBAC filter in shadow mode finds out whether a request is concerned; the ext_authz filter reads its verdict.

use std::collections::BTreeMap;
use std::time::Duration;

use hawser_model::authz::{Action, AuthorizationPolicy};
use hawser_model::provider::{ExtAuthzBody, ExtAuthzGrpc, ExtAuthzHttp, Provider};
use hawser_model::{Hostname, Shared, Snapshot, Str};
use hawser_proto::envoy::config::core::v3 as core;
use hawser_proto::envoy::config::rbac::v3 as rbac;
use hawser_proto::envoy::extensions::filters::http::ext_authz::v3 as http_ext;
use hawser_proto::envoy::extensions::filters::http::rbac::v3 as http_rbac;
use hawser_proto::envoy::extensions::filters::network::ext_authz::v3 as tcp_ext;
use hawser_proto::envoy::extensions::filters::network::rbac::v3 as tcp_rbac;
use hawser_proto::envoy::r#type::matcher::v3 as matcher;
use hawser_proto::envoy::r#type::v3 as kind;

use super::{HTTP_RBAC, TCP_RBAC, claims, rules};
use crate::cluster::outbound_name;
use crate::listener::spec::Encoded;
use crate::wire;

const SHADOW: &str = "istio_ext_authz_";

/// Filters for HTTP and for bytes.
pub(super) fn filters(
    snapshot: &Snapshot,
    policies: &[&Shared<AuthorizationPolicy>],
) -> (Vec<Encoded>, Vec<Encoded>) {
    let mut by_provider: BTreeMap<&Str, Vec<&Shared<AuthorizationPolicy>>> = BTreeMap::new();
    for policy in policies {
        if let Action::Custom(provider) = &policy.action {
            by_provider.entry(provider).or_default().push(policy);
        }
    }
    // One workload has one authorizer, as in Istio; whoever names two has what they concern refused.
    let one = by_provider.len() == 1;
    let (mut http, mut tcp) = (Vec::new(), Vec::new());
    for (name, policies) in by_provider {
        let provider = snapshot
            .mesh
            .providers
            .get(name)
            .filter(|p| one && is_reachable(snapshot, p));
        let prefix = format!("istio-ext-authz-{name}");
        let build = |tcp| {
            rules::build(
                snapshot,
                &policies,
                rbac::rbac::Action::Deny,
                tcp,
                &format!("{prefix}-"),
            )
            .enforced
        };
        let concerned = || kind_of(&prefix, HTTP_RBAC);
        let ext = match provider {
            Some(Provider::ExtAuthzHttp(p)) => over_http(p, concerned()),
            Some(Provider::ExtAuthzGrpc(p)) => {
                tcp.push(tcp_shadow(build(true)));
                tcp.push(Encoded::new(
                    "envoy.filters.network.ext_authz",
                    &tcp_ext::ExtAuthz {
                        stat_prefix: "tcp.".to_owned(),
                        failure_mode_allow: p.fail_open,
                        transport_api_version: core::ApiVersion::V3 as i32,
                        grpc_service: Some(grpc(&p.service, p.port, p.timeout)),
                        filter_enabled_metadata: Some(kind_of(&prefix, TCP_RBAC)),
                        ..Default::default()
                    },
                ));
                over_grpc(p, concerned())
            }
            // Nobody can be asked: what is concerned is refused.
            _ => {
                http.push(Encoded::new(
                    HTTP_RBAC,
                    &http_rbac::Rbac {
                        rules: build(false).map(refusing),
                        ..Default::default()
                    },
                ));
                tcp.push(Encoded::new(
                    TCP_RBAC,
                    &tcp_rbac::Rbac {
                        stat_prefix: "tcp.".to_owned(),
                        rules: build(true).map(refusing),
                        ..Default::default()
                    },
                ));
                continue;
            }
        };
        http.push(Encoded::new(
            HTTP_RBAC,
            &http_rbac::Rbac {
                shadow_rules: build(false),
                shadow_rules_stat_prefix: SHADOW.to_owned(),
                ..Default::default()
            },
        ));
        http.push(Encoded::new("envoy.filters.http.ext_authz", &ext));
    }
    (http, tcp)
}

/// The same rules under names that say, in Envoy's logs, why they refuse: those that Istio gives them.
fn refusing(rules: rbac::Rbac) -> rbac::Rbac {
    let renamed = |(name, policy)| (format!("{name}-deny-due-to-bad-CUSTOM-action"), policy);
    rbac::Rbac {
        policies: rules.policies.into_iter().map(renamed).collect(),
        ..rules
    }
}

/// True if there is somebody to ask. Where nobody is, not even `failOpen` lets what is concerned pass.
fn is_reachable(snapshot: &Snapshot, provider: &Provider) -> bool {
    match provider {
        Provider::ExtAuthzHttp(ExtAuthzHttp { service, .. })
        | Provider::ExtAuthzGrpc(ExtAuthzGrpc { service, .. }) => {
            !snapshot.services.of_host(service.as_str()).is_empty()
        }
        _ => false,
    }
}

fn tcp_shadow(rules: Option<rbac::Rbac>) -> Encoded {
    Encoded::new(
        TCP_RBAC,
        &tcp_rbac::Rbac {
            stat_prefix: "tcp.".to_owned(),
            shadow_rules: rules,
            shadow_rules_stat_prefix: SHADOW.to_owned(),
            ..Default::default()
        },
    )
}

/// "A rule of these policies fits", as the shadow rules leave it in the metadata.
fn kind_of(prefix: &str, filter: &str) -> matcher::MetadataMatcher {
    matcher::MetadataMatcher {
        filter: filter.to_owned(),
        path: vec![claims::segment(&format!(
            "{SHADOW}shadow_effective_policy_id"
        ))],
        value: Some(matcher::ValueMatcher {
            match_pattern: Some(matcher::value_matcher::MatchPattern::StringMatch(
                wire::prefix(prefix),
            )),
        }),
        invert: false,
    }
}

/// Istio's stand-in for "no timeout of its own".
const LONG: Duration = Duration::from_secs(600);

fn over_http(p: &ExtAuthzHttp, concerned: matcher::MetadataMatcher) -> http_ext::ExtAuthz {
    let response = http_ext::AuthorizationResponse {
        allowed_upstream_headers: headers(&p.upstream_on_allow),
        allowed_client_headers: headers(&p.downstream_on_deny),
        allowed_client_headers_on_success: headers(&p.downstream_on_allow),
        ..Default::default()
    };
    let headers_to_add: Vec<_> = p
        .add_headers
        .iter()
        .map(|(key, value)| core::HeaderValue {
            key: key.to_string(),
            value: value.to_string(),
            raw_value: Vec::new(),
        })
        .collect();
    http_ext::ExtAuthz {
        services: Some(http_ext::ext_authz::Services::HttpService(
            http_ext::HttpService {
                server_uri: Some(core::HttpUri {
                    uri: format!("http://{}", p.service),
                    timeout: Some(wire::duration(p.timeout.unwrap_or(LONG))),
                    http_upstream_type: Some(core::http_uri::HttpUpstreamType::Cluster(
                        outbound_name(p.port, "", p.service.as_str()),
                    )),
                }),
                path_prefix: p.path_prefix.to_string(),
                authorization_request: (!headers_to_add.is_empty()).then(|| {
                    http_ext::AuthorizationRequest {
                        headers_to_add,
                        ..Default::default()
                    }
                }),
                authorization_response: (response != Default::default()).then_some(response),
                ..Default::default()
            },
        )),
        allowed_headers: headers(&p.include_headers),
        failure_mode_allow: p.fail_open,
        status_on_error: status(&p.status_on_error),
        with_request_body: p.body.as_ref().map(body),
        clear_route_cache: p.clear_route_cache,
        transport_api_version: core::ApiVersion::V3 as i32,
        filter_enabled_metadata: Some(concerned),
        ..Default::default()
    }
}

fn over_grpc(p: &ExtAuthzGrpc, concerned: matcher::MetadataMatcher) -> http_ext::ExtAuthz {
    http_ext::ExtAuthz {
        services: Some(http_ext::ext_authz::Services::GrpcService(grpc(
            &p.service, p.port, p.timeout,
        ))),
        failure_mode_allow: p.fail_open,
        status_on_error: status(&p.status_on_error),
        with_request_body: p.body.as_ref().map(body),
        clear_route_cache: p.clear_route_cache,
        transport_api_version: core::ApiVersion::V3 as i32,
        filter_enabled_metadata: Some(concerned),
        ..Default::default()
    }
}

fn grpc(service: &Hostname, port: u16, timeout: Option<Duration>) -> core::GrpcService {
    let host = service.as_str();
    core::GrpcService {
        target_specifier: Some(core::grpc_service::TargetSpecifier::EnvoyGrpc(
            core::grpc_service::EnvoyGrpc {
                cluster_name: outbound_name(port, "", host),
                authority: host.to_owned(),
                ..Default::default()
            },
        )),
        timeout: Some(wire::duration(timeout.unwrap_or(LONG))),
        ..Default::default()
    }
}

fn body(b: &ExtAuthzBody) -> http_ext::BufferSettings {
    http_ext::BufferSettings {
        max_request_bytes: b.max_bytes,
        allow_partial_message: b.allow_partial,
        pack_as_bytes: b.raw,
    }
}

fn status(text: &str) -> Option<kind::HttpStatus> {
    let code: i32 = text.parse().ok()?;
    kind::StatusCode::try_from(code).ok()?;
    Some(kind::HttpStatus { code })
}

/// Header names, perhaps with `*` at one end, without regard to case.
fn headers(names: &[Str]) -> Option<matcher::ListStringMatcher> {
    (!names.is_empty()).then(|| matcher::ListStringMatcher {
        patterns: names
            .iter()
            .map(|name| matcher::StringMatcher {
                ignore_case: true,
                ..super::matchers::text(name, "")
            })
            .collect(),
    })
}
