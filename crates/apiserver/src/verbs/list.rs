//! List: selectors, chunks, and reads at a revision.

use std::sync::Arc;

use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine, alphabet};
use serde::{Deserialize, Serialize};

use super::Request;
use super::read::parse_revision;
use crate::http::Query;
use crate::schema::Invalid;
use crate::selector::{FieldSelector, LabelSelector};
use crate::status::ApiError;
use crate::store::{Key, Stored, Volume};

/// One page of a list.
#[derive(Debug)]
pub struct Page {
    pub objects: Vec<Arc<Stored>>,
    pub revision: u64,
    /// Empty on the last page.
    pub next: String,
    pub remaining: Option<usize>,
}

/// What a `continue` token says; opaque to clients.
#[derive(Serialize, Deserialize)]
struct Token {
    rv: u64,
    ns: String,
    name: String,
}

/// As Go reads base64: without padding, and whatever the last unused bits are.
const TOKEN_ENCODING: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// Which objects are meant.
pub struct Filter {
    pub labels: LabelSelector,
    pub fields: FieldSelector,
}

impl Filter {
    /// # Errors
    /// 400 for selectors that cannot be read.
    pub fn parse(request: &Request<'_>, query: &Query) -> Result<Filter, ApiError> {
        let labels = query.get("labelSelector");
        let labels = LabelSelector::parse(labels)
            .map_err(|why| ApiError::bad_request(format!("unable to parse requirement: {why}")))?;
        let fields = FieldSelector::parse(query.get("fieldSelector"), &request.kind)?;
        Ok(Filter { labels, fields })
    }

    pub fn matches(&self, object: &Stored) -> bool {
        self.labels.matches(object) && self.fields.matches(object)
    }

    fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }
}

/// A refusal of list options.
pub fn options_error(reason: &'static str, field: &str, message: &str) -> ApiError {
    let problem = Invalid {
        reason,
        field: field.to_owned(),
        message: message.to_owned(),
    };
    ApiError::invalid_as("meta.k8s.io", "ListOptions", "", &[problem])
}

/// Lists.
///
/// # Errors
/// 400 for malformed parameters, 422 for combinations that make no sense, 410 for revisions that are forgotten, 504
/// for revisions of the future.
pub fn list(request: &Request<'_>, query: &Query) -> Result<Page, ApiError> {
    let filter = Filter::parse(request, query)?;
    let limit: usize = match query.get("limit") {
        "" => 0,
        text => text
            .parse()
            .map_err(|_| ApiError::bad_request(format!("invalid limit {text:?}")))?,
    };
    let matching = query.get("resourceVersionMatch");
    let asked = query.get("resourceVersion");
    let next = query.get("continue");
    if query.flag("sendInitialEvents") {
        return Err(options_error(
            "FieldValueForbidden",
            "sendInitialEvents",
            "Forbidden: sendInitialEvents is forbidden for list",
        ));
    }
    match matching {
        "" => {}
        "Exact" | "NotOlderThan" if asked.is_empty() => {
            let message =
                "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided";
            return Err(options_error(
                "FieldValueForbidden",
                "resourceVersionMatch",
                message,
            ));
        }
        "Exact" if asked == "0" => {
            let message =
                "Forbidden: resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"";
            return Err(options_error(
                "FieldValueForbidden",
                "resourceVersionMatch",
                message,
            ));
        }
        "Exact" | "NotOlderThan" if next.is_empty() => {}
        "Exact" | "NotOlderThan" => {
            let message = "Forbidden: resourceVersionMatch is forbidden when continue is provided";
            return Err(options_error(
                "FieldValueForbidden",
                "resourceVersionMatch",
                message,
            ));
        }
        other => {
            let message = format!(
                "Unsupported value: {other:?}: supported values: \"Exact\", \"NotOlderThan\", \"\""
            );
            return Err(options_error(
                "FieldValueNotSupported",
                "resourceVersionMatch",
                &message,
            ));
        }
    }
    let (volume, current) = request.cluster.store.read(&request.kind.resource);
    let asked = parse_revision(asked)?;
    if !next.is_empty() {
        return continued(request, &volume, &filter, limit, next);
    }
    if let Some(asked) = asked {
        if asked > current {
            return Err(ApiError::revision_too_large(asked, current));
        }
        // A chunked list at a revision means exactly that revision, as in the real server.
        let exact = matching == "Exact" || (matching.is_empty() && limit > 0 && asked > 0);
        if exact {
            let past = volume.at(asked).ok_or_else(|| {
                ApiError::expired(format!(
                    "The resourceVersion for the provided list is too old: {asked}"
                ))
            })?;
            return Ok(page(request, &past, asked, None, &filter, limit));
        }
    }
    Ok(page(request, &volume, current, None, &filter, limit))
}

fn continued(
    request: &Request<'_>,
    volume: &Volume,
    filter: &Filter,
    limit: usize,
    next: &str,
) -> Result<Page, ApiError> {
    let invalid = |why: String| {
        ApiError::bad_request(format!(
            "invalid continue token: continue key is not valid: {why}"
        ))
    };
    let json = TOKEN_ENCODING
        .decode(next)
        .map_err(|error| invalid(error.to_string()))?;
    let token: Token = serde_json::from_slice(&json).map_err(|error| match json.first() {
        // Go's words for what is no JSON at all.
        Some(&first) if error.column() <= 1 => invalid(format!(
            "invalid character '{}' looking for beginning of value",
            char::from(first)
        )),
        _ => invalid(error.to_string()),
    })?;
    let past = volume.at(token.rv).ok_or_else(|| {
        ApiError::expired(
            "The provided continue parameter is too old to display a consistent list result. You can start a new \
             list without the continue parameter.",
        )
    })?;
    let after = Key::new(&token.ns, &token.name);
    Ok(page(request, &past, token.rv, Some(&after), filter, limit))
}

fn page(
    request: &Request<'_>,
    volume: &Volume,
    revision: u64,
    after: Option<&Key>,
    filter: &Filter,
    limit: usize,
) -> Page {
    let namespace = (!request.namespace.is_empty() && request.kind.namespaced())
        .then_some(request.namespace.as_str());
    let mut from: Box<dyn Iterator<Item = &Arc<Stored>>> = match after {
        Some(after) => Box::new(volume.iter_after(namespace, after)),
        None => Box::new(volume.iter(namespace)),
    };
    let mut objects = Vec::new();
    for object in from.by_ref() {
        if filter.matches(object) {
            objects.push(object.clone());
            if limit > 0 && objects.len() == limit {
                break;
            }
        }
    }
    let mut rest = from;
    let (mut next, mut remaining) = (String::new(), None);
    let full = limit > 0 && objects.len() == limit;
    if let (true, Some(last)) = (full, objects.last())
        && rest.any(|object| filter.matches(object))
    {
        let token = Token {
            rv: revision,
            ns: last.key.namespace.to_string(),
            name: last.key.name.to_string(),
        };
        next = TOKEN_ENCODING.encode(serde_json::to_vec(&token).unwrap_or_default());
        // With selectors the number left is not told, as counting would mean reading everything.
        remaining = filter.is_empty().then(|| rest.count() + 1);
    }
    Page {
        objects,
        revision,
        next,
        remaining,
    }
}
