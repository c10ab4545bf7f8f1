//! What a proxy sees: services, routes and rules that Sidecars, `exportTo` and precedence leave.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use hawser_model::endpoint::Address;
use hawser_model::gateway::NamespaceMatch;
use hawser_model::route::{GatewayRef, HttpAction, L4Match, RouteSemantics, VirtualService};
use hawser_model::service::{Registry, Resolution};
use hawser_model::sidecar::{CaptureMode, EgressListener, EgressPort, OutboundPolicy, Sidecar};
use hawser_model::traffic::{DestinationRule, TrafficPolicy};
use hawser_model::{Hostname, Proxy, ProxyKind, Service, Shared, Snapshot, Str, Visibility};
use ipnet::IpNet;

use crate::destination::RuleIndex;

/// What decides a scope: proxies with the same key share it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct ScopeKey {
    pub namespace: Str,
    pub router: bool,
    /// Whether allocated addresses of ServiceEntries mean something to the proxy: its own DNS answers with them.
    pub allocated: bool,
    pub ipv4: bool,
    pub ipv6: bool,
    pub sidecar: Option<Shared<Sidecar>>,
}

impl ScopeKey {
    pub(crate) fn of(snapshot: &Snapshot, proxy: &Proxy) -> Self {
        Self {
            namespace: proxy.namespace.clone(),
            router: proxy.kind != ProxyKind::Sidecar,
            allocated: proxy.dns_capture || proxy.kind == ProxyKind::Waypoint,
            ipv4: proxy.has_ipv4(),
            ipv6: proxy.has_ipv6(),
            sidecar: (proxy.kind == ProxyKind::Sidecar)
                .then(|| sidecar_for(snapshot, proxy))
                .flatten(),
        }
    }
}

/// The Sidecar that holds for a proxy: one of its namespace that selects it, else one of its namespace for all, else one
/// of the root namespace for all.
fn sidecar_for(snapshot: &Snapshot, proxy: &Proxy) -> Option<Shared<Sidecar>> {
    let own = |s: &&Shared<Sidecar>| s.meta.namespace == proxy.namespace;
    let sidecars = &snapshot.sidecars;
    sidecars
        .iter()
        .filter(own)
        .find(|s| !s.selector.is_empty() && s.selector.selects(&proxy.labels))
        .or_else(|| sidecars.iter().filter(own).find(|s| s.selector.is_empty()))
        .or_else(|| {
            sidecars
                .iter()
                .find(|s| s.meta.namespace == snapshot.mesh.root_namespace && s.selector.is_empty())
        })
        .cloned()
}

/// One part of what is seen: of a port of its own, or the rest.
#[derive(Debug)]
pub(crate) struct Egress {
    pub port: Option<EgressPort>,
    pub bind: Str,
    pub capture: CaptureMode,
    pub services: Vec<Shared<Service>>,
    pub routes: Vec<Shared<VirtualService>>,
}

/// What a proxy sees.
#[derive(Debug)]
pub(crate) struct Scope {
    pub egress: Vec<Egress>,
    /// All services of all parts, and those that their routes lead to.
    pub services: BTreeMap<Hostname, Shared<Service>>,
    pub rules: HashMap<Hostname, Vec<Shared<DestinationRule>>>,
    pub outbound_policy: OutboundPolicy,
    pub sidecar: Option<Shared<Sidecar>>,
    /// True if it matters who calls: rules, routes or localities ask for the caller's labels or node.
    pub asks_who: bool,
    /// Addresses of pods that are called one by one, each by a listener that its own sidecar does not have.
    pub pods: HashSet<IpAddr>,
}

