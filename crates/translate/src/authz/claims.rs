//! Claims of a request's token, as the JWT filter leaves them in the request's metadata.

use hawser_proto::envoy::r#type::matcher::v3 as matcher;
use matcher::metadata_matcher::{PathSegment, path_segment::Segment};

/// The filter that writes the metadata.
pub(crate) const JWT: &str = "envoy.filters.http.jwt_authn";
/// The key under which it writes the token's payload.
pub(crate) const PAYLOAD: &str = "payload";

pub(crate) fn segment(key: &str) -> PathSegment {
    PathSegment {
        segment: Some(Segment::Key(key.to_owned())),
    }
}

/// A condition on a claim.
pub(crate) fn in_payload<S: AsRef<str>>(
    path: &[S],
    value: matcher::ValueMatcher,
    invert: bool,
) -> matcher::MetadataMatcher {
    matcher::MetadataMatcher {
        filter: JWT.to_owned(),
        path: std::iter::once(segment(PAYLOAD))
            .chain(path.iter().map(|p| segment(p.as_ref())))
            .collect(),
        value: Some(value),
        invert,
    }
}

/// The value itself, or a list that has it.
pub(crate) fn value_or_list(value: matcher::ValueMatcher) -> matcher::ValueMatcher {
    use matcher::{list_matcher, value_matcher::MatchPattern};
    let list = matcher::ValueMatcher {
        match_pattern: Some(MatchPattern::ListMatch(Box::new(matcher::ListMatcher {
            match_pattern: Some(list_matcher::MatchPattern::OneOf(Box::new(value.clone()))),
        }))),
    };
    matcher::ValueMatcher {
        match_pattern: Some(MatchPattern::OrMatch(matcher::OrMatcher {
            value_matchers: vec![list, value],
        })),
    }
}

/// A condition on a claim, which is the text or one of a list of texts.
pub(crate) fn matcher(
    path: &[String],
    value: matcher::StringMatcher,
    invert: bool,
) -> matcher::MetadataMatcher {
    let text = matcher::ValueMatcher {
        match_pattern: Some(matcher::value_matcher::MatchPattern::StringMatch(value)),
    };
    in_payload(path, value_or_list(text), invert)
}
