//! `AUTO_PASSTHROUGH`: connections between sidecars of different networks, told apart by SNI and not decrypted.

use std::collections::BTreeMap;

use hawser_model::service::{Registry, Resolution};
use hawser_model::traffic::DestinationRule;
use hawser_model::{Hostname, Protocol, Service, Shared, Str};

use crate::cluster::sni_name;

/// The domain of names that lead to the service of the same name in whichever cluster the gateway stands.
const GLOBAL: &str = ".global";

/// What one SNI leads to.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub service: Shared<Service>,
    pub port: u16,
    pub subset: Str,
    pub rule: Option<Shared<DestinationRule>>,
}

impl Target {
    /// The cluster's name, which is the SNI of the service itself.
    pub(crate) fn cluster(&self) -> String {
        sni_name(self.port, &self.subset, self.service.host.as_str())
    }
}

/// All SNIs that servers with these hosts accept, each once.
pub(crate) fn targets(
    services: &BTreeMap<Hostname, Shared<Service>>,
    hosts: &[Hostname],
    domain: &str,
    rule: impl Fn(&Hostname) -> Option<Shared<DestinationRule>>,
) -> BTreeMap<String, Target> {
    let mut out = BTreeMap::new();
    for service in services.values() {
        if service.mesh_external || service.resolution == Resolution::DynamicDns {
            continue;
        }
        let own = service.host.as_str();
        // A name under `.global` leads into this cluster, never on to another gateway.
        let direct = !own.ends_with(GLOBAL) && hosts.iter().any(|h| service.host.is_subset_of(h));
        let global =
            global_name(service, domain).filter(|g| hosts.iter().any(|h| g.is_subset_of(h)));
        if !direct && global.is_none() {
            continue;
        }
        let rule = rule(&service.host);
        for port in service.ports.iter().filter(|p| p.protocol != Protocol::Udp) {
            let subsets = rule.iter().flat_map(|r| &r.subsets).map(|s| s.name.clone());
            for subset in std::iter::once(Str::from("")).chain(subsets) {
                let target = Target {
                    service: service.clone(),
                    port: port.number,
                    subset: subset.clone(),
                    rule: rule.clone(),
                };
                if direct {
                    out.insert(target.cluster(), target.clone());
                }
                if let Some(global) = &global {
                    out.insert(sni_name(port.number, &subset, global.as_str()), target);
                }
            }
        }
    }
    out
}

/// `NAME.NAMESPACE.global` for a Kubernetes service.
fn global_name(service: &Service, domain: &str) -> Option<Hostname> {
    if service.registry != Registry::Kubernetes {
        return None;
    }
    let name = service
        .host
        .as_str()
        .strip_suffix(domain)?
        .strip_suffix(".svc.")?;
    Hostname::parse(&format!("{name}{GLOBAL}")).ok()
}