impl Scope {
    pub(crate) fn new(snapshot: &Snapshot, rules: &RuleIndex, key: &ScopeKey) -> Self {
        let visible = visible_services(snapshot, key);
        let routes = mesh_routes(snapshot, &key.namespace);
        let everything = EgressListener {
            port: None,
            bind: "".into(),
            capture: CaptureMode::Default,
            hosts: Hostname::parse("*")
                .map(|all| (NamespaceMatch::Any, all))
                .into_iter()
                .collect(),
        };
        let own = key.sidecar.as_ref().map(|s| &*s.egress).unwrap_or_default();
        let listeners = match own {
            [] => std::slice::from_ref(&everything),
            own => own,
        };
        // Gateways prefer no namespace to another.
        let home = if key.router { "" } else { &key.namespace };
        let mut by_host: BTreeMap<&Hostname, Vec<&Shared<Service>>> = BTreeMap::new();
        if !own.is_empty() {
            for service in &visible {
                by_host.entry(&service.host).or_default().push(service);
            }
        }
        let mut services: BTreeMap<Hostname, Shared<Service>> = BTreeMap::new();
        let mut egress = Vec::new();
        for listener in listeners {
            let part = import(listener, home, &visible, &routes);
            for service in &part.services {
                add(&mut services, service);
            }
            for service in led_to(&part, &key.namespace, &by_host) {
                add(&mut services, &service);
            }
            egress.push(part);
        }
        let rules: HashMap<_, _> = services
            .iter()
            .map(|(host, s)| (host.clone(), rules.of_service(&key.namespace, s)))
            .filter(|(_, r)| !r.is_empty())
            .collect();
        let asks_who = services.values().any(service_asks_who)
            || rules.values().flatten().any(rule_asks_who)
            || egress.iter().flat_map(|e| &e.routes).any(route_asks_who)
            || !snapshot.mesh.locality.failover_priority.is_empty()
            || (snapshot.mesh.zone_aware.as_ref()).is_some_and(|z| !z.failover_priority.is_empty());
        let called_by_pod = services
            .values()
            .filter(|s| s.resolution == Resolution::Passthrough);
        let pods = called_by_pod
            .filter_map(|s| snapshot.endpoints.get(&s.key()))
            .flat_map(|set| set.iter())
            .filter_map(|e| match e.address {
                Address::Ip(ip) => Some(ip),
                _ => None,
            })
            .collect();
        Self {
            asks_who,
            pods,
            egress,
            services,
            rules,
            outbound_policy: key
                .sidecar
                .as_ref()
                .and_then(|s| s.outbound_policy.clone())
                .unwrap_or_else(|| snapshot.mesh.outbound_policy.clone()),
            sidecar: key.sidecar.clone(),
        }
    }

    /// The rule of a host for a client.
    pub(crate) fn rule(&self, host: &Hostname, proxy: &Proxy) -> Option<Shared<DestinationRule>> {
        crate::destination::for_client(self.rules.get(host)?, &proxy.namespace, &proxy.labels)
    }
}

fn service_asks_who(service: &Shared<Service>) -> bool {
    service.node_local || service.traffic_distribution.is_some()
}

fn rule_asks_who(rule: &Shared<DestinationRule>) -> bool {
    let policies = rule
        .policy
        .iter()
        .chain(rule.subsets.iter().filter_map(|s| s.policy.as_ref()));
    let by_labels = |p: &TrafficPolicy| {
        let balancer = p.load_balancer.as_ref();
        let locality = balancer.and_then(|l| l.locality.as_ref());
        let zones = balancer.and_then(|l| l.zone_aware.as_ref());
        locality.is_some_and(|l| !l.failover_priority.is_empty())
            || zones.is_some_and(|z| !z.failover_priority.is_empty())
    };
    !rule.workload_selector.is_empty()
        || policies
            .flat_map(|p| std::iter::once(&**p).chain(p.ports.values()))
            .any(by_labels)
}

/// True if some match of a VirtualService asks for the caller's labels.
pub(crate) fn route_asks_who(route: &Shared<VirtualService>) -> bool {
    let http = route.http.iter().flat_map(|h| &h.matches);
    let l4 = |m: &L4Match| !m.source_labels.is_empty();
    http.into_iter().any(|m| !m.source_labels.is_empty())
        || route.tls.iter().flat_map(|t| &t.matches).any(l4)
        || route.tcp.iter().flat_map(|t| &t.matches).any(l4)
}

/// Services that a namespace may see, those for fewer eyes first, older before younger (Istio's
/// `servicesExportedToNamespace`): where two are in each other's way the first one counts.
fn visible_services(snapshot: &Snapshot, key: &ScopeKey) -> Vec<Shared<Service>> {
    let mut all: Vec<_> = snapshot
        .services
        .iter()
        .filter(|s| s.visibility.allows(&key.namespace))
        .map(|s| as_seen(s, key))
        .collect();
    all.sort_by_cached_key(|s| {
        let name = match s.registry {
            Registry::Kubernetes => s.meta.name.clone(),
            Registry::External => s.host.as_str().into(),
        };
        (
            eyes(&s.visibility, &s.meta.namespace, &key.namespace),
            s.meta.created_s,
            name,
            s.meta.namespace.clone(),
        )
    });
    all
}

