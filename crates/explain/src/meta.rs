//! Metadata that filters leave for later ones (`type.matcher.v3.MetadataMatcher`).

use hawser_proto::envoy::r#type::matcher::v3::metadata_matcher::path_segment::Segment;
use hawser_proto::envoy::r#type::matcher::v3::value_matcher::MatchPattern;
use hawser_proto::envoy::r#type::matcher::v3::{MetadataMatcher, ValueMatcher, list_matcher};
use serde_json::Value;

use crate::strings;

/// Whether the metadata of a request, by filter, is as the matcher wants it.
pub(crate) fn matches(matcher: &MetadataMatcher, metadata: &Value) -> bool {
    let mut value = &metadata[matcher.filter.as_str()];
    for segment in &matcher.path {
        let Some(Segment::Key(key)) = &segment.segment else {
            return false;
        };
        value = &value[key.as_str()];
    }
    matcher.value.as_ref().is_some_and(|m| of_value(m, value)) != matcher.invert
}

fn of_value(matcher: &ValueMatcher, value: &Value) -> bool {
    match (&matcher.match_pattern, value) {
        (Some(MatchPattern::StringMatch(m)), Value::String(text)) => strings::matches(m, text),
        (Some(MatchPattern::BoolMatch(wanted)), Value::Bool(is)) => wanted == is,
        (Some(MatchPattern::PresentMatch(wanted)), value) => value.is_null() != *wanted,
        (Some(MatchPattern::NullMatch(_)), value) => value.is_null(),
        (Some(MatchPattern::OrMatch(any)), value) => {
            any.value_matchers.iter().any(|m| of_value(m, value))
        }
        (Some(MatchPattern::ListMatch(list)), Value::Array(items)) => match &list.match_pattern {
            Some(list_matcher::MatchPattern::OneOf(m)) => {
                items.iter().any(|item| of_value(m, item))
            }
            None => false,
        },
        _ => false,
    }
}
