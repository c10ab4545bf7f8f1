//! Ingresses: a Gateway for each, and a VirtualService for each host (Istio's `pilot/pkg/config/kube/ingress`).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use hawser_api::mesh::IngressControllerMode;
use hawser_api::message::Field;
use hawser_api::{Kind, Object, ObjectRef, core};
use hawser_model::gateway::{
    Gateway, NamespaceMatch, Server, ServerHost, ServerTls, ServerTlsMode,
};
use hawser_model::matching::HeaderOps;
use hawser_model::route::{
    Destination, GatewayRef, HttpAction, HttpMatch, HttpRoute, PathMatch, RouteSemantics,
    VirtualService, Weighted,
};
use hawser_model::{Hostname, Labels, Meta, Problem, Protocol, Shared, Str, Visibility};

use crate::config::{Converted, StatusUpdate};
use crate::gateway_api::segment_prefix;
use crate::names::{self, port, service_host};
use crate::notes::{CONFLICT, NOT_FOUND, Notes, SCHEMA, UNSUPPORTED};
use crate::world::{View, World};

type Ingress = Object<core::IngressSpec, core::IngressStatus>;

/// Whether an Ingress is ours: by the old annotation, by its class, or, without either, by MeshConfig's mode.
fn ours(ingress: &Ingress, view: &View<'_>, world: &World<'_>) -> bool {
    let mode = world.config.ingress_controller_mode;
    if mode == IngressControllerMode::Off {
        return false;
    }
    if let Some(class) = ingress.annotation("kubernetes.io/ingress.class") {
        return class == &*world.mesh.ingress_class;
    }
    let class = ingress.spec.ingress_class_name.as_ref();
    match class.and_then(|name| view.objects.ingress_classes.get("", name)) {
        Some(class) => class.spec.controller == "istio.io/ingress-controller",
        // Also where the class that it names is not there (Istio's `shouldProcessIngressWithClass`).
        None => mode == IngressControllerMode::Default,
    }
}

/// Converts all Ingresses of the configuration cluster.
pub fn convert(world: &World<'_>, out: &mut Converted, problems: &mut Vec<Problem>) {
    let Some(view) = world.config_view() else {
        return;
    };
    let mut ingresses: Vec<&Ingress> = view
        .objects
        .ingresses
        .iter()
        .map(|o| &**o)
        .filter(|i| view.shows(&i.meta.namespace) && ours(i, view, world))
        .collect();
    ingresses.sort_by_key(|i| names::meta(&i.meta));
    let reached = addresses(view, world);
    let mut by_host: BTreeMap<Hostname, Host> = BTreeMap::new();
    for ingress in ingresses {
        out.statuses.extend(status(ingress, &reached));
        let mut notes = Notes::new(problems, view.id, Kind::Ingress, &ingress.meta);
        let gateway = gateway(ingress, world, &mut notes);
        let at = GatewayRef::Named {
            namespace: gateway.meta.namespace.clone(),
            name: gateway.meta.name.clone(),
        };
        out.gateways.push(gateway);
        let mut told: BTreeSet<Hostname> = BTreeSet::new();
        if ingress.spec.default_backend.is_some() {
            notes.warn(
                UNSUPPORTED,
                "spec.defaultBackend",
                "the default backend has no effect",
                "add a rule without host for the path / instead",
            );
        }
        for (i, rule) in ingress.spec.rules.iter().enumerate() {
            let field = format!("spec.rules[{i}]");
            let Some(http) = &rule.http else {
                continue;
            };
            let host = match rule.host.as_str() {
                "" => Hostname::any(),
                text => match Hostname::parse(text) {
                    Ok(host) => host,
                    Err(error) => {
                        notes.error(
                            SCHEMA,
                            format!("{field}.host"),
                            format!("{text:?} is not a host: {error}"),
                            "write a full name or a wildcard such as *.example.com",
                        );
                        continue;
                    }
                },
            };
            if let Some(older) = by_host.get(&host).filter(|h| h.gateway != at)
                && ingress
                    .spec
                    .tls
                    .iter()
                    .any(|tls| tls.hosts.contains(&rule.host))
                && told.insert(host.clone())
            {
                notes.warn(
                    CONFLICT,
                    "spec.tls",
                    format!(
                        "TLS of {host} is what the older Ingress {} says",
                        older.ingress
                    ),
                    "say there what certificate the host has",
                );
            }
            // The oldest Ingress of a host gives it its gateway: port 80 is the same for all.
            let entry = by_host.entry(host).or_insert_with(|| Host {
                ingress: ingress.meta.name.clone(),
                namespace: ingress.meta.namespace.as_str().into(),
                gateway: at.clone(),
                routes: Vec::new(),
            });
            for (j, path) in http.paths.iter().enumerate() {
                let field = format!("{field}.http.paths[{j}]");
                let found = route(ingress, path, view, world, &field, &mut notes);
                entry.routes.extend(found);
            }
        }
    }
    out.routes.extend(
        by_host
            .into_iter()
            .map(|(host, h)| h.into_virtual_service(host)),
    );
}

