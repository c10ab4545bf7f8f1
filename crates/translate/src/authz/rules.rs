//! Rules of AuthorizationPolicies as RBAC policies (Istio's `authz/model`).

use hawser_model::Snapshot;
use hawser_model::authz::{Operation, Rule, Source};
use hawser_model::mesh::Mesh;
use hawser_proto::envoy::config::rbac::v3 as rbac;

use super::Policies;
use super::operations::{any_permission, not_permission};
use super::sources::{any_principal, not_principal};

/// RBAC rules in force, and those that are only tried out.
pub(super) struct Built {
    pub enforced: Option<rbac::Rbac>,
    pub shadow: Option<rbac::Rbac>,
}

/// The rules of several policies of one action. `prefix` goes before the names of rules.
pub(super) fn build(
    snapshot: &Snapshot,
    policies: &Policies<'_>,
    action: rbac::rbac::Action,
    tcp: bool,
    prefix: &str,
) -> Built {
    let empty = || rbac::Rbac {
        action: action as i32,
        ..Default::default()
    };
    let mut built = Built {
        enforced: None,
        shadow: None,
    };
    let cx = Context {
        mesh: &snapshot.mesh,
        tcp,
        strict: action == rbac::rbac::Action::Allow,
    };
    for policy in policies {
        let rules = if policy.dry_run {
            built.shadow.get_or_insert_with(empty)
        } else {
            built.enforced.get_or_insert_with(empty)
        };
        let name = |i: usize| {
            format!(
                "{prefix}ns[{}]-policy[{}]-rule[{i}]",
                policy.meta.namespace, policy.meta.name
            )
        };
        if policy.rules.is_empty() {
            rules.policies.insert(name(0), never());
        }
        for (i, rule) in policy.rules.iter().enumerate() {
            if let Ok(policy) = cx.policy(rule, &policy.meta.namespace) {
                rules.policies.insert(name(i), policy);
            }
        }
    }
    built
}

fn never() -> rbac::Policy {
    rbac::Policy {
        permissions: vec![not_permission(any_permission())],
        principals: vec![not_principal(any_principal())],
        ..Default::default()
    }
}

/// An attribute that means nothing here: HTTP on a connection of bytes, or a value that cannot be read.
pub(super) struct Meaningless;

pub(super) type Result<T> = std::result::Result<T, Meaningless>;

pub(super) struct Context<'a> {
    pub mesh: &'a Mesh,
    /// For a connection of bytes.
    pub tcp: bool,
    /// A meaningless attribute makes an `ALLOW` rule void; in others it is left out, so that they catch more.
    pub strict: bool,
}

impl Context<'_> {
    fn policy(&self, rule: &Rule, namespace: &str) -> Result<rbac::Policy> {
        let nothing = Operation::default();
        let operations: Vec<&Operation> = match rule.to.as_slice() {
            [] => vec![&nothing],
            some => some.iter().collect(),
        };
        let nobody = Source::default();
        let sources: Vec<&Source> = match rule.from.as_slice() {
            [] => vec![&nobody],
            some => some.iter().collect(),
        };
        let permissions = operations
            .into_iter()
            .map(|o| self.permission(o, &rule.when))
            .collect::<Result<_>>()?;
        let principals = sources
            .into_iter()
            .map(|s| self.principal(s, &rule.when, namespace))
            .collect::<Result<_>>()?;
        Ok(rbac::Policy {
            permissions,
            principals,
            ..Default::default()
        })
    }
}
