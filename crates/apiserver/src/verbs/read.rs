//! Get, and the meaning of `resourceVersion` for reads.

use std::sync::Arc;

use super::Request;
use crate::http::Query;
use crate::status::ApiError;
use crate::store::Stored;

/// Reads one object.
///
/// # Errors
/// 404, or what [`parse_revision`] says.
pub fn get(request: &Request<'_>, query: &Query) -> Result<Arc<Stored>, ApiError> {
    let asked = parse_revision(query.get("resourceVersion"))?;
    let (volume, current) = request.cluster.store.read(&request.kind.resource);
    if let Some(asked) = asked
        && asked > current
    {
        return Err(ApiError::revision_too_large(asked, current));
    }
    volume
        .get(&request.key())
        .cloned()
        .ok_or_else(|| ApiError::not_found(&request.kind, &request.name))
}

/// A `resourceVersion` parameter; `None` when it is not given.
///
/// # Errors
/// 400 when it is no number.
pub fn parse_revision(text: &str) -> Result<Option<u64>, ApiError> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        ApiError::bad_request(format!(
            "invalid resource version: resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: \
             invalid syntax"
        ))
    })
}
