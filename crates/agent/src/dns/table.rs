//! The names that the DNS proxy answers itself.

use std::collections::BTreeMap;
use std::net::IpAddr;

use hawser_proto::istio::nds::NameTable;

/// From where names are looked at: which short names are this pod's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Viewpoint {
    /// The pod's namespace, whose services go by their first label alone.
    pub namespace: String,
    /// The first search domain of the pod: names asked with it appended are recognised at once.
    pub search: Option<String>,
}

/// Host names (lower case, no final dot) and their addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    hosts: BTreeMap<String, Vec<IpAddr>>,
    search: Option<String>,
}

/// What the table knows of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<'a> {
    /// The name in the table, when the one asked for was that with the search domain appended.
    pub alias_of: Option<&'a str>,
    pub addresses: &'a [IpAddr],
}

impl Table {
    /// A table of hosts and addresses as they are.
    pub fn new(hosts: impl IntoIterator<Item = (String, Vec<IpAddr>)>) -> Table {
        let hosts = hosts
            .into_iter()
            .map(|(host, addresses)| (normal(&host), addresses))
            .collect();
        Table {
            hosts,
            search: None,
        }
    }

    /// The table a control plane sent, with the shorter names by which Kubernetes services go, as
    /// Istio's agent expands them. Addresses that are none are passed over.
    pub fn from_name_table(names: &NameTable, viewpoint: &Viewpoint) -> Table {
        let addresses = |ips: &[String]| {
            ips.iter()
                .filter_map(|ip| ip.parse().ok())
                .collect::<Vec<IpAddr>>()
        };
        let mut table = Table::new(
            names
                .table
                .iter()
                .map(|(host, info)| (host.clone(), addresses(&info.ips))),
        );
        table.search = viewpoint.search.clone();
        for info in names.table.values() {
            if info.registry != "Kubernetes"
                || info.shortname.is_empty()
                || info.namespace.is_empty()
            {
                continue;
            }
            let (name, namespace) = (normal(&info.shortname), normal(&info.namespace));
            let mut short = vec![
                format!("{name}.{namespace}.svc"),
                format!("{name}.{namespace}"),
            ];
            if namespace == viewpoint.namespace {
                short.push(name);
            }
            for host in short {
                table
                    .hosts
                    .entry(host)
                    .or_insert_with(|| addresses(&info.ips));
            }
        }
        table
    }

    /// Looks a name up: itself, then a wildcard host that covers it, then without the search domain.
    pub fn find(&self, name: &str) -> Option<Found<'_>> {
        let name = normal(name);
        if let Some((_, addresses)) = self.exact_or_wildcard(&name) {
            return Some(Found {
                alias_of: None,
                addresses,
            });
        }
        let short = name
            .strip_suffix(self.search.as_deref()?)?
            .strip_suffix('.')?;
        let (host, addresses) = self.hosts.get_key_value(short)?;
        Some(Found {
            alias_of: Some(host),
            addresses,
        })
    }

    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    fn exact_or_wildcard(&self, name: &str) -> Option<(&String, &Vec<IpAddr>)> {
        if let Some(found) = self.hosts.get_key_value(name) {
            return Some(found);
        }
        let mut rest = name;
        while let Some((_, parent)) = rest.split_once('.') {
            if let Some(found) = self.hosts.get_key_value(&format!("*.{parent}")) {
                return Some(found);
            }
            rest = parent;
        }
        None
    }
}

fn normal(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}
