//! Which DestinationRule holds for a service, and which policy for a port and subset of it.

use std::collections::{BTreeMap, HashMap};

use hawser_model::traffic::{DestinationRule, Subset, TrafficPolicy};
use hawser_model::{Hostname, Labels, Service, Shared, Snapshot, Str, Visibility};

/// Rules of one namespace by host, those of one host merged.
#[derive(Debug, Default)]
struct RuleSet {
    exact: HashMap<Hostname, Vec<Shared<DestinationRule>>>,
    /// Most specific first.
    wildcard: BTreeMap<WildcardKey, Vec<Shared<DestinationRule>>>,
}

/// Orders wildcards by specificity.
#[derive(Debug, PartialEq, Eq)]
struct WildcardKey(Hostname);

impl Ord for WildcardKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        Hostname::by_specificity(&self.0, &other.0)
    }
}

impl PartialOrd for WildcardKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl RuleSet {
    fn add(&mut self, rule: &Shared<DestinationRule>) {
        let same_host = if rule.host.is_wildcard() {
            self.wildcard
                .entry(WildcardKey(rule.host.clone()))
                .or_default()
        } else {
            self.exact.entry(rule.host.clone()).or_default()
        };
        let twin = same_host.iter_mut().find(|r| {
            r.workload_selector == rule.workload_selector
                && seen_by_all_of(&rule.visibility, &r.visibility)
        });
        match twin {
            Some(twin) => *twin = Shared::new(merged(twin, rule)),
            None => same_host.push(rule.clone()),
        }
    }

    fn of_host(&self, host: &Hostname) -> Option<&Vec<Shared<DestinationRule>>> {
        self.exact.get(host).or_else(|| {
            self.wildcard
                .iter()
                .find(|(w, _)| host.is_subset_of(&w.0))
                .map(|(_, rules)| rules)
        })
    }
}

/// True if a rule is visible wherever an older one is: then the older one takes it in.
fn seen_by_all_of(newer: &Visibility, older: &Visibility) -> bool {
    match (newer, older) {
        (Visibility::Namespaces(new), Visibility::Namespaces(old)) => new.is_superset(old),
        _ => newer == older,
    }
}

/// Two rules of one host and namespace: the older one's policy if it has any, and the subsets of both (Istio's
/// `mergeDestinationRule`).
fn merged(older: &DestinationRule, newer: &DestinationRule) -> DestinationRule {
    let mut out = older.clone();
    for subset in &newer.subsets {
        if !out.subsets.iter().any(|s| s.name == subset.name) {
            out.subsets.push(subset.clone());
        }
    }
    if out.policy.is_none() {
        out.policy = newer.policy.clone();
    }
    out
}

/// All DestinationRules of a snapshot, ready to be asked.
#[derive(Debug, Default)]
pub(crate) struct RuleIndex {
    /// All rules of a namespace, for its own proxies.
    local: HashMap<Str, RuleSet>,
    /// Those that others may see too.
    exported: HashMap<Str, RuleSet>,
    /// Private rules of the root namespace.
    root_private: RuleSet,
    root: Str,
}

impl RuleIndex {
    /// Sorts the rules of a snapshot.
    pub(crate) fn new(snapshot: &Snapshot) -> Self {
        let mut index = Self {
            root: snapshot.mesh.root_namespace.clone(),
            ..Self::default()
        };
        for rule in snapshot.rules.iter() {
            let namespace = &rule.meta.namespace;
            index.local.entry(namespace.clone()).or_default().add(rule);
            let private = matches!(&rule.visibility, Visibility::Namespaces(n) if n.len() == 1 && n.contains(namespace));
            if !private {
                index
                    .exported
                    .entry(namespace.clone())
                    .or_default()
                    .add(rule);
            } else if *namespace == index.root {
                index.root_private.add(rule);
            }
        }
        index
    }

    /// Rules that hold for a service as seen from a namespace: of the client's namespace, else of the service's, else of
    /// the root namespace (Istio's `PushContext.destinationRule`).
    pub(crate) fn of_service(
        &self,
        client_namespace: &str,
        service: &Service,
    ) -> Vec<Shared<DestinationRule>> {
        let host = &service.host;
        let own = if client_namespace == &*self.root {
            self.root_private.of_host(host)
        } else {
            self.local
                .get(client_namespace)
                .and_then(|set| set.of_host(host))
        };
        if let Some(own) = own {
            return own.clone();
        }
        for namespace in [&service.meta.namespace, &self.root] {
            let found: Vec<_> = self
                .exported
                .get(namespace)
                .and_then(|set| set.of_host(host))
                .into_iter()
                .flatten()
                .filter(|r| r.visibility.allows(client_namespace))
                .cloned()
                .collect();
            if !found.is_empty() {
                return found;
            }
        }
        Vec::new()
    }
}

/// Of several rules for one host the one whose selector fits the client, else the one without.
pub(crate) fn for_client(
    rules: &[Shared<DestinationRule>],
    namespace: &str,
    labels: &Labels,
) -> Option<Shared<DestinationRule>> {
    rules
        .iter()
        .find(|r| {
            !r.workload_selector.is_empty()
                && &*r.meta.namespace == namespace
                && r.workload_selector.selects(labels)
        })
        .or_else(|| rules.iter().rfind(|r| r.workload_selector.is_empty()))
        .cloned()
}

/// The subset of that name.
pub(crate) fn subset<'a>(rule: &'a DestinationRule, name: &str) -> Option<&'a Subset> {
    rule.subsets.iter().find(|s| &*s.name == name)
}

/// The policy for a port and perhaps a subset. A port's settings replace the host's as a whole; a subset's parts replace
/// the host's parts (Istio's `GetPortLevelTrafficPolicy` and `MergeSubsetTrafficPolicy`).
pub(crate) fn policy(
    rule: Option<&DestinationRule>,
    subset: Option<&Subset>,
    port: u16,
) -> TrafficPolicy {
    let of_port = |policy: &TrafficPolicy| {
        policy
            .ports
            .get(&port)
            .cloned()
            .unwrap_or_else(|| TrafficPolicy {
                ports: BTreeMap::new(),
                ..policy.clone()
            })
    };
    let base = rule.and_then(|r| r.policy.as_ref()).map(|p| of_port(p));
    let subset = subset.and_then(|s| s.policy.as_ref());
    let over = subset.map(|p| of_port(p));
    // What a subset says of the port itself stands for all that a port's settings may say.
    let alone = subset.is_some_and(|p| p.ports.contains_key(&port));
    let inherits = |base: &TrafficPolicy| {
        if alone {
            TrafficPolicy {
                load_balancer: None,
                connection_pool: None,
                outlier: None,
                tls: None,
                ..base.clone()
            }
        } else {
            base.clone()
        }
    };
    match (base.as_ref().map(inherits), over) {
        (base, None) => base.unwrap_or_default(),
        (None, Some(over)) => over,
        (Some(base), Some(over)) => TrafficPolicy {
            load_balancer: over.load_balancer.or(base.load_balancer),
            connection_pool: over.connection_pool.or(base.connection_pool),
            outlier: over.outlier.or(base.outlier),
            tls: over.tls.or(base.tls),
            ports: BTreeMap::new(),
            tunnel: over.tunnel.or(base.tunnel),
            proxy_protocol: over.proxy_protocol.or(base.proxy_protocol),
            retry_budget: over.retry_budget.or(base.retry_budget),
        },
    }
}
