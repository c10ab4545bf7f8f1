//! Servers of gateways, as ports of a router.

pub(crate) mod passthrough;

use std::collections::{BTreeMap, BTreeSet};

use hawser_model::gateway::{Gateway, NamespaceMatch, Server, ServerTlsMode};
use hawser_model::{Hostname, Port, Protocol, Service, Shared, Str};

/// A server on a port of the router.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    pub gateway: Shared<Gateway>,
    pub server: Server,
    /// Where the router listens.
    pub port: u16,
    /// Its route configuration, if it speaks HTTP that the router can read.
    pub route: Option<Str>,
}

/// `http.8080` for all plain servers of a port, `https.443.NAME.GATEWAY.NAMESPACE` for each server with TLS (Istio's
/// `gatewayRDSRouteName`).
pub(crate) fn route_name(gateway: &Gateway, server: &Server, port: u16) -> Option<Str> {
    let bind = if server.bind.is_empty() {
        String::new()
    } else {
        format!(".{}", server.bind)
    };
    if server.protocol.is_http() {
        return Some(format!("http.{port}{bind}").into());
    }
    (server.protocol == Protocol::Https && ends_tls(server)).then(|| {
        format!(
            "https.{}.{}.{}.{}{bind}",
            server.port, server.port_name, gateway.meta.name, gateway.meta.namespace
        )
        .into()
    })
}

/// A label of services by whose port numbers gateways are not found, only by those of their workloads.
const NOT_TRANSLATED: &str = "experimental.istio.io/disable-gateway-port-translation";

/// The ports that the router opens for a server: it names the port that clients call, the router listens on the target
/// port of its own service (Istio's `resolvePorts`). By labels the oldest service counts, and a port that no service has
/// is opened as it is.
pub(crate) fn listens_on(
    gateway: &Gateway,
    server: &Server,
    served: &[(Shared<Service>, Port, u16)],
) -> BTreeSet<u16> {
    let of_port = served.iter().filter(|(_, p, _)| p.number == server.port);
    if !gateway.services.is_empty() {
        return of_port
            .filter(|(s, ..)| gateway.services.contains(&s.key()))
            .map(|(.., target)| *target)
            .collect();
    }
    let mut translated = of_port.filter(|(s, ..)| s.labels.get(NOT_TRANSLATED).is_none());
    let target = translated.next().map_or(server.port, |(.., t)| *t);
    BTreeSet::from([target])
}

/// True if the server ends TLS itself.
fn ends_tls(server: &Server) -> bool {
    server.tls.as_ref().is_some_and(|t| {
        !matches!(
            t.mode,
            ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough
        )
    })
}

/// What the servers of a router have taken so far (Istio's `mergeGateways`).
#[derive(Debug, Default)]
pub(crate) struct Taken {
    ports: BTreeSet<u16>,
    /// Ports whose first server has no TLS, with its protocol and address.
    plain: BTreeMap<u16, (Protocol, Str)>,
    /// Addresses of further servers on ports whose first server has TLS.
    binds: BTreeMap<u16, BTreeSet<Str>>,
    names: BTreeMap<(u16, NamespaceMatch, Hostname), Str>,
    routes: BTreeSet<Str>,
}

impl Taken {
    /// Takes a port for a server, or says why not and what would help.
    pub(crate) fn add(
        &mut self,
        server: &Server,
        port: u16,
        route: Option<&Str>,
    ) -> Result<(), (String, &'static str)> {
        if server.tls.is_some() {
            self.take_names(server, port)?;
        }
        let http = server.protocol.is_http();
        let routed = http || (server.protocol == Protocol::Https && ends_tls(server));
        if self.ports.insert(port) {
            if http || server.tls.is_none() {
                self.plain
                    .insert(port, (server.protocol, server.bind.clone()));
            }
            self.routes.extend(route.filter(|_| routed).cloned());
            return Ok(());
        }
        if let Some((first, bind)) = self.plain.get(&port) {
            let together = http && first.is_http();
            return if together || *bind != server.bind {
                Ok(())
            } else {
                let message = format!(
                    "is {}, but an older server of that port is {}",
                    kind(server.protocol),
                    kind(*first)
                );
                Err((message, "use one of them, or another port"))
            };
        }
        if let Some(route) = route.filter(|_| routed)
            && !self.routes.insert(route.clone())
        {
            let message = "has the port name of an older server of that port".to_owned();
            return Err((message, "give each server with TLS a port name of its own"));
        }
        let new = self
            .binds
            .entry(port)
            .or_default()
            .insert(server.bind.clone());
        if server.tls.is_none() && !new {
            let message = "has no TLS, but an older server of that port has".to_owned();
            return Err((message, "use one of them, or another port"));
        }
        Ok(())
    }

    /// Two chains for one name would make Envoy refuse the listener: the older server keeps it.
    fn take_names(&mut self, server: &Server, port: u16) -> Result<(), (String, &'static str)> {
        let keys = server
            .hosts
            .iter()
            .map(|h| (port, h.namespace.clone(), h.host.clone()));
        let known = |key: &(u16, NamespaceMatch, Hostname)| {
            self.names.get(key).is_some_and(|b| *b == server.bind)
        };
        if let Some((.., host)) = keys.clone().find(known) {
            let message = format!("is for {host}, which an older server has already");
            return Err((message, "leave that host to one of them"));
        }
        self.names
            .extend(keys.map(|key| (key, server.bind.clone())));
        Ok(())
    }
}

fn kind(protocol: Protocol) -> &'static str {
    if protocol.is_http() {
        "HTTP"
    } else {
        "not plain HTTP"
    }
}
