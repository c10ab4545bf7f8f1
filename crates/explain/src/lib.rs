//! Pure: walks the translated configuration as Envoy would and says why.
//!
//! Given one proxy's resources and a [`Call`], [`explain`] says which listener, filter chain, filters, route, cluster and
//! endpoints it meets, or who refuses it. Each step of the walk is one module, named after the part of Envoy whose rules it
//! follows; where a rule is not obvious, the module says where Envoy documents it.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod call;
mod chain;
mod config;
mod fault;
mod http;
mod listener;
mod meta;
mod network;
mod path;
mod rbac;
mod route;
mod strings;
mod token;
mod upstream;

pub use call::{Call, HttpCall, TlsCall};
pub use config::{Config, ConfigError};
pub use upstream::Share;

/// What becomes of a call, and how it got there.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// What the call met, in order, for people: `listener virtualInbound`, `chain …`, `rbac ns[default]-policy[p] allows`.
    pub steps: Vec<String>,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// What becomes of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Forwarded: to these clusters, each with its share in percent and its endpoints.
    Forwarded(Vec<Share>),
    /// Answered by the proxy itself.
    Answered {
        /// HTTP status.
        status: u32,
        /// `location` of a redirect, else empty.
        location: String,
    },
    /// Refused with an HTTP status (403 by authorization, 401 by authentication, 404 without a route).
    Refused {
        /// HTTP status.
        status: u32,
        /// Who refused, and by which rule.
        why: String,
    },
    /// The connection is closed.
    Closed {
        /// Why.
        why: String,
    },
}

/// Walks a proxy's configuration with a call.
pub fn explain(config: &Config, call: &Call) -> Trace {
    let mut steps = Vec::new();
    let verdict = listener::walk(config, call, &mut steps);
    Trace { steps, verdict }
}
