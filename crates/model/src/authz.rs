//! AuthorizationPolicies.

use crate::meta::{Meta, Selector};
use crate::name::Str;

/// An AuthorizationPolicy.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct AuthorizationPolicy {
    /// Place and age.
    pub meta: Meta,
    /// Which workloads.
    pub selector: Selector,
    /// What becomes of requests that match.
    pub action: Action,
    /// Any of these. None: matches nothing (`ALLOW` then denies all).
    pub rules: Vec<Rule>,
    /// Only reported (`istio.io/dry-run: "true"`).
    pub dry_run: bool,
}

/// What becomes of requests that match.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Action {
    /// Refused unless one matches.
    Allow,
    /// Refused if one matches.
    Deny,
    /// Logged.
    Audit,
    /// Decided by the extension provider of this name.
    Custom(Str),
}

/// A rule: a source, an operation and all conditions.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Rule {
    /// Any of these; none is any source.
    pub from: Vec<Source>,
    /// Any of these; none is any operation.
    pub to: Vec<Operation>,
    /// All of these.
    pub when: Vec<Condition>,
}

/// Values and values excluded.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Values {
    /// Any of these; empty is any.
    pub any: Vec<Str>,
    /// None of these.
    pub none: Vec<Str>,
}

/// Who calls; all parts must hold.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Source {
    /// Peer identities, without `spiffe://`.
    pub principals: Values,
    /// Request identities, `issuer/subject`.
    pub request_principals: Values,
    /// Peer namespaces.
    pub namespaces: Values,
    /// Peer service accounts, `namespace/name`.
    pub service_accounts: Values,
    /// Peer addresses.
    pub ip_blocks: Values,
    /// Client addresses (X-Forwarded-For and PROXY protocol considered).
    pub remote_ip_blocks: Values,
    /// Peer trust domains.
    pub trust_domains: Values,
}

/// What is called; all parts must hold.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Operation {
    /// Hosts.
    pub hosts: Values,
    /// Ports.
    pub ports: Values,
    /// Methods.
    pub methods: Values,
    /// Paths, with `*` at either end or as templates.
    pub paths: Values,
}

/// A condition on an attribute.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Condition {
    /// The attribute, such as `request.headers[x-a]` or `source.ip`.
    pub key: Str,
    /// Its values.
    pub values: Values,
}
