//! Routes of gateways.

use std::collections::{BTreeMap, BTreeSet};

use hawser_model::gateway::{NamespaceMatch, ServerHost};
use hawser_model::mesh::Mesh;
use hawser_model::route::{GatewayRef, VirtualService};
use hawser_model::{Hostname, Shared, Str};
use hawser_proto::envoy::config::route::v3 as rds;

use super::{Caller, Context, Destinations, http_routes, matching};
use crate::wire;

/// A route configuration of a router.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct GatewayRoutes {
    pub name: Str,
    pub servers: Vec<GatewayServer>,
    pub to: Shared<Destinations>,
    /// Without gateways: each server adds its own.
    pub caller: Shared<Caller>,
    pub mesh: Shared<Mesh>,
}

/// A server with the VirtualServices bound to its gateway.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct GatewayServer {
    pub gateway: GatewayRef,
    /// As clients call it.
    pub port: u16,
    pub tls: bool,
    pub https_redirect: bool,
    pub hosts: Vec<ServerHost>,
    pub routes: Vec<Shared<VirtualService>>,
}

#[derive(Default)]
struct Host {
    port: u16,
    routes: Vec<rds::Route>,
    require_tls: bool,
}

pub(super) fn render(input: &GatewayRoutes) -> rds::RouteConfiguration {
    let mut hosts: BTreeMap<Hostname, Host> = BTreeMap::new();
    for server in &input.servers {
        add(&mut hosts, server, input);
    }
    let mut virtual_hosts: Vec<rds::VirtualHost> = hosts
        .into_iter()
        .map(|(name, host)| rds::VirtualHost {
            name: format!("{name}:{}", host.port),
            domains: vec![name.to_string()],
            routes: catch_all_last(host.routes),
            require_tls: if host.require_tls {
                rds::virtual_host::TlsRequirementType::All
            } else {
                rds::virtual_host::TlsRequirementType::None
            } as i32,
            include_request_attempt_count: true,
            ..Default::default()
        })
        .collect();
    if virtual_hosts.is_empty() {
        let port = input.servers.first().map_or(0, |s| s.port);
        virtual_hosts.push(rds::VirtualHost {
            name: format!("blackhole:{port}"),
            domains: vec!["*".to_owned()],
            ..Default::default()
        });
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

fn add(hosts: &mut BTreeMap<Hostname, Host>, server: &GatewayServer, input: &GatewayRoutes) {
    let caller = Caller {
        gateways: [server.gateway.clone()].into(),
        ..(*input.caller).clone()
    };
    for rule in &server.routes {
        let cx = Context {
            caller: &caller,
            to: &input.to,
            mesh: &input.mesh,
            port: server.port,
            tls: server.tls,
            announces: true,
            semantics: rule.semantics,
            only_port: true,
        };
        let common = common_hosts(&server.hosts, rule);
        if common.is_empty() {
            continue;
        }
        let routes = http_routes(&rule.http, &cx);
        if routes.is_empty() {
            continue;
        }
        for name in common {
            let host = hosts.entry(name).or_insert_with(|| Host {
                port: server.port,
                ..Default::default()
            });
            host.routes.extend(routes.iter().cloned());
            host.require_tls |= server.https_redirect;
        }
    }
    if server.https_redirect {
        for own in &server.hosts {
            let host = hosts.entry(own.host.clone()).or_insert_with(|| Host {
                port: server.port,
                ..Default::default()
            });
            host.require_tls = true;
        }
    }
}

/// Names that both a server and a VirtualService have; of two wildcards, or a wildcard and a name, the narrower.
fn common_hosts(server: &[ServerHost], rule: &VirtualService) -> BTreeSet<Hostname> {
    let mut out = BTreeSet::new();
    for own in server {
        let lets_in = match &own.namespace {
            NamespaceMatch::Any => true,
            NamespaceMatch::Only(ns) => *ns == rule.meta.namespace,
            NamespaceMatch::Nothing => false,
        };
        if !lets_in {
            continue;
        }
        for host in &rule.hosts {
            if own.host.is_subset_of(host) {
                out.insert(own.host.clone());
            } else if host.is_subset_of(&own.host) {
                out.insert(host.clone());
            }
        }
    }
    out
}

/// Routes of several VirtualServices follow each other; one that takes everything must not hide those after it.
fn catch_all_last(routes: Vec<rds::Route>) -> Vec<rds::Route> {
    let (all, mut some): (Vec<_>, Vec<_>) =
        routes.into_iter().partition(matching::takes_everything);
    some.extend(all);
    some
}