/// A service with the addresses that mean something to the proxy: allocated ones are for those whose own DNS answers with
/// them; of several families the proxy's own counts (Istio's `GetAllAddressesForProxy`).
fn as_seen(service: &Shared<Service>, key: &ScopeKey) -> Shared<Service> {
    let speaks = |v4: bool| if v4 { key.ipv4 } else { key.ipv6 };
    let lacks = |nets: &Vec<IpNet>| {
        nets.iter().any(|n| speaks(n.addr().is_ipv4()))
            && nets.iter().any(|n| !speaks(n.addr().is_ipv4()))
    };
    let allocated = |ip: &IpAddr| key.allocated && speaks(ip.is_ipv4());
    let virtual_ips = service.registry == Registry::Kubernetes;
    let same = service.auto_addresses.iter().all(allocated)
        && !(virtual_ips && service.addresses.values().any(lacks));
    if same {
        return service.clone();
    }
    let mut out = (**service).clone();
    out.auto_addresses.retain(allocated);
    for nets in out.addresses.values_mut().filter(|n| lacks(n)) {
        nets.retain(|n| speaks(n.addr().is_ipv4()));
    }
    Shared::new(out)
}

/// Whether something is for its own namespace, for some namespaces, or for all.
fn eyes(visibility: &Visibility, own: &str, namespace: &str) -> u8 {
    match visibility {
        Visibility::Public => 2,
        _ if own == namespace => 0,
        _ => 1,
    }
}

/// VirtualServices for sidecars that a namespace may see.
fn mesh_routes(snapshot: &Snapshot, namespace: &str) -> Vec<Shared<VirtualService>> {
    routes_of(snapshot, &GatewayRef::Mesh, namespace)
}

/// VirtualServices bound to a gateway that a namespace may see, in order of precedence: its own private ones, those
/// exported to it, those for all; the older before the younger (Istio's `VirtualServicesForGateway`).
pub(crate) fn routes_of(
    snapshot: &Snapshot,
    gateway: &GatewayRef,
    namespace: &str,
) -> Vec<Shared<VirtualService>> {
    let mut out: Vec<_> = snapshot
        .routes
        .iter()
        .filter(|r| r.gateways.contains(gateway) && r.visibility.allows(namespace))
        .cloned()
        .collect();
    out.sort_by_key(|r| {
        // A namespace's own routes of the Gateway API come before others' for all ("consumer" routes, GEP-1426).
        let own = r.semantics == RouteSemantics::GatewayApi && &*r.meta.namespace == namespace;
        (eyes(&r.visibility, &r.meta.namespace, namespace), !own)
    });
    out
}

fn import(
    listener: &EgressListener,
    namespace: &str,
    visible: &[Shared<Service>],
    routes: &[Shared<VirtualService>],
) -> Egress {
    let from = |ns: &str, of: &NamespaceMatch| match of {
        NamespaceMatch::Any => true,
        NamespaceMatch::Only(only) => &**only == ns,
        NamespaceMatch::Nothing => false,
    };
    // `~` anywhere in the list means that nothing is seen.
    let nothing = listener
        .hosts
        .iter()
        .any(|(ns, _)| *ns == NamespaceMatch::Nothing);
    let hosts: &[_] = if nothing { &[] } else { &listener.hosts };
    let port = listener.port.as_ref().map(|p| p.number).filter(|p| *p != 0);
    let imported: Vec<_> = visible
        .iter()
        .filter(|s| {
            hosts
                .iter()
                .any(|(ns, host)| from(&s.meta.namespace, ns) && s.host.is_subset_of(host))
        })
        .filter_map(|s| match port {
            Some(port) => with_ports(s, |p| p == port),
            None => Some(s.clone()),
        })
        .collect();
    let chosen = chosen(&imported, namespace);
    Egress {
        port: listener.port.clone(),
        bind: listener.bind.clone(),
        capture: listener.capture,
        services: imported
            .into_iter()
            .filter(|s| chosen.get(&s.host) == Some(&s.meta.namespace))
            .collect(),
        routes: routes
            .iter()
            .filter(|r| {
                hosts.iter().any(|(ns, host)| {
                    from(&r.meta.namespace, ns) && r.hosts.iter().any(|h| imports(r, h, host))
                })
            })
            .cloned()
            .collect(),
    }
}

/// True if a Sidecar's host brings a VirtualService's host with it; those of the Gateway API must lie within.
fn imports(route: &VirtualService, host: &Hostname, imported: &Hostname) -> bool {
    match route.semantics {
        RouteSemantics::GatewayApi => host.is_subset_of(imported),
        RouteSemantics::Istio | RouteSemantics::Ingress => host.overlaps(imported),
    }
}