/// Where the ingress gateway can be reached: addresses of MeshConfig's `ingressService`.
fn addresses(view: &View<'_>, world: &World<'_>) -> Vec<String> {
    let namespace = &*world.mesh.root_namespace;
    let services = &view.objects.services;
    let Some(service) = services.get(namespace, &world.mesh.ingress_service) else {
        return Vec::new();
    };
    if service.spec.type_ == "ExternalName" {
        return vec![service.spec.external_name.clone()];
    }
    let balancers = service.status.load_balancer.ingress.iter();
    let given = balancers.map(|i| if i.ip.is_empty() { &i.hostname } else { &i.ip });
    given.chain(&service.spec.external_ips).cloned().collect()
}

/// An Ingress is where the gateway is.
fn status(ingress: &Ingress, addresses: &[String]) -> Option<StatusUpdate> {
    let of = |address: &String| {
        let number = address.parse::<std::net::IpAddr>().is_ok();
        let (ip, hostname) = match number {
            true => (address.clone(), String::new()),
            false => (String::new(), address.clone()),
        };
        core::LoadBalancerIngress {
            ip,
            hostname,
            ..Default::default()
        }
    };
    let mut all: Vec<core::LoadBalancerIngress> = addresses.iter().map(of).collect();
    all.sort_by(|a, b| (&a.hostname, &a.ip).cmp(&(&b.hostname, &b.ip)));
    let new = core::IngressStatus {
        load_balancer: core::LoadBalancerStatus { ingress: all },
    };
    (ingress.status != new).then(|| StatusUpdate {
        object: ObjectRef {
            kind: Kind::Ingress,
            namespace: ingress.meta.namespace.clone(),
            name: ingress.meta.name.clone(),
        },
        status: new.write(),
    })
}

/// What all Ingresses say of one host.
struct Host {
    /// Name and namespace of the oldest.
    ingress: String,
    namespace: Str,
    gateway: GatewayRef,
    routes: Vec<Path>,
}

/// A rule, and how long its path was as written.
struct Path {
    length: usize,
    exact: bool,
    route: HttpRoute,
}

impl Host {
    fn into_virtual_service(mut self, host: Hostname) -> VirtualService {
        // Longer before shorter, exact before prefix (Kubernetes, "Multiple matches").
        self.routes.sort_by_key(|p| (Reverse(p.length), !p.exact));
        let routes = self.routes.into_iter();
        VirtualService {
            meta: Meta {
                // As with Istio, older than everything that has an age.
                created_s: 0,
                name: format!(
                    "{}-{}-istio-autogenerated-k8s-ingress",
                    host.as_str().replace('.', "-"),
                    self.ingress
                )
                .into(),
                namespace: self.namespace,
            },
            hosts: vec![host],
            gateways: BTreeSet::from([self.gateway]),
            visibility: Visibility::Public,
            http: routes.map(|p| Shared::new(p.route)).collect(),
            tls: Vec::new(),
            tcp: Vec::new(),
            semantics: RouteSemantics::Ingress,
        }
    }
}

