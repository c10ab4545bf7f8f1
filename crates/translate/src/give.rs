//! What a proxy is given of each type: selected once for all who get the same, and what is its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread;

use hawser_model::service::{Registry, Resolution};
use hawser_model::{Hostname, Proxy, ProxyKind, Service, Shared, Str};

use crate::audience::{self, Audience, Part};
use crate::cluster::{self, ClusterInput};
use crate::envoy_filter::{self, Patches, Plan};
use crate::listener::{self, ListenerSpec};
use crate::memo::Rendered;
use crate::names::{self, NamesInput};
use crate::resource::Resources;
use crate::route::{self, RouteInput};
use crate::selection::{Given, Selection};
use crate::translator::{Session, Translator};
use crate::view::{ClientView, NetworkView};

impl Translator {
    /// What a proxy is given as clusters.
    pub fn clusters(&self, proxy: &Proxy) -> Given {
        self.given_clusters(&self.session(proxy))
    }

    pub(crate) fn given_clusters(&self, session: &Session<'_>) -> Given {
        if session.is_router() {
            let mut inputs = self.outbound_clusters(session);
            inputs.extend(self.special_clusters(session));
            inputs.extend(self.sni_clusters(session));
            return Given::own(self.rendered_clusters(session, inputs, true));
        }
        let inbound = self.inbound_clusters(session);
        Given {
            shared: self.shared(session, Part::Clusters),
            own: self.rendered_clusters(session, inbound, false),
        }
    }

    /// The endpoints of clusters of these names, or of all clusters; those of clusters that do not exist, or have no
    /// endpoints of this kind, are left out.
    pub fn endpoints(&self, proxy: &Proxy, names: Option<&BTreeSet<Str>>) -> Given {
        let session = self.session(proxy);
        if session.is_router() {
            let of = |names: &mut dyn Iterator<Item = &Str>| {
                Given::own(by_name(
                    names.filter_map(|n| self.endpoints_of(&session, n)),
                ))
            };
            return match names {
                Some(names) => of(&mut names.iter()),
                None => of(&mut self.clusters(proxy).own.keys()),
            };
        }
        Given {
            shared: self.shared(&session, Part::Endpoints),
            own: BTreeMap::new(),
        }
    }

    /// What a proxy is given as listeners.
    pub fn listeners(&self, proxy: &Proxy) -> Given {
        self.given_listeners(&self.session(proxy))
    }

    pub(crate) fn given_listeners(&self, session: &Session<'_>) -> Given {
        if session.is_router() {
            let specs = self.gateway_listeners(session);
            return Given::own(self.rendered_listeners(session, specs, true));
        }
        let inbound = self.inbound_listeners(session);
        Given {
            shared: self.shared(session, Part::Listeners),
            own: self.rendered_listeners(session, inbound, false),
        }
    }

    /// The route configurations of these names, or of those that the listeners refer to; unknown names are left out.
    pub fn routes(&self, proxy: &Proxy, names: Option<&BTreeSet<Str>>) -> Given {
        self.given_routes(&self.session(proxy), names)
    }

    pub(crate) fn given_routes(
        &self,
        session: &Session<'_>,
        names: Option<&BTreeSet<Str>>,
    ) -> Given {
        if session.is_router() {
            let of = |names: &BTreeSet<Str>| Given::own(self.rendered_routes(session, names));
            return match names {
                Some(names) => of(names),
                None => of(&self.route_names(session)),
            };
        }
        let shared = self.shared(session, Part::Routes);
        // A listener that is going away, or a user's own, may ask for another.
        let others = names
            .into_iter()
            .flatten()
            .filter(|n| shared.get(n).is_none());
        let own = self.rendered_routes(session, others);
        Given { shared, own }
    }

    /// The name table, for sidecars.
    pub fn names(&self, proxy: &Proxy) -> Given {
        if proxy.kind != ProxyKind::Sidecar {
            return Given::default();
        }
        Given {
            shared: self.shared(&self.session(proxy), Part::Names),
            own: BTreeMap::new(),
        }
    }

