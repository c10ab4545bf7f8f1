//! Addresses for ServiceEntries that have none: from 240.240.0.0/16 and 2001:2::/48, by a hash of the object's name, the
//! next free one where two meet (as Istio's allocation controller). What was once written to a status stays.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hawser_api::networking::Resolution;

use crate::service_entries::Entry;
use crate::store::Objects;

/// Whether an entry wants addresses: it has none, its hosts can be resolved, and it did not opt out.
pub fn wanted(entry: &Entry) -> bool {
    let label = entry.label("networking.istio.io/enable-autoallocate-ip");
    entry.spec.addresses.is_empty()
        && entry.spec.resolution != Resolution::None
        && entry.spec.hosts.iter().any(|h| !h.contains('*'))
        && label != Some("false")
}

/// Addresses to be written to the status of a ServiceEntry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// Namespace of the entry.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Addresses of each host, IPv4 first.
    pub addresses: Vec<(String, IpAddr)>,
}

/// What has to be written to the statuses of a cluster's ServiceEntries so that every one that wants addresses has an
/// IPv4 and an IPv6 address for each host. Empty once all is written.
pub fn allocations(objects: &Objects) -> Vec<Allocation> {
    let mut used: BTreeSet<IpAddr> = BTreeSet::new();
    let mut given: BTreeMap<(&str, &str, &str), Vec<IpAddr>> = BTreeMap::new();
    let entries: Vec<&Entry> = objects
        .service_entries
        .iter()
        .map(|e| &**e)
        .filter(|e| wanted(e))
        .collect();
    for entry in &entries {
        for address in &entry.status.addresses {
            if let Ok(ip) = address.value.parse()
                && used.insert(ip)
            {
                given
                    .entry((&entry.meta.namespace, &entry.meta.name, &address.host))
                    .or_default()
                    .push(ip);
            }
        }
    }
    let mut out = Vec::new();
    for entry in entries {
        let (namespace, name) = (entry.meta.namespace.as_str(), entry.meta.name.as_str());
        let mut addresses = Vec::new();
        let mut changed = false;
        for host in entry.spec.hosts.iter().filter(|h| !h.contains('*')) {
            let own = given
                .get(&(namespace, name, host.as_str()))
                .cloned()
                .unwrap_or_default();
            let seed = hash(&format!("{namespace}/{name}/{host}"));
            for (of_family, candidate) in [
                (
                    IpAddr::is_ipv4 as fn(&IpAddr) -> bool,
                    v4 as fn(u64) -> IpAddr,
                ),
                (IpAddr::is_ipv6, v6),
            ] {
                let ip = own.iter().copied().find(of_family).or_else(|| {
                    changed = true;
                    (0..=u64::from(u16::MAX))
                        .map(|step| candidate(seed.wrapping_add(step)))
                        .find(|ip| used.insert(*ip))
                });
                addresses.extend(ip.map(|ip| (host.clone(), ip)));
            }
        }
        if changed {
            out.push(Allocation {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                addresses,
            });
        }
    }
    out
}

/// 240.240.0.0/16 without its first and last address.
fn v4(seed: u64) -> IpAddr {
    let [high, low] = (1 + (seed % 65_534) as u16).to_be_bytes();
    Ipv4Addr::new(240, 240, high, low).into()
}

/// 2001:2::/48, the last 16 bits alone, as the IPv4 range has no more.
fn v6(seed: u64) -> IpAddr {
    Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 1 + (seed % 65_534) as u16).into()
}

/// FNV-1a: small, and the same in every version of this program.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
