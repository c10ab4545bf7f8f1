//! The types of resources that are served, in the order in which they are pushed.

use hawser_proto::type_url;

/// A type of resource. The order is Istio's push order: what others refer to comes first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// CDS.
    Cluster,
    /// EDS.
    Endpoint,
    /// LDS.
    Listener,
    /// RDS.
    Route,
    /// SDS: certificates of gateways (`kubernetes://…`).
    Secret,
    /// ECDS.
    Extension,
    /// NDS.
    NameTable,
    /// What is merged into Envoy's bootstrap, for agents.
    Bootstrap,
}

impl Kind {
    /// All of them, in push order.
    pub const ALL: [Self; 8] = [
        Self::Cluster,
        Self::Endpoint,
        Self::Listener,
        Self::Route,
        Self::Secret,
        Self::Extension,
        Self::NameTable,
        Self::Bootstrap,
    ];

    /// By type URL.
    pub fn of_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.url() == url)
    }

    /// Its type URL.
    pub fn url(self) -> &'static str {
        match self {
            Self::Cluster => type_url::CLUSTER,
            Self::Endpoint => type_url::ENDPOINT,
            Self::Listener => type_url::LISTENER,
            Self::Route => type_url::ROUTE,
            Self::Secret => type_url::SECRET,
            Self::Extension => type_url::EXTENSION,
            Self::NameTable => type_url::NAME_TABLE,
            Self::Bootstrap => type_url::BOOTSTRAP,
        }
    }

    /// Its short name: `cds` and so on.
    pub fn short(self) -> &'static str {
        match self {
            Self::Cluster => "cds",
            Self::Endpoint => "eds",
            Self::Listener => "lds",
            Self::Route => "rds",
            Self::Secret => "sds",
            Self::Extension => "ecds",
            Self::NameTable => "nds",
            Self::Bootstrap => "bds",
        }
    }

    /// True where asking for no names means asking for all.
    pub fn is_wildcard(self) -> bool {
        matches!(
            self,
            Self::Cluster | Self::Listener | Self::NameTable | Self::Bootstrap
        )
    }
}
