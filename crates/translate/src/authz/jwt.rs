//! RequestAuthentications as the JWT filter (Istio's `convertToEnvoyJwtConfig`).

use hawser_model::authn::{JwtKeys, JwtRule};
use hawser_proto::envoy::config::core::v3 as core;
use hawser_proto::envoy::config::route::v3 as rds;
use hawser_proto::envoy::extensions::filters::http::jwt_authn::v3 as jwt;
use jwt::jwt_requirement::RequiresType;

use super::claims;
use crate::listener::spec::Encoded;
use crate::wire;

/// A key that nobody has the other half of: stands where keys could not be fetched, so that every such token is refused
/// rather than the whole configuration.
const NO_KEYS: &str = r#"{"keys":[{"kty":"RSA","kid":"unavailable","use":"sig","alg":"RS256","e":"AQAB","n":"403fP4R8BdieZOeDFEPtq16JJJxz_DyHW8ZQlcpondZC7MidW6zn4eCdebsEL9GAfwRYRQArusM5-LF4o6hrHkzmqCrnXsRyH7IHRQP6uzVjnmYjLsxc4MxRWdtXpQ5azxJXieo9kTX5ATTTHm_yDUfG9fOPL4YG2vhpx-z2E-TC6r3XiDsV93s6nPZo3F_8kVp-0Yo7MSqjsJWuxLgti9lUdAfMtn0VYU5S_IYkIpCev5GxvTiysTOxzHORSMn9FXCCpC6MMuO9RLK3gXMbQbmPKQ7FscZTEEVVkerLNT0iGgiAssBHzoR5TnJQwWlaEyuwQvdYsxWiyxuSgiq8vQ"}]}"#;

/// The filter that checks tokens; `None` without rules. Behind it a gateway (`router`) looks for the route again, which
/// may depend on claims.
pub(super) fn filter(rules: &[&JwtRule], router: bool) -> Option<Encoded> {
    if rules.is_empty() {
        return None;
    }
    let mut rules = rules.to_vec();
    rules.sort_by(|a, b| a.issuer.cmp(&b.issuer));
    let names: Vec<String> = (0..rules.len()).map(|i| format!("origins-{i}")).collect();
    let filter = jwt::JwtAuthentication {
        providers: names
            .iter()
            .cloned()
            .zip(rules.iter().map(|r| provider(r, router)))
            .collect(),
        rules: vec![jwt::RequirementRule {
            r#match: Some(rds::RouteMatch {
                path_specifier: Some(rds::route_match::PathSpecifier::Prefix("/".to_owned())),
                ..Default::default()
            }),
            requirement_type: Some(jwt::requirement_rule::RequirementType::Requires(
                requirement(&names, &rules),
            )),
        }],
        bypass_cors_preflight: true,
        ..Default::default()
    };
    Some(Encoded::new(claims::JWT, &filter))
}

/// A token that is there must be good; none need be there, unless its rule requires it. With several issuers one good
/// token is enough if no other is required, or each of those that are there must be good.
fn requirement(names: &[String], rules: &[&JwtRule]) -> jwt::JwtRequirement {
    let of = |requires| jwt::JwtRequirement {
        requires_type: Some(requires),
    };
    let any = |requirements| {
        of(RequiresType::RequiresAny(jwt::JwtRequirementOrList {
            requirements,
        }))
    };
    let by = |name: &String| of(RequiresType::ProviderName(name.clone()));
    let each: Vec<_> = names
        .iter()
        .zip(rules)
        .map(|(name, rule)| match rule.required {
            true => by(name),
            false => any(vec![
                by(name),
                of(RequiresType::AllowMissing(Default::default())),
            ]),
        })
        .collect();
    if let [only] = &each[..] {
        return only.clone();
    }
    let required: Vec<_> = names
        .iter()
        .zip(rules)
        .filter(|(_, rule)| rule.required)
        .collect();
    let enough: Vec<_> = match required[..] {
        [] => names.iter().map(by).collect(),
        [(name, _)] => vec![by(name)],
        _ => Vec::new(),
    };
    let all = of(RequiresType::RequiresAll(jwt::JwtRequirementAndList {
        requirements: each,
    }));
    if enough.is_empty() {
        return all;
    }
    any(enough.into_iter().chain([all]).collect())
}

fn provider(rule: &JwtRule, router: bool) -> jwt::JwtProvider {
    let keys = match &rule.keys {
        JwtKeys::Inline(document) => document,
        JwtKeys::Fetched {
            document: Some(document),
            ..
        }
        | JwtKeys::Discovered(Some(document)) => document,
        JwtKeys::Fetched { document: None, .. } | JwtKeys::Discovered(None) => NO_KEYS,
    };
    let mut space_delimited_claims = wire::strings(["permission", "scope"]);
    for claim in &rule.space_delimited_claims {
        if !space_delimited_claims.iter().any(|c| **c == **claim) {
            space_delimited_claims.push(claim.to_string());
        }
    }
    jwt::JwtProvider {
        issuer: rule.issuer.to_string(),
        audiences: wire::strings(&rule.audiences),
        forward: rule.forward_original,
        from_headers: rule
            .from_headers
            .iter()
            .map(|(name, prefix)| jwt::JwtHeader {
                name: name.to_string(),
                value_prefix: prefix.to_string(),
            })
            .collect(),
        from_params: wire::strings(&rule.from_params),
        from_cookies: wire::strings(&rule.from_cookies),
        forward_payload_header: rule.output_payload_to_header.to_string(),
        clear_route_cache: router,
        payload_in_metadata: claims::PAYLOAD.to_owned(),
        normalize_payload_in_metadata: Some(jwt::jwt_provider::NormalizePayload {
            space_delimited_claims,
        }),
        claim_to_headers: rule
            .output_claims
            .iter()
            .map(|(header, claim)| jwt::JwtClaimToHeader {
                header_name: header.to_string(),
                claim_name: claim.to_string(),
                ..Default::default()
            })
            .collect(),
        jwks_source_specifier: Some(jwt::jwt_provider::JwksSourceSpecifier::LocalJwks(
            core::DataSource {
                specifier: Some(core::data_source::Specifier::InlineString(keys.to_string())),
                ..Default::default()
            },
        )),
        ..Default::default()
    }
}
