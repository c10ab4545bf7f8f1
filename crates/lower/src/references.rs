//! References of routes to what is not there. The routes stay as they are: a route that leads nowhere is answered with 503,
//! as in Istio, since leaving it out would let its requests fall through to the next one.

use std::collections::{BTreeMap, BTreeSet};

use hawser_model::authz::Action;
use hawser_model::problem::ObjectName;
use hawser_model::route::{Destination, HttpAction, RouteSemantics, VirtualService, Weighted};
use hawser_model::{ClusterId, Hostname, Problem, Severity, Snapshot, Str};

use crate::notes::NOT_FOUND;

/// Destinations of Istio's own routes whose host no cluster serves, or whose subset no DestinationRule names.
pub fn problems(snapshot: &Snapshot) -> Vec<Problem> {
    let mut known = Known::new(snapshot);
    let mut found = Vec::new();
    for route in snapshot
        .routes
        .iter()
        .filter(|r| r.semantics == RouteSemantics::Istio)
    {
        for (field, destination) in destinations(route) {
            if let Some(problem) = known.judge(&snapshot.config_cluster, route, field, destination)
            {
                found.push(problem);
            }
        }
    }
    found.extend(providers(snapshot).filter_map(|name| known.judge_provider(name)));
    found
}

/// The extension providers that are named by anything.
fn providers(snapshot: &Snapshot) -> impl Iterator<Item = &Str> {
    let mesh = &snapshot.mesh;
    let telemetry = snapshot.telemetry.iter();
    let named = telemetry.flat_map(|t| {
        let traces = t.tracing.iter().flat_map(|e| &e.providers);
        traces.chain(t.access_logging.iter().flat_map(|e| &e.providers))
    });
    let asked = snapshot.authz.iter().filter_map(|p| match &p.action {
        Action::Custom(name) => Some(name),
        _ => None,
    });
    let all: BTreeSet<&Str> = (mesh.default_tracing.iter())
        .chain(&mesh.default_access_logging)
        .chain(named)
        .chain(asked)
        .collect();
    all.into_iter()
}

/// Every destination with the path of its field.
fn destinations(route: &VirtualService) -> Vec<(String, &Destination)> {
    let mut out = Vec::new();
    for (i, http) in route.http.iter().enumerate() {
        let path = format!("spec.http[{i}]");
        if let HttpAction::Route(all) = &http.action {
            out.extend(of_weighted(&path, all));
        }
        for (j, mirror) in http.mirrors.iter().enumerate() {
            out.push((
                format!("{path}.mirrors[{j}].destination"),
                &mirror.destination,
            ));
        }
    }
    for (i, tls) in route.tls.iter().enumerate() {
        out.extend(of_weighted(&format!("spec.tls[{i}]"), &tls.route));
    }
    for (i, tcp) in route.tcp.iter().enumerate() {
        out.extend(of_weighted(&format!("spec.tcp[{i}]"), &tcp.route));
    }
    out
}

fn of_weighted<'a>(
    path: &str,
    all: &'a [Weighted],
) -> impl Iterator<Item = (String, &'a Destination)> {
    all.iter()
        .enumerate()
        .map(move |(i, w)| (format!("{path}.route[{i}].destination"), &w.destination))
}

/// Hosts and subsets there are, looked up once for each host.
struct Known<'a> {
    snapshot: &'a Snapshot,
    wildcards: Vec<&'a Hostname>,
    subsets: BTreeMap<Hostname, BTreeSet<&'a str>>,
}

impl<'a> Known<'a> {
    fn new(snapshot: &'a Snapshot) -> Self {
        let wildcards = snapshot
            .services
            .iter()
            .map(|s| &s.host)
            .filter(|h| h.is_wildcard())
            .collect();
        Self {
            snapshot,
            wildcards,
            subsets: BTreeMap::new(),
        }
    }

    fn serves(&self, host: &Hostname) -> bool {
        !self.snapshot.services.of_host(host.as_str()).is_empty()
            || self.wildcards.iter().any(|w| host.is_subset_of(w))
    }

    fn has_subset(&mut self, host: &Hostname, subset: &str) -> bool {
        let rules = &self.snapshot.rules;
        let names = self.subsets.entry(host.clone()).or_insert_with(|| {
            let of_host = rules.iter().filter(|r| host.is_subset_of(&r.host));
            of_host
                .flat_map(|r| r.subsets.iter().map(|s| &*s.name))
                .collect()
        });
        names.contains(subset)
    }

    /// Istio traces and logs nothing, and refuses what an authorizer should decide, where the provider's service is not there.
    fn judge_provider(&self, name: &Str) -> Option<Problem> {
        let mesh = &self.snapshot.mesh;
        let (host, _) = (mesh.providers.get(name)?.services()).find(|(h, _)| !self.serves(h))?;
        Some(Problem {
            code: NOT_FOUND,
            severity: Severity::Error,
            object: ObjectName {
                cluster: Some(self.snapshot.config_cluster.clone()),
                kind: "ConfigMap".into(),
                namespace: mesh.root_namespace.clone(),
                name: "istio".into(),
            },
            field: format!("mesh.extensionProviders[{name}].service"),
            message: format!(
                "no Service or ServiceEntry has the host {host}: nothing is traced or logged there, and what it is to authorize is refused"
            ),
            help: "check the name and the namespace, or add a ServiceEntry".to_owned(),
        })
    }

    fn judge(
        &mut self,
        cluster: &ClusterId,
        route: &VirtualService,
        field: String,
        destination: &Destination,
    ) -> Option<Problem> {
        let Destination { host, subset, .. } = destination;
        let (field, message, help) = if !self.serves(host) {
            (
                format!("{field}.host"),
                format!(
                    "no Service or ServiceEntry has the host {host}; requests for it are answered with 503"
                ),
                "check the name and the namespace, or add a ServiceEntry".to_owned(),
            )
        } else if !subset.is_empty() && !self.has_subset(host, subset) {
            (
                format!("{field}.subset"),
                format!(
                    "no DestinationRule for {host} has a subset {subset}; requests for it are answered with 503"
                ),
                format!("add the subset {subset} to a DestinationRule for {host}"),
            )
        } else {
            return None;
        };
        let object = ObjectName {
            cluster: Some(cluster.clone()),
            kind: "VirtualService".into(),
            namespace: route.meta.namespace.clone(),
            name: route.meta.name.clone(),
        };
        Some(Problem {
            code: NOT_FOUND,
            severity: Severity::Error,
            object,
            field,
            message,
            help,
        })
    }
}
