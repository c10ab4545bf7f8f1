//! Where lowering writes down what it found wrong.

use hawser_api::Kind;
use hawser_model::problem::ObjectName;
use hawser_model::{ClusterId, Problem, Severity};

/// Istio's code for an object that breaks its schema.
pub const SCHEMA: &str = "IST0106";
/// Istio's code for a reference to something that is not there.
pub const NOT_FOUND: &str = "IST0101";
/// A setting that stock Envoy cannot carry out.
pub const UNSUPPORTED: &str = "HWS0101";
/// A part of an object that contradicts another part of it, or another object.
pub const CONFLICT: &str = "HWS0102";
/// A source that does not answer.
pub const STALE: &str = "HWS0103";
/// A network whose gateway has no known address.
pub const NO_GATEWAY: &str = "HWS0104";

/// A patch of which Envoy refuses what it makes.
pub const REFUSED_BY_ENVOY: &str = "HWS0105";

/// The problems of one object.
#[derive(Debug)]
pub struct Notes<'a> {
    problems: &'a mut Vec<Problem>,
    object: ObjectName,
}

impl<'a> Notes<'a> {
    /// Starts the notes on an object.
    pub fn new(
        problems: &'a mut Vec<Problem>,
        cluster: &ClusterId,
        kind: Kind,
        meta: &hawser_api::Meta,
    ) -> Self {
        let object = ObjectName {
            cluster: Some(cluster.clone()),
            kind: kind.info().name.into(),
            namespace: meta.namespace.as_str().into(),
            name: meta.name.as_str().into(),
        };
        Self { problems, object }
    }

    /// Something of no effect because it is wrong.
    pub fn error(
        &mut self,
        code: &'static str,
        field: impl Into<String>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(Severity::Error, code, field, message, help);
    }

    /// Something that is probably not what was meant.
    pub fn warn(
        &mut self,
        code: &'static str,
        field: impl Into<String>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(Severity::Warning, code, field, message, help);
    }

    fn add(
        &mut self,
        severity: Severity,
        code: &'static str,
        field: impl Into<String>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.problems.push(Problem {
            code,
            severity,
            object: self.object.clone(),
            field: field.into(),
            message: message.into(),
            help: help.into(),
        });
    }
}
