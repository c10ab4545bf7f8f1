//! Content negotiation: which form of an answer the client takes.

use crate::status::ApiError;

/// How objects are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    #[default]
    Whole,
    /// `meta.k8s.io` Table of this version.
    Table(&'static str),
    /// Metadata only, of this version of `meta.k8s.io`.
    Partial(&'static str),
}

/// A negotiated answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Accept {
    pub yaml: bool,
    pub shape: Shape,
}

pub const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// What the real server's serializers know; its messages name all of them, whatever a kind is served as.
const KNOWN: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

/// Whether a client that takes none of the forms of objects takes a `Status` in protobuf, as client-go's typed clients
/// do when they are told to ask for nothing else.
pub fn wants_protobuf_status(header: &str) -> bool {
    let of = |clause: &str| clause.split(';').next().unwrap_or_default().trim() == PROTOBUF;
    header.split(',').any(of) && negotiate(header, true).is_err()
}

/// Picks the first form in an `Accept` header that can be served. Objects are served as JSON and YAML; a client
/// that also takes protobuf is given JSON.
///
/// # Errors
/// 406 when nothing acceptable is left.
pub fn negotiate(header: &str, custom: bool) -> Result<Accept, ApiError> {
    if header.trim().is_empty() {
        return Ok(Accept::default());
    }
    for clause in header.split(',') {
        let mut parts = clause.split(';').map(str::trim);
        let yaml = match parts.next().unwrap_or_default() {
            "application/json" | "*/*" | "application/*" => false,
            "application/yaml" => true,
            _ => continue,
        };
        let (mut shape, mut version, mut group) = ("", "", "");
        for part in parts {
            match part.split_once('=') {
                Some(("as", value)) => shape = value,
                Some(("v", value)) => version = value,
                Some(("g", value)) => group = value,
                _ => {}
            }
        }
        let version = match version {
            "v1" => "v1",
            "v1beta1" => "v1beta1",
            _ => "",
        };
        let shape = match shape {
            "" => Shape::Whole,
            "Table" if group == "meta.k8s.io" && !version.is_empty() => Shape::Table(version),
            "PartialObjectMetadata" | "PartialObjectMetadataList"
                if group == "meta.k8s.io" && !version.is_empty() =>
            {
                Shape::Partial(version)
            }
            _ => continue,
        };
        return Ok(Accept { yaml, shape });
    }
    if custom {
        return Err(ApiError::new(
            406,
            "NotAcceptable",
            format!("only the following media types are accepted: {KNOWN}"),
        ));
    }
    Err(ApiError::not_acceptable(KNOWN))
}
