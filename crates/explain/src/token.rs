//! Tokens (`jwt_authn`): which are there, whose they are, what they claim.
//!
//! Whether a signature is good is a matter of keys: a token counts as good if its header names a key of the issuer's
//! document, or no key at all. Expiry is not looked at, for a walk has no clock.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hawser_proto::envoy::config::core::v3::data_source::Specifier;
use hawser_proto::envoy::extensions::filters::http::jwt_authn::v3::jwt_provider::JwksSourceSpecifier;
use hawser_proto::envoy::extensions::filters::http::jwt_authn::v3::jwt_requirement::RequiresType;
use hawser_proto::envoy::extensions::filters::http::jwt_authn::v3::requirement_rule::RequirementType;
use hawser_proto::envoy::extensions::filters::http::jwt_authn::v3::{
    JwtAuthentication, JwtProvider, JwtRequirement,
};
use serde_json::Value;

use crate::call::HttpCall;

/// What a requirement finds.
enum Found {
    /// It holds; claims of the token that made it so.
    Good(Option<Value>),
    /// No token where it looks.
    Missing,
    /// A token that is not good.
    Bad(String),
}

/// The claims that later filters see; the error says why the request is refused.
pub(crate) fn check(
    filter: &JwtAuthentication,
    request: &HttpCall,
) -> Result<Option<Value>, String> {
    if filter.bypass_cors_preflight && is_preflight(request) {
        return Ok(None);
    }
    for rule in &filter.rules {
        if !rule
            .r#match
            .as_ref()
            .is_none_or(|m| crate::route::applies(m, request))
        {
            continue;
        }
        let found = match &rule.requirement_type {
            Some(RequirementType::Requires(requirement)) => of(filter, requirement, request),
            Some(RequirementType::RequirementName(name)) => {
                match filter.requirement_map.get(name) {
                    Some(requirement) => of(filter, requirement, request),
                    None => Found::Good(None),
                }
            }
            None => Found::Good(None),
        };
        return match found {
            Found::Good(claims) => Ok(claims),
            Found::Missing => Err("no token".to_owned()),
            Found::Bad(why) => Err(why),
        };
    }
    Ok(None)
}

/// As Envoy's filters know a preflight: `OPTIONS` with an origin and the method asked for.
pub(crate) fn is_preflight(request: &HttpCall) -> bool {
    let has = |name| request.header(name).is_some_and(|v| !v.is_empty());
    request.method == "OPTIONS" && has("origin") && has("access-control-request-method")
}

fn of(filter: &JwtAuthentication, requirement: &JwtRequirement, request: &HttpCall) -> Found {
    match &requirement.requires_type {
        Some(RequiresType::ProviderName(name)) => match filter.providers.get(name) {
            Some(provider) => by(provider, request),
            None => Found::Bad(format!("provider {name} does not exist")),
        },
        // Missing is good here; a bad token is refused by the alternative that looks at it.
        Some(RequiresType::AllowMissing(_)) => Found::Missing,
        Some(
            RequiresType::AllowMissingOrFailed(_) | RequiresType::ExtractOnlyWithoutValidation(_),
        )
        | None => Found::Good(None),
        Some(RequiresType::RequiresAny(any)) => {
            let may_be_missing = any
                .requirements
                .iter()
                .any(|r| matches!(r.requires_type, Some(RequiresType::AllowMissing(_))));
            let mut last = Found::Missing;
            for one in &any.requirements {
                match of(filter, one, request) {
                    Found::Good(claims) => return Found::Good(claims),
                    Found::Bad(why) => last = Found::Bad(why),
                    Found::Missing => {}
                }
            }
            match last {
                Found::Missing if may_be_missing => Found::Good(None),
                other => other,
            }
        }
        Some(RequiresType::RequiresAll(all)) => {
            let mut claims = None;
            for one in &all.requirements {
                match of(filter, one, request) {
                    Found::Good(more) => claims = more.or(claims),
                    other => return other,
                }
            }
            Found::Good(claims)
        }
        Some(RequiresType::ProviderAndAudiences(with)) => {
            match filter.providers.get(&with.provider_name) {
                Some(provider) => by(
                    &JwtProvider {
                        audiences: with.audiences.clone(),
                        ..provider.clone()
                    },
                    request,
                ),
                None => Found::Bad(format!("provider {} does not exist", with.provider_name)),
            }
        }
    }
}

