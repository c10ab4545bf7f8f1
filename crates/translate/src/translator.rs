//! From a snapshot to what one proxy is given, remembering what was rendered before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hawser_model::authn::MtlsMode;
use hawser_model::mesh::Mesh;
use hawser_model::service::Resolution;
use hawser_model::snapshot::Workload;
use hawser_model::traffic::{ClientTlsMode, DestinationRule, LbPolicy};
use hawser_model::{
    Hostname, Labels, Problem, Protocol, Proxy, ProxyKind, Service, Shared, Snapshot, Str,
};
use hawser_proto::envoy::config::cluster::v3::cluster::DiscoveryType;

use crate::audience::Audiences;
use crate::authn::NamespaceMtls;
use crate::cluster::{self, ClusterInput, OutboundCluster, SpecialCluster};
use crate::destination::{self, RuleIndex};
use crate::endpoints::{self, EndpointInput, locality};
use crate::envoy_filter::{self, Patches, ServicePorts};
use crate::listener::ListenerSpec;
use crate::listener::spec::HttpShared;
use crate::memo::{Memo, Rendered};
use crate::names::NamesInput;
use crate::resource::Resources;
use crate::route::RouteInput;
use crate::scope::{Scope, ScopeKey};
use crate::view::{ClientView, NetworkView};

/// Entries that each memory holds at most: some times what a mesh of 10,000 services needs.
const LIMIT: usize = 200_000;

/// Translates one snapshot for any proxy.
pub struct Translator {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) rules: RuleIndex,
    pub(crate) audiences: Audiences,
    scopes: Memo<ScopeKey, Arc<Scope>>,
    mtls: Memo<Str, Shared<NamespaceMtls>>,
    pub(crate) clusters: Memo<(ClusterInput, Patches, bool), Option<Rendered>>,
    endpoints: Memo<EndpointInput, Rendered>,
    pub(crate) listeners: Memo<(ListenerSpec, Patches, bool), Option<Rendered>>,
    pub(crate) routes: Memo<(RouteInput, Patches, bool), Rendered>,
    pub(crate) names: Memo<NamesInput, Rendered>,
}

impl std::fmt::Debug for Translator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Translator")
            .field("version", &self.snapshot.version)
            .finish_non_exhaustive()
    }
}

/// One proxy under one snapshot: what most questions need.
pub(crate) struct Session<'a> {
    pub proxy: &'a Proxy,
    /// What decides the scope; asked of the whole proxy, of which an audience's session has only a part.
    pub key: ScopeKey,
    pub scope: Arc<Scope>,
    pub view: Shared<ClientView>,
    pub network: Shared<NetworkView>,
    pub workload: Option<Shared<Workload>>,
    /// Labels of the workload: those that the cluster knows, else those of the node.
    pub labels: Labels,
    pub patches: envoy_filter::Plan,
    /// Logs and traces of outbound listeners, where they were found out already.
    pub http: Option<Shared<HttpShared>>,
}

impl Session<'_> {
    pub(crate) fn is_router(&self) -> bool {
        self.proxy.kind != ProxyKind::Sidecar
    }

    pub(crate) fn rule(&self, host: &Hostname) -> Option<Shared<DestinationRule>> {
        self.scope.rule(host, self.proxy)
    }

    /// The rule for the proxy's own service: those for certain clients do not count.
    pub(crate) fn inbound_rule(&self, host: &Hostname) -> Option<Shared<DestinationRule>> {
        let rules = self.scope.rules.get(host)?;
        rules
            .iter()
            .rfind(|r| r.workload_selector.is_empty())
            .cloned()
    }

    /// True for ports that the proxy itself listens on.
    pub(crate) fn is_reserved(&self, mesh: &Mesh, port: u16) -> bool {
        port == mesh.outbound_port
            || port == mesh.inbound_port
            || self.proxy.own_ports.contains(&port)
    }
}

impl Translator {
    /// A translator that remembers nothing yet.
    pub fn new(snapshot: Arc<Snapshot>) -> Self {
        Self {
            rules: RuleIndex::new(&snapshot),
            audiences: Audiences::default(),
            scopes: Memo::new(LIMIT),
            mtls: Memo::new(LIMIT),
            clusters: Memo::new(LIMIT),
            endpoints: Memo::new(LIMIT),
            listeners: Memo::new(LIMIT),
            routes: Memo::new(LIMIT),
            names: Memo::new(LIMIT),
            snapshot,
        }
    }

    /// A translator for the next snapshot, which remembers what was asked for under the previous one.
    pub fn next(previous: &Self, snapshot: Arc<Snapshot>) -> Self {
        Self {
            rules: RuleIndex::new(&snapshot),
            audiences: previous.audiences.next(),
            // Scopes and modes depend on the snapshot itself.
            scopes: Memo::new(LIMIT),
            mtls: Memo::new(LIMIT),
            clusters: previous.clusters.next(),
            endpoints: previous.endpoints.next(),
            listeners: previous.listeners.next(),
            routes: previous.routes.next(),
            names: previous.names.next(),
            snapshot,
        }
    }

