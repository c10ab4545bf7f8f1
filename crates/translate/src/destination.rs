//! Which DestinationRule holds for a service, and which policy for a port and subset of it.

use std::collections::{BTreeMap, HashMap};

use hawser_model::mesh::Mesh;
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

/// Two rules of one host and namespace: the older one's policy if it has any, and the subsets of both. What users wrote
/// counts before what a policy of the Gateway API asks for, which fills in what they left open (Istio's
/// `mergeDestinationRule`).
fn merged(older: &DestinationRule, newer: &DestinationRule) -> DestinationRule {
    let mut out = older.clone();
    for subset in &newer.subsets {
        if !out.subsets.iter().any(|s| s.name == subset.name) {
            out.subsets.push(subset.clone());
        }
    }
    let (first, second) = match (older.by_policy, newer.by_policy) {
        (true, false) => (&newer.policy, &older.policy),
        _ => (&older.policy, &newer.policy),
    };
    out.policy = match (first, second) {
        (Some(own), Some(policy)) if older.by_policy != newer.by_policy => {
            Some(Shared::new(filled(own, policy)))
        }
        (first, second) => first.clone().or_else(|| second.clone()),
    };
    out.by_policy = older.by_policy && newer.by_policy;
    out
}

/// A policy with what it leaves open taken from another, port by port too.
fn filled(own: &TrafficPolicy, other: &TrafficPolicy) -> TrafficPolicy {
    let mut out = over(own.clone(), other.clone());
    out.ports.clone_from(&own.ports);
    for (port, settings) in &other.ports {
        let said = out.ports.remove(port).unwrap_or_default();
        out.ports.insert(*port, over(said, settings.clone()));
    }
    out
}

/// The parts of a policy, and those of another where it has none. Settings of ports are not looked at.
fn over(own: TrafficPolicy, other: TrafficPolicy) -> TrafficPolicy {
    TrafficPolicy {
        load_balancer: own.load_balancer.or(other.load_balancer),
        connection_pool: own.connection_pool.or(other.connection_pool),
        outlier: own.outlier.or(other.outlier),
        tls: own.tls.or(other.tls),
        ports: BTreeMap::new(),
        tunnel: own.tunnel.or(other.tunnel),
        proxy_protocol: own.proxy_protocol.or(other.proxy_protocol),
        retry_budget: own.retry_budget.or(other.retry_budget),
    }
}

/// All DestinationRules of a snapshot, ready to be asked.
#[derive(Debug, Default)]
pub(crate) struct RuleIndex {
    /// Rules of a namespace that its own proxies may see.
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
            if rule.visibility.allows(namespace) {
                index.local.entry(namespace.clone()).or_default().add(rule);
            }
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
    /// the root namespace (Istio's `PushContext.destinationRule`). Where those of the client's namespace are all for some
    /// of its workloads, the others have what they would have without.
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
        let mut out = own.cloned().unwrap_or_default();
        if out.iter().any(|r| r.workload_selector.is_empty()) {
            return out;
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
                out.extend(found);
                break;
            }
        }
        out
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

/// The policy for a port and perhaps a subset, with what the mesh says where no rule does (MeshConfig's
/// `defaultTrafficPolicy`).
pub(crate) fn policy_in(
    mesh: &Mesh,
    rule: Option<&DestinationRule>,
    subset: Option<&Subset>,
    port: u16,
) -> TrafficPolicy {
    let own = policy(rule, subset, port);
    TrafficPolicy {
        connection_pool: own.connection_pool.or_else(|| mesh.default_pool.clone()),
        outlier: own.outlier.or_else(|| mesh.default_outlier.clone()),
        ..own
    }
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
    let own = subset.map(|p| of_port(p));
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
    match (base.as_ref().map(inherits), own) {
        (base, None) => base.unwrap_or_default(),
        (None, Some(own)) => own,
        (Some(base), Some(own)) => over(own, base),
    }
}
