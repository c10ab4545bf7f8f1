//! SPIFFE identities of workloads.

use std::fmt;

use crate::name::Str;

/// `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Identity {
    /// Trust domain, such as `cluster.local`.
    pub trust_domain: Str,
    /// Namespace of the service account.
    pub namespace: Str,
    /// Name of the service account.
    pub service_account: Str,
}

impl Identity {
    /// Parses a SPIFFE URI of Istio's form; anything else is `None`.
    pub fn parse(uri: &str) -> Option<Self> {
        let mut parts = uri.strip_prefix("spiffe://")?.split('/');
        let trust_domain = parts.next().filter(|s| !s.is_empty())?;
        (parts.next()? == "ns").then_some(())?;
        let namespace = parts.next().filter(|s| !s.is_empty())?;
        (parts.next()? == "sa").then_some(())?;
        let service_account = parts.next().filter(|s| !s.is_empty())?;
        parts.next().is_none().then_some(())?;
        Some(Self {
            trust_domain: trust_domain.into(),
            namespace: namespace.into(),
            service_account: service_account.into(),
        })
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "spiffe://{}/ns/{}/sa/{}",
            self.trust_domain, self.namespace, self.service_account
        )
    }
}