/// One namespace for each host: the own one if it is among them, else that of a Kubernetes service, whose name nobody
/// takes by a ServiceEntry, else the first.
fn chosen(services: &[Shared<Service>], namespace: &str) -> BTreeMap<Hostname, Str> {
    let rank = |s: &Service| {
        (
            &*s.meta.namespace == namespace,
            s.registry == Registry::Kubernetes,
        )
    };
    let mut out: BTreeMap<&Hostname, &Shared<Service>> = BTreeMap::new();
    for service in services {
        let best = out.entry(&service.host).or_insert(service);
        if rank(service) > rank(best) {
            *best = service;
        }
    }
    out.into_iter()
        .map(|(host, s)| (host.clone(), s.meta.namespace.clone()))
        .collect()
}

/// Services that the VirtualServices of a part lead callers of a namespace to, as far as their ports are asked for.
fn led_to(
    part: &Egress,
    namespace: &Str,
    visible: &BTreeMap<&Hostname, Vec<&Shared<Service>>>,
) -> Vec<Shared<Service>> {
    let mut out = Vec::new();
    let to = part
        .routes
        .iter()
        .flat_map(|r| destinations(r, Some(namespace)));
    for (host, ports) in to {
        let found = visible
            .get(&host)
            .into_iter()
            .flatten()
            .min_by_key(|s| (s.meta.namespace != *namespace, s.meta.namespace.clone()));
        let Some(found) = found else {
            continue;
        };
        let own = part.port.as_ref().map(|p| p.number).filter(|p| *p != 0);
        out.extend(with_ports(found, |p| match own {
            Some(own) => p == own,
            None => ports.contains(&None) || ports.contains(&Some(p)),
        }));
    }
    out
}

fn with_ports(service: &Shared<Service>, keep: impl Fn(u16) -> bool) -> Option<Shared<Service>> {
    if service.ports.iter().all(|p| keep(p.number)) {
        return Some(service.clone());
    }
    let mut out = (**service).clone();
    out.ports.retain(|p| keep(p.number));
    (!out.ports.is_empty()).then(|| Shared::new(out))
}

/// Adds a service to those of earlier parts: the first of a host counts, unless only the second is of Kubernetes; the same
/// service imported for several ports has them all (Istio's `appendSidecarServices`).
fn add(services: &mut BTreeMap<Hostname, Shared<Service>>, service: &Shared<Service>) {
    let Some(present) = services.get(&service.host) else {
        services.insert(service.host.clone(), service.clone());
        return;
    };
    if present.registry != service.registry {
        if service.registry == Registry::Kubernetes {
            services.insert(service.host.clone(), service.clone());
        }
        return;
    }
    let missing: Vec<_> = service
        .ports
        .iter()
        .filter(|p| present.meta == service.meta && present.port(p.number).is_none())
        .cloned()
        .collect();
    if !missing.is_empty() {
        let mut out = (**present).clone();
        out.ports.extend(missing);
        services.insert(service.host.clone(), Shared::new(out));
    }
}

/// Hosts that a VirtualService leads to, with the ports named; `None` is all ports. With a namespace, only as far as its
/// rules are for callers of that namespace.
pub(crate) fn destinations(
    route: &VirtualService,
    caller: Option<&Str>,
) -> BTreeMap<Hostname, BTreeSet<Option<u16>>> {
    let mut out: BTreeMap<Hostname, BTreeSet<Option<u16>>> = BTreeMap::new();
    let mut add = |d: &hawser_model::route::Destination| {
        out.entry(d.host.clone()).or_default().insert(d.port);
    };
    let fits = |from: &Option<Str>| match (from, caller) {
        (Some(from), Some(caller)) => from == caller,
        _ => true,
    };
    let l4 = |matches: &[L4Match]| {
        matches.is_empty() || matches.iter().any(|m| fits(&m.source_namespace))
    };
    for http in &route.http {
        let matches = &http.matches;
        if !matches.is_empty() && !matches.iter().any(|m| fits(&m.source_namespace)) {
            continue;
        }
        if let HttpAction::Route(to) = &http.action {
            to.iter().for_each(|w| add(&w.destination));
        }
        http.mirrors.iter().for_each(|m| add(&m.destination));
    }
    for tls in route.tls.iter().filter(|t| l4(&t.matches)) {
        tls.route.iter().for_each(|w| add(&w.destination));
    }
    for tcp in route.tcp.iter().filter(|t| l4(&t.matches)) {
        tcp.route.iter().for_each(|w| add(&w.destination));
    }
    out
}
