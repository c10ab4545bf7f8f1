//! PeerAuthentications, RequestAuthentications and AuthorizationPolicies.

use std::collections::{BTreeMap, BTreeSet};

use hawser_api::security as api;
use hawser_api::selector::{LabelSelector, TargetRef as ApiTargetRef};
use hawser_api::{Kind, Object, status::IstioStatus};
use hawser_model::authn::{JwtKeys, JwtRule, MtlsMode, PeerAuthentication, RequestAuthentication};
use hawser_model::authz::{
    Action, AuthorizationPolicy, Condition, Operation, Rule, Source, Values,
};
use hawser_model::mesh::Mesh;
use hawser_model::provider::Provider;
use hawser_model::{ClusterId, Problem, Selector, Str, TargetRef};

use crate::names::{self, duration, labels, port, strs};
use crate::notes::{NOT_FOUND, Notes, SCHEMA, UNSUPPORTED};

/// Annotation of policies that are only tried out.
const DRY_RUN: &str = "istio.io/dry-run";

/// Keys that the control plane fetched, by URI: the document, or why there is none.
pub type FetchedKeys = BTreeMap<String, Result<String, String>>;

/// A selector by labels or by references.
pub fn selector(
    selector: Option<&LabelSelector>,
    target: Option<&ApiTargetRef>,
    targets: &[ApiTargetRef],
) -> Selector {
    Selector {
        labels: selector
            .map(|s| labels(&s.match_labels))
            .unwrap_or_default(),
        targets: target
            .into_iter()
            .chain(targets)
            .map(|t| TargetRef {
                group: t.group.as_str().into(),
                kind: t.kind.as_str().into(),
                name: t.name.as_str().into(),
            })
            .collect(),
    }
}

/// Tells of references that nothing served here can be meant by: only Gateways are.
pub fn check_targets(
    target: Option<&ApiTargetRef>,
    targets: &[ApiTargetRef],
    notes: &mut Notes<'_>,
) {
    for (i, t) in target.into_iter().chain(targets).enumerate() {
        if (t.group.as_str(), t.kind.as_str()) != ("gateway.networking.k8s.io", "Gateway") {
            notes.warn(
                UNSUPPORTED,
                format!("spec.targetRefs[{i}]"),
                format!(
                    "a {} is a target for waypoints, which are not served: nothing comes of it",
                    t.kind
                ),
                "refer to a Gateway, or select workloads by their labels",
            );
        }
    }
}

fn mode(mtls: Option<&api::MutualTls>) -> Option<MtlsMode> {
    match mtls.map(|m| m.mode) {
        None | Some(api::MutualTlsMode::Unset) => None,
        Some(api::MutualTlsMode::Disable) => Some(MtlsMode::Disable),
        Some(api::MutualTlsMode::Permissive) => Some(MtlsMode::Permissive),
        Some(api::MutualTlsMode::Strict) => Some(MtlsMode::Strict),
    }
}

/// Lowers one PeerAuthentication.
pub fn peer_authentication(
    object: &Object<api::PeerAuthentication, IstioStatus>,
    cluster: &ClusterId,
    problems: &mut Vec<Problem>,
) -> PeerAuthentication {
    let mut notes = Notes::new(problems, cluster, Kind::PeerAuthentication, &object.meta);
    let spec = &object.spec;
    let mut ports = BTreeMap::new();
    for (number, mtls) in &spec.port_level_mtls {
        match port(*number) {
            Some(number) => {
                ports.insert(number, mode(Some(mtls)));
            }
            None => notes.error(
                SCHEMA,
                format!("spec.portLevelMtls[{number}]"),
                format!("{number} is not a port"),
                "use a port of the workload, from 1 to 65535",
            ),
        }
    }
    let selector = selector(spec.selector.as_ref(), None, &[]);
    if !ports.is_empty() && selector.labels.is_empty() {
        notes.warn(
            SCHEMA,
            "spec.portLevelMtls",
            "modes by port have no effect without a selector",
            "add selector.matchLabels",
        );
        ports.clear();
    }
    PeerAuthentication {
        meta: names::meta(&object.meta),
        selector,
        mode: mode(spec.mtls.as_ref()),
        ports,
    }
}

