//! `istio.networking.nds.v1`: the name table that a control plane gives agents for their DNS proxy.

use std::collections::BTreeMap;

/// Host names and their addresses.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NameTable {
    /// Addresses by fully qualified host name.
    #[prost(btree_map = "string, message", tag = "1")]
    pub table: BTreeMap<String, NameInfo>,
}

/// What is known of one host name.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct NameInfo {
    /// Addresses, IPv4 or IPv6, as text.
    #[prost(string, repeated, tag = "1")]
    pub ips: Vec<String>,
    /// Who knows the name: `Kubernetes` or `External`.
    #[prost(string, tag = "2")]
    pub registry: String,
    /// The first label of a Kubernetes service's name.
    #[prost(string, tag = "3")]
    pub shortname: String,
    /// The service's namespace.
    #[prost(string, tag = "4")]
    pub namespace: String,
}

impl prost::Name for NameTable {
    const NAME: &'static str = "NameTable";
    const PACKAGE: &'static str = "istio.networking.nds.v1";
}
