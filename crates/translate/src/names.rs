//! The name table (NDS), from which an agent answers DNS.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hawser_model::endpoint::Address;
use hawser_model::service::{Registry, Resolution};
use hawser_model::{ClusterId, EndpointSet, Health, Hostname, NetworkId, Service, Shared};
use hawser_proto::istio::nds::{NameInfo, NameTable};
use prost::Message;

use crate::resource::Resource;

/// All that a name table depends on.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct NamesInput {
    pub services: Vec<Shared<Service>>,
    /// Endpoints of headless services.
    pub headless: BTreeMap<Hostname, Shared<EndpointSet>>,
    pub cluster: ClusterId,
    pub network: NetworkId,
}

pub(crate) fn render(input: &NamesInput) -> Arc<Resource> {
    let mut table: BTreeMap<String, NameInfo> = BTreeMap::new();
    for service in &input.services {
        let host = service.host.as_str();
        let addresses = service.addresses_in(&input.cluster);
        let single = addresses
            .iter()
            .filter(|n| n.prefix_len() == n.max_prefix_len());
        let ips: Vec<String> = single.map(|n| n.addr().to_string()).collect();
        if !ips.is_empty() {
            table.insert(host.to_owned(), info(service, ips));
        } else if addresses.is_empty() && service.resolution == Resolution::Passthrough {
            headless(service, input, &mut table);
        }
    }
    let table = NameTable { table };
    Arc::new(Resource::new(
        "".into(),
        hawser_proto::type_url::NAME_TABLE.to_owned(),
        table.encode_to_vec(),
    ))
}

fn info(service: &Service, ips: Vec<String>) -> NameInfo {
    // Agents answer for the short forms of these, too.
    let (shortname, namespace) = match service.registry {
        Registry::Kubernetes => (
            service.meta.name.to_string(),
            service.meta.namespace.to_string(),
        ),
        Registry::External => Default::default(),
    };
    NameInfo {
        ips,
        registry: match service.registry {
            Registry::Kubernetes => "Kubernetes",
            Registry::External => "External",
        }
        .to_owned(),
        shortname,
        namespace,
    }
}

/// A service without address has those of its endpoints on this network, and a pod with a name of its own has that name;
/// of pods of the same name those of this cluster count (Istio's `BuildNameTable`).
fn headless(service: &Service, input: &NamesInput, table: &mut BTreeMap<String, NameInfo>) {
    let host = service.host.as_str();
    let set = input.headless.get(&service.host);
    let mut all = Vec::new();
    let mut pods: BTreeMap<&str, [Vec<String>; 2]> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for endpoint in set.into_iter().flat_map(|s| s.iter()) {
        let Address::Ip(ip) = endpoint.address else {
            continue;
        };
        let ready = endpoint.health == Health::Healthy || service.publish_not_ready;
        // A pod is told once, whatever its ports.
        if !ready || !seen.insert(ip) {
            continue;
        }
        let near = endpoint.network.is_unset()
            || input.network.is_unset()
            || endpoint.network == input.network;
        if !near {
            continue;
        }
        let ips = std::iter::once(ip).chain(endpoint.additional_addresses.iter().copied());
        let ips: Vec<String> = ips.map(|ip| ip.to_string()).collect();
        if !endpoint.hostname.is_empty() {
            let far = usize::from(endpoint.cluster != input.cluster);
            pods.entry(&endpoint.hostname).or_default()[far].extend(ips.iter().cloned());
        }
        all.extend(ips);
    }
    let domain = host.split_once('.').map_or("", |(_, domain)| domain);
    for (name, [near, far]) in pods {
        let ips = if near.is_empty() { far } else { near };
        let entry = NameInfo {
            shortname: name.to_owned(),
            namespace: service.meta.namespace.to_string(),
            ..info(service, ips)
        };
        table.insert(format!("{name}.{domain}"), entry);
    }
    if !all.is_empty() {
        table
            .entry(host.to_owned())
            .or_insert_with(|| info(service, all));
    }
}
