//! Who may call what: AuthorizationPolicies and RequestAuthentications as Envoy filters.
//!
//! The order in front of the application is that of Istio: external decisions, tokens, audit, deny, allow.

pub(crate) mod claims;
mod external;
mod jwt;
mod matchers;
mod operations;
mod rules;
mod sources;
mod trust_domains;

use hawser_model::authz::{Action, AuthorizationPolicy};
use hawser_model::{Labels, Selector, Shared, Snapshot};
use hawser_proto::envoy::config::rbac::v3 as rbac;
use hawser_proto::envoy::extensions::filters::http::rbac::v3 as http_rbac;
use hawser_proto::envoy::extensions::filters::network::rbac::v3 as tcp_rbac;

use crate::listener::spec::Encoded;

pub(crate) const HTTP_RBAC: &str = "envoy.filters.http.rbac";
pub(crate) const TCP_RBAC: &str = "envoy.filters.network.rbac";

/// The filters of one workload.
#[derive(Clone, Debug)]
pub(crate) struct Filters {
    pub http: Shared<HttpFilters>,
    pub tcp: Shared<Vec<Encoded>>,
}

/// The HTTP filters of one workload, in order; extensions may stand between them.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct HttpFilters {
    /// Those that ask external authorizers.
    pub asked: Vec<Encoded>,
    /// That which checks tokens.
    pub tokens: Option<Encoded>,
    /// Those that decide by rules.
    pub decided: Vec<Encoded>,
}

/// Whose filters these are.
pub(crate) struct Workload<'a> {
    pub namespace: &'a str,
    pub labels: &'a Labels,
    /// A gateway, whose routes may depend on claims.
    pub router: bool,
}

impl Workload<'_> {
    /// True if a policy of that namespace with that selector holds for the workload.
    pub(crate) fn selected(
        &self,
        snapshot: &Snapshot,
        namespace: &str,
        selector: &Selector,
    ) -> bool {
        let own = namespace == self.namespace;
        if !own && namespace != &*snapshot.mesh.root_namespace {
            return false;
        }
        if selector.targets.is_empty() {
            return selector.labels.selects(self.labels);
        }
        let gateway = self.labels.get("gateway.networking.k8s.io/gateway-name");
        own && selector.targets.iter().any(|t| {
            &*t.group == "gateway.networking.k8s.io"
                && &*t.kind == "Gateway"
                && Some(&*t.name) == gateway
        })
    }
}

/// The filters that hold for a workload.
pub(crate) fn filters(snapshot: &Snapshot, workload: &Workload<'_>) -> Filters {
    let policies: Vec<_> = snapshot
        .authz
        .iter()
        .filter(|p| workload.selected(snapshot, &p.meta.namespace, &p.selector))
        .collect();
    let tokens: Vec<_> = snapshot
        .request_authn
        .iter()
        .filter(|p| workload.selected(snapshot, &p.meta.namespace, &p.selector))
        .flat_map(|p| &p.rules)
        .collect();
    let custom: Vec<_> = policies
        .iter()
        .copied()
        .filter(|p| matches!(p.action, Action::Custom(_)))
        .collect();
    let (asked, mut tcp) = external::filters(snapshot, &custom);
    let mut decided = Vec::new();
    for (action, envoy) in [
        (Action::Audit, rbac::rbac::Action::Log),
        (Action::Deny, rbac::rbac::Action::Deny),
        (Action::Allow, rbac::rbac::Action::Allow),
    ] {
        let these: Vec<_> = policies
            .iter()
            .copied()
            .filter(|p| p.action == action)
            .collect();
        if these.is_empty() {
            continue;
        }
        decided.push(http_filter(snapshot, &these, envoy));
        tcp.push(tcp_filter(snapshot, &these, envoy));
    }
    Filters {
        http: Shared::new(HttpFilters {
            asked,
            tokens: jwt::filter(&tokens, workload.router),
            decided,
        }),
        tcp: Shared::new(tcp),
    }
}

type Policies<'a> = [&'a Shared<AuthorizationPolicy>];

/// The prefix of statistics and metadata of policies that are only tried out.
fn dry_run_prefix(action: rbac::rbac::Action, rules: Option<&rbac::Rbac>) -> String {
    match (rules, action) {
        (None, _) => "",
        (_, rbac::rbac::Action::Allow) => "istio_dry_run_allow_",
        (_, rbac::rbac::Action::Deny) => "istio_dry_run_deny_",
        (_, rbac::rbac::Action::Log) => "",
    }
    .to_owned()
}

fn http_filter(
    snapshot: &Snapshot,
    policies: &Policies<'_>,
    action: rbac::rbac::Action,
) -> Encoded {
    let built = rules::build(snapshot, policies, action, false, "");
    Encoded::new(
        HTTP_RBAC,
        &http_rbac::Rbac {
            shadow_rules_stat_prefix: dry_run_prefix(action, built.shadow.as_ref()),
            rules: built.enforced,
            shadow_rules: built.shadow,
            ..Default::default()
        },
    )
}

fn tcp_filter(snapshot: &Snapshot, policies: &Policies<'_>, action: rbac::rbac::Action) -> Encoded {
    let built = rules::build(snapshot, policies, action, true, "");
    Encoded::new(
        TCP_RBAC,
        &tcp_rbac::Rbac {
            stat_prefix: "tcp.".to_owned(),
            shadow_rules_stat_prefix: dry_run_prefix(action, built.shadow.as_ref()),
            rules: built.enforced,
            shadow_rules: built.shadow,
            ..Default::default()
        },
    )
}
