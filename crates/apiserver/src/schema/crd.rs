//! A custom kind's structural schema.

use serde_json::Value;

use super::{FieldIssue, Invalid};

/// One version's `openAPIV3Schema`, checked to be structural.
pub struct CrdSchema {}

impl CrdSchema {
    /// Reads `openAPIV3Schema`; the problems' fields start with `spec.validation.openAPIV3Schema`.
    pub fn parse(_openapi: &Value) -> Result<CrdSchema, Vec<Invalid>> {
        Ok(CrdSchema {})
    }

    /// Drops what the schema does not specify and reports it.
    pub fn prune(&self, _object: &mut Value) -> Vec<FieldIssue> {
        Vec::new()
    }

    /// Fills in the schema's defaults.
    pub fn default(&self, _object: &mut Value) {}

    /// What is wrong with an object, or with changing `old` into it.
    pub fn validate(&self, _object: &Value, _old: Option<&Value>) -> Vec<Invalid> {
        Vec::new()
    }
}
