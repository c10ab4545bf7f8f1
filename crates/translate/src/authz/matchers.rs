//! Values of policies as matchers: exact, or with `*` at one end.

use hawser_model::Str;
use hawser_proto::envoy::config::core::v3 as core;
use hawser_proto::envoy::config::rbac::v3 as rbac;
use hawser_proto::envoy::config::route::v3 as rds;
use hawser_proto::envoy::extensions::path::r#match::uri_template::v3 as uri_template;
use hawser_proto::envoy::r#type::matcher::v3 as matcher;
use rbac::{permission, principal};

use crate::wire;

/// Anything but nothing.
pub(super) fn anything() -> matcher::StringMatcher {
    wire::regex(".+")
}

/// `*`, `*end`, `beginning*` or the whole, after `prefix`.
pub(super) fn text(value: &str, prefix: &str) -> matcher::StringMatcher {
    if value == "*" {
        anything()
    } else if let Some(end) = value.strip_prefix('*') {
        if prefix.is_empty() {
            wire::suffix(end)
        } else {
            wire::regex(&format!("{prefix}.*{}", literal(end)))
        }
    } else if let Some(beginning) = value.strip_suffix('*') {
        wire::prefix(&format!("{prefix}{beginning}"))
    } else {
        wire::exact(&format!("{prefix}{value}"))
    }
}

/// A text as a regular expression that fits it alone: names may have dots, which must not fit any character
/// (CVE-2026-39350).
pub(super) fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// A header with that value.
pub(super) fn header(name: &str, value: &str, ignore_case: bool) -> rds::HeaderMatcher {
    use rds::header_matcher::HeaderMatchSpecifier;
    rds::HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(if value == "*" {
            HeaderMatchSpecifier::PresentMatch(true)
        } else {
            HeaderMatchSpecifier::StringMatch(matcher::StringMatcher {
                ignore_case,
                ..text(value, "")
            })
        }),
        ..Default::default()
    }
}

/// An address or a range of them.
pub(super) fn range(value: &str) -> Option<core::CidrRange> {
    let net: ipnet::IpNet = match value.parse::<std::net::IpAddr>() {
        Ok(ip) => ip.into(),
        Err(_) => value.parse().ok()?,
    };
    Some(core::CidrRange {
        address_prefix: net.addr().to_string(),
        prefix_len: Some(wire::u32v(u32::from(net.prefix_len()))),
    })
}

/// A path, or a template of paths (`{*}` is one segment, `{**}` any number).
pub(super) fn path(value: &str) -> permission::Rule {
    if value.contains("{*}") || value.contains("{**}") {
        return permission::Rule::UriTemplate(wire::extension(
            "uri-template",
            &uri_template::UriTemplateMatchConfig {
                path_template: value.replace("{**}", "**").replace("{*}", "*"),
            },
        ));
    }
    permission::Rule::UrlPath(matcher::PathMatcher {
        rule: Some(matcher::path_matcher::Rule::Path(text(value, ""))),
    })
}

/// A peer whose certificate has that name.
pub(super) fn authenticated(name: matcher::StringMatcher) -> principal::Identifier {
    principal::Identifier::Authenticated(principal::Authenticated {
        principal_name: Some(name),
    })
}

// Envoy would have metadata matched by `sourced_metadata`; every tool that reads policies knows this field.
#[allow(deprecated)]
/// A claim that is one of the values, or a list that has one of them.
pub(super) fn claim_is_one_of(path: &[&str], values: &[Str]) -> principal::Identifier {
    let one = |m| matcher::ValueMatcher {
        match_pattern: Some(matcher::value_matcher::MatchPattern::StringMatch(m)),
    };
    let mut each: Vec<_> = values.iter().map(|v| one(text(v, ""))).collect();
    let value = match each.len() {
        1 => each.remove(0),
        _ => matcher::ValueMatcher {
            match_pattern: Some(matcher::value_matcher::MatchPattern::OrMatch(
                matcher::OrMatcher {
                    value_matchers: each,
                },
            )),
        },
    };
    principal::Identifier::Metadata(super::claims::in_payload(
        path,
        super::claims::value_or_list(value),
        false,
    ))
}

/// A claim whose text fits.
#[allow(deprecated)] // As above.
pub(super) fn claim(path: &str, value: matcher::StringMatcher) -> principal::Identifier {
    principal::Identifier::Metadata(super::claims::in_payload(
        &[path],
        matcher::ValueMatcher {
            match_pattern: Some(matcher::value_matcher::MatchPattern::StringMatch(value)),
        },
        false,
    ))
}

/// `request.headers[name]` → `name`; `request.auth.claims[a][b]` → `a`, `b`.
pub(super) fn brackets<'a>(key: &'a str, attribute: &str) -> Option<Vec<&'a str>> {
    let inner = key
        .strip_prefix(attribute)?
        .strip_prefix('[')?
        .strip_suffix(']')?;
    Some(inner.split("][").collect())
}
