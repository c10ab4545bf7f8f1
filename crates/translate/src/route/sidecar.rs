//! Routes of sidecars' outbound listeners.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;

use hawser_model::mesh::Mesh;
use hawser_model::route::{Destination, RouteSemantics, VirtualService};
use hawser_model::service::{Registry, Resolution};
use hawser_model::sidecar::OutboundPolicy;
use hawser_model::{Hostname, Service, Shared, Str};
use hawser_proto::envoy::config::route::v3 as rds;

use super::{Caller, Context, Destinations, action, http_routes};
use crate::cluster::PASSTHROUGH;
use crate::wire;

/// A route configuration of a sidecar.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct SidecarRoutes {
    /// A port, or `host:port` for a sniffed port with an address of its own.
    pub name: Str,
    pub port: u16,
    /// Services with that port, each with its addresses as the caller sees them, and `ExternalName`s that have it.
    pub services: Vec<(Shared<Service>, u16)>,
    /// Other names of these services (`ExternalName`).
    pub aliases: BTreeMap<Hostname, Vec<Hostname>>,
    pub routes: Vec<Shared<VirtualService>>,
    pub to: Shared<Destinations>,
    pub caller: Shared<Caller>,
    pub mesh: Shared<Mesh>,
    pub policy: OutboundPolicy,
    /// Hosts that some service has on that port, whatever it speaks.
    pub known: Shared<BTreeSet<Hostname>>,
    pub announces: bool,
    /// For one host alone: its virtual host takes every authority.
    pub single: bool,
}

struct Host<'a> {
    name: String,
    domains: Vec<String>,
    port: u16,
    routes: Vec<rds::Route>,
    service: Option<&'a Service>,
}

pub(super) fn render(input: &SidecarRoutes) -> rds::RouteConfiguration {
    let mut hosts = from_rules(input);
    let taken: BTreeSet<String> = hosts
        .iter()
        .filter_map(|h| h.service.map(|s| format!("{}:{}", s.host, h.port)))
        .collect();
    for (service, port) in &input.services {
        if service.resolution == Resolution::Alias {
            // It answers to the names of what it stands for, unless a VirtualService names it.
            continue;
        }
        if taken.contains(&format!("{}:{port}", service.host)) {
            continue;
        }
        let cx = context(input, *port, RouteSemantics::Istio);
        let destination = Destination {
            host: service.host.clone(),
            subset: "".into(),
            port: Some(*port),
        };
        hosts.push(Host {
            name: format!("{}:{port}", service.host),
            domains: domains(service, input),
            port: *port,
            routes: vec![action::default_route(&destination, &cx)],
            service: Some(service),
        });
    }
    drop_twins(&mut hosts);
    if input.single {
        for host in &mut hosts {
            host.domains = vec!["*".to_owned()];
        }
    }
    // Virtual hosts are large: they are made where they stay.
    hosts.sort_by(|a, b| a.name.cmp(&b.name));
    let mut virtual_hosts = Vec::with_capacity(hosts.len() + 1);
    virtual_hosts.extend(hosts.into_iter().map(|host| rds::VirtualHost {
        name: host.name,
        domains: host.domains,
        routes: host.routes,
        include_request_attempt_count: true,
        ..Default::default()
    }));
    if !virtual_hosts
        .iter()
        .any(|v| v.domains.iter().any(|d| d == "*"))
    {
        virtual_hosts.push(everything_else(input));
    }
    rds::RouteConfiguration {
        name: input.name.to_string(),
        virtual_hosts,
        validate_clusters: Some(wire::boolv(false)),
        max_direct_response_body_size_bytes: Some(wire::u32v(1_048_576)),
        ignore_port_in_host_matching: true,
        ..Default::default()
    }
}

/// Each domain leads to the first host that claims it; a short name never takes the place of another host's full name.
fn drop_twins(hosts: &mut Vec<Host<'_>>) {
    let full: HashSet<String> = hosts
        .iter()
        .filter_map(|h| h.domains.first().cloned())
        .collect();
    let mut seen = HashSet::new();
    hosts.retain_mut(|host| {
        let first = host.domains.first().cloned();
        host.domains
            .retain(|d| (first.as_ref() == Some(d) || !full.contains(d)) && seen.insert(d.clone()));
        !host.domains.is_empty()
    });
}

fn context<'a>(input: &'a SidecarRoutes, port: u16, semantics: RouteSemantics) -> Context<'a> {
    Context {
        caller: &input.caller,
        to: &input.to,
        mesh: &input.mesh,
        port,
        tls: false,
        announces: input.announces,
        semantics,
        only_port: false,
    }
}