    /// The extension configurations of these names, or all there are: those that patches add.
    pub fn extensions(&self, proxy: &Proxy, names: Option<&BTreeSet<Str>>) -> Given {
        Self::given_extensions(&self.session(proxy), names)
    }

    pub(crate) fn given_extensions(session: &Session<'_>, names: Option<&BTreeSet<Str>>) -> Given {
        let Some(patches) = &session.patches.extensions else {
            return Given::default();
        };
        let mut own = envoy_filter::extensions(patches);
        own.retain(|name, _| names.is_none_or(|names| names.contains(name)));
        Given::own(own)
    }

    /// What patches merge into a proxy's bootstrap, for its agent.
    pub fn bootstrap(&self, proxy: &Proxy) -> Given {
        let patches = self.session(proxy).patches.bootstrap;
        let own = patches.and_then(|patches| envoy_filter::bootstrap(&patches));
        Given::own(by_name(own))
    }

    /// Everything that a proxy is given: clusters and listeners, and what they refer to. Neither half needs the other, so
    /// they are made at the same time.
    pub fn all(&self, proxy: &Proxy) -> Resources {
        thread::scope(|scope| {
            let clusters = scope.spawn(|| {
                let clusters = self.clusters(proxy).all();
                (clusters, self.endpoints(proxy, None).all())
            });
            let (listeners, routes) = (self.listeners(proxy).all(), self.routes(proxy, None).all());
            let names = self.names(proxy).all().into_values().next();
            let extensions = self.extensions(proxy, None).all();
            let bootstrap = self.bootstrap(proxy).all().into_values().next();
            let problems = self.problems(&self.session(proxy));
            let (clusters, endpoints) = clusters
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Resources {
                clusters,
                endpoints,
                listeners,
                routes,
                names,
                extensions,
                bootstrap,
                problems,
            }
        })
    }

    /// The part of a sidecar's configuration that it has in common with all of its audience.
    fn select(&self, part: Part, session: &Session<'_>) -> BTreeMap<Str, Rendered> {
        match part {
            Part::Clusters => {
                let mut inputs = self.outbound_clusters(session);
                inputs.extend(self.special_clusters(session));
                self.rendered_clusters(session, inputs, true)
            }
            Part::Endpoints => {
                let clusters = self.shared(session, Part::Clusters);
                let names = clusters.resources().keys();
                by_name(names.filter_map(|name| self.endpoints_of(session, name)))
            }
            Part::Listeners => {
                self.rendered_listeners(session, self.outbound_listeners(session), true)
            }
            Part::Routes => self.rendered_routes(session, &self.route_names(session)),
            Part::Names => by_name([self.name_table(session)]),
        }
    }

    /// What all sidecars of the proxy's audience are given: selected once, by a session that sees nothing else of the proxy.
    fn shared(&self, session: &Session<'_>, part: Part) -> Arc<Selection> {
        let patches = &session.patches;
        let audience = Audience {
            part,
            scope: session.key.clone(),
            client: audience::client(session.proxy, &session.scope),
            http: (part == Part::Listeners).then(|| self.outbound_http(session)),
            patches: match part {
                Part::Clusters | Part::Endpoints => patches.clusters.clone(),
                Part::Listeners => patches.listeners.clone(),
                Part::Routes => patches.routes.clone(),
                Part::Names => None,
            },
        };
        self.audiences.get(Shared::new(audience), |audience| {
            let of = |part: &[Part]| {
                let own = part.contains(&audience.part);
                own.then(|| audience.patches.clone()).flatten()
            };
            let client = &audience.client;
            let session = Session {
                proxy: client,
                key: audience.scope.clone(),
                scope: Arc::clone(&session.scope),
                view: Shared::new(ClientView::of(client)),
                network: Shared::new(NetworkView::of(client)),
                workload: None,
                labels: client.labels.clone(),
                patches: Plan {
                    clusters: of(&[Part::Clusters, Part::Endpoints]),
                    listeners: of(&[Part::Listeners]),
                    routes: of(&[Part::Routes]),
                    ..Plan::default()
                },
                http: audience.http.clone(),
            };
            self.select(audience.part, &session)
        })
    }