/// Where the OpenID configuration of an issuer is (OpenID Connect Discovery 1.0, 4.1).
pub fn discovery_uri(issuer: &str) -> String {
    format!(
        "{}/.well-known/openid-configuration",
        issuer.trim_end_matches('/')
    )
}

/// URIs of keys that RequestAuthentications need fetched. What stands under a discovery URI is the key document that
/// the OpenID configuration there leads to.
pub fn keys_wanted<'a>(rules: impl Iterator<Item = &'a api::JwtRule>) -> BTreeSet<String> {
    rules
        .filter(|r| r.jwks.is_empty())
        .map(|r| {
            if r.jwks_uri.is_empty() {
                discovery_uri(&r.issuer)
            } else {
                r.jwks_uri.clone()
            }
        })
        .collect()
}

/// Lowers one RequestAuthentication.
pub fn request_authentication(
    object: &Object<api::RequestAuthentication, IstioStatus>,
    cluster: &ClusterId,
    fetched: &FetchedKeys,
    problems: &mut Vec<Problem>,
) -> RequestAuthentication {
    let mut notes = Notes::new(problems, cluster, Kind::RequestAuthentication, &object.meta);
    let spec = &object.spec;
    check_targets(spec.target_ref.as_ref(), &spec.target_refs, &mut notes);
    RequestAuthentication {
        meta: names::meta(&object.meta),
        selector: selector(
            spec.selector.as_ref(),
            spec.target_ref.as_ref(),
            &spec.target_refs,
        ),
        rules: spec
            .jwt_rules
            .iter()
            .enumerate()
            .map(|(i, r)| jwt_rule(r, fetched, &format!("spec.jwtRules[{i}]"), &mut notes))
            .collect(),
    }
}

fn jwt_rule(
    rule: &api::JwtRule,
    fetched: &FetchedKeys,
    field: &str,
    notes: &mut Notes<'_>,
) -> JwtRule {
    let mut document = |uri: &str| -> Option<Str> {
        match fetched.get(uri) {
            None => None,
            Some(Ok(document)) => Some(document.as_str().into()),
            Some(Err(why)) => {
                notes.error(
                    NOT_FOUND,
                    field,
                    format!("the keys at {uri} cannot be had: {why}"),
                    "tokens of this issuer are refused until they can",
                );
                None
            }
        }
    };
    let keys = if !rule.jwks.is_empty() {
        JwtKeys::Inline(rule.jwks.as_str().into())
    } else if !rule.jwks_uri.is_empty() {
        JwtKeys::Fetched {
            uri: rule.jwks_uri.as_str().into(),
            document: document(&rule.jwks_uri),
        }
    } else {
        JwtKeys::Discovered(document(&discovery_uri(&rule.issuer)))
    };
    JwtRule {
        issuer: rule.issuer.as_str().into(),
        audiences: strs(&rule.audiences),
        keys,
        from_headers: rule
            .from_headers
            .iter()
            .map(|h| (h.name.as_str().into(), h.prefix.as_str().into()))
            .collect(),
        from_params: strs(&rule.from_params),
        from_cookies: strs(&rule.from_cookies),
        output_payload_to_header: rule.output_payload_to_header.as_str().into(),
        output_claims: rule
            .output_claim_to_headers
            .iter()
            .map(|c| (c.header.as_str().into(), c.claim.as_str().into()))
            .collect(),
        forward_original: rule.forward_original_token,
        timeout: duration(rule.timeout),
        required: rule.presence == api::JwtPresence::Required,
        space_delimited_claims: strs(&rule.space_delimited_claims),
    }
}