    /// The snapshot.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    pub(crate) fn session<'a>(&self, proxy: &'a Proxy) -> Session<'a> {
        let key = ScopeKey::of(&self.snapshot, proxy);
        let workload = self.workload(proxy);
        let labels = match &workload {
            Some(w) if !w.labels.is_empty() => w.labels.clone(),
            _ => proxy.labels.clone(),
        };
        Session {
            patches: envoy_filter::plan(&self.snapshot, proxy, &labels, || {
                service_ports(proxy, workload.as_ref())
            }),
            workload,
            labels,
            proxy,
            scope: self.scopes.get(key.clone(), |key| {
                Arc::new(Scope::new(&self.snapshot, &self.rules, key))
            }),
            key,
            view: Shared::new(ClientView::of(proxy)),
            network: Shared::new(NetworkView::of(proxy)),
            http: None,
        }
    }

    pub(crate) fn mtls(&self, namespace: &Str) -> Shared<NamespaceMtls> {
        self.mtls.get(namespace.clone(), |ns| {
            Shared::new(NamespaceMtls::new(&self.snapshot, ns))
        })
    }

    pub(crate) fn special_clusters(&self, session: &Session<'_>) -> Vec<ClusterInput> {
        use cluster::Which::{BlackHole, InboundPassthrough, Passthrough};
        let which: &[_] = if session.is_router() {
            &[BlackHole]
        } else {
            &[BlackHole, Passthrough, InboundPassthrough]
        };
        which
            .iter()
            .map(|which| {
                ClusterInput::Special(SpecialCluster {
                    which: *which,
                    mesh: self.snapshot.mesh.clone(),
                    view: session.view.clone(),
                })
            })
            .collect()
    }

    pub(crate) fn outbound_clusters(&self, session: &Session<'_>) -> Vec<ClusterInput> {
        let mut out = Vec::new();
        for service in session.scope.services.values() {
            if service.resolution == Resolution::Alias {
                continue;
            }
            let rule = session.rule(&service.host);
            for port in service.ports.iter().filter(|p| p.protocol != Protocol::Udp) {
                let subsets = rule.iter().flat_map(|r| &r.subsets).map(|s| s.name.clone());
                for subset in std::iter::once(Str::from("")).chain(subsets) {
                    out.push(ClusterInput::Outbound(self.outbound_cluster(
                        session,
                        service,
                        rule.clone(),
                        port.number,
                        subset,
                        false,
                    )));
                }
            }
        }
        out
    }

    fn outbound_cluster(
        &self,
        session: &Session<'_>,
        service: &Shared<Service>,
        rule: Option<Shared<DestinationRule>>,
        port: u16,
        subset: Str,
        sni_dnat: bool,
    ) -> OutboundCluster {
        let dns = matches!(
            service.resolution,
            Resolution::Dns | Resolution::DnsRoundRobin
        )
        .then(|| {
            self.endpoint_input(
                session,
                "".into(),
                service,
                rule.clone(),
                port,
                subset.clone(),
                sni_dnat,
            )
        });
        OutboundCluster {
            mtls: self.expected_mtls(service, rule.as_deref(), port, &subset),
            service: service.clone(),
            port,
            subset,
            rule,
            mesh: self.snapshot.mesh.clone(),
            view: session.view.clone(),
            sni_dnat,
            dns,
        }
    }

    /// What a service's endpoints are expected to do about mutual TLS (Istio's `BestEffortInferServiceMTLSMode`).
    fn expected_mtls(
        &self,
        service: &Shared<Service>,
        rule: Option<&DestinationRule>,
        port: u16,
        subset: &str,
    ) -> Option<MtlsMode> {
        if service.mesh_external {
            return None;
        }
        let part = rule.and_then(|r| destination::subset(r, subset));
        let passthrough = service.resolution == Resolution::Passthrough
            || destination::policy(rule, part, port)
                .load_balancer
                .is_some_and(|l| l.policy == LbPolicy::Passthrough);
        if passthrough {
            // The sidecar cannot tell one original destination from another: all or none.
            let name = service.port(port).map(|p| &p.name);
            let endpoints = self.snapshot.endpoints.get(&service.key());
            let mut all = endpoints
                .iter()
                .flat_map(|set| set.iter())
                .filter(|e| Some(&e.service_port) == name)
                .peekable();
            if all.peek().is_none() || all.any(|e| !e.mutual_tls) {
                return Some(MtlsMode::Disable);
            }
        }
        let namespace = &service.meta.namespace;
        Some(self.mtls(namespace).of_namespace(namespace))
    }

    #[allow(clippy::too_many_arguments)] // They are the parts of a cluster's name.
    fn endpoint_input(
        &self,
        session: &Session<'_>,
        name: Str,
        service: &Shared<Service>,
        rule: Option<Shared<DestinationRule>>,
        port: u16,
        subset: Str,
        sni_dnat: bool,
    ) -> EndpointInput {
        let mesh = &self.snapshot.mesh;
        let part = rule
            .as_deref()
            .and_then(|r| destination::subset(r, &subset));
        let policy = destination::policy_in(mesh, rule.as_deref(), part, port);
        let setting = locality::Setting::of(mesh, service, &policy);
        EndpointInput {
            name,
            endpoints: self.snapshot.endpoints.get(&service.key()).cloned(),
            gateways: self.snapshot.network_gateways.clone(),
            mesh: mesh.clone(),
            view: session.network.clone(),
            near: setting
                .near(session.proxy, policy.outlier.is_some())
                .map(Shared::new),
            mtls: self.mtls(&service.meta.namespace),
            node: service.node_local.then(|| session.proxy.node.clone()),
            dns: matches!(
                service.resolution,
                Resolution::Dns | Resolution::DnsRoundRobin
            ),
            service: service.clone(),
            port,
            subset,
            rule,
            sni_dnat,
        }
    }

    /// Clusters for SNIs of `AUTO_PASSTHROUGH` servers.
    pub(crate) fn sni_clusters(&self, session: &Session<'_>) -> Vec<ClusterInput> {
        let targets = self.sni_targets(session);
        let mut seen = BTreeSet::new();
        targets
            .values()
            .filter(|t| seen.insert(t.cluster()))
            .map(|t| {
                ClusterInput::Outbound(self.outbound_cluster(
                    session,
                    &t.service,
                    t.rule.clone(),
                    t.port,
                    t.subset.clone(),
                    true,
                ))
            })
            .collect()
    }

    pub(crate) fn endpoints_of(&self, session: &Session<'_>, name: &str) -> Option<Rendered> {
        let (parts, sni_dnat) = match name.strip_prefix("outbound_.") {
            Some(rest) => (rest.splitn(3, "_.").collect::<Vec<_>>(), true),
            None => (
                name.strip_prefix("outbound|")?.splitn(3, '|').collect(),
                false,
            ),
        };
        let [port, subset, host] = parts[..] else {
            return None;
        };
        let port: u16 = port.parse().ok()?;
        let service = session.scope.services.get(host)?;
        service.port(port)?;
        let rule = session.rule(&service.host);
        let kind = cluster::effective_discovery(
            service,
            rule.as_deref(),
            subset,
            port,
            session.is_router(),
        );
        (kind == DiscoveryType::Eds).then(|| {
            let input = self.endpoint_input(
                session,
                name.into(),
                service,
                rule,
                port,
                subset.into(),
                sni_dnat,
            );
            self.endpoints.get(input, endpoints::render)
        })
    }

    /// What is wrong with the configuration as this proxy alone sees it; the snapshot has what is wrong for all.
    pub(crate) fn problems(&self, session: &Session<'_>) -> Vec<Problem> {
        let mut problems = session.patches.problems.clone();
        if session.is_router() {
            problems.extend(self.gateway_problems(session));
        }
        problems
    }

    /// Rules that routes need to know: those with a consistent hash, or with TLS of their own.
    pub(crate) fn telling_rules(
        &self,
        session: &Session<'_>,
        hosts: impl IntoIterator<Item = Hostname>,
    ) -> BTreeMap<Hostname, Shared<DestinationRule>> {
        let tells = |rule: &DestinationRule| {
            let policies = rule
                .policy
                .iter()
                .chain(rule.subsets.iter().filter_map(|s| s.policy.as_ref()));
            policies
                .flat_map(|p| std::iter::once(&**p).chain(p.ports.values()))
                .any(|p| {
                    let hash = p
                        .load_balancer
                        .as_ref()
                        .is_some_and(|l| matches!(l.policy, LbPolicy::ConsistentHash(_)));
                    hash || p.tls.as_ref().is_some_and(|t| {
                        matches!(t.mode, ClientTlsMode::Simple | ClientTlsMode::Mutual)
                    })
                })
        };
        hosts
            .into_iter()
            .filter_map(|host| {
                let rule = session.rule(&host)?;
                tells(&rule).then_some((host, rule))
            })
            .collect()
    }
}

/// What a gateway's ports stand for.
fn service_ports(proxy: &Proxy, workload: Option<&Shared<Workload>>) -> ServicePorts {
    let mut out = ServicePorts::new();
    if proxy.kind == ProxyKind::Router {
        for (_, port, target) in workload.iter().flat_map(|w| &w.serves) {
            out.entry(*target).or_default().insert(*port);
        }
    }
    out
}

/// Translates without remembering anything: the same result as [`Translator::all`].
pub fn translate(snapshot: &Snapshot, proxy: &Proxy) -> (Resources, Vec<Problem>) {
    let resources = Translator::new(Arc::new(snapshot.clone())).all(proxy);
    let problems = resources.problems.clone();
    (resources, problems)
}
