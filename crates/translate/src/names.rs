//! The name table (NDS), from which an agent answers DNS.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use hawser_model::endpoint::Address;
use hawser_model::service::{Registry, Resolution};
use hawser_model::{ClusterId, EndpointSet, Hostname, NetworkId, Service, Shared, Str};
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
    pub domain: Str,
}

pub(crate) fn render(input: &NamesInput) -> Arc<Resource> {
    let mut table: BTreeMap<String, NameInfo> = BTreeMap::new();
    for service in &input.services {
        let host = service.host.as_str();
        let kubernetes = service.registry == Registry::Kubernetes;
        let info = |ips: Vec<String>| NameInfo {
            ips,
            registry: if kubernetes { "Kubernetes" } else { "External" }.to_owned(),
            shortname: if kubernetes {
                service.meta.name.to_string()
            } else {
                String::new()
            },
            namespace: if kubernetes {
                service.meta.namespace.to_string()
            } else {
                String::new()
            },
        };
        let addresses: Vec<String> = service
            .addresses_in(&input.cluster)
            .iter()
            .filter(|n| n.prefix_len() == n.max_prefix_len())
            .map(|n| n.addr().to_string())
            .collect();
        if !addresses.is_empty() && !service.headless {
            table.insert(host.to_owned(), info(addresses));
            continue;
        }
        if !kubernetes || service.resolution != Resolution::Passthrough {
            continue;
        }
        let mut all = Vec::new();
        for endpoint in input
            .headless
            .get(&service.host)
            .into_iter()
            .flat_map(|s| s.iter())
        {
            let Address::Ip(ip) = endpoint.address else {
                continue;
            };
            let near = endpoint.network.is_unset()
                || input.network.is_unset()
                || endpoint.network == input.network;
            if !near
                || (endpoint.health != hawser_model::Health::Healthy && !service.publish_not_ready)
            {
                continue;
            }
            add(&mut all, ip);
            if !endpoint.hostname.is_empty() {
                let name = format!("{}.{host}", endpoint.hostname);
                let entry = table.entry(name).or_insert_with(|| NameInfo {
                    shortname: format!("{}.{}", endpoint.hostname, service.meta.name),
                    ..info(Vec::new())
                });
                add(&mut entry.ips, ip);
            }
        }
        if !all.is_empty() {
            table.insert(host.to_owned(), info(all));
        }
    }
    let table = NameTable { table };
    Arc::new(Resource::new(
        "".into(),
        hawser_proto::type_url::NAME_TABLE.to_owned(),
        table.encode_to_vec(),
    ))
}

fn add(ips: &mut Vec<String>, ip: IpAddr) {
    let text = ip.to_string();
    if !ips.contains(&text) {
        ips.push(text);
    }
}
