//! Ingresses: a Gateway for each, and a VirtualService for each host (Istio's `pilot/pkg/config/kube/ingress`).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use hawser_api::mesh::IngressControllerMode;
use hawser_api::{Kind, Object, core};
use hawser_model::gateway::{
    Gateway, NamespaceMatch, Server, ServerHost, ServerTls, ServerTlsMode,
};
use hawser_model::matching::HeaderOps;
use hawser_model::route::{
    Destination, GatewayRef, HttpAction, HttpMatch, HttpRoute, PathMatch, RouteSemantics,
    VirtualService, Weighted,
};
use hawser_model::{Hostname, Labels, Meta, Problem, Protocol, Shared, Str, Visibility};

use crate::config::Converted;
use crate::gateway_api::segment_prefix;
use crate::names::{self, port, service_host};
use crate::notes::{NOT_FOUND, Notes, SCHEMA, UNSUPPORTED};
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
    match &ingress.spec.ingress_class_name {
        Some(name) => view
            .objects
            .ingress_classes
            .get("", name)
            .is_some_and(|c| c.spec.controller == "istio.io/ingress-controller"),
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
    let mut by_host: BTreeMap<Hostname, Host> = BTreeMap::new();
    for ingress in ingresses {
        let mut notes = Notes::new(problems, view.id, Kind::Ingress, &ingress.meta);
        let gateway = gateway(ingress, world, &mut notes);
        let at = GatewayRef::Named {
            namespace: gateway.meta.namespace.clone(),
            name: gateway.meta.name.clone(),
        };
        out.gateways.push(gateway);
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
            let entry = by_host.entry(host).or_insert_with(|| Host {
                meta: names::meta(&ingress.meta),
                gateways: BTreeSet::new(),
                routes: Vec::new(),
            });
            entry.gateways.insert(at.clone());
            let paths = rule
                .http
                .as_ref()
                .map(|h| h.paths.as_slice())
                .unwrap_or_default();
            for (j, path) in paths.iter().enumerate() {
                let field = format!("{field}.http.paths[{j}]");
                entry
                    .routes
                    .extend(route(ingress, path, view, world, &field, &mut notes));
            }
        }
    }
    out.routes.extend(
        by_host
            .into_iter()
            .map(|(host, h)| h.into_virtual_service(host)),
    );
}

/// What all Ingresses say of one host.
struct Host {
    meta: Meta,
    gateways: BTreeSet<GatewayRef>,
    routes: Vec<HttpRoute>,
}

impl Host {
    fn into_virtual_service(mut self, host: Hostname) -> VirtualService {
        // Exact before prefix, longer before shorter (Kubernetes, "Multiple matches").
        self.routes
            .sort_by_key(|r| match r.matches.first().and_then(|m| m.path.as_ref()) {
                Some(PathMatch::Exact(p)) => (Reverse(p.len()), 0),
                Some(PathMatch::Prefix(p) | PathMatch::SegmentPrefix(p) | PathMatch::Regex(p)) => {
                    (Reverse(p.len()), 1)
                }
                None => (Reverse(0), 2),
            });
        VirtualService {
            meta: Meta {
                name: format!(
                    "{}-{}-istio-autogenerated-k8s-ingress",
                    host.as_str().replace('.', "-"),
                    self.meta.name
                )
                .into(),
                ..self.meta
            },
            hosts: vec![host],
            gateways: self.gateways,
            visibility: Visibility::Public,
            http: self.routes.into_iter().map(Shared::new).collect(),
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
                credential_names: vec![
                    format!("kubernetes-gateway://{namespace}/{}", tls.secret_name).into(),
                ],
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
            ..names::meta(&ingress.meta)
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
) -> Option<HttpRoute> {
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
    let path_match = match path.path_type.as_str() {
        "Exact" => Some(PathMatch::Exact(path.path.as_str().into())),
        "Prefix" => Some(segment_prefix(&path.path)),
        _ if path.path.is_empty() => None,
        _ => Some(match path.path.strip_suffix(".*") {
            Some(prefix) => PathMatch::Prefix(prefix.into()),
            None => PathMatch::Exact(path.path.as_str().into()),
        }),
    };
    Some(HttpRoute {
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
    })
}
