//! Claims of a request's token, as the JWT filter leaves them in the request's metadata.

use hawser_proto::envoy::r#type::matcher::v3 as matcher;

/// The filter that writes the metadata.
pub(crate) const JWT: &str = "envoy.filters.http.jwt_authn";
/// The key under which it writes the token's payload.
pub(crate) const PAYLOAD: &str = "payload";

/// A condition on a claim, which is the text or one of a list of texts.
pub(crate) fn matcher(
    path: &[String],
    value: matcher::StringMatcher,
    invert: bool,
) -> matcher::MetadataMatcher {
    use matcher::metadata_matcher::{PathSegment, path_segment::Segment};
    let segment = |key: &str| PathSegment {
        segment: Some(Segment::Key(key.to_owned())),
    };
    let text = || matcher::ValueMatcher {
        match_pattern: Some(matcher::value_matcher::MatchPattern::StringMatch(
            value.clone(),
        )),
    };
    matcher::MetadataMatcher {
        filter: JWT.to_owned(),
        path: std::iter::once(segment(PAYLOAD))
            .chain(path.iter().map(|p| segment(p)))
            .collect(),
        value: Some(matcher::ValueMatcher {
            match_pattern: Some(matcher::value_matcher::MatchPattern::OrMatch(
                matcher::OrMatcher {
                    value_matchers: vec![
                        text(),
                        matcher::ValueMatcher {
                            match_pattern: Some(matcher::value_matcher::MatchPattern::ListMatch(
                                Box::new(matcher::ListMatcher {
                                    match_pattern: Some(
                                        matcher::list_matcher::MatchPattern::OneOf(
                                            Box::new(text()),
                                        ),
                                    ),
                                }),
                            )),
                        },
                    ],
                },
            )),
        }),
        invert,
    }
}