fn gateway(ingress: &Ingress, world: &World<'_>, notes: &mut Notes<'_>) -> Gateway {
    let (name, namespace) = (&ingress.meta.name, &ingress.meta.namespace);
    let host = |host| ServerHost {
        namespace: NamespaceMatch::Any,
        host,
    };
    let mut servers = Vec::new();
    for (i, tls) in ingress.spec.tls.iter().enumerate() {
        if tls.secret_name.is_empty() {
            notes.error(
                SCHEMA,
                format!("spec.tls[{i}].secretName"),
                "TLS needs a certificate",
                "name a Secret of type kubernetes.io/tls",
            );
            continue;
        }
        let mut hosts: Vec<ServerHost> = tls
            .hosts
            .iter()
            .filter_map(|h| Hostname::parse(h).ok().map(host))
            .collect();
        if tls.hosts.is_empty() {
            hosts.push(host(Hostname::any()));
        }
        servers.push(Server {
            port: 443,
            port_name: format!("https-443-ingress-{name}-{namespace}-{i}").into(),
            protocol: Protocol::Https,
            bind: Str::default(),
            hosts,
            name: Str::default(),
            tls: Some(ServerTls {
                mode: ServerTlsMode::Simple,
                // Of the gateway's own namespace: an Ingress does not get at the Secrets of others.
                credential_names: vec![tls.secret_name.as_str().into()],
                ..ServerTls::default()
            }),
        });
    }
    servers.push(Server {
        port: 80,
        port_name: format!("http-80-ingress-{name}-{namespace}").into(),
        protocol: Protocol::Http,
        bind: Str::default(),
        hosts: vec![host(Hostname::any())],
        name: Str::default(),
        tls: None,
    });
    Gateway {
        meta: Meta {
            name: format!("{name}-istio-autogenerated-k8s-ingress-{namespace}").into(),
            namespace: world.mesh.root_namespace.clone(),
            created_s: 0,
        },
        selector: [("istio", &*world.mesh.ingress_selector)]
            .into_iter()
            .collect::<Labels>(),
        same_namespace: false,
        services: Vec::new(),
        servers,
    }
}

fn route(
    ingress: &Ingress,
    path: &core::HttpIngressPath,
    view: &View<'_>,
    world: &World<'_>,
    field: &str,
    notes: &mut Notes<'_>,
) -> Option<Path> {
    let namespace = &ingress.meta.namespace;
    let Some(backend) = &path.backend.service else {
        notes.error(
            UNSUPPORTED,
            format!("{field}.backend.resource"),
            "a resource cannot be a backend",
            "use backend.service",
        );
        return None;
    };
    let by_name = || {
        let service = view.objects.services.get(namespace, &backend.name)?;
        let found = service
            .spec
            .ports
            .iter()
            .find(|p| p.name == backend.port.name)?;
        port(found.port)
    };
    let Some(number) = port(backend.port.number).or_else(by_name) else {
        notes.error(
            NOT_FOUND,
            format!("{field}.backend.service.port"),
            format!(
                "the Service {namespace}/{} has no port {:?}",
                backend.name, backend.port.name
            ),
            "create the Service, or name one of its ports",
        );
        return None;
    };
    let written = path.path.as_str();
    let (path_match, length) = match path.path_type.as_str() {
        "Exact" => (Some(PathMatch::Exact(written.into())), written.len()),
        "Prefix" => (Some(segment_prefix(written)), written.len()),
        _ => loose(written),
    };
    let route = HttpRoute {
        name: Str::default(),
        matches: path_match
            .map(|path| HttpMatch {
                path: Some(path),
                ..HttpMatch::default()
            })
            .into_iter()
            .collect(),
        action: HttpAction::Route(vec![Weighted {
            destination: Destination {
                host: service_host(&backend.name, namespace, &world.mesh.dns_domain)?,
                subset: Str::default(),
                port: Some(number),
            },
            weight: 100,
            request_headers: HeaderOps::default(),
            response_headers: HeaderOps::default(),
        }]),
        rewrite: None,
        timeout: None,
        retries: None,
        fault: None,
        mirrors: Vec::new(),
        cors: None,
        request_headers: HeaderOps::default(),
        response_headers: HeaderOps::default(),
    };
    Some(Path {
        length,
        exact: matches!(
            route.matches.first().and_then(|m| m.path.as_ref()),
            Some(PathMatch::Exact(_))
        ),
        route,
    })
}

/// A path of no type or of this implementation's: Istio's old way of writing prefixes. Its length is that of what is
/// compared.
fn loose(path: &str) -> (Option<PathMatch>, usize) {
    if matches!(path, "" | "*" | "/*" | ".*") {
        return (None, 0);
    }
    let prefix = path.strip_suffix(".*").or_else(|| path.strip_suffix("/*"));
    match prefix {
        Some(prefix) => (Some(segment_prefix(prefix)), prefix.len()),
        None => (Some(PathMatch::Exact(path.into())), path.len()),
    }
}