/// Every token where the provider looks must be good.
fn by(provider: &JwtProvider, request: &HttpCall) -> Found {
    let mut found = Found::Missing;
    for token in tokens(provider, request) {
        match claims(provider, &token) {
            Ok(claims) => found = Found::Good(Some(claims)),
            Err(why) => return Found::Bad(why),
        }
    }
    found
}

/// `Authorization: Bearer` and `access_token` unless the provider names places of its own.
fn tokens(provider: &JwtProvider, request: &HttpCall) -> Vec<String> {
    let in_query = |name: &str| {
        let query = request.path.split_once('?').map_or("", |(_, q)| q);
        query.split('&').find_map(|pair| {
            pair.split_once('=')
                .filter(|(n, _)| *n == name)
                .map(|(_, v)| v.to_owned())
        })
    };
    let in_header = |name: &str, prefix: &str| {
        let value = request.header(&name.to_ascii_lowercase())?;
        let at = value.find(prefix)?;
        Some(value[at + prefix.len()..].to_owned())
    };
    let mut out = Vec::new();
    if provider.from_headers.is_empty()
        && provider.from_params.is_empty()
        && provider.from_cookies.is_empty()
    {
        out.extend(in_header("authorization", "Bearer "));
        out.extend(in_query("access_token"));
        return out;
    }
    out.extend(
        provider
            .from_headers
            .iter()
            .filter_map(|h| in_header(&h.name, &h.value_prefix)),
    );
    out.extend(provider.from_params.iter().filter_map(|p| in_query(p)));
    let cookies = request.header("cookie").unwrap_or_default();
    let cookie = |name: &String| {
        cookies.split(';').find_map(|c| {
            c.trim()
                .split_once('=')
                .filter(|(n, _)| n == name)
                .map(|(_, v)| v.trim_matches('"').to_owned())
        })
    };
    out.extend(provider.from_cookies.iter().filter_map(cookie));
    out
}

fn claims(provider: &JwtProvider, token: &str) -> Result<Value, String> {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, payload, signature] = parts[..] else {
        return Err("the token does not have three parts".to_owned());
    };
    let part = |text: &str, name: &str| -> Result<Value, String> {
        let bytes = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_| format!("the token's {name} is not base64"))?;
        serde_json::from_slice(&bytes).map_err(|_| format!("the token's {name} is not JSON"))
    };
    let (header, mut payload) = (part(header, "header")?, part(payload, "payload")?);
    let issuer = payload["iss"].as_str().unwrap_or_default();
    if !provider.issuer.is_empty() && provider.issuer != issuer {
        return Err(format!("no token of {issuer:?} is expected"));
    }
    let texts = |v: &Value| -> Vec<String> {
        let list = v.as_array().cloned().unwrap_or_else(|| vec![v.clone()]);
        list.iter()
            .filter_map(|v| v.as_str().map(str::to_owned))
            .collect()
    };
    if !provider.audiences.is_empty()
        && !texts(&payload["aud"])
            .iter()
            .any(|a| provider.audiences.contains(a))
    {
        return Err("the token is for another audience".to_owned());
    }
    let known = key_ids(provider);
    if signature.is_empty()
        || header["kid"]
            .as_str()
            .is_some_and(|kid| !known.iter().any(|k| k.as_deref().is_none_or(|k| k == kid)))
    {
        return Err("no key of the issuer fits the token".to_owned());
    }
    let spaced = provider
        .normalize_payload_in_metadata
        .iter()
        .flat_map(|n| &n.space_delimited_claims);
    for name in spaced {
        if let Some(text) = payload[name.as_str()].as_str() {
            payload[name.as_str()] = text.split(' ').map(Value::from).collect();
        }
    }
    Ok(payload)
}

fn key_ids(provider: &JwtProvider) -> Vec<Option<String>> {
    let Some(JwksSourceSpecifier::LocalJwks(source)) = &provider.jwks_source_specifier else {
        return vec![None];
    };
    let document = match &source.specifier {
        Some(Specifier::InlineString(text)) => text.as_bytes(),
        Some(Specifier::InlineBytes(bytes)) => bytes,
        _ => return vec![None],
    };
    let document: Value = serde_json::from_slice(document).unwrap_or_default();
    let keys = document["keys"].as_array().into_iter().flatten();
    keys.map(|k| k["kid"].as_str().map(str::to_owned)).collect()
}
