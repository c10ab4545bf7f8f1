//! Envoy's matchers of strings and headers.

use hawser_proto::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use hawser_proto::envoy::config::route::v3::{
    HeaderMatcher, QueryParameterMatcher, query_parameter_matcher,
};
use hawser_proto::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use hawser_proto::envoy::r#type::matcher::v3::{RegexMatcher, StringMatcher};

use crate::call::HttpCall;

/// A regular expression over the whole text, as RE2's `FullMatch`.
pub(crate) fn full_match(regex: &RegexMatcher, text: &str) -> bool {
    regex::Regex::new(&format!("^(?:{})$", regex.regex)).is_ok_and(|r| r.is_match(text))
}

/// `envoy.type.matcher.v3.StringMatcher`.
pub(crate) fn matches(matcher: &StringMatcher, text: &str) -> bool {
    let fold = |s: &str| {
        if matcher.ignore_case {
            s.to_ascii_lowercase()
        } else {
            s.to_owned()
        }
    };
    let text = fold(text);
    match &matcher.match_pattern {
        Some(MatchPattern::Exact(p)) => text == fold(p),
        Some(MatchPattern::Prefix(p)) => text.starts_with(&fold(p)),
        Some(MatchPattern::Suffix(p)) => text.ends_with(&fold(p)),
        Some(MatchPattern::Contains(p)) => text.contains(&fold(p)),
        Some(MatchPattern::SafeRegex(r)) => full_match(r, &text),
        _ => false,
    }
}

/// `envoy.config.route.v3.HeaderMatcher`: a missing header matches nothing, unless `treat_missing_header_as_empty`; inversion
/// comes after that (a missing header does match an inverted value). Of a header that is there several times, one value
/// that matches is enough (since Envoy 1.39; `match_headers_individually`).
pub(crate) fn header(matcher: &HeaderMatcher, call: &HttpCall) -> bool {
    let mut values = call.header_values(&matcher.name.to_ascii_lowercase());
    if values.is_empty() && matcher.treat_missing_header_as_empty {
        values.push("");
    }
    let is = match &matcher.header_match_specifier {
        None => !values.is_empty(),
        Some(HeaderMatchSpecifier::PresentMatch(present)) => values.is_empty() != *present,
        Some(specifier) => values.iter().any(|value| is_value(specifier, value)),
    };
    is != matcher.invert_match
}

#[allow(deprecated)] // Older forms of a string match, which EnvoyFilters may still have.
fn is_value(specifier: &HeaderMatchSpecifier, value: &str) -> bool {
    match specifier {
        HeaderMatchSpecifier::PresentMatch(present) => *present,
        HeaderMatchSpecifier::StringMatch(m) => matches(m, value),
        HeaderMatchSpecifier::ExactMatch(p) => value == p,
        HeaderMatchSpecifier::PrefixMatch(p) => value.starts_with(p.as_str()),
        HeaderMatchSpecifier::SuffixMatch(p) => value.ends_with(p.as_str()),
        HeaderMatchSpecifier::ContainsMatch(p) => value.contains(p.as_str()),
        HeaderMatchSpecifier::SafeRegexMatch(r) => full_match(r, value),
        HeaderMatchSpecifier::RangeMatch(r) => value
            .parse::<i64>()
            .is_ok_and(|v| (r.start..r.end).contains(&v)),
    }
}

/// A condition on a query parameter.
pub(crate) fn query(matcher: &QueryParameterMatcher, path: &str) -> bool {
    use query_parameter_matcher::QueryParameterMatchSpecifier as Specifier;
    let query = path.split_once('?').map_or("", |(_, q)| q);
    let value = query.split('&').find_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name == matcher.name).then_some(value)
    });
    match (&matcher.query_parameter_match_specifier, value) {
        (Some(Specifier::StringMatch(m)), Some(value)) => matches(m, value),
        (Some(Specifier::PresentMatch(present)), value) => value.is_some() == *present,
        (None, value) => value.is_some(),
        (Some(Specifier::StringMatch(_)), None) => false,
    }
}