/// Lowers one AuthorizationPolicy.
pub fn authorization_policy(
    object: &Object<api::AuthorizationPolicy, IstioStatus>,
    cluster: &ClusterId,
    mesh: &Mesh,
    problems: &mut Vec<Problem>,
) -> AuthorizationPolicy {
    let mut notes = Notes::new(problems, cluster, Kind::AuthorizationPolicy, &object.meta);
    let spec = &object.spec;
    check_targets(spec.target_ref.as_ref(), &spec.target_refs, &mut notes);
    let action = match spec.action {
        api::Action::Allow => Action::Allow,
        api::Action::Deny => Action::Deny,
        api::Action::Audit => Action::Audit,
        api::Action::Custom => {
            let name = spec
                .provider
                .as_ref()
                .map(|p| p.name.as_str())
                .unwrap_or_default();
            if name.is_empty() {
                notes.error(
                    SCHEMA,
                    "spec.provider.name",
                    "action CUSTOM needs a provider; requests that match are refused until there is one",
                    "name one of the mesh's extensionProviders",
                );
            } else if !matches!(
                mesh.providers.get(name),
                Some(Provider::ExtAuthzHttp(_) | Provider::ExtAuthzGrpc(_))
            ) {
                notes.error(
                    NOT_FOUND,
                    "spec.provider.name",
                    format!("MeshConfig has no external authorizer {name:?}; requests that match are refused until it has"),
                    "add it to MeshConfig.extensionProviders as envoyExtAuthzHttp or envoyExtAuthzGrpc",
                );
            }
            Action::Custom(name.into())
        }
    };
    let dry_run = match object.annotation(DRY_RUN) {
        // What Go's ParseBool takes for true and false.
        Some("true" | "True" | "TRUE" | "t" | "T" | "1") => true,
        None | Some("false" | "False" | "FALSE" | "f" | "F" | "0") => false,
        Some(other) => {
            notes.error(
                SCHEMA,
                format!("metadata.annotations[{DRY_RUN}]"),
                format!("{other:?} is neither true nor false; the policy is in force"),
                "write \"true\" to try it out",
            );
            false
        }
    };
    if dry_run && matches!(action, Action::Custom(_)) {
        notes.warn(
            UNSUPPORTED,
            format!("metadata.annotations[{DRY_RUN}]"),
            "an external authorizer cannot be tried out: the policy has no effect",
            "take the annotation away to put it in force",
        );
    }
    AuthorizationPolicy {
        meta: names::meta(&object.meta),
        selector: selector(
            spec.selector.as_ref(),
            spec.target_ref.as_ref(),
            &spec.target_refs,
        ),
        action,
        rules: spec.rules.iter().map(rule).collect(),
        dry_run,
    }
}

fn values(any: &[String], none: &[String]) -> Values {
    Values {
        any: strs(any),
        none: strs(none),
    }
}

fn rule(rule: &api::Rule) -> Rule {
    Rule {
        from: rule
            .from
            .iter()
            .map(|f| {
                f.source.as_ref().map_or_else(Source::default, |s| Source {
                    principals: values(&s.principals, &s.not_principals),
                    request_principals: values(&s.request_principals, &s.not_request_principals),
                    namespaces: values(&s.namespaces, &s.not_namespaces),
                    service_accounts: values(&s.service_accounts, &s.not_service_accounts),
                    ip_blocks: values(&s.ip_blocks, &s.not_ip_blocks),
                    remote_ip_blocks: values(&s.remote_ip_blocks, &s.not_remote_ip_blocks),
                    trust_domains: values(&s.trust_domains, &s.not_trust_domains),
                })
            })
            .collect(),
        to: rule
            .to
            .iter()
            .map(|t| {
                t.operation
                    .as_ref()
                    .map_or_else(Operation::default, |o| Operation {
                        hosts: values(&o.hosts, &o.not_hosts),
                        ports: values(&o.ports, &o.not_ports),
                        methods: values(&o.methods, &o.not_methods),
                        paths: values(&o.paths, &o.not_paths),
                    })
            })
            .collect(),
        when: rule
            .when
            .iter()
            .map(|c| Condition {
                key: c.key.as_str().into(),
                values: values(&c.values, &c.not_values),
            })
            .collect(),
    }
}