    /// `added`: with the clusters that patches add.
    fn rendered_clusters(
        &self,
        session: &Session<'_>,
        inputs: Vec<ClusterInput>,
        added: bool,
    ) -> BTreeMap<Str, Rendered> {
        let patches = &session.patches.clusters;
        let router = session.is_router();
        let mut out = by_name(inputs.into_iter().filter_map(|input| {
            let key = (input, patches.clone(), router);
            self.clusters.get(key, |(input, patches, router)| {
                let cluster = cluster::render(input)?;
                match patches {
                    Some(patches) => {
                        envoy_filter::patch_cluster(&cluster, input.host(), patches, *router)
                    }
                    None => Some(cluster),
                }
            })
        }));
        if let (Some(patches), true) = (patches, added) {
            out.extend(envoy_filter::added_clusters(patches, router));
        }
        out
    }

    /// `added`: with the listeners that patches add.
    fn rendered_listeners(
        &self,
        session: &Session<'_>,
        specs: Vec<ListenerSpec>,
        added: bool,
    ) -> BTreeMap<Str, Rendered> {
        let patches: &Patches = &session.patches.listeners;
        let router = session.is_router();
        let mut out = by_name(specs.into_iter().filter_map(|spec| {
            let key = (spec, patches.clone(), router);
            self.listeners.get(key, |(spec, patches, router)| {
                let listener = listener::render(spec);
                match patches {
                    Some(patches) => envoy_filter::patch_listener(&listener, patches, *router),
                    None => Some(listener),
                }
            })
        }));
        if let (Some(patches), true) = (patches, added) {
            out.extend(envoy_filter::added_listeners(patches, router));
        }
        out
    }

    fn rendered_routes<'n>(
        &self,
        session: &Session<'_>,
        names: impl IntoIterator<Item = &'n Str>,
    ) -> BTreeMap<Str, Rendered> {
        let inputs = names
            .into_iter()
            .filter_map(|n| self.route_input(session, n));
        by_name(inputs.map(|input: RouteInput| {
            let key = (input, session.patches.routes.clone(), session.is_router());
            self.routes.get(key, |(input, patches, router)| {
                let routes = route::render(input);
                match patches {
                    Some(patches) => envoy_filter::patch_routes(&routes, patches, *router),
                    None => routes,
                }
            })
        }))
    }

    fn name_table(&self, session: &Session<'_>) -> Rendered {
        let mut imported: BTreeMap<&Hostname, &Shared<Service>> = BTreeMap::new();
        for service in session.scope.egress.iter().flat_map(|e| &e.services) {
            let known = imported.entry(&service.host).or_insert(service);
            if service.registry == Registry::Kubernetes && known.registry != service.registry {
                *known = service;
            }
        }
        let services: Vec<_> = imported.into_values().cloned().collect();
        let headless = services
            .iter()
            .filter(|s| s.resolution == Resolution::Passthrough)
            .filter_map(|s| {
                let set = self.snapshot.endpoints.get(&s.key())?;
                Some((s.host.clone(), set.clone()))
            })
            .collect();
        let input = NamesInput {
            services,
            headless,
            cluster: session.proxy.cluster.clone(),
            network: session.proxy.network.clone(),
        };
        self.names.get(input, names::render)
    }
}

fn by_name(resources: impl IntoIterator<Item = Rendered>) -> BTreeMap<Str, Rendered> {
    resources.into_iter().map(|r| (r.name.clone(), r)).collect()
}

#[cfg(test)]
mod tests;