/// Virtual hosts that VirtualServices give rise to: for the services that they name, and for hosts that no service has,
/// which answer beside these services, or on port 80.
fn from_rules(input: &SidecarRoutes) -> Vec<Host<'_>> {
    let by_host: BTreeMap<&Hostname, (&Service, u16)> = input
        .services
        .iter()
        .map(|(s, port)| (&s.host, (&**s, *port)))
        .collect();
    let wildcards = most_specific_wildcards(input);
    let mut out: Vec<Host<'_>> = Vec::new();
    for (at, rule) in input.routes.iter().enumerate() {
        let mut services = Vec::new();
        let mut others = Vec::new();
        for host in &rule.hosts {
            if !host.is_wildcard() {
                match by_host.get(host) {
                    Some(found) => services.push(*found),
                    None if !input.known.contains(host) => others.push(host),
                    None => {}
                }
            } else if rule.semantics == RouteSemantics::GatewayApi {
                others.push(host);
            } else {
                for (service, port) in by_host.values() {
                    if wildcards.get(&service.host) == Some(&at) && service.host.overlaps(host) {
                        services.push((*service, *port));
                    }
                }
                if !input.known.iter().any(|k| k.overlaps(host)) {
                    others.push(host);
                }
            }
        }
        if rule.semantics == RouteSemantics::GatewayApi {
            // A route holds for the callers of its namespace, or for the services of its namespace.
            let namespace = &rule.meta.namespace;
            services.retain(|(s, _)| {
                s.meta.namespace == *namespace || input.caller.namespace == *namespace
            });
            if services.is_empty() {
                continue;
            }
        }
        if input.single {
            others.clear();
        }
        if services.is_empty() && (others.is_empty() || input.port != 80) {
            continue;
        }
        let port = services.first().map_or(80, |(_, p)| *p);
        let cx = context(input, port, rule.semantics);
        let routes = http_routes(&rule.http, &cx);
        if routes.is_empty() {
            continue;
        }
        for host in others {
            out.push(Host {
                name: format!("{host}:{port}"),
                domains: vec![host.to_string()],
                port,
                routes: routes.clone(),
                service: None,
            });
        }
        for (service, port) in services {
            out.push(Host {
                name: format!("{}:{port}", service.host),
                domains: domains(service, input),
                port,
                routes: routes.clone(),
                service: Some(service),
            });
        }
    }
    // The older VirtualService keeps a host that two claim.
    let mut seen = BTreeSet::new();
    out.retain(|h| seen.insert(h.name.clone()));
    out
}

/// For services that only wildcard hosts fit: the place of the VirtualService with the most specific one.
fn most_specific_wildcards(input: &SidecarRoutes) -> BTreeMap<Hostname, usize> {
    let mut out = BTreeMap::new();
    for (service, _) in &input.services {
        let mut best: Option<(&Hostname, usize)> = None;
        let mut named = false;
        for (at, rule) in input.routes.iter().enumerate() {
            for host in &rule.hosts {
                named |= *host == service.host && !host.is_wildcard();
                if host.is_wildcard()
                    && service.host.overlaps(host)
                    && best.is_none_or(|(b, _)| Hostname::by_specificity(host, b).is_lt())
                {
                    best = Some((host, at));
                }
            }
        }
        if let (false, Some((_, at))) = (named, best) {
            out.insert(service.host.clone(), at);
        }
    }
    out
}

/// Names under which a service may be called: in full, in short as far as the caller's namespace allows, and by address.
fn domains(service: &Service, input: &SidecarRoutes) -> Vec<String> {
    let (namespace, domain) = (&*input.caller.namespace, &*input.mesh.dns_domain);
    let mut out = names(&service.host, namespace, domain);
    for alias in input.aliases.get(&service.host).into_iter().flatten() {
        out.extend(names(alias, namespace, domain));
    }
    if service.headless && service.registry == Registry::Kubernetes {
        // Each pod has a name below its service's.
        let below: Vec<String> = out.iter().map(|d| format!("*.{d}")).collect();
        out.extend(below);
    }
    if !service.headless {
        for net in service.addresses_in(&input.caller.cluster) {
            if net.prefix_len() == net.max_prefix_len() {
                out.push(match net.addr() {
                    IpAddr::V4(ip) => ip.to_string(),
                    IpAddr::V6(ip) => format!("[{ip}]"),
                });
            }
        }
    }
    out
}

/// A host in full, with a final dot, and in short as far as a namespace of callers allows.
pub(crate) fn names(host: &Hostname, caller: &str, domain: &str) -> Vec<String> {
    let host = host.as_str();
    let mut out = vec![host.to_owned()];
    if host.starts_with('*') {
        return out;
    }
    out.push(format!("{host}."));
    let suffix = format!(".svc.{domain}");
    if let Some(rest) = host.strip_suffix(&suffix)
        && let Some((name, namespace)) = rest.split_once('.')
    {
        if namespace == caller {
            out.push(name.to_owned());
        }
        out.push(rest.to_owned());
        out.push(format!("{rest}.svc"));
    }
    out
}

/// What no service answers for.
fn everything_else(input: &SidecarRoutes) -> rds::VirtualHost {
    use rds::route_action::ClusterSpecifier;
    let to = |cluster: String| {
        rds::route::Action::Route(rds::RouteAction {
            cluster_specifier: Some(ClusterSpecifier::Cluster(cluster)),
            timeout: Some(wire::seconds(0)),
            ..Default::default()
        })
    };
    let (name, action) = match &input.policy {
        OutboundPolicy::AllowAny => ("allow_any", to(PASSTHROUGH.to_owned())),
        OutboundPolicy::EgressProxy(d) => (
            "allow_any",
            to(context(input, input.port, RouteSemantics::Istio).cluster(d)),
        ),
        OutboundPolicy::RegistryOnly => (
            "block_all",
            rds::route::Action::DirectResponse(rds::DirectResponseAction {
                status: 502,
                ..Default::default()
            }),
        ),
    };
    rds::VirtualHost {
        name: name.to_owned(),
        domains: vec!["*".to_owned()],
        routes: vec![rds::Route {
            name: name.to_owned(),
            r#match: Some(super::matching::route_match(None)),
            action: Some(action),
            ..Default::default()
        }],
        include_request_attempt_count: true,
        ..Default::default()
    }
}
